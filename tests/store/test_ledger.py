"""The ledger on a real engine: what gold holds is what the API answers."""

from datetime import UTC, datetime

import pytest

from ledgerd.chaos_scale.reference import load
from ledgerd.ledger.ledger import Ledger
from ledgerd.store.migrate import Migrator
from ledgerd.store.queries import load_queries, schema_root
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
    ledger = Ledger(gold, load(schema_root() / "reference" / "currencies.tsv"), load_queries())
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
    fresh = Ledger(gold, load(schema_root() / "reference" / "currencies.tsv"), load_queries())
    await fresh.reload("pc")

    expected = {league: (kept.tag, kept.prices) for league, kept in fresh.realms()["pc"].items()}
    assert {league: (kept.tag, kept.prices) for league, kept in ledger.realms()["pc"].items()} == expected
    assert ledger.snapshot("pc", "Mirage").find("chaos").batch_id == "b2"
    assert sorted(expected) == ["Ended League", "Fresh League", "Mirage"]


async def test_a_realm_gold_knows_nothing_of_is_loaded_as_empty(ledger):
    await ledger.reload("xbox")

    assert dict(ledger.realms()["xbox"]) == {}


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
