"""The history route: its span, its bounds and its turn at the engine."""

import asyncio

import orjson
import pytest

from ledgerd.config import Freshness
from ledgerd.errors import QueryRefused
from tests.prices import DIVINE, HOUR_S, MARKET, MIRROR, NO_STORE, World
from tests.webclient import problem_of

PATH = "/v1/pc/Mirage/currency/divine/history"
POINT = (HOUR_S, HOUR_S + 3600, 150.0, 1.0, 150.0, 150.0, 150.0, 40, 0.97, False, 1)


@pytest.fixture
async def world():
    world = World(MARKET)
    await world.load()
    world.engine.answers["history"] = [POINT]
    return world


async def test_history_is_points_with_their_span_their_values_and_the_age_of_the_newest(client):
    answer = await (await client.get(PATH)).json()

    assert (answer["id"], answer["name"], answer["step"]) == (DIVINE, "Divine Orb", "hour")
    assert (answer["as_of"], answer["age_s"], answer["stale"]) == ("2025-10-09T09:00:00Z", 0.0, False)
    assert answer["points"] == [
        {
            "begin": "2025-10-09T08:00:00Z",
            "as_of": "2025-10-09T09:00:00Z",
            "chaos": 150.0,
            "divine": 1.0,
            "open": 150.0,
            "high": 150.0,
            "low": 150.0,
            "units": 40,
            "confidence": 0.97,
            "low_sample": False,
            "hours": 1,
        }
    ]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", (HOUR_S + 3600 - 7 * 86400, HOUR_S + 3600, 3600)),
        ("?step=day", ((HOUR_S + 3600 - 90 * 86400) // 86400 * 86400, HOUR_S + 3600, 86400)),
        ("?from=2025-10-08T12:30:00Z&to=2025-10-09T00:00:00Z", (1759924800, 1759968000, 3600)),
        ("?from=2025-10-08T14:30:00%2B02:00&to=1759968000", (1759924800, 1759968000, 3600)),
        ("?from=2025-10-08T14:30:00+02:00&to=1759968000", (1759924800, 1759968000, 3600)),
        ("?from=2025-10-01T12:00:00Z&to=2025-10-09T00:00:00Z&step=day", (1759276800, 1759968000, 86400)),
    ],
)
async def test_a_span_is_read_in_both_notations_and_begins_with_a_whole_step(client, world, query, expected):
    await client.get(PATH + query)
    _, params, timeout_s = world.engine.asked[-1]

    assert (params["from_s"], params["to_s"], params["step_s"]) == expected
    assert params["currency"] == DIVINE
    assert timeout_s == 10


@pytest.mark.parametrize(
    "query",
    [
        "from=yesterday",
        "from=2025-10-09T00:00:00",
        "from=99999999999",
        "from=-5",
        "from=0001-01-01T00:00:00%2B14:00",
        "to=9999-12-31T23:59:59-14:00",
        "from=1760000000&to=1750000000",
        "from=1700000000",
        "from=1000000000&to=1760000000&step=day",
        "step=week",
        "since=1760000000",
    ],
)
async def test_a_span_that_makes_no_sense_or_is_too_long_is_refused_without_asking_the_engine(client, world, query):
    asked_before = len(world.engine.asked)
    await problem_of(await client.get(f"{PATH}?{query}"), 400, "bad-request")

    assert len(world.engine.asked) == asked_before


async def test_a_span_longer_than_the_bound_is_told_about_days(client):
    body = await problem_of(await client.get(f"{PATH}?from=1750000000"), 400, "bad-request")

    assert "step=day" in body["hint"]


@pytest.mark.parametrize("query", ["", "?to=2025-10-09T09:00:00Z", "?step=day"])
async def test_a_copy_is_good_until_a_point_the_span_or_the_staleness_changes(client, world, query):
    first = await client.get(PATH + query)
    await world.clock.advance(60)
    later = await client.get(PATH + query, headers={"If-None-Match": first.headers["ETag"]})
    world.engine.answers["history"] = [(*POINT[:2], 151.0, *POINT[3:])]
    repriced = await client.get(PATH + query)
    world.rules = Freshness(currency_max_age_s=59)
    stale = await client.get(PATH + query)
    world.engine.answers["history"] = []
    empty = await client.get(PATH + query)
    tags = [each.headers["ETag"] for each in (first, repriced, stale, empty)]

    assert (later.status, later.headers["ETag"], await later.read()) == (304, tags[0], b"")
    assert later.headers["Cache-Control"] == first.headers["Cache-Control"] == "public, max-age=60"
    assert len(set(tags)) == 4
    await world.clock.advance(86400)
    moved = await client.get(PATH + query)
    assert (moved.headers["ETag"] == tags[3]) == (query == "?to=2025-10-09T09:00:00Z")


async def test_ndjson_is_a_point_a_line_and_the_age_is_in_the_head(client):
    points = (await (await client.get(PATH)).json())["points"]
    response = await client.get(f"{PATH}?format=ndjson")

    assert response.content_type == "application/x-ndjson"
    assert [orjson.loads(line) for line in (await response.text()).splitlines()] == points
    assert (response.headers["Ledgerd-As-Of"], response.headers["Ledgerd-Stale"]) == ("2025-10-09T09:00:00Z", "false")


async def test_many_points_are_streamed_and_the_same_in_both_formats(client, world):
    hours = [HOUR_S - hours * 3600 for hours in reversed(range(2000))]
    world.engine.answers["history"] = [(hour_s, hour_s + 3600, *POINT[2:]) for hour_s in hours]
    asked = f"{PATH}?from={hours[0]}&to={HOUR_S + 3600}"
    whole = await client.get(asked)
    lines = await client.get(f"{asked}&format=ndjson")
    points = orjson.loads(await whole.read())["points"]

    assert whole.headers["Transfer-Encoding"] == lines.headers["Transfer-Encoding"] == "chunked"
    assert [orjson.loads(line) for line in (await lines.text()).splitlines()] == points
    assert len(points) == 2000
    assert (points[0]["begin"], points[-1]["as_of"]) == ("2025-07-18T01:00:00Z", "2025-10-09T09:00:00Z")
    assert await (await client.head(asked)).read() == b""


async def test_a_currency_without_a_price_now_still_has_its_history(client, world):
    world.engine.answers["history"] = []
    answer = await (await client.get("/v1/pc/Mirage/currency/mirror/history")).json()

    assert (answer["id"], answer["as_of"], answer["points"]) == (MIRROR, None, [])


async def test_an_engine_that_is_away_is_503_and_a_query_it_refuses_is_a_fault_of_ours(client, world):
    world.engine.error = NO_STORE
    away = await client.get(PATH)
    await problem_of(away, 503, "unavailable")
    world.engine.error = QueryRefused("Unknown column.")
    await problem_of(await client.get(PATH), 500, "crashed")

    assert int(away.headers["Retry-After"]) > 0


async def test_history_waits_for_its_turn_and_gives_up_with_503(client, world, monkeypatch):
    monkeypatch.setattr("ledgerd.web.deps.TURN_WAIT_S", 0.05)
    release, entered = asyncio.Event(), asyncio.Event()

    async def slow_rows(*_args, **_kwargs):
        entered.set()
        await release.wait()
        return [POINT]

    world.engine.rows = slow_rows
    first = asyncio.create_task(client.get(PATH))
    await entered.wait()
    await problem_of(await client.get(PATH), 503, "busy")
    release.set()

    assert (await first).status == 200
    assert (await client.get(PATH)).status == 200
