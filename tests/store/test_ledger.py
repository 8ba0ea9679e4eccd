"""The ledger on a real engine: what gold holds is what the API answers."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from ledgerd.chaos_scale.reference import shipped
from ledgerd.clock import UPSTREAM_DELAY_S
from ledgerd.ledger import ledger as ledger_module
from ledgerd.ledger.ledger import Ledger
from ledgerd.store.migrate import Migrator
from ledgerd.store.queries import load_queries
from tests.clocks import ManualClock
from tests.prices import CHAOS, DIVINE, EXALTED, HOUR_S, World
from tests.webclient import browsing

COLUMNS = [
    *("realm", "league", "hour", "currency", "chaos_value", "divine_value", "open_24h", "high_24h", "low_24h"),
    *("units", "units_24h", "value_traded_24h", "change_1h", "change_24h", "change_7d", "volatility_24h", "spread"),
    *("markets", "confidence", "low_sample", "rests_on_hours", "hours_24h", "hours_7d", "batch_id", "retrieved_at"),
]
DAY_S = 86400


def row(currency, hour_s, chaos, *, league="Mirage", units=10, batch="b1", retrieved_s=None):
    """A gold row whose other values follow from these."""
    divine = None if chaos is None else chaos / 150
    values = (chaos, divine, chaos, chaos, chaos, units, units * 24, units * 3.5, 0.01, -0.02, None, 0.1, 0.05, 7)
    when = datetime.fromtimestamp(retrieved_s or hour_s + 3700, UTC)
    key = ("pc", league, datetime.fromtimestamp(hour_s, UTC), currency)
    return (*key, *values, 0.9, units < 5, 2, 24, 160, batch, when)


ROWS = [
    *(row(DIVINE, HOUR_S - hours * 3600, 150.0 - hours) for hours in range(60)),
    *(row(CHAOS, HOUR_S - hours * 3600, 1.0, units=90) for hours in range(3)),
    row(EXALTED, HOUR_S - 6 * DAY_S, 12.5),
    row("Metadata/Gone", HOUR_S - 7 * DAY_S, 3.0),
    row("Metadata/NoValue", HOUR_S, None, units=1),
    row(DIVINE, HOUR_S - 30 * DAY_S, 90.0, league="Ended League"),
    row(EXALTED, HOUR_S - 33 * DAY_S, 9.0, league="Ended League"),
]


async def insert(engine, rows, token):
    await engine.insert("gold_currency_snapshot", COLUMNS, rows, token=token)


@pytest.fixture
async def gold(engine):
    await Migrator(engine, ManualClock()).apply()
    await insert(engine, ROWS, "rows")
    return engine


@pytest.fixture
async def ledger(gold):
    ledger = Ledger(gold, shipped(), load_queries())
    await ledger.reload("pc")
    return ledger


@pytest.fixture
async def client(gold, ledger):
    deps = World().deps(ledger=ledger, engine=gold, queries=load_queries())
    async with browsing(deps) as client:
        yield client


async def test_the_list_equals_the_newest_row_of_each_currency_in_the_table(gold, client):
    answer = await (await client.get("/v1/pc/Mirage/currency")).json()
    expected = await gold.rows(
        "SELECT currency, chaos_value, divine_value, open_24h, high_24h, low_24h, change_1h, change_24h, change_7d, "
        "volatility_24h, confidence, low_sample, toUnixTimestamp(hour) + 3600, units, units_24h, value_traded_24h, "
        "markets, spread, rests_on_hours, hours_24h, hours_7d, batch_id FROM gold_currency_snapshot FINAL "
        "WHERE league = 'Mirage' AND hour > fromUnixTimestamp({newest:UInt32}) - INTERVAL 7 DAY "
        "ORDER BY hour DESC LIMIT 1 BY currency",
        {"newest": HOUR_S},
    )
    evidence = (
        *("units", "units_24h", "value_traded_24h", "markets", "spread"),
        *("rests_on_hours", "hours_24h", "hours_7d", "batch_id"),
    )
    values = (
        "id chaos divine open_24h high_24h low_24h change_1h change_24h change_7d volatility_24h confidence low_sample"
    )
    served = [
        (
            *(price[field] for field in values.split()),
            int(datetime.fromisoformat(price["as_of"]).timestamp()),
            *(price["evidence"][field] for field in evidence),
        )
        for price in answer["prices"]
    ]

    assert sorted(served) == sorted(expected)
    assert {price["id"] for price in answer["prices"]} == {DIVINE, CHAOS, EXALTED, "Metadata/NoValue"}


async def test_each_price_is_found_by_its_tag_and_equals_its_line_in_the_list(client):
    listed = (await (await client.get("/v1/pc/Mirage/currency")).json())["prices"]
    asked = [
        (await (await client.get(f"/v1/pc/Mirage/currency/{price['tag'] or price['id']}")).json()) for price in listed
    ]

    assert [answer["price"] for answer in asked] == listed


async def test_a_league_that_ended_keeps_its_last_week(ledger):
    ended = ledger.snapshot("pc", "ended league")

    assert {price.id for price in ended.prices} == {DIVINE, EXALTED}


async def test_a_reload_with_new_rows_equals_a_ledger_loaded_from_nothing(gold, ledger):
    later = [row(DIVINE, HOUR_S + 3600, 160.0), row(EXALTED, HOUR_S + 2 * 3600, 13.0, league="Fresh League")]
    replaced = row(CHAOS, HOUR_S, 1.0, units=4, batch="b2", retrieved_s=HOUR_S + 9000)
    await insert(gold, [*later, replaced], "later")
    await ledger.reload("pc")
    fresh = Ledger(gold, shipped(), load_queries())
    await fresh.reload("pc")

    expected = {league: (kept.currency.tag, kept.currency.prices) for league, kept in fresh.markets()["pc"].items()}
    assert {
        league: (kept.currency.tag, kept.currency.prices) for league, kept in ledger.markets()["pc"].items()
    } == expected
    assert ledger.snapshot("pc", "Mirage").find("chaos").batch_id == "b2"
    assert sorted(expected) == ["Ended League", "Fresh League", "Mirage"]


async def test_a_realm_gold_knows_nothing_of_is_loaded_as_empty(ledger):
    await ledger.reload("xbox")

    assert dict(ledger.markets()["xbox"]) == {}


async def test_history_by_the_hour_equals_the_table_and_leaves_no_hour_out(gold, client):
    await insert(gold, [row(DIVINE, HOUR_S - 3600, 149.5, batch="again", retrieved_s=HOUR_S + 5000)], "again")
    answer = await (await client.get("/v1/pc/Mirage/currency/divine/history")).json()
    expected = await gold.rows(
        "SELECT toUnixTimestamp(hour), chaos_value, units FROM gold_currency_snapshot FINAL "
        "WHERE league = 'Mirage' AND currency = {divine:String} ORDER BY hour",
        {"divine": DIVINE},
    )
    served = [
        (int(datetime.fromisoformat(point["begin"]).timestamp()), point["chaos"], point["units"])
        for point in answer["points"]
    ]

    assert served == expected
    assert served[-2][1] == 149.5
    assert all(point["open"] == point["high"] == point["chaos"] for point in answer["points"])


async def test_history_by_the_day_opens_closes_and_adds_up_its_hours(client):
    answer = await (await client.get("/v1/pc/Mirage/currency/divine/history?step=day&from=2025-10-07T00:00:00Z")).json()
    last = answer["points"][-1]

    assert [point["hours"] for point in answer["points"]] == [24, 24, 9]
    assert last == {
        "begin": "2025-10-09T00:00:00Z",
        "as_of": "2025-10-09T09:00:00Z",
        "chaos": 150.0,
        "divine": 1.0,
        "open": 142.0,
        "high": 150.0,
        "low": 142.0,
        "units": 90,
        "confidence": 0.9,
        "low_sample": False,
        "hours": 9,
    }


PRICES = (
    "realm", "league", "hour", "item_key", "key", "category", "name", "chaos_value", "divine_value", "low", "high",
    "listings", "units", "sellers", "rests_on_sellers", "confidence", "low_sample", "last_seen", "likely_sales_1h",
    "likely_sales_24h", "likely_sales_7d", "sale_value", "time_on_market_s", "sparkline", "judged_until", "rate_hour",
    "batch_id", "as_of",
)  # fmt: skip
LIQUIDITY = (
    "realm", "league", "hour", "kind", "thing", "turnover_24h", "sell_through", "time_to_sell_s", "spread", "as_of",
)  # fmt: skip
ROI = ("realm", "league", "hour", "kind", "thing", "roi_24h", "as_of")
THIS_HOUR_S = HOUR_S + 3600
AS_OF_S = THIS_HOUR_S + 1200.25
PATH = 'Mirror Shard / "half"\n'
KEYS = {
    "unique|Tombfist|base=Steelscale Gauntlets|variant=2 Abyssal Socket|corrupted=true": 40.0,
    "gem|Maelström of \\ Ruin|level=20|quality=20": 7.5,
    "card|The Doctor": 5200.0,
    f"currency|{PATH}": 0.01,
    "cluster_jewel|Large Cluster Jewel|enchant=# = 12% + 1|passives=8": 1e21,
    "unique|Nobody Can Say": None,
}


def item_row(key, chaos, hour_s=THIS_HOUR_S, as_of_s=AS_OF_S, league="Mirage", **facts):
    """A row of gold_item_prices."""
    category, name, *_ = key.split("|")
    is_priced = chaos is not None
    usual = {
        "divine": chaos / 150 if is_priced else None, "low": chaos * 0.9 if is_priced else None,
        "high": chaos * 1.1 if is_priced else None, "listings": 31, "units": 2**40, "sellers": 17, "rests_on": 9,
        "confidence": 0.9312 if is_priced else 0.0, "low_sample": not is_priced, "last_seen": AS_OF_S - 77,
        "sales_1h": 1, "sales_24h": 12, "sales_7d": 90, "sale_value": 39.5 if is_priced else None,
        "time_on_market_s": 1800 if is_priced else None, "sparkline": [0.0] * 26 + [0.1, 40.25],
        "judged_until": AS_OF_S - 3600, "rate_hour": hour_s - 3600, "batch": "river-pc-0000000007",
    }  # fmt: skip
    values = {**usual, **facts}
    at = ["last_seen", "judged_until", "rate_hour"]
    values |= {name: datetime.fromtimestamp(int(values[name]), UTC) for name in at}
    hour = datetime.fromtimestamp(hour_s, UTC)
    return ("pc", league, hour, key, hash(key) % 2**60, category, name, chaos, *values.values(), as_of_s)


async def insert_items(engine, *rows):
    await engine.insert("gold_item_prices", PRICES, rows, token=repr(rows))


async def insert_beside(engine, hour_s=THIS_HOUR_S, as_of_s=AS_OF_S, league="Mirage"):
    """The liquidity of an hour's items, and what trading them earned up to the hour before."""
    liquid = [("item", key, 12.5, 0.25, 86400.5, 0.2) for key in KEYS]
    currency = ("currency", "card|The Doctor", 9.0, 0.9, 9.0, 9.0)
    rows = [("pc", league, hour_s, *each, as_of_s) for each in [*liquid, currency]]
    await engine.insert("gold_liquidity", LIQUIDITY, rows, token=repr((rows, "liquidity")))
    hours = {hour_s - 3600: 0.125, hour_s - 7200: 9.0}
    rows = [("pc", league, at, "item", "card|The Doctor", roi, as_of_s) for at, roi in hours.items()]
    await engine.insert("gold_item_roi", ROI, rows, token=repr((rows, "roi")))


async def fill_items(engine):
    """An hour of items, those before it that changes are counted from, and others that must not be."""
    before = {1: 0.5, 24: 2.0, 168: 4.0}
    rows = [
        item_row(key, value * share, THIS_HOUR_S - hours * 3600, AS_OF_S - hours * 3600)
        for hours, share in [*before.items(), (2, 99.0), (23, 99.0), (167, 99.0)]
        for key, value in KEYS.items()
        if value is not None
    ]
    superseded = [item_row(key, 99.0, as_of_s=AS_OF_S - 300) for key in KEYS]
    await insert_items(engine, *rows, *superseded)
    elsewhere = [
        item_row("card|The Doctor", 1.0, league="Standard"),
        item_row("card|The Nurse", 1.0, league="Standard"),
    ]
    await insert_items(engine, *(item_row(key, value) for key, value in KEYS.items()), *elsewhere)
    await insert_beside(engine)


async def ledger_of(engine):
    ledger = Ledger(engine, shipped(), load_queries())
    await ledger.reload("pc")
    return ledger


def told(items):
    return {item["key"]: item for item in (json.loads(row + b"}", parse_int=float) for row in items.rows)}


async def in_the_table(engine):
    """What the API must say of each key, from the tables one by one."""
    columns = [name for name in PRICES if name not in {"realm", "league", "hour", "key", "sparkline"}]
    rows = await engine.rows(
        f"SELECT {', '.join(columns)}, arrayMap(value -> toFloat64(toString(value)), sparkline) AS sparkline"
        " FROM gold_item_prices FINAL WHERE league = 'Mirage' AND hour = fromUnixTimestamp({hour:UInt32})",
        {"hour": THIS_HOUR_S},
    )
    parts = dict(await engine.rows("SELECT item_key, parts FROM silver_item_keys"))
    told = {}
    for row in rows:
        facts = dict(zip([*columns, "sparkline"], row, strict=True))
        key = facts["item_key"]
        is_priced = facts["chaos_value"] is not None
        changes = {"1h": 1.0, "24h": -0.5, "7d": -0.75}
        at = facts["as_of"] - timedelta(seconds=UPSTREAM_DELAY_S)
        told[key] = {
            "key": key,
            "category": facts["category"],
            "name": facts["name"],
            "parts": parts[key],
            "chaos": facts["chaos_value"],
            "divine": facts["divine_value"],
            "low": facts["low"],
            "high": facts["high"],
            "confidence": facts["confidence"],
            "low_sample": facts["low_sample"],
            **{f"change_{span}": change if is_priced else None for span, change in changes.items()},
            "sparkline": [value or None for value in facts["sparkline"]],
            "likely_sales_1h": facts["likely_sales_1h"],
            "likely_sales_24h": facts["likely_sales_24h"],
            "likely_sales_7d": facts["likely_sales_7d"],
            "sale_value": facts["sale_value"],
            "time_on_market_s": facts["time_on_market_s"],
            "liquidity": {"turnover_24h": 12.5, "sell_through": 0.25, "time_to_sell_s": 86400.5, "spread": 0.2},
            "roi_24h": 0.125 if key == "card|The Doctor" else None,
            "evidence": {
                **{name: facts[name] for name in ("listings", "units", "sellers", "rests_on_sellers")},
                **{name: f"{facts[name]:%Y-%m-%dT%H:%M:%SZ}" for name in ("last_seen", "judged_until", "rate_hour")},
                "batch_id": facts["batch_id"],
            },
            "as_of": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        }
    return told


async def insert_keys(engine):
    """The parts of each key, as silver takes them apart."""
    rows = []
    for n, key in enumerate(KEYS):
        category, name, *parts = key.split("|")
        rows.append((n, key, category, name, dict(part.split("=", 1) for part in parts)))
    await engine.insert("silver_item_keys", ("key", "item_key", "category", "name", "parts"), rows, token="keys")


async def test_items_are_served_as_the_tables_have_them_column_by_column(each_engine, monkeypatch):
    monkeypatch.setattr(ledger_module, "ITEMS_A_QUERY", 2)
    await Migrator(each_engine, ManualClock()).apply()
    await insert_keys(each_engine)
    await fill_items(each_engine)
    items = (await ledger_of(each_engine)).items("pc", "Mirage")

    assert told(items) == await in_the_table(each_engine)
    assert list(told(items)) == sorted(KEYS) == list(items.columns.key)
    assert items.as_of == int(AS_OF_S) - UPSTREAM_DELAY_S
    assert items.hour_s == THIS_HOUR_S
    assert list(items.columns.listings) == [31.0] * len(KEYS)


async def test_however_many_items_are_asked_for_at_once_they_are_the_same(gold, monkeypatch):
    await fill_items(gold)
    whole = (await ledger_of(gold)).items("pc", "Mirage")
    for n in (1, 5, 6, 7):
        monkeypatch.setattr(ledger_module, "ITEMS_A_QUERY", n)
        again = (await ledger_of(gold)).items("pc", "Mirage")
        assert list(again.rows) == list(whole.rows)
        assert again.tag == whole.tag


async def test_items_nobody_lists_any_more_keep_the_age_of_their_last_row_of_the_hour(gold):
    await insert_items(gold, item_row("card|Old", 1.0, as_of_s=AS_OF_S - 600), item_row("card|New", 1.0))
    items = (await ledger_of(gold)).items("pc", "Mirage")

    assert list(items.columns.as_of) == [int(AS_OF_S) - 300, int(AS_OF_S) - 900]
    assert told(items)["card|Old"]["liquidity"] == dict.fromkeys(told(items)["card|Old"]["liquidity"])
    assert told(items)["card|Old"]["change_1h"] is None


async def test_only_leagues_whose_items_moved_are_loaded_again(gold):
    await fill_items(gold)
    ledger = await ledger_of(gold)
    before = dict(ledger.markets()["pc"])
    await ledger.reload("pc")
    assert dict(ledger.markets()["pc"]) == before

    await insert_items(gold, item_row("card|The Doctor", 5300.0, as_of_s=AS_OF_S + 300))
    await insert_beside(gold, as_of_s=AS_OF_S + 300)
    await ledger.reload("pc")

    after = ledger.markets()["pc"]
    assert {league for league in after if after[league] is not before.get(league)} == {"Mirage"}
    assert told(after["Mirage"].items)["card|The Doctor"]["chaos"] == 5300.0
    assert after["Mirage"].currency is before["Mirage"].currency


async def test_liquidity_or_earnings_that_come_later_are_taken_up(gold):
    await insert_items(gold, item_row("card|The Doctor", 5200.0))
    ledger = await ledger_of(gold)
    assert told(ledger.items("pc", "Mirage"))["card|The Doctor"]["roi_24h"] is None

    await insert_beside(gold)
    await ledger.reload("pc")

    doctor = told(ledger.items("pc", "Mirage"))["card|The Doctor"]
    assert (doctor["roi_24h"], doctor["liquidity"]["turnover_24h"]) == (0.125, 12.5)


async def test_a_league_that_ended_is_served_with_its_last_hour(gold):
    ended_s = THIS_HOUR_S - 40 * DAY_S
    await fill_items(gold)
    await insert_items(gold, item_row("card|The Doctor", 3.0, ended_s, ended_s + 60, league="Ended League"))
    ledger = await ledger_of(gold)

    assert told(ledger.items("pc", "ended league"))["card|The Doctor"]["chaos"] == 3.0
    assert ledger.market("pc", "Ended League").currency is not None


async def test_a_key_that_is_no_text_is_left_out_and_its_neighbours_are_served(gold):
    await insert_items(gold, item_row("card|A", 1.0), item_row("card|C", 1.0))
    await gold.execute(
        "INSERT INTO gold_item_prices SELECT * REPLACE (unhex('636172647CFF') AS item_key) FROM gold_item_prices"
        " WHERE item_key = 'card|A'"
    )

    assert list((await ledger_of(gold)).items("pc", "Mirage").columns.key) == ["card|A", "card|C"]


async def test_the_liquidity_of_a_currency_is_that_of_the_hour_its_price_rests_on(gold):
    rows = [
        ("pc", league, hour_s, kind, DIVINE, 1.0, share, 60.0, 0.0, HOUR_S + 4000)
        for league, hour_s, kind, share in [
            ("Mirage", HOUR_S, "currency", 0.75),
            ("Mirage", HOUR_S - 3600, "currency", 0.1),
            ("Mirage", HOUR_S, "item", 0.2),
            ("Standard", HOUR_S, "currency", 0.3),
        ]
    ]
    await gold.insert("gold_liquidity", LIQUIDITY, rows, token="liquidity")
    prices = (await ledger_of(gold)).snapshot("pc", "Mirage")

    assert (prices.find("divine").sell_through, prices.find("divine").time_to_sell_s) == (0.75, 60.0)
    assert prices.find("chaos").sell_through is None


async def test_gold_of_each_realm_is_known_to_have_moved_by_its_watermarks(gold):
    columns = ("step", "version", "source", "league", "era", "seq", "batch_id", "retrieved_at", "seconds", "written_at")
    marks = [("gold_item_prices", "river-pc", 20), ("gold_currency_snapshot", "exchange-pc", 10)]
    marks += [("silver_listings", "river-pc", 30), ("gold_currency_snapshot", "exchange-poe2", 5)]
    rows = [(step, 1, source, "", 0, 1, "b", 0, 0.1, at) for step, source, at in marks]
    await gold.insert("etl_watermarks", columns, rows, token="marks")

    assert dict(await gold.rows(load_queries()["gold_moved"])) == {"pc": 20_000, "poe2": 5_000}
