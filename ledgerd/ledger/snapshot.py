"""One league's prices at one time: immutable, indexed by every name a currency goes by (pure)."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import orjson

from ledgerd.chaos_scale.reference import Reference
from ledgerd.clock import rfc3339
from ledgerd.errors import NotKnown
from ledgerd.ledger.freshness import as_of_s
from ledgerd.ledger.search import Entry, Index, Places
from ledgerd.spelling import SUGGESTIONS_MAX, nearest
from ledgerd.store.engine import Row


@dataclass(frozen=True, slots=True)
class Price:
    """What one currency is worth and what that rests on: a row of gold with its names.

    Values are per unit, in chaos and in divine, None where the league cannot tell; changes are shares (0.05 is +5 %).
    """

    id: str
    name: str
    tag: str | None
    is_known: bool
    """False: the reference table lacks the id, and the name is made from it."""
    hour_s: int
    chaos: float | None
    divine: float | None
    open_24h: float | None
    high_24h: float | None
    low_24h: float | None
    units: int
    units_24h: int
    value_traded_24h: float
    change_1h: float | None
    change_24h: float | None
    change_7d: float | None
    volatility_24h: float | None
    spread: float
    markets: int
    confidence: float
    low_sample: bool
    rests_on_hours: int
    hours_24h: int
    hours_7d: int
    batch_id: str
    sell_through: float | None
    """The share of a day's offers that was traded; see docs/gold.md."""
    time_to_sell_s: float | None
    """How long what is on offer lasts at the day's pace, seconds."""
    as_of: int = field(init=False)
    """The end of the hour it rests on, unix seconds."""
    json_head: bytes = field(init=False, repr=False)
    """The price as the API shows it, made once: a JSON object that still lacks what changes with time and its brace."""

    def __post_init__(self) -> None:
        """Make what is asked for again and again."""
        object.__setattr__(self, "as_of", as_of_s(self.hour_s))
        object.__setattr__(self, "json_head", _json_head(self))


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Snapshot:
    """All prices of a league, most traded first. Build one with `of_rows`."""

    realm: str
    league: str
    newest_hour_s: int
    hours_s: tuple[int, ...]
    """The hours its prices rest on, newest first."""
    prices: tuple[Price, ...]
    tag: str
    """A short name of the content, the same for the same rows; what an ETag is made of."""
    index: Index
    """Its names' words, for `search.search`."""
    popularity: Places
    """By place, how many prices are more traded."""
    _by_name: Mapping[str, Price]

    @classmethod
    def of_rows(cls, realm: str, league: str, rows: Sequence[Row], reference: Reference) -> Self:
        """From rows of the query ``ledger_newest`` without their league, at least one.

        Where two currencies share a tag, a name or an alias, the more traded one has it; an id always means itself.
        """
        prices = sorted(
            (_price(row, realm, reference) for row in rows), key=lambda price: (-price.value_traded_24h, price.id)
        )
        content = hashlib.blake2b(repr((realm, league)).encode(), digest_size=8)
        for price in prices:
            content.update(price.json_head)
        hours_s = tuple(sorted({price.hour_s for price in prices}, reverse=True))
        by_name = _by_name(prices, realm, reference)
        return cls(
            realm,
            league,
            hours_s[0],
            hours_s,
            tuple(prices),
            content.hexdigest(),
            Index(_entries(prices, by_name)),
            np.arange(len(prices), dtype=np.int32),
            by_name,
        )

    @property
    def as_of(self) -> int:
        """The end of the newest hour, unix seconds."""
        return as_of_s(self.newest_hour_s)

    @property
    def divine_in_chaos(self) -> float | None:
        """What a divine is worth in chaos, None if the league cannot tell."""
        divine = self.find("divine")
        return divine.chaos if divine else None

    def find(self, text: str) -> Price | None:
        """The price of the currency ``text`` names (id, tag, name or alias, in any case); None if it has none here."""
        return self._by_name.get(text.casefold())

    def suggest(self, text: str) -> tuple[str, ...]:
        """Names of priced currencies spelt nearly like ``text``, best first, each currency once."""
        near_keys = nearest(text, self._by_name, SUGGESTIONS_MAX * 2)
        near_names = dict.fromkeys(self._by_name[key.casefold()].name for key in near_keys)
        return tuple(near_names)[:SUGGESTIONS_MAX]


@dataclass(frozen=True, slots=True)
class Conversion:
    """What an amount of one currency is worth in another."""

    source: Price
    target: Price
    amount: float
    """Of the source."""
    rate: float
    """Units of the target for one of the source."""
    result: float
    """Units of the target for the amount."""
    confidence: float
    """The probability that both prices are within 15 % of the truth.

    That is the product of the two: each price has a market and errors of its own. Of a currency against itself it is 1.
    """
    as_of: int
    """The older of the two moments, unix seconds."""


def conversion(snapshot: Snapshot, amount: float, source: Price, target: Price) -> Conversion:
    """``amount`` (finite, not negative) of ``source`` in ``target``, both of ``snapshot``.

    NotKnown if the league cannot tell what one of them is worth.
    """
    is_same = source.id == target.id
    rate = 1.0 if is_same else _chaos(source, snapshot) / _chaos(target, snapshot)
    sure = 1.0 if is_same else source.confidence * target.confidence
    return Conversion(source, target, amount, rate, amount * rate, sure, min(source.as_of, target.as_of))


def _chaos(price: Price, snapshot: Snapshot) -> float:
    if not price.chaos:
        here = f"{snapshot.realm}/{snapshot.league}"
        hint = f"What has a value: GET /v1/{here}/currency"
        raise NotKnown(f"Nobody can say what {price.name} is worth in {here} now.", hint)
    return price.chaos


def _price(row: Row, realm: str, reference: Reference) -> Price:
    currency, *facts = row
    entry = reference.find(currency, realm)
    if entry is None:
        return Price(currency, reference.label(currency, realm), None, False, *facts)
    return Price(currency, entry.name, entry.trade_tag or None, True, *facts)


def _json_head(price: Price) -> bytes:
    facts = {
        "id": price.id,
        "name": price.name,
        "tag": price.tag,
        "known": price.is_known,
        "chaos": price.chaos,
        "divine": price.divine,
        "confidence": price.confidence,
        "low_sample": price.low_sample,
        "open_24h": price.open_24h,
        "high_24h": price.high_24h,
        "low_24h": price.low_24h,
        "change_1h": price.change_1h,
        "change_24h": price.change_24h,
        "change_7d": price.change_7d,
        "volatility_24h": price.volatility_24h,
        "liquidity": {
            "turnover_24h": price.value_traded_24h,
            "sell_through": price.sell_through,
            "time_to_sell_s": price.time_to_sell_s,
            "spread": price.spread,
        },
        "evidence": {
            "units": price.units,
            "units_24h": price.units_24h,
            "value_traded_24h": price.value_traded_24h,
            "markets": price.markets,
            "spread": price.spread,
            "rests_on_hours": price.rests_on_hours,
            "hours_24h": price.hours_24h,
            "hours_7d": price.hours_7d,
            "batch_id": price.batch_id,
        },
        "as_of": rfc3339(price.as_of),
    }
    return orjson.dumps(facts).removesuffix(b"}")


def _by_name(prices: Sequence[Price], realm: str, reference: Reference) -> dict[str, Price]:
    """Every key to its price; ids first, then tags, names and aliases, so that a weaker key never hides a stronger.

    A key the reference table gives to another currency is left out, though that one has no price here: a question
    about it must not be answered with this one's price.
    """
    entries = [(price, reference.find(price.id, realm)) for price in prices]
    index = {price.id.casefold(): price for price in prices}
    weaker = [(price.tag, price, entry) for price, entry in entries if price.tag]
    weaker += [(price.name, price, entry) for price, entry in entries]
    weaker += [(alias, price, entry) for price, entry in entries if entry for alias in entry.aliases]
    for key, price, entry in weaker:
        owner = reference.find(key, realm)
        if owner is None or owner == entry:
            index.setdefault(key.casefold(), price)
    return index


def _entries(prices: Sequence[Price], by_name: Mapping[str, Price]) -> list[Entry]:
    """What each price is found by: its name, and what else stands for it but its id."""
    names: dict[str, list[str]] = {price.id: [price.name] for price in prices}
    for name, price in by_name.items():
        if name not in {price.id.casefold(), price.name.casefold()}:
            names[price.id].append(name)
    return [Entry(tuple(names[price.id])) for price in prices]
