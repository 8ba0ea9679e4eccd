"""Real gold in little time: hours and pages of the stand-in, taken in as the daemon does and refined by its steps."""

import asyncio
import time
from contextlib import asynccontextmanager
from pathlib import Path

from ledgerd.chaos_scale.reference import shipped
from ledgerd.clock import hour_of
from ledgerd.ledger.ledger import Ledger
from ledgerd.sim.river_source import MadeRivers
from ledgerd.sim.source import MarketSource
from ledgerd.sim.timeline import parse_id
from ledgerd.sim.world import builtin_ids
from ledgerd.spool.spool import Spool
from ledgerd.store.migrate import Migrator
from ledgerd.store.queries import load_queries
from tests.clocks import ManualClock
from tests.prices import World
from tests.store.conftest import embedded
from tests.store.exchange_rows import commit, land
from tests.store.refining import runner
from tests.store.riverside import River

SEED, CURRENCIES = 5, 25
STASHES, CHANGES_PER_S = 300, 0.1
HOUR_S = 3600
HOURS = 5
NEWEST_S = hour_of(time.time()) - HOUR_S
"""The exchange's newest hour, which has just ended: the engine drops what is older than its TTL."""
RIVER_AT_S = tuple(NEWEST_S + HOUR_S + 600 - n * HOUR_S for n in (2, 1, 0))
"""When the river was read: once an hour, the last time ten minutes after the newest hour's end."""
GAP_COLUMNS = (
    "source", "realm", "cursor_from", "cursor_to", "gap_from", "gap_to", "reason", "batch_id", "page_seq",
    "retrieved_at",
)  # fmt: skip
SOURCES = ("exchange-pc", "river-pc")


@asynccontextmanager
async def refined(folder):
    """A `World` whose engine in ``folder`` has gold of pc, its ledger loaded; its clock is 400 s after the river."""
    async with embedded(folder) as engine:
        clock = ManualClock(RIVER_AT_S[-1])
        await Migrator(engine, clock).apply()
        spool = Spool(folder / "spool", bytes_max=1 << 30, retain_s=0, clock=clock)
        spool.open()
        river = River(engine, spool, clock)
        await take_hours(engine, folder)
        await river.refine()
        for at_s, bodies in zip(RIVER_AT_S, await asyncio.to_thread(river_pages), strict=True):
            await river.carry(*bodies, encoding="gzip", at_ms=at_s * 1000)
            await river.refine()
        spool.close()
        world = World()
        world.engine = engine
        world.ledger = Ledger(engine, shipped(), load_queries())
        world.clock = ManualClock(RIVER_AT_S[-1] + 400)
        world.etl = await runner(engine).look()
        await world.ledger.reload("pc")
        yield world


async def take_hours(engine, folder: Path):
    """`HOURS` hours of the exchange as one batch."""
    table = folder / "few.tsv"
    table.write_text("metadata_id\tgame\n" + "".join(f"{c}\tboth\n" for c in builtin_ids("poe1")[:CURRENCIES]))
    source, first_s = MarketSource(SEED, ids_path=table), NEWEST_S - (HOURS - 1) * HOUR_S
    bodies = [await asyncio.to_thread(source.body, "pc", first_s + n * HOUR_S) for n in range(HOURS)]
    at_s = NEWEST_S + HOUR_S + 120.0
    await land(engine, 0, first_s, *bodies, source="exchange-pc", retrieved_at_s=at_s)
    await commit(engine, 0, first_s, hours=HOURS, source="exchange-pc", retrieved_at_s=at_s)
    gap = (
        "exchange-pc",
        "pc",
        str(first_s - HOUR_S),
        str(first_s),
        first_s - HOUR_S,
        first_s,
        "never was",
        "b",
        0,
        at_s,
    )
    await engine.insert("bronze_gaps", GAP_COLUMNS, [gap], token="gap")


def river_pages():
    """The bodies of each reading of the river: what had changed in the `HOURS` before, then what changed in an hour."""
    made = MadeRivers(SEED, per_s=CHANGES_PER_S, stashes=STASHES, hostile_share=0.2, rates_seed=SEED)
    page_id, readings = parse_id(made.head("pc", RIVER_AT_S[0] - HOURS * HOUR_S)), []
    for at_s in RIVER_AT_S:
        bodies = []
        while (page := made.page("pc", page_id, at_s, nonce=len(bodies))).pieces:
            bodies.append(page.written())
            page_id = parse_id(page.next_id)
        readings.append(bodies)
    return readings
