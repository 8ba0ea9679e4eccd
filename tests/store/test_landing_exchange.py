import json
import re
from collections import Counter

import pytest

from ledgerd.clock import SystemClock
from ledgerd.store.migrate import Migrator
from tests.store.exchange_rows import LANDING_COLUMNS, batch_id, body, land, market, markets_of, recorded_hours

HOUR_S = 1_787_086_800
RECORDED = recorded_hours()
FIELDS = ("volume_traded", "lowest_stock", "highest_stock", "lowest_ratio", "highest_ratio")


@pytest.fixture
async def db(engine):
    await Migrator(engine, SystemClock()).apply()
    return engine


def row_of(entry):
    a, b = entry["market_pair"]
    return (entry["league"], entry["market_id"], a, b, *(entry[field][side] for side in (a, b) for field in FIELDS))


async def stored(db):
    return await db.rows(
        "SELECT league, market_id, currency_a, currency_b,"
        " volume_a, lowest_stock_a, highest_stock_a, lowest_ratio_a, highest_ratio_a,"
        " volume_b, lowest_stock_b, highest_stock_b, lowest_ratio_b, highest_ratio_b"
        " FROM bronze_exchange_events ORDER BY ALL"
    )


async def reasons(db):
    return await db.rows("SELECT reason, count() FROM bronze_quarantine GROUP BY reason ORDER BY reason")


@pytest.mark.skipif(not RECORDED, reason="no recorded hours here")
async def test_every_market_of_the_recorded_hours_is_stored_with_its_numbers(db):
    markets = [entry for _, page in RECORDED for entry in markets_of(page)]
    for seq, (hour_s, page) in enumerate(RECORDED):
        await land(db, seq, hour_s, page, leagues=sorted({entry["league"] for entry in markets}))

    assert await stored(db) == sorted(row_of(entry) for entry in markets)
    assert await reasons(db) == []


@pytest.mark.skipif(not RECORDED, reason="no recorded hours here")
async def test_the_star_lane_takes_every_league_but_the_private_ones(db):
    hour_s, page = RECORDED[-1]
    await land(db, 0, hour_s, page)

    expected = Counter(entry["league"] for entry in markets_of(page) if not re.search(r"\(PL\d+\)$", entry["league"]))

    assert dict(await db.rows("SELECT league, count() FROM bronze_exchange_events GROUP BY league")) == dict(expected)


LANES = [
    (["Standard"], ["Standard"]),
    (["*"], ["Allflame", "Standard"]),
    (["Mine (PL1)"], ["Mine (PL1)"]),
    (["*", "Mine (PL1)"], ["Allflame", "Mine (PL1)", "Standard"]),
    (["Nowhere"], []),
    ([], []),
]


async def test_a_lane_takes_its_league_and_private_ones_come_by_name_only(db):
    page = body(
        *(market("a", "b", (1, 2), league) for league in ("Standard", "Allflame", "Mine (PL1)", "Theirs (PL2)"))
    )
    for seq, (lanes, _) in enumerate(LANES):
        await land(db, seq, HOUR_S, page, leagues=lanes)

    found = await db.rows("SELECT batch_id, groupArray(league) FROM bronze_exchange_events GROUP BY batch_id")

    assert {name: sorted(leagues) for name, leagues in found} == {
        batch_id(seq): leagues for seq, (_, leagues) in enumerate(LANES) if leagues
    }


GOOD = market("chaos", "divine", (400, 2))
HOSTILE = [
    ("market is not an object", 7),
    ("market is not an object", "chaos|divine"),
    ("market is not an object", [GOOD]),
    ("market without league", {key: value for key, value in GOOD.items() if key != "league"}),
    ("market without league", GOOD | {"league": None}),
    ("market without market_id", GOOD | {"market_id": ""}),
    ("market_pair is not two ids", GOOD | {"market_pair": ["a", "b", "c"]}),
    ("market_pair is not two ids", GOOD | {"market_pair": ["a", ""]}),
    ("market_pair is not two ids", GOOD | {"market_pair": None, "market_id": "alone"}),
    ("a number is missing or does not fit UInt64", GOOD | {"volume_traded": {"chaos": 400}}),
    ("a number is missing or does not fit UInt64", GOOD | {"volume_traded": {"chaos": -1, "divine": 2}}),
    ("a number is missing or does not fit UInt64", GOOD | {"volume_traded": {"chaos": 2**64, "divine": 2}}),
    ("a number is missing or does not fit UInt64", GOOD | {"volume_traded": {"chaos": 1.5, "divine": 2}}),
    ("a number is missing or does not fit UInt64", GOOD | {"highest_ratio": {"chaos": "400", "divine": 2}}),
    ("a number is missing or does not fit UInt64", GOOD | {"lowest_stock": []}),
]


async def test_a_market_nobody_can_read_is_kept_with_its_reason(db):
    await land(db, 0, HOUR_S, body(GOOD, *(entry for _, entry in HOSTILE)), leagues=["Standard"])

    kept = await db.rows("SELECT reason, payload, payload_bytes = length(payload) FROM bronze_quarantine")
    expected = [(reason, json.dumps(entry, sort_keys=True), True) for reason, entry in HOSTILE]

    assert await stored(db) == [row_of(GOOD)]
    assert sorted(_as_sorted_json(row) for row in kept) == sorted(expected)


def _as_sorted_json(row):
    """The engine writes the members of an array anew: an integer beyond 64 bits comes out in quotes."""
    reason, payload, *rest = row
    return reason, json.dumps(json.loads(payload.replace(f'"{2**64}"', str(2**64))), sort_keys=True), bool(*rest)


async def test_older_history_without_market_pair_is_read_from_its_market_id(db):
    entry = {key: value for key, value in GOOD.items() if key != "market_pair"}
    await land(db, 0, HOUR_S, body(entry))

    assert await stored(db) == [row_of(GOOD)]


async def test_a_market_that_traded_nothing_keeps_its_zero_ratio(db):
    idle = market("chaos", "divine", (0, 0))
    await land(db, 0, HOUR_S, body(idle))

    assert await stored(db) == [row_of(idle)]


async def test_the_largest_number_of_a_column_is_stored_whole(db):
    huge = market("chaos", "divine", (2**64 - 1, 1))
    await land(db, 0, HOUR_S, body(huge))

    assert await stored(db) == [row_of(huge)]


async def test_a_batch_landed_again_under_its_token_changes_nothing(db):
    for _ in range(2):
        await land(db, 0, HOUR_S, body(GOOD, 7), body(GOOD))

    found = await db.rows("SELECT toUnixTimestamp(hour), page_seq FROM bronze_exchange_events ORDER BY ALL")

    assert found == [(HOUR_S, 0), (HOUR_S + 3600, 1)]
    assert await reasons(db) == [("market is not an object", 1)]


async def test_hours_that_will_never_come_are_recorded_with_their_span(db):
    pages = [
        (HOUR_S, HOUR_S + 3600, ""),
        (HOUR_S + 3600, HOUR_S + 10_800, ""),
        (HOUR_S + 10_800, HOUR_S + 18_000, "never"),
        (HOUR_S + 18_000, HOUR_S + 21_600, "unreadable"),
    ]
    rows = [("b-0", n, "exchange-pc", "pc", *page, ["*"], HOUR_S + 3700.0, b"{}") for n, page in enumerate(pages)]
    await db.insert("landing_exchange_1", LANDING_COLUMNS, rows, token="b-0")

    found = await db.rows(
        "SELECT toUnixTimestamp(assumeNotNull(gap_from)), toUnixTimestamp(assumeNotNull(gap_to)), reason"
        " FROM bronze_gaps ORDER BY gap_from"
    )

    assert found == [
        (HOUR_S + 7200, HOUR_S + 10_800, "upstream skipped these hours"),
        (HOUR_S + 10_800, HOUR_S + 18_000, "never"),
        (HOUR_S + 18_000, HOUR_S + 21_600, "unreadable"),
    ]
