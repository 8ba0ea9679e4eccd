"""Turns at the engine for ``/sql``: a few queries at a time, however stubborn they are."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from ledgerd.errors import QueryRefused, StoreUnavailable
from ledgerd.store.engine import Engine
from ledgerd.web.clickhouse.errors import TOO_MANY_AT_ONCE, refusal

WAIT_S = 5.0
"""How long a query waits for its turn."""
WAITING_MAX = 32
"""How many may wait; a dashboard asks for all its panels at once."""
LOOK_S = 1.0
TICKET = "http_headers_progress_interval_ms"
"""A setting without effect here: its value is the number by which a query is found among those that run."""
_STILL_RUNNING = f"SELECT count() FROM system.processes WHERE Settings['{TICKET}'] = {{ticket:String}}"  # noqa: S608 -- a constant


class Turns:
    """Who runs and who waits.

    A function that is at one huge value notices neither its time limit nor that it was killed; its thread is lost
    until it ends. Its turn is lost for as long, or a few such queries would take every reader of the engine.
    """

    def __init__(self) -> None:
        self._running = 0
        self._waiting = 0
        self._freed = asyncio.Condition()
        self._tickets = itertools.count(1_000_001)
        self._leaving: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def turn(self, engine: Engine, queries_max: Callable[[], int]) -> AsyncIterator[int]:
        """A turn, and the number for the setting TICKET; QueryRefused if none comes within WAIT_S, or too many wait."""
        await self._enter(queries_max)
        ticket, may_run_on = next(self._tickets), False
        try:
            yield ticket
        except (StoreUnavailable, asyncio.CancelledError):
            may_run_on = True
            raise
        finally:
            leaving = asyncio.create_task(self._leave(engine, ticket if may_run_on else None))
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)

    async def _enter(self, queries_max: Callable[[], int]) -> None:
        if self._waiting >= WAITING_MAX:
            raise _busy(queries_max())
        self._waiting += 1
        try:
            async with asyncio.timeout(WAIT_S), self._freed:
                await self._freed.wait_for(lambda: self._running < queries_max())
                self._running += 1
        except TimeoutError as error:
            raise _busy(queries_max()) from error
        finally:
            self._waiting -= 1

    async def _leave(self, engine: Engine, ticket: int | None) -> None:
        """Give a turn back, when the query of ``ticket`` is over if there is one that may run on."""
        while ticket and await _is_running(engine, ticket):  # noqa: ASYNC110 -- the engine announces no end
            await asyncio.sleep(LOOK_S)
        async with self._freed:
            self._running -= 1
            self._freed.notify()


async def _is_running(engine: Engine, ticket: int) -> bool:
    """True while the engine is at the query of ``ticket``, or is too busy to say."""
    try:
        return await engine.rows(_STILL_RUNNING, {"ticket": str(ticket)}) != [(0,)]
    except StoreUnavailable:
        return True


def _busy(queries_max: int) -> QueryRefused:
    return refusal(TOO_MANY_AT_ONCE, f"Too many simultaneous queries: {queries_max} may run. Ask again in a moment.")
