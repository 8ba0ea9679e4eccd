"""A price in a few fields, the same for currencies and items: what searches, look-ups and whole leagues answer with."""

from collections.abc import Iterable, Sequence
from weakref import WeakKeyDictionary

import orjson
from pydantic import with_config
from typing_extensions import TypedDict

from ledgerd.config import Route
from ledgerd.ledger.items import ItemSnapshot
from ledgerd.ledger.ledger import Market
from ledgerd.ledger.shape import SHAPE, Moment
from ledgerd.ledger.snapshot import Price, Snapshot
from ledgerd.web.ages import NO_AGE, MaybeAged, admit, aged, moment
from ledgerd.web.deps import Deps

_made: WeakKeyDictionary[Snapshot | ItemSnapshot, Sequence[bytes]] = WeakKeyDictionary()


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


FIELDS = tuple(Light.__annotations__)


def market_age(market: Market, deps: Deps, route: Route, kind: str = "all") -> MaybeAged:
    """The age of what a market knows of ``kind``: of the layer that is nearer to its limit. Raises TooOld."""
    now_s, freshness = deps.clock.now(), deps.freshness()
    ages = []
    if market.currency is not None and kind in {"all", "currency"}:
        ages.append((market.currency.as_of, freshness.limit("currency", route)))
    if market.items is not None and kind in {"all", "item"}:
        ages.append((market.items.as_of, freshness.limit("items", route)))
    for as_of, limit in ages:
        admit(as_of, now_s, limit)
    if not ages:
        return NO_AGE
    as_of, limit = min(ages, key=lambda age: age[0] + age[1].max_age_s)
    told = aged(as_of, now_s, limit)
    return MaybeAged(**told)


def light_of(market: Market, kind: str, place: int) -> Light:
    """The price at that place of the market's snapshot of ``kind``."""
    if kind == "currency":
        assert market.currency is not None  # noqa: S101  a hit of a currency is in its snapshot
        return light_currency(market.currency.prices[place])
    assert market.items is not None  # noqa: S101  as above
    return light_item(market.items, place)


def light_currency(price: Price) -> Light:
    """A currency's price in a few fields."""
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


def light_item(items: ItemSnapshot, place: int) -> Light:
    """An item's price in a few fields, taken from its whole row."""
    return _light_item(items.rows[place])


def _light_item(head: bytes) -> Light:
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


def light_rows(prices: Snapshot | ItemSnapshot) -> Sequence[bytes]:
    """All prices of a snapshot as JSON, made once and kept as long as it is: 0.3 s of 50,000, so in a thread."""
    made = _made.get(prices)
    if made is None:
        made = _made[prices] = [orjson.dumps(light) for light in _lights(prices)]
    return made


def _lights(prices: Snapshot | ItemSnapshot) -> Iterable[Light]:
    return map(light_currency, prices.prices) if isinstance(prices, Snapshot) else map(_light_item, prices.rows)
