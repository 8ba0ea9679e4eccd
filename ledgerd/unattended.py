"""The data routes of a ledger no daemon runs for, served by this process for as long as a command needs them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

from aiohttp import web

from ledgerd import __version__
from ledgerd.chaos_scale.reference import shipped
from ledgerd.clock import SystemClock
from ledgerd.config import Config
from ledgerd.errors import QueryRefused, StoreUnavailable
from ledgerd.ledger.ledger import Ledger
from ledgerd.store.engine import Engine
from ledgerd.store.queries import load_queries
from ledgerd.web.app import create_offline_app
from ledgerd.web.deps import Deps


@asynccontextmanager
async def served(config: Config, engine: Engine, *, prices: bool) -> AsyncIterator[Path]:
    """The socket of the data routes over ``engine``, there for as long as the command runs; ``prices``: load them."""
    book = Ledger(engine, shipped(), load_queries())
    book.expect(realm.name for realm in config.realms)
    for realm in config.realms if prices else ():
        with suppress(QueryRefused):  # a database that was never migrated has no gold; the query then says so itself
            await book.reload(realm.name)
    deps = Deps(
        ledger=book,
        engine=engine,
        queries=load_queries(),
        status=_nobody_runs,
        clock=SystemClock(),
        freshness=config.freshness.serving,
        version=__version__,
    )
    runner = web.AppRunner(create_offline_app(deps), access_log=None, shutdown_timeout=0.5, handler_cancellation=True)
    await runner.setup()
    try:
        with TemporaryDirectory(prefix="ledgerd-") as folder:
            path = Path(folder) / "ledgerd.sock"
            await web.UnixSite(runner, path).start()
            yield path
    finally:
        await runner.cleanup()


def _nobody_runs() -> NoReturn:
    """The status without a daemon: there is none, and no route of ours asks for it."""
    raise StoreUnavailable("No daemon runs here.", "Start it with: ledgerd run")
