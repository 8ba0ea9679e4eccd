"""ETL killed between any two statements, and run twice, leaves equal tables."""

import asyncio
import os
import signal
import sys

import pytest

from tests.daemon import EDGE, NOT_DATA, REFINED, ROOT, daemon, upstream

pytest.importorskip("chdb")
pytestmark = pytest.mark.timeout(110)

REALM, SOURCE = "xbox", "exchange-xbox"
HOURS = 2
BATCH_PAGES = 2
STEPS = len(REFINED)
STATEMENTS = 2 * STEPS * (HOURS // BATCH_PAGES)
"""A step writes its rows, then its watermark; each batch goes through every step."""


async def command(ledgerd, *words, failpoint=""):
    """Run a ledgerd command to its end; exit code and what it said."""
    env = {**os.environ, "LEDGERD_FAILPOINT": failpoint}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ledgerd", *words, "--config", str(ledgerd.config),
        cwd=ROOT, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await process.communicate()
    return process.returncode, said.decode()


async def tables(ledgerd):
    """Rows and content of every refined table, read without a daemon."""
    query = " UNION ALL ".join(
        f"SELECT '{table}' AS name, count() AS n, sum(cityHash64(* EXCEPT ({NOT_DATA}))) FROM {table} FINAL"
        for table in REFINED
    )
    code, found = await command(ledgerd, "sql", f"SELECT * FROM ({query}) ORDER BY name", "--format", "TSV")
    assert (code, len(found.splitlines())) == (0, len(REFINED)), found
    return found


async def test_killed_between_any_two_statements_and_run_twice_the_tables_are_equal():
    settings = {"realms": [{"name": REALM}], "spool__batch_pages_max": BATCH_PAGES, "spool__seal_after_s": 30.0}
    async with upstream(HOURS) as exchange:
        async with daemon(exchange.url, **settings) as calm:
            await calm.start()
            await calm.caught_up(SOURCE, EDGE)
            assert await calm.stop() == 0
            expected = await tables(calm)
        async with daemon(exchange.url, **settings, roles__etl=False) as ledgerd:
            await ledgerd.start()
            await ledgerd.wait("every hour to be stored", lambda: is_stored(ledgerd))
            assert await ledgerd.stop() == 0
            kills = 0
            while True:  # each run gets one statement further than the one before
                point = ("etl_written:1", "etl_watermarked:1")[kills % 2]
                code, said = await command(ledgerd, "etl", "run", failpoint=point)
                if code == 0:
                    break
                assert code == -signal.SIGKILL, said
                kills += 1
            assert kills == STATEMENTS
            assert await tables(ledgerd) == expected
            assert (await command(ledgerd, "etl", "run"))[0] == 0
            assert await tables(ledgerd) == expected


async def is_stored(ledgerd):
    reached = "SELECT max(toUInt32OrZero(next_cursor)) FROM bronze_ingest_checkpoints"
    return await ledgerd.sql(reached) == [(EDGE,)]
