"""A whole market in gold, on the real engine: every route of the Ledger API finds something of pc/Mirage."""

import random
from contextlib import asynccontextmanager
from dataclasses import replace

from ledgerd.clock import ScaledClock
from ledgerd.config import Secret
from ledgerd.ledger.ledger import Ledger
from ledgerd.store.migrate import Migrator
from ledgerd.store.queries import load_queries
from ledgerd.upstream.lending import Lending
from ledgerd.upstream.throttle import Throttle
from tests.clocks import ORIGIN_S, ManualClock
from tests.prices import CHAOS, DIVINE, EXALTED, HOUR_S, ITEMS, REFERENCE, STATUS, World, source
from tests.store.conftest import embedded

ACCOUNT = "Kortan#1234"
STASHES = ("9b1deb4d3b", "0c5a52de77")
BATCH = "river-pc-0000000007"
KEY = "the-key-of-the-jobs"
HOURS = 30
NAMES = {
    "path.realm": ["pc", "PC"],
    "path.league": ["Mirage", "mirage"],
    "path.currency": ["divine", "Chaos Orb", "exa", DIVINE],
    "path.key": [item["key"] for _, item in ITEMS],
    "path.account": [ACCOUNT],
    "path.stash": list(STASHES),
    "path.source": ["exchange-pc", "river-pc"],
}
"""What there is, by where it stands in a request."""


def currency(thing, hours_ago, chaos):
    """A row of gold_currency_snapshot."""
    hour_s = HOUR_S - hours_ago * 3600
    return {
        "realm": "pc", "league": "Mirage", "hour": hour_s, "currency": thing, "chaos_value": chaos,
        "divine_value": chaos / 150, "open_24h": chaos, "high_24h": chaos * 1.1, "low_24h": chaos * 0.9, "units": 40,
        "units_24h": 900, "value_traded_24h": 900 * chaos, "change_1h": 0.01, "change_24h": -0.02, "change_7d": None,
        "volatility_24h": 0.1, "spread": 0.05, "markets": 7, "confidence": 0.9, "low_sample": False,
        "rests_on_hours": 2, "hours_24h": 24, "hours_7d": 160, "batch_id": "exchange-pc-0000000001",
        "retrieved_at": hour_s + 3700,
    }  # fmt: skip


def item(facts, hours_ago):
    """A row of gold_item_prices, from an item as `tests.prices.item` tells it."""
    same = ("category", "name", "low", "high", "confidence", "low_sample", "sale_value", "time_on_market_s")
    counts = ("listings", "units", "sellers", "rests_on_sellers", "batch_id")
    sales = ("likely_sales_1h", "likely_sales_24h", "likely_sales_7d")
    as_of = ORIGIN_S - hours_ago * 3600
    return {
        "realm": "pc", "league": "Mirage", "hour": HOUR_S - hours_ago * 3600, "item_key": facts["key"],
        "chaos_value": facts["chaos"], "divine_value": facts["divine"], **{name: facts[name] for name in same},
        **{name: facts["evidence"][name] for name in counts}, **{name: facts[name] for name in sales},
        "sparkline": [facts["chaos"] or 0.0] * 28, "last_seen": as_of - 60, "judged_until": as_of - 3300,
        "rate_hour": HOUR_S - 3600, "as_of": as_of,
    }  # fmt: skip


def holding(stash):
    """A row of gold_stash_summary."""
    return {
        "realm": "pc", "league": "Mirage", "hour": HOUR_S, "stash_id": stash, "account": ACCOUNT,
        "stash_name": "~price", "stash_type": "PremiumStash", "public": True, "items": 12, "listed": 9,
        "unconverted": 1, "unpriced": 2, "asked_chaos": 4100.0, "market_chaos": 3900.0, "unpriced_share": 0.2,
        "changed_at": ORIGIN_S - 400, "rate_hour": HOUR_S - 3600, "batch_id": BATCH, "as_of": ORIGIN_S - 100,
    }  # fmt: skip


def change(stash, hours_ago):
    """A row of gold_stash_diffs."""
    return {
        "realm": "pc", "league": "Mirage", "hour": HOUR_S - hours_ago * 3600, "stash_id": stash, "account": ACCOUNT,
        "added": 3, "removed": 2, "repriced": 1, "restacked": 0, "unconverted": 0, "added_chaos": 120.0,
        "removed_chaos": 80.0, "repriced_chaos": -5.0, "restacked_chaos": 0.0, "first_batch": BATCH,
        "last_batch": BATCH, "batch_id": BATCH, "as_of": ORIGIN_S - hours_ago * 3600 - 100,
    }  # fmt: skip


def gap(hours_ago):
    """A row of bronze_gaps."""
    missing_s = HOUR_S - hours_ago * 3600
    return {
        "source": "exchange-pc", "realm": "pc", "cursor_from": str(missing_s), "cursor_to": str(missing_s + 3600),
        "gap_from": missing_s, "gap_to": missing_s + 3600, "reason": "upstream skipped it", "batch_id": "b",
        "page_seq": 0, "retrieved_at": missing_s + 7300,
    }  # fmt: skip


def run(seq):
    """A row of etl_runs."""
    failed = seq % 5 == 0
    return {
        "step": "silver_exchange_ticks", "version": 1, "source": "exchange-pc", "seq": seq, "batch_id": f"b{seq}",
        "rows": 0 if failed else 900, "seconds": 0.4, "outcome": "failed" if failed else "ok",
        "error": "The engine is busy." if failed else "", "started_at": ORIGIN_S - seq * 60,
        "finished_at": ORIGIN_S - seq * 60 + 0.4,
    }  # fmt: skip


def liquidity(kind, thing):
    """A row of gold_liquidity."""
    return {
        "realm": "pc", "league": "Mirage", "hour": HOUR_S, "kind": kind, "thing": thing, "turnover_24h": 900.0,
        "sold_24h": 60, "stock": 400, "listings": 80, "spread": 0.1, "sell_through": 0.3, "time_to_sell_s": 7200.0,
        "confidence": 0.8, "rate_hour": HOUR_S - 3600, "batch_id": BATCH, "as_of": ORIGIN_S,
    }  # fmt: skip


def mark(step, era=0, at_s=ORIGIN_S):
    """A row of etl_watermarks: what a step of the river has done last of pc/Mirage was fetched at ``at_s``."""
    return {
        "step": step, "version": 1, "source": "river-pc", "league": "Mirage", "era": era, "seq": 7, "batch_id": BATCH,
        "retrieved_at": at_s, "seconds": 0.2, "written_at": at_s + 1,
    }  # fmt: skip


TABLES = {
    "gold_currency_snapshot": [
        currency(thing, hours, chaos)
        for thing, chaos in ((DIVINE, 150.0), (CHAOS, 1.0), (EXALTED, 12.5))
        for hours in range(HOURS)
    ],
    "gold_item_prices": [item(facts, hours) for _, facts in ITEMS for hours in range(HOURS)],
    "gold_liquidity": [
        *(liquidity("item", facts["key"]) for _, facts in ITEMS[:6]),
        *(liquidity("currency", thing) for thing in (DIVINE, CHAOS)),
    ],
    "gold_stash_summary": [holding(stash) for stash in STASHES],
    "gold_stash_diffs": [change(stash, hours) for stash in STASHES for hours in range(HOURS)],
    "etl_watermarks": [mark(step) for step in ("silver_canonical_stashes", "gold_stash_summary", "gold_stash_diffs")],
    "bronze_gaps": [gap(hours) for hours in range(100, 103)],
    "etl_runs": [run(seq) for seq in range(1, 30)],
}  # fmt: skip


async def fill(engine):
    """Put `TABLES` into an empty database."""
    await Migrator(engine, ManualClock()).apply()
    for table, rows in TABLES.items():
        await engine.insert(table, list(rows[0]), [tuple(row.values()) for row in rows], token=table)


@asynccontextmanager
async def market(folder, *, speed=1000.0):
    """What the web room takes, over an engine in ``folder`` that has `TABLES`; the throttle's time has ``speed``."""
    async with embedded(folder) as engine:
        await fill(engine)
        queries = load_queries()
        ledger = Ledger(engine, REFERENCE, queries)
        await ledger.reload("pc")
        world = World()
        world.status = replace(STATUS, sources=[source(), source(name="river-pc", kind="river")])
        yield world.deps(
            ledger=ledger, engine=engine, queries=queries, throttler_key=lambda: Secret(KEY),
            throttle=Lending(Throttle(100_000, 100_000, clock=ScaledClock(ORIGIN_S, speed), rng=random.Random(1))),
        )  # fmt: skip
