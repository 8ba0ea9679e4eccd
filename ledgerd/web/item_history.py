"""An item's past prices, asked of the engine: bounded, a few at a time."""

from typing import Annotated

from aiohttp import web
from pydantic import Field, with_config
from typing_extensions import TypedDict

from ledgerd.clock import UPSTREAM_DELAY_S
from ledgerd.ledger.items import ItemSnapshot
from ledgerd.ledger.shape import SHAPE, Moment
from ledgerd.store.queries import load_queries
from ledgerd.web.ages import MaybeAged
from ledgerd.web.deps import DEPS, Deps, turn
from ledgerd.web.endpoint import Endpoint
from ledgerd.web.history import TIMEOUT_S, SpanQuery, respond_points, span_of

HISTORY_PATH = "/v1/{realm}/{league}/items/{key:.+}/history"
SQL = load_queries("api.sql")


@with_config(SHAPE)
class ItemPoint(TypedDict):
    """One step of an item's past: values of its last hour, the range of all its hours."""

    # As the columns of item_history stand.
    begin: Moment
    as_of: Moment
    """The moment its last hour stands for."""
    chaos: float | None
    divine: float | None
    open: float | None
    """The price of its first hour."""
    low: float | None
    """What honest sellers asked at least."""
    high: float | None
    listings: int
    units: int
    sellers: int
    rests_on_sellers: int
    confidence: float
    low_sample: bool
    likely_sales: int
    """Listings judged in the step to have sold; they ended an hour before."""
    hours: int
    """Hours in which somebody listed it, or it was priced within seven days."""
    batch_id: str


@with_config(SHAPE)
class ItemHistory(MaybeAged):
    """An item's past, oldest first; a step in which nobody knew it has none. The age is that of the newest point."""

    realm: str
    league: str
    key: str
    from_: Annotated[Moment, Field(alias="from")]
    to: Moment
    step: str
    points: list[ItemPoint]


async def get_item_history(request: web.Request, asked: SpanQuery) -> web.StreamResponse:
    """An item's past prices by hour or by day, oldest first. The item need not have a price now."""
    deps, names = request.app[DEPS], request.match_info
    span = span_of(asked, deps.clock.now())
    snapshot = deps.ledger.items(names["realm"], names["league"])
    params = {"realm": snapshot.realm, "league": snapshot.league, "delay_s": int(UPSTREAM_DELAY_S)}
    params |= {"from_s": span.from_s, "to_s": span.to_s, "step_s": span.step_s}
    async with turn(request.app):
        key = await _key(deps, snapshot, names["key"])
        rows = await deps.engine.rows(SQL["item_history"], {**params, "key": key}, timeout_s=TIMEOUT_S)
    whose = {"realm": snapshot.realm, "league": snapshot.league, "key": key}
    limit = deps.freshness().limit("items", "item")
    return await respond_points(request, whose, span, shape=ItemPoint, rows=rows, limit=limit, form=asked.format)


async def _key(deps: Deps, snapshot: ItemSnapshot, asked: str) -> str:
    """The key as it is spelt; NotKnown if it has no price and nobody ever listed it."""
    if snapshot.find(asked) is None and await deps.engine.rows(SQL["is_item_key"], {"key": asked}, timeout_s=TIMEOUT_S):
        return asked
    return snapshot.columns.key[deps.ledger.item(snapshot, asked)]


ENDPOINTS = (
    Endpoint(
        HISTORY_PATH,
        get_item_history,
        ItemHistory,
        SpanQuery,
        example="/v1/pc/Mirage/items/unique%7CHeadhunter%7Cbase=Leather%20Belt/history?step=day",
        has_formats=True,
        has_copies=True,
    ),
)
