"""Killed at every line of the failure table, the daemon loses nothing and doubles nothing."""

import signal

import pytest

from ledgerd.failpoint import POINTS
from tests.daemon import BRONZE, EDGE, TEST_S, daemon, lost_and_doubled, upstream

pytest.importorskip("chdb")
pytestmark = pytest.mark.timeout(TEST_S)

REALM, SOURCE = "xbox", "exchange-xbox"
HOURS = 8
PASSINGS = {
    "request_sent": 4,
    "page_half_written": 4,
    "page_frozen": 4,
    "batch_sealed": 2,
    "insert_sent": 2,
    "insert_acked": 2,
    "committed": 2,
    "etl_written": 2,
    "etl_watermarked": 4,
}
"""At which passing of each point the process dies: one with work behind it and work before it."""
CHECKPOINTS = f"""
    SELECT seq, toUInt32(cursor), toUInt32(next_cursor), pages, rows
    FROM bronze_ingest_checkpoints WHERE source = '{SOURCE}' ORDER BY seq
"""


@pytest.fixture(scope="module")
def undisturbed():
    """What the refined tables hold after a run nobody killed; filled by the first test that needs it."""
    return {}


async def refined_undisturbed(url, known):
    if not known:
        async with daemon(url, realms=[{"name": REALM}]) as ledgerd:
            await ledgerd.start()
            await ledgerd.caught_up(SOURCE, EDGE)
            known |= await ledgerd.refined(REALM)
    return known


def test_every_point_of_the_failure_table_is_killed_at():
    assert set(PASSINGS) == set(POINTS)


@pytest.mark.parametrize("point", POINTS)
async def test_killed_there_the_next_start_loses_nothing_and_doubles_nothing(point, undisturbed):
    async with upstream(HOURS) as exchange, daemon(exchange.url, realms=[{"name": REALM}]) as ledgerd:
        await ledgerd.start(failpoint=f"{point}:{PASSINGS[point]}")
        assert await ledgerd.ended() == -signal.SIGKILL
        await ledgerd.start()
        await ledgerd.caught_up(SOURCE, EDGE)
        stored, expected = await ledgerd.sql(BRONZE.format(realm=REALM)), await exchange.rows(REALM)

        assert len(expected) > 300
        assert lost_and_doubled(expected, stored) == ([], [])

        checkpoints = await ledgerd.sql(CHECKPOINTS)
        asked = [cursor for _, cursor, *_ in checkpoints] + [EDGE]
        assert [seq for seq, *_ in checkpoints] == list(range(1, len(checkpoints) + 1))
        assert [following for _, _, following, *_ in checkpoints] == asked[1:]
        assert sum(pages for *_, pages, _ in checkpoints) == HOURS
        assert sum(rows for *_, rows in checkpoints) == len(expected)
        assert await ledgerd.refined(REALM) == await refined_undisturbed(exchange.url, undisturbed)
        assert await ledgerd.sql("SELECT count() FROM bronze_quarantine") == [(0,)]
        assert await ledgerd.sql("SELECT count() FROM bronze_gaps") == [(0,)]
        assert await ledgerd.stop() == 0
