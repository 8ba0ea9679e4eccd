"""The operator's routes, and the shape every error leaves in."""

import io
import logging
import shutil
import subprocess
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ledgerd.status import DaemonState, SourceState, StoreState, StoreStatus
from ledgerd.web import page
from ledgerd.web.app import create_app, create_control_app
from tests.prices import MARKET, STATUS, World, source
from tests.webclient import browsing, problem_of


@pytest.fixture
async def world():
    world = World(MARKET)
    await world.load()
    return world


def samples(text):
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_the_status_is_the_dataclass_as_json_and_200_whatever_it_says(client, world):
    world.status = replace(
        STATUS, state=DaemonState.DEGRADED, store=StoreStatus("embedded", "", StoreState.UNAVAILABLE)
    )
    response = await client.get("/status")
    answer = await response.json()

    assert response.status == 200
    assert answer["state"] == "degraded"
    parts = ["state", "version", "uptime_s", "config", "store", "spool", "sources", "lanes", "etl", "reasons"]
    assert list(answer) == parts
    assert list(answer["sources"][0])[:6] == ["name", "kind", "realm", "state", "cursor", "lag_s"]


async def test_ready_means_started_with_a_store_and_prices(client):
    response = await client.get("/readyz")

    assert (response.status, await response.json()) == (200, {"ready": True, "reasons": []})


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (replace(STATUS, state=DaemonState.STARTING), "the daemon is starting"),
        (replace(STATUS, state=DaemonState.STOPPING), "the daemon is stopping"),
        (
            replace(STATUS, store=StoreStatus("server", "", StoreState.UNAVAILABLE, "refused")),
            "the store is unavailable: refused",
        ),
    ],
)
async def test_not_ready_says_why(client, world, status, expected):
    world.status = status
    response = await client.get("/readyz")

    assert (response.status, (await response.json())["reasons"]) == (503, [expected])


async def test_without_prices_a_daemon_is_ready_only_if_none_can_come():
    world = World()
    async with browsing(world.deps()) as client:
        waiting = await client.get("/readyz")
        reasons = (await waiting.json())["reasons"]
        world.status = replace(STATUS, sources=[source(state=SourceState.OFF)])
        off = await client.get("/readyz")
    async with browsing(world.deps(serves_prices=False)) as client:
        without_role = await client.get("/readyz")

    assert (waiting.status, off.status, without_role.status) == (503, 200, 200)
    assert reasons == ["no prices yet: exchange-pc is live"]


async def test_health_is_200_even_while_nothing_else_is_well(client, world):
    world.status = replace(STATUS, state=DaemonState.STOPPING)

    assert (await client.get("/healthz")).status == 200


async def test_the_metrics_say_what_the_status_says(client, world):
    await world.clock.advance(60)
    found = samples(await (await client.get("/metrics")).text())

    assert found["ledgerd_source_lag_seconds", "exchange-pc"] == 61.5
    assert found["ledgerd_source_state", "exchange-pc", "live"] == 1
    assert sum(value for key, value in found.items() if key[0] == "ledgerd_source_state") == 1
    assert found["ledgerd_spool_bytes",] == 4096
    assert found["ledgerd_spool_oldest_age_seconds",] == 7.5
    assert found["ledgerd_etl_behind_batches", "", "exchange-pc", "silver_exchange_ticks"] == 0
    assert found["ledgerd_etl_behind_seconds", "", "exchange-pc", "silver_exchange_ticks"] == 0
    assert (found["ledgerd_store_up",], found["ledgerd_config_generation",]) == (1, 1)
    assert (found["ledgerd_config_last_reload_ok",], found["ledgerd_uptime_seconds",]) == (1, 12)
    assert found["ledgerd_newest_price_age_seconds", "Mirage", "currency", "pc"] == 60
    assert any(name[0] == "ledgerd_events_total" for name in found)


async def test_two_applications_in_one_process_serve_metrics_side_by_side(world):
    async with browsing(world.deps()) as first, browsing(world.deps(), create_control_app) as second:
        statuses = [(await client.get("/metrics")).status for client in (first, second, first)]

    assert statuses == [200] * 3


async def test_open_metrics_are_served_to_those_who_ask_for_them(client):
    response = await client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})

    assert response.content_type == "application/openmetrics-text"
    assert (await response.text()).endswith("# EOF\n")


@pytest.mark.parametrize("version", ["zz", "1.zz", "1.0.0rc1", "", "=", "99", "9" * 999, "é"])
async def test_a_version_of_open_metrics_that_makes_no_sense_still_gets_the_metrics(client, version):
    response = await client.get("/metrics", headers={"Accept": f"application/openmetrics-text; version={version}"})

    assert response.status == 200
    assert "ledgerd_state" in await response.text()


async def test_an_address_nobody_serves_is_a_404_problem(client):
    body = await problem_of(await client.get("/v2/prices"), 404, "not-found")

    assert "/openapi.json" in body["hint"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_a_method_that_is_not_served_is_a_405_problem_that_names_those_that_are(client, method):
    response = await client.request(method, "/status")
    await problem_of(response, 405, "method-not-allowed")

    assert "GET" in response.headers["Allow"]


async def test_a_body_larger_than_allowed_is_a_413_problem(world):
    async with browsing(world.deps(), create_control_app) as client:
        await problem_of(await client.post("/sql", data=io.BytesIO(b"x" * (1 << 20 | 1))), 413, "too-large")


async def test_an_error_nobody_foresaw_is_a_500_problem_and_an_event_but_no_traceback(client, world, caplog):
    def broken():
        raise ZeroDivisionError("a secret of the inside")

    world.clock.now = broken
    with caplog.at_level(logging.ERROR, "ledgerd"):
        response = await client.get("/v1/pc/Mirage/currency/divine")
    body = await problem_of(response, 500, "crashed")

    assert "secret" not in str(body)
    assert [record.message for record in caplog.records] == [
        "GET /v1/{realm}/{league}/currency/{currency} crashed: ZeroDivisionError: a secret of the inside"
    ]


async def test_the_front_page_needs_nothing_from_elsewhere_and_its_policy_forbids_it(client):
    pages = {path: await client.get(path) for path in ("/", "/page.css", "/page.js")}
    text = "".join([await page.text() for page in pages.values()])

    assert [page.status for page in pages.values()] == [200] * 3
    assert "default-src 'self'" in pages["/"].headers["Content-Security-Policy"]
    assert "This product isn't affiliated with or endorsed by Grinding Gear Games in any way." in text
    assert not [trap for trap in ("http://", "https://", "innerHTML", "style=", "onclick=", "eval(") if trap in text]


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_a_fragment_that_is_not_well_encoded_does_not_stop_the_page():
    text = (page.FOLDER / "page.js").read_text()
    decoded = text[text.index("function decoded") :].partition("\n}\n")[0] + "\n}\n"
    code = decoded + "console.log(['pc', 'a%20b', '%', '%E0%A4%A'].map(decoded).join('|'))"
    ran = subprocess.run(["node", "-e", code], capture_output=True, text=True, check=True)

    assert ran.stdout == "pc|a b|%|%E0%A4%A\n"
    assert text.count("decodeURIComponent") == 1


async def test_the_public_application_only_reads_and_runs_no_sql_unless_told_to(world):
    routes = [(each.method, each.resource.canonical) for each in create_app(world.deps()).router.routes()]

    assert [path for method, path in routes if method not in {"GET", "HEAD", "*"}] == [
        "/v1/prices", "/v1/throttle/acquire", "/v1/throttle/report", "/sql", "/sql/",
    ]  # fmt: skip
    async with browsing(world.deps()) as client:
        await problem_of(await client.post("/sql", data="SELECT 1"), 404, "not-found")
