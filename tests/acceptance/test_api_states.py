"""The Ledger API when something is missing, old or gone: every route answers as docs/http.md says, never a 500."""

import re
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from urllib.parse import quote, urlsplit

import aiohttp
import pytest

from ledgerd.config import Freshness
from ledgerd.web.app import ENDPOINTS
from tests.clocks import ORIGIN_S
from tests.daemon import TEST_S, daemon, upstream
from tests.prices import HEADHUNTER, ITEMS, MARKET, World
from tests.store.front_process import FrontProcess
from tests.store.market import ACCOUNT, KEY, STASHES, mark, market
from tests.webclient import browsing, problem_of

pytest.importorskip("chdb")
pytestmark = pytest.mark.timeout(TEST_S)

LONG_S = 30 * 24 * 3600
OK, REFUSED = 200, 503


@dataclass(frozen=True)
class Route:
    """What a route rests on. ``layer``: the prices it cannot do without, empty if it tells of none."""

    layer: str = "any"
    asks_engine: bool = False
    tells_age: bool = True
    """At the top of its answer."""
    is_refused: bool = True
    """When its prices are too old, where that is the policy."""


ROUTES = {
    "get_realms": Route(is_refused=False),
    "get_currencies": Route("currency"),
    "get_currency": Route("currency"),
    "get_currency_history": Route("currency", asks_engine=True, is_refused=False),
    "get_conversion": Route("currency"),
    "get_items": Route("items"),
    "get_item": Route("items"),
    "get_item_history": Route("items", asks_engine=True, is_refused=False),
    "get_item_listings": Route("items", asks_engine=True),
    "get_prices": Route(),
    "post_prices": Route(),
    "get_search": Route(),
    "get_movers": Route(),
    "get_liquidity": Route(asks_engine=True),
    "get_sellers": Route("items", asks_engine=True),
    "get_seller": Route("items", asks_engine=True),
    "get_stash": Route("items", asks_engine=True),
    "get_stash_diffs": Route("items", asks_engine=True),
    "get_seller_diffs": Route("items", asks_engine=True),
    "get_freshness": Route(asks_engine=True, tells_age=False, is_refused=False),
    "get_events": Route("", tells_age=False, is_refused=False),
    "get_sources": Route("", asks_engine=True, tells_age=False, is_refused=False),
    "get_gaps": Route("", asks_engine=True, tells_age=False, is_refused=False),
    "get_etl": Route("", asks_engine=True, tells_age=False, is_refused=False),
    "get_throttle": Route("", tells_age=False, is_refused=False),
    "post_throttle_acquire": Route("", tells_age=False, is_refused=False),
    "post_throttle_report": Route("", tells_age=False, is_refused=False),
}
NAMES = {
    "realm": "pc", "league": "Mirage", "currency": "divine", "key": HEADHUNTER, "account": ACCOUNT, "stash": STASHES[0],
    "source": "exchange-pc",
}  # fmt: skip
MISSPELT = {
    "realm": ("pcc", ["pc"]),
    "league": ("Mirrage", ["Mirage"]),
    "currency": ("divin", ["Divine Orb"]),
    "key": (HEADHUNTER.replace("Headhunter", "Hedhunter"), [HEADHUNTER]),
    "account": ("Nobody#1234", []),
    "stash": ("ffffffffff", []),
    "source": ("exchnge-pc", ["exchange-pc"]),
}
"""By name in a path, what nobody knows, and what must be among the suggestions."""
STASH_STEPS = ("silver_canonical_stashes", "gold_stash_summary", "gold_stash_diffs")
FORMATTED = [each for each in ENDPOINTS if each.has_formats]
TABULAR = ("csv", "arrow", "parquet")


def name_of(endpoint):
    return endpoint.serve.__name__


def route_of(endpoint):
    return ROUTES[name_of(endpoint)]


def is_of_stashes(endpoint):
    return any(word in endpoint.path for word in ("/stashes/", "/sellers", "/listings"))


def address_of(endpoint, **names):
    """Its path, with the example's parameters; ``names`` stand for others than those of `NAMES`."""
    path = re.sub(r"{(\w+)(:[^}]*)?}", lambda found: quote({**NAMES, **names}[found[1]], safe=""), endpoint.path)
    query = urlsplit(endpoint.example).query
    return f"{path}?{query}" if query else path


@asynccontextmanager
async def asking(client, endpoint, address="", **body):
    """The answer to the example of a route, or to one at another address or with another body."""
    sent = {**endpoint.example_body, **body} if endpoint.example_body else None
    keyed = {endpoint.key: KEY} if endpoint.key else {}
    address = address or address_of(endpoint)
    async with client.request(endpoint.method, address, json=sent, headers=keyed) as answer:
        yield answer


@asynccontextmanager
async def serving(folder, **changes):
    """A client of a whole market, and what it is served from."""
    async with market(folder) as deps, browsing(replace(deps, **changes)) as client:
        yield client, deps


async def is_unknown(answer, near=()):
    """A 404 that says what is meant, or at least what to do."""
    problem = await problem_of(answer, 404, "not-known")
    assert problem["hint"]
    assert set(near) <= set(problem["suggestions"]), problem


async def is_waiting(answer, kind):
    """A 503 of that kind that says when to come again."""
    problem = await problem_of(answer, REFUSED, kind)
    assert int(answer.headers["Retry-After"]) > 0
    return problem


def test_every_route_is_in_the_table():
    assert ROUTES.keys() == {name_of(each) for each in ENDPOINTS}


async def test_old_prices_are_served_marked_and_with_a_warning(tmp_path):
    async with serving(tmp_path) as (client, deps):
        deps.clock.jump(LONG_S)
        for each in ENDPOINTS:
            if not route_of(each).tells_age or (route_of(each).asks_engine and not route_of(each).is_refused):
                continue  # a history has no points so late
            async with asking(client, each) as answer:
                told = await answer.json()
            assert (answer.status, told["stale"]) == (OK, True), (name_of(each), told)
            assert told["age_s"] >= LONG_S - 2 * 3600
            assert "min old" in told["warning"]


async def test_old_prices_are_refused_where_that_is_the_policy(tmp_path):
    async with serving(tmp_path, freshness=lambda: Freshness(policy="refuse")) as (client, deps):
        deps.clock.jump(LONG_S)
        for each in ENDPOINTS:
            async with asking(client, each) as answer:
                if route_of(each).is_refused:
                    assert (await is_waiting(answer, "stale"))["hint"], name_of(each)
                elif each.key:
                    assert answer.status < 500, name_of(each)
                else:
                    assert answer.status == OK, name_of(each)


async def test_stashes_whose_steps_are_behind_are_old_by_themselves(tmp_path):
    behind = [mark(step, era=1, at_s=ORIGIN_S - 2 * 3600) for step in STASH_STEPS]
    rules = Freshness()
    async with serving(tmp_path, freshness=lambda: rules) as (client, deps):
        rows = [tuple(row.values()) for row in behind]
        await deps.engine.insert("etl_watermarks", list(behind[0]), rows, token="behind")
        served = [each for each in ENDPOINTS if route_of(each).layer == "items" and route_of(each).is_refused]
        for each in served:
            async with asking(client, each) as answer:
                told = await answer.json()
            assert (answer.status, told["stale"]) == (OK, is_of_stashes(each)), (name_of(each), told)
        rules = Freshness(policy="refuse")
        for each in served:
            async with asking(client, each) as answer:
                if is_of_stashes(each):
                    await is_waiting(answer, "stale")
                else:
                    assert answer.status == OK, name_of(each)


async def test_without_the_engine_what_is_in_memory_goes_on_and_the_rest_says_so(tmp_path):
    async with serving(tmp_path) as (client, deps):
        await deps.engine.close()
        for each in ENDPOINTS:
            async with asking(client, each) as answer:
                if route_of(each).asks_engine:
                    await is_waiting(answer, "unavailable")
                elif each.key:
                    assert answer.status < 500, name_of(each)
                else:
                    assert answer.status == OK, name_of(each)
        for each in FORMATTED:
            for form in TABULAR:
                address = f"{address_of(each).partition('?')[0]}?format={form}"
                async with asking(client, each, address) as answer:
                    await is_waiting(answer, "unavailable")
        async with client.get("/status") as answer:
            assert answer.status == OK


async def test_a_ledger_without_prices_says_so_and_when_to_come_again():
    world = World()
    world.ledger.expect(["pc"])
    async with browsing(world.deps()) as client:
        for each in ENDPOINTS:
            async with asking(client, each) as answer:
                if route_of(each).layer:
                    assert (await is_waiting(answer, "no-prices-yet"))["hint"], name_of(each)
                else:
                    assert answer.status == (404 if each.key else OK), name_of(each)  # no key: the throttle is off


@pytest.mark.parametrize(("rows", "items", "missing"), [(MARKET, [], "items"), ([], ITEMS, "currency")])
async def test_a_league_with_one_layer_has_the_other_one_still_to_come(rows, items, missing):
    world = World(rows, items=items)
    await world.load()
    async with browsing(world.deps()) as client:
        for each in ENDPOINTS:
            if route_of(each).layer == missing:
                async with asking(client, each) as answer:
                    problem = await is_waiting(answer, "no-prices-yet")
                assert "pc/Mirage" in problem["detail"], name_of(each)
            elif route_of(each).layer == "any" and not route_of(each).asks_engine:
                async with asking(client, each) as answer:
                    assert answer.status == OK, name_of(each)


async def test_what_nobody_knows_is_a_404_that_says_what_is_meant(tmp_path):
    async with serving(tmp_path) as (client, _):
        for each in ENDPOINTS:
            for name in re.findall(r"{(\w+)", each.path):
                wrong, near = MISSPELT[name]
                async with asking(client, each, address_of(each, **{name: wrong})) as answer:
                    await is_unknown(answer, near)
        [bodied] = [each for each in ENDPOINTS if name_of(each) == "post_prices"]
        for name in ("realm", "league"):
            async with asking(client, bodied, **{name: MISSPELT[name][0]}) as answer:
                await is_unknown(answer, MISSPELT[name][1])
        async with asking(client, bodied, keys=["divin"]) as answer:
            assert (await answer.json())["prices"] == [{"key": "divin", "price": None}]
        for wrong in ("from=divin", "from=divine&to=divin"):
            async with client.get(f"/v1/pc/Mirage/convert?{wrong}") as answer:
                await is_unknown(answer, ["Divine Orb"])
        async with client.get("/v1/pc/Mirage/nothing") as answer:
            assert (await problem_of(answer, 404, "not-found"))["hint"]


async def test_a_daemon_whose_server_was_killed_says_so_and_serves_on_from_memory(tmp_path):
    front = FrontProcess(tmp_path / "front")
    where = {"clickhouse__engine": "server", "clickhouse__url": front.url()}
    try:
        async with upstream(2) as exchange, daemon(exchange.url, **where) as ledgerd:
            await ledgerd.start()
            socket = aiohttp.UnixConnector(str(ledgerd.data_dir / "ledgerd.sock"))
            async with aiohttp.ClientSession("http://ledgerd", connector=socket) as client:
                league = await ledgerd.wait("a price", lambda: first_league(client))
                front.kill()
                await ledgerd.wait("it to be noticed", lambda: is_down(ledgerd))
                for each in ENDPOINTS:
                    async with asking(client, each, address_of(each, league=league)) as answer:
                        await is_served_without_engine_and_items(answer, each)
                for path in ("/healthz", "/metrics", "/readyz"):
                    async with client.get(path) as answer:
                        assert answer.status == (REFUSED if path == "/readyz" else OK)
    finally:
        front.kill()


async def is_down(ledgerd):
    status = await ledgerd.status()
    return status["store"]["state"] == "unavailable" and any("store" in reason for reason in status["reasons"])


async def first_league(client):
    async with client.get("/v1/realms") as answer:
        [realm] = (await answer.json())["realms"]
        return realm["leagues"][0]["league"]


async def is_served_without_engine_and_items(answer, endpoint):
    route = route_of(endpoint)
    if route.layer == "items":
        await is_waiting(answer, "no-prices-yet")
    elif route.asks_engine:
        await is_waiting(answer, "unavailable")
    else:
        assert answer.status == (404 if endpoint.key or endpoint.example_body else OK), await answer.text()
