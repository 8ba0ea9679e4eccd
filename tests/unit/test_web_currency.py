"""The routes of the Ledger API that answer from memory."""

from urllib.parse import quote

import pytest

from ledgerd.config import Freshness
from ledgerd.web.app import create_app
from tests.prices import CHAOS, DIVINE, HOUR_S, MARKET, NO_STORE, World, gold
from tests.webclient import browsing, problem_of

LIST = "/v1/pc/Mirage/currency"


@pytest.fixture
async def world():
    world = World(MARKET)
    await world.load()
    return world


async def test_a_price_carries_its_values_its_age_and_its_evidence(client, world):
    await world.clock.advance(600)
    answer = await (await client.get(f"{LIST}/divine")).json()

    assert answer == {
        "realm": "pc",
        "league": "Mirage",
        "as_of": "2025-10-09T09:00:00Z",
        "age_s": 600.0,
        "stale": False,
        "price": {
            "id": DIVINE,
            "name": "Divine Orb",
            "tag": "divine",
            "known": True,
            "chaos": 150.0,
            "divine": 1.0,
            "confidence": 0.97,
            "low_sample": False,
            "as_of": "2025-10-09T09:00:00Z",
            "age_s": 600.0,
            "stale": False,
            "open_24h": 148.0,
            "high_24h": 155.0,
            "low_24h": 147.5,
            "change_1h": 0.01,
            "change_24h": 0.02,
            "change_7d": None,
            "volatility_24h": 0.003,
            "liquidity": {
                "turnover_24h": 135_000.0,
                "sell_through": 0.9,
                "time_to_sell_s": 9600.0,
                "spread": 0.01,
            },
            "evidence": {
                "units": 40,
                "units_24h": 900,
                "value_traded_24h": 135_000.0,
                "markets": 12,
                "spread": 0.01,
                "rests_on_hours": 1,
                "hours_24h": 24,
                "hours_7d": 160,
                "batch_id": "exchange-pc-0000000001",
            },
        },
    }


@pytest.mark.parametrize(
    "path",
    [
        "/v1/pc/Mirage/currency/divine",
        "/v1/PC/mirage/currency/DIVINE",
        "/v1/pc/Mirage/currency/Divine%20Orb",
        "/v1/pc/Mirage/currency/div",
        f"/v1/pc/Mirage/currency/{DIVINE}",
        f"/v1/pc/Mirage/currency/{quote(DIVINE, safe='')}",
    ],
)
async def test_a_price_is_found_by_every_name_in_any_case_and_encoding(client, path):
    answer = await (await client.get(path)).json()

    assert answer["price"]["id"] == DIVINE


async def test_a_league_with_spaces_is_reached_with_them_encoded(client, world):
    await world.load(rows=[gold(league="Hardcore Mirage")])
    answer = await (await client.get("/v1/pc/hardcore%20mirage/currency")).json()

    assert answer["league"] == "Hardcore Mirage"


async def test_a_list_is_most_traded_first_and_says_how_many_there_are(client):
    answer = await (await client.get(LIST, params={"min_confidence": "0.5", "limit": "2"})).json()

    assert [price["tag"] for price in answer["prices"]] == ["divine", "chaos"]
    assert (answer["count"], answer["total"], answer["withheld"]) == (2, 4, 0)


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=-1", "limit=10001", "limit=1e3", "limit=²", "min_confidence=2", "min_confidence=nan", "limi=3"],
)
async def test_a_parameter_that_makes_no_sense_is_refused_with_what_would(client, query):
    body = await problem_of(await client.get(f"{LIST}?{query}"), 400, "bad-request")

    assert body["hint"]


async def test_a_misspelt_parameter_is_met_with_the_near_one(client):
    body = await problem_of(await client.get(f"{LIST}?min_confidense=0.5"), 400, "bad-request")

    assert body["suggestions"] == ["min_confidence"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1/cp/Mirage/currency", "pc"),
        ("/v1/pc/Mirrage/currency/divine", "Mirage"),
        ("/v1/pc/Mirage/currency/divin", "Divine Orb"),
        ("/v1/pc/Mirage/currency/divin/history", "Divine Orb"),
    ],
)
async def test_a_misspelt_name_is_a_404_that_suggests_the_right_one(client, path, expected):
    body = await problem_of(await client.get(path), 404, "not-known")

    assert body["suggestions"][0] == expected
    assert body["instance"] == path


async def test_the_realms_say_how_fresh_each_league_is_and_lead_on(client):
    answer = await (await client.get("/v1/realms")).json()
    (realm,) = answer["realms"]
    (league,) = realm["leagues"]

    assert (realm["realm"], league["league"], league["currencies"]) == ("pc", "Mirage", 4)
    assert (league["divine_in_chaos"], league["stale"]) == (150.0, False)
    assert (await client.get(league["href"])).status == 200


@pytest.mark.parametrize("path", ["/v1/realms", LIST, f"{LIST}/divine", f"{LIST}/divine/history"])
async def test_before_any_price_the_answer_is_503_and_when_to_come_back(path):
    async with browsing(World().deps()) as client:
        response = await client.get(path)
        await problem_of(response, 503, "no-prices-yet")

    assert int(response.headers["Retry-After"]) > 0


@pytest.mark.parametrize("path", ["/v1/realms", LIST, f"{LIST}/divine"])
async def test_a_stale_answer_that_is_served_says_so(client, world, path):
    await world.clock.advance(3901)
    response = await client.get(path)
    answer = await response.json()

    assert (response.status, answer["stale"], answer["age_s"]) == (200, True, 3901.0)
    assert "65 min old" in answer["warning"]


@pytest.mark.parametrize("path", [LIST, f"{LIST}/divine"])
async def test_where_stale_prices_are_refused_the_answer_is_503_and_when_to_come_back(client, world, path):
    world.rules = Freshness(policy="refuse")
    assert (await client.get(path)).status == 200

    await world.clock.advance(3901)
    response = await client.get(path)
    body = await problem_of(response, 503, "stale")

    assert int(response.headers["Retry-After"]) > 0
    assert "/status" in body["detail"]


async def test_a_policy_that_is_reloaded_holds_from_the_next_request(client, world):
    await world.clock.advance(3901)
    statuses = []
    for policy in ("serve", "refuse", "serve"):
        world.rules = Freshness(policy=policy)
        statuses.append((await client.get(LIST)).status)

    assert statuses == [200, 503, 200]


async def test_an_old_price_in_a_fresh_league_is_marked_or_withheld_by_the_policy(client, world):
    await world.load(rows=[gold(DIVINE), gold(CHAOS, HOUR_S - 7200)])
    served = await (await client.get(LIST)).json()
    world.rules = Freshness(policy="refuse")
    refused = await (await client.get(LIST)).json()

    assert {price["tag"]: price["stale"] for price in served["prices"]} == {"divine": False, "chaos": True}
    assert [price["tag"] for price in refused["prices"]] == ["divine"]
    assert (served["withheld"], refused["withheld"]) == (0, 1)
    assert (await client.get(f"{LIST}/chaos")).status == 503


@pytest.mark.parametrize("path", [LIST, f"{LIST}/divine"])
async def test_an_unchanged_answer_is_304_until_prices_or_staleness_change(client, world, path):
    first = await client.get(path)
    copy = {"If-None-Match": first.headers["ETag"]}
    unchanged = await client.get(path, headers=copy)
    await world.clock.advance(3901)
    staler = await client.get(path, headers=copy)
    await world.load(rows=[gold(DIVINE, chaos=151.0)])
    newer = await client.get(path, headers={"If-None-Match": staler.headers["ETag"]})

    assert (first.status, unchanged.status, staler.status, newer.status) == (200, 304, 200, 200)
    assert await unchanged.read() == b""


async def test_any_page_may_read_the_api_and_only_the_api(client):
    allowed = {}
    for path in (LIST, "/v1/nonsense", "/status"):
        allowed[path] = (await client.get(path)).headers.get("Access-Control-Allow-Origin")

    assert allowed == {LIST: "*", "/v1/nonsense": "*", "/status": None}


async def test_memory_answers_ask_the_engine_nothing_and_live_without_it(client, world):
    asked_before = len(world.engine.asked)
    world.engine.error = NO_STORE
    statuses = [(await client.get(path)).status for path in ("/v1/realms", LIST, f"{LIST}/divine", "/status")]

    assert statuses == [200] * 4
    assert len(world.engine.asked) == asked_before


async def test_a_daemon_without_the_api_role_serves_no_prices(world):
    async with browsing(world.deps(serves_prices=False), create_app) as client:
        await problem_of(await client.get("/v1/realms"), 404, "not-found")
