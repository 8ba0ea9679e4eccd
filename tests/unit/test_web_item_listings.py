"""The listings behind an item's price: what is asked, what is answered, and how old that is."""

from urllib.parse import quote

import pytest
from pydantic import TypeAdapter

from ledgerd.config import Freshness
from ledgerd.web.item_listings import RATES, ItemListings
from tests.prices import CHAOS, DIVINE, HEADHUNTER
from tests.stashes import LISTINGS, NOW_S, SELLER, SQL, STASH, until
from tests.webclient import browsing, problem_of

PATH = f"/v1/pc/Mirage/items/{quote(HEADHUNTER, safe='')}/listings"
DAY_S = 86_400


async def test_a_listing_says_who_asks_what_since_when_and_which_batch_saw_it(client):
    answer = await (await client.get(PATH)).json()

    TypeAdapter(ItemListings).validate_python(answer)
    assert (answer["realm"], answer["league"], answer["key"]) == ("pc", "Mirage", HEADHUNTER)
    assert (answer["as_of"], answer["age_s"], answer["stale"]) == ("2025-10-09T08:55:00Z", 300.0, False)
    assert (answer["count"], answer["total"]) == (2, 2)
    assert answer["listings"][0] == {
        "account": SELLER,
        "stash": STASH,
        "units": 1,
        "amount": 0.02,
        "currency": DIVINE,
        "chaos": 3.0,
        "rate_hour": "2025-10-09T07:00:00Z",
        "listed_at": "2025-10-09T07:00:00Z",
        "changed_at": "2025-10-09T08:00:00Z",
        "repriced": 1,
        "seen_at": "2025-10-09T08:44:59Z",
        "batch_id": "river-pc-0000000006",
    }
    assert (answer["listings"][1]["chaos"], answer["listings"][1]["rate_hour"]) == (None, None)


async def test_it_asks_for_the_key_as_it_is_spelt_for_three_days_at_the_rates_prices_are_made_with(client, world):
    world.engine.answers[RATES] = [(CHAOS, 1.0, 0), (DIVINE, 150.0, NOW_S - 7200)]
    await client.get(PATH.replace("Headhunter", "hEADHUNTER").replace("pc/Mirage", "PC/mIRAGE"), params={"limit": 7})
    asked = {sql: params for sql, params, _ in world.engine.asked}

    assert asked[RATES] == {"realm": "pc", "leagues": ["Mirage"], "at": NOW_S}
    assert asked[SQL["item_listings"]] == {
        "realm": "pc", "league": "Mirage", "key": HEADHUNTER, "most": 7, "since_s": NOW_S - 3 * DAY_S,
        "ids": [CHAOS, DIVINE], "rates": [1.0, 150.0], "hours_s": [0, NOW_S - 7200],
    }  # fmt: skip
    assert {timeout_s for *_, timeout_s in world.engine.asked[-3:]} == {10}


async def test_an_item_nobody_lists_any_more_has_none(client, world):
    world.engine.answers[SQL["item_listings"]] = []
    answer = await (await client.get(PATH)).json()

    assert (answer["count"], answer["total"], answer["listings"]) == (0, 0, [])


async def test_of_more_than_fit_it_says_how_many_there_are(client):
    answer = await (await client.get(PATH, params={"limit": 1})).json()

    assert (answer["count"], answer["total"], len(answer["listings"])) == (1, 2, 1)


async def test_an_unknown_item_is_told_with_what_may_be_meant_and_asks_nothing(client, world):
    body = await problem_of(await client.get(PATH.replace("Headhunter", "Hedhunter")), 404, "not-known")

    assert HEADHUNTER in body["suggestions"]
    assert world.engine.asked[-1][0] != SQL["item_listings"]


async def test_the_age_is_that_of_the_stashes_and_is_judged_by_it(world):
    world.engine.answers[SQL["stashes_until"]] = until(NOW_S, NOW_S, listings_s=NOW_S - 3600)
    rules = Freshness()
    async with browsing(world.deps(freshness=lambda: rules)) as client:
        told = await (await client.get(PATH)).json()
        rules = Freshness(policy="refuse")
        refused = await problem_of(await client.get(PATH), 503, "stale")

    assert (told["as_of"], told["stale"]) == ("2025-10-09T07:55:00Z", True)
    assert "stale" in refused["detail"] or "old" in refused["detail"]


@pytest.mark.parametrize(
    "news",
    [
        {SQL["item_listings"]: LISTINGS[1:]},
        {SQL["stashes_until"]: until(NOW_S, NOW_S, listings_s=NOW_S + 30)},
    ],
    ids=["a listing", "a look at the stashes"],
)
async def test_a_copy_is_good_until_there_is_news(client, world, news):
    first = await client.get(PATH)
    await world.clock.advance(60)
    known = {"If-None-Match": first.headers["ETag"]}

    assert (await client.get(PATH, headers=known)).status == 304
    world.engine.answers |= news
    assert (await client.get(PATH, headers=known)).status == 200


async def test_before_stashes_are_valued_their_listings_stand_already(client, world):
    world.engine.answers[SQL["stashes_until"]] = until(0, 0)
    assert (await client.get(PATH)).status == 200
    world.engine.answers[SQL["stashes_until"]] = []
    await problem_of(await client.get(PATH), 503, "no-prices-yet")
