"""What the routes are given: the ports they read, and the key under which an application carries them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from ledgerd.clock import Clock
from ledgerd.ledger.freshness import Rules
from ledgerd.ledger.ledger import Ledger
from ledgerd.status import Status
from ledgerd.store.engine import Engine
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
    freshness: Callable[[], Rules]
    version: str
    serves_prices: bool = True
    """The role ``api``; without it there is no ``/v1`` and no snapshot to wait for."""


DEPS = web.AppKey("deps", Deps)
TURNS = web.AppKey("turns", asyncio.Semaphore)


def carry(app: web.Application, deps: Deps) -> None:
    """Put ``deps`` where the handlers look for them."""
    app[DEPS] = deps
    app[TURNS] = asyncio.Semaphore(QUERIES_MAX)


@asynccontextmanager
async def turn(app: web.Application) -> AsyncIterator[None]:
    """A turn at the engine; Busy if none comes within TURN_WAIT_S."""
    turns = app[TURNS]
    try:
        async with asyncio.timeout(TURN_WAIT_S):
            await turns.acquire()
    except TimeoutError as error:
        raise Busy(text=f"No turn at the engine came within {TURN_WAIT_S:g} s.") from error
    try:
        yield
    finally:
        turns.release()
