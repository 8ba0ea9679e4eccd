"""The slice as an operator meets it: import time, start to first commit and first price, pace of a backfill, memory.

Run: python -m tests.bench.slice
"""

import asyncio
import statistics
import subprocess
import sys
import time

from tests.daemon import EDGE, daemon, upstream

HOURS = 72
IMPORTS = ("ledgerd", "ledgerd.config", "ledgerd.cli", "ledgerd.app")


def import_ms(module):
    """Median of five imports in processes of their own."""
    code = f"import time; t = time.perf_counter(); import {module}; print(1000 * (time.perf_counter() - t))"
    command = [sys.executable, "-c", code]
    return statistics.median(float(subprocess.run(command, capture_output=True, check=True).stdout) for _ in range(5))


async def slice_figures():
    """Start a daemon on a market of full size and follow it to the edge."""
    async with (
        upstream(hours=HOURS, currencies=None) as stand_in,
        daemon(stand_in.url, spool__batch_pages_max=8, spool__seal_after_s=2.0) as it,
    ):
        for hour in range(EDGE - HOURS * 3600, EDGE, 3600):  # made beforehand: the stand-in's work is not the daemon's
            await stand_in.get(f"hour/pc/{hour}")
        began_s = time.monotonic()
        await it.start()
        committed = "SELECT 1 FROM bronze_ingest_checkpoints LIMIT 1"
        await it.wait("the first commit", lambda: it.sql(committed))
        first_commit_s = time.monotonic() - began_s
        await it.wait("the first price", lambda: it.sql("SELECT 1 FROM gold_currency_snapshot LIMIT 1"))
        first_price_s = time.monotonic() - began_s
        await it.caught_up("exchange-pc", EDGE, within_s=300)
        caught_up_s = time.monotonic() - began_s
        ((rows,),) = await it.sql("SELECT count() FROM bronze_exchange_events")
        print(f"start to first commit            {first_commit_s:8.1f} s   (asked: <= 15)")
        print(f"start to first price             {first_price_s:8.1f} s   (asked: <= 15 in the demo)")
        now_mib, most_mib = it.memory_kib() / 1024, it.memory_kib("VmHWM") / 1024
        print(f"{HOURS} hours, {rows} rows, to gold   {caught_up_s:8.1f} s   {HOURS / caught_up_s:.1f} hours a second")
        print(f"resident memory, now / most      {now_mib:8.0f} / {most_mib:.0f} MiB   (asked: <= 700)")
        began_s = time.monotonic()
        code = await it.stop()
        print(f"stop                             {time.monotonic() - began_s:8.1f} s   exit {code}   (asked: <= 5)")


if __name__ == "__main__":
    for name in IMPORTS:
        print(f"import {name:<24}  {import_ms(name):8.0f} ms{'   (asked: <= 300)' if name == 'ledgerd.cli' else ''}")
    asyncio.run(slice_figures())
