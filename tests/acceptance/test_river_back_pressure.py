"""A full spool, a full disk, a dead engine, a lane less: the river waits or goes on by itself, and nothing is lost."""

import asyncio
import errno
import random
import signal
from contextlib import asynccontextmanager

import pytest

import ledgerd.app
from ledgerd.clock import SystemClock
from ledgerd.config.load import load
from tests.acceptance.test_back_pressure import Moody, NoSignals, is_degraded, until
from tests.daemon import TEST_S, daemon, upstream
from tests.spools import failing

pytest.importorskip("chdb")
pytestmark = pytest.mark.timeout(TEST_S)

SOURCE = "river-pc"
REALMS = [{"name": "pc", "exchange": False, "river": True}]
LESS_THAN_A_PAGE = 500
BATCH_PAGES = 3
FAST = {"upstream__river_poll_s": 0.05, "spool__batch_pages_max": BATCH_PAGES}
PAGES = f"SELECT sum(pages) FROM bronze_ingest_checkpoints WHERE source = '{SOURCE}'"


@asynccontextmanager
async def flowing(**settings):
    """A stand-in whose river flows fast, and a daemon that may follow it at once."""
    async with upstream(river_rate=60.0) as stand_in:
        await stand_in.lift_limits()
        async with daemon(stand_in.url, **{"realms": REALMS, **FAST, **settings}) as ledgerd:
            yield stand_in, ledgerd


async def pages(ledgerd):
    return (await ledgerd.sql(PAGES))[0][0]


async def more_pages(ledgerd, count=8):
    before = await ledgerd.wait("pages", lambda: pages(ledgerd))

    async def have_come():
        return await pages(ledgerd) >= before + count

    await ledgerd.wait(f"{count} more pages", have_come)


async def assert_whole(ledgerd, stand_in):
    """Nothing lost, nothing doubled."""
    await ledgerd.still()
    verdict = await ledgerd.river_verdict(stand_in)

    assert verdict.findings == {}
    assert verdict.pages > 0


async def is_waiting(ledgerd):
    status, source = await ledgerd.status(), await ledgerd.source(SOURCE)
    return (source["state"], status["spool"]["state"], status["state"]) == ("waiting", "full", "degraded")


async def test_a_full_spool_holds_the_river_back_and_a_reload_with_more_room_lets_it_go_on():
    tight = {"spool__bytes_max": LESS_THAN_A_PAGE, "spool__batch_bytes_max": LESS_THAN_A_PAGE}
    async with flowing(**tight) as (stand_in, ledgerd):
        await ledgerd.start()
        await ledgerd.wait("the river to wait for room", lambda: is_waiting(ledgerd))
        asked = len(await stand_in.river_answers())
        await asyncio.sleep(1.0)

        assert "spool.bytes_max" in (await ledgerd.source(SOURCE))["last_error"]
        assert len(await stand_in.river_answers()) <= asked + 1, "upstream is not asked for what nobody can keep"

        ledgerd.configure(spool__bytes_max=1 << 30, spool__batch_bytes_max=1 << 25)
        ledgerd.signal(signal.SIGHUP)
        await more_pages(ledgerd)
        await assert_whole(ledgerd, stand_in)
        assert await ledgerd.stop() == 0


async def test_a_lane_switched_off_live_is_counted_from_then_on_while_the_others_go_on():
    async with flowing() as (stand_in, ledgerd):
        await ledgerd.start()
        await more_pages(ledgerd)
        ledgerd.configure(realms=[{**REALMS[0], "leagues": ["Allflame"]}])
        ledgerd.signal(signal.SIGHUP)
        narrow = "SELECT sum(pages) FROM bronze_ingest_checkpoints WHERE leagues = ['Allflame'] AND rows_skipped > 0"

        async def is_narrow():
            return (await ledgerd.sql(narrow))[0][0] > 10

        await ledgerd.wait("pages of the one lane", is_narrow)
        await assert_whole(ledgerd, stand_in)
        of_batch = "batch_id IN (SELECT batch_id FROM bronze_ingest_checkpoints WHERE leagues = ['Allflame'])"
        kept = f"SELECT DISTINCT league FROM bronze_raw_stashes WHERE {of_batch} AND league != '' ORDER BY league"
        left_out = f"SELECT sum(stashes) > 0 FROM bronze_river_counts WHERE {of_batch} AND NOT stored"

        assert await ledgerd.sql(kept) == [("Allflame",)]
        assert await ledgerd.sql(left_out) == [(1,)]
        assert await ledgerd.stop() == 0


@asynccontextmanager
async def app_on_a_moody_engine(files, monkeypatch, clock=None):
    """The whole program in this process, with pages committed; yields it, its engine, and how many pages are."""
    real = ledgerd.app.make_engine
    monkeypatch.setattr(ledgerd.app, "make_engine", lambda config: Moody(real(config)))
    files.configure(daemon__data_dir=str(files.data_dir))
    app = ledgerd.app.App(lambda: load(files.config, {}), clock or SystemClock(), random.Random(1))
    engine = app._engine

    async def has_pages(count):
        return (await engine.rows(PAGES))[0][0] >= count

    try:
        await app.start(NoSignals(), lambda url: None)
        await until("the first pages", lambda: has_pages(1))
        yield app, engine, has_pages
    finally:
        engine.is_down = False
        engine.let_go.set()
        await app.shut_down()


async def has_spooled(app, count):
    return app._spool.stream(SOURCE).waiting_pages >= count


@pytest.mark.parametrize("mood", ["is_down", "is_stuck"])
async def test_without_its_engine_the_river_waits_in_batches_of_the_usual_size_and_is_stored_when_it_is_back(
    mood, monkeypatch
):
    async with flowing() as (stand_in, files):
        async with app_on_a_moody_engine(files, monkeypatch) as (app, engine, has_pages):
            setattr(engine, mood, True)
            await until("ten pages to wait", lambda: has_spooled(app, 10))
            if mood == "is_down":
                await until("/status to say so", lambda: is_degraded(app))
            waiting = [batch.pages for batch in app._spool.stream(SOURCE).sealed()]
            setattr(engine, mood, False)
            engine.let_go.set()
            await until("all of them", lambda: has_pages(sum(waiting)))

            assert max(waiting) <= BATCH_PAGES
            assert len(waiting) >= 3
        await files.start()
        await more_pages(files)
        await assert_whole(files, stand_in)
        assert await files.stop() == 0


async def test_on_a_full_disk_the_river_waits_and_goes_on_when_there_is_room(monkeypatch):
    async with flowing() as (stand_in, files):
        async with app_on_a_moody_engine(files, monkeypatch) as (app, engine, has_pages):
            with monkeypatch.context() as disk:
                failing(disk, "pwrite", errno.ENOSPC)
                await until("/status to say so", lambda: is_waiting_for_the_disk(app))
                asked = len(await stand_in.river_answers())
                await asyncio.sleep(1.0)

                assert len(await stand_in.river_answers()) <= asked + 1
            (stored,) = (await engine.rows(PAGES))[0]
            await until("more pages", lambda: has_pages(stored + 8))
        await files.start()
        await more_pages(files)
        await assert_whole(files, stand_in)
        assert await files.stop() == 0


async def is_waiting_for_the_disk(app):
    (source,) = (each for each in app.report.status().sources if each.name == SOURCE)
    return source.state.value == "waiting"
