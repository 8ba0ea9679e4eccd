"""Recorded hours of the real exchange go in; every market and every value comes out as it was."""

import gzip
from itertools import pairwise
from pathlib import Path

import orjson
import pytest

from tests.daemon import BRONZE, HOUR_S, TEST_S, daemon, lost_and_doubled, true_rows, upstream

pytest.importorskip("chdb")

RECORDED = Path(__file__).resolve().parents[3] / "shared" / "data" / "exchange"
HOURS = {
    realm: {int(path.name.split("-")[1].split(".")[0]): path for path in RECORDED.glob(f"{realm}-*.json.gz")}
    for realm in ("poe2", "pc")
}
pytestmark = [
    pytest.mark.timeout(TEST_S),
    pytest.mark.skipif(not (HOURS["poe2"] and HOURS["pc"]), reason=f"no recorded hours in {RECORDED}"),
]
MARKETS = {"poe2": 5_502, "pc": 25}
UNNAMED = """
    SELECT DISTINCT currency FROM
        (SELECT realm, arrayJoin([currency_a, currency_b]) AS currency FROM bronze_exchange_events)
    WHERE (if(realm = 'poe2', 'poe2', 'poe1'), currency) NOT IN
        (SELECT game, metadata_id FROM reference_currencies FINAL WHERE notEmpty(name))
    ORDER BY currency
"""


def recorded(realm):
    """The rows the files of a realm must become."""
    return [
        row
        for hour, path in HOURS[realm].items()
        for row in true_rows(orjson.loads(gzip.decompress(path.read_bytes())), hour)
    ]


def missing_hours(realm):
    """The hours nobody recorded, between two that somebody did."""
    hours = sorted(HOURS[realm])
    return [(hour + HOUR_S, later) for hour, later in pairwise(hours) if later > hour + HOUR_S]


async def test_every_recorded_market_and_value_is_in_bronze_gaps_are_booked_and_all_ids_have_names():
    expected = {realm: recorded(realm) for realm in HOURS}
    assert {realm: len(rows) for realm, rows in expected.items()} == MARKETS
    # private leagues are stored only by name, so the names come from the files
    realms = [{"name": realm, "leagues": ["*", *sorted({row[0] for row in expected[realm]})]} for realm in HOURS]
    async with (
        upstream(currencies=None, replay_dir=RECORDED) as exchange,
        daemon(exchange.url, realms=realms) as ledgerd,
    ):
        await ledgerd.start()
        for realm in HOURS:
            await ledgerd.caught_up(f"exchange-{realm}", await exchange.edge(realm))

        for realm, rows in expected.items():
            assert lost_and_doubled(rows, await ledgerd.sql(BRONZE.format(realm=realm))) == ([], [])
        gaps = "SELECT toUInt32(gap_from), toUInt32(gap_to) FROM bronze_gaps WHERE realm = '{}' ORDER BY gap_from"
        assert {realm: await ledgerd.sql(gaps.format(realm)) for realm in HOURS} == {
            realm: missing_hours(realm) for realm in HOURS
        }
        assert len(missing_hours("poe2")) == 1
        assert await ledgerd.sql("SELECT count() FROM bronze_quarantine") == [(0,)]
        assert await ledgerd.sql(UNNAMED) == []
        assert await ledgerd.stop() == 0


async def test_private_leagues_are_counted_and_not_stored_unless_named():
    private = [row for row in recorded("poe2") if row[0].endswith(")")]
    async with (
        upstream(currencies=None, replay_dir=RECORDED) as exchange,
        daemon(exchange.url, realms=[{"name": "poe2", "leagues": ["*"]}]) as ledgerd,
    ):
        await ledgerd.start()
        await ledgerd.caught_up("exchange-poe2", await exchange.edge("poe2"))

        assert len(private) > 0
        assert await ledgerd.sql("SELECT sum(rows), sum(rows_skipped) FROM bronze_ingest_checkpoints") == [
            (MARKETS["poe2"] - len(private), len(private))
        ]
        assert await ledgerd.sql("SELECT count() FROM bronze_exchange_events") == [(MARKETS["poe2"] - len(private),)]
