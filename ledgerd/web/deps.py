"""What the routes are given: the ports they read, and the key under which an application carries them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from ledgerd.clock import Clock
from ledgerd.config import Freshness, Secret, Sql
from ledgerd.ledger.ledger import Ledger
from ledgerd.status import Status
from ledgerd.store.engine import Engine
from ledgerd.upstream.lending import Lending
from ledgerd.web.answers import Busy

QUERIES_MAX = 1
"""Queries of one application that run at once: two applications take two of the engine's readers, the ledger one."""
TURN_WAIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Deps:
    """Everything the web room reads. Callables are asked for each request, so a reload shows at once."""

    ledger: Ledger
    engine: Engine
    queries: Mapping[str, str]
    """The named blocks of ``schema/queries.sql``."""
    status: Callable[[], Status]
    """Must neither wait nor raise: ``/status`` always answers."""
    clock: Clock
    freshness: Callable[[], Freshness]
    version: str
    sql: Callable[[], Sql] = Sql
    """The rules of the public ``/sql``."""
    throttle: Lending | None = None
    """Turns at upstream for other jobs; None without the role ``harvest``."""
    throttler_key: Callable[[], Secret] = Secret
    """What others must show to use it; empty: they may not."""
    serves_prices: bool = True
    """The role ``api``; without it there is no ``/v1`` and no snapshot to wait for."""


DEPS = web.AppKey("deps", Deps)
TURNS = web.AppKey("turns", asyncio.Semaphore)


def carry(app: web.Application, deps: Deps) -> None:
    """Put ``deps`` where the handlers look for them."""
    app[DEPS] = deps
    app[TURNS] = asyncio.Semaphore(QUERIES_MAX)


def turn(app: web.Application) -> AbstractAsyncContextManager[None]:
    """A turn at the engine; Busy if none comes within TURN_WAIT_S."""
    return waiting_for(app[TURNS])


@asynccontextmanager
async def waiting_for(turns: asyncio.Semaphore | asyncio.Lock) -> AsyncIterator[None]:
    """``turns``, ours meanwhile; Busy if that does not come within TURN_WAIT_S."""
    try:
        async with asyncio.timeout(TURN_WAIT_S):
            await turns.acquire()
    except TimeoutError as error:
        raise Busy(text=f"No turn at the engine came within {TURN_WAIT_S:g} s.") from error
    try:
        yield
    finally:
        turns.release()
