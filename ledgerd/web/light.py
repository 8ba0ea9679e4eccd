"""A price in a few fields, the same for currencies and items: what searches, look-ups and whole leagues answer with."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self
from weakref import WeakKeyDictionary

import numpy as np
import orjson
from aiohttp import web
from numpy.typing import NDArray
from pydantic import with_config
from typing_extensions import TypedDict

from ledgerd.config import Route
from ledgerd.ledger.freshness import Limit, age_s, as_of_s, is_stale, warning
from ledgerd.ledger.items import ItemSnapshot, Numbers
from ledgerd.ledger.ledger import Market
from ledgerd.ledger.shape import SHAPE, Moment
from ledgerd.ledger.snapshot import Price, Snapshot
from ledgerd.web import copies
from ledgerd.web.ages import NO_AGE, MaybeAged, admit, moment
from ledgerd.web.deps import DEPS, Deps


@with_config(SHAPE)
class Light(TypedDict, total=False):
    """What one unit of a thing is worth. All fields are there, unless ``fields`` names fewer."""

    kind: str
    """``currency`` or ``item``."""
    id: str
    """A currency's metadata id, an item's key: what its own address takes."""
    name: str
    chaos: float | None
    """Null: nobody can say."""
    divine: float | None
    confidence: float
    """The probability that the price is within 15 % of the truth."""
    low_sample: bool
    change_24h: float | None
    """A share: 0.01 is +1 %."""
    turnover_24h: float | None
    """What was traded, of items likely sold, in 24 h, in chaos."""
    listings: int | None
    """Of an item; null of a currency."""
    as_of: Moment
    stale: bool
    """True if it is older than the limit."""


FIELDS = tuple(Light.__annotations__)


@dataclass(frozen=True, slots=True)
class Ages:
    """How old what one route answers with may be, at one moment (unix seconds); the limits by kind."""

    now_s: float
    limits: Mapping[str, Limit]

    @classmethod
    def of(cls, deps: Deps, route: Route) -> Self:
        """Those of ``route``, now."""
        freshness = deps.freshness()
        limits = {"currency": freshness.limit("currency", route), "item": freshness.limit("items", route)}
        return cls(deps.clock.now(), limits)

    def is_stale(self, kind: str, as_of: float) -> bool:
        """True if what stands for ``as_of`` is too old."""
        return is_stale(age_s(as_of, self.now_s), self.limits[kind])

    def is_served(self, kind: str, as_of: float) -> bool:
        """False if it is too old and the policy is to refuse."""
        return self.limits[kind].policy != "refuse" or not self.is_stale(kind, as_of)


def market_of(request: web.Request) -> Market:
    """All that is known of the league in the request's path; NotKnown or NotPricedYet."""
    names = request.match_info
    return request.app[DEPS].ledger.market(names["realm"], names["league"])


def snapshots_of(market: Market, kind: str = "all") -> Mapping[str, Snapshot | ItemSnapshot]:
    """What a market knows of ``kind``, by kind."""
    layers = {"currency": market.currency, "item": market.items}
    return {name: each for name, each in layers.items() if each is not None and kind in {"all", name}}


def market_age(market: Market, ages: Ages, kind: str = "all") -> MaybeAged:
    """The age of what a market knows of ``kind``: of the older layer; stale if either is. Raises TooOld."""
    return older({name: each.as_of for name, each in snapshots_of(market, kind).items()}, ages)


def market_tag(market: Market, ages: Ages, kind: str = "all") -> str:
    """The ETag of what is made of all a market knows of ``kind``."""
    found = snapshots_of(market, kind).items()
    return copies.etag(*(part for name, each in found for part in _tag_parts(each, ages.now_s, ages.limits[name])))


def snapshot_tag(prices: Snapshot | ItemSnapshot, now_s: float, limit: Limit) -> str:
    """The ETag of what is made of one snapshot."""
    return copies.etag(*_tag_parts(prices, now_s, limit))


def _tag_parts(prices: Snapshot | ItemSnapshot, now_s: float, limit: Limit) -> tuple[object, ...]:
    """What tells a snapshot's answers apart: its content, which of it is too old, and what becomes of that.

    How much is too old says which: the oldest is so first.
    """
    if isinstance(prices, Snapshot):
        as_of = np.asarray([as_of_s(hour_s) for hour_s in prices.hours_s], np.float64)
    else:
        as_of = prices.columns.as_of
    return prices.tag, f"{np.count_nonzero(now_s - as_of > limit.max_age_s):x}", limit.policy, limit.max_age_s


def older(as_of: Mapping[str, float], ages: Ages) -> MaybeAged:
    """The age of the oldest of ``as_of``, which are by kind; stale if any is too old for its kind. Raises TooOld."""
    if not as_of:
        return NO_AGE
    for kind, each in as_of.items():
        admit(each, ages.now_s, ages.limits[kind])
    oldest = min(as_of.values())
    stale = [(each, kind) for kind, each in as_of.items() if ages.is_stale(kind, each)]
    told = MaybeAged(as_of=moment(oldest), age_s=round(age_s(oldest, ages.now_s), 1), stale=bool(stale))
    if stale:
        each, kind = min(stale)
        told["warning"] = warning(age_s(each, ages.now_s), ages.limits[kind])
    return told


def light_of(market: Market, kind: str, place: int, ages: Ages) -> Light | None:
    """The price at that place of the market's snapshot of ``kind``; None if it is too old to be served."""
    if kind == "currency":
        assert market.currency is not None  # noqa: S101  a hit of a currency is in its snapshot
        price = market.currency.prices[place]
        return _shown(_of_currency(price), price.as_of, ages)
    assert market.items is not None  # noqa: S101  as above
    return _shown(_of_item(market.items.rows[place]), float(market.items.columns.as_of[place]), ages)


def find(market: Market, name: str, ages: Ages) -> Light | None:
    """An item's price if there is one of that key, else a currency's of that name, if it may be served."""
    if market.items is not None and (place := market.items.find(name)) is not None:
        return light_of(market, "item", place, ages)
    price = market.currency.find(name) if market.currency is not None else None
    return None if price is None else _shown(_of_currency(price), price.as_of, ages)


def _shown(light: Light, as_of: float, ages: Ages) -> Light | None:
    """``light``, marked if it is too old; None if it may then not be served."""
    light["stale"] = ages.is_stale(light["kind"], as_of)
    return light if ages.is_served(light["kind"], as_of) else None


def _of_currency(price: Price) -> Light:
    return Light(
        kind="currency",
        id=price.id,
        name=price.name,
        chaos=price.chaos,
        divine=price.divine,
        confidence=price.confidence,
        low_sample=price.low_sample,
        change_24h=price.change_24h,
        turnover_24h=price.value_traded_24h,
        listings=None,
        as_of=moment(price.as_of),
    )


def _of_item(head: bytes) -> Light:
    row = orjson.loads(head + b"}")
    return Light(
        kind="item",
        id=row["key"],
        name=row["name"],
        chaos=row["chaos"],
        divine=row["divine"],
        confidence=row["confidence"],
        low_sample=row["low_sample"],
        change_24h=row["change_24h"],
        turnover_24h=row["liquidity"]["turnover_24h"],
        listings=row["evidence"]["listings"],
        as_of=row["as_of"],
    )


@dataclass(frozen=True, slots=True)
class LightRows:
    """All prices of a snapshot in a few fields: JSON objects that lack ``stale`` and their brace, and their moments."""

    kind: str
    heads: Sequence[bytes]
    as_of: Numbers

    def stale(self, ages: Ages) -> NDArray[np.bool_]:
        """Which of them are too old."""
        return ages.now_s - self.as_of > ages.limits[self.kind].max_age_s

    def served(self, ages: Ages) -> NDArray[np.bool_]:
        """Which of them may be served."""
        return ~self.stale(ages) if ages.limits[self.kind].policy == "refuse" else np.ones(len(self.heads), np.bool_)

    def rows(self, ages: Ages) -> Iterator[bytes]:
        """Those that may, whole."""
        stale = self.stale(ages)
        for place in map(int, self.served(ages).nonzero()[0]):
            yield b'%b,"stale":%b}' % (self.heads[place], b"true" if stale[place] else b"false")


def light_rows(prices: Snapshot | ItemSnapshot) -> LightRows:
    """Made once and kept as long as the snapshot is: 0.3 s of 50,000, so in a thread."""
    made = _made.get(prices)
    if made is None:
        if isinstance(prices, Snapshot):
            lights = [orjson.dumps(_of_currency(price))[:-1] for price in prices.prices]
            made = LightRows("currency", lights, np.asarray([price.as_of for price in prices.prices], np.float64))
        else:
            made = LightRows("item", [orjson.dumps(_of_item(row))[:-1] for row in prices.rows], prices.columns.as_of)
        _made[prices] = made
    return made


_made: WeakKeyDictionary[Snapshot | ItemSnapshot, LightRows] = WeakKeyDictionary()
