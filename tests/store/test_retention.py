import asyncio
import re
from datetime import UTC, datetime

import pytest

from ledgerd.clock import SystemClock
from ledgerd.etl.retention import (
    BRONZE,
    DAY_S,
    EVENTS,
    GOLD,
    RIVER,
    SILVER,
    Keep,
    OpenBatch,
    Partition,
    Retention,
    expired,
    ttl_changes,
)
from ledgerd.etl.runner import load_steps
from ledgerd.events import tally
from ledgerd.store.migrate import Migrator
from ledgerd.supervise import Heart, Stop
from tests.clocks import ManualClock
from tests.store.exchange_rows import CHAOS, DIVINE, body, commit, land, market
from tests.store.lanes import NOW_S, Lanes
from tests.store.lanes import STEPS as LANE_STEPS
from tests.store.refining import STEPS
from tests.store.refining import currency_runner as runner
from tests.store.test_etl import WatchedClock

PAGE = body(market(DIVINE, CHAOS, (50, 5000)))
KEEP = Keep(bronze_days=10, river_days=3, silver_days=20, gold_days=40)


def unix_s(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


MONDAY_S = unix_s("2026-06-01")
WEEK = Partition("bronze_exchange_events", "20260601", 5, 50)
MONTH = Partition("silver_exchange_ticks", "202606", 5, 50)
DAY = Partition("bronze_raw_stashes", "20260603", 5, 50)
WEEK_END_S, MONTH_END_S, DAY_END_S = unix_s("2026-06-08"), unix_s("2026-07-01"), unix_s("2026-06-04")


@pytest.mark.parametrize(
    ("partition", "expected"),
    [
        (WEEK, WEEK_END_S),
        (MONTH, MONTH_END_S),
        (DAY, DAY_END_S),
        (Partition("gold_currency_snapshot", "202612", 0, 0), unix_s("2027-01-01")),
        (Partition("gold_currency_snapshot", "202402", 0, 0), unix_s("2024-03-01")),
    ],
)
def test_a_partition_ends_with_its_day_its_week_or_its_month(partition, expected):
    assert partition.end_s == expected


@pytest.mark.parametrize(
    ("partition", "oldest_drop_s"),
    [(WEEK, WEEK_END_S + 10 * DAY_S), (MONTH, MONTH_END_S + 20 * DAY_S), (DAY, DAY_END_S + 3 * DAY_S)],
)
def test_a_partition_goes_when_its_last_row_is_past_its_days(partition, oldest_drop_s):
    assert expired([partition], KEEP, [], oldest_drop_s) == [partition]
    assert expired([partition], KEEP, [], oldest_drop_s - 1) == []


def test_nought_days_keep_for_ever():
    assert expired([WEEK, MONTH, DAY], Keep(0, 0, 0, 0), [], 9e9) == []


@pytest.mark.parametrize(("retrieved_s", "expected"), [(WEEK_END_S, [WEEK]), (WEEK_END_S - 1, [])])
def test_bronze_stays_while_a_batch_fetched_in_it_is_open(retrieved_s, expected):
    assert expired([WEEK], KEEP, [OpenBatch(9e9, 0), OpenBatch(retrieved_s, 0)], 9e9) == expected


@pytest.mark.parametrize(("after_days", "expected"), [(8, [MONTH]), (7.9, [])])
def test_silver_stays_while_an_open_batch_looks_back_on_it(after_days, expected):
    hour_s = int(MONTH_END_S + after_days * DAY_S)

    assert expired([MONTH], KEEP, [OpenBatch(9e9, hour_s)], 9e9) == expected


@pytest.mark.parametrize(
    ("has", "days", "expected"),
    [
        (400, 90, {}),
        (400, 340, {}),
        (400, 341, {"bronze_requests": 401}),
        (400, 0, {"bronze_requests": 0}),
        (0, 999, {}),
    ],
)
def test_the_engines_ttl_always_acts_later_than_retention(has, days, expected):
    assert ttl_changes({"bronze_requests": has}, Keep(days, days, 0, 0)) == expected


@pytest.fixture
async def db(engine):
    await Migrator(engine, SystemClock()).apply()
    return engine


async def partitions(db):
    return dict(
        await db.rows(
            "SELECT table, arraySort(groupUniqArray(partition_id)) FROM system.parts WHERE active"
            " AND database = currentDatabase() AND match(table, 'exchange_|currency_') AND partition_id != 'all'"
            " GROUP BY table"
        )
    )


async def fill(db, weeks):
    """One batch a week, an hour of Monday, 2026-06-01 onwards, committed and not refined."""
    for seq in range(weeks):
        hour_s = MONDAY_S + seq * 7 * DAY_S
        await land(db, seq, hour_s, PAGE)
        await commit(db, seq, hour_s)


async def test_only_partitions_behind_every_watermark_are_dropped(db):
    await fill(db, 3)
    await runner(db).run_once()
    await land(db, 3, MONDAY_S + 21 * DAY_S, PAGE)
    await commit(db, 3, MONDAY_S + 21 * DAY_S)
    retention = Retention(db, STEPS, ManualClock(MONDAY_S + 1000 * DAY_S), KEEP)
    seen = tally["PartitionDropped", "bronze_exchange_events"]

    dropped = await retention.run_once()

    assert [(partition.table, partition.id) for partition in dropped] == [
        ("bronze_exchange_events", "20260601"),
        ("bronze_exchange_events", "20260608"),
        ("bronze_exchange_events", "20260615"),
    ]
    assert (await partitions(db))["bronze_exchange_events"] == ["20260622"]
    assert tally["PartitionDropped", "bronze_exchange_events"] == seen + 3
    await runner(db).run_once()
    await retention.run_once()
    assert await partitions(db) == {}


async def test_a_step_of_a_new_version_gets_its_input_before_it_goes(db):
    await fill(db, 1)
    await runner(db).run_once()
    await db.execute(
        "ALTER TABLE etl_watermarks DELETE WHERE step = 'gold_currency_snapshot'", settings={"mutations_sync": 2}
    )

    retention = Retention(db, STEPS, ManualClock(MONDAY_S + 1000 * DAY_S), KEEP)

    assert await retention.run_once() == []


async def ttls(db):
    sql = "SELECT name, engine_full FROM system.tables WHERE name IN {names:Array(String)}"
    found = await db.rows(sql, {"names": [*BRONZE, *RIVER]})
    return {name: "".join(re.findall(r"toIntervalDay\((\d+)\)", engine)) for name, engine in found}


async def test_ttls_follow_longer_retention_and_leave_when_rows_are_kept_for_ever(db):
    retention = Retention(db, STEPS, ManualClock(MONDAY_S), Keep(500, 500, 0, 0))
    seen = [await ttls(db)]
    for days in (500, 90, 0, 90):
        retention.keep = Keep(days, days, 0, 0)
        await retention.run_once()
        seen.append(await ttls(db))

    assert seen == [dict.fromkeys(BRONZE | RIVER, text) for text in ("400", "560", "560", "", "")]


EVENTS_DAY = Partition("silver_listing_events", "20260603", 5, 50)


def test_events_of_listings_are_kept_by_the_day_as_long_as_silver():
    assert EVENTS_DAY.end_s == DAY_END_S
    assert expired([EVENTS_DAY], KEEP, [], DAY_END_S + 20 * DAY_S) == [EVENTS_DAY]
    assert expired([EVENTS_DAY], KEEP, [], DAY_END_S + 20 * DAY_S - 1) == []


def test_every_table_that_steps_write_is_kept_by_age_or_says_what_is_so_now():
    states = {"silver_canonical_stashes", "silver_listings", "silver_item_keys"}
    written = {step.writes for step in load_steps()}

    assert written - {*EVENTS, *SILVER, *GOLD} <= states


async def listings(db, *rows):
    """Rows of silver_listings: (item, when it was written, whether it went)."""
    columns = ("realm", "league", "stash_id", "item", "changed_at", "is_gone")
    block = [("pc", "Standard", "s", item, at_s, is_gone) for item, at_s, is_gone in rows]
    await db.insert("silver_listings", columns, block, token=f"{rows}")


async def stored_listings(db):
    return await db.rows("SELECT item, toUInt32(changed_at), is_gone FROM silver_listings ORDER BY ALL")


async def test_listings_that_went_are_tidied_away_and_do_not_come_back(db):
    retention = Retention(db, STEPS, ManualClock(), KEEP)
    await listings(db, *((item, 1000, 0) for item in range(10)))
    assert await retention.tidy() == []
    await listings(db, *((item, 2000, 1) for item in range(5)))
    await listings(db, (0, 3000, 0))

    assert len(await retention.tidy()) == 1
    expected = [(0, 3000, 0), *((item, 1000, 0) for item in range(5, 10))]
    assert await stored_listings(db) == expected
    await listings(db, (9, 4000, 1))
    assert await db.rows("SELECT count() FROM silver_listings FINAL") == [(5,)]


async def test_what_is_written_while_listings_are_tidied_away_hides_what_is_older(db):
    retention = Retention(db, STEPS, ManualClock(), KEEP)
    for n in range(8):
        await listings(db, *((item, 1000 + n, 0) for item in range(2000)))
        await listings(db, *((item, 2000 + n, 1) for item in range(0, 2000, 2)))
        tidying = asyncio.create_task(retention.tidy())
        await listings(db, *((item, 3000 + n, 1) for item in range(1, 2000, 2)))
        await tidying

    assert await db.rows("SELECT count() FROM silver_listings FINAL") == [(0,)]


@pytest.fixture
async def river(db):
    lanes = await Lanes(db).open()
    for _ in range(3):
        await lanes.commit("A", "B")
    return lanes


async def open_batches(lanes):
    retention = Retention(lanes.db, LANE_STEPS, ManualClock(), KEEP)
    return [(batch.retrieved_s - NOW_S, batch.hour_s - NOW_S) for batch in await retention._open_batches()]


async def test_of_a_river_what_the_last_of_its_lanes_has_not_done_is_open(river):
    await river.breaks("B")
    before = await open_batches(river)
    await river.refine()
    failing = await open_batches(river)
    await river.mend()
    await river.later()

    newest = [(4.0, 0.0)]  # its gold was not due, which is not written down
    assert (before, failing, await open_batches(river)) == ([(0.0, 0.0)], [(0.0, 0.0)], newest)


async def test_of_a_river_without_lanes_nothing_is_open(db):
    lanes = await Lanes(db).open()
    await lanes.commit("")

    assert await open_batches(lanes) == []


async def test_an_engine_that_will_not_tidy_ends_no_retention(db):
    clock, stop = WatchedClock(), Stop()
    retention = Retention(db, STEPS, clock, KEEP)
    await listings(db, (1, 2000, 1))
    await db.execute("ALTER TABLE silver_listings MODIFY SETTING allow_experimental_replacing_merge_with_cleanup = 0")
    seen = tally["Noted", "retention"]
    serving = asyncio.create_task(retention.run(stop, Heart(clock)))
    await clock.slept.wait()
    stop.set("test")
    await serving

    assert tally["Noted", "retention"] == seen + 1
