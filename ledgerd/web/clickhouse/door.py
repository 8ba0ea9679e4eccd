"""``/sql``: ClickHouse's HTTP interface as far as its clients need it to read the embedded engine."""

import asyncio
import time

import orjson
from aiohttp import web

from ledgerd.config import Sql
from ledgerd.errors import QueryRefused, StoreUnavailable
from ledgerd.sql.query import read
from ledgerd.store.engine import SERVER
from ledgerd.web.clickhouse.ask import Asked, asked
from ledgerd.web.clickhouse.blocks import with_revision
from ledgerd.web.clickhouse.errors import NOT_IMPLEMENTED, TOO_LARGE_RESULT, refusal, told
from ledgerd.web.clickhouse.guard import check_origin, check_token
from ledgerd.web.clickhouse.turns import TICKET, Turns
from ledgerd.web.deps import DEPS

OK = b"Ok.\n"
_TYPES = (
    (("TabSeparated", "TSV"), "text/tab-separated-values; charset=UTF-8"),
    (("CSV",), "text/csv; charset=UTF-8"),
    (("JSONEachRow", "JSONCompactEachRow", "JSONLines", "NDJSON"), "application/x-ndjson; charset=UTF-8"),
    (("JSON",), "application/json; charset=UTF-8"),
    (("XML",), "application/xml; charset=UTF-8"),
    (("Parquet",), "application/vnd.apache.parquet"),
    (("Native", "RowBinary", "Arrow"), "application/octet-stream"),
)
"""How formats begin, and their content types; the first that fits."""


def routes() -> list[web.RouteDef]:
    """The routes of this file. They are there whether SQL is enabled or not, and while it is not they are not found."""
    door = Door()
    paths = ("/sql", "/sql/")
    reading = [web.get(path, door.answer, allow_head=False) for path in paths]
    return [
        *reading,
        *(web.post(path, door.answer) for path in paths),
        web.get("/sql/ping", door.ping, allow_head=False),
    ]


class Door:
    """Who may come in, and what they are answered."""

    def __init__(self) -> None:
        self._turns = Turns()

    async def ping(self, request: web.Request) -> web.Response:
        """``Ok.`` if SQL is served."""
        return await self._told(request, is_ping=True)

    async def answer(self, request: web.Request) -> web.Response:
        """Run the query of ``?query=`` and the body; ``Ok.`` for a GET without one."""
        return await self._told(request, is_ping=False)

    async def _told(self, request: web.Request, *, is_ping: bool) -> web.Response:
        rules = request.app[DEPS].sql()
        if not rules.enabled:
            raise web.HTTPNotFound
        try:
            check_origin(request, rules.hosts)
            if is_ping:
                return web.Response(body=OK, headers={"Content-Type": "text/plain; charset=UTF-8"})
            return await self._answered(request, rules)
        except (QueryRefused, StoreUnavailable) as error:
            status, headers, text = told(error, _version(request))
            return web.Response(text=text, status=status, headers={"Cache-Control": "no-store", **headers})

    async def _answered(self, request: web.Request, rules: Sql) -> web.Response:
        check_token(request, rules)
        question = await asked(request, rules)
        if not question.sql and request.method == "GET":
            return web.Response(body=OK, headers={"Content-Type": "text/plain; charset=UTF-8"})
        engine = request.app[DEPS].engine
        if engine.info.name == SERVER:
            raise refusal(NOT_IMPLEMENTED, "SQL goes to your own ClickHouse here: ask the server of clickhouse.url.")
        started_s = time.perf_counter()
        async with self._turns.turn(engine, lambda: request.app[DEPS].sql().queries_max) as ticket:
            result = await read(
                engine,
                question.sql,
                question.format,
                question.params,
                settings={**question.settings, TICKET: ticket},
                timeout_s=question.timeout_s,
                database=question.database,
            )
        body, fmt = result.body, result.fmt
        if len(body) > rules.bytes_max:
            raise refusal(TOO_LARGE_RESULT, f"The answer has {len(body)} bytes, more than {rules.bytes_max}.")
        if fmt == "Native":
            try:
                body = await asyncio.to_thread(with_revision, body, question.revision)
            except ValueError as error:
                raise refusal(NOT_IMPLEMENTED, str(error)) from error
        return web.Response(body=body, headers=_headers(question, fmt, len(body), time.perf_counter() - started_s))


def _headers(question: Asked, fmt: str, body_bytes: int, took_s: float) -> dict[str, str]:
    """What ClickHouse says in the head of an answer, as far as the engine tells."""
    summary = {"result_bytes": str(body_bytes), "elapsed_ns": str(int(took_s * 1e9))}
    return {
        "Content-Type": next((kind for begins, kind in _TYPES if fmt.startswith(begins)), "text/plain; charset=UTF-8"),
        "Cache-Control": "no-store",
        "X-ClickHouse-Format": fmt,
        "X-ClickHouse-Query-Id": question.query_id,
        "X-ClickHouse-Server-Display-Name": "ledgerd",
        "X-ClickHouse-Summary": orjson.dumps(summary).decode(),
        "X-ClickHouse-Timezone": question.timezone,
    }


def _version(request: web.Request) -> str:
    try:
        return request.app[DEPS].engine.info.version
    except StoreUnavailable:
        return "unknown"
