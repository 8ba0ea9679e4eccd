"""Currencies the exchange has no market for: what the listings of their items say, and that the exchange goes first."""

import pytest

from ledgerd.clock import SystemClock
from ledgerd.etl.reference import load_reference
from ledgerd.store.migrate import Migrator
from tests.store.exchange_rows import CHAOS, DIVINE
from tests.store.golden import Offer, at, hour, insert_rates, insert_stash, refine, refine_exchange
from tests.store.refining import NORM_COLUMNS, REFERENCE

STEPS = ("78_silver_currency_asks", "80_silver_currency_listings")
MIRROR = "Metadata/Items/Currency/CurrencyDuplicate"
MIRROR_KEY, DIVINE_KEY, CHAOS_KEY = 11, 12, 13
KEYS = (
    (MIRROR_KEY, "currency|Mirror of Kalandra", "currency", "Mirror of Kalandra", {}),
    (DIVINE_KEY, "currency|Divine Orb", "currency", "Divine Orb", {}),
    (CHAOS_KEY, "currency|Chaos Orb", "currency", "Chaos Orb", {}),
    (14, "unique|Mirror of Kalandra", "unique", "Mirror of Kalandra", {}),
    (15, "currency|Mirror of Kalandra|split=yes", "currency", "Mirror of Kalandra", {"split": "yes"}),
    (16, "unique|Headhunter", "unique", "Headhunter", {}),
)
FOUND = (
    "league, hour, currency, chaos_value, divine_value, spread, confidence, low_sample, sellers, source, units,"
    " value_traded, markets, log_sd, batch_id"
)


@pytest.fixture
async def db(engine):
    await Migrator(engine, SystemClock()).apply()
    await load_reference(engine, REFERENCE.rows)
    await engine.insert("silver_item_keys", ("key", "item_key", "category", "name", "parts"), KEYS, token="keys")
    return engine


async def list_each(db, *asks, key=MIRROR_KEY, currency=DIVINE, league="Standard"):
    """One seller for each ask."""
    for n, ask in enumerate(asks):
        seller = f"{key}{league}{n}"
        await insert_stash(db, seller, at(0, 60), Offer(key, ask, currency), league=league, account=seller)


async def listed(db, columns="currency, chaos_value", **options):
    for step in STEPS:
        await refine(db, step, at(0, 700), **options)
    return await db.rows(f"SELECT {columns} FROM silver_currency_norm FINAL ORDER BY ALL")


async def test_a_currency_without_a_market_costs_the_median_of_what_its_sellers_ask(db):
    await insert_rates(db, (DIVINE, -1, 100.0))
    await list_each(db, 990, 1000, 1010, 1300, 5)

    assert await listed(db, FOUND) == [
        (
            "Standard", hour(0), MIRROR, 100_000.0, 1000.0, 1010 / 990 - 1, 0.16, False, 5, "listings", 0, None, 0,
            None, "river-pc-7",
        )
    ]  # fmt: skip


async def test_a_seller_counts_once_and_two_are_too_few(db):
    await insert_rates(db, (DIVINE, -1, 100.0))
    await list_each(db, 1000, 1100)
    flood = [Offer(MIRROR_KEY, ask, DIVINE) for ask in (10, 10, 10, 2000)]
    await insert_stash(db, "flood", at(0, 60), *flood, account=f"{MIRROR_KEY}Standard0")

    assert await listed(db) == []

    await insert_stash(db, "third", at(0, 60), *flood, account="third")

    assert await listed(db, batch="river-pc-8") == [(MIRROR, 1000.0)]


async def test_the_exchange_goes_first_where_it_had_a_market_within_the_day(db):
    await insert_rates(db, (DIVINE, -1, 100.0), (MIRROR, -24, 1.0))
    await insert_rates(db, (DIVINE, -1, 200.0), (MIRROR, -25, 1.0), league="Allflame")
    for league in ("Standard", "Allflame", "Hardcore"):
        await list_each(db, 1000, 1000, 1000, league=league)

    assert await listed(db, "league, chaos_value") == [("Allflame", 200_000.0)]


async def test_what_the_exchange_said_a_moment_ago_was_not_known_yet_and_counts_for_nothing(db):
    await insert_rates(db, (DIVINE, -1, 100.0))
    await insert_rates(db, (MIRROR, 0, 1.0))
    await list_each(db, 1000, 1000, 1000)

    assert await listed(db) == [(MIRROR, 100_000.0)]


async def test_without_an_exchange_chaos_prices_divines_and_these_the_rest_once_they_have_a_rate(db):
    await list_each(db, 150, 160, 170, key=DIVINE_KEY, currency=CHAOS)
    await list_each(db, 1, 1, 1, key=CHAOS_KEY, currency=CHAOS)
    await list_each(db, 1000, 1000, 1000)

    assert await listed(db, "currency, chaos_value, divine_value") == [(DIVINE, 160.0, 1.0)]

    await insert_rates(db, (DIVINE, -1, 160.0))

    assert await listed(db, batch="river-pc-8") == [(MIRROR, 160_000.0), (DIVINE, 160.0)]


async def test_only_the_currency_itself_and_readable_asks_in_chaos_or_divines_count(db):
    await insert_rates(db, (DIVINE, -1, 100.0), ("odd", -1, 3.0))
    for key in (14, 15, 16):
        await list_each(db, 7, 7, 7, key=key)
    await list_each(db, 0, 0, 0)
    await list_each(db, 9, 9, 9, key=DIVINE_KEY)
    for n in range(3):
        await insert_stash(db, f"odd{n}", at(0, 60), Offer(MIRROR_KEY, 5, "odd"), account=f"odd{n}")

    assert await listed(db) == []


async def test_a_stash_that_is_gone_lists_nothing(db):
    await insert_rates(db, (DIVINE, -1, 100.0))
    await list_each(db, 1000, 1000, 1000)
    await insert_stash(db, f"{MIRROR_KEY}Standard0", at(0, 90), public=False, account=f"{MIRROR_KEY}Standard0")

    assert await listed(db) == []


async def test_a_stash_nobody_has_touched_for_three_days_has_no_say(db):
    await insert_rates(db, (DIVINE, -1, 100.0))
    await list_each(db, 1000, 1000)
    for n, hours in enumerate((-71, -73)):
        await insert_stash(db, f"old{n}", at(hours), Offer(MIRROR_KEY, 1000 + n, DIVINE), account=f"old{n}")

    assert await listed(db, "sellers, chaos_value") == [(3, 100_000.0)]


async def test_the_exchange_replaces_what_listings_said_about_its_hour_and_never_blends_it_in(db):
    columns = (*NORM_COLUMNS, "source")
    rest = (9, 9.0, 3, 0.1, 0.5, 0.3, False)
    rows = [
        ("pc", "Standard", at(hours), currency, 1.0, None, *rest, "river-pc-7", at(hours, 60), "listings")
        for currency, hours in (("x", -1), ("x", 0), ("y", 0))
    ]
    await db.insert("silver_currency_norm", columns, rows, token="listings")
    row = ("pc", "Standard", at(0), "x", 10.0, None, *rest, "exchange-pc-7", at(1, 60))
    await db.insert("silver_currency_norm", NORM_COLUMNS, [row], token="exchange")
    await refine_exchange(db, "30_silver_currency_price", 0, 1)

    norm = await db.rows(
        "SELECT chaos_value, source FROM silver_currency_norm FINAL WHERE currency = 'x' ORDER BY hour"
    )
    prices = await db.rows("SELECT currency, chaos_value, rests_on_hours FROM silver_currency_price")

    assert norm == [(1.0, "listings"), (10.0, "exchange")]
    assert prices == [("x", 10.0, 1)]


async def test_what_listings_say_in_one_hour_converts_asks_in_the_next_and_gives_way_to_the_exchange(db):
    await list_each(db, 150, 160, 170, key=DIVINE_KEY, currency=CHAOS)
    await list_each(db, 1000, 1000, 1000)
    await refine(db, STEPS[0], at(0, 700))
    await refine(db, STEPS[0], at(1, 0), batch="river-pc-8")
    await insert_rates(db, (DIVINE, 0, 100.0))
    await refine(db, STEPS[0], at(2, 0), batch="river-pc-9")

    asks = await db.rows("SELECT hour, currency, chaos_value FROM silver_currency_asks FINAL ORDER BY ALL")

    assert asks == [
        (hour(0), DIVINE, 160.0),
        (hour(1), MIRROR, 160_000.0),
        (hour(1), DIVINE, 160.0),
        (hour(2), MIRROR, 100_000.0),
    ]
