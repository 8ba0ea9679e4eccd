"""Prices for tests: rows of gold, a small reference table, an engine that answers from lists, a world for the web."""

from dataclasses import replace
from datetime import datetime
from operator import itemgetter

import orjson

from ledgerd.chaos_scale.reference import Currency, Reference
from ledgerd.clock import rfc3339
from ledgerd.config import Freshness
from ledgerd.errors import StoreUnavailable
from ledgerd.ledger.ledger import Ledger
from ledgerd.status import (
    ConfigStatus,
    DaemonState,
    EtlState,
    EtlStatus,
    SourceState,
    SourceStatus,
    SpoolState,
    SpoolStatus,
    Status,
    StoreState,
    StoreStatus,
)
from ledgerd.store.engine import EngineInfo
from ledgerd.web.deps import Deps
from tests.clocks import ORIGIN_S, ManualClock
from tests.stashes import ANSWERS

HOUR_S = int(ORIGIN_S) - 3600
"""The newest complete hour when a test's clock starts: its end is the clock's beginning."""
DIVINE = "Metadata/Items/Currency/CurrencyModValues"
CHAOS = "Metadata/Items/Currency/CurrencyRerollRare"
EXALTED = "Metadata/Items/Currency/CurrencyAddModToRare"
MIRROR = "Metadata/Items/Currency/CurrencyDuplicate"
STRANGE = "Metadata/Items/Currency/CurrencyNobodyKnows"
QUERIES = {
    "ledger_moved": "moved",
    "ledger_newest": "newest",
    "ledger_item_pages": "item_pages",
    "ledger_items": "items",
    "ledger_history": "history",
}


REFERENCE = Reference(
    [
        Currency(DIVINE, "Divine Orb", "divine", "Currency", "both", ("div",)),
        Currency(CHAOS, "Chaos Orb", "chaos", "Currency", "both", ("c", "choas")),
        Currency(EXALTED, "Exalted Orb", "exalted", "Currency", "both", ("exa", "ex")),
        Currency(MIRROR, "Mirror of Kalandra", "mirror", "Currency", "both", ()),
        Currency("Metadata/One", "Splinter of One", "splinter", "Fragments", "poe1", ()),
        Currency("Metadata/Two", "Splinter of Two", "splinter", "Fragments", "poe2", ()),
    ]
)


FACTS = {
    "currency": DIVINE,
    "hour_s": HOUR_S,
    "chaos": 150.0,
    "divine": 1.0,
    "open_24h": 148.0,
    "high_24h": 155.0,
    "low_24h": 147.5,
    "units": 40,
    "units_24h": 900,
    "value_traded_24h": 135_000.0,
    "change_1h": 0.01,
    "change_24h": 0.02,
    "change_7d": None,
    "volatility_24h": 0.003,
    "spread": 0.01,
    "markets": 12,
    "confidence": 0.97,
    "low_sample": False,
    "rests_on_hours": 1,
    "hours_24h": 24,
    "hours_7d": 160,
    "batch_id": "exchange-pc-0000000001",
    "sell_through": 0.9,
    "time_to_sell_s": 9600.0,
}


def gold(currency=DIVINE, hour_s=HOUR_S, league="Mirage", **facts):
    """A row as the query ``ledger_newest`` answers it; ``facts`` differ from those of a divine."""
    return (league, *{**FACTS, "currency": currency, "hour_s": hour_s, **facts}.values())


MARKET = [
    gold(DIVINE),
    gold(CHAOS, chaos=1.0, divine=1 / 150, value_traded_24h=90_000.0, confidence=1.0),
    gold(EXALTED, chaos=12.5, divine=12.5 / 150, value_traded_24h=20_000.0, confidence=0.6),
    gold(STRANGE, chaos=0.02, divine=None, value_traded_24h=3.0, confidence=0.1, low_sample=True),
]
"""Four currencies of pc/Mirage at the newest hour."""


EYE = (
    "unique|Watcher's Eye|base=Prismatic Jewel|variant=Damage Penetrates #% Cold Resistance while affected by Hatred + "
    "Gain #% of Maximum Mana as Extra Maximum Energy Shield while affected by Clarity"
)
HEADHUNTER = "unique|Headhunter|base=Leather Belt"


def item(key, chaos=10.0, listings=20, *, league="Mirage", as_of_s=int(ORIGIN_S) - 300, **facts):
    """An item as the query ``ledger_items`` tells it, and the league it is of; ``facts`` differ from the usual ones."""
    category, name, *parts = key.split("|")
    priced = chaos is not None
    sales = facts.pop("likely_sales_24h", 4 if priced else 0)
    evidence = {
        "listings": listings, "units": listings, "sellers": listings, "rests_on_sellers": 9 if priced else 0,
        "last_seen": rfc3339(as_of_s), "judged_until": rfc3339(as_of_s - 3300), "rate_hour": rfc3339(HOUR_S),
        "batch_id": "river-pc-0000000007",
    }  # fmt: skip
    liquidity = {
        "turnover_24h": sales * chaos if priced else 0.0, "sell_through": sales / (sales + listings),
        "time_to_sell_s": listings / sales * 86400 if sales else None, "spread": 0.2 if priced else None,
    }  # fmt: skip
    usual = {
        "key": key, "category": category, "name": name, "parts": dict(part.split("=", 1) for part in parts),
        "chaos": chaos, "divine": chaos / 150 if priced else None, "low": chaos * 0.9 if priced else None,
        "high": chaos * 1.08 if priced else None, "confidence": 0.9 if priced else 0.0, "low_sample": not priced,
        "change_1h": None, "change_24h": 0.05 if priced else None, "change_7d": -0.2 if priced else None,
        "sparkline": [chaos] * 28, "likely_sales_1h": 0, "likely_sales_24h": sales, "likely_sales_7d": 4 * sales,
        "sale_value": chaos, "time_on_market_s": 1800 if priced else None, "liquidity": liquidity,
        "roi_24h": 0.1 if priced else None, "evidence": evidence, "as_of": rfc3339(as_of_s),
    }  # fmt: skip
    return (league, {**usual, **facts})


ITEMS = [
    item(HEADHUNTER, 9000.0, 60, change_24h=0.12),
    item(f"{HEADHUNTER}|corrupted=true", 7500.0, 8),
    item("unique|Mageblood|base=Heavy Belt", 30_000.0, 12, change_24h=-0.08),
    item("unique|Tabula Rasa|base=Simple Robe|links=6", 12.0, 300),
    item("base|Vaal Regalia|links=5|ilvl=86", 25.0, 15),
    item("base|Vaal Regalia|links=6|ilvl=86", 180.0, 9, confidence=0.4),
    item("base|Vaal Regalia|influences=elder+hunter|ilvl=86", 90.0, 5),
    item("gem|Spark|level=20|quality=20", 8.0, 120),
    item("gem|Spark|level=21|quality=20|corrupted=true", 45.0, 30),
    item("gem|Clarity", 1.0, 70),
    item(EYE, 2400.0, 7),
    item("map|Plaza Map|tier=16", 3.0, 40),
    item("cluster_jewel|Large Cluster Jewel|enchant=12% increased Fire Damage|passives=8|ilvl=84", 35.0, 22),
    item("card|The Doctor", 5200.0, 11),
    item("unique|Replica Farrul's Fur|base=Triumphant Lamellar", None, 2),
]
"""Items of pc/Mirage as of five minutes before a test's clock starts; the last one has no price."""


class FakeEngine:
    """Answers queries from ``answers`` and remembers the parameters; ``error`` is raised instead.

    An answer is rows, or what makes them of the parameters.
    """

    info = EngineInfo("embedded", "26.9")

    def __init__(self, **answers):
        self.answers = answers
        self.asked = []
        self.error = None

    async def rows(self, sql, params=None, *, timeout_s=0.0, settings=None):
        """The rows kept for ``sql``."""
        self.asked.append((sql, params, timeout_s))
        if self.error:
            raise self.error
        answer = self.answers.get(sql, [])
        return answer(params) if callable(answer) else answer


def source(**facts):
    """One source's status."""
    usual = SourceStatus(
        "exchange-pc", "exchange", "pc", SourceState.LIVE, "1760000400", 61.5, None, 0.02, None, 0, None
    )
    return replace(usual, **facts)


STATUS = Status(
    DaemonState.OK,
    "0.1.0",
    12.0,
    ConfigStatus(1, "2025-10-09T09:00:00Z", None),
    StoreStatus("embedded", "26.9", StoreState.OK),
    SpoolStatus(3, 4096, 1 << 20, 7.5, SpoolState.OK),
    [source()],
    [],
    [EtlStatus("silver_exchange_ticks", "exchange-pc", None, EtlState.OK, 41, 0, 0.0, None, None, None)],
)
"""A daemon that is well."""


class World:
    """The ports of the web room, and what a test may turn."""

    def __init__(self, rows=(), realm="pc", items=()):
        self.clock = ManualClock()
        self.engine = FakeEngine(
            moved=self._moved, newest=list(rows), item_pages=lambda params: [([""],)], items=self._items
        )
        self.engine.answers |= ANSWERS
        self.items = list(items)
        self.ledger = Ledger(self.engine, REFERENCE, QUERIES)
        self.realm = realm
        self.status = STATUS
        self.rules = Freshness()
        self._changes = 0

    async def load(self, realm=None, rows=None, items=None):
        """Bring the ledger up to the engine's rows: `gold` for currencies, `item` for items."""
        if rows is not None:
            self.engine.answers["newest"] = list(rows)
        if items is not None:
            self.items = list(items)
        self._changes += rows is not None or items is not None
        await self.ledger.reload(realm or self.realm)

    def _moved(self, params):
        """How far each league is: its newest hour, and how often a test changed the rows."""
        hours = {}
        for league, _, hour_s, *_ in self.engine.answers["newest"]:
            hours["currency", league] = max(hour_s, hours.get(("currency", league), 0))
        for league, _ in self.items:
            hours["items", league] = HOUR_S + 3600
        return [(*place, hour_s, *[hour_s * 1000 + self._changes] * 2, 0) for place, hour_s in sorted(hours.items())]

    def _items(self, params):
        """The items of the league that is asked for, as the engine writes them."""
        found = [item for league, item in self.items if league == params["league"]]
        found.sort(key=itemgetter("key"))
        columns = [
            (
                *itemgetter("key", "name", "category", "chaos", "confidence")(item),
                item["evidence"]["listings"],
                item["liquidity"]["turnover_24h"],
                *itemgetter("change_1h", "change_24h", "change_7d", "likely_sales_24h")(item),
                datetime.fromisoformat(item["as_of"]).timestamp(),
            )
            for item in found
        ]
        rows = b"\n".join(map(orjson.dumps, found)).decode()
        return [(rows, *(orjson.dumps(column).decode() for column in zip(*columns, strict=True)))]

    def deps(self, **changes):
        """What `create_app` takes."""
        usual = Deps(self.ledger, self.engine, QUERIES, lambda: self.status, self.clock, lambda: self.rules, "0.1.0")
        return replace(usual, **changes)


NO_STORE = StoreUnavailable("The engine is not open.", "See: ledgerd status")
