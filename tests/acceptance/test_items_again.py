"""Items: ETL killed between any two statements, and rebuilt from bronze, leaves equal silver and gold."""

import os
import random
import shutil
import signal

import pytest

from ledgerd.clock import SystemClock
from tests.daemon import TEST_S, command, daemon, upstream

pytest.importorskip("chdb")
pytestmark = pytest.mark.timeout(3 * TEST_S)

KILLS = int(os.environ.get("LEDGERD_ETL_KILLS", "6"))
"""50 for the figures of the record."""
SEED = int(os.environ.get("LEDGERD_CRASH_SEED", "1"))
BATCHES = 6
TASKS_BETWEEN = 9
"""At most so many tasks are done between two kills."""
TABLES = (
    "silver_exchange_ticks", "silver_currency_norm", "silver_currency_price", "silver_currency_rates",
    "silver_listing_events", "silver_listings", "silver_item_keys", "silver_canonical_stashes",
    "gold_currency_snapshot", "gold_item_prices", "gold_liquidity", "gold_stash_summary", "gold_stash_diffs",
    "gold_item_roi",
)  # fmt: skip


async def done(ledgerd, *words):
    code, said = await command(ledgerd, *words)
    assert code == 0, said
    return said


async def tables(ledgerd):
    """By refined table, its rows and the hash of all of them, merged and in order: nothing in them is the clock's."""
    query = " UNION ALL ".join(
        f"SELECT '{table}' AS name, count() AS n, sum(cityHash64(*)) AS content FROM {table} FINAL" for table in TABLES
    )
    said = await done(ledgerd, "sql", f"SELECT * FROM ({query}) ORDER BY name", "--format", "TSV")
    return {name: (int(n), content) for name, n, content in (line.split("\t") for line in said.splitlines())}


def keep(folder, copy):
    """Make ``copy`` what ``folder`` is; the engine's own links stay links."""
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy, symlinks=True, ignore=shutil.ignore_patterns("*.sock"))


async def harvested(ledgerd):
    """Let the daemon fill bronze, and stop it."""
    has_river, has_exchange = f"countIf(source = 'river-pc') >= {BATCHES}", "countIf(source = 'exchange-pc')"
    enough = f"SELECT {has_river}, {has_exchange} FROM bronze_ingest_checkpoints"

    async def is_full():
        return all((await ledgerd.sql(enough))[0])

    await ledgerd.start()
    await ledgerd.wait("bronze to be full enough", is_full)
    assert await ledgerd.stop() == 0


async def test_killed_between_statements_and_rebuilt_the_tables_are_equal(tmp_path):
    rng = random.Random(SEED)
    settings = {
        "realms": [{"name": "pc", "river": True, "river_from": "oldest"}],
        "spool__batch_pages_max": 2,
        "roles__etl": False,
        "etl__interval_s": 3.0,
    }
    world = {"river": True, "river_stashes": 2000, "river_rate": 40.0, "edge": "clock"}
    async with upstream(4, clock=SystemClock(), **world) as stand_in, daemon(stand_in.url, **settings) as ledgerd:
        await stand_in.lift_limits()
        await harvested(ledgerd)
        keep(ledgerd.data_dir, tmp_path / "bronze")
        await done(ledgerd, "etl", "run")
        expected = await tables(ledgerd)
        empty = [name for name in TABLES if expected[name][0] == 0 and name != "gold_stash_diffs"]
        assert empty == []

        keep(tmp_path / "bronze", ledgerd.data_dir)
        kills = 0
        while kills < KILLS:
            point = f"{rng.choice(('etl_written', 'etl_watermarked'))}:{rng.randint(1, TASKS_BETWEEN)}"
            code, said = await command(ledgerd, "etl", "run", failpoint=point)
            if code == 0:  # all is done: begin again
                keep(tmp_path / "bronze", ledgerd.data_dir)
                continue
            assert code == -signal.SIGKILL, said
            kills += 1
        await done(ledgerd, "etl", "run")
        assert await tables(ledgerd) == expected, f"after {kills} kills"

        for again in range(2):
            await done(ledgerd, "etl", "rebuild", "--from", "bronze")
            assert await tables(ledgerd) == expected, f"rebuild {again + 1}"
        print(f"\nkills {kills}, rebuilds 2: {sum(n for n, _ in expected.values())} rows equal")
