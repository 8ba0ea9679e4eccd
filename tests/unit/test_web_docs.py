"""docs/http.md and the code say the same: routes, states, problem types, parameters' bounds and gauges."""

import re
from pathlib import Path

import orjson
import pytest

from ledgerd.status import DaemonState, EtlState, SourceState, SpoolState, StoreState
from ledgerd.web import announce, copies, currency, deps, history, items, liquidity, lookup, movers, search
from ledgerd.web.answers import PROBLEMS
from ledgerd.web.app import create_app, create_control_app
from ledgerd.web.metrics import LedgerdCollector, exposition
from tests.prices import ITEMS, MARKET, World
from tests.webclient import browsing

TEXT = (Path(__file__).parents[2] / "docs" / "http.md").read_text(encoding="utf-8")
STATES = {"the daemon": DaemonState, "a source": SourceState, "the store": StoreState, "the spool": SpoolState}
STATES["an ETL step"] = EtlState
EXAMPLES = [orjson.loads(block) for block in re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)]


def first_column(heading):
    """The names in backquotes that begin the rows of the table under ``heading``."""
    _, found, rest = TEXT.partition(f"| {heading} |")
    assert found, heading
    table = rest.partition("\n\n")[0]
    return [
        name for cell in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`([^`]+)`", cell)
    ]


def shape(value):
    """The keys of an answer, all the way down."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    return [shape(value[0])] if isinstance(value, list) and value else None


async def test_every_route_of_both_applications_is_documented_and_no_other():
    apps = [create(World().deps()) for create in (create_app, create_control_app)]
    served = {
        ("" if route.method in {"GET", "HEAD"} else f"{route.method} ") + route.resource.canonical
        for app in apps
        for route in app.router.routes()
    }
    files = {"/page.css", "/page.js", "/docs.css", "/docs.js"}

    assert set(first_column("route | what")) | files == served - {"* /{nothing}"}
    assert "`/page.css` and `/page.js`" in TEXT
    assert "`/docs.css` and `/docs.js`" in TEXT


@pytest.mark.parametrize("part", STATES)
def test_every_state_is_documented_and_no_other(part):
    assert first_column(f"`state` of {part} |") == [state.value for state in STATES[part]]


def test_every_problem_type_is_documented_and_no_other():
    assert sorted(first_column("`type`, after `urn:ledgerd:` | status | when")) == sorted(PROBLEMS)


def test_the_bounds_in_the_document_are_those_of_the_code():
    assert f"1 to {currency.LIMIT_MAX}" in TEXT
    assert f"At most {history.POINTS_MAX} points" in TEXT
    assert f"{history.TIMEOUT_S:g} s at most" in TEXT
    assert f"within {deps.TURN_WAIT_S:g} s" in TEXT
    assert f"`{copies.CACHE}`" in TEXT
    assert f"1 to {items.LIMIT_MAX} | 100" in TEXT
    assert f"1 to {search.RESULTS_MAX}, default 10" in TEXT
    assert f"up to {lookup.KEYS_MAX} `keys`" in TEXT
    assert f"At most {announce.LISTENERS_MAX} listen" in TEXT
    assert f"comment every {announce.ALIVE_S:g} s" in TEXT
    assert f"1 to {liquidity.LIMIT_MAX}, default 50" in TEXT
    assert f"1 to {movers.LIMIT_MAX}, default 10" in TEXT


async def test_every_gauge_is_documented_and_no_other():
    world = World(MARKET)
    await world.load()
    body, _ = exposition(LedgerdCollector(lambda: world.status, world.ledger, world.clock), "")
    served = re.findall(r"^# TYPE (ledgerd_\w+) gauge$", body.decode(), re.MULTILINE)

    assert sorted(first_column("gauge | labels |")) == sorted(name for name in served if not name.endswith("_created"))


async def test_the_example_answers_have_the_fields_of_real_ones():
    world = World(MARKET[:1], items=ITEMS[:1])
    await world.load()
    world.engine.answers["history"] = [(0, 3600, 1.0, 1.0, 1.0, 1.0, 1.0, 1, 1.0, False, 1)]
    asked = {
        "realms": "/v1/realms",
        "prices": "/v1/pc/Mirage/currency",
        "points": "/v1/pc/Mirage/currency/divine/history",
        "items": "/v1/pc/Mirage/items",
        "stashes": "/v1/pc/Mirage/sellers/Kortan%231234",
        "suggestions": "/v1/pc/Mirrage/currency",
        "lanes": "/status",
    }
    async with browsing(world.deps()) as client:
        for name, path in asked.items():
            example = min((each for each in EXAMPLES if name in each), key=len)
            answer = await (await client.get(path)).json(content_type=None)
            answer.pop("warning", None)
            if name == "lanes":
                example["lanes"] = []

            assert shape(example) == shape(answer), path
