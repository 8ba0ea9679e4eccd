"""What partition, order and codecs of the currency tables cost: `python -m tests.bench.exchange_layout [DAYS]`.

Takes the newest recorded hour of PoE2, repeats it over DAYS days (90) with other numbers each hour, stores it in
several layouts, and prints bytes per row and the time of the reads that matter. Times are the fastest of five, one
process, parts as the inserts of one day each and the background merges left them.
"""

import asyncio
import random
import re
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from ledgerd.chaos_scale.reference import shipped
from ledgerd.clock import SystemClock
from ledgerd.etl.runner import Runner, load_steps
from ledgerd.store.embedded import EmbeddedEngine
from ledgerd.store.engine import INSERT_SETTINGS, Engine, Params
from ledgerd.store.migrate import Migrator
from ledgerd.store.queries import load_queries
from tests.store.exchange_rows import DIVINE, commit, land, recorded_hours

FIRST_S = 1_779_062_400
"""2026-05-18, a Monday."""
HOURS_A_DAY = 24
ROUNDS = 5

BRONZE = "bronze_exchange_events"
NORM = "silver_currency_norm"
GOLD = "gold_currency_snapshot"
TICKS = "silver_exchange_ticks"
WEEK, MONTH = "toMonday(retrieved_at, 'UTC')", "toYYYYMM(hour, 'UTC')"
BRONZE_LAYOUTS = {
    "as shipped: week · realm, hour, league, market": (WEEK, "realm, hour, league, market_id", False),
    "no codecs": (WEEK, "realm, hour, league, market_id", True),
    "week · batch, league, market": (WEEK, "batch_id, league, market_id", False),
    "week · realm, league, market, hour": (WEEK, "realm, league, market_id, hour", False),
    "month · realm, hour, league, market": ("toYYYYMM(retrieved_at, 'UTC')", "realm, hour, league, market_id", False),
    "no partition": ("tuple()", "realm, hour, league, market_id", False),
}
TICK_LAYOUTS = {
    "as shipped: realm, hour, league, market": (MONTH, "realm, hour, league, market_id", False),
    "no codecs": (MONTH, "realm, hour, league, market_id", True),
    "realm, league, market, hour": (MONTH, "realm, league, market_id, hour", False),
}
HOUR_FIRST, CURRENCY_FIRST = "realm, hour, league, currency", "realm, league, currency, hour"
BY_CURRENCY = {
    "hour first": (MONTH, HOUR_FIRST, False),
    "hour first, no codecs": (MONTH, HOUR_FIRST, True),
    "currency first": (MONTH, CURRENCY_FIRST, False),
}


class Bench:
    """An engine with the schema and one template hour of each table."""

    def __init__(self, engine: Engine, days: int) -> None:
        self.engine = engine
        self.days = days

    async def prepare(self) -> None:
        """Refine the recorded hour by the real steps; its rows are the templates."""
        await Migrator(self.engine, SystemClock()).apply()
        hour_s, body = recorded_hours()[-1]
        await land(self.engine, 0, hour_s, body)
        await commit(self.engine, 0, hour_s)
        reference = shipped()
        runner = Runner(self.engine, load_steps(), reference, SystemClock(), rng=random.Random(0))
        await runner.run_once()
        for table in (BRONZE, TICKS, NORM, GOLD):
            await self.engine.execute(f"CREATE TABLE template_{table} AS {table}")
            await self.engine.execute(f"INSERT INTO template_{table} SELECT * FROM {table}")

    async def fill(self, table: str, name: str, layout: tuple[str, str, bool]) -> None:
        """Store ``days`` days of ``table`` under ``name``, an insert a day."""
        partition, order, is_plain = layout
        (create,) = (await self.engine.rows(f"SELECT create_table_query FROM system.tables WHERE name = '{table}'"))[0]
        create = create.replace(f".{table} ", f".{name} ")
        create = re.sub(
            r"PARTITION BY \S+?\(.*?\) ORDER BY \(.*?\)", f"PARTITION BY {partition} ORDER BY ({order})", create
        )
        await self.engine.execute(re.sub(r" CODEC\((?:[^()]|\([^()]*\))*\)", "", create) if is_plain else create)
        for day in range(self.days):
            await self.engine.execute(
                _one_day(table, name), {"first": FIRST_S + day * 86_400}, settings=INSERT_SETTINGS
            )

    async def bytes_a_row(self, name: str) -> float:
        found = await self.engine.rows(
            "SELECT sum(data_compressed_bytes) / sum(rows) FROM system.parts WHERE active AND table = {table:String}",
            {"table": name},
        )
        return float(found[0][0])

    async def ms(self, sql: str, params: Params) -> float:
        """Wall time of a read."""
        return await fastest_ms(lambda: self.engine.text(sql, "Null", params, timeout_s=120))


async def fastest_ms(work: Callable[[], Awaitable[object]]) -> float:
    times = []
    for _ in range(ROUNDS):
        started_s = time.perf_counter()
        await work()
        times.append((time.perf_counter() - started_s) * 1000)
    return min(times)


NUMBERS = tuple(
    f"{what}_{side}"
    for what in ("volume", "lowest_stock", "highest_stock", "lowest_ratio", "highest_ratio")
    for side in "ab"
)
CHANGED = {
    BRONZE: ("market_id", NUMBERS, ()),
    TICKS: ("market_id", NUMBERS, ("vwap",)),
    NORM: ("currency", (), ("chaos_value", "divine_value", "value_traded")),
    GOLD: ("currency", (), ("chaos_value", "divine_value", "open_24h", "high_24h", "low_24h", "value_traded_24h")),
}
"""By table: what a row is about, and its integers and floats that differ from hour to hour."""


def _one_day(table: str, name: str) -> str:
    """24 hours made of the template, each with volumes and values of its own."""
    key, integers, floats = CHANGED[table]
    wobble = "(0.5 + cityHash64({key}, '{column}', at_s) % 1000 / 1000)"
    replaced = [f"toUInt64({column} * {wobble.format(key=key, column=column)}) AS {column}" for column in integers]
    replaced += [f"{column} * {wobble.format(key=key, column=column)} AS {column}" for column in floats]
    replaced += [
        "toDateTime(at_s, 'UTC') AS hour",
        "concat('exchange-poe2-', toString(at_s)) AS batch_id",
        "toDateTime64(at_s + 3660, 3, 'UTC') AS retrieved_at",
    ]
    hours = f"SELECT *, {{first:UInt32}} + 3600 * arrayJoin(range({HOURS_A_DAY})) AS at_s FROM template_{table}"
    return f"INSERT INTO {name} SELECT * EXCEPT (at_s) REPLACE ({', '.join(replaced)}) FROM ({hours})"


async def main(days: int) -> None:
    with tempfile.TemporaryDirectory(prefix="exchange-layout-") as folder:
        engine = EmbeddedEngine(Path(folder), database="bench", memory_bytes_max=2_000_000_000)
        await engine.open()
        bench = Bench(engine, days)
        await bench.prepare()
        hour_s = FIRST_S + (days * HOURS_A_DAY - 1) * 3600
        batch = {
            "realm": "poe2",
            "batch_id": f"exchange-poe2-{hour_s}",
            "from": hour_s,
            "to": hour_s + 3600,
            "since": hour_s - 7 * 86_400,
        }
        await _compare(bench, BRONZE, BRONZE_LAYOUTS, {"one batch back": (_BATCH, batch)})
        await _compare(bench, TICKS, TICK_LAYOUTS, {"one hour back": (_HOUR, batch)})
        await _compare(bench, NORM, BY_CURRENCY, {"a gold run": (_gold_select(), _gold_params(hour_s))})
        span = {"from_s": FIRST_S, "to_s": hour_s, "step_s": 3600}
        one = {"realm": "poe2", "league": "Standard", "currency": DIVINE, **span}
        await _compare(bench, GOLD, BY_CURRENCY, {"newest prices": (_NEWEST, batch), "90 days of one": (_HISTORY, one)})
        await engine.close()


_SPAN = "realm = {realm:String} AND hour >= toDateTime({from:UInt32}, 'UTC') AND hour < toDateTime({to:UInt32}, 'UTC')"
_BATCH = f"SELECT * FROM TABLE WHERE batch_id = {{batch_id:String}} AND {_SPAN}"
_HOUR = f"SELECT * FROM TABLE FINAL WHERE {_SPAN} ORDER BY league, market_id"
_NEWEST = load_queries()["ledger_newest"].replace(GOLD, "TABLE")
_HISTORY = load_queries()["ledger_history"].replace(GOLD, "TABLE")


def _gold_select() -> str:
    step = next(step for step in load_steps() if step.is_gold)
    return step.sql.replace(NORM, "TABLE")


def _gold_params(hour_s: int) -> dict[str, object]:
    return {"source": "exchange-poe2", "realm": "poe2", "batch_id": "", "hour_from": hour_s, "hour_to": hour_s + 3600}


async def _compare(
    bench: Bench, table: str, layouts: Mapping[str, tuple[str, str, bool]], reads: Mapping[str, tuple[str, Params]]
) -> None:
    for number, (label, layout) in enumerate(layouts.items()):
        name = f"{table}_{number}"
        await bench.fill(table, name, layout)
        if not number:
            rows, parts = (
                await bench.engine.rows(
                    f"SELECT (SELECT count() FROM {name}), count() FROM system.parts WHERE active AND table = '{name}'"
                )
            )[0]
            print(f"\n{table}: {rows:,} rows, {parts} parts\n{'':50} B/row" + "".join(f"{read:>16}" for read in reads))
        times = [await bench.ms(sql.replace("TABLE", name), params) for sql, params in reads.values()]
        print(f"{label:50}{await bench.bytes_a_row(name):6.1f}" + "".join(f"{ms:13.1f} ms" for ms in times), flush=True)
        await bench.engine.execute(f"DROP TABLE {name}")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 90))
