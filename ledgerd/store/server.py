"""The server engine: a ClickHouse of the operator's, over its native protocol.

A query that is cancelled or late is left by hanging up, which a server notices within its ``interactive_delay``, and
then killed by name over a connection of its own: when a call has ended, so has its query, unless the server is gone.
"""

import asyncio
import itertools
import os
import secrets
import socket
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from asynch.errors import ClickHouseException, ServerException

from ledgerd.config.rules import Secret
from ledgerd.errors import QueryRefused, StoreUnavailable
from ledgerd.store import preflight
from ledgerd.store.bind import bound
from ledgerd.store.engine import INSERT_SETTINGS, TIMEOUT_S, EngineInfo, Params, Row, Settings
from ledgerd.store.faults import fault, refused, timed_out
from ledgerd.store.sqltext import insertable, is_one_statement, quoted, string
from ledgerd.store.wire import BROKEN, Pool, Wire

READERS = 4
"""Connections for look-ups: a slow history query and a slow query of a person leave some for everybody else."""
WRITERS = 3
"""Connections for inserts and ETL: a batch is acknowledged while long INSERT … SELECTs run."""
CONNECT_S = 5.0
PING_S = 2.0
MARGIN_S = 1.0
"""How much longer than its limit a query may take: the server is told the limit and ends it itself, if it can."""
STOP_S = 3.0
"""How long killing a query may take."""
QUERY_BYTES = 262_144
"""The longest statement a server reads unless told otherwise (``max_query_size``)."""


class ServerEngine:
    """The ``Engine`` port on asynch: a few connections to one server, each closed after any error not the server's."""

    def __init__(self, url: str, *, user: str, password: Secret, database: str, memory_bytes_max: int) -> None:
        """``url``: clickhouse://host:port, or clickhouses:// for TLS; ``memory_bytes_max``: for one query."""
        address = urlsplit(url)
        self._is_secure = address.scheme == "clickhouses"
        self._host = address.hostname or ""
        self._port = address.port or (9440 if self._is_secure else 9000)
        self._user = user or "default"
        self._password = password
        self._database = database
        self._memory_bytes_max = memory_bytes_max
        self._info: EngineInfo | None = None
        self._readers = Pool(READERS, self._wire)
        self._writers = Pool(WRITERS, self._wire)
        self._calls: set[asyncio.Task[list[Row]]] = set()
        self._numbers = itertools.count(1)
        self._name = f"ledgerd-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        """Nobody else's, not even an earlier process's of this number: queries are killed by it, perhaps late."""

    @property
    def info(self) -> EngineInfo:
        """``server`` and ClickHouse's version; StoreUnavailable before ``open``."""
        if self._info is None:
            raise StoreUnavailable("The server engine is not open.")
        return self._info

    async def open(self) -> None:
        """Reach the server, make the database, look whether both will do. CannotStart says what to change."""
        async with preflight.telling(self._user, self._database):
            version = await self._greet()
            preflight.check_version(version)
            self._info, is_fit = EngineInfo("server", version), False
            try:
                await self._make_database()
                await preflight.check_settings(self, self._user)
                is_fit = True
            finally:
                if not is_fit:
                    await self.close()

    async def close(self) -> None:
        """Stop what runs and hang up; never raises. The engine may be opened again."""
        self._info = None
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)
        await self._readers.close()
        await self._writers.close()

    async def rows(
        self, sql: str, params: Params | None = None, *, timeout_s: float = TIMEOUT_S, settings: Settings | None = None
    ) -> list[Row]:
        """All rows of a SELECT. It cannot write, and takes settings here only: a SETTINGS clause is refused."""
        return await self._run(self._readers, _bound(sql, params), timeout_s, {**(settings or {}), "readonly": 1})

    async def text(
        self,
        sql: str,
        fmt: str,
        params: Params | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
        settings: Settings | None = None,
    ) -> bytes:
        """QueryRefused: over this protocol formats are the client's work, and the server has doors of its own."""
        raise refused(
            "With a server of your own, results in a format come from that server.",
            f"Type: clickhouse-client --host {self._host} --database {self._database} --query 'SELECT 1'",
        )

    async def execute(
        self, sql: str, params: Params | None = None, *, timeout_s: float = TIMEOUT_S, settings: Settings | None = None
    ) -> None:
        """Run a statement that returns nothing."""
        await self._run(self._writers, _bound(sql, params), timeout_s, settings or {})

    async def insert(
        self, table: str, columns: Sequence[str], rows: Iterable[Row], *, token: str, timeout_s: float = TIMEOUT_S
    ) -> None:
        """Insert ``rows`` as one block; the same ``token`` again is a no-op, and so are no rows at all.

        After an error nobody knows whether the rows are in: repeat the same rows with the same token.
        """
        block = insertable(rows, token)
        if not block:
            return
        target = ".".join(quoted(part) for part in table.split("."))
        sql = f"INSERT INTO {target} ({', '.join(quoted(name) for name in columns)}) VALUES"
        settings = {**INSERT_SETTINGS, "insert_deduplication_token": token}
        await self._run(self._writers, sql, timeout_s, settings, block)

    async def _run(
        self, pool: Pool, sql: str, timeout_s: float, settings: Settings, rows: Sequence[Row] | None = None
    ) -> list[Row]:
        """``_call`` as a task, which ``close`` can end without ending its caller."""
        if self._info is None:
            raise StoreUnavailable("The server engine is not open.")
        call = asyncio.create_task(self._call(pool, sql, timeout_s, settings, rows))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        try:
            return await call
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if caller is None or caller.cancelling():
                raise
            raise StoreUnavailable("The server engine was closed.") from None

    async def _call(
        self, pool: Pool, sql: str, timeout_s: float, settings: Settings, rows: Sequence[Row] | None
    ) -> list[Row]:
        """The answer to ``sql`` within ``timeout_s``; when it ends in any other way, the query is killed."""
        marker, is_asked = f"{self._name}-{next(self._numbers)}", False
        try:
            async with asyncio.timeout(timeout_s + MARGIN_S), pool.wire() as wire:
                is_asked = True
                return await wire.query(sql, rows, {**self._limits(sql, timeout_s), **settings, "log_comment": marker})
        except TimeoutError as error:
            if is_asked:
                await self._kill(marker)
            raise timed_out(timeout_s, "The query" if is_asked else "The wait for a free connection") from error
        except asyncio.CancelledError:
            if is_asked:
                await self._kill(marker)
            raise
        except ServerException as error:
            raise self._said(error) from error
        except BROKEN as error:
            raise self._lost(error) from error

    def _limits(self, sql: str, timeout_s: float) -> dict[str, Any]:
        limits = {
            "session_timezone": "UTC",
            "max_memory_usage": self._memory_bytes_max,
            "max_execution_time": timeout_s,
        }
        size = len(sql.encode())
        return {**limits, "max_query_size": size + 1} if size >= QUERY_BYTES else limits

    async def _kill(self, marker: str) -> None:
        """End the query of that name, if the server can be asked within STOP_S."""
        wire = self._wire()
        with suppress(TimeoutError, *BROKEN):
            async with asyncio.timeout(STOP_S):
                await wire.query(f"KILL QUERY WHERE Settings['log_comment'] = {string(marker)} SYNC", None, {})
        await wire.disconnect()

    def _wire(self, database: str | None = None) -> Wire:
        return Wire(  # type: ignore[no-untyped-call]  # asynch annotates little
            host=self._host,
            port=self._port,
            user=self._user,
            password=self._password.reveal(),
            database=self._database if database is None else database,
            client_name="ledgerd",
            secure=self._is_secure,
            connect_timeout=CONNECT_S,
            sync_request_timeout=PING_S,
            send_receive_timeout=None,  # a query's own limit holds for all of it
            settings_is_important=True,  # else a server ignores the settings it does not know
        )

    async def _greet(self) -> str:
        """Connect once; the server's version."""
        wire = self._wire(database="")
        try:
            await wire.connect()
            return ".".join(map(str, wire.server_info.version_tuple()))
        except ServerException as error:
            raise self._said(error) from error
        except BROKEN as error:
            raise self._lost(error) from error
        finally:
            await wire.disconnect()

    async def _make_database(self) -> None:
        """Make the database unless it is there, since looking needs no right to make one."""
        outside = Pool(1, lambda: self._wire(database=""))
        look = f"SELECT 1 FROM system.databases WHERE name = {string(self._database)}"  # noqa: S608 -- quoted
        try:
            if not await self._run(outside, look, TIMEOUT_S, {}):
                await self._run(outside, f"CREATE DATABASE IF NOT EXISTS {quoted(self._database)}", TIMEOUT_S, {})
        finally:
            await outside.close()

    def _said(self, error: ServerException) -> StoreUnavailable | QueryRefused:
        """The server's error. Being shut out passes: a person may change a password back, and who waits goes on."""
        said = fault(error.message, error.code)
        return preflight.shut_out(said, self._user, self._database) if said.code in preflight.SHUT_OUT else said

    def _lost(self, error: Exception) -> StoreUnavailable:
        cause = error.__cause__ or error
        text = cause.message if isinstance(cause, ClickHouseException) else str(cause)
        said = (isinstance(cause, OSError) and cause.strerror) or text or f"no answer for {CONNECT_S:g} s"
        return StoreUnavailable(
            f"ClickHouse at {self._host}:{self._port} is not there: {said}", "See it with: ledgerd status"
        )


def _bound(sql: str, params: Params | None) -> str:
    if not is_one_statement(sql):
        raise refused("One statement at a time.")
    try:
        sql.encode()
        return bound(sql, params)
    except ValueError as error:
        raise refused(str(error)) from error
