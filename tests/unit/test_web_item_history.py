"""The history of an item: its span, its points, and what of it memory knows."""

from urllib.parse import quote

import orjson
import pytest
from pydantic import TypeAdapter

from ledgerd.config import Freshness
from ledgerd.web.item_history import ItemHistory
from tests.prices import HEADHUNTER, HOUR_S, ITEMS, MARKET, NO_STORE, World
from tests.stashes import SQL
from tests.webclient import problem_of

GONE = "unique|Headhunter|base=Leather Belt|foil=true"
POINT = (
    HOUR_S, HOUR_S + 3000.5, 9000.0, 60.0, 8900.0, 8500.0, 9500.0, 60, 61, 44, 31, 0.93, False, 5, 1,
    "river-pc-0000000007",
)  # fmt: skip


def path_of(key):
    return f"/v1/pc/Mirage/items/{quote(key, safe='')}/history"


PATH = path_of(HEADHUNTER)


@pytest.fixture
async def world():
    world = World(MARKET, items=ITEMS)
    world.engine.answers[SQL["item_history"]] = [POINT]
    world.engine.answers[SQL["is_item_key"]] = lambda params: [(GONE,)] if params["key"] == GONE else []
    await world.load()
    return world


async def test_history_is_points_with_their_span_their_values_and_the_age_of_the_newest(client):
    answer = await (await client.get(PATH)).json()

    TypeAdapter(ItemHistory).validate_python(answer)
    assert (answer["realm"], answer["league"], answer["key"], answer["step"]) == ("pc", "Mirage", HEADHUNTER, "hour")
    assert (answer["from"], answer["to"]) == ("2025-10-02T09:00:00Z", "2025-10-09T09:00:00Z")
    assert (answer["as_of"], answer["age_s"], answer["stale"]) == ("2025-10-09T08:50:00Z", 599.5, False)
    assert answer["points"] == [
        {
            "begin": "2025-10-09T08:00:00Z",
            "as_of": "2025-10-09T08:50:00Z",
            "chaos": 9000.0,
            "divine": 60.0,
            "open": 8900.0,
            "low": 8500.0,
            "high": 9500.0,
            "listings": 60,
            "units": 61,
            "sellers": 44,
            "rests_on_sellers": 31,
            "confidence": 0.93,
            "low_sample": False,
            "likely_sales": 5,
            "hours": 1,
            "batch_id": "river-pc-0000000007",
        }
    ]


async def test_ndjson_is_a_point_a_line_and_a_copy_of_it_is_good_until_a_point_changes(client, world):
    points = (await (await client.get(PATH)).json())["points"]
    response = await client.get(f"{PATH}?format=ndjson")
    copy = {"If-None-Match": response.headers["ETag"]}
    again = await client.get(f"{PATH}?format=ndjson", headers=copy)
    world.engine.answers[SQL["item_history"]] = [(*POINT[:-1], "river-pc-0000000008")]
    newer = await client.get(f"{PATH}?format=ndjson", headers=copy)

    assert [orjson.loads(line) for line in (await response.text()).splitlines()] == points
    assert response.headers["Ledgerd-As-Of"] == "2025-10-09T08:50:00Z"
    assert (again.status, newer.status) == (304, 200)


async def test_the_engine_is_asked_for_the_key_as_it_is_spelt_the_span_and_upstreams_delay(client, world):
    await client.get(f"{path_of(HEADHUNTER.upper())}?from=2025-10-01T12:00:00Z&to=2025-10-09T00:00:00Z&step=day")
    sql, params, timeout_s = world.engine.asked[-1]

    assert (sql, timeout_s) == (SQL["item_history"], 10)
    assert params == {
        "realm": "pc",
        "league": "Mirage",
        "key": HEADHUNTER,
        "from_s": 1759276800,
        "to_s": 1759968000,
        "step_s": 86400,
        "delay_s": 300,
    }


async def test_bars_and_spaces_of_a_key_may_stand_as_they_are(client, world):
    answer = await (await client.get(f"/v1/pc/Mirage/items/{HEADHUNTER}/history")).json()

    assert answer["key"] == HEADHUNTER


async def test_an_item_without_a_price_now_still_has_its_history(client, world):
    world.engine.answers[SQL["item_history"]] = []
    answer = await (await client.get(path_of(GONE))).json()

    assert (answer["key"], answer["as_of"], answer["age_s"], answer["stale"]) == (GONE, None, None, None)
    assert answer["points"] == []


async def test_a_key_nobody_ever_listed_is_told_what_may_be_meant(client, world):
    body = await problem_of(await client.get(path_of("unique|Headhuntr|base=Leather Belt")), 404, "not-known")

    assert HEADHUNTER in body["suggestions"]
    assert SQL["item_history"] not in [sql for sql, *_ in world.engine.asked]


async def test_a_key_in_memory_is_not_looked_up_in_the_engine(client, world):
    await client.get(PATH)

    assert SQL["is_item_key"] not in [sql for sql, *_ in world.engine.asked]


@pytest.mark.parametrize("query", ["from=yesterday", "from=1700000000", "step=week", "limit=5"])
async def test_a_span_that_makes_no_sense_is_refused_without_asking_the_engine(client, world, query):
    asked_before = len(world.engine.asked)
    await problem_of(await client.get(f"{PATH}?{query}"), 400, "bad-request")

    assert len(world.engine.asked) == asked_before


async def test_history_is_marked_stale_but_never_refused_for_its_age(client, world):
    world.rules = Freshness(policy="refuse")
    await world.clock.advance(3600)
    response = await client.get(PATH)

    assert (response.status, (await response.json())["stale"]) == (200, True)


async def test_what_the_engine_or_the_ledger_cannot_do_is_told_as_such(client, world):
    world.engine.error = NO_STORE
    await problem_of(await client.get(PATH), 503, "unavailable")
    world.engine.error = None
    await problem_of(await client.get(PATH.replace("Mirage", "Mirrage")), 404, "not-known")
