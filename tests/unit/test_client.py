"""The client: any status is an answer, anything else is remembered and raised."""

import asyncio
import re

import aiohttp
import pytest
from aioresponses import CallbackResult, aioresponses

from ledgerd.clock import SystemClock
from ledgerd.errors import UpstreamUnavailable
from ledgerd.upstream.client import Client, Limits
from ledgerd.upstream.throttle import Throttle

URL = "http://127.0.0.1:1/api"


@pytest.fixture
async def client():
    records = []

    async def remember(record):
        records.append(record)

    limits = Limits(timeout_s=5, body_bytes_max=100)
    throttle = Throttle(1000, 1000)
    async with Client(user_agent="OAuth t/1 (contact: c) PoETrade/test", limits=limits, throttle=throttle,
                      clock=SystemClock(), remember=remember) as made:  # fmt: skip
        made.records = records
        yield made


def ask(client):
    return client.get(URL, source="exchange-pc", realm="pc", cursor="3600")


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(200, "ok"), (404, "not found"), (429, "rate limited"), (403, "refused"), (503, "failed"), (302, "unexpected")],
)
async def test_every_status_is_an_answer_and_one_record(client, status, outcome):
    with aioresponses() as upstream:
        upstream.get(URL, status=status, body=b"{}", headers={"Retry-After": "7", "X-Rate-Limit-Policy": "p"})
        answer = await ask(client)
    [record] = client.records

    assert (answer.status, answer.body, answer.retry_after_s) == (status, b"{}", 7.0)
    assert (record.outcome, record.status, record.body_bytes, record.policy) == (outcome, status, 2, "p")


@pytest.mark.parametrize("failure", [aiohttp.ServerDisconnectedError(), TimeoutError(), ConnectionResetError("reset")])
async def test_no_answer_is_remembered_and_transient(client, failure):
    with aioresponses() as upstream:
        upstream.get(URL, exception=failure)
        with pytest.raises(UpstreamUnavailable, match="gave no answer"):
            await ask(client)
    [record] = client.records

    assert (record.status, record.outcome) == (0, "no answer")
    assert type(failure).__name__ in record.error


async def test_a_body_over_the_limit_is_no_answer(client):
    with aioresponses() as upstream:
        upstream.get(URL, body=b"x" * 101)
        with pytest.raises(UpstreamUnavailable, match="longer than 100 bytes"):
            await ask(client)


async def test_a_hostile_retry_after_is_ignored(client):
    with aioresponses() as upstream:
        upstream.get(URL, status=429, headers={"Retry-After": "9" * 400})
        answer = await ask(client)

    assert answer.retry_after_s is None


async def test_who_we_are_goes_with_every_request(client):
    seen = {}

    def note(url, **kwargs):
        seen.update(kwargs)
        return CallbackResult(body=b"{}")

    with aioresponses() as upstream:
        upstream.get(re.compile(".*"), callback=note)
        await ask(client)

    assert client._session.headers["User-Agent"].startswith("OAuth t/1 (contact: c)")
    assert seen["allow_redirects"] is False


async def test_header_bytes_that_are_no_ascii_are_escaped(client):
    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        head = b"HTTP/1.1 200 OK\r\nX-Rate-Limit-Policy: p\xff\r\nContent-Encoding: z\xfe\r\nContent-Length: 2\r\n\r\n"
        writer.write(head + b"{}")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        answer = await client.get(f"http://127.0.0.1:{port}/", source="exchange-pc", realm="pc", cursor="3600")
    [record] = client.records

    assert (answer.encoding, record.policy) == (r"z\udcfe", r"p\udcff")


async def test_the_throttle_spaces_requests_evenly():
    throttle = Throttle(50, 1000)
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    for _ in range(6):
        await throttle.admit(backfill=True)

    assert loop.time() - began_s >= 5 / 50 * 0.95
