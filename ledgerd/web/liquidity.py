"""What turns over most, and how long it takes to sell."""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from aiohttp import web
from pydantic import with_config
from typing_extensions import TypedDict

from ledgerd.clock import UPSTREAM_DELAY_S
from ledgerd.ledger.shape import SHAPE, Moment
from ledgerd.store.engine import Row
from ledgerd.store.queries import load_queries
from ledgerd.web import copies
from ledgerd.web.ages import MaybeAged
from ledgerd.web.deps import DEPS, Deps, turn
from ledgerd.web.endpoint import Endpoint
from ledgerd.web.items import Place
from ledgerd.web.light import Ages, market_of, older
from ledgerd.web.params import choice, count
from ledgerd.web.rows import FORMATS, Rows, respond, told

LIMIT_MAX = 1_000
TIMEOUT_S = 10.0
KINDS = {"all": ("currency", "item"), "currency": ("currency",), "item": ("item",)}


@with_config(SHAPE)
class Turnover(TypedDict):
    """How fast one thing turns over; what each figure means of items and of currencies: docs/gold.md."""

    # As the columns of liquidity stand, but for the name, which it lacks.
    kind: str
    """``currency`` or ``item``."""
    id: str
    """A currency's metadata id, an item's key."""
    name: str
    turnover_24h: float | None
    """In chaos."""
    sold_24h: int
    """Pieces traded, of items listings that likely sold."""
    stock: int
    """Pieces on offer."""
    listings: int
    """0 of currencies: the exchange does not tell orders apart."""
    spread: float | None
    """As a share."""
    sell_through: float | None
    """The share of what was on offer that sold."""
    time_to_sell_s: float | None
    """How long what is on offer lasts at the day's pace."""
    confidence: float
    """Of the price."""
    batch_id: str
    as_of: Moment


@with_config(SHAPE)
class LiquidityAnswer(MaybeAged, Place):
    """What turned over most in 24 h, in chaos, most first. The age is that of the older layer of these figures."""

    liquidity: list[Turnover]


@dataclass(frozen=True, slots=True, kw_only=True)
class LiquidityQuery:
    """Parameters of a list by liquidity."""

    kind: str = choice("all", tuple(KINDS), about="Only things of this kind")
    limit: int = count(50, most=LIMIT_MAX, about="At most that many")
    format: str = choice("json", tuple(FORMATS), about="How the rows are written")


async def get_liquidity(request: web.Request, asked: LiquidityQuery) -> web.StreamResponse:
    """What turned over most in a league in 24 h, how much is on offer, and how long that takes to sell."""
    deps = request.app[DEPS]
    market = market_of(request)
    params = {
        "realm": market.realm,
        "league": market.league,
        "kinds": list(KINDS[asked.kind]),
        "limit": asked.limit,
        "delay_s": int(UPSTREAM_DELAY_S),
    }
    async with turn(request.app):
        found = await deps.engine.rows(load_queries("api.sql")["liquidity"], params, timeout_s=TIMEOUT_S)
    newest = {kind: max(row[-1] for row in found if row[0] == kind) for kind in {row[0] for row in found}}
    ages = Ages.of(deps, "liquidity")
    age = older(newest, ages)
    rows = await asyncio.to_thread(told, Turnover, _named(found, market.realm, deps))
    tag = copies.etag_of(rows, age["stale"], *(limit.max_age_s for limit in ages.limits.values()))
    if (unmodified := copies.unmodified(request, tag)) is not None:
        return unmodified
    head = {"realm": market.realm, "league": market.league, **age}
    return await respond(request, Rows(head, "liquidity", rows, len(rows), Turnover, tag), asked.format)


def _named(found: Iterable[Row], realm: str, deps: Deps) -> Iterator[Row]:
    for kind, thing, *facts in found:
        name = deps.ledger.label(realm, thing) if kind == "currency" else thing.split("|")[1]
        yield kind, thing, name, *facts


ENDPOINTS = (
    Endpoint(
        "/v1/{realm}/{league}/liquidity",
        get_liquidity,
        LiquidityAnswer,
        LiquidityQuery,
        example="/v1/pc/Mirage/liquidity?kind=currency&limit=5",
        has_formats=True,
        has_copies=True,
    ),
)
