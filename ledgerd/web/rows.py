"""Answers of many rows: a page of them, some of their fields, in the format asked for, streamed, kept for a moment."""

import asyncio
import base64
import binascii
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import orjson
from aiohttp import web

from ledgerd.clock import rfc3339
from ledgerd.ledger.items import Cursor
from ledgerd.ledger.shape import Moment
from ledgerd.store.engine import SERVER, Row
from ledgerd.web import copies
from ledgerd.web.answers import BadRequest
from ledgerd.web.deps import DEPS, turn
from ledgerd.web.edge import headers_of
from ledgerd.web.encoding import accepted, packer_of
from ledgerd.web.flat import columns, csv_head, csv_select, flat_select
from ledgerd.web.params import SHOWN_MAX, Param, declared

WHOLE_ROWS_MAX = 200
"""Answers up to this size go out whole, and are packed like any other."""
PIECE_ROWS = 500
KEPT_BYTES_MAX = 32 << 20
"""All copies kept together; a league's prices are about 3 MB, packed 300 KB."""
HEAD_FIELDS = {
    "as_of": "Ledgerd-As-Of",
    "age_s": "Ledgerd-Age-S",
    "stale": "Ledgerd-Stale",
    "count": "Ledgerd-Count",
    "total": "Ledgerd-Total",
    "next": "Ledgerd-Next",
    "withheld": "Ledgerd-Withheld",
}
"""What stands beside the rows in JSON, as header fields."""
TABULAR_TIMEOUT_S = 30.0
TABULAR_SETTINGS = {"max_threads": 1, "max_query_size": 256 << 20}
"""In the order they came; and a server gets the rows inside the query."""


@dataclass(frozen=True, slots=True)
class Form:
    """A format: its content type, and what ClickHouse calls it; empty where the rows are JSON already."""

    content_type: str
    engine_name: str = ""


CSV = "CSV"
FORMATS: Mapping[str, Form] = {
    "json": Form("application/json"),
    "ndjson": Form("application/x-ndjson"),
    "csv": Form("text/csv", CSV),
    "arrow": Form("application/vnd.apache.arrow.stream", "ArrowStream"),
    "parquet": Form("application/vnd.apache.parquet", "Parquet"),
}


@dataclass(frozen=True, slots=True)
class Rows:
    """What there is to answer."""

    head: Mapping[str, Any]
    """What stands beside the rows in JSON; of it `HEAD_FIELDS` reach the other formats."""
    name: str
    """What the rows are called in JSON."""
    rows: Iterable[bytes]
    """JSON objects. Where there are many they are taken in a thread."""
    count: int
    """How many."""
    shape: Any
    """The TypedDict each is."""
    tag: str
    """The answer's ETag."""
    fields: Sequence[str] = ()
    """Of each row these alone, if any are named."""
    cache: str = copies.CACHE
    """How long a copy is good, as Cache-Control has it."""


@dataclass(slots=True)
class Kept:
    """Packed bodies of large answers, for as long as their Cache-Control lets others keep them."""

    _bodies: OrderedDict[tuple[str, ...], tuple[float, bytes]] = field(default_factory=OrderedDict)
    _bytes: int = 0

    def get(self, key: tuple[str, ...], now_s: float) -> bytes | None:
        """The body of ``key``, if it is not older than `copies.CACHE_S` at the loop's time ``now_s``."""
        made_s, body = self._bodies.get(key, (-1e9, b""))
        return body if now_s - made_s <= copies.CACHE_S else None

    def put(self, key: tuple[str, ...], body: bytes, now_s: float) -> None:
        """Keep ``body``; the oldest make way."""
        self._bytes += len(body) - len(self._bodies.pop(key, (0.0, b""))[1])
        self._bodies[key] = (now_s, body)
        while self._bytes > KEPT_BYTES_MAX:
            self._bytes -= len(self._bodies.popitem(last=False)[1][1])


KEPT = web.AppKey("kept", Kept)


def told(shape: Any, rows: Iterable[Row]) -> list[bytes]:  # noqa: ANN401  a TypedDict
    """The engine's ``rows`` as `Rows` has them; their columns are the fields of ``shape`` in its order.

    What is a `Moment` there is unix seconds here. 10 µs a row, so in a thread where there may be many.
    """
    fields = [(name, kind in {Moment, Moment | None}) for name, kind in shape.__annotations__.items()]
    return [
        orjson.dumps(
            {
                name: rfc3339(value) if is_moment and value is not None else value
                for (name, is_moment), value in zip(fields, row, strict=True)
            }
        )
        for row in rows
    ]


async def respond(request: web.Request, found: Rows, form: str) -> web.StreamResponse:
    """``found`` in the format ``form`` of `FORMATS`: whole if it is small, else streamed, and kept for a moment.

    Whether the client has a copy its handler has looked: long before there are rows.
    """
    headers = {
        **copies.headers(found.tag, found.cache),
        **_head_fields(found.head),
        "Content-Type": FORMATS[form].content_type,
    }
    if FORMATS[form].engine_name:
        body = await _tabular(request, found, FORMATS[form])
        return web.Response(body=body, headers=headers)
    if found.count <= WHOLE_ROWS_MAX:
        return web.Response(body=b"".join(_pieces(found, form)), headers=headers)
    return await _streamed(request, found, form, headers)


async def _streamed(request: web.Request, found: Rows, form: str, headers: Mapping[str, str]) -> web.StreamResponse:
    encoding = accepted(request.headers.get("Accept-Encoding", "")) or ""
    packed_as = {"Vary": "Accept-Encoding", **({"Content-Encoding": encoding} if encoding else {})}
    kept, loop = request.app[KEPT], asyncio.get_running_loop()
    key = (request.path_qs, found.tag, encoding)
    body = kept.get(key, loop.time())
    if body is not None:
        return web.Response(body=body, headers={**headers, **packed_as})
    response = web.StreamResponse(headers={**headers_of(request.path), **headers, **packed_as})
    sent = []
    with suppress(ConnectionResetError):  # the client has gone
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        async for piece in _packed(found, form, encoding):
            sent.append(piece)
            await response.write(piece)
        await response.write_eof()
        kept.put(key, b"".join(sent), loop.time())
    return response


async def _packed(found: Rows, form: str, encoding: str) -> AsyncIterator[bytes]:
    """The body in pieces, each made and packed in a thread: together they take too long for the loop."""
    packer = packer_of(encoding)
    pieces = _pieces(found, form)
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        if packed := await asyncio.to_thread(packer.compress, piece):
            yield packed
    if rest := packer.flush():
        yield rest


def _pieces(found: Rows, form: str) -> Iterator[bytes]:
    """The JSON or NDJSON of ``found``, `PIECE_ROWS` rows at a time."""
    rows = iter(found.rows if not found.fields else _picked(found.rows, found.fields))
    is_json = form == "json"
    between = b"," if is_json else b"\n"
    if is_json:
        yield orjson.dumps(found.head).removesuffix(b"}") + b',"%b":[' % found.name.encode()
    is_first = True
    while some := list(islice(rows, PIECE_ROWS)):
        yield (b"" if is_first else between) + between.join(some)
        is_first = False
    yield b"]}" if is_json else b"" if is_first else b"\n"


def _picked(rows: Iterable[bytes], names: Sequence[str]) -> Iterator[bytes]:
    for row in rows:
        facts = orjson.loads(row)
        yield orjson.dumps({name: facts[name] for name in names if name in facts})


async def _tabular(request: web.Request, found: Rows, form: Form) -> bytes:
    """The rows as a table the engine writes; fields of objects are columns: ``evidence_units``."""
    engine = request.app[DEPS].engine
    described = {name: kind for name, kind in columns(found.shape).items() if not found.fields or name in found.fields}
    if form.engine_name == CSV:
        return await _csv(request, found, described)
    if engine.info.name == SERVER:
        hint = "Ask it for format=csv or ndjson; Parquet and Arrow come from the server itself: clickhouse-client"
        raise BadRequest("The data are on a server, which writes no such answers through ledgerd.", hint)
    lines = await asyncio.to_thread(lambda: b"\n".join(found.rows))
    async with turn(request.app):
        return await engine.text(
            flat_select(described), form.engine_name, {"rows": lines.decode()}, timeout_s=TABULAR_TIMEOUT_S,
            settings=TABULAR_SETTINGS,
        )  # fmt: skip


async def _csv(request: web.Request, found: Rows, described: Mapping[str, str]) -> bytes:
    engine, rows, sql = request.app[DEPS].engine, iter(found.rows), csv_select(described)
    lines = [csv_head(described)]
    async with turn(request.app):
        while some := await asyncio.to_thread(lambda: list(islice(rows, PIECE_ROWS))):
            params = {"rows": b"\n".join(some).decode()}
            made = await engine.rows(sql, params, timeout_s=TABULAR_TIMEOUT_S, settings=TABULAR_SETTINGS)
            lines += [str(line) for (line,) in made]
    return "".join(f"{line}\n" for line in lines).encode()


def _head_fields(head: Mapping[str, Any]) -> dict[str, str]:
    """What those who get no JSON must know: how old the answer is, how many rows it has, and how it goes on."""
    told = {field: head.get(name) for name, field in HEAD_FIELDS.items()}
    return {field: orjson.dumps(value).decode().strip('"') for field, value in told.items() if value is not None}


def cursor(*, about: str) -> Any:  # noqa: ANN401  a field stands for its value
    """Where the page begins, as the answer before named it: a `Cursor`, None if it is not given."""

    def parse(name: str, text: str) -> Cursor:
        try:
            parts = orjson.loads(base64.urlsafe_b64decode(text.encode("ascii")))
        except (binascii.Error, ValueError):
            parts = None
        match parts:
            case [None | int() | float() as rank, str() as key] if not isinstance(rank, bool):
                return Cursor(rank, key)
        raise BadRequest(f"{name} is {text[:SHOWN_MAX]!r}.", "Take it from `next` of the answer before, as it is.")

    return declared(None, Param(about, {"type": "string", "minLength": 1}, parse))


def next_cursor(after: Cursor | None) -> str | None:
    """What `cursor` reads again; None at the end."""
    return None if after is None else base64.urlsafe_b64encode(orjson.dumps(list(after))).decode()
