"""The embedded engine: ClickHouse inside this process (chdb), one data directory, nothing to install or connect to.

Every call gets a session of its own (0.1 ms): no setting, database or half-read result outlives it, failed or not.
Inserts go as RowBinary through ``INFILE`` from an anonymous memory file. chdb's streaming insert would be the obvious
door, but in chdb-core 26.9 it reports success when a materialized view throws, a constraint or partition limit is
hit, or the insert is killed or timed out after parsing (measured; ``test_insert_reports_what_a_view_throws``).
"""

import asyncio
import fcntl
import itertools
import os
import re
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from ledgerd.errors import CannotStart, LedgerdError, StoreLocked, StoreUnavailable
from ledgerd.store.engine import INSERT_SETTINGS, TIMEOUT_S, EngineInfo, Params, Row, Settings
from ledgerd.store.faults import fault, refused, timed_out
from ledgerd.store.params import literals
from ledgerd.store.rowbinary import encode_rows
from ledgerd.store.rowdecode import decode_rows
from ledgerd.store.sqltext import column_list, insertable, is_insert, is_one_statement, quoted, set_statement

T = TypeVar("T")

READERS = 3
"""Threads for look-ups: a slow history query and a slow query of a person leave one for everybody else."""
WRITERS = 2
"""Threads for inserts and ETL: a batch is acknowledged while a long INSERT … SELECT runs."""
MARGIN_S = 1.0
"""How much longer than its limit a query may take to notice the limit itself, before we stop it."""
STOP_S = 10.0
"""How long a stopped query may take to let go of its thread (``sleep(3)`` is the most stubborn known)."""
KILL_EVERY_S = 0.05
"""A query killed before it registered is not found: ask again."""
SPARE_BYTES_MAX = 32 << 20
"""A memory file of this size is kept for the next insert; a batch of the river is 24 MB."""

_SERVER_ARGS = {
    "mark_cache_size": 32 << 20,
    "index_mark_cache_size": 4 << 20,
    "primary_index_cache_size": 32 << 20,
    "uncompressed_cache_size": 0,
    "index_uncompressed_cache_size": 0,
    "query_condition_cache_size": 4 << 20,
    "compiled_expression_cache_size": 8 << 20,
    "background_pool_size": 2,
    "background_schedule_pool_size": 2,
    "max_thread_pool_size": 256,
    "max_thread_pool_free_size": 4,
}
"""Small caches and pools: the defaults are a server's (the mark cache alone may take 5 GB)."""


@dataclass(slots=True, eq=False)
class _Job:
    """One call on its way through a worker thread; ``marker`` finds it in system.processes."""

    marker: str
    timeout_s: float
    deadline_s: float
    is_stopped: bool = False
    done: Future[Any] = field(default_factory=Future)
    answer: asyncio.Future[Any] = field(init=False)

    def remaining_s(self) -> float:
        """Seconds left of the limit; StoreUnavailable if none are, or the caller has gone."""
        remaining_s = self.deadline_s - time.monotonic()
        if self.is_stopped or remaining_s <= 0:
            raise timed_out(self.timeout_s, "The wait for a free engine thread")
        return remaining_s


class _MemoryFiles:
    """Files for inserts to be written into, by table, used again: new memory for a file costs more than filling it."""

    def __init__(self) -> None:
        self._spare: dict[str, int] = {}

    @contextmanager
    def of(self, table: str) -> Iterator[int]:
        """An open file, the caller's own meanwhile; what was written for ``table`` before may still be in it."""
        number = self._spare.pop(table, None) or os.memfd_create("ledgerd-insert")
        try:
            yield number
        finally:
            if os.fstat(number).st_size > SPARE_BYTES_MAX or self._spare.setdefault(table, number) != number:
                os.close(number)

    def close(self) -> None:
        """Give up all that are not in use."""
        while self._spare:
            os.close(self._spare.popitem()[1])


class EmbeddedEngine:
    """The ``Engine`` port on chdb: at most one data directory per process, one process per data directory."""

    def __init__(self, path: Path, *, database: str, memory_bytes_max: int) -> None:
        """``path``: the data directory, made if missing; ``memory_bytes_max``: for all queries and caches together."""
        self._path = path.absolute()
        self._database = database
        self._memory_bytes_max = memory_bytes_max
        self._info: EngineInfo | None = None
        self._keeper: Any = None
        self._pools: dict[str, ThreadPoolExecutor] = {}
        self._running: dict[str, _Job] = {}
        self._numbers = itertools.count(1)
        self._types: dict[str, dict[str, str]] = {}
        self._files = _MemoryFiles()
        self._stops: set[asyncio.Task[None]] = set()

    @property
    def info(self) -> EngineInfo:
        """``embedded`` and ClickHouse's version; StoreUnavailable before ``open``."""
        if self._info is None:
            raise StoreUnavailable("The embedded engine is not open.")
        return self._info

    async def open(self) -> None:
        """Take the data directory and make the database. StoreLocked: another process has it. CannotStart: no chdb."""
        self._pools = {
            "read": ThreadPoolExecutor(READERS, "store-read"),
            "write": ThreadPoolExecutor(WRITERS, "store-write"),
            "control": ThreadPoolExecutor(1, "store-control"),
        }
        try:
            self._info = await asyncio.wrap_future(self._pools["control"].submit(self._connect))
        except BaseException:
            self._pools["control"].submit(self._let_go)  # after _connect, which goes on if we were cancelled
            self._shut_pools()
            raise

    async def close(self) -> None:
        """Stop what runs, let go of the directory; never raises. The engine may be opened again."""
        self._info = None
        await asyncio.gather(*(self._stop(job) for job in list(self._running.values())), return_exceptions=True)
        if self._keeper is not None:
            await asyncio.wrap_future(self._pools["control"].submit(self._let_go))
        self._shut_pools()
        self._types.clear()
        self._files.close()

    async def rows(
        self, sql: str, params: Params | None = None, *, timeout_s: float = TIMEOUT_S, settings: Settings | None = None
    ) -> list[Row]:
        """All rows of a SELECT. It cannot write, and takes settings here only: a SETTINGS clause is refused."""
        read = partial(_read_rows, sql, _literals(sql, params))
        return await self._run("read", read, timeout_s, {**(settings or {}), "readonly": 1})

    async def text(
        self,
        sql: str,
        fmt: str,
        params: Params | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
        settings: Settings | None = None,
    ) -> bytes:
        """A SELECT's result in format ``fmt`` (a FORMAT clause in ``sql`` wins); limits as for ``rows``."""
        read = partial(_read_text, sql, fmt, _literals(sql, params))
        return await self._run("read", read, timeout_s, {**(settings or {}), "readonly": 1})

    async def execute(
        self, sql: str, params: Params | None = None, *, timeout_s: float = TIMEOUT_S, settings: Settings | None = None
    ) -> None:
        """Run a statement that returns nothing."""
        run = partial(_read_text, sql, "Null", _literals(sql, params))
        try:
            await self._run("write", run, timeout_s, settings or {})
        finally:
            if not is_insert(sql):
                self._types.clear()

    async def insert(
        self, table: str, columns: Sequence[str], rows: Iterable[Row], *, token: str, timeout_s: float = TIMEOUT_S
    ) -> None:
        """Insert ``rows`` as one block; the same ``token`` again is a no-op, and so are no rows at all.

        After an error nobody knows whether the rows are in: repeat the same rows with the same token.
        """
        block = insertable(rows, token)
        if not block:
            return
        typed = await self._typed(table, columns)
        send = partial(_send, table, typed, block, self._files)
        try:
            await self._run("write", send, timeout_s, {**INSERT_SETTINGS, "insert_deduplication_token": token})
        except LedgerdError:
            self._types.pop(table, None)  # the table may have changed behind our back
            raise

    async def _typed(self, table: str, columns: Sequence[str]) -> list[tuple[str, str]]:
        """(name, type) of ``columns``; QueryRefused names one the table does not have."""
        if table not in self._types:
            database, _, name = table.rpartition(".")
            found = await self.rows(
                "SELECT name, type FROM system.columns WHERE database = {database:String} AND table = {name:String}",
                {"database": database or self._database, "name": name},
            )
            self._types[table] = dict(found)
        return column_list(table, self._types[table], columns)

    async def _run(
        self, pool: str, work: "Callable[[Any, _Job], T]", timeout_s: float, settings: Mapping[str, str | int]
    ) -> T:
        """``work`` on a fresh session in a thread of ``pool``, within ``timeout_s``; a cancelled caller stops it."""
        if self._info is None:
            raise StoreUnavailable("The embedded engine is not open.")
        marker = f"ledgerd-{os.getpid()}-{next(self._numbers)}"
        job = _Job(marker, timeout_s, time.monotonic() + timeout_s)
        assignments = {**self._limits(), **settings, "log_comment": marker}
        job.done = self._pools[pool].submit(self._work, job, set_statement(assignments), work)
        job.answer = answer = asyncio.wrap_future(job.done)
        answer.add_done_callback(self._forget(job))
        self._running[marker] = job
        try:
            await asyncio.wait({answer}, timeout=timeout_s + MARGIN_S)
        except asyncio.CancelledError:
            await asyncio.shield(self._in_background(self._stop(job)))
            raise
        if answer.cancelled():
            raise StoreUnavailable("The embedded engine was closed.")
        if answer.done():
            return answer.result()  # type: ignore[no-any-return]  # what ``work`` returned
        await asyncio.shield(self._in_background(self._stop(job)))
        raise timed_out(timeout_s, "The query")

    def _forget(self, job: _Job) -> Callable[[asyncio.Future[Any]], None]:
        def forget(answer: asyncio.Future[Any]) -> None:
            self._running.pop(job.marker, None)
            if not answer.cancelled():
                answer.exception()  # seen, also where the caller has gone

        return forget

    def _limits(self) -> dict[str, str | int]:
        return {"session_timezone": "UTC", "max_memory_usage": self._memory_bytes_max * 3 // 4}

    def _work(self, job: _Job, set_sql: str, work: "Callable[[Any, _Job], T]") -> T:
        """In a worker thread: a session, its settings, the work; every engine error becomes one of ours."""
        limit = f"SET max_execution_time = {max(job.remaining_s(), 0.001):.3f}"
        try:
            session = self._session(f"{self._path}?database={self._database}")
            try:
                session.query(limit)
                session.query(set_sql)
                return work(session, job)
            finally:
                session.cleanup()
        except UnicodeDecodeError as error:  # the engine quotes a value in its message, as bytes
            raise fault(error.object.decode(errors="replace")) from error
        except ValueError as error:
            raise refused(str(error)) from error
        except RuntimeError as error:
            raise fault(str(error)) from error

    async def _stop(self, job: _Job) -> None:
        """Kill ``job``'s query until its thread is free, for STOP_S at most."""
        job.is_stopped = True
        give_up_s = time.monotonic() + STOP_S
        while not (job.done.cancel() or job.done.done()) and time.monotonic() < give_up_s:
            await asyncio.wrap_future(self._pools["control"].submit(self._kill, job.marker))
            await asyncio.wait({job.answer}, timeout=KILL_EVERY_S)

    def _kill(self, marker: str) -> None:
        with suppress(RuntimeError):  # no memory to kill with: _stop asks again until the query is gone
            self._keeper.query(f"KILL QUERY WHERE Settings['log_comment'] = '{marker}' ASYNC", "Null")

    def _let_go(self) -> None:
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cleanup()

    def _in_background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._stops.add(task)
        task.add_done_callback(self._stops.discard)
        return task

    def _session(self, address: str) -> Any:  # noqa: ANN401 -- chdb's Session; its module may be missing
        # Imported here, since a server deployment has no chdb and the import costs 0.3 s and 60 MB.
        from chdb.session import Session  # noqa: PLC0415 -- see the line above

        return Session(address)  # type: ignore[no-untyped-call]  # chdb annotates nothing

    def _connect(self) -> EngineInfo:
        _take_directory(self._path)
        args = {**_SERVER_ARGS, "max_server_memory_usage": self._memory_bytes_max}
        address = f"{self._path}?" + "&".join(f"{name}={value}" for name, value in args.items())
        try:
            self._keeper = self._session(address)
            self._keeper.query(f"CREATE DATABASE IF NOT EXISTS {quoted(self._database)}")
            version = bytes(self._keeper.query("SELECT version()", "TSVRaw").bytes()).decode().strip()
        except ImportError as error:
            raise CannotStart(
                "The embedded engine is not installed.", "Type `pip install 'ledgerd[embedded]'`."
            ) from error
        except RuntimeError as error:
            _take_directory(self._path)  # somebody may have been quicker
            raise CannotStart(
                f"The embedded engine cannot open {self._path}: {fault(str(error)).message}", "Type `ledgerd status`."
            ) from error
        return EngineInfo("embedded", version)

    def _shut_pools(self) -> None:
        for pool in self._pools.values():
            pool.shutdown(wait=False)


def _literals(sql: str, params: Params | None) -> dict[str, str]:
    if not is_one_statement(sql):
        raise refused("One statement at a time.")
    try:
        sql.encode()
        return literals(sql, params)
    except ValueError as error:
        raise refused(str(error)) from error


def _read_text(sql: str, fmt: str, params: Mapping[str, str], session: Any, job: _Job) -> bytes:  # noqa: ANN401 -- chdb's
    job.remaining_s()
    return bytes(session.query(sql, fmt, params=params).bytes())


def _read_rows(sql: str, params: Mapping[str, str], session: Any, job: _Job) -> list[Row]:  # noqa: ANN401 -- chdb's
    return decode_rows(_read_text(sql, "RowBinaryWithNamesAndTypes", params, session, job))[1]


def _send(  # noqa: PLR0917 -- the last two come from the worker thread
    table: str,
    columns: Sequence[tuple[str, str]],
    rows: Sequence[Row],
    files: _MemoryFiles,
    session: Any,  # noqa: ANN401 -- chdb's
    job: _Job,
) -> None:
    """Encode ``rows`` into a memory file and have the engine read it."""
    with files.of(table) as number:
        with os.fdopen(number, "wb", closefd=False) as out:
            out.seek(0)
            for chunk in encode_rows(columns, rows):
                job.remaining_s()
                out.write(chunk)
            out.truncate()
        names = ", ".join(quoted(name) for name, _ in columns)
        target = ".".join(quoted(part) for part in table.split("."))
        session.query(f"INSERT INTO {target} ({names}) FROM INFILE '/proc/self/fd/{number}' FORMAT RowBinary")


def _take_directory(path: Path) -> None:
    """Make ``path``; CannotStart if that fails, StoreLocked if another process holds its lock.

    ClickHouse flocks ``status`` in its data directory and writes its process id there.
    """
    if "?" in str(path):
        raise CannotStart(f"The data directory {path} must not hold a question mark.", "Type `ledgerd check-config`.")
    try:
        path.mkdir(parents=True, exist_ok=True)
        status = (path / "status").open("r+b")
    except FileNotFoundError:
        return
    except OSError as error:
        raise CannotStart(
            f"The data directory {path} cannot be used: {error.strerror}.", "Type `ledgerd check-config`."
        ) from error
    with status:
        try:
            fcntl.flock(status, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = re.search(rb"PID: (\d+)", status.read())
            who = f"process {int(owner[1])}" if owner else "another process"
            raise StoreLocked(f"The data directory {path} is in use by {who}.", "Type `ledgerd status`.") from error
