"""Recorded pages of the real river go in; every change comes out with the value it had."""

import gzip
import re
from collections import Counter
from pathlib import Path

import orjson
import pytest

from ledgerd.harvest.lanes import PRIVATE_LEAGUE
from tests.daemon import TEST_S, daemon, upstream

pytest.importorskip("chdb")

RECORDED = Path(__file__).resolve().parents[3] / "shared" / "data" / "river"
PAGES = sorted(RECORDED.glob("page-*.json.gz"))
pytestmark = [
    pytest.mark.timeout(TEST_S),
    pytest.mark.skipif(not PAGES, reason=f"no recorded pages in {RECORDED}"),
]
RIVER = {"name": "pc", "exchange": False, "river": True, "river_from": "oldest"}
CHANGES, ITEMS = 2_316, 2_804


def canonical(stash):
    return orjson.dumps(stash, option=orjson.OPT_SORT_KEYS)


def lane(stash):
    """Where a change is filed: where all public leagues are stored, private ones share a lane."""
    league = stash.get("league") or ""
    return "(private)" if re.search(PRIVATE_LEAGUE, league) else league


async def test_every_recorded_change_is_in_bronze_value_for_value():
    true = [stash for path in PAGES for stash in orjson.loads(gzip.decompress(path.read_bytes()))["stashes"]]
    async with upstream(replay_dir=RECORDED) as stand_in, daemon(stand_in.url, realms=[RIVER]) as ledgerd:
        await stand_in.lift_limits()
        await ledgerd.start()

        async def is_live():
            source = await ledgerd.source("river-pc")
            return source["state"] == "live" and source["pages_behind"] == 0

        await ledgerd.wait("the end of the recorded river", is_live)
        await ledgerd.still()
        rows = await ledgerd.sql("SELECT payload, item_count, account, stash_name, league FROM bronze_raw_stashes")
        got = [orjson.loads(payload) for payload, *_ in rows]
        verdict = await ledgerd.river_verdict(stand_in)

        assert Counter(map(canonical, got)) == Counter(map(canonical, true))
        assert (len(rows), sum(items for _, items, *_ in rows)) == (CHANGES, ITEMS)
        fields = [(stash.get("accountName"), stash.get("stash"), lane(stash)) for stash in got]
        assert [tuple(row[2:]) for row in rows] == fields
        assert (verdict.findings, verdict.pages, verdict.changes) == ({}, len(PAGES), CHANGES)
        assert await ledgerd.sql("SELECT count() FROM bronze_quarantine") == [(0,)]
        assert await ledgerd.stop() == 0
