"""What the Ledger API answers is what gold holds: every route beside a plain look into the tables.

The gold is real: hours and pages of the stand-in through the daemon's own writers and steps. Each check reads the
tables by SQL of its own, `FINAL` and nothing clever, and works out in Python what an answer has to say. A route without
a check fails.
"""

import math
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from urllib.parse import quote

import orjson
import pytest

from ledgerd.status import LaneStatus
from ledgerd.store.queries import load_queries
from ledgerd.web.app import ENDPOINTS
from tests.daemon import TEST_S
from tests.prices import source
from tests.refined import HOUR_S, NEWEST_S, RIVER_AT_S, SOURCES, refined
from tests.webclient import browsing

pytest.importorskip("chdb")
pytestmark = pytest.mark.timeout(TEST_S)

HERE = "/v1/pc/Allflame"
DELAY_S = 300
SPOTS = 7
CURRENCY = """
SELECT
    toString(currency) AS id, chaos_value AS chaos, divine_value AS divine, confidence, low_sample, open_24h, high_24h,
    low_24h, change_1h, change_24h, change_7d, volatility_24h, value_traded_24h, units, units_24h, markets, spread,
    rests_on_hours, hours_24h, hours_7d, toString(batch_id) AS batch_id, toUnixTimestamp(hour) AS hour_s
FROM gold_currency_snapshot FINAL WHERE realm = 'pc' AND league = 'Allflame'
"""
ITEM = """
SELECT
    item_key AS key, toString(category) AS category, name, chaos_value AS chaos, divine_value AS divine, low, high,
    confidence, low_sample, likely_sales_1h, likely_sales_24h, likely_sales_7d, sale_value, time_on_market_s, sparkline,
    listings, units, sellers, rests_on_sellers, toString(batch_id) AS batch_id, toUnixTimestamp(hour) AS hour_s,
    toFloat64(as_of) AS as_of, toUnixTimestamp(last_seen) AS last_seen
FROM gold_item_prices FINAL WHERE realm = 'pc' AND league = 'Allflame'
"""
LIQUIDITY = """
SELECT
    toString(kind) AS kind, thing AS id, turnover_24h, sold_24h, stock, listings, spread, sell_through, time_to_sell_s,
    confidence, toString(batch_id) AS batch_id, toUnixTimestamp(hour) AS hour_s, toFloat64(as_of) AS as_of
FROM gold_liquidity FINAL WHERE realm = 'pc' AND league = 'Allflame'
"""
ROI = """
SELECT thing AS id, roi_24h, toUnixTimestamp(hour) AS hour_s
FROM gold_item_roi FINAL WHERE realm = 'pc' AND league = 'Allflame' AND kind = 'item'
"""
STASH = """
SELECT
    stash_id AS stash, account, stash_name, toString(stash_type) AS stash_type, public, items, listed, unconverted,
    unpriced, unpriced_share, asked_chaos, market_chaos, toUnixTimestamp(changed_at) AS changed_s,
    toUnixTimestamp(rate_hour) AS rate_s, toString(batch_id) AS batch_id, toFloat64(as_of) AS as_of
FROM gold_stash_summary FINAL WHERE realm = 'pc' AND league = 'Allflame'
"""
LISTING = """
SELECT
    item, item_key AS key, account, stash_id AS stash, stack AS units, amount, toString(currency) AS currency,
    toUnixTimestamp(first_seen) AS listed_at, toUnixTimestamp(changed_at) AS changed_at, repriced,
    toFloat64(last_seen) AS seen_at
FROM silver_priced_items WHERE realm = 'pc' AND league = 'Allflame'
"""
RATE = """
SELECT toString(currency) AS currency, argMax(rate, hour) AS rate, toUnixTimestamp(max(hour)) AS hour_s
FROM
(
    SELECT currency, rate, hour FROM silver_currency_rates FINAL WHERE realm = 'pc' AND league = 'Allflame'
    UNION ALL
    SELECT currency, chaos_value, toDateTime(hour - 1000000, 'UTC') FROM silver_currency_asks FINAL
    WHERE realm = 'pc' AND league = 'Allflame'
)
GROUP BY currency
"""
DIFF = """
SELECT
    toUnixTimestamp(hour) AS hour_s, stash_id AS stash, account, added, removed, repriced, restacked, unconverted,
    added_chaos, removed_chaos, repriced_chaos, restacked_chaos, toString(first_batch) AS first_batch,
    toString(last_batch) AS last_batch
FROM gold_stash_diffs FINAL WHERE realm = 'pc' AND league = 'Allflame'
"""
MARK = """
SELECT toString(step) AS step, max(toFloat64(retrieved_at)) AS until_s
FROM etl_watermarks WHERE source = 'river-pc' AND league = 'Allflame' GROUP BY step
"""
HOLDINGS = ("items", "listed", "unconverted", "unpriced", "asked_chaos", "market_chaos")


def rfc(unix_s):
    return None if unix_s is None else datetime.fromtimestamp(math.floor(unix_s), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def same(told, held):
    """Equal, of floats but for their last bits."""
    if isinstance(told, float) and isinstance(held, (int, float)):
        return math.isclose(told, held, rel_tol=1e-9, abs_tol=1e-12)
    return told == held


def agree(told, held):
    """Every fact of ``held`` is in ``told`` and the same."""
    faults = {name: (told.get(name, "missing"), fact) for name, fact in held.items() if not same(told.get(name), fact)}
    assert faults == {}


def change(now, then):
    return round(now / then - 1, 6) if now is not None and then else None


class Gold:
    """The API, the tables behind it, and what is worked out of them again and again."""

    def __init__(self, world, client):
        self.world, self.client, self.engine = world, client, world.engine
        self.now_s = world.clock.now()

    async def read(self):
        self.currencies = await self.rows(CURRENCY)
        self.newest_of = {}
        for row in sorted(self.currencies, key=lambda row: row["hour_s"]):
            self.newest_of[row["id"]] = row
        self.items = await self.rows(ITEM)
        self.item_hour_s = max(row["hour_s"] for row in self.items)
        self.priced = {row["key"]: row for row in self.items if row["hour_s"] == self.item_hour_s}
        self.before = {row["key"]: row["chaos"] for row in self.items if row["hour_s"] == self.item_hour_s - HOUR_S}
        self.items_as_of = math.floor(max(row["as_of"] for row in self.priced.values())) - DELAY_S
        self.liquidity = await self.rows(LIQUIDITY)
        self.fluid = {
            row["id"]: row for row in self.liquidity if row["kind"] == "item" and row["hour_s"] == self.item_hour_s
        }
        self.stashes = {}
        for row in sorted(await self.rows(STASH), key=lambda row: row["as_of"]):
            self.stashes[row["stash"]] = row
        self.diffs = await self.rows(DIFF)
        marks = {row["step"]: math.floor(row["until_s"]) for row in await self.rows(MARK)}
        next_hour_s = (marks["gold_stash_diffs"] // HOUR_S + 1) * HOUR_S
        self.stashes_as_of = marks["gold_stash_summary"] - DELAY_S
        self.listings_as_of = marks["silver_canonical_stashes"] - DELAY_S
        self.diffs_as_of = min(marks["gold_stash_summary"], next_hour_s) - DELAY_S
        return self

    async def rows(self, sql):
        text = await self.engine.text(f"SELECT * FROM ({sql})", "JSONEachRow", settings=EXACT)
        return [orjson.loads(line) for line in text.splitlines()]

    async def get(self, path, **params):
        async with self.client.get(path, params=params) as answer:
            body = await answer.json()
            assert answer.status == 200, body
            return body

    def is_as_old(self, told, as_of, limit_s=600):
        """The age of an answer: of items 300 s taken off already."""
        age_s = self.now_s - as_of
        held = {"as_of": rfc(as_of), "age_s": round(age_s, 1), "stale": age_s > limit_s}
        agree(told, held)
        assert ("warning" in told) == held["stale"]

    def is_as_old_as_both(self, told):
        """The age of an answer of currencies and items: that of the older, stale if either is."""
        currency_s, items_s = NEWEST_S + HOUR_S, self.items_as_of
        age_s = self.now_s - min(currency_s, items_s)
        is_stale = self.now_s - currency_s > CURRENCY_LIMIT_S or self.now_s - items_s > ITEMS_LIMIT_S
        agree(told, {"as_of": rfc(min(currency_s, items_s)), "age_s": round(age_s, 1), "stale": is_stale})

    def some(self, things):
        """A few, from one end to the other."""
        things = list(things)
        assert len(things) >= SPOTS
        return things[:: max(1, len(things) // SPOTS)]


EXACT = {
    "output_format_json_quote_64bit_integers": 0, "output_format_json_quote_denormals": 0,
    "output_format_json_escape_forward_slashes": 0,
}  # fmt: skip
CURRENCY_LIMIT_S = 3900
ITEMS_LIMIT_S = 600


def currency_facts(row):
    """A currency as ``/currency`` must tell it, its evidence apart."""
    evidence = (
        "units", "units_24h", "value_traded_24h", "markets", "spread", "rests_on_hours", "hours_24h", "hours_7d",
        "batch_id",
    )  # fmt: skip
    facts = {name: fact for name, fact in row.items() if name not in {*evidence, "hour_s"}}
    return {**facts, "as_of": rfc(row["hour_s"] + HOUR_S)}, {name: row[name] for name in evidence}


def is_currency(gold, told):
    facts, evidence = currency_facts(gold.newest_of[told["id"]])
    agree(told, {**facts, "age_s": gold.now_s - gold.newest_of[told["id"]]["hour_s"] - HOUR_S})
    agree(told["evidence"], evidence)


def is_item(gold, told):
    row = gold.priced[told["key"]]
    fluid = gold.fluid[told["key"]]
    as_of = math.floor(row["as_of"]) - DELAY_S
    alike = ("category", "name", "chaos", "divine", "low", "high", "confidence", "low_sample", "likely_sales_1h",
             "likely_sales_24h", "likely_sales_7d", "sale_value", "time_on_market_s")  # fmt: skip
    held = {name: row[name] for name in alike}
    agree(told, {**held, "as_of": rfc(as_of), "age_s": gold.now_s - as_of})
    agree(told, {"change_1h": change(row["chaos"], gold.before.get(row["key"])), "change_24h": None})
    agree(
        told["evidence"], {name: row[name] for name in ("listings", "units", "sellers", "rests_on_sellers", "batch_id")}
    )
    agree(told["evidence"], {"last_seen": rfc(row["last_seen"])})
    agree(
        told["liquidity"], {name: fluid[name] for name in ("turnover_24h", "sell_through", "time_to_sell_s", "spread")}
    )
    assert [value or 0.0 for value in told["sparkline"]] == pytest.approx(row["sparkline"], rel=1e-5)


def is_light(gold, told):
    """A price in a few fields, of either kind."""
    if told["kind"] == "currency":
        row = gold.newest_of[told["id"]]
        held = {"turnover_24h": row["value_traded_24h"], "listings": None, "as_of": rfc(row["hour_s"] + HOUR_S)}
    else:
        row = gold.priced[told["id"]]
        fluid = gold.fluid[told["id"]]
        held = {"turnover_24h": fluid["turnover_24h"], "listings": row["listings"], "name": row["name"]}
        held["as_of"] = rfc(math.floor(row["as_of"]) - DELAY_S)
    agree(told, {**held, **{name: row[name] for name in ("chaos", "divine", "confidence", "low_sample")}})


async def realms(gold):
    told = await gold.get("/v1/realms")
    [pc] = told["realms"]
    counts = {league: [n, 0] for league, n in await gold.engine.rows(
        "SELECT league, uniqExact(currency) FROM gold_currency_snapshot WHERE realm = 'pc' GROUP BY league"
    )}  # fmt: skip
    for league, n in await gold.engine.rows(
        "SELECT league, uniqExactIf(item_key, hour = (SELECT max(hour) FROM gold_item_prices)) "
        "FROM gold_item_prices WHERE realm = 'pc' GROUP BY league"
    ):
        counts[league][1] = n

    assert {each["league"]: [each["currencies"], each["items"]] for each in pc["leagues"]} == counts
    [league] = [each for each in pc["leagues"] if each["league"] == "Allflame"]
    gold.is_as_old(league["layers"]["currency"], NEWEST_S + HOUR_S, CURRENCY_LIMIT_S)
    gold.is_as_old(league["layers"]["items"], gold.items_as_of)
    [divine] = [row for key, row in gold.newest_of.items() if key.endswith("CurrencyModValues")]
    assert league["divine_in_chaos"] == divine["chaos"]


async def currency_list(gold):
    told = await gold.get(f"{HERE}/currency")
    gold.is_as_old(told, NEWEST_S + HOUR_S, CURRENCY_LIMIT_S)
    assert told["count"] == told["total"] == len(gold.newest_of) == len({each["id"] for each in told["prices"]})
    for each in told["prices"]:
        is_currency(gold, each)
    traded = [each["evidence"]["value_traded_24h"] for each in told["prices"]]
    assert traded == sorted(traded, reverse=True)


async def one_currency(gold):
    for name in gold.some(gold.newest_of):
        told = await gold.get(f"{HERE}/currency/{name}")
        gold.is_as_old(told, gold.newest_of[name]["hour_s"] + HOUR_S, CURRENCY_LIMIT_S)
        is_currency(gold, told["price"])


async def currency_past(gold):
    for name in gold.some(gold.newest_of):
        told = await gold.get(f"{HERE}/currency/{name}/history")
        held = sorted((row for row in gold.currencies if row["id"] == name), key=lambda row: row["hour_s"])
        gold.is_as_old(told, held[-1]["hour_s"] + HOUR_S, CURRENCY_LIMIT_S)
        assert len(told["points"]) == len(held)
        for point, row in zip(told["points"], held, strict=True):
            agree(point, {name: row[name] for name in ("chaos", "divine", "units", "confidence", "low_sample")})
            agree(
                point,
                {"begin": rfc(row["hour_s"]), "as_of": rfc(row["hour_s"] + HOUR_S), "high": row["chaos"], "hours": 1},
            )


async def item_list(gold):
    told = await gold.get(f"{HERE}/items", limit=50_000, order="chaos")
    gold.is_as_old(told, gold.items_as_of)
    assert told["count"] == told["total"] == len(gold.priced) == len({each["key"] for each in told["items"]})
    for each in told["items"]:
        is_item(gold, each)
    chaos = [each["chaos"] for each in told["items"] if each["chaos"] is not None]
    assert chaos == sorted(chaos, reverse=True)
    n = sum(row["confidence"] >= 0.5 and row["category"] == "unique" for row in gold.priced.values())
    assert (await gold.get(f"{HERE}/items", category="unique", min_confidence=0.5, limit=50_000))["count"] == n


async def one_item(gold):
    for key in gold.some(sorted(gold.priced)):
        told = await gold.get(f"{HERE}/items/{quote(key, safe='')}")
        gold.is_as_old(told, gold.items_as_of)
        is_item(gold, told["item"])
        roi = await gold.rows(ROI)
        newest_s = max(row["hour_s"] for row in roi)
        held = {row["id"]: row["roi_24h"] for row in roi if row["hour_s"] == newest_s}
        assert same(told["item"]["roi_24h"], held.get(key))


async def item_past(gold):
    for key in gold.some(sorted(gold.priced)):
        told = await gold.get(f"{HERE}/items/{quote(key, safe='')}/history")
        held = sorted((row for row in gold.items if row["key"] == key), key=lambda row: row["hour_s"])
        gold.is_as_old(told, math.floor(held[-1]["as_of"]) - DELAY_S)
        assert len(told["points"]) == len(held)
        for point, row in zip(told["points"], held, strict=True):
            alike = ("chaos", "divine", "low", "high", "listings", "units", "sellers", "rests_on_sellers", "confidence",
                     "low_sample", "batch_id")  # fmt: skip
            agree(point, {name: row[name] for name in alike})
            agree(point, {"open": row["chaos"], "likely_sales": row["likely_sales_1h"], "begin": rfc(row["hour_s"])})


async def listings(gold):
    standing = await gold.rows(LISTING)
    rates = {row["currency"]: (row["rate"], row["hour_s"]) for row in await gold.rows(RATE)}
    [chaos] = [currency for currency in gold.newest_of if currency.endswith("CurrencyRerollRare")]
    rates.setdefault(chaos, (1.0, None))
    for key in gold.some(sorted(gold.priced)):
        told = await gold.get(f"{HERE}/items/{quote(key, safe='')}/listings", limit=5000)
        gold.is_as_old(told, gold.listings_as_of)
        held = {}
        for row in standing:
            if row["key"] == key:
                rate, rate_s = rates.get(row["currency"], (None, None))
                facts = {name: fact for name, fact in row.items() if name not in {"key", "item"}}
                held[row["item"]] = {**facts, "chaos": rate and row["amount"] * rate, "rate_hour": rfc(rate_s)}
        assert told["key"] == key
        assert told["count"] == told["total"] == len(held)
        assert sum(each["chaos"] is not None for each in told["listings"]) == gold.priced[key]["listings"]
        asked = [math.inf if each["chaos"] is None else each["chaos"] for each in told["listings"]]
        assert asked == sorted(asked)
        found = sorted(held.values(), key=by_facts)
        for each, row in zip(sorted(told["listings"], key=by_facts), found, strict=True):
            agree(each, {**row, **{name: rfc(row[name]) for name in ("listed_at", "changed_at", "seen_at")}})


def by_facts(listing):
    return [listing[name] for name in ("account", "stash", "amount", "currency", "units")]


async def events(gold):
    told = []
    async with gold.client.get("/v1/events", params={"league": "allflame"}) as stream:
        async for line in stream.content:
            told += [orjson.loads(line.removeprefix(b"data: "))] if line.startswith(b"data: ") else []
            if len(told) == 2:
                break
    assert {(each["layer"], each["count"], each["as_of"]) for each in told} == {
        ("currency", len(gold.newest_of), rfc(NEWEST_S + HOUR_S)), ("items", len(gold.priced), rfc(gold.items_as_of)),
    }  # fmt: skip


async def whole_league(gold):
    told = await gold.get(f"{HERE}/prices")
    gold.is_as_old_as_both(told)
    assert told["count"] == len(told["prices"]) == len(gold.newest_of) + len(gold.priced)
    assert {each["id"] for each in told["prices"]} == gold.newest_of.keys() | gold.priced.keys()
    for each in told["prices"]:
        is_light(gold, each)


async def many_prices(gold):
    keys = [*gold.some(sorted(gold.newest_of)), *gold.some(sorted(gold.priced)), "nothing|of|that=name"]
    async with gold.client.post("/v1/prices", json={"realm": "pc", "league": "allflame", "keys": keys}) as answer:
        told = await answer.json()
    gold.is_as_old_as_both(told)
    assert [each["key"] for each in told["prices"]] == keys
    assert (told["found"], told["prices"][-1]["price"]) == (len(keys) - 1, None)
    for each in told["prices"][:-1]:
        assert each["price"]["id"] == each["key"]
        is_light(gold, each["price"])


async def found_by_words(gold):
    for key in gold.some(sorted(gold.priced)):
        told = await gold.get(f"{HERE}/search", q=gold.priced[key]["name"], kind="item", limit=50)
        gold.is_as_old(told, gold.items_as_of)
        assert told["results"][0]["price"]["name"] == gold.priced[key]["name"]
        for each in told["results"]:
            is_light(gold, each["price"])


async def conversions(gold):
    [chaos_id] = [name for name in gold.newest_of if name.endswith("CurrencyRerollRare")]
    for name in gold.some(row["id"] for row in gold.newest_of.values() if row["chaos"]):
        row = gold.newest_of[name]
        told = await gold.get(f"{HERE}/convert", **{"from": name, "to": "chaos", "amount": 3})
        gold.is_as_old(told, row["hour_s"] + HOUR_S, CURRENCY_LIMIT_S)
        agree(told, {"rate": row["chaos"], "result": 3 * row["chaos"], "from_id": name, "to_id": chaos_id})


async def moved_most(gold):
    told = await gold.get(f"{HERE}/movers", span="1h", min_confidence=0.5, limit=100)
    held = [
        (row["change_1h"], row["id"])
        for row in gold.newest_of.values()
        if row["confidence"] >= 0.5 and row["hour_s"] >= NEWEST_S - CURRENCY_LIMIT_S
    ]
    held += [
        (change(row["chaos"], gold.before.get(key)), key)
        for key, row in gold.priced.items()
        if row["confidence"] >= 0.5 and math.floor(row["as_of"]) - DELAY_S >= gold.items_as_of - ITEMS_LIMIT_S
    ]
    up = sorted((by for by, _ in held if by is not None and by > 0), reverse=True)[:100]
    down = sorted(by for by, _ in held if by is not None and by < 0)[:100]

    gold.is_as_old_as_both(told)
    assert up, "nothing moved: this cannot be checked"
    assert [each["change"] for each in told["up"]] == pytest.approx(up, rel=1e-9)
    assert [each["change"] for each in told["down"]] == pytest.approx(down, rel=1e-9)
    for each in [*told["up"], *told["down"]]:
        is_light(gold, each["price"])


async def turnover(gold):
    for kind in ("item", "currency"):
        told = await gold.get(f"{HERE}/liquidity", kind=kind, limit=1000)
        gold.is_as_old(told, *((gold.items_as_of,) if kind == "item" else (NEWEST_S + HOUR_S, CURRENCY_LIMIT_S)))
        of_kind = [row for row in gold.liquidity if row["kind"] == kind]
        newest_s = max(row["hour_s"] for row in of_kind)
        last_day = [row for row in of_kind if row["hour_s"] > newest_s - 24 * HOUR_S]
        last_day.sort(key=lambda row: row["hour_s"])
        held = {row["id"]: row for row in last_day}
        assert {each["id"] for each in told["liquidity"]} == held.keys()
        for each in told["liquidity"]:
            row = held[each["id"]]
            as_of = math.floor(row["as_of"]) - DELAY_S if kind == "item" else row["hour_s"] + HOUR_S
            agree(
                each,
                {name: fact for name, fact in row.items() if name not in {"hour_s", "as_of"}} | {"as_of": rfc(as_of)},
            )
        sums = [each["turnover_24h"] or 0.0 for each in told["liquidity"]]
        assert sums == sorted(sums, reverse=True)


def is_stash(gold, told):
    row = gold.stashes[told["stash"]]
    held = {name: fact for name, fact in row.items() if name not in {"changed_s", "rate_s", "as_of"}}
    times = {"changed_at": row["changed_s"], "rate_hour": row["rate_s"], "valued_at": row["as_of"] - DELAY_S}
    agree(told, held | {name: rfc(at_s) for name, at_s in times.items()})


def sellers_of(gold):
    """By account the public stashes."""
    accounts = {}
    for row in gold.stashes.values():
        if row["public"]:
            accounts.setdefault(row["account"], []).append(row)
    return accounts


async def sellers(gold):
    told = await gold.get(f"{HERE}/sellers", limit=100)
    gold.is_as_old(told, gold.stashes_as_of)
    held = {
        account: {name: sum(row[name] for row in rows) for name in HOLDINGS} | {"stashes": len(rows)}
        for account, rows in sellers_of(gold).items()
    }
    assert told["count"] == min(100, len(held))
    assert told["sellers"][0]["market_chaos"] == pytest.approx(max(each["market_chaos"] for each in held.values()))
    for each in told["sellers"]:
        agree(each, held[each["account"]])


async def seller(gold):
    accounts = sellers_of(gold)
    for account in gold.some(sorted(accounts)):
        told = await gold.get(f"{HERE}/sellers/{quote(account, safe='')}")
        gold.is_as_old(told, gold.stashes_as_of)
        assert told["count"] == len(accounts[account])
        agree(told, {name: sum(row[name] for row in accounts[account]) for name in HOLDINGS})
        for each in told["stashes"]:
            is_stash(gold, each)


async def stash(gold):
    for name in gold.some(sorted(gold.stashes)):
        told = await gold.get(f"{HERE}/stashes/{name}")
        gold.is_as_old(told, gold.stashes_as_of)
        is_stash(gold, told["stash"])


def are_diffs(gold, told, held):
    gold.is_as_old(told, gold.diffs_as_of)
    assert (told["count"], told["next"]) == (len(held), None)
    held = sorted(held, key=lambda row: (-row["hour_s"], row["stash"]))
    for each, row in zip(told["diffs"], held, strict=True):
        agree(each, {name: fact for name, fact in row.items() if name != "hour_s"} | {"hour": rfc(row["hour_s"])})


async def stash_past(gold):
    for name in gold.some(sorted({row["stash"] for row in gold.diffs})):
        told = await gold.get(f"{HERE}/stashes/{name}/diffs", limit=500)
        are_diffs(gold, told, [row for row in gold.diffs if row["stash"] == name])


async def seller_past(gold):
    for name in gold.some(sorted({row["account"] for row in gold.diffs})):
        told = await gold.get(f"{HERE}/sellers/{quote(name, safe='')}/diffs", limit=500)
        are_diffs(gold, told, [row for row in gold.diffs if row["account"] == name])


async def layers(gold):
    """Bronze is what the books of the daemon say, silver and gold what the steps have done: here all of it."""
    told = await gold.get(f"{HERE}/freshness")
    for layer in ("bronze", "silver", "gold"):
        assert told["items"][layer]["age_s"] == gold.now_s - RIVER_AT_S[-1] + DELAY_S
        agree(told["currency"][layer], {"as_of": rfc(NEWEST_S + HOUR_S)})
        agree(told["items"][layer], {"as_of": rfc(RIVER_AT_S[-1] - DELAY_S)})


async def sources(gold):
    told = {each["name"]: each for each in (await gold.get("/v1/sources"))["sources"]}
    gaps = dict(await gold.engine.rows("SELECT source, count() FROM bronze_gaps GROUP BY source"))
    assert told.keys() == set(SOURCES)
    assert {name: each["gaps"] for name, each in told.items()} == {name: gaps.get(name, 0) for name in SOURCES}
    [(first_s, at_s)] = await gold.engine.rows(
        "SELECT min(toUInt32(cursor)), max(toUInt32(next_cursor)) FROM bronze_ingest_checkpoints "
        "WHERE source = 'exchange-pc'"
    )
    agree(told["exchange-pc"]["backfill"], {"from": rfc(first_s), "at": rfc(at_s), "share": 1.0})


async def gaps(gold):
    told = await gold.get("/v1/sources/exchange-pc/gaps")
    held = await gold.engine.rows("SELECT toUnixTimestamp(gap_from), toUnixTimestamp(gap_to), reason FROM bronze_gaps")
    assert [(each["from"], each["to"], each["reason"]) for each in told["gaps"]] == [
        (rfc(first_s), rfc(to_s), reason) for first_s, to_s, reason in held
    ]
    assert told["count"] == len(held) == 1


async def etl(gold):
    told = await gold.get("/v1/etl", limit=1000)
    held = await gold.engine.rows("SELECT step, source, seq, rows, outcome FROM etl_runs")
    assert held
    assert sorted(
        (run["step"], run["source"], run["seq"], run["rows"], run["outcome"]) for run in told["runs"]
    ) == sorted((step, name, seq, rows, outcome) for step, name, seq, rows, outcome in held)
    assert {step["behind"] for step in told["steps"]} == {0}


CHECKS = {
    "get_realms": realms,
    "get_currencies": currency_list,
    "get_currency": one_currency,
    "get_currency_history": currency_past,
    "get_items": item_list,
    "get_item": one_item,
    "get_item_history": item_past,
    "get_item_listings": listings,
    "get_events": events,
    "get_prices": whole_league,
    "post_prices": many_prices,
    "get_search": found_by_words,
    "get_conversion": conversions,
    "get_movers": moved_most,
    "get_liquidity": turnover,
    "get_sellers": sellers,
    "get_seller": seller,
    "get_stash": stash,
    "get_stash_diffs": stash_past,
    "get_seller_diffs": seller_past,
    "get_freshness": layers,
    "get_sources": sources,
    "get_gaps": gaps,
    "get_etl": etl,
}
NOT_GOLD = {"get_throttle", "post_throttle_acquire", "post_throttle_report"}
"""Routes that tell nothing of what is stored."""


@asynccontextmanager
async def opened(folder):
    async with refined(folder) as world:
        lanes = [
            LaneStatus("exchange-pc", "pc", "Allflame", True, 9, rfc(NEWEST_S), rfc(NEWEST_S + HOUR_S + 120)),
            LaneStatus("river-pc", "pc", "Allflame", True, 9, None, rfc(RIVER_AT_S[-1])),
        ]
        names = [source(name=name, kind=name.partition("-")[0]) for name in SOURCES]
        world.status = SimpleNamespace(sources=names, lanes=lanes, etl=world.etl)
        async with browsing(world.deps(queries=load_queries())) as client:
            yield await Gold(world, client).read()


def test_every_route_of_the_api_has_a_check():
    assert CHECKS.keys() | NOT_GOLD == {each.serve.__name__ for each in ENDPOINTS}


async def test_every_route_answers_what_gold_holds(tmp_path):
    faults = {}
    async with opened(tmp_path) as gold:
        for name, check in CHECKS.items():
            try:
                await check(gold)
            except (AssertionError, LookupError, ValueError) as error:
                faults[name] = error
        told = f"{len(gold.newest_of)} currencies, {len(gold.priced)} items, {len(gold.stashes)} stashes"

    print(f"{len(CHECKS)} routes equal to gold: {told}")
    assert faults == {}
