"""The client: any status is an answer, anything else is remembered and raised."""

import asyncio
import re

import aiohttp
import pytest
from aioresponses import CallbackResult, aioresponses

from ledgerd.clock import SystemClock
from ledgerd.config import Secret
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


async def test_headers_are_told_before_the_body_is_there(client):
    told, is_told = [], asyncio.Event()

    def on_headers(status, headers):
        told.append((status, headers["X-Next-Change-Id"]))
        is_told.set()

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nX-Next-Change-Id: 1\xff\r\nContent-Length: 2\r\n\r\n")
        await is_told.wait()
        writer.write(b"{}")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        answer = await client.get(url, source="river-pc", realm="pc", cursor="1", on_headers=on_headers)

    assert answer.body == b"{}"
    assert told == [(200, r"1\udcff")]


async def test_a_token_goes_into_its_header_and_into_no_record(client):
    seen = []
    with aioresponses() as upstream:
        upstream.get(URL, callback=lambda url, **sent: seen.append(sent["headers"]["Authorization"]))
        await client.get(URL, source="river-pc", realm="pc", cursor="1", bearer="hunter2")

    assert seen == ["Bearer hunter2"]
    assert "hunter2" not in repr(client.records)


async def test_a_form_is_sent_as_one_and_recorded_by_its_url_only(client):
    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        heard.append((head, await reader.readexactly(len("name=a+b&secret=c%26d"))))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        await writer.drain()
        writer.close()

    heard = []
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/token"
        answer = await client.post_form(url, {"name": "a b", "secret": Secret("c&d")}, source="oauth-token")
    [(head, form)], [record] = heard, client.records

    assert head.startswith(b"POST /token HTTP/1.1\r\n")
    assert b"Content-Type: application/x-www-form-urlencoded" in head
    assert form == b"name=a+b&secret=c%26d"
    assert (answer.body, record.url, record.source, record.realm, record.cursor) == (b"{}", url, "oauth-token", "", "")


@pytest.mark.parametrize("failure", [aiohttp.ClientPayloadError("hunter2"), aiohttp.ServerDisconnectedError("hunter2"),
                                     OSError("hunter2"), ValueError("hunter2")])  # fmt: skip
async def test_why_no_answer_came_never_tells_a_secret(client, failure):
    with aioresponses() as upstream:
        upstream.post(URL, exception=failure)
        with pytest.raises(UpstreamUnavailable, match=type(failure).__name__) as caught:
            await client.post_form(URL, {"secret": Secret("hunter2")}, source="oauth-token")

    assert "hunter2" not in f"{caught.value}{client.records}"


async def test_why_a_request_with_a_token_met_no_answer_is_still_said(client):
    with pytest.raises(UpstreamUnavailable, match="Cannot connect to host"):
        await client.get(URL, source="river-pc", realm="pc", cursor="1", bearer="hunter2")
