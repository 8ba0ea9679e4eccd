"""A program for the crash tests: carries pages of a river into bronze by a clock of its own, and prints what is there.

``python -m tests.crash.carrying FOLDER NOW_S PAGES``: freeze so many pages at NOW_S (unix seconds), then carry all that
waits in FOLDER. It dies where ``LEDGERD_FAILPOINT`` says.
"""

import asyncio
import json
import sys
from pathlib import Path

from ledgerd.harvest.river_landing import RiverLanding
from ledgerd.spool.record import Page
from ledgerd.spool.spool import Spool
from ledgerd.spool.writer import SealRules, Writer
from ledgerd.store.embedded import EmbeddedEngine
from ledgerd.store.migrate import Migrator
from ledgerd.supervise import Heart
from tests.clocks import ManualClock

SOURCE = "river-pc"
STASHES_A_PAGE = 3
HELD = """
    SELECT count(), uniqExact(stash_id), groupUniqArray(_partition_id),
        (SELECT sum(stashes) FROM bronze_river_counts), (SELECT groupUniqArray(_partition_id) FROM bronze_river_counts),
        (SELECT count() FROM bronze_ingest_checkpoints)
    FROM bronze_raw_stashes
"""


def body(n):
    head = '{"id":"%d","public":true,"stashType":"Premium","league":"Standard","items":[]}'
    stashes = ",".join(head % (n * STASHES_A_PAGE + each) for each in range(STASHES_A_PAGE))
    return f'{{"next_change_id":"{n + 1}","stashes":[{stashes}]}}'.encode()


async def carry(folder, now_s, pages):
    clock = ManualClock(now_s)
    engine = EmbeddedEngine(folder / "store", database="poe", memory_bytes_max=1_000_000_000)
    spool = Spool(folder / "spool", bytes_max=1 << 30, retain_s=3600, clock=clock)
    await engine.open()
    await Migrator(engine, clock).apply()
    spool.open()
    stream = spool.stream(SOURCE)
    landing = RiverLanding(SOURCE, "pc", lambda _: ("*",), 1 << 20)
    for n in range(pages):
        await stream.freeze(Page(f"{n}", f"{n + 1}", int(now_s * 1000), 200, "identity", body(n)))
    await Writer(stream, landing, engine, rules=SealRules(8, 1 << 20, 1.0), clock=clock).flush(Heart(clock))
    print(json.dumps((await engine.rows(HELD))[0]))
    spool.close()
    await engine.close()


if __name__ == "__main__":
    asyncio.run(carry(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])))
