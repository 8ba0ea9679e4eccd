"""Killed at every line of the failure table, the daemon loses nothing of the river and doubles nothing."""

import signal

import pytest

from ledgerd.failpoint import POINTS
from tests.daemon import TEST_S, daemon, upstream

pytest.importorskip("chdb")
pytestmark = pytest.mark.timeout(TEST_S)

PASSINGS = {
    "request_sent": 9,
    "page_half_written": 4,
    "page_frozen": 6,
    "batch_sealed": 3,
    "insert_sent": 3,
    "insert_acked": 3,
    "committed": 3,
    "etl_written": 2,
    "etl_watermarked": 4,
}
"""At which passing of each point the process dies: one with work behind it and work before it."""
RIVER = {"name": "pc", "exchange": False, "river": True}
PAGES = 12


def test_every_point_of_the_failure_table_is_killed_at():
    assert set(PASSINGS) == set(POINTS)


@pytest.mark.parametrize("point", POINTS)
async def test_killed_there_the_next_start_loses_nothing_of_the_river_and_doubles_nothing(point):
    realms = [{**RIVER, "exchange": point.startswith("etl_")}]
    async with upstream(river_rate=60.0) as stand_in:
        await stand_in.lift_limits()
        begin = (await stand_in.get("state"))["river"]["head"]["pc"]
        realms[0]["river_from"] = begin
        async with daemon(stand_in.url, realms=realms, upstream__river_poll_s=0.1) as ledgerd:
            await ledgerd.start(failpoint=f"{point}:{PASSINGS[point]}")
            assert await ledgerd.ended() == -signal.SIGKILL
            await ledgerd.start()
            await ledgerd.wait(f"{PAGES} pages", lambda: has_pages(ledgerd))
            await ledgerd.still()
            verdict = await ledgerd.river_verdict(stand_in)

            assert verdict.findings == {}
            assert verdict.pages >= PAGES
            assert await ledgerd.sql(
                "SELECT argMin(cursor, seq) FROM bronze_ingest_checkpoints WHERE source = 'river-pc'"
            ) == [(begin,)]
            assert await ledgerd.sql("SELECT count() FROM bronze_quarantine") == [(0,)]
            assert await ledgerd.sql("SELECT count() FROM bronze_gaps") == [(0,)]
            assert await ledgerd.stop() == 0


async def has_pages(ledgerd):
    query = "SELECT sum(pages) FROM bronze_ingest_checkpoints WHERE source = 'river-pc'"
    return (await ledgerd.sql(query))[0][0] >= PAGES
