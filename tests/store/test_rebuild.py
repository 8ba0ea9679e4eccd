"""What is refined is made anew from what it was made of, also by whoever starts after a rebuild that was killed."""

import pytest

from ledgerd.clock import SystemClock
from ledgerd.etl.rebuild import Rebuild, begin_again, lost_for_good
from ledgerd.store.migrate import Migrator
from tests.store.lanes import NOW_S, STEPS, TABLES, Lanes
from tests.store.refining import HOUR_S, PAGE, currency_runner, dump, hour_of_pages
from tests.store.refining import STEPS as CURRENCY_STEPS
from tests.store.refining import TABLES as CURRENCY_TABLES
from tests.store.test_etl import Killed, Wire

BRONZE, SILVER = Rebuild(is_from_bronze=True), Rebuild(is_from_bronze=False)
ALL = [*CURRENCY_STEPS, *STEPS]


@pytest.fixture
async def lanes(engine):
    await Migrator(engine, SystemClock()).apply()
    return await Lanes(engine).open()


async def filled(lanes):
    """Four batches, refined; what the tables hold."""
    for leagues in ("A", "AB", "", "AB"):
        await lanes.commit(*leagues)
    await lanes.refine()
    return await contents(lanes)


async def contents(lanes):
    return [await lanes.db.rows(f"SELECT * FROM {table} FINAL ORDER BY ALL") for table in TABLES]


async def spoil(lanes):
    """Rows nobody would make of this bronze."""
    for table in TABLES:
        await lanes.db.insert(table, ("league", "batch_id"), [("A", "never")], token="never")


async def test_a_river_is_emptied_and_made_anew_to_the_same_rows(lanes):
    expected = await filled(lanes)
    await spoil(lanes)
    await begin_again(lanes.db, STEPS, BRONZE, NOW_S)
    lanes.start()
    await lanes.refine()

    assert await contents(lanes) == expected
    assert {one.behind for one in lanes.etl.status()} == {0}


async def test_killed_between_any_two_writes_whoever_starts_next_makes_the_same_rows(lanes):
    expected = await filled(lanes)
    n, is_done = 0, False
    while not is_done:
        await spoil(lanes)
        is_done = True
        try:
            wire = Wire(lanes.db, last=n)
            await begin_again(wire, STEPS, BRONZE, NOW_S)
            lanes.start(wire)
            await lanes.refine()
        except Killed:
            is_done = False
        lanes.start()
        await lanes.refine()
        if n:  # killed before the first write nothing was told to begin again
            assert await contents(lanes) == expected, n
        n += 1

    assert n > 1 + len(TABLES) + len(STEPS), "the kills reached all of it"


async def test_a_rebuild_told_twice_in_a_row_is_one(lanes):
    expected = await filled(lanes)
    for _ in range(2):
        await begin_again(lanes.db, STEPS, BRONZE, NOW_S)
    lanes.start()
    await lanes.refine()

    assert await contents(lanes) == expected


async def test_where_bronze_begins_later_that_is_said_and_the_river_begins_there(lanes):
    await filled(lanes)
    assert await lost_for_good(lanes.db, STEPS) == {}
    await lanes.db.execute(
        "ALTER TABLE bronze_river_counts DELETE WHERE batch_id = 'b0'", settings={"mutations_sync": 2}
    )

    assert await lost_for_good(lanes.db, STEPS) == {"river-pc": 1}
    await begin_again(lanes.db, STEPS, BRONZE, NOW_S)
    lanes.start()
    await lanes.refine()
    assert await lanes.seen() == {"A": [1, 2, 3], "B": [1, 2, 3]}


async def test_gold_of_a_river_alone_is_made_anew_for_now_and_what_it_was_stays(lanes):
    await lanes.commit("A", at_s=NOW_S)
    await lanes.commit("A", at_s=NOW_S + 400)
    await lanes.commit("A", at_s=NOW_S + 410)
    await lanes.refine()
    before = await contents(lanes)
    await begin_again(lanes.db, STEPS, SILVER, NOW_S)
    lanes.start()
    await lanes.refine()
    assert await lanes.etl.gild_again() == 1

    silver, state, gold = await contents(lanes)
    assert (silver, state, gold[:-1]) == (*before[:2], before[2])
    assert gold[-1][:2] == ("A", "b2")


async def test_an_exchange_is_made_anew_where_it_stands(lanes):
    for seq in range(3):
        await hour_of_pages(lanes.db, seq, PAGE)
    await currency_runner(lanes.db).run_once()
    expected = [await dump(lanes.db, table) for table in CURRENCY_TABLES]
    for table in CURRENCY_TABLES:
        await lanes.db.execute(f"ALTER TABLE {table} DELETE WHERE 1", settings={"mutations_sync": 2})
    await begin_again(lanes.db, CURRENCY_STEPS, BRONZE, NOW_S)

    assert await currency_runner(lanes.db).run_once() == 3 * len(CURRENCY_TABLES)
    assert [await dump(lanes.db, table) for table in CURRENCY_TABLES] == expected


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        (Rebuild(is_from_bronze=True, since_s=HOUR_S + 2 * 3600), {table: [1, 2] for table in CURRENCY_TABLES}),
        (Rebuild(is_from_bronze=False, since_s=HOUR_S + 3 * 3600), {"gold_currency_snapshot": [2]}),
        (SILVER, {"gold_currency_snapshot": [0, 1, 2]}),
        (Rebuild(is_from_bronze=True, since_s=9e9), {}),
    ],
)
async def test_a_part_of_an_exchange_is_made_anew_and_rivers_are_left_alone(lanes, what, expected):
    for seq in range(3):
        await hour_of_pages(lanes.db, seq, PAGE)
    await lanes.commit("A")
    lanes.start(steps=ALL)
    await lanes.refine()
    await lanes.db.execute("TRUNCATE TABLE etl_runs")
    await begin_again(lanes.db, ALL, what, NOW_S)
    lanes.start(steps=ALL)
    await lanes.refine()

    assert expected == dict(
        await lanes.db.rows("SELECT step, arraySort(groupArray(seq)) FROM etl_runs GROUP BY step ORDER BY step")
    )


async def test_after_a_rebuild_of_an_exchange_the_next_start_does_nothing_more(lanes):
    await hour_of_pages(lanes.db, 0, PAGE)
    await currency_runner(lanes.db).run_once()
    await begin_again(lanes.db, CURRENCY_STEPS, BRONZE, NOW_S)
    await currency_runner(lanes.db).run_once()

    assert await currency_runner(lanes.db).run_once() == 0
