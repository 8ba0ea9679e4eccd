"""What turns over most: the engine's rows with their names and their age, in every format JSON has a line for."""

import orjson
import pytest
from pydantic import TypeAdapter

from ledgerd.config import Freshness
from ledgerd.web.liquidity import LiquidityAnswer
from tests.clocks import ORIGIN_S
from tests.prices import DIVINE, HEADHUNTER, ITEMS, MARKET, World
from tests.stashes import SQL
from tests.webclient import problem_of

PATH = "/v1/pc/Mirage/liquidity"
NOW_S = int(ORIGIN_S)
BELTS = ("item", HEADHUNTER, 36000.0, 4, 60, 60, 0.2, 0.06, 1296000.0, 0.97, "river-pc-0000000007", NOW_S - 300)
DIVINES = ("currency", DIVINE, 9000.0, 60, 400, 0, 0.01, 0.9, 9600.0, 0.99, "exchange-pc-0000000001", NOW_S)


@pytest.fixture
async def world():
    world = World(MARKET, items=ITEMS)
    world.engine.answers[SQL["liquidity"]] = [BELTS, DIVINES]
    await world.load()
    return world


async def test_what_turns_over_has_its_name_its_figures_and_the_age_of_the_older_kind(client):
    answer = await (await client.get(PATH)).json()

    TypeAdapter(LiquidityAnswer).validate_python(answer)
    assert (answer["as_of"], answer["age_s"], answer["stale"]) == ("2025-10-09T08:55:00Z", 300.0, False)
    assert [(each["kind"], each["id"], each["name"]) for each in answer["liquidity"]] == [
        ("item", HEADHUNTER, "Headhunter"),
        ("currency", DIVINE, "Divine Orb"),
    ]
    assert answer["liquidity"][0] == {
        "kind": "item",
        "id": HEADHUNTER,
        "name": "Headhunter",
        "turnover_24h": 36000.0,
        "sold_24h": 4,
        "stock": 60,
        "listings": 60,
        "spread": 0.2,
        "sell_through": 0.06,
        "time_to_sell_s": 1296000.0,
        "confidence": 0.97,
        "batch_id": "river-pc-0000000007",
        "as_of": "2025-10-09T08:55:00Z",
    }


async def test_a_copy_is_good_until_a_row_or_the_staleness_changes(client, world):
    first = await client.get(PATH)
    copy = {"If-None-Match": first.headers["ETag"]}
    await world.clock.advance(60)
    later = await client.get(PATH, headers=copy)
    await world.clock.advance(241)
    stale = await client.get(PATH, headers=copy)
    world.rules = Freshness(items_max_age_s=599)
    ruled = await client.get(PATH, headers={"If-None-Match": stale.headers["ETag"]})
    world.rules = Freshness()
    world.engine.answers[SQL["liquidity"]] = [BELTS, (*DIVINES[:3], 61, *DIVINES[4:])]
    newer = await client.get(PATH, headers={"If-None-Match": stale.headers["ETag"]})

    assert [each.status for each in (later, stale, ruled, newer)] == [304, 200, 200, 200]
    assert (later.headers["ETag"], await later.read()) == (first.headers["ETag"], b"")
    assert (await stale.json())["stale"] is True
    world.rules = Freshness(policy="refuse")
    await problem_of(await client.get(PATH, headers=copy), 503, "stale")


async def test_ndjson_is_a_thing_a_line_and_the_age_is_in_the_head(client):
    rows = (await (await client.get(PATH)).json())["liquidity"]
    response = await client.get(f"{PATH}?format=ndjson")

    assert [orjson.loads(line) for line in (await response.text()).splitlines()] == rows
    assert (response.headers["Ledgerd-As-Of"], response.headers["Ledgerd-Age-S"]) == ("2025-10-09T08:55:00Z", "300.0")


async def test_where_nothing_turned_over_there_is_no_row_and_no_age(client, world):
    world.engine.answers[SQL["liquidity"]] = []
    answer = await (await client.get(PATH)).json()
    lines = await client.get(f"{PATH}?format=ndjson")

    assert (answer["as_of"], answer["stale"], answer["liquidity"]) == (None, None, [])
    assert (await lines.read(), "Ledgerd-As-Of" in lines.headers) == (b"", False)
