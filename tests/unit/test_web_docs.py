"""docs/http.md and the code say the same: routes, states, problem types, parameters' bounds and gauges."""

import re
from pathlib import Path

import orjson
import pytest

from ledgerd.status import DaemonState, EtlState, SourceState, SpoolState, StoreState
from ledgerd.web import currency, deps, history
from ledgerd.web.answers import PROBLEMS
from ledgerd.web.app import create_app, create_control_app
from ledgerd.web.metrics import LedgerdCollector, exposition
from tests.prices import MARKET, World
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
    documented = set(first_column("route | what")) | {"/page.css", "/page.js"}

    assert documented == served
    assert "`/page.css` and `/page.js`" in TEXT


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
    assert f"`{currency.CACHE}`" in TEXT


async def test_every_gauge_is_documented_and_no_other():
    world = World(MARKET)
    await world.load()
    body, _ = exposition(LedgerdCollector(lambda: world.status, world.ledger, world.clock), "")
    served = re.findall(r"^# TYPE (ledgerd_\w+) gauge$", body.decode(), re.MULTILINE)

    assert sorted(first_column("gauge | labels |")) == sorted(name for name in served if not name.endswith("_created"))


async def test_the_example_answers_have_the_fields_of_real_ones():
    world = World(MARKET[:1])
    await world.load()
    world.engine.answers["history"] = [(0, 3600, 1.0, 1.0, 1.0, 1.0, 1.0, 1, 1.0, False, 1)]
    async with browsing(world.deps()) as client:
        paths = [
            "/v1/realms",
            "/v1/pc/Mirage/currency",
            "/v1/pc/Mirage/currency/divine/history",
            "/v1/pc/Mirrage/currency",
        ]
        answers = [await (await client.get(path)).json(content_type=None) for path in paths]
        status = await (await client.get("/status")).json()
    realms, prices, _, past, problem, documented_status = EXAMPLES
    documented_status["lanes"] = []

    assert [shape(example) for example in (realms, prices, past, problem)] == [shape(answer) for answer in answers]
    assert shape(documented_status) == shape(status)
