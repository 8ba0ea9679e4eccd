"""Prices for tests: rows of gold, a small reference table, an engine that answers from lists, a world for the web."""

from dataclasses import replace
from types import SimpleNamespace

from ledgerd.chaos_scale.reference import Currency, Reference
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

HOUR_S = int(ORIGIN_S) - 3600
"""The newest complete hour when a test's clock starts: its end is the clock's beginning."""
DIVINE = "Metadata/Items/Currency/CurrencyModValues"
CHAOS = "Metadata/Items/Currency/CurrencyRerollRare"
EXALTED = "Metadata/Items/Currency/CurrencyAddModToRare"
MIRROR = "Metadata/Items/Currency/CurrencyDuplicate"
STRANGE = "Metadata/Items/Currency/CurrencyNobodyKnows"
QUERIES = {"ledger_newest": "newest", "ledger_history": "history"}


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


class FakeEngine:
    """Answers queries from ``answers`` (SQL to rows) and remembers the parameters; ``error`` is raised instead."""

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
        return self.answers.get(sql, [])


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

    def __init__(self, rows=(), realm="pc"):
        self.clock = ManualClock()
        self.engine = FakeEngine(newest=list(rows))
        self.ledger = Ledger(self.engine, REFERENCE, QUERIES)
        self.realm = realm
        self.status = STATUS
        self.rules = SimpleNamespace(currency_max_age_s=3900.0, policy="serve")

    async def load(self, realm=None, rows=None):
        """Bring the ledger up to the engine's rows."""
        if rows is not None:
            self.engine.answers["newest"] = list(rows)
        await self.ledger.reload(realm or self.realm)

    def deps(self, **changes):
        """What `create_app` takes."""
        usual = Deps(self.ledger, self.engine, QUERIES, lambda: self.status, self.clock, lambda: self.rules, "0.1.0")
        return replace(usual, **changes)


NO_STORE = StoreUnavailable("The engine is not open.", "See: ledgerd status")
