"""What the ledger of a league of 50,000 item keys costs: `python -m tests.bench.item_ledger [keys] [hours]`.

Gold is made by the engine itself: names of some words out of a vocabulary, parts as in docs/item-keys.md, an hour of
rows each hour. Printed: how long a load and a look that finds nothing take, the longest the loop was held meanwhile (a
ticker of 1 ms on it, beside the same ticker with nothing to do), memory by thousand keys, and searches.
"""

import asyncio
import statistics
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

from ledgerd.chaos_scale.reference import shipped
from ledgerd.clock import SystemClock
from ledgerd.ledger.ledger import Ledger
from ledgerd.ledger.search import search
from ledgerd.store.embedded import EmbeddedEngine
from ledgerd.store.migrate import Migrator
from ledgerd.store.queries import load_queries

KEYS, HOURS = 50_000, 169
NEWEST_S = 1_790_000_000 // 3600 * 3600
WORDS = 8_000
PRICES = """
INSERT INTO gold_item_prices
WITH
    sipHash64(number) AS h,
    arrayMap(
        n -> concat(
            upper(substring(hex(sipHash64(n)), 1, 1)),
            translate(lower(substring(hex(sipHash64(n, 1)), 1, 4 + n % 5)), '0123456789', 'ghijklmnop')
        ),
        [intDiv(number, 8) % {words}, intDiv(number, 64) % {words}]
    ) AS words,
    ['unique', 'gem', 'base', 'map', 'cluster_jewel'][h % 5 + 1] AS category,
    arrayStringConcat(words, ' ') AS name,
    [
        '|base=Leather Belt', concat('|level=', toString(20 + h % 2), '|quality=20'), '|links=6|ilvl=86', '|tier=16',
        concat('|enchant=', toString(h % 30), '% increased Fire Damage|passives=8|ilvl=84')
    ][h % 5 + 1] AS parts
SELECT
    'pc', 'Mirage', {hour}, concat(category, '|', name, parts, '|art=', toString(number % 8)) AS item_key, number,
    category, name, exp(h % 100 / 12) AS chaos, chaos / 150, chaos * 0.9, chaos * 1.1, h % 200, h % 400, h % 150,
    h % 100, 0.93, false, {hour} + 1000, h % 3, h % 40, h % 200, chaos * 0.99, h % 5000,
    arrayMap(n -> toFloat32(chaos * (1 + n / 1000)), range(28)), 0, [], [], [], {hour}, {hour} - 3600,
    'river-pc-0000001234', toDateTime64({hour} + {minute}, 3)
FROM numbers({keys})
"""
LIQUIDITY = """
INSERT INTO gold_liquidity
SELECT realm, league, hour, 'item', item_key, 1.5 * listings, 3, units, listings, 0.2, 0.25, 86400.5, 0.9, rate_hour,
    batch_id, as_of
FROM gold_item_prices FINAL WHERE hour = {hour}
"""
ROI = """
INSERT INTO gold_item_roi
SELECT realm, league, hour, 'item', item_key, chaos_value, low, low, low, 0.1, 0.123456789, 0.1, 0.9, rate_hour,
    batch_id, as_of
FROM gold_item_prices FINAL WHERE hour = {hour}
"""


async def fill(engine, keys, hour_s, minute=0, *, is_over=True):
    """Gold of one hour, as of that second of it."""
    for sql in (PRICES, LIQUIDITY, *([ROI] if is_over else [])):
        await engine.execute(sql.format(hour=hour_s, keys=keys, words=WORDS, minute=minute), timeout_s=300)


class Ticker:
    """How late the loop is, ms: it is asked to wake every millisecond.

    Only what this process used of the CPU meanwhile counts: how busy the machine is otherwise is no figure of ours.
    """

    def __init__(self):
        self.late_ms = []
        self._task = asyncio.create_task(self._tick())

    async def _tick(self):
        while True:
            began_s, cpu_s = time.perf_counter(), time.process_time()
            await asyncio.sleep(0.001)
            late_s = time.perf_counter() - began_s - 0.001
            self.late_ms.append(min(late_s, time.process_time() - cpu_s) * 1000)

    def stop(self):
        self._task.cancel()
        late = sorted(self.late_ms)
        return f"{statistics.median(late):.2f} ms, 99 % {late[int(len(late) * 0.99)]:.1f} ms, longest {late[-1]:.1f} ms"


async def measured(what, work):
    ticker = Ticker()
    began_s, cpu_s = time.perf_counter(), time.process_time()
    await work
    took_s, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
    await asyncio.sleep(0.005)
    print(f"{what:30} {took_s * 1000:6.0f} ms, {cpu_s * 1000:6.0f} ms CPU; the loop is late by {ticker.stop()}")


async def main(keys=KEYS, hours=HOURS):
    with tempfile.TemporaryDirectory() as folder:
        engine = EmbeddedEngine(Path(folder) / "store", database="poe", memory_bytes_max=2_000_000_000)
        await engine.open()
        await Migrator(engine, SystemClock()).apply()
        for back in range(hours - 1, -1, -1):
            await fill(engine, keys, NEWEST_S - back * 3600, is_over=back > 0)
        ledger = Ledger(engine, shipped(), load_queries())
        await measured("an idle second", asyncio.sleep(1))
        await measured("first load", ledger.reload("pc"))
        await measured("a look that finds nothing new", ledger.reload("pc"))
        for again in range(1, 6):
            await fill(engine, keys, NEWEST_S, 180 * again, is_over=False)
            await measured("a load of what moved", ledger.reload("pc"))
        items = ledger.items("pc", "Mirage")
        print(f"{len(items)} items, {sum(map(len, items.rows)) / len(items):.0f} bytes of JSON each")
        tracemalloc.start()
        second = Ledger(engine, shipped(), load_queries())
        await second.reload("pc")
        print(f"memory by thousand keys: {tracemalloc.get_traced_memory()[0] / keys:.0f} kB")
        tracemalloc.stop()
        name = items.columns.name[777]
        for typed in ("leather belt", "21/20 leather", name, f"{name[:-2]}x", "a", f"6l {name.split()[0]}",
                      "qqqqq zzzz wwwww xxxx", "fire damge 8 passive"):  # fmt: skip
            took = [timed(search, typed, ledger.market("pc", "Mirage").searched) for _ in range(50)]
            print(f"search {typed!r:32} median {statistics.median(took):5.2f} ms, longest {max(took):5.2f} ms")
        await engine.close()


def timed(work, *args):
    """How much CPU one call takes, ms."""
    began_s = time.thread_time()
    work(*args)
    return (time.thread_time() - began_s) * 1000


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
