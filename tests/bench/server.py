"""What a page of the river costs ledgerd itself where a server stores it: `python -m tests.bench.server [pages]`.

The pages of `tests.bench.river` go through our writer, from the spool to the commit row, into the native front of the
tests: a process of its own, whose work is not counted. Prints CPU a page and resident memory of this process, the pace,
and the same of the embedded engine beside it, which is all of the engine's work. No judgement.
"""

import asyncio
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ledgerd.clock import SystemClock
from ledgerd.harvest.river_landing import RiverLanding
from ledgerd.spool.spool import Spool
from ledgerd.spool.writer import SealRules, Writer
from ledgerd.store.migrate import Migrator
from ledgerd.supervise import Heart
from tests.bench.river import BATCH_PAGES, DECODED_BYTES_MAX, ENGINE_BYTES_MAX, frozen_pages, memory_kib
from tests.store.front_process import FrontProcess, server_engine

DATABASE = "bench"


async def carried(engine, made: Path, folder: Path, count: int) -> str:
    """Carry ``count`` pages to their commit rows; the figures as a line."""
    clock = SystemClock()
    await engine.open()
    await Migrator(engine, clock).apply()
    at_rest_mib = memory_kib("VmRSS") / 1024
    spool = Spool(folder / "spool", bytes_max=1 << 34, retain_s=0, clock=clock)
    spool.open()
    stream = spool.stream("river-pc")
    landing = RiverLanding("river-pc", "pc", lambda _: ("*",), DECODED_BYTES_MAX)
    rules = SealRules(BATCH_PAGES, 1 << 30, 1.0)
    writer = Writer(stream, landing, engine, rules=rules, clock=clock)
    cpu_s = wall_s = 0.0
    for first in range(0, count, BATCH_PAGES):
        for page in frozen_pages(made, first):
            await stream.freeze(page)
        began_s, began_cpu_s = time.monotonic(), time.process_time()
        await writer.flush(Heart(clock))
        cpu_s, wall_s = cpu_s + time.process_time() - began_cpu_s, wall_s + time.monotonic() - began_s
    [(rows,)] = await engine.rows("SELECT count() FROM bronze_raw_stashes")
    spool.close()
    await engine.close()
    return (
        f"{1000 * cpu_s / count:6.1f} ms of CPU a page, {count / wall_s:5.1f} pages/s, {at_rest_mib:4.0f} MiB at rest, "
        f"{memory_kib('VmHWM') / 1024:4.0f} at most ({rows:,} changes)"
    )


async def measure(way: str, made: Path, count: int) -> None:
    """One way, in a process of its own, so that memory is its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if way == "embedded":
            from ledgerd.store.embedded import EmbeddedEngine

            engine = EmbeddedEngine(folder / "db", database=DATABASE, memory_bytes_max=ENGINE_BYTES_MAX)
            print(f"{way:9s}", await carried(engine, made, folder, count), flush=True)
            return
        front = FrontProcess(folder / "front")
        try:
            engine = server_engine(front.url(), DATABASE, memory_bytes_max=ENGINE_BYTES_MAX)
            print(f"{way:9s}", await carried(engine, made, folder, count), flush=True)
        finally:
            front.kill()


def main(count: int) -> None:
    """Make the pages, then both ways."""
    with tempfile.TemporaryDirectory() as made:
        making = f"from tests.bench.river import make; make({made!r}, {count})"
        subprocess.run([sys.executable, "-c", making], check=True)  # its memory is not ours
        for way in ("server", "embedded"):
            subprocess.run([sys.executable, "-m", "tests.bench.server", str(count), way, made], check=True)


if __name__ == "__main__":
    batches = -(-int(sys.argv[1] if len(sys.argv) > 1 else 96) // BATCH_PAGES)
    if len(sys.argv) > 2:
        asyncio.run(measure(sys.argv[2], Path(sys.argv[3]), batches * BATCH_PAGES))
    else:
        main(batches * BATCH_PAGES)
