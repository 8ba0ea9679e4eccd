"""Killed at random instants while upstream misbehaves, the daemon loses nothing of the river and doubles nothing."""

import asyncio
import os
import random
import signal
import time
from statistics import mean

import pytest

from tests.daemon import TEST_S, daemon, upstream

pytest.importorskip("chdb")

RUNS = int(os.environ.get("LEDGERD_CRASH_RUNS", "15"))
SEED = int(os.environ.get("LEDGERD_CRASH_SEED", "1"))
STARTING_S = 1.5
"""A start takes about so long."""
STARTS_KILLED = 0.3
LONGEST_MOMENT_S = 0.6
PAGES_MAX = 4
"""Committed since a start before the kill, at most, and a moment: at any pace a load to be killed under."""
REALMS = ("pc", "xbox")
RATE = 60.0
POLL_S = 0.4
"""Some two pages a second of each realm: less than a writer carries on a slow machine, too, or each life would leave
the next one more to carry before its own first page.
"""
FAULTS = (
    "http_500", "http_502", "http_503", "html", "garbage", "wrong_type_json", "truncated_gzip", "reset", "slow", "hang",
    "bom", "backwards_cursor", "repeated_cursor", "lying_next_id", "lone_surrogate", "huge_number", "nul_byte",
    "deep_json", "overflow_int64", "duplicate_keys", "bad_utf8", "missing_field", "negative_number", "float_number",
    "invalid_token",
)  # fmt: skip
"""All that upstream can do without refusing for good, or for a minute as other limits may."""
TIMEOUT_S = 10.0
"""How long a hang lasts; a stand-in on a slow machine may make a page for seconds."""
LANES = (["*"], ["Standard"], ["Standard", "Allflame", "Hardcore"], ["Allflame"])
SIZES = ({"batch_pages_max": 4}, {"batch_pages_max": 16, "seal_after_s": 1.0}, {"batch_bytes_max": 20_000}, {})
USUAL = {"batch_pages_max": 8, "batch_bytes_max": 1 << 25, "seal_after_s": 0.2}


class Lives:
    """The lives of one daemon: how often it was killed, and how long each start took until it had a fresh page."""

    def __init__(self, ledgerd):
        self.ledgerd = ledgerd
        self.kills = 0
        self.waits_s = []

    async def begin(self, pages=1):
        """Start, and wait for so many pages that came since."""
        begun_s = time.monotonic()
        since = f"FROM bronze_river_counts WHERE realm = 'pc' AND retrieved_at > {time.time()}"

        async def come():
            return (await self.ledgerd.sql(f"SELECT uniqExact(batch_id, page_seq) {since}"))[0][0]

        async def has_all():
            return await come() >= pages

        await self.ledgerd.start()
        await self.ledgerd.wait("a fresh page", come)
        self.waits_s.append(time.monotonic() - begun_s)
        await self.ledgerd.wait(f"{pages} fresh pages", has_all)

    async def end(self, after_s):
        await asyncio.sleep(after_s)
        assert await self.ledgerd.stop(signal.SIGKILL) == -signal.SIGKILL
        self.kills += 1


def configured(rng):
    """Other lanes and other batches, as an operator may edit them in between."""
    realms = [{"name": realm, "exchange": False, "river": True, "leagues": rng.choice(LANES)} for realm in REALMS]
    return {"realms": realms, **in_batches(**rng.choice(SIZES))}


def in_batches(**sizes):
    return {f"spool__{key}": value for key, value in (USUAL | sizes).items()}


async def killed(lives, stand_in, rng):
    """Now and then kill it as it starts; then under load."""
    for realm in REALMS:
        await stand_in.lift_limits(realm)
    lives.ledgerd.configure(**configured(rng))
    if rng.random() < STARTS_KILLED:
        await lives.ledgerd.start()
        await lives.end(rng.uniform(0.1, STARTING_S))
    await lives.begin(rng.randint(1, PAGES_MAX))
    await lives.end(rng.uniform(0.0, LONGEST_MOMENT_S))


@pytest.mark.timeout(TEST_S + 60 * RUNS)
async def test_killed_at_random_instants_it_loses_nothing_of_the_river_and_doubles_nothing(capsys, tmp_path):
    rng = random.Random(SEED)
    settings = {**configured(rng), "upstream__timeout_s": TIMEOUT_S, "upstream__river_poll_s": POLL_S}
    book = tmp_path / "book"
    async with (
        upstream(seed=SEED, fault_rate=0.05, faults=FAULTS, river_rate=RATE, river_ledger_path=book) as stand_in,
        daemon(stand_in.url, **settings) as ledgerd,
    ):
        lives = Lives(ledgerd)
        for _ in range(RUNS):
            await killed(lives, stand_in, rng)
        ledgerd.configure(**in_batches())  # what waits must go while the rivers are switched off
        await lives.begin()
        await ledgerd.still()
        verdicts = {realm: await ledgerd.river_verdict(stand_in, realm) for realm in REALMS}
        pages = sum(verdict.pages for verdict in verdicts.values())
        told = ", ".join(
            f"{name} {sum(len(getattr(verdict, name)) for verdict in verdicts.values())}"
            for name in ("lost", "doubled", "unexpected", "broken")
        )
        with capsys.disabled():
            print(
                f"\nriver: kills {lives.kills}, {told} (pages {pages}, "
                f"changes {sum(verdict.changes for verdict in verdicts.values())}, seed {SEED}); "
                f"a fresh page after {max(lives.waits_s):.1f} s at worst, {mean(lives.waits_s):.1f} s on average"
            )

        assert {realm: verdict.findings for realm, verdict in verdicts.items()} == {realm: {} for realm in REALMS}
        assert await ledgerd.sql("SELECT count() FROM bronze_gaps") == [(0,)]
        assert await ledgerd.stop() == 0
