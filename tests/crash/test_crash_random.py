"""Killed at random instants while upstream misbehaves, the daemon loses nothing and doubles nothing."""

import asyncio
import os
import random
import signal

import pytest

from tests.daemon import BRONZE, EDGE, HOUR_S, TEST_S, WAIT_S, daemon, lost_and_doubled, upstream

pytest.importorskip("chdb")

RUNS = int(os.environ.get("LEDGERD_CRASH_RUNS", "5"))
SEED = int(os.environ.get("LEDGERD_CRASH_SEED", "1"))
LONGEST_LIFE_S = 3.5
"""From before the first table exists to after the last hour is priced."""
HOURS_A_LIFE = 3
REALMS = ("pc", "xbox")
FAULTS = (
    "http_500", "http_502", "http_503", "html", "garbage", "wrong_type_json", "truncated_gzip", "reset", "slow", "bom",
    "backwards_cursor", "repeated_cursor",
)  # fmt: skip
"""What upstream can do without taking a market away or being refused for good."""
LAST_EDGE = EDGE + RUNS * HOURS_A_LIFE * HOUR_S
REPEATED = """
    SELECT count() - uniqExact(source, seq), countIf(cursor != previous AND previous != '')
    FROM (
        SELECT source, seq, cursor,
            lagInFrame(next_cursor) OVER (PARTITION BY source ORDER BY seq ROWS 1 PRECEDING) AS previous
        FROM bronze_ingest_checkpoints
    )
"""


async def refined_undisturbed(settings):
    """What the refined tables hold after one life in which nothing went wrong."""
    async with upstream(seed=SEED) as exchange, daemon(exchange.url, **settings) as ledgerd:
        await exchange.post("edge", {"hour": LAST_EDGE})
        await ledgerd.start()
        for realm in REALMS:
            await ledgerd.caught_up(f"exchange-{realm}", LAST_EDGE, within_s=WAIT_S + 5 * RUNS)
        return {realm: await ledgerd.refined(realm) for realm in REALMS}


@pytest.mark.timeout(TEST_S + 30 * RUNS)
async def test_killed_at_random_instants_it_loses_nothing_and_doubles_nothing(capsys):
    rng = random.Random(SEED)
    settings = {"realms": [{"name": realm} for realm in REALMS], "upstream__timeout_s": 4.0}
    async with (
        upstream(seed=SEED, fault_rate=0.1, faults=FAULTS) as exchange,
        daemon(exchange.url, **settings) as ledgerd,
    ):
        for _ in range(RUNS):
            await ledgerd.start()
            await asyncio.sleep(rng.uniform(0.1, LONGEST_LIFE_S))
            assert await ledgerd.stop(signal.SIGKILL) == -signal.SIGKILL
            await exchange.post("edge", {"advance": HOURS_A_LIFE})
        await ledgerd.start()
        lost, doubled, refined = 0, 0, {}
        for realm in REALMS:
            await ledgerd.caught_up(f"exchange-{realm}", LAST_EDGE, within_s=WAIT_S + 5 * RUNS)
            refined[realm] = await ledgerd.refined(realm)
            stored, expected = await ledgerd.sql(BRONZE.format(realm=realm)), await exchange.rows(realm)
            missing, extra = lost_and_doubled(expected, stored)
            lost, doubled = lost + len(missing), doubled + len(extra)
        with capsys.disabled():
            print(f"\nkills {RUNS}, lost {lost}, doubled {doubled} (rows {len(expected)}, seed {SEED})")

        assert (lost, doubled) == (0, 0), ledgerd.said()
        assert await ledgerd.sql(REPEATED) == [(0, 0)]
        assert await ledgerd.stop() == 0
        assert refined == await refined_undisturbed(settings)
