"""The routes of sellers, their stashes and what happened in them."""

import asyncio

import pytest
from pydantic import TypeAdapter

from ledgerd.config import Freshness, RouteFreshness
from ledgerd.web.stash_diffs import StashDiffs
from ledgerd.web.stashes import SellerAnswer, SellerList, StashAnswer
from tests.prices import MARKET, NO_STORE, World
from tests.stashes import ANSWERS, NOW_S, SELLER, SQL, STASH, until
from tests.webclient import browsing, problem_of

LEAGUE = "/v1/pc/Mirage"
SELLER_PATH = f"{LEAGUE}/sellers/Kortan%231234"
STASH_PATH = f"{LEAGUE}/stashes/{STASH}"
ROUTES = {
    f"{LEAGUE}/sellers": SellerList,
    SELLER_PATH: SellerAnswer,
    STASH_PATH: StashAnswer,
    f"{SELLER_PATH}/diffs": StashDiffs,
    f"{STASH_PATH}/diffs": StashDiffs,
}


@pytest.mark.parametrize(("path", "shape"), ROUTES.items())
async def test_an_answer_has_its_shape_and_the_age_of_the_leagues_stashes(client, world, path, shape):
    await world.clock.advance(60)
    answer = await (await client.get(path)).json()

    TypeAdapter(shape).validate_python(answer)
    assert (answer["realm"], answer["league"]) == ("pc", "Mirage")
    assert (answer["as_of"], answer["age_s"], answer["stale"]) == ("2025-10-09T08:55:00Z", 360.0, False)


@pytest.mark.parametrize("path", ROUTES)
async def test_a_question_is_asked_in_the_leagues_own_spelling_and_within_ten_seconds(client, world, path):
    response = await client.get(path.replace("pc/Mirage", "PC/mIRAGE"))
    _, params, timeout_s = world.engine.asked[-1]

    assert response.status == 200
    assert (params["realm"], params["league"], timeout_s) == ("pc", "Mirage", 10)


async def test_a_stash_says_what_it_holds_when_it_changed_and_as_of_when_it_was_valued(client):
    answer = await (await client.get(STASH_PATH)).json()

    assert answer["stash"] == {
        "stash": STASH,
        "account": SELLER,
        "stash_name": "~b/o 5 chaos",
        "stash_type": "PremiumStash",
        "public": True,
        "items": 40,
        "listed": 30,
        "unconverted": 2,
        "unpriced": 10,
        "unpriced_share": 0.25,
        "asked_chaos": 650.5,
        "market_chaos": 800.0,
        "changed_at": "2025-10-09T07:36:40Z",
        "valued_at": "2025-10-09T07:35:00Z",
        "rate_hour": "2025-10-09T07:00:00Z",
        "batch_id": "river-pc-0000000006",
    }


async def test_a_seller_is_his_public_stashes_and_their_sum(client):
    answer = await (await client.get(SELLER_PATH)).json()

    assert answer["account"] == SELLER
    assert answer["count"] == 2
    assert [(stash["stash"], stash["rate_hour"]) for stash in answer["stashes"]] == [
        (STASH, "2025-10-09T07:00:00Z"),
        ("aa00000001", None),
    ]
    assert {name: answer[name] for name in ("items", "listed", "unconverted", "unpriced", "unpriced_share")} == {
        "items": 80,
        "listed": 60,
        "unconverted": 4,
        "unpriced": 10,
        "unpriced_share": 0.125,
    }
    assert (answer["asked_chaos"], answer["market_chaos"]) == (1301.0, 920.25)


async def test_a_seller_whose_stashes_are_private_now_is_known_and_shows_nothing(client, world):
    world.engine.answers[SQL["seller"]] = [row for row in ANSWERS[SQL["seller"]]({"account": SELLER}) if not row[4]]
    answer = await (await client.get(SELLER_PATH)).json()

    assert (answer["count"], answer["stashes"], answer["items"], answer["unpriced_share"]) == (0, [], 0, 0.0)


@pytest.mark.parametrize("path", [f"{LEAGUE}/sellers/kortan%231234", f"{LEAGUE}/sellers/kortan%231234/diffs"])
async def test_an_account_is_named_exactly_and_else_told_how(client, path):
    body = await problem_of(await client.get(path), 404, "not-known")

    assert "'kortan#1234'" in body["detail"]
    assert "%23" in body["hint"]
    assert "/v1/pc/Mirage/sellers" in body["hint"]


@pytest.mark.parametrize("path", [f"{LEAGUE}/stashes/nowhere", f"{LEAGUE}/stashes/nowhere/diffs"])
async def test_a_stash_nobody_saw_in_the_league_is_not_known(client, path):
    body = await problem_of(await client.get(path), 404, "not-known")

    assert "'nowhere'" in body["detail"]


async def test_sellers_are_ranked_once_a_minute_however_many_ask(client, world):
    asked = lambda: [sql for sql, *_ in world.engine.asked].count(SQL["sellers"])  # noqa: E731
    answers = await asyncio.gather(*(client.get(f"{LEAGUE}/sellers") for _ in range(3)))
    one = await (await client.get(f"{LEAGUE}/sellers?limit=1")).json()
    in_the_first_minute = asked()
    await world.clock.advance(60)
    world.engine.answers[SQL["sellers"]] = []
    later = await (await client.get(f"{LEAGUE}/sellers")).json()

    assert [(await answer.json())["count"] for answer in answers] == [2, 2, 2]
    assert [seller["account"] for seller in one["sellers"]] == [SELLER]
    assert (in_the_first_minute, asked(), later["sellers"]) == (1, 2, [])


async def test_a_ranking_that_failed_is_tried_again(client, world):
    world.engine.error = NO_STORE
    await problem_of(await client.get(f"{LEAGUE}/sellers"), 503, "unavailable")
    world.engine.error = None

    assert (await client.get(f"{LEAGUE}/sellers")).status == 200


async def test_diffs_say_what_happened_newest_first(client):
    answer = await (await client.get(f"{STASH_PATH}/diffs")).json()

    assert (answer["from"], answer["to"]) == ("2025-10-02T09:00:00Z", "2025-10-09T09:00:00Z")
    assert (answer["count"], answer["next"]) == (3, None)
    assert [diff["hour"][11:16] for diff in answer["diffs"]] == ["08:00", "07:00", "05:00"]
    assert answer["diffs"][0] == {
        "hour": "2025-10-09T08:00:00Z",
        "stash": STASH,
        "account": SELLER,
        "added": 3,
        "removed": 2,
        "repriced": 1,
        "restacked": 1,
        "unconverted": 0,
        "added_chaos": 30.0,
        "removed_chaos": 25.5,
        "repriced_chaos": -4.0,
        "restacked_chaos": -1.0,
        "first_batch": "river-pc-0000000003",
        "last_batch": "river-pc-0000000005",
    }


async def test_pages_of_diffs_follow_each_other_and_leave_nothing_out(client):
    seen, asked = [], {"limit": "1"}
    for _ in range(9):
        answer = await (await client.get(f"{SELLER_PATH}/diffs", params=asked)).json()
        seen += [(diff["hour"], diff["stash"]) for diff in answer["diffs"]]
        if answer["next"] is None:
            break
        asked["cursor"] = answer["next"]
    whole = await (await client.get(f"{SELLER_PATH}/diffs")).json()

    assert len(seen) == 4
    assert seen == [(diff["hour"], diff["stash"]) for diff in whole["diffs"]]


async def test_a_span_without_diffs_of_a_stash_that_is_known_is_empty(client, world):
    answer = await (await client.get(f"{STASH_PATH}/diffs?to={NOW_S - 6 * 3600}&from=0")).json()

    assert (answer["diffs"], answer["from"]) == ([], "1970-01-01T00:00:00Z")


@pytest.mark.parametrize(
    "query",
    [
        "from=1760000000&to=1750000000",
        "from=yesterday",
        "limit=0",
        "limit=501",
        "cursor=none",
        "cursor=Wy0xLCJhIl0=",  # [-1,"a"]
        "cursor=WzFlMzAwLCJhIl0=",  # [1e300,"a"]
        "cursor=WzEuNSwiYSJd",  # [1.5,"a"]
        "cursor=W251bGwsImEiXQ==",  # [null,"a"]
        "since=1",
    ],
)
async def test_parameters_that_make_no_sense_are_refused_without_asking_the_engine(client, world, query):
    asked_before = len(world.engine.asked)
    await problem_of(await client.get(f"{STASH_PATH}/diffs?{query}"), 400, "bad-request")

    assert len(world.engine.asked) == asked_before


@pytest.mark.parametrize("path", ROUTES)
async def test_stale_answers_are_marked_or_refused_as_configured_for_the_route(client, world, path):
    await world.clock.advance(700)
    marked = await (await client.get(path)).json()
    world.rules = Freshness(route={"seller": RouteFreshness(policy="refuse"), "stash": RouteFreshness(policy="refuse")})
    refused = await client.get(path)
    await problem_of(refused, 503, "stale")
    world.rules = Freshness(route={"stash" if "sellers" in path else "seller": RouteFreshness(policy="refuse")})
    others = await client.get(path)

    assert (marked["stale"], "16 min old" in marked["warning"] or "17 min old" in marked["warning"]) == (True, True)
    assert int(refused.headers["Retry-After"]) > 0
    assert others.status == 200


@pytest.mark.parametrize(
    ("path", "behind", "as_of"),
    [
        (path, until(NOW_S, NOW_S - 3601), "2025-10-09T07:55:00Z")
        if path.endswith("diffs")
        else (path, until(NOW_S - 301, NOW_S), "2025-10-09T08:49:59Z")
        for path in ROUTES
    ],
)
async def test_what_its_own_step_has_not_done_yet_makes_it_old_however_fresh_prices_are(
    client, world, path, behind, as_of
):
    world.engine.answers[SQL["stashes_until"]] = behind
    marked = await (await client.get(path)).json()
    world.rules = Freshness(policy="refuse")
    refused = await client.get(path)
    await problem_of(refused, 503, "stale")
    items = await (await client.get(f"{LEAGUE}/items")).json()

    assert (marked["as_of"], marked["stale"]) == (as_of, True)
    assert int(refused.headers["Retry-After"]) > 0
    assert (items["as_of"], items["stale"]) == ("2025-10-09T08:55:00Z", False)


@pytest.mark.parametrize("diffs_s", [NOW_S - 3600, 0], ids=["an hour ago", "never"])
async def test_diffs_miss_nothing_until_an_hour_is_over_that_their_step_has_not_seen(client, world, diffs_s):
    world.engine.answers[SQL["stashes_until"]] = until(NOW_S, diffs_s)
    answer = await (await client.get(f"{STASH_PATH}/diffs")).json()

    assert (answer["as_of"], answer["stale"]) == ("2025-10-09T08:55:00Z", False)


@pytest.mark.parametrize("path", ROUTES)
async def test_before_stashes_are_valued_they_are_still_to_come(client, world, path):
    world.engine.answers[SQL["stashes_until"]] = until(0, 0)
    answer = await client.get(path)
    body = await problem_of(answer, 503, "no-prices-yet")

    assert "pc/Mirage" in body["detail"]
    assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.parametrize("path", ROUTES)
async def test_what_the_engine_or_the_ledger_cannot_do_is_told_as_such(client, world, path):
    world.engine.error = NO_STORE
    await problem_of(await client.get(path), 503, "unavailable")
    world.engine.error = None
    await problem_of(await client.get(path.replace("Mirage", "Mirrage")), 404, "not-known")


async def test_a_league_whose_river_is_off_says_so(world):
    world = World(MARKET)
    await world.load()
    async with browsing(world.deps()) as client:
        body = await problem_of(await client.get(SELLER_PATH), 503, "no-prices-yet")

    assert "river" in body["hint"]
