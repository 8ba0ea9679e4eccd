"""What items cost on their way through silver and gold: `python -m tests.bench.listings`.

CPU is the whole process's, user and system, all threads; each figure is the median of `ROUNDS` batches, after two
that warm up. A batch is one live page as the stand-in makes it: some 40 changes a second for as long as a page takes.

live listings   the silver steps on batches of stashes known already, among 100,000 and among 10 million live listings.
closed history  the same among 100,000, with a history of 1 and of 100 million listings that have ended.
gold            one run of every gold step over the 10 million.
pages           the stand-in's market, 24,000 stashes walked from the beginning and then changed, frozen, stored and
                refined through gold, eight pages a batch, two seconds of data time a page, gold every five minutes of
                it: pages and changes a second beside the 38 a live river has, and what silver takes on disk.

Prints; no judgement.
"""

import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

from ledgerd.chaos_scale.reference import shipped
from ledgerd.clock import SystemClock
from ledgerd.etl.plan import Batch, Task
from ledgerd.etl.reference import load_reference
from ledgerd.etl.runner import load_steps
from ledgerd.etl.tasks import run_task
from ledgerd.sim.river_source import MadeRivers
from ledgerd.sim.timeline import parse_id
from ledgerd.store.embedded import EmbeddedEngine
from ledgerd.store.engine import INSERT_SETTINGS
from ledgerd.store.migrate import Migrator
from tests.store.refining import SCALE
from tests.store.riverside import NOW_MS, flowing

SEED = 2026
LIVE_CHANGES_PER_S = 38.0
"""As upstream's were measured."""
ROUNDS = 12
ITEMS = 30
"""Items a stash, all with a price."""
KEYS = 60_000
SILVER = ("silver_canonical_stashes", "silver_listings", "silver_listing_events", "silver_item_keys")
LEAGUES = ("Allflame", "Hardcore", "Standard")
PAGE_STASHES, TOMBSTONES = 200, 100
CHUNK = 20_000
COLUMNS = (
    "realm", "league", "stash_id", "change_id", "next_change_id", "public", "account", "stash_name", "stash_type",
    "item_count", "payload", "content_hash", "batch_id", "page_seq", "retrieved_at",
)  # fmt: skip
STASHES = """
INSERT INTO silver_canonical_stashes SELECT
    'pc', lower(hex(SHA256(toString(number)))), {leagues}[number % 3 + 1], concat('seller', toString(number % 50000)),
    'shop', 'PremiumStash', true, {items}, 'c', {old}, {old}, 'river-pc-0', 0,
    arrayMap(n -> sipHash64(concat(toString(number), '-', toString(n))), range({items})),
    arrayMap(n -> toUInt64(pow({keys}, sipHash64(number, n) / 18446744073709551616.)), range({items})),
    arrayMap(n -> 1 + sipHash64(n, number) % 50, range({items})),
    arrayMap(n -> if(n % 5 = 0, '{divine}', '{chaos}'), range({items})),
    arrayMap(n -> 1, range({items})),
    arrayMap(n -> toDateTime({old} - n * 600), range({items})),
    arrayMap(n -> toDateTime({old} - n * 600), range({items})),
    arrayMap(n -> 0, range({items})),
    arrayMap(n -> false, range({items}))
FROM numbers({first}, {count})
"""
ENDED = """
INSERT INTO silver_listing_events
(
    realm, league, batch_id, stash_id, item, page_seq, event, at, account, key, amount, currency, stack, listed_at,
    stood_s
)
SELECT 'pc', {leagues}[number % 3 + 1], concat('river-pc-ended-', toString(intDiv(number, 20000))),
    concat('ended', toString(number % 300000)), number, 0, 'gone', {old} - number % 600000, 'seller', number % {keys},
    5, '{chaos}', 1, {old} - number % 600000 - 3600, 3600
FROM numbers({first}, {count})
"""
GONE = """
INSERT INTO silver_listings (realm, league, stash_id, item, changed_at, is_gone)
SELECT 'pc', {leagues}[number % 3 + 1], concat('ended', toString(number % 300000)), number, {old} - number % 600000, 1
FROM numbers({first}, {count})
"""


class Ledger:
    """A database with made listings in it, and pages for it."""

    def __init__(self, engine):
        self.engine = engine
        self.steps = [step for step in load_steps() if step.kind == "river"]
        self.rng = random.Random(1)
        self.batches = 0
        self.live = 0
        self.old_s = int(time.time()) - 86_400
        self.now_s = time.time() - 7200

    async def fill(self, sql, rows, chunk, first=0):
        chaos, divine = (next(iter(ids)) for ids in (SCALE.chaos, SCALE.divine))
        facts = {
            "leagues": list(LEAGUES),
            "items": ITEMS,
            "keys": KEYS,
            "old": self.old_s,
            "chaos": chaos,
            "divine": divine,
        }
        for start in range(first, rows, chunk):
            text = sql.format(**facts, first=start, count=min(chunk, rows - start))
            await self.engine.execute(text, settings=INSERT_SETTINGS | {"insert_deduplicate": 0}, timeout_s=600)

    async def settle(self, table):
        """As it lies after some time: one part, beside what comes."""
        await self.engine.execute(f"OPTIMIZE TABLE {table} FINAL", timeout_s=600)

    async def list(self, listings):
        self.live = listings // ITEMS
        await self.fill(STASHES, self.live, CHUNK)
        await self.settle("silver_canonical_stashes")

    async def end(self, first, rows):
        """The history of listings that have ended, from the ``first`` of them up to ``rows``."""
        for sql, table in ((ENDED, "silver_listing_events"), (GONE, "silver_listings")):
            await self.fill(sql, rows, 300_000, first)
            await self.settle(table)

    async def page(self):
        """A batch of one page: known stashes of which a third are no more public, the others with half their items."""
        self.batches += 1
        self.now_s += 2
        rows = []
        for n, number in enumerate(self.rng.sample(range(self.live), PAGE_STASHES + TOMBSTONES)):
            is_public = n < PAGE_STASHES
            items = [
                {"id": f"{number}-{k}", "typeLine": f"Card {k}", "frameType": 6, "note": f"~price {1 + k % 9} chaos"}
                for k in range(ITEMS // 2 if is_public else 0)
            ]
            league = LEAGUES[number % 3] if is_public else ""
            stash = {
                "id": sha256(str(number).encode()).hexdigest(),
                "public": is_public,
                "league": league,
                "items": items,
            }
            text = json.dumps(stash)
            rows.append(
                ("pc", league, stash["id"], "1", "2", is_public, f"seller{number % 50000}", "shop", "PremiumStash",
                 len(items), text, hash(text) % 2**63, f"river-pc-{self.batches}", 0, self.now_s)
            )  # fmt: skip
        await self.engine.insert("bronze_raw_stashes", COLUMNS, rows, token=f"page{self.batches}")
        return Batch("river-pc", "pc", self.batches, f"river-pc-{self.batches}", 0, 0, self.now_s, self.now_s - 2)

    async def run(self, steps, batch):
        """By step, the CPU of it in ms."""
        spent = {}
        for step in steps:
            begun_s = time.process_time()
            await run_task(self.engine, Task(step, batch, LEAGUES), SCALE)
            spent[step.name] = (time.process_time() - begun_s) * 1000
        return spent

    async def silver(self):
        """By step, the median CPU of a batch in ms."""
        steps = [step for step in self.steps if not step.every]
        spent = defaultdict(list)
        for n in range(ROUNDS + 2):
            found = await self.run(steps, await self.page())
            for name, ms in found.items() if n > 1 else ():
                spent[name].append(ms)
        return {name: statistics.median(ms) for name, ms in spent.items()}


@asynccontextmanager
async def ledger():
    with tempfile.TemporaryDirectory() as folder:
        engine = EmbeddedEngine(Path(folder) / "store", database="poe", memory_bytes_max=3_000_000_000)
        await engine.open()
        await Migrator(engine, SystemClock()).apply()
        await load_reference(engine, shipped().rows)
        try:
            yield Ledger(engine)
        finally:
            await engine.close()


def told(what, spent):
    steps = ", ".join(f"{name} {ms:.0f}" for name, ms in spent.items())
    print(f"{what:34} {sum(spent.values()):7.0f} ms  ({steps})", flush=True)
    return sum(spent.values())


async def closed():
    async with ledger() as few:
        await few.list(100_000)
        await few.end(0, 100_000)
        once = told("silver, 100,000 live, 0.1 M ended", await few.silver())
        await few.end(100_000, 10_000_000)
        hundred = told("silver, 100,000 live, 10 M ended", await few.silver())
        print(f"100 times the closed history: {hundred / once:.2f} (asked 1.25 or less)")
        return once


async def live(once):
    async with ledger() as many:
        await many.list(10_000_000)
        ten = told("silver, 10 M live", await many.silver())
        print(f"10 M live against 100,000: {ten / once:.2f} (asked 2 or less)")
        golds = [step for step in many.steps if step.every]
        batch = await many.page()
        told("gold, first run over 10 M", await many.run(golds, batch))
        batch = await many.page()
        told("gold, next run over 10 M", await many.run(golds, batch))
        [(listings, size)] = await many.engine.rows(
            "SELECT (SELECT sum(length(item)) FROM silver_canonical_stashes), sum(bytes_on_disk) FROM system.parts"
            " WHERE active AND table = 'silver_canonical_stashes'"
        )
        print(f"state: {size / listings:.1f} bytes a listing")


def bodies(count):
    """Pages of the stand-in one after another, each two seconds after the one before."""
    river = MadeRivers(SEED, per_s=LIVE_CHANGES_PER_S * 10, stashes=24_000, hostile_share=0.2, rates_seed=SEED).river(
        "pc"
    )
    page_id, now_s = None, time.time() - 2 * count
    for number in range(count):
        page = river.page(page_id, now_s + 2 * number, nonce=number)
        yield page.written()
        page_id = parse_id(page.next_id)


async def pages(count=160):
    with tempfile.TemporaryDirectory() as folder:
        async with ledger() as empty, flowing(empty.engine, Path(folder)) as river:
            made = list(bodies(count))
            began_s, began_cpu_s = time.perf_counter(), time.process_time()
            for first in range(0, count, 8):
                await river.carry(*made[first : first + 8], at_ms=NOW_MS + 2000 * (first - count))
                await river.refine()
            took_s, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
            [(changes, prices)] = await river.engine.rows(
                "SELECT (SELECT count() FROM bronze_raw_stashes), (SELECT count() FROM gold_item_prices FINAL)"
            )
            print(f"pages through gold: {count / took_s:.1f} a second, {cpu_s / took_s:.2f} cores, {prices} prices")
            pace = changes / took_s
            print(f"changes a second: {pace:.0f}, {pace / LIVE_CHANGES_PER_S:.0f} times a live river")
            await weigh(empty)


async def weigh(full):
    """What silver takes on disk, merged."""
    sizes = {}
    for table in SILVER:
        await full.settle(table)
        size = "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND table = {table:String}"
        [(sizes[table],)] = await full.engine.rows(size, {"table": table})
    counts = ", ".join(f"(SELECT count() FROM {table} FINAL)" for table in ("silver_listings", "silver_listing_events"))
    [(priced, events)] = await full.engine.rows(f"SELECT {counts}")
    print(f"silver on disk: {', '.join(f'{name} {size / 1e6:.1f} MB' for name, size in sizes.items())}")
    print(f"{sum(sizes.values()) / priced:.0f} bytes a listing with a price ({priced}), with {events} events")


async def main():
    await pages()
    await live(await closed())


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
