"""What rose and what fell."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from aiohttp import web
from pydantic import with_config
from typing_extensions import TypedDict

from ledgerd.ledger.ledger import Market
from ledgerd.ledger.shape import SHAPE
from ledgerd.web import copies
from ledgerd.web.ages import MaybeAged
from ledgerd.web.answers import answer
from ledgerd.web.deps import DEPS
from ledgerd.web.endpoint import Endpoint
from ledgerd.web.items import Place
from ledgerd.web.light import Ages, Light, light_of, market_age, market_of, market_tag
from ledgerd.web.params import choice, count, number

SPANS = ("1h", "24h", "7d")
LIMIT_MAX = 100

Moved = tuple[float, str, int]
"""A change, the kind of what changed, and its place in its snapshot."""


@with_config(SHAPE)
class Mover(TypedDict):
    """A thing whose price moved."""

    change: float
    """Over the span, as a share: 0.1 is +10 %."""
    price: Light


@with_config(SHAPE)
class Movers(MaybeAged, Place):
    """What moved most over the span. The age is that of the older layer."""

    span: str
    up: list[Mover]
    """The largest gains first."""
    down: list[Mover]
    """The largest losses first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MoversQuery:
    """Parameters of a list of movers."""

    span: str = choice("24h", SPANS, about="Since when")
    kind: str = choice("all", ("all", "currency", "item"), about="Only things of this kind")
    min_confidence: float = number(0.8, least=0, most=1, about="Only prices at least that sure now")
    min_turnover: float = number(0.0, least=0, most=1e15, about="Only what turned over that much chaos in 24 h")
    limit: int = count(10, most=LIMIT_MAX, about="At most that many each way")


async def get_movers(request: web.Request, asked: MoversQuery) -> web.StreamResponse:
    """The largest gains and losses of a league over an hour, a day or a week, among prices that are sure enough."""
    deps = request.app[DEPS]
    market = market_of(request)
    ages = Ages.of(deps, "movers")
    age = market_age(market, ages, asked.kind)
    tag = market_tag(market, ages, asked.kind)
    if (unmodified := copies.unmodified(request, tag)) is not None:
        return unmodified
    moved = sorted([*_currencies(market, asked, ages), *_items(market, asked, ages)])
    body = {
        "realm": market.realm,
        "league": market.league,
        **age,
        "span": asked.span,
        "up": list(_movers(market, (each for each in reversed(moved[-asked.limit :]) if each[0] > 0), ages)),
        "down": list(_movers(market, (each for each in moved[: asked.limit] if each[0] < 0), ages)),
    }
    return answer(body, headers=copies.headers(tag))


def _currencies(market: Market, asked: MoversQuery, ages: Ages) -> Iterator[Moved]:
    """Those sure enough whose change is known, and is one of now: not of the last hour of something seldom traded."""
    if market.currency is None or asked.kind == "item":
        return
    newest = market.currency.as_of - ages.limits["currency"].max_age_s
    for place, price in enumerate(market.currency.prices):
        change = getattr(price, f"change_{asked.span}")
        is_sure = price.confidence >= asked.min_confidence and price.value_traded_24h >= asked.min_turnover
        if change is not None and is_sure and price.as_of >= newest:
            yield change, "currency", place


def _items(market: Market, asked: MoversQuery, ages: Ages) -> Iterator[Moved]:
    """The same of items, of these only as many at either end as may be shown: there are fifty thousand."""
    if market.items is None or asked.kind == "currency":
        return
    columns = market.items.columns
    changes = getattr(columns, f"change_{asked.span}")
    is_wanted = ~np.isnan(changes) & (columns.confidence >= asked.min_confidence)
    is_wanted &= columns.as_of >= market.items.as_of - ages.limits["item"].max_age_s
    if asked.min_turnover:
        is_wanted &= columns.turnover_24h >= asked.min_turnover
    places = is_wanted.nonzero()[0]
    ranked = places[np.argsort(changes[places], kind="stable")]
    for place in np.unique(np.concatenate([ranked[: asked.limit], ranked[-asked.limit :]])):
        yield float(changes[place]), "item", int(place)


def _movers(market: Market, moved: Iterable[Moved], ages: Ages) -> Iterator[Mover]:
    for change, kind, place in moved:
        price = light_of(market, kind, place, ages)
        if price is not None:
            yield Mover(change=change, price=price)


ENDPOINTS = (
    Endpoint(
        "/v1/{realm}/{league}/movers",
        get_movers,
        Movers,
        MoversQuery,
        example="/v1/pc/Mirage/movers?span=24h&limit=5",
        has_copies=True,
    ),
)
