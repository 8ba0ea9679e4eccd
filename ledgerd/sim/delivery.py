"""Getting one answer onto the wire, or not: compression, and the faults that strike in transport."""

import asyncio
import gzip
import socket
import struct
from functools import lru_cache

from aiohttp import web

from ledgerd.sim.faults import Answer
from ledgerd.sim.state import Sim

_SLOW_PIECES = 16
_PACK_FROM_BYTES = 256


async def deliver(sim: Sim, request: web.Request, answer: Answer, fault: str | None) -> tuple[web.StreamResponse, bool]:
    """Send ``answer`` and say whether all of it was handed to the connection.

    ConnectionError when the client went away first, CancelledError when it did so during a hang.
    """
    if fault == "hang":
        await sim.stopping.wait()
        return _cut(request, web.StreamResponse()), False
    packed = await _packed(request, answer)
    if fault == "reset":
        return await _reset(request, packed), False
    if fault == "slow":
        return await _slow(sim, request, packed), True
    response = web.Response(status=packed.status, body=packed.body, headers=_headers(packed))
    await response.prepare(request)
    await response.write_eof()
    return response, True


async def _packed(request: web.Request, answer: Answer) -> Answer:
    """The answer as the client accepts it: gzip where it may be and is worth it."""
    accepts = "gzip" in request.headers.get("Accept-Encoding", "").lower()
    if answer.encoding or not accepts or len(answer.body) < _PACK_FROM_BYTES:
        return answer
    body = await asyncio.to_thread(_gzip, answer.body, answer.gzip_level)
    return Answer(answer.status, body, answer.content_type, "gzip", answer.headers)


@lru_cache(maxsize=8)
def _gzip(body: bytes, level: int) -> bytes:
    """``body`` packed; the same bytes every time."""
    return gzip.compress(body, level, mtime=0)


def _headers(answer: Answer) -> dict[str, str]:
    """The headers of an answer."""
    headers = {"Content-Type": answer.content_type, "Vary": "Accept-Encoding", **dict(answer.headers)}
    return {**headers, "Content-Encoding": answer.encoding} if answer.encoding else headers


async def _started(request: web.Request, answer: Answer) -> web.StreamResponse:
    """A response whose headers are out and promise the whole body."""
    response = web.StreamResponse(status=answer.status, headers=_headers(answer))
    response.content_length = len(answer.body)
    await response.prepare(request)
    return response


async def _reset(request: web.Request, answer: Answer) -> web.StreamResponse:
    """Half the body, then a TCP reset."""
    response = await _started(request, answer)
    await response.write(answer.body[: len(answer.body) // 2])
    return _cut(request, response)


def _cut(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """Drop the connection at once, with a reset where the system lets us."""
    if request.transport is not None:
        sock = request.transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
    return response


async def _slow(sim: Sim, request: web.Request, answer: Answer) -> web.StreamResponse:
    """The whole body, in pieces with waits between."""
    response = await _started(request, answer)
    size = -(-len(answer.body) // _SLOW_PIECES)
    for start in range(0, len(answer.body), size):
        await sim.clock.sleep(sim.slow_s / _SLOW_PIECES)
        await response.write(answer.body[start : start + size])
    await response.write_eof()
    return response
