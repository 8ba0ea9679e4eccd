"""Gold that rests on the prices of items: liquidity, what stashes hold and how they change, what trading earned."""

import random
import time

import pytest

from ledgerd.clock import SystemClock
from ledgerd.etl.reference import load_reference
from ledgerd.store.migrate import Migrator
from ledgerd.store.migration import split_statements
from ledgerd.store.queries import schema_root
from tests.store.exchange_rows import CHAOS, DIVINE
from tests.store.golden import (
    Offer,
    at,
    hour,
    insert_batches,
    insert_events,
    insert_prices,
    insert_rates,
    insert_stash,
    refine,
    refine_exchange,
)
from tests.store.refining import REFERENCE

SNAPSHOT = (
    "realm", "league", "hour", "currency", "chaos_value", "units_24h", "value_traded_24h", "spread", "confidence",
    "batch_id", "retrieved_at",
)  # fmt: skip
TICK = (
    "realm", "league", "hour", "market_id", "currency_a", "currency_b", "highest_stock_a", "highest_stock_b",
    "batch_id", "retrieved_at",
)  # fmt: skip
LIQUIDITY = (
    "league, hour, kind, thing, turnover_24h, sold_24h, stock, listings, spread, sell_through, time_to_sell_s,"
    " confidence, rate_hour, batch_id FROM gold_liquidity FINAL ORDER BY ALL"
)
SUMMARY = (
    "stash_id, items, listed, unconverted, unpriced, asked_chaos, market_chaos, unpriced_share, rate_hour, public"
    " FROM gold_stash_summary FINAL ORDER BY ALL"
)
DIFFS = (
    "league, hour, stash_id, added, removed, repriced, restacked, unconverted, added_chaos, removed_chaos,"
    " repriced_chaos, restacked_chaos, first_batch, last_batch FROM gold_stash_diffs FINAL ORDER BY ALL"
)
ROI = "hour, thing, chaos_value, low_1h, low_24h, low_7d, roi_1h, roi_24h, roi_7d FROM gold_item_roi FINAL ORDER BY ALL"


@pytest.fixture
async def db(engine):
    await Migrator(engine, SystemClock()).apply()
    await load_reference(engine, REFERENCE.rows)
    return engine


async def test_liquidity_of_an_item_is_counted_from_its_price_and_carries_its_evidence(db):
    await insert_prices(db, {}, {"hour": at(-1)}, {"league": "Allflame", "realm": "xbox"}, {"league": "Hardcore"})
    await refine(db, "30_gold_liquidity", at(0, 200))

    assert await db.rows(f"SELECT {LIQUIDITY}") == [
        (
            "Standard", hour(0), "item", "unique|Headhunter", 28.5, 3, 9, 6, 0.5, 3 / 9, 6 / 3 * 86400, 0.8, hour(-1),
            "river-pc-6",
        )
    ]  # fmt: skip


async def test_liquidity_of_what_nobody_offers_or_buys_is_zero_or_unknown_never_an_error(db):
    unknown = {"chaos_value": None, "low": None, "high": None, "sale_value": None, "time_on_market_s": None}
    await insert_prices(
        db,
        {**unknown, "item_key": "a", "listings": 0, "units": 0, "likely_sales_24h": 0, "rate_hour": 0},
        {**unknown, "item_key": "b", "likely_sales_24h": 2},
        {"item_key": "c", "sale_value": None},
    )
    await refine(db, "30_gold_liquidity", at(0, 200))

    found = await db.rows(
        "SELECT thing, turnover_24h, spread, sell_through, rate_hour FROM gold_liquidity ORDER BY ALL"
    )

    assert found == [
        ("a", 0.0, None, None, None),
        ("b", None, None, 0.25, hour(-1)),
        ("c", 30.0, 0.5, 3 / 9, hour(-1)),
    ]


async def insert_snapshot(db, *prices):
    """(currency, hour, chaos, confidence) with a spread of 0.21 and 300 units worth 3,000 a day."""
    rows = [
        ("pc", "Standard", at(h), c, chaos, 300, 3000.0, 0.21, sure, "x-1", at(h + 1, 60))
        for c, h, chaos, sure in prices
    ]
    await db.insert("gold_currency_snapshot", SNAPSHOT, rows, token=repr(prices))


async def test_liquidity_of_a_currency_counts_the_stock_of_all_its_markets(db):
    await insert_snapshot(db, ("x", 0, 10.0, 0.9), ("y", 0, None, 0.0), ("x", 1, 10.0, 0.9))
    markets = [("a|x", "a", "x", 7, 60), ("x|y", "x", "y", 40, 9)]
    ticks = [("pc", "Standard", at(0), *market, "x-1", at(1)) for market in markets]
    await db.insert("silver_exchange_ticks", TICK, [*ticks, ("pc", "Allflame", *ticks[0][2:])], token="ticks")
    await refine_exchange(db, "31_gold_currency_liquidity", 0, 1)

    assert await db.rows(f"SELECT {LIQUIDITY}") == [
        ("Standard", hour(0), "currency", "x", 3000.0, 300, 100, 0, 0.21, 0.75, 28800.0, 0.9, hour(0), "x-1"),
        ("Standard", hour(0), "currency", "y", 3000.0, 300, 9, 0, 0.21, 300 / 309, 2592.0, 0.0, hour(0), "x-1"),
    ]


async def test_a_stash_is_worth_what_it_asks_and_what_the_market_gives(db):
    await insert_rates(db, (DIVINE, -2, 90.0), (DIVINE, -1, 100.0), ("odd", -3, 2.0))
    await insert_prices(
        db, {}, {"key": 2, "item_key": "b", "confidence": 0.4}, {"key": 3, "item_key": "c", "hour": at(-1)}
    )
    offers = [Offer(1, 2.0, DIVINE), Offer(1, 0.5, stack=10), Offer(2, 3.0, "odd"), Offer(3), Offer(0, 5.0, "nothing")]
    await insert_stash(db, "s", at(0, 500), *offers)
    await refine(db, "40_gold_stash_summary", at(0, 700), at(0, 500))

    assert await db.rows(f"SELECT {SUMMARY}") == [("s", 5, 4, 1, 3, 211.0, 110.0, 0.6, hour(-3), True)]


async def test_a_currency_without_a_sure_price_of_its_item_is_worth_its_rate(db):
    keys = [(n, f"currency|{name}", "currency", name) for n, name in ((5, "Chaos Orb"), (6, "Divine Orb"))]
    await db.insert("silver_item_keys", ("key", "item_key", "category", "name"), keys, token="keys")
    await insert_rates(db, (DIVINE, -1, 100.0))
    await insert_stash(db, "s", at(0, 500), Offer(5, stack=20), Offer(6), Offer(7))
    await refine(db, "40_gold_stash_summary", at(0, 700), at(0, 500))
    await insert_prices(db, {"hour": at(1), "key": 6, "item_key": "currency|Divine Orb", "chaos_value": 90.0})
    await insert_stash(db, "s", at(1, 500), Offer(5, stack=20), Offer(6), Offer(7))
    await refine(db, "40_gold_stash_summary", at(1, 700), at(1, 500), batch="river-pc-8")

    found = await db.rows("SELECT market_chaos, unpriced FROM gold_stash_summary ORDER BY hour")

    assert found == [(120.0, 1), (110.0, 1)]


async def test_only_stashes_that_changed_since_the_window_began_are_valued(db):
    for stash, seen_s in (("before", at(0, 179)), ("within", at(0, 180)), ("after", at(0, 650))):
        await insert_stash(db, stash, seen_s, Offer(1, 1.0))
    await insert_stash(db, "elsewhere", at(0, 400), Offer(1, 1.0), league="Hardcore")
    await refine(db, "40_gold_stash_summary", at(0, 660), at(0, 310))

    assert [row[0] for row in await db.rows(f"SELECT {SUMMARY}")] == ["after", "within"]


async def test_without_rates_or_prices_a_stash_is_still_counted(db):
    await db.execute("TRUNCATE TABLE reference_currencies")
    await insert_stash(db, "s", at(0, 500), Offer(1, 2.0, DIVINE), Offer(2, 1.0), Offer(3))
    await refine(db, "40_gold_stash_summary", at(0, 700), at(0, 500))

    assert await db.rows(f"SELECT {SUMMARY}") == [("s", 3, 2, 2, 3, 0.0, 0.0, 1.0, None, True)]


async def test_a_stash_that_left_its_league_is_empty_there_and_full_where_it_went(db):
    await insert_stash(db, "s", at(0, 400), Offer(1, 1.0))
    await refine(db, "40_gold_stash_summary", at(0, 610), at(0, 290))
    await insert_stash(db, "s", at(1, 700), public=False)
    await insert_stash(db, "s", at(1, 700), Offer(1, 2.0), league="Allflame")
    await refine(db, "40_gold_stash_summary", at(1, 910), at(1, 700), batch="river-pc-8")

    rows = await db.rows(
        "SELECT league, hour, items, asked_chaos, public, batch_id FROM gold_stash_summary ORDER BY ALL"
    )
    sellers = await db.rows("SELECT league, account, stashes, items, asked_chaos FROM gold_seller_summary ORDER BY ALL")

    assert rows == [
        ("Allflame", hour(1), 1, 2.0, True, "river-pc-8"),
        ("Standard", hour(0), 1, 1.0, True, "river-pc-7"),
        ("Standard", hour(1), 0, 0.0, False, "river-pc-8"),
    ]
    assert sellers == [("Allflame", "seller", 1, 1, 2.0)]


async def test_a_seller_has_the_newest_state_of_each_of_his_stashes(db):
    await insert_prices(db, {}, {"hour": at(1)})
    await insert_stash(db, "s", at(0, 400), Offer(1, 1.0), Offer(1, 2.0))
    await insert_stash(db, "t", at(0, 400), Offer(1, 4.0), Offer(0))
    await insert_stash(db, "u", at(0, 400), Offer(1, 8.0), account="other")
    await refine(db, "40_gold_stash_summary", at(0, 610), at(0, 290))
    await insert_stash(db, "s", at(1, 700), Offer(1, 16.0))
    await refine(db, "40_gold_stash_summary", at(1, 910), at(1, 700), batch="river-pc-8")

    found = await db.rows(
        "SELECT stashes, items, listed, unpriced, asked_chaos, market_chaos, unpriced_share FROM gold_seller_summary"
        " WHERE realm = 'pc' AND league = 'Standard' AND account = 'seller'"
    )

    assert found == [(2, 3, 2, 1, 20.0, 20.0, 1 / 3)]


async def test_events_are_counted_by_stash_and_hour_over_a_window_of_two_that_ends_a_month(db):
    await insert_batches(db, ("river-pc-5", at(-2, 900)), ("river-pc-6", at(-1, 900)), ("river-pc-7", at(0, 2)))
    early = {"batch_id": "river-pc-5"}
    await insert_events(
        db,
        {**early, "at": at(-2, -1), "batch_id": "river-pc-4"},
        {**early, "at": at(-2, 0), "item": 2},
        {**early, "at": at(-2, 5), "item": 3, "amount": 0, "chaos_value": None, "rate": None},
        {**early, "at": at(-2, 9), "item": 2, "event": "gone", "page_seq": 1, "stack": 3},
        {"at": at(0, -2), "item": 4, "event": "repriced", "amount": 3.0, "chaos_value": 300.0},
        {"at": at(0, -1), "item": 5, "stash_id": "t", "league": "Allflame"},
        {"at": at(0, 0), "item": 6},
    )
    await insert_batches(db, ("river-pc-8", at(0, 60)))
    await insert_events(db, {"at": at(0, -1), "item": 9, "batch_id": "river-pc-8"})
    await refine(db, "50_gold_stash_diffs", at(0, 2), at(-2, 900))

    assert await db.rows(f"SELECT {DIFFS}") == [
        ("Allflame", hour(-1), "t", 1, 0, 0, 0, 0, 200.0, 0.0, 0.0, 0.0, "river-pc-7", "river-pc-7"),
        ("Standard", hour(-2), "s", 2, 1, 0, 0, 0, 200.0, 600.0, 0.0, 0.0, "river-pc-5", "river-pc-5"),
        ("Standard", hour(-1), "s", 0, 0, 1, 0, 0, 0.0, 0.0, 100.0, 0.0, "river-pc-7", "river-pc-7"),
    ]


async def test_changes_of_price_and_stack_are_valued_by_what_they_changed(db):
    await insert_rates(db, (DIVINE, -3, 110.0))
    await insert_batches(db, ("river-pc-7", at(0, 2)))
    unpriced = {"amount": 0.0, "currency": "", "chaos_value": None, "rate": None}
    never = {"was_amount": 0.0, "was_currency": ""}
    in_chaos = {"amount": 150.0, "currency": CHAOS, "chaos_value": 150.0, "rate": 1.0}
    changes = {
        "cheaper": {"amount": 1.5, "chaos_value": 150.0},
        "into chaos": in_chaos,
        "priced": never,
        "price taken back": unpriced,
        "from a currency without a rate": {**in_chaos, "was_currency": "odd"},
        "to a currency without a rate": {"currency": "odd", "chaos_value": None, "rate": None},
        "two of five sold": {"event": "stack", "stack": 3, "was_stack": 5},
        "unpriced stack": {**unpriced, **never, "event": "stack", "stack": 3, "was_stack": 5},
    }
    await insert_events(
        db, *({"event": "repriced", "at": at(-1), "stash_id": stash, **change} for stash, change in changes.items())
    )
    await refine(db, "50_gold_stash_diffs", at(0, 2), at(-1, 900))

    found = await db.rows(
        "SELECT stash_id, repriced, restacked, repriced_chaos + restacked_chaos, unconverted FROM gold_stash_diffs"
    )

    assert {stash: tuple(rest) for stash, *rest in found} == {
        "cheaper": (1, 0, -50.0, 0),
        "into chaos": (1, 0, -70.0, 0),
        "priced": (1, 0, 200.0, 0),
        "price taken back": (1, 0, -220.0, 0),
        "from a currency without a rate": (1, 0, 0.0, 1),
        "to a currency without a rate": (1, 0, 0.0, 1),
        "two of five sold": (0, 1, -400.0, 0),
        "unpriced stack": (0, 1, 0.0, 0),
    }


async def test_an_item_earns_from_the_low_of_an_earlier_hour_to_the_median_of_the_hour_just_over(db):
    await insert_prices(
        db,
        {"hour": at(-1), "chaos_value": 12.0},
        {"hour": at(-2), "low": 10.0},
        {"hour": at(-25), "low": 16.0},
        {"hour": at(-169), "low": 4.0},
        {"hour": at(0), "chaos_value": 99.0, "low": 1.0},
        *({"hour": at(-h), "low": 0.1} for h in (3, 24, 26, 168, 170)),
    )
    await refine(db, "60_gold_item_roi", at(0, 2), at(-1, 900))

    assert await db.rows(f"SELECT {ROI}") == [
        (hour(-1), "unique|Headhunter", 12.0, 10.0, 16.0, 4.0, 12 / 10 - 1, 12 / 16 - 1, 2.0)
    ]


async def test_what_was_not_surely_priced_then_has_no_roi_and_now_no_row(db):
    named = [{"hour": at(-1), "item_key": key} for key in ("bare", "doubted", "no low", "league")]
    await insert_prices(
        db,
        *named,
        {"hour": at(-1), "item_key": "unsure", "confidence": 0.49},
        {"hour": at(-1), "item_key": "unpriced", "chaos_value": None},
        {"hour": at(-2), "item_key": "unsure"},
        {"hour": at(-2), "item_key": "gone"},
        {"hour": at(-2), "item_key": "doubted", "confidence": 0.49},
        {"hour": at(-2), "item_key": "no low", "low": None},
        {"hour": at(-2), "item_key": "league", "league": "Allflame"},
    )
    await refine(db, "60_gold_item_roi", at(0, 2), at(-1, 900))

    found = await db.rows(f"SELECT {ROI}")

    assert [row[1] for row in found] == ["bare", "doubted", "league", "no low"]
    assert {row[3:] for row in found} == {(None,) * 6}


async def test_hours_without_a_batch_have_no_roi_and_do_not_hide_the_hour_before_them(db):
    await insert_prices(db, {"hour": at(-5)}, {"hour": at(-6), "low": 5.0})
    await refine(db, "60_gold_item_roi", at(0, 2), at(-5, 900))

    assert [row[:4] for row in await db.rows(f"SELECT {ROI}")] == [(hour(-5), "unique|Headhunter", 10.0, 5.0)]


async def test_a_currency_earns_from_the_lower_end_of_its_spread(db):
    await insert_snapshot(
        db, ("x", 1, 10.0, 0.9), ("x", 0, 11.0, 0.9), ("x", -23, 5.5, 0.9), ("x", -167, 22.0, 0.4), ("y", 1, 1.0, 0.4)
    )
    await refine_exchange(db, "61_gold_currency_roi", 0, 2)

    found = await db.rows(f"SELECT {ROI}")

    assert [row[:3] for row in found] == [(hour(0), "x", 11.0), (hour(1), "x", 10.0)]
    assert found[0][3:] == (None,) * 6
    assert found[1][3:] == pytest.approx((10.0, 5.0, None, 0.0, 1.0, None), abs=1e-12)


@pytest.mark.parametrize(
    ("step", "now_s", "before_s"),
    [
        ("30_gold_liquidity", at(0, 200), None),
        ("40_gold_stash_summary", at(0, 700), at(0, 500)),
        ("50_gold_stash_diffs", at(0, 2), at(-1, 900)),
        ("60_gold_item_roi", at(0, 2), at(-1, 900)),
        ("78_silver_currency_asks", at(0, 700), None),
        ("80_silver_currency_listings", at(0, 700), None),
    ],
)
async def test_nothing_in_nothing_out(db, step, now_s, before_s):
    await refine(db, step, now_s, before_s)

    for table in ("gold_liquidity", "gold_stash_summary", "gold_stash_diffs", "gold_item_roi", "silver_currency_asks"):
        assert await db.rows(f"SELECT count() FROM {table}") == [(0,)]


async def test_the_same_silver_gives_the_same_gold_to_the_last_bit_however_it_lies_on_disk(db):
    rng = random.Random(5)
    await insert_rates(db, (DIVINE, -1, 101.7))
    await insert_prices(
        db, *({"key": key, "item_key": f"k{key}", "chaos_value": rng.random() * 9} for key in range(20))
    )
    await insert_batches(db, ("river-pc-7", at(0, 2)))
    for turn in range(6):
        for stash in rng.sample(range(12), 8):
            offers = [
                Offer(rng.randrange(30), rng.random(), rng.choice([CHAOS, DIVINE]), 7) for _ in range(rng.randrange(40))
            ]
            await insert_stash(db, f"s{stash}", at(0, turn), *offers)
        events = [
            {
                "at": at(-1),
                "item": n,
                "page_seq": turn,
                "stash_id": f"s{rng.randrange(9)}",
                "chaos_value": rng.random() / 3,
            }
            for n in range(200)
        ]
        await insert_events(db, *events)
    tables = {"40_gold_stash_summary": (0, 700), "50_gold_stash_diffs": (0, 2)}
    found = []
    for batch in ("river-pc-7", "river-pc-8"):
        for step, now in tables.items():
            await refine(db, step, at(*now), at(-1, 900), batch=batch)
        for table in ("gold_stash_summary", "gold_stash_diffs"):
            sql = f"SELECT * EXCEPT batch_id FROM {table} WHERE batch_id = {{batch:String}} ORDER BY ALL"
            found.append(await db.text(sql, "RowBinary", {"batch": batch}))
        for table in ("silver_canonical_stashes", "silver_listing_events"):
            await db.execute(f"OPTIMIZE TABLE {table} FINAL")

    assert found[:2] == found[2:]
    assert min(map(len, found)) > 500


async def test_sanity_shows_hours_whose_events_are_in_no_diff(db):
    sanity = (schema_root() / "sanity" / "gold.sql").read_text(encoding="utf-8")
    [uncounted] = [query for query in split_statements(sanity) if "gold_stash_diffs" in query and "events" in query]
    hour_s = time.time() // 3600 * 3600
    await insert_batches(db, ("river-pc-7", hour_s + 2))
    await insert_events(db, {"at": hour_s - 1800}, {"at": hour_s - 60, "event": "gone"})

    assert [row[3:] for row in await db.rows(uncounted)] == [(2, 0)]

    await refine(db, "50_gold_stash_diffs", hour_s + 2, hour_s - 1800)

    assert await db.rows(uncounted) == []
