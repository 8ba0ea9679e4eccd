"""A full spool or a dead engine: harvesting waits, /status says so, and it goes on by itself."""

import asyncio
import random
import signal
from contextlib import asynccontextmanager

import pytest

import ledgerd.app
from ledgerd.clock import SystemClock
from ledgerd.config.load import load
from ledgerd.errors import StoreUnavailable
from ledgerd.store.rowdecode import decode_rows
from tests.daemon import BRONZE, EDGE, HOUR_S, TEST_S, WAIT_S, daemon, lost_and_doubled, upstream

pytest.importorskip("chdb")
pytestmark = pytest.mark.timeout(TEST_S)

REALM, SOURCE = "xbox", "exchange-xbox"
LESS_THAN_A_PAGE = 3_000
BATCH_PAGES = 3


async def is_waiting(ledgerd):
    status = await ledgerd.status()
    sources = [source["state"] for source in status["sources"]]
    return (sources, status["spool"]["state"], status["state"]) == (["waiting"], "full", "degraded")


async def test_a_full_spool_holds_harvesting_back_and_a_reload_with_more_room_lets_it_go_on():
    async with (
        upstream() as exchange,
        daemon(
            exchange.url,
            realms=[{"name": REALM}],
            spool__bytes_max=LESS_THAN_A_PAGE,
            spool__batch_bytes_max=LESS_THAN_A_PAGE,
        ) as ledgerd,
    ):
        await ledgerd.start()
        await ledgerd.wait("the source to wait for room", lambda: is_waiting(ledgerd))
        told = (await ledgerd.status())["sources"][0]
        assert "no room" in told["last_error"]
        assert len(await exchange.answers()) < 10

        ledgerd.configure(spool__bytes_max=1 << 30)
        ledgerd.signal(signal.SIGHUP)
        await ledgerd.caught_up(SOURCE, EDGE)

        assert lost_and_doubled(await exchange.rows(REALM), await ledgerd.sql(BRONZE.format(realm=REALM))) == ([], [])
        await ledgerd.well()
        assert await ledgerd.stop() == 0


class Moody:
    """An engine whose inserts into bronze fail, or hang, for as long as a test wants."""

    def __init__(self, engine):
        self._engine = engine
        self.is_down = False
        self.is_stuck = False
        self.let_go = asyncio.Event()

    def __getattr__(self, name):
        return getattr(self._engine, name)

    async def insert(self, table, *args, **kwargs):
        if self.is_down:
            raise StoreUnavailable("The engine is away for this test.")
        if self.is_stuck and table.startswith("landing_"):
            await self.let_go.wait()
        await self._engine.insert(table, *args, **kwargs)


class NoSignals:
    """In place of `ledgerd.lifecycle.Signals`, which would take over those of the test process."""

    async def answer_reloads(self, stop, heart):
        await heart.rest(stop, asyncio.Event().wait())


@asynccontextmanager
async def app_on_a_moody_engine(exchange, monkeypatch):
    """The whole program in this process, caught up; yields it, its engine, and a function that reads its tables."""
    real = ledgerd.app.make_engine
    monkeypatch.setattr(ledgerd.app, "make_engine", lambda config: Moody(real(config)))
    async with daemon(exchange.url, realms=[{"name": REALM}], spool__batch_pages_max=BATCH_PAGES) as files:
        files.configure(daemon__data_dir=str(files.data_dir))
        app = ledgerd.app.App(lambda: load(files.config, {}), SystemClock(), random.Random(1))
        engine = app._engine

        async def rows(query):
            return decode_rows(await engine.text(query, "RowBinaryWithNamesAndTypes"))[1]

        try:
            await app.start(NoSignals(), lambda url: None)
            await until("the first hours", lambda: reached(rows, EDGE))
            yield app, engine, rows
        finally:
            engine.is_down = False
            engine.let_go.set()
            await app.shut_down()


async def until(what, condition):
    end_s = asyncio.get_running_loop().time() + WAIT_S
    while not await condition():
        assert asyncio.get_running_loop().time() < end_s, what
        await asyncio.sleep(0.05)


async def reached(rows, edge):
    query = "SELECT max(toUInt32OrZero(next_cursor)) FROM bronze_ingest_checkpoints"
    return await rows(query) == [(edge,)]


async def is_degraded(app):
    return app.report.status().state.value == "degraded"


async def is_carried(app):
    return app.report.status().spool.pages == 0


async def has_spooled(app, pages):
    return app.report.status().spool.pages >= pages


@pytest.mark.parametrize("mood", ["is_down", "is_stuck"])
async def test_without_its_engine_pages_wait_in_batches_of_the_usual_size_and_are_stored_when_it_is_back(
    mood, monkeypatch
):
    async with upstream() as exchange, app_on_a_moody_engine(exchange, monkeypatch) as (app, engine, rows):
        setattr(engine, mood, True)
        await exchange.post("edge", {"advance": 10})
        await until("ten pages to wait", lambda: has_spooled(app, 10))
        if mood == "is_down":
            await until("/status to say so", lambda: is_degraded(app))
        waiting = [batch.pages for batch in app._spool.stream(SOURCE).sealed()]
        setattr(engine, mood, False)
        engine.let_go.set()
        await until("all hours", lambda: reached(rows, EDGE + 10 * HOUR_S))

        assert max(waiting) <= BATCH_PAGES
        assert len(waiting) >= 3
        assert lost_and_doubled(await exchange.rows(REALM), await rows(BRONZE.format(realm=REALM))) == ([], [])
        assert await rows("SELECT max(pages) <= 3 FROM bronze_ingest_checkpoints") == [(1,)]
        await until("the spool to be empty", lambda: is_carried(app))
