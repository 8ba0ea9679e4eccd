"""What items are worth: whom a price believes, when it says that nobody knows, and what counts as sold."""

import statistics

import pytest

from ledgerd.clock import SystemClock
from ledgerd.etl.reference import load_reference
from ledgerd.store.migrate import Migrator
from tests.bench.item_truth import HONEST_LEAST, LIMIT, SURE, play
from tests.store.exchange_rows import CHAOS, DIVINE
from tests.store.golden import Offer, at, hour, insert_rates, insert_stash, refine
from tests.store.refining import REFERENCE

SWORD, CARD = 11, 12
STEP = "20_gold_item_prices"
NOW_S = at(0)
FIRST_RUN_S = at(0, 60)
HONEST = (9.5, 9.8, 10.0, 10.0, 10.4, 10.9)


@pytest.fixture
async def db(engine):
    await Migrator(engine, SystemClock()).apply()
    await load_reference(engine, REFERENCE.rows)
    names = [(SWORD, "unique|Sword", "unique", "Sword"), (CARD, "card|Card", "card", "Card")]
    await engine.insert("silver_item_keys", ("key", "item_key", "category", "name"), names, token="names")
    for hours in range(-3, 200, 6):
        await insert_rates(engine, (DIVINE, hours, 200.0), ("alch", hours, 0.1))
    return engine


async def offer(db, *prices, key=SWORD, currency=CHAOS, seen_s=NOW_S, first=0):
    """A listing each, of as many sellers."""
    for n, price in enumerate(prices, first):
        await insert_stash(db, f"{key}-{n}", seen_s, Offer(key, price, currency), account=f"seller {n}")


async def price(db, *columns, now_s=FIRST_RUN_S, key=SWORD):
    """The columns of the key's row, after a run at that moment; None where it has none."""
    await refine(db, STEP, now_s, batch=f"river-pc-{now_s}")
    rows = await db.rows(
        f"SELECT {', '.join(columns)} FROM gold_item_prices FINAL WHERE key = {{key:UInt64}}"
        " AND hour = toStartOfHour({at:DateTime64(3, 'UTC')}, 'UTC')",
        {"key": key, "at": now_s},
    )
    return rows[0] if rows else None


async def dump(db):
    return await db.text("SELECT * FROM gold_item_prices FINAL ORDER BY ALL", "TSV")


def ended(n, after_s, *, key=SWORD, seen_s=NOW_S, chaos=10.0, stash=None):
    """The end of a listing ``after_s`` seconds after it was listed."""
    return ("gone", n, stash or f"gone {n}", seen_s, f"once seller {n}", key, chaos, after_s, seen_s - after_s)


def listed(n, seen_s):
    """An item that is listed, in another stash than those of the ends."""
    return ("listed", n, "another", seen_s, "whoever", SWORD, 10.0, 0, seen_s)


async def happen(db, *events):
    columns = ("event", "item", "stash_id", "at", "account", "key", "chaos_value", "stood_s", "listed_at")
    rows = [("pc", "Standard", f"b{event[1]}", *event) for event in events]
    await db.insert("silver_listing_events", ("realm", "league", "batch_id", *columns), rows, token=repr(rows))


async def test_a_price_is_the_middle_of_what_sellers_ask_and_says_what_it_rests_on(db):
    await offer(db, *HONEST)

    columns = ("chaos_value", "divine_value", "low", "high", "listings", "units", "sellers", "rests_on_sellers")
    middle = statistics.geometric_mean(HONEST)
    expected = (pytest.approx(middle), pytest.approx(middle / 200), 9.5, 10.9, 6, 6, 6, 6)

    assert await price(db, *columns) == expected
    assert (await price(db, "confidence", "low_sample", "item_key"))[1:] == (False, "unique|Sword")


async def test_one_seller_with_fifty_listings_far_off_does_not_move_a_price(db):
    await offer(db, *HONEST)
    before = await price(db, "chaos_value", "low", "high")
    await insert_stash(db, "fixer", at(0), *[Offer(SWORD, 5.0 + n / 50) for n in range(50)], account="fixer")

    after = await price(db, "chaos_value", "low", "high", "listings", "sellers", now_s=at(0, 400))

    assert after == (*before, 56, 7)


@pytest.mark.parametrize("absurd", [0.001, 1.0, 9_999_999.0, 1e200])
async def test_one_absurd_listing_does_not_move_a_price(db, absurd):
    await offer(db, *HONEST)
    before = await price(db, "chaos_value", "low", "high")
    await offer(db, absurd, first=90)

    assert await price(db, "chaos_value", "low", "high", now_s=at(0, 400)) == before


async def test_three_who_fix_a_price_together_do_not_move_that_of_six_but_its_confidence(db):
    await offer(db, *HONEST)
    before = await price(db, "chaos_value", "confidence")
    await offer(db, 5.0, 5.1, 5.2, first=90)

    chaos, confidence = await price(db, "chaos_value", "confidence", now_s=at(0, 400))

    assert chaos == before[0]
    assert SURE < confidence < before[1]


async def test_a_single_seller_has_a_price_that_says_so(db):
    await offer(db, 10.0)

    assert await price(db, "chaos_value", "sellers", "confidence", "low_sample") == (10.0, 1, 0.25, True)


async def test_two_sellers_who_disagree_have_no_price(db):
    await offer(db, 10.0, 30.0)

    columns = ("chaos_value", "divine_value", "low", "high", "sellers", "rests_on_sellers", "confidence", "low_sample")

    assert await price(db, *columns) == (None, None, None, None, 2, 0, 0, True)


async def test_under_one_chaos_is_a_price(db):
    await offer(db, 0.05, 0.05, 0.052, key=CARD)
    await offer(db, 0.5, 0.5, 0.5, key=CARD, currency="alch", first=10)

    assert (await price(db, "chaos_value", "low", key=CARD)) == (pytest.approx(0.05, rel=0.01), 0.05)


async def test_asks_in_a_currency_without_a_rate_and_without_a_price_are_left_out(db):
    await offer(db, 1.0, 1.0, 1.0, 1.0, currency="doubloons")
    await offer(db, 0.0, first=10)
    await offer(db, 0.05, 0.05, currency=DIVINE, first=20)

    assert await price(db, "chaos_value", "listings", "sellers") == (10.0, 2, 2)


async def test_a_stash_that_did_not_change_for_three_days_lists_nothing(db):
    await offer(db, 10.0, seen_s=at(-73))
    await offer(db, 20.0, first=1, seen_s=at(-71))

    assert await price(db, "chaos_value", "listings") == (20.0, 1)


async def test_a_listing_that_ended_within_ninety_minutes_near_the_price_is_a_likely_sale_after_an_hour(db):
    await offer(db, *HONEST)
    await happen(db, ended(1, 600), ended(2, 5400), ended(3, 5401), ended(4, 600, chaos=13.0), ended(5, 600, key=0))

    columns = ("likely_sales_1h", "likely_sales_24h", "likely_sales_7d", "sale_value", "time_on_market_s")

    assert await price(db, *columns, now_s=at(0, 3599)) == (0, 0, 0, None, None)
    assert await price(db, *columns, now_s=at(1)) == (2, 2, 2, 10.0, 600)


async def test_what_came_back_or_went_with_its_stash_was_not_sold(db):
    await offer(db, *HONEST)
    await insert_stash(db, "private now", at(0), public=False)
    columns = ("realm", "league", "stash_id", "public", "first_seen", "last_seen")
    await db.insert(
        "silver_canonical_stashes", columns, [("pc", "Standard", "new to us", True, at(0, -600), at(0))], token="x"
    )
    await happen(
        db,
        ended(1, 600),
        listed(1, at(0, 1800)),
        ended(2, 600),
        listed(2, at(0, -300)),
        ended(3, 600, stash="private now"),
        ended(4, 600, stash="new to us"),
    )

    assert await price(db, "likely_sales_24h", now_s=at(1)) == (0,)


async def test_quick_ends_speak_for_a_price_when_listings_are_few(db):
    await offer(db, 10.0, 30.0)
    await happen(db, *(ended(n, 600, chaos=9.0 + n / 4) for n in range(5)))

    assert await price(db, "chaos_value", "sellers", "rests_on_sellers", now_s=at(1)) == (
        pytest.approx(9.6, 0.02),
        2,
        6,
    )


async def test_sales_are_counted_over_a_day_and_a_week_once_each(db):
    await offer(db, *HONEST, seen_s=at(0))
    await happen(db, ended(1, 600, seen_s=at(0, 60)), ended(2, 600, seen_s=at(0, 120)))
    columns = ("likely_sales_1h", "likely_sales_24h", "likely_sales_7d", "sales_total")

    found = [
        await price(db, *columns, now_s=now_s) for now_s in (at(1, 300), at(1, 600), at(2, 300), at(24, 1), at(25, 1))
    ]

    assert found == [(2, 2, 2, 2), (2, 2, 2, 2), (0, 2, 2, 2), (0, 2, 2, 2), (0, 0, 2, 2)]


async def test_a_key_nobody_lists_any_more_keeps_its_past_for_a_week(db):
    await offer(db, *HONEST, seen_s=at(0))
    first = await price(db, "sparkline", "chaos_value", now_s=at(0, 60))
    later = await price(db, "chaos_value", "listings", "sparkline", "last_seen", now_s=at(80))

    assert first[0] == [0.0] * 27 + [pytest.approx(first[1])]
    assert later[:2] == (None, 0)
    assert later[2] == [0.0] * 14 + [pytest.approx(first[1])] + [0.0] * 13
    assert later[3] == hour(0)
    assert await price(db, "chaos_value", now_s=at(167)) == (None,)
    assert await price(db, "chaos_value", now_s=at(168)) is None


async def test_a_run_that_is_done_again_gives_the_same_rows_whatever_came_after_it(db):
    await offer(db, *HONEST, seen_s=at(0))
    await happen(db, ended(1, 600, seen_s=at(0, 60)), ended(2, 600, seen_s=at(0, 1200)))
    for now_s in (at(0, 60), at(1, 300), at(1, 1500), at(2, 10)):
        await refine(db, STEP, now_s, batch=f"first {now_s}")
    before = await dump(db)
    for now_s in (at(1, 1500), at(2, 10)):
        await refine(db, STEP, now_s, batch=f"first {now_s}", leagues=("Standard",))

    assert await dump(db) == before
    assert before.count(b"\n") == 3


async def test_each_league_has_its_own_prices(db):
    await insert_rates(db, (DIVINE, -3, 100.0), league="Allflame")
    await offer(db, *HONEST)
    await insert_stash(db, "there", at(0), Offer(SWORD, 2.0, DIVINE), league="Allflame", account="seller 1")
    await refine(db, STEP, at(0, 60))

    rows = await db.rows(
        "SELECT league, chaos_value, divine_value, sellers FROM gold_item_prices FINAL ORDER BY league"
    )

    assert rows[0] == ("Allflame", 200.0, 2.0, 1)
    assert rows[1][0] == "Standard"
    assert rows[1][3] == 6


async def test_prices_and_sales_of_a_small_hostile_market_are_near_the_truth():
    outcome = await play(7190, 0.2, stashes=1500, hours=2)

    sure = [row for row in outcome.priced if row.confidence >= SURE]
    errors = [row.error(row.value) for row in sure]
    many = [row.confidence >= SURE for row in outcome.priced if row.honest >= HONEST_LEAST]
    plain = sum(row.error(row.median) <= LIMIT for row in sure)

    assert statistics.median(errors) <= 0.05
    assert 0.95 * len(sure) <= sum(error <= LIMIT for error in errors) > plain
    assert statistics.fmean(many) >= 0.6
    assert outcome.counted == outcome.likely
    assert outcome.right >= 0.8 * outcome.likely
    assert outcome.found >= 0.5 * outcome.real
