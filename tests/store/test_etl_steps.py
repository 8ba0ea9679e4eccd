import math
import statistics
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ledgerd.chaos_scale.normalise import Norm, Tick, normalise
from ledgerd.clock import SystemClock
from ledgerd.etl import norm as norm_module
from ledgerd.etl.plan import Batch, Task
from ledgerd.etl.reference import load_reference
from ledgerd.etl.tasks import run_task
from ledgerd.events import tally
from ledgerd.store.migrate import Migrator
from tests.store.exchange_rows import CHAOS, DIVINE, batch_id, body, commit, land, market
from tests.store.refining import (
    HOUR_S,
    PAGE,
    REFERENCE,
    SCALE,
    STEPS,
    TABLES,
    dump,
    hour_of_pages,
    insert_norms,
    insert_prices,
    random_series,
    runner,
    task_of,
)


@pytest.fixture
async def db(engine):
    await Migrator(engine, SystemClock()).apply()
    return engine


async def test_ticks_carry_exact_ratios_metadata_ids_and_the_rate_of_the_hour(db):
    named = market("chaos", "divine", (4000, 30), lowest_ratio={"chaos": 131, "divine": 1})
    await hour_of_pages(db, 0, body(named, market("idle", "chaos", (0, 0)), market("half", "chaos", (5, 0))))
    await runner(db).run_once()

    ticks = await db.rows(
        "SELECT market_id, currency_a, currency_b, lowest_ratio_a, lowest_ratio_b, vwap"
        " FROM silver_exchange_ticks ORDER BY market_id"
    )

    assert ticks == [
        (f"{CHAOS}|{DIVINE}", CHAOS, DIVINE, 131, 1, 30 / 4000),
        (f"half|{CHAOS}", "half", CHAOS, 5, 0, None),
        (f"idle|{CHAOS}", "idle", CHAOS, 0, 0, None),
    ]


async def test_a_market_met_twice_in_an_hour_is_its_larger_volume_and_its_later_batch(db):
    thin, deep = market("chaos", "divine", (400, 3)), market(CHAOS, DIVINE, (4000, 30))
    await hour_of_pages(db, 0, body(thin, deep, thin))
    await runner(db).run_once()
    await land(db, 1, HOUR_S, body(thin), retrieved_at_s=HOUR_S + 9000.0)
    await commit(db, 1, HOUR_S)

    first = await db.rows("SELECT volume_a FROM silver_exchange_ticks FINAL")
    await runner(db).run_once()

    assert (first, await db.rows("SELECT volume_a FROM silver_exchange_ticks FINAL")) == ([(4000,)], [(400,)])


async def test_values_of_an_hour_are_what_normalise_makes_of_its_ticks(db):
    await hour_of_pages(db, 0, PAGE)
    await runner(db).run_once()

    expected = []
    for league in ("Allflame", "Standard"):
        rows = await db.rows(
            "SELECT currency_a, currency_b, volume_a, volume_b, lowest_stock_a, lowest_stock_b, highest_stock_a,"
            " highest_stock_b, lowest_ratio_a, lowest_ratio_b, highest_ratio_a, highest_ratio_b"
            " FROM silver_exchange_ticks WHERE league = {league:String}",
            {"league": league},
        )
        norms = normalise([Tick(*row) for row in rows], chaos=SCALE.chaos, divine=SCALE.divine)
        expected += [(league, n.currency, n.chaos_value, n.units, n.confidence, n.low_sample) for n in norms]
    found = await db.rows(
        "SELECT league, currency, chaos_value, units, confidence, low_sample FROM silver_currency_norm ORDER BY ALL"
    )

    assert found == sorted(expected)


def expected_gold(values, at):
    """The windowed columns of gold, from ``{hour: (value, units, traded)}``; hours are counted, not seconds."""

    def price(hour):
        value = values.get(hour, (None,))[0]
        return value if value and value > 0 else None

    def change(distance, tolerance):
        then = next((price(at - back) for back in range(distance, distance + tolerance + 1) if price(at - back)), None)
        return price(at) / then - 1 if price(at) and then else None

    day = [price(hour) for hour in range(at - 23, at + 1) if price(hour)]
    returns = [
        math.log(price(hour)) - math.log(price(hour - 1))
        for hour in range(at - 23, at + 1)
        if price(hour) and price(hour - 1)
    ]
    return (
        day[0] if day else None,
        max(day, default=None),
        min(day, default=None),
        values[at][1],
        sum(values[hour][1] for hour in range(at - 23, at + 1) if hour in values),
        sum(values[hour][2] or 0 for hour in range(at - 23, at + 1) if hour in values),
        change(1, 1),
        change(24, 3),
        change(168, 12),
        statistics.stdev(returns) if len(returns) >= 6 else None,
        len(day),
        sum(1 for hour in range(at - 167, at + 1) if price(hour)),
    )


GOLD_COLUMNS = (
    "open_24h, high_24h, low_24h, units, units_24h, value_traded_24h, change_1h, change_24h, change_7d,"
    " volatility_24h, hours_24h, hours_7d"
)


def gold_task(from_hour, to_hour):
    return task_of("gold_currency_snapshot", from_hour, to_hour)


async def test_gold_windows_are_those_counted_by_hand(db):
    series = random_series()
    await insert_prices(db, series)
    await run_task(db, gold_task(0, 130), SCALE)
    await run_task(db, gold_task(130, 260), SCALE)

    found = await db.rows(
        f"SELECT currency, toUnixTimestamp(hour), {GOLD_COLUMNS} FROM gold_currency_snapshot ORDER BY 1, 2"
    )

    assert len(found) == sum(len(values) for values in series.values())
    for currency, unix_s, *windows in found:
        expected = expected_gold(series[currency], (unix_s - HOUR_S) // 3600)
        assert windows == [value if value is None else pytest.approx(value, rel=1e-9) for value in expected], unix_s


async def test_a_batch_of_many_hours_gives_the_same_gold_as_its_hours_one_by_one(db):
    await insert_prices(db, random_series(60))
    await run_task(db, gold_task(0, 60), SCALE)
    together = await dump(db, "gold_currency_snapshot")
    await db.execute("TRUNCATE TABLE gold_currency_snapshot")
    for hour in range(60):
        await run_task(db, gold_task(hour, hour + 1), SCALE)

    assert await dump(db, "gold_currency_snapshot") == together


async def test_steps_give_the_same_rows_for_any_threads_blocks_and_parts(db):
    series = random_series()
    await insert_norms(db, series)
    await insert_prices(db, series)
    await hour_of_pages(db, 0, PAGE, PAGE)
    await runner(db).run_once()
    params = {
        "source": "exchange-poe2",
        "realm": "poe2",
        "batch_id": batch_id(0),
        "hour_from": datetime.fromtimestamp(HOUR_S, UTC),
        "hour_to": datetime.fromtimestamp(HOUR_S + 260 * 3600, UTC),
    }
    settings = [
        {"max_threads": 1},
        {"max_threads": 8, "max_block_size": 7},
        {"max_threads": 3, "max_block_size": 65_000},
    ]

    for step in STEPS:
        texts = {await db.text(step.sql, "TSV", params, settings=choice) for choice in settings}
        for table in ("bronze_exchange_events", *TABLES):
            await db.execute(f"OPTIMIZE TABLE {table} FINAL")
        texts.add(await db.text(step.sql, "TSV", params, settings={"max_threads": 2}))

        assert len(texts) == 1, step.name
        assert texts != {b""}, step.name


async def test_a_task_run_twice_leaves_equal_tables(db):
    await hour_of_pages(db, 0, PAGE)
    await runner(db).run_once()
    before = [await db.rows(f"SELECT * FROM {table} ORDER BY ALL") for table in TABLES]
    batch = Batch("exchange-poe2", "poe2", 0, batch_id(0), HOUR_S, HOUR_S + 3600)
    for step in STEPS:
        await run_task(db, Task(step, batch), SCALE)

    assert [await db.rows(f"SELECT * FROM {table} ORDER BY ALL") for table in TABLES] == before


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
async def test_a_number_that_is_not_finite_never_reaches_a_table(db, monkeypatch, bad):
    good = Norm("good", 1.0, None, 3, 3.0, 1, 0.0, 0.5, 0.2, False)
    monkeypatch.setattr(
        norm_module, "normalise", lambda *_, **__: [good, replace(good, currency="bad", chaos_value=bad)]
    )
    seen = tally["Quarantined", "silver_currency_norm"]
    await hour_of_pages(db, 0, PAGE)
    await runner(db).run_once()

    assert await db.rows("SELECT DISTINCT currency FROM silver_currency_norm") == [("good",)]
    assert tally["Quarantined", "silver_currency_norm"] == seen + 1


async def test_the_reference_table_is_written_only_when_its_content_differs(db):
    written = [
        await load_reference(db, REFERENCE.rows),
        await load_reference(db, REFERENCE.rows),
        await load_reference(db, REFERENCE.rows[1:]),
        await load_reference(db, REFERENCE.rows),
    ]
    both = [row.game for row in REFERENCE.rows].count("both")

    assert written == [True, False, True, True]
    assert await db.rows("SELECT count() FROM reference_currencies FINAL") == [(len(REFERENCE.rows) + both,)]
