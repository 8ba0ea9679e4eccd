import asyncio
import time
from dataclasses import replace

import pytest

from ledgerd.clock import SystemClock
from ledgerd.errors import QueryRefused, StoreUnavailable
from ledgerd.etl import norm as norm_module
from ledgerd.etl.plan import ordered
from ledgerd.etl.watermarks import MARK_COLUMNS, MARKS
from ledgerd.status import EtlState
from ledgerd.store.migrate import Migrator
from ledgerd.supervise import Heart, Stop
from tests.clocks import ManualClock
from tests.store.refining import HOUR_S, PAGE, STEPS, TABLES, dump, hour_of_pages
from tests.store.refining import currency_runner as runner


@pytest.fixture
async def db(engine):
    await Migrator(engine, SystemClock()).apply()
    return engine


class Killed(BaseException):
    """The process ends here."""


class Wire:
    """An engine whose writes fail on order: all after the ``last``, or whenever ``refuses`` says so."""

    def __init__(self, engine, *, last=1000, refuses=lambda what, params: None):
        self._engine = engine
        self._last, self._refuses = last, refuses
        self.writes = 0
        self.rows = engine.rows

    async def execute(self, sql, params=None, **options):
        await self._write(sql, params or {}, self._engine.execute(sql, params, **options))

    async def insert(self, table, columns, rows, **options):
        await self._write(table, {}, self._engine.insert(table, columns, rows, **options))

    async def _write(self, what, params, write):
        self.writes += 1
        error = Killed() if self.writes > self._last else self._refuses(what, params)
        if error:
            write.close()
            raise error
        await write


async def test_killed_between_any_two_statements_the_next_start_leaves_equal_tables(db):
    await runner(db).run_once()  # what is done once in a database: the reference table
    await hour_of_pages(db, 0, PAGE, PAGE, source="exchange-calm")
    calm = Wire(db)
    await runner(calm).run_once()
    expected = [await dump(db, table, "calm") for table in TABLES]
    kills = range(calm.writes)
    for n in kills:
        realm = f"r{n}"
        await hour_of_pages(db, 0, PAGE, PAGE, source=f"exchange-{realm}")
        with pytest.raises(Killed):
            await runner(Wire(db, last=n)).run_once()
        await runner(db).run_once()

        assert [await dump(db, table, realm) for table in TABLES] == expected, n
        assert len(await db.rows("SELECT * FROM silver_exchange_ticks WHERE realm = {r:String}", {"r": realm})) == 10
    runs = len(TABLES) * (1 + len(kills))
    assert await db.rows("SELECT count(), uniqExact(step, source) FROM etl_runs") == [(runs, runs)]


async def test_batches_are_done_in_order_and_gold_is_told(db):
    told = []
    for seq in range(3):
        await hour_of_pages(db, seq, PAGE)
    etl = runner(db, on_gold=lambda *what: told.append(what))

    done = [await etl.run_once(), await etl.run_once()]

    assert done == [3 * len(TABLES), 0]
    assert told == [("exchange-poe2", "poe2", None)] * 3
    assert etl.watermarks == {(table, "exchange-poe2", ""): 2 for table in TABLES}
    assert {(status.state, status.behind) for status in etl.status()} == {(EtlState.OK, 0)}


async def test_the_service_refines_what_it_is_told_of_and_rests_until_then(db):
    clock, stop = ManualClock(), Stop()
    refined = asyncio.Event()
    etl = runner(db, clock, on_gold=lambda *_: refined.set())
    serving = asyncio.create_task(etl.run(stop, Heart(clock)))
    for seq in range(2):
        await hour_of_pages(db, seq, PAGE)
        etl.notify()
        await refined.wait()
        refined.clear()
    stop.set("test")
    await serving

    assert etl.watermarks["gold_currency_snapshot", "exchange-poe2", ""] == 1


class WatchedClock(ManualClock):
    """A clock that tells when somebody goes to sleep on it."""

    def __init__(self):
        super().__init__()
        self.slept = asyncio.Event()

    async def sleep(self, wait_s):
        self.slept.set()
        await super().sleep(wait_s)


async def test_the_service_finds_by_itself_what_nobody_told_it_of(db):
    clock, stop = WatchedClock(), Stop()
    refined = asyncio.Event()
    etl = runner(db, clock, on_gold=lambda *_: refined.set())
    serving = asyncio.create_task(etl.run(stop, Heart(clock)))
    await clock.slept.wait()
    await hour_of_pages(db, 0, PAGE)
    await clock.advance(60)
    await refined.wait()
    stop.set("test")
    await serving

    assert etl.watermarks["gold_currency_snapshot", "exchange-poe2", ""] == 0


async def test_a_restart_goes_on_behind_its_watermarks(db):
    await hour_of_pages(db, 0, PAGE)
    await runner(db).run_once()
    await hour_of_pages(db, 1, PAGE)

    assert await runner(db).run_once() == len(TABLES)


async def test_what_the_newest_watermark_that_is_left_does_not_reach_is_done_again(db):
    for seq in range(3):
        await hour_of_pages(db, seq, PAGE)
    await runner(db).run_once()
    marks = await db.rows(f"SELECT {', '.join(MARK_COLUMNS)} FROM etl_watermarks WHERE seq = 2 ORDER BY ALL")
    await db.execute("TRUNCATE TABLE etl_watermarks")
    seq = MARK_COLUMNS.index("seq")
    await db.insert(MARKS, MARK_COLUMNS, [(*mark[:seq], 0, *mark[seq + 1 :]) for mark in marks], token="older")
    again = runner(db)

    assert await again.run_once() == 2 * len(TABLES)
    assert await again.run_once() == 0


async def test_one_source_that_fails_stays_alone_and_comes_back_after_its_back_off(db):
    for realm in ("pc", "poe2"):
        await hour_of_pages(db, 0, PAGE, source=f"exchange-{realm}")
    broken = {"pc"}
    wire = Wire(db, refuses=lambda _, params: QueryRefused("no such column") if params.get("realm") in broken else None)
    clock = ManualClock(time.time())  # etl_runs drops rows that are older than its TTL as it takes them
    etl = runner(wire, clock)

    assert await etl.run_once() == len(TABLES)
    assert await etl.run_once() == 0
    failing = etl.status()[0]
    assert (failing.step, failing.source, failing.state, failing.behind) == (
        TABLES[0],
        "exchange-pc",
        EtlState.FAILING,
        1,
    )
    assert failing.last_error == "no such column"
    assert await db.rows("SELECT source, error FROM etl_runs WHERE outcome = 'failed'") == [
        ("exchange-pc", "no such column")
    ]
    broken.clear()
    clock.jump(60)
    assert await etl.run_once() == len(TABLES)
    assert {status.state for status in etl.status()} == {EtlState.OK}


async def test_an_engine_that_is_away_fails_no_run_for_good(db):
    await hour_of_pages(db, 0, PAGE)
    away = [StoreUnavailable("gone")]
    clock = ManualClock()
    etl = runner(Wire(db, refuses=lambda what, _: away[0] if away and what == "etl_runs" else None), clock)

    assert await etl.run_once() == 0
    away.clear()
    clock.jump(60)
    assert await etl.run_once() == len(TABLES)
    assert await db.rows("SELECT count() FROM etl_runs WHERE outcome = 'failed'") == [(0,)]


async def test_a_new_version_runs_again_from_the_first_batch_and_replaces_its_rows(db):
    for seq in range(2):
        await hour_of_pages(db, seq, PAGE)
    await runner(db).run_once()
    before = [await dump(db, table) for table in TABLES]
    ticks, *others = STEPS
    newer = replace(ticks, version=9, sql=ticks.sql.replace("NULL, event", "toFloat64(77), event"))

    assert await runner(db, steps=ordered([newer, *others])).run_once() == 2 * len(TABLES)
    after = [await dump(db, table) for table in TABLES]
    assert after[1:] == before[1:]
    assert await db.rows("SELECT count() FROM silver_exchange_ticks FINAL WHERE vwap = 77") == [(2,)]


async def test_markets_that_cannot_be_normalised_name_the_hour_and_stop_only_their_source(db, monkeypatch):
    def overflow(*_, **__):
        raise OverflowError("too large")

    monkeypatch.setattr(norm_module, "normalise", overflow)
    await hour_of_pages(db, 0, PAGE)
    etl = runner(db, ManualClock())

    assert await etl.run_once() == 1
    assert f"Allflame in hour {HOUR_S} cannot be normalised: OverflowError: too large" in etl.status()[1].last_error
