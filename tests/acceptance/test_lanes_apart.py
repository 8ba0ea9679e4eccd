"""Leagues side by side: one that cannot be refined waits alone, says why, and catches up by itself when it can."""

import asyncio
import sys

import pytest

from ledgerd.clock import SystemClock
from ledgerd.store.embedded import EmbeddedEngine
from tests.daemon import ROOT, TEST_S, daemon, upstream

pytest.importorskip("chdb")
pytestmark = pytest.mark.timeout(2 * TEST_S)

RIVER, STEP = "river-pc", "silver_canonical_stashes"
BROKEN, OTHERS = "Hardcore Allflame", ("Allflame", "Standard")
BATCHES = 2
"""So many batches of the river the other leagues do while one cannot."""
TABLES = (
    "silver_listing_events", "silver_listings", "silver_canonical_stashes",
    "gold_item_prices", "gold_liquidity", "gold_stash_summary", "gold_item_roi",
)  # fmt: skip
"""What must be equal, league by league."""
FILLED = ("silver_listing_events", "silver_listings", "silver_canonical_stashes", "gold_item_prices")


async def command(ledgerd, *words):
    """Run a ledgerd command to its end, which must be good; what it said."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ledgerd", *words, "--config", str(ledgerd.config),
        cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    return said.decode()


async def refuse_while_there_is(ledgerd, switch):
    """Make the tables; from then on one refuses the rows of a league as long as the file ``switch`` says anything."""
    await command(ledgerd, "migrate", "--apply")
    engine = EmbeddedEngine(ledgerd.data_dir / "clickhouse", database="poe_trade", memory_bytes_max=1_000_000_000)
    await engine.open()
    check = f"league != '{BROKEN}' OR file('{switch}', '') = ''"
    await engine.execute(f"ALTER TABLE {STEP} ADD CONSTRAINT closed CHECK {check}")
    await engine.close()


async def lanes(ledgerd):
    """By league, what ``/status`` says of the steps of its lane of the river, by step."""
    found = {}
    for each in (await ledgerd.status())["etl"]:
        if each["source"] == RIVER:
            found.setdefault(each["league"], {})[each["step"]] = each
    return found


async def contents(ledgerd):
    """By league and table, the number of rows and the hash of all of them, merged: nothing in them is the clock's."""
    query = " UNION ALL ".join(
        f"SELECT league, '{table}' AS name, count(), sum(cityHash64(*)) FROM {table} FINAL GROUP BY league"
        for table in TABLES
    )
    said = await command(ledgerd, "sql", f"SELECT * FROM ({query})", "--format", "TSV")
    rows = [line.split("\t") for line in said.splitlines()]
    return {(league, name): (int(n), content) for league, name, n, content in rows}


async def test_a_league_that_cannot_be_refined_waits_alone_and_catches_up(tmp_path):
    switch = tmp_path / "closed"
    settings = {
        "realms": [{"name": "pc", "leagues": ["*"], "river": True}],
        "spool__seal_after_s": 4.0,
        "etl__interval_s": 5.0,
    }
    world = {"river": True, "river_stashes": 1000, "river_rate": 40.0, "edge": "clock"}
    async with upstream(2, clock=SystemClock(), **world) as stand_in, daemon(stand_in.url, **settings) as ledgerd:
        await stand_in.lift_limits()
        await refuse_while_there_is(ledgerd, switch)
        switch.write_text("closed")
        await ledgerd.start()

        async def fails_alone():
            found = await lanes(ledgerd)
            assert found[BROKEN][STEP]["state"] == "failing"
            are_on = all(found[league]["gold_item_prices"]["watermark"] >= BATCHES for league in OTHERS)
            priced = await ledgerd.sql("SELECT DISTINCT league FROM gold_item_prices ORDER BY league")
            return are_on and priced == [(league,) for league in OTHERS]

        await ledgerd.wait("the others to go on without it", fails_alone)
        status, found = await ledgerd.status(), await lanes(ledgerd)
        assert sorted(found) == sorted([BROKEN, *OTHERS])
        assert status["state"] == "degraded"
        (reason,) = [reason for reason in status["reasons"] if "failing" in reason]
        assert reason.startswith(f"{STEP} of {RIVER}, {BROKEN}, is failing: ")
        assert "Constraint `closed`" in reason
        for league in OTHERS:
            assert [step for step, each in found[league].items() if each["last_error"]] == []
            assert found[league]["gold_item_prices"]["done_until"] > (found[BROKEN][STEP]["done_until"] or "")

        await ledgerd.still()
        switch.unlink()

        async def is_level():
            steps = [each for lane in (await lanes(ledgerd)).values() for each in lane.values()]
            return all(each["behind"] == 0 and each["state"] == "ok" for each in steps)

        await ledgerd.wait("the league to catch up by itself", is_level)
        await ledgerd.well()
        assert await ledgerd.stop() == 0
        caught_up = await contents(ledgerd)
        empty = [(league, name) for league in (BROKEN, *OTHERS) for name in FILLED if (league, name) not in caught_up]
        assert empty == []

        await command(ledgerd, "etl", "rebuild", "--from", "bronze")  # all leagues together, and nobody fails
        assert await contents(ledgerd) == caught_up
