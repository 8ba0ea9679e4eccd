"""What rose and what fell."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from aiohttp import web
from pydantic import with_config
from typing_extensions import TypedDict

from ledgerd.ledger.ledger import Market
from ledgerd.ledger.shape import SHAPE
from ledgerd.web.ages import MaybeAged
from ledgerd.web.answers import answer
from ledgerd.web.copies import CACHE
from ledgerd.web.deps import DEPS
from ledgerd.web.endpoint import Endpoint
from ledgerd.web.items import Place
from ledgerd.web.light import Light, light_of, market_age
from ledgerd.web.params import choice, count, number

SPANS = ("1h", "24h", "7d")
LIMIT_MAX = 100


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
    market = deps.ledger.market(request.match_info["realm"], request.match_info["league"])
    age = market_age(market, deps, "movers", asked.kind)
    moved = sorted(_moved(market, asked))
    body = {
        "realm": market.realm,
        "league": market.league,
        **age,
        "span": asked.span,
        "up": [_mover(market, *each) for each in reversed(moved[-asked.limit :]) if each[0] > 0],
        "down": [_mover(market, *each) for each in moved[: asked.limit] if each[0] < 0],
    }
    return answer(body, headers={"Cache-Control": CACHE})


def _moved(market: Market, asked: MoversQuery) -> Iterator[tuple[float, str, int]]:
    """Change, kind and place of everything sure enough whose change is known."""
    change = f"change_{asked.span}"
    if market.currency is not None and asked.kind != "item":
        for place, price in enumerate(market.currency.prices):
            moved_by = getattr(price, change)
            is_sure = price.confidence >= asked.min_confidence
            if moved_by is not None and is_sure and price.value_traded_24h >= asked.min_turnover:
                yield moved_by, "currency", place
    if market.items is not None and asked.kind != "currency":
        columns = market.items.columns
        changes = getattr(columns, change)
        is_wanted = ~np.isnan(changes) & (columns.confidence >= asked.min_confidence)
        if asked.min_turnover:
            is_wanted &= columns.turnover_24h >= asked.min_turnover
        for place in is_wanted.nonzero()[0]:
            yield float(changes[place]), "item", int(place)


def _mover(market: Market, change: float, kind: str, place: int) -> Mover:
    return Mover(change=change, price=light_of(market, kind, place))


ENDPOINTS = (
    Endpoint(
        "/v1/{realm}/{league}/movers", get_movers, Movers, MoversQuery, example="/v1/pc/Mirage/movers?span=24h&limit=5"
    ),
)
