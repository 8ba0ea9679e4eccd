"""One price, answered as quickly as it can be: this is what tools ask all day."""

import time
from email.utils import formatdate
from functools import lru_cache
from typing import NamedTuple

import orjson
from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.web_request import BaseRequest

from ledgerd.ledger.freshness import Limit, age_s, warning
from ledgerd.ledger.items import ItemSnapshot
from ledgerd.ledger.snapshot import Snapshot
from ledgerd.web import copies
from ledgerd.web.ages import admit, moment
from ledgerd.web.edge import OPEN

_HEADERS = {**OPEN, "Content-Type": "application/json", "Cache-Control": copies.CACHE}
_FIRST_LINES = "".join(["HTTP/1.1 200 OK\r\n", *(f"{name}: {value}\r\n" for name, value in _HEADERS.items())]).encode()


class Found(NamedTuple):
    """A price: what an answer calls it, its JSON object without ages and brace, and the unix second it stands for."""

    name: bytes
    head: bytes
    as_of: float


class Ready(web.StreamResponse):
    """A 200 written in one piece, headers and all: aiohttp's way, header by header, costs what finding a price does.

    ``etag`` is quoted, ``body`` JSON; neither is looked at.
    """

    def __init__(self, etag: str, body: bytes) -> None:
        super().__init__()
        self._etag, self._content = etag.encode(), body
        self._is_kept_alive = False

    @property
    def keep_alive(self) -> bool:
        """Whether the connection stays open after it."""
        return self._is_kept_alive

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter:
        """Write all of it; HEAD gets no body."""
        self._is_kept_alive = request.keep_alive
        connection = b"" if self._is_kept_alive else b"Connection: close\r\n"
        if self._is_kept_alive and request.version < HttpVersion11:
            connection = b"Connection: keep-alive\r\n"
        head = b"%bETag: %b\r\nContent-Length: %d\r\nDate: %b\r\n%b\r\n" % (
            _FIRST_LINES, self._etag, len(self._content), _date(int(time.time())), connection,
        )  # fmt: skip
        writer = request.writer
        await writer.write_eof(head if request.method == "HEAD" else head + self._content)
        return writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to write."""


def answer_one(
    request: web.Request, snapshot: Snapshot | ItemSnapshot, found: Found, now_s: float, limit: Limit
) -> web.StreamResponse:
    """The JSON of one price of ``snapshot``, with its age, or the 304; TooOld if it may not be served."""
    name, head, as_of = found
    tag = snapshot.tag
    age = age_s(as_of, now_s)
    is_stale, told = b"false", b""
    if age > limit.max_age_s:
        admit(as_of, now_s, limit)
        is_stale, told, tag = b"true", b',"warning":' + orjson.dumps(warning(age, limit)), f"{tag}-stale"
    etag = f'W/"{tag}"'
    if "If-None-Match" in request.headers and (unmodified := copies.unmodified(request, etag)) is not None:
        return unmodified
    body = b'{%b,"as_of":"%b","age_s":%.1f,"stale":%b%b,"%b":%b,"age_s":%.1f,"stale":%b}}' % (
        _place(snapshot.realm, snapshot.league), moment(as_of).encode(), age, is_stale, told, name, head, age, is_stale,
    )  # fmt: skip
    return Ready(etag, body)


@lru_cache(maxsize=1)
def _date(now_s: int) -> bytes:
    """The second as HTTP has it."""
    return formatdate(now_s, usegmt=True).encode()


@lru_cache(maxsize=256)
def _place(realm: str, league: str) -> bytes:
    """Realm and league as they stand in a JSON object."""
    return orjson.dumps({"realm": realm, "league": league})[1:-1]
