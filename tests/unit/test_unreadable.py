"""What is not HTTP is counted, not logged, and not repeated; what goes wrong on our side is logged as before."""

import asyncio
import logging

import orjson
import pytest
import uvloop
from aiohttp import web

from ledgerd.events import tally
from ledgerd.web.unreadable import SUBJECT, Runner, ServerLog, count_unreadable
from tests.webclient import PROBLEM_FIELDS

COUNTED = ("RequestUnreadable", SUBJECT)
GOOD = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
HOSTILE = [
    b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /?a=\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET http://[::1 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET http://[::1\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
    b"GET / HTTP/1.1\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"GET / HTTP/1.1\r\nX-API-Key the-key\r\n\r\n",
    b"GET / HTTP/9.the-key\r\n\r\n",
    b"the-key / HTTP/1.1\r\nHost: x\r\n\r\n",
]


async def sent(port, raw):
    """What a server answers to ``raw``."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(raw)
    async with asyncio.timeout(30):
        answer = await reader.read()
    writer.close()
    return answer


def is_problem(answer):
    """Whether that is a 400 of the shape every other answer has."""
    head, _, body = answer.partition(b"\r\n\r\n")
    told = orjson.loads(body)
    assert head.split()[1] == b"400"
    assert b"Content-Type: application/problem+json" in head
    assert b"Server: ledgerd" in head
    return set(told) == PROBLEM_FIELDS and (told["type"], told["instance"]) == ("urn:ledgerd:bad-request", "/")


async def serve_and_send(*raws):
    """A server that says well, or crashes below its application at /crash; the answers to ``raws``."""

    async def well(request):
        return web.Response(text="well") if request.path == "/" else None

    count_unreadable(asyncio.get_running_loop())
    app = web.Application()
    app.router.add_get("/{path:.*}", well)
    runner = Runner(app, logger=ServerLog(), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return [await sent(runner.addresses[0][1], raw) for raw in raws]
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("raw", HOSTILE, ids=range(len(HOSTILE)))
def test_a_request_that_cannot_be_read_is_counted_and_leaves_no_line_in_the_log(run, raw, caplog):
    before = tally[COUNTED]
    with caplog.at_level(logging.INFO):
        answer, next_one = run(serve_and_send(raw, GOOD))

    assert answer == b"" or is_problem(answer)
    assert b"the-key" not in answer
    assert next_one.endswith(b"well")
    assert tally[COUNTED] == before + 1
    assert [record.getMessage() for record in caplog.records] == []


def test_an_error_of_our_own_below_the_application_is_still_logged(caplog):
    asyncio.run(serve_and_send(GOOD.replace(b"/ ", b"/crash ", 1)))

    assert any(record.name == "aiohttp.server" for record in caplog.records)


def test_what_the_loop_is_told_of_anything_else_is_still_logged(caplog):
    async def work():
        loop = asyncio.get_running_loop()
        count_unreadable(loop)
        loop.call_exception_handler({"message": "a callback failed", "exception": ValueError("ours")})

    asyncio.run(work())

    assert [record.getMessage() for record in caplog.records] == ["a callback failed"]
