"""ETL killed between any two statements, and run twice, leaves equal tables."""

import signal

import pytest

from ledgerd.etl.plan import EXCHANGE
from ledgerd.etl.runner import load_steps
from tests.daemon import EDGE, NOT_DATA, REFINED, TEST_S, command, daemon, upstream

pytest.importorskip("chdb")
pytestmark = pytest.mark.timeout(2 * TEST_S)

REALM, SOURCE = "xbox", "exchange-xbox"
HOURS = 2
BATCH_PAGES = 2
STEPS = len([step for step in load_steps() if step.kind == EXCHANGE])
GOLD_STEPS = len([step for step in load_steps() if step.kind == EXCHANGE and step.is_gold])
STATEMENTS = 2 * STEPS * (HOURS // BATCH_PAGES)
"""A step writes its rows, then its watermark; each batch goes through every step."""


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
    settings = {"realms": [{"name": REALM}], "spool__batch_pages_max": BATCH_PAGES, "spool__seal_after_s": 3600.0}
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


async def test_a_rebuild_killed_in_the_middle_is_finished_by_whoever_runs_next_and_gives_equal_tables():
    settings = {"realms": [{"name": REALM}], "spool__batch_pages_max": 1, "spool__seal_after_s": 0.1}
    async with upstream(HOURS) as exchange, daemon(exchange.url, **settings) as ledgerd:
        await ledgerd.start()
        await ledgerd.caught_up(SOURCE, EDGE)
        refused = await command(ledgerd, "etl", "rebuild", "--from", "bronze")
        assert await ledgerd.stop() == 0
        expected = await tables(ledgerd)
        killed, _ = await command(ledgerd, "etl", "rebuild", "--from", "bronze", failpoint="etl_watermarked:3")
        half = await command(ledgerd, "etl", "status")
        rest = await command(ledgerd, "etl", "run")
        rebuilt = await tables(ledgerd)
        gold = await command(ledgerd, "etl", "rebuild", "--from", "silver")
        one = await command(ledgerd, "etl", "run", "--step", REFINED[0])

        assert refused[0] == 73
        assert "systemctl stop ledgerd; then: ledgerd etl rebuild --from bronze" in refused[1]
        assert killed == -signal.SIGKILL
        assert next(line.split()[-1] for line in half[1].splitlines() if line.startswith(REFINED[-1])) == str(HOURS)
        assert rest == (0, f"{HOURS * STEPS - 3} tasks done; nothing waits\n")
        assert rebuilt == await tables(ledgerd) == expected
        assert gold[1].endswith(f"{HOURS * GOLD_STEPS} tasks done; all of it is new\n")
        assert one == (0, "0 tasks done; nothing waits\n")


async def is_stored(ledgerd):
    reached = "SELECT max(toUInt32OrZero(next_cursor)) FROM bronze_ingest_checkpoints"
    return await ledgerd.sql(reached) == [(EDGE,)]
