"""Turns at upstream over HTTP: behind a key that never shows, and not there without one."""

import asyncio
import hmac
import json
import logging
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledgerd.config import Secret
from ledgerd.upstream.lending import Lending
from ledgerd.upstream.throttle import LEASE_S, LEASES_MAX, Throttle
from ledgerd.web import throttle as routes
from tests.prices import MARKET, World
from tests.webclient import browsing, problem_of

KEY = "Kn9-the-key-of-the-jobs"
KEYED = {"X-API-Key": KEY}
HEADERS = {"X-Rate-Limit-Policy": "p", "X-Rate-Limit-Rules": "Ip", "X-Rate-Limit-Ip": "2:10:60",
           "X-Rate-Limit-Ip-State": "1:10:0"}  # fmt: skip
ADDRESSES = [("GET", "/v1/throttle"), ("POST", "/v1/throttle/acquire"), ("POST", "/v1/throttle/report")]


@pytest.fixture
async def world():
    return World(MARKET)


@pytest.fixture
def throttle(world):
    return Throttle(100_000, 100_000, clock=world.clock, rng=random.Random(1))


@pytest.fixture
async def client(world, throttle):
    async with browsing(world.deps(throttle=Lending(throttle), throttler_key=lambda: Secret(KEY))) as client:
        yield client


async def acquire(client, **body):
    response = await client.post("/v1/throttle/acquire", json=body, headers=KEYED)

    assert response.status == 200, await response.text()
    assert response.headers["Cache-Control"] == "no-store"
    return await response.json()


async def report(client, **body):
    return await client.post("/v1/throttle/report", json=body, headers=KEYED)


async def learn(client, **body):
    """One request of a job, so that the policy is known."""
    lease = (await acquire(client, endpoint="stash"))["lease"]
    return await (await report(client, lease=lease, status=200, headers=HEADERS)).json()


async def until(holds):
    """What a server on loopback does is soon done."""
    for _ in range(3000):
        if holds():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it never came to hold")


# What it answers


async def test_a_job_asks_sends_and_reports(client):
    got = await acquire(client, endpoint="stash")
    lease = got.pop("lease")

    assert len(lease) == 32
    assert got == {
        "policy": None,
        "expires_at": "2025-10-09T09:01:00Z",
        "next_at": "2025-10-09T09:00:00Z",
        "wait_s": 0.0,
    }
    response = await report(client, lease=lease, status=200, headers=HEADERS)
    assert await response.json() == {
        "policy": "p",
        "problems": [],
        "next_at": "2025-10-09T09:00:00Z",
        "wait_s": 0.0,
    }


async def test_the_standing_tells_policies_limits_and_endpoints(client):
    await learn(client)
    await acquire(client, policy="p")
    await acquire(client, endpoint="other")
    answer = await (await client.get("/v1/throttle", headers=KEYED)).json()

    limit = {
        "rule": "Ip",
        "period_s": 10,
        "hits": 2,
        "restriction_s": 60,
        "remaining": 0,
        "restricted_until": None,
    }
    at_rest = {"next_at": "2025-10-09T09:00:15Z", "wait_s": 15.0}
    free = {"next_at": "2025-10-09T09:00:00Z", "wait_s": 0.0}
    assert answer == {
        "requests_per_s": 100_000,
        "leases": 2,
        "leases_max": LEASES_MAX,
        "leases_lost": 0,
        "policies": [
            {"policy": "p", "endpoints": ["stash"], "under_way": 1, **at_rest, "limits": [limit]},
            {"policy": None, "endpoints": ["other"], "under_way": 1, **free, "limits": []},
        ],
    }


async def test_without_a_turn_it_says_when_to_ask_again(client, world):
    await learn(client)
    await acquire(client, policy="p")
    response = await client.post("/v1/throttle/acquire", json={"policy": "p"}, headers=KEYED)

    assert response.headers["Retry-After"] == "15"
    assert await response.json() == {
        "lease": None,
        "policy": "p",
        "expires_at": None,
        "next_at": "2025-10-09T09:00:15Z",
        "wait_s": 15.0,
    }
    await world.clock.advance(LEASE_S + 15)
    assert (await acquire(client, policy="p"))["lease"]


async def test_a_restriction_is_told_with_its_end(client):
    lease = (await acquire(client, endpoint="stash"))["lease"]
    told = HEADERS | {"Retry-After": "61", "X-Rate-Limit-Ip-State": "3:10:60"}
    answer = await (await report(client, lease=lease, status=429, headers=told)).json()
    [policy] = (await (await client.get("/v1/throttle", headers=KEYED)).json())["policies"]

    assert answer["next_at"] == policy["next_at"] == "2025-10-09T09:01:07Z"
    assert policy["limits"][0]["restricted_until"] == "2025-10-09T09:01:07Z"


async def test_no_answer_is_reported_by_the_lease_alone(client):
    lease = (await acquire(client, endpoint="stash"))["lease"]
    answer = await (await report(client, lease=lease)).json()

    assert answer["policy"] is None
    assert (await acquire(client, endpoint="stash"))["lease"]


async def test_odd_headers_are_named_and_taken_with_caution(client):
    lease = (await acquire(client, endpoint="stash"))["lease"]
    odd = HEADERS | {"X-Rate-Limit-Ip": "junk"}
    answer = await (await report(client, lease=lease, status=200, headers=odd)).json()

    assert answer["problems"][0] == "Ip: 'junk' is no hits:period:restriction"


async def test_who_goes_away_while_he_waits_takes_nothing(client, throttle):
    await learn(client)
    await acquire(client, policy="p")
    waiting = asyncio.create_task(acquire(client, policy="p", wait_s=30))
    await until(lambda: throttle._waiting)
    waiting.cancel()
    await until(lambda: not throttle._waiting)

    assert len(throttle.lent) == 1


# The key


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": ""},
        {"X-API-Key": KEY[:-1]},
        {"X-API-Key": KEY + "x"},
        {"X-API-Key": "é" * 50},
        {"X-API-Key": "x" * 4000},
        {"Authorization": KEY},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": "Bearer "},
        {"Authorization": f"Bearer {KEY[:-1]}"},
    ],
)
@pytest.mark.parametrize(("method", "path"), ADDRESSES)
async def test_without_the_key_nobody_is_told_anything(client, throttle, method, path, headers):
    response = await client.request(method, f"{path}?nonsense=1", headers=headers, data=b"{")

    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert (await problem_of(response, 401, "unauthorized"))["detail"] == "The key is missing or wrong."
    assert throttle.books() == []


async def test_the_key_may_come_as_a_bearer_token(client):
    response = await client.get("/v1/throttle", headers={"Authorization": f"Bearer {KEY}"})

    assert response.status == 200


@pytest.mark.parametrize("given", ["", "x", KEY[:-1], KEY + "x" * 1000])
async def test_wrong_keys_of_any_length_are_compared_in_constant_time(client, monkeypatch, given):
    compared = []
    monkeypatch.setattr(routes, "compare_digest", lambda *pair: compared.append(pair) or hmac.compare_digest(*pair))
    await client.get("/v1/throttle", headers={"X-API-Key": given})

    assert [len(each) for pair in compared for each in pair] == [32, 32]


@pytest.mark.parametrize(("method", "path"), ADDRESSES)
async def test_without_a_key_configured_or_a_throttle_there_is_nothing(world, throttle, method, path):
    lending = Lending(throttle)
    for ports in (
        {"throttle": lending},
        {"throttle": lending, "throttler_key": Secret},
        {"throttler_key": lambda: Secret(KEY)},
    ):
        async with browsing(world.deps(**ports)) as client:
            for headers in (KEYED, {"X-API-Key": ""}, {"Authorization": "Bearer "}, {}):
                response = await client.request(method, path, headers=headers, data=b"{}")
                await problem_of(response, 404, "not-found")


async def test_a_key_that_a_reload_brings_is_taken_at_once(world, throttle):
    keys = [Secret("")]
    async with browsing(world.deps(throttle=Lending(throttle), throttler_key=lambda: keys[-1])) as client:
        statuses = []
        for key in ("", KEY, "another"):
            keys.append(Secret(key))
            statuses.append((await client.get("/v1/throttle", headers=KEYED)).status)

    assert statuses == [404, 200, 401]


async def test_it_is_there_without_the_role_that_serves_prices(world, throttle):
    ports = {"throttle": Lending(throttle), "throttler_key": lambda: Secret(KEY), "serves_prices": False}
    async with browsing(world.deps(**ports)) as client:
        assert (await client.get("/v1/throttle", headers=KEYED)).status == 200


async def test_no_page_of_another_origin_may_ask(client):
    for method, path in ADDRESSES:
        response = await client.request(method, path, headers=KEYED | {"Origin": "https://example.org"}, data=b"{}")
        asked = {"Origin": "https://example.org", "Access-Control-Request-Method": method}
        before = await client.options(path, headers=asked)

        for each in (response, before):
            assert not [name for name in each.headers if name.startswith("Access-Control-")]
        assert before.status == 405


async def test_the_key_is_in_no_answer_log_or_metric(client, caplog, capsys):
    caplog.set_level(logging.DEBUG)
    texts = []
    bodies = [{"endpoint": KEY}, {"policy": KEY}, {"lease": KEY}, {KEY: 1}, {"lease": "x", "headers": {"X": KEY}}]
    for method, path in (*ADDRESSES, ("GET", "/metrics"), ("GET", "/openapi.json"), ("GET", "/status")):
        for body in ({}, *(bodies if method == "POST" else ())):
            for headers in (KEYED, {"Authorization": f"Bearer {KEY}"}, {"X-API-Key": f"{KEY}{KEY}"}):
                response = await client.request(method, path, headers=headers, json=body)
                told = json.dumps(body).count(KEY)
                texts.append((await response.text()) + str(response.headers) if not told else "")
    captured = capsys.readouterr()

    assert len(texts) > 20
    assert KEY not in "".join(texts)
    assert KEY not in caplog.text + captured.out + captured.err


# Bodies


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("acquire", b""),
        ("acquire", b"{"),
        ("acquire", b"[]"),
        ("acquire", b"null"),
        ("acquire", b"{}"),
        ("acquire", b"\xff\xfe"),
        ("acquire", b"[" * 100_000),
        ("acquire", b'{"endpoint": "\\ud800"}'),
        ("acquire", b'{"endpoint": ""}'),
        ("acquire", b'{"endpoint": "a b"}'),
        ("acquire", b'{"endpoint": "a\\n"}'),
        ("acquire", b'{"endpoint": 1}'),
        ("acquire", b'{"endpoint": null}'),
        ("acquire", b'{"endpoint": "a", "policy": "b"}'),
        ("acquire", b'{"endpoint": "a", "wait": 1}'),
        ("acquire", b'{"endpoint": "a", "wait_s": -1}'),
        ("acquire", b'{"endpoint": "a", "wait_s": 31}'),
        ("acquire", b'{"endpoint": "a", "wait_s": 1e400}'),
        ("acquire", b'{"endpoint": "a", "wait_s": NaN}'),
        ("acquire", b'{"endpoint": "a", "wait_s": "1"}'),
        ("acquire", b'{"endpoint": "a", "wait_s": true}'),
        ("acquire", b'{"endpoint": "' + b"a" * 101 + b'"}'),
        ("report", b"{}"),
        ("report", b'{"lease": ""}'),
        ("report", b'{"lease": 1}'),
        ("report", b'{"lease": "x", "status": 0}'),
        ("report", b'{"lease": "x", "status": 99999999999999999999999}'),
        ("report", b'{"lease": "x", "status": 200.5}'),
        ("report", b'{"lease": "x", "status": "200"}'),
        ("report", b'{"lease": "x", "headers": {}}'),
        ("report", b'{"lease": "x", "status": 200, "headers": []}'),
        ("report", b'{"lease": "x", "status": 200, "headers": {"a": 1}}'),
        ("report", b'{"lease": "x", "status": 200, "headers": {"a": "\\udfff"}}'),
        ("report", json.dumps({"lease": "x", "status": 200, "headers": {f"h{n}": "" for n in range(501)}}).encode()),
    ],
)
async def test_a_body_that_makes_no_sense_is_refused_with_what_to_send(client, throttle, path, body):
    headers = KEYED | {"Content-Type": "application/json"}
    response = await client.post(f"/v1/throttle/{path}", data=body, headers=headers)
    answer = await problem_of(response, 400, "bad-request")

    assert answer["hint"].startswith("Send {")
    assert len(answer["detail"]) < 1000
    assert throttle.lent == {}


async def test_a_body_of_a_thousand_million_headers_is_too_large(client):
    async def endless():
        yield b'{"lease": "x", "status": 200, "headers": {'
        for number in range(100_000):
            yield b'"h%d": "x",' % number * 100

    headers = KEYED | {"Content-Type": "application/json"}
    response = await client.post("/v1/throttle/report", data=endless(), headers=headers)

    await problem_of(response, 413, "too-large")


async def test_a_body_that_says_it_is_no_json_is_refused(client):
    response = await client.post("/v1/throttle/acquire", data={"endpoint": "a"}, headers=KEYED)

    await problem_of(response, 415, "not-json")


async def test_what_is_not_known_is_said(client):
    await learn(client)
    response = await report(client, lease="x", status=200, headers={})
    assert "no such lease" in (await problem_of(response, 404, "not-known"))["detail"]

    response = await client.post("/v1/throttle/acquire", json={"policy": "p1"}, headers=KEYED)
    assert (await problem_of(response, 404, "not-known"))["suggestions"] == ["p"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=5,
)
FIELDS = st.sampled_from(["endpoint", "policy", "wait_s", "lease", "status", "headers"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=200)
@given(st.sampled_from(["acquire", "report"]), st.dictionaries(FIELDS, JSON, max_size=4))
def test_no_body_is_answered_by_a_crash(path, body):
    async def run():
        world = World(MARKET)
        lending = Lending(Throttle(100_000, 100_000, clock=world.clock, rng=random.Random(1)))
        async with browsing(world.deps(throttle=lending, throttler_key=lambda: Secret(KEY))) as client:
            text = json.dumps(body)
            headers = KEYED | {"Content-Type": "application/json"}
            response = await client.post(f"/v1/throttle/{path}", data=text, headers=headers)
            assert response.status in (200, 400, 404)

    asyncio.run(run())
