"""The routes about what is behind the prices: sources, gaps, ETL, and how fresh each layer of a league is."""

from dataclasses import replace

import pytest
from pydantic import TypeAdapter

from ledgerd.errors import StoreUnavailable
from ledgerd.status import EtlState, EtlStatus, LaneStatus, SourceState
from ledgerd.web.app import create_offline_app
from ledgerd.web.layers import Freshness as LeagueFreshness
from ledgerd.web.sources import Etl, Gaps, Sources, backfill, without_paths
from tests.prices import ITEMS, MARKET, NO_STORE, STATUS, World, source
from tests.stashes import NOW_S, SQL
from tests.webclient import browsing, problem_of

RIVER = source(
    name="river-pc", kind="river", state=SourceState.DEGRADED, cursor="1-2-3", lag_s=None, pages_behind=4,
    last_error="Cannot write /var/lib/ledgerd/spool/7.seg: no room",
)  # fmt: skip
GAP = (NOW_S - 9000, NOW_S - 7200, "1759991400", "1759993200", "gone", "exchange-pc-0000000003", NOW_S * 1000 - 500)
RIVER_GAP = (None, None, "5-6", "7-8", "lost", "river-pc-0000000003", NOW_S * 1000)
RUN = ("silver_exchange_ticks", "exchange-pc", [], 41, "exchange-pc-0000000041", NOW_S - 60.0, 0.0312, 420, "ok", "")
FAILED = (
    "gold_item_prices", "river-pc", ["Mirage"], 7, "river-pc-0000000007", NOW_S - 90.0, 2.5, 0, "failed",
    "Cannot open /data/store/x/y.bin (code 74)",
)  # fmt: skip
ROUTES = {
    "/v1/sources": Sources,
    "/v1/sources/exchange-pc/gaps": Gaps,
    "/v1/etl": Etl,
    "/v1/pc/Mirage/freshness": LeagueFreshness,
}


def step(name, league=None, *, watermark=41, done_until="2025-10-09T08:59:00Z", **facts):
    usual = EtlStatus(
        name, "river-pc" if league else "exchange-pc", league, EtlState.OK, watermark, 0, 0.0, done_until, 0.03, None
    )
    return replace(usual, **facts)


STEPS = [
    step("silver_exchange_ticks"),
    step("silver_currency_norm", watermark=40),
    step("gold_currency_snapshot", watermark=39),
    step("silver_listing_events", "Mirage", done_until="2025-10-09T08:58:00Z"),
    step("silver_canonical_stashes", "Mirage"),
    step("silver_currency_asks", "Mirage", done_until="2025-10-09T08:02:00Z"),
    step("gold_item_prices", "Mirage", done_until="2025-10-09T08:57:00Z"),
    step("gold_stash_diffs", "Mirage", done_until="2025-10-09T08:02:00Z"),
    step("gold_item_prices", "Standard", done_until="2025-10-09T01:00:00Z", last_error="Lost /data/db/store/1.bin"),
]
LANES = [
    LaneStatus("exchange-pc", "pc", "Mirage", stored=True, rows=9, newest_hour="2025-10-09T08:00:00Z"),
    LaneStatus("exchange-pc", "pc", "Standard", stored=True, rows=9, newest_hour="2025-10-01T08:00:00Z"),
    LaneStatus(
        "river-pc", "pc", "Mirage", stored=True, rows=9, newest_hour=None, last_ingest_time="2025-10-09T08:59:30Z"
    ),
]


@pytest.fixture
async def world():
    world = World(MARKET, items=ITEMS)
    world.status = replace(STATUS, sources=[source(gaps=1), RIVER], lanes=LANES, etl=STEPS)
    world.engine.answers |= {
        SQL["gap_counts"]: [("exchange-pc", 3)],
        SQL["exchange_progress"]: [("exchange-pc", NOW_S - 360_000, NOW_S, 0, 0, 0.0)],
        SQL["gaps"]: lambda params: [GAP] if params["source"] == "exchange-pc" else [],
        SQL["etl_runs"]: [RUN, FAILED],
        SQL["batch_ends"]: [(40, NOW_S), (39, NOW_S - 3600)],
    }
    await world.load()
    return world


@pytest.mark.parametrize(("path", "shape"), ROUTES.items())
async def test_an_answer_has_its_shape(client, path, shape):
    response = await client.get(path)

    assert response.status == 200
    TypeAdapter(shape).validate_python(await response.json())


@pytest.mark.parametrize("path", ROUTES)
async def test_without_a_daemon_or_an_engine_an_answer_is_503_and_no_crash(world, path):
    def nobody_runs():
        raise StoreUnavailable("No daemon runs here.", "Start it with: ledgerd run")

    async with browsing(world.deps(status=nobody_runs), create_offline_app) as client:
        body = await problem_of(await client.get(path), 503, "unavailable")
    world.engine.error = NO_STORE
    async with browsing(world.deps()) as client:
        await problem_of(await client.get(path), 503, "unavailable")

    assert body["hint"] == "Start it with: ledgerd run"


async def test_a_source_says_how_it_is_and_how_far_its_past_is_stored(client):
    exchange, river = (await (await client.get("/v1/sources")).json())["sources"]

    assert exchange == {
        "name": "exchange-pc",
        "kind": "exchange",
        "realm": "pc",
        "state": "live",
        "cursor": "1760000400",
        "lag_s": 61.5,
        "pages_behind": None,
        "gaps": 3,
        "last_ingest_time": None,
        "last_error": None,
        "backfill": {
            "from": "2025-10-05T05:00:00Z",
            "at": "2025-10-09T09:00:00Z",
            "to": "2025-10-09T09:00:00Z",
            "share": 1.0,
            "left_s": 0.0,
        },
    }
    assert (river["state"], river["pages_behind"], river["gaps"], river["backfill"]) == ("degraded", 4, 0, None)


async def test_a_backfill_under_way_tells_its_share_and_what_is_left_at_the_pace_of_late(client, world):
    world.status = replace(world.status, sources=[source(state=SourceState.CATCHING_UP)])
    progress = ("exchange-pc", NOW_S - 360_000, NOW_S - 180_000, NOW_S - 300_000, NOW_S - 180_000, 600.0)
    world.engine.answers[SQL["exchange_progress"]] = [progress]
    [told] = (await (await client.get("/v1/sources")).json())["sources"]
    _, params, _ = world.engine.asked[-1]

    assert told["backfill"]["share"] == 0.5
    assert told["backfill"]["left_s"] == round(180_000 / (120_000 / 600 - 1), 1)
    assert params["sources"] == ["exchange-pc"]
    assert params["since"].timestamp() == NOW_S - 900


@pytest.mark.parametrize("state", [SourceState.STALLED, SourceState.DEGRADED, SourceState.WAITING])
async def test_a_backfill_that_does_not_get_on_promises_no_time(client, world, state):
    world.status = replace(world.status, sources=[source(state=state)])
    progress = ("exchange-pc", NOW_S - 360_000, NOW_S - 180_000, NOW_S - 300_000, NOW_S - 180_000, 600.0)
    world.engine.answers[SQL["exchange_progress"]] = [progress]
    [told] = (await (await client.get("/v1/sources")).json())["sources"]

    assert told["backfill"]["left_s"] is None


@pytest.mark.parametrize(
    ("first_s", "done_s", "pace", "expected"),
    [
        (0, 7200, None, (0.5, None)),
        (0, 7200, 1.0, (0.5, None)),
        (0, 7200, 3.0, (0.5, 3600.0)),
        (0, 14_400, 3.0, (1.0, 0.0)),
        (14_400, 14_400, None, (1.0, 0.0)),
        (0, 18_000, None, (1.0, 0.0)),
    ],
)
def test_the_share_and_the_time_left_of_a_backfill(first_s, done_s, pace, expected):
    told = backfill(first_s, done_s, 14_400 + 1800, pace=pace)

    assert (told["share"], told["left_s"]) == expected


async def test_gaps_are_told_with_their_times_where_their_cursors_tell_them(client, world):
    world.engine.answers[SQL["gaps"]] = [RIVER_GAP, GAP]
    answer = await (await client.get("/v1/sources/river-pc/gaps")).json()
    _, params, timeout_s = world.engine.asked[-1]

    assert (answer["source"], answer["count"], answer["next"]) == ("river-pc", 2, None)
    assert answer["gaps"][1] == {
        "from": "2025-10-09T06:30:00Z",
        "to": "2025-10-09T07:00:00Z",
        "cursor_from": "1759991400",
        "cursor_to": "1759993200",
        "reason": "gone",
        "batch_id": "exchange-pc-0000000003",
        "found_at": "2025-10-09T08:59:59Z",
    }
    assert (answer["gaps"][0]["from"], answer["gaps"][0]["to"]) == (None, None)
    assert (params["most"], params["after"], timeout_s) == (101, "", 10)


async def test_a_full_page_of_gaps_names_the_next(client, world):
    world.engine.answers[SQL["gaps"]] = [RIVER_GAP, GAP]
    first = await (await client.get("/v1/sources/river-pc/gaps?limit=1")).json()
    await client.get("/v1/sources/river-pc/gaps", params={"cursor": first["next"]})
    _, params, _ = world.engine.asked[-1]

    assert first["count"] == 1
    assert (params["after_ms"], params["after"]) == (NOW_S * 1000, "5-6")


async def test_a_source_without_gaps_has_none_and_one_nobody_knows_is_named(client):
    none = await (await client.get("/v1/sources/river-pc/gaps")).json()
    body = await problem_of(await client.get("/v1/sources/exchange-px/gaps"), 404, "not-known")

    assert none["gaps"] == []
    assert body["suggestions"] == ["exchange-pc"]


async def test_etl_tells_how_steps_stand_and_what_their_last_runs_did(client, world):
    answer = await (await client.get("/v1/etl")).json()
    _, params, _ = world.engine.asked[-1]

    assert len(answer["steps"]) == len(STEPS)
    assert answer["steps"][1] == {
        "step": "silver_currency_norm",
        "source": "exchange-pc",
        "league": None,
        "state": "ok",
        "watermark": 40,
        "behind": 0,
        "behind_s": 0.0,
        "done_until": "2025-10-09T08:59:00Z",
        "took_s": 0.03,
        "last_error": None,
    }
    assert answer["runs"][0] == {
        "step": "silver_exchange_ticks",
        "source": "exchange-pc",
        "leagues": [],
        "seq": 41,
        "batch_id": "exchange-pc-0000000041",
        "started_at": "2025-10-09T08:59:00Z",
        "took_s": 0.031,
        "rows": 420,
        "outcome": "ok",
        "error": None,
    }
    assert params == {"step": "", "source": "", "most": 50}


async def test_etl_is_narrowed_by_step_and_by_source(client, world):
    answer = await (await client.get("/v1/etl?step=gold_item_prices&source=river-pc&limit=7")).json()
    _, params, _ = world.engine.asked[-1]

    assert [(each["step"], each["league"]) for each in answer["steps"]] == [
        ("gold_item_prices", "Mirage"),
        ("gold_item_prices", "Standard"),
    ]
    assert params == {"step": "gold_item_prices", "source": "river-pc", "most": 7}


async def test_a_step_or_a_source_nobody_knows_is_named(client, world):
    world.engine.answers[SQL["etl_runs"]] = []
    of_step = await problem_of(await client.get("/v1/etl?step=gold_items_prices"), 404, "not-known")
    of_source = await problem_of(await client.get("/v1/etl?source=river-px"), 404, "not-known")
    world.status = replace(world.status, etl=[])
    known = await client.get("/v1/etl?step=gold_item_prices")

    assert of_step["suggestions"][0] == "gold_item_prices"
    assert of_source["suggestions"][0] == "river-pc"
    assert (known.status, (await known.json())["steps"]) == (200, [])


async def test_no_error_carries_a_path_of_the_machine(client):
    texts = [await (await client.get(path)).text() for path in ("/v1/sources", "/v1/etl")]

    assert all("Cannot" in text for text in texts)
    assert [path for path in ("/var", "/data", ".seg", ".bin") for text in texts if path in text] == []


@pytest.mark.parametrize(
    "text",
    ["refused by https://api.example/currency-exchange/1: 403", "pc/Mirage is behind", "GET /status", "1/2 of pages/s"],
)
def test_what_is_no_path_of_the_machine_stays_in_an_error(text):
    assert without_paths(text) == text


async def test_each_layer_of_a_league_is_as_fresh_as_its_slowest_step(client):
    answer = await (await client.get("/v1/pc/mirage/freshness")).json()
    as_of = {
        (kind, layer): answer[kind][layer]["as_of"]
        for kind in ("currency", "items")
        for layer in ("bronze", "silver", "gold")
    }

    assert (answer["realm"], answer["league"]) == ("pc", "Mirage")
    assert as_of == {
        ("currency", "bronze"): "2025-10-09T09:00:00Z",
        ("currency", "silver"): "2025-10-09T09:00:00Z",
        ("currency", "gold"): "2025-10-09T08:00:00Z",
        ("items", "bronze"): "2025-10-09T08:54:30Z",
        ("items", "silver"): "2025-10-09T08:53:00Z",
        ("items", "gold"): "2025-10-09T08:52:00Z",
    }
    assert (answer["currency"]["gold"]["age_s"], answer["currency"]["gold"]["stale"]) == (3600.0, False)
    assert (answer["items"]["gold"]["age_s"], answer["items"]["gold"]["stale"]) == (480.0, False)


async def test_a_layer_past_its_limit_is_marked_and_never_refused(client, world):
    world.rules = world.rules.model_copy(update={"policy": "refuse"})
    await world.clock.advance(400)
    response = await client.get("/v1/pc/Mirage/freshness")
    answer = await response.json()

    assert response.status == 200
    assert [answer["items"][layer]["stale"] for layer in ("bronze", "silver", "gold")] == [True, True, True]


async def test_layers_nobody_works_on_have_no_age(client, world):
    world.status = replace(STATUS, sources=[], lanes=[], etl=[step("gold_currency_snapshot", watermark=-1)])
    world.engine.answers[SQL["batch_ends"]] = []
    answer = await (await client.get("/v1/pc/Mirage/freshness")).json()
    ages = [answer[kind][layer] for kind in ("currency", "items") for layer in ("bronze", "silver", "gold")]

    assert ages == [{"as_of": None, "age_s": None, "stale": None}] * 6


async def test_a_layer_one_of_whose_steps_has_done_nothing_has_no_age(client, world):
    behind = step("silver_listings", "Mirage", watermark=-1, done_until=None)
    world.status = replace(world.status, etl=[*STEPS, behind])
    answer = await (await client.get("/v1/pc/Mirage/freshness")).json()

    assert answer["items"]["silver"]["as_of"] is None
    assert answer["items"]["gold"]["as_of"] == "2025-10-09T08:52:00Z"


async def test_a_league_nobody_knows_is_told_so(client):
    body = await problem_of(await client.get("/v1/pc/Mirrage/freshness"), 404, "not-known")

    assert body["suggestions"] == ["Mirage"]
