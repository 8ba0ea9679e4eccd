"""An item's past prices, asked of the engine: bounded, a few at a time."""

from typing import Annotated

from aiohttp import web
from pydantic import Field, with_config
from typing_extensions import TypedDict

from ledgerd.clock import UPSTREAM_DELAY_S, rfc3339
from ledgerd.ledger.items import ItemSnapshot
from ledgerd.ledger.shape import SHAPE, Moment
from ledgerd.store.engine import Row
from ledgerd.store.queries import load_queries
from ledgerd.web.ages import NO_AGE, MaybeAged, aged
from ledgerd.web.answers import answer
from ledgerd.web.deps import DEPS, Deps, turn
from ledgerd.web.endpoint import Endpoint
from ledgerd.web.history import CACHE, TIMEOUT_S, SpanQuery, span_json, span_of

HISTORY_PATH = "/v1/{realm}/{league}/items/{key:.+}/history"
SQL = load_queries("api.sql")


@with_config(SHAPE)
class ItemPoint(TypedDict):
    """One step of an item's past: values of its last hour, the range of all its hours."""

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
    limit = deps.freshness().limit("items", "item")
    body = {
        "realm": snapshot.realm,
        "league": snapshot.league,
        "key": key,
        **(aged(rows[-1][1], deps.clock.now(), limit) if rows else NO_AGE),
        **span_json(span),
        "points": [_point(row) for row in rows],
    }
    return answer(body, headers=CACHE)


async def _key(deps: Deps, snapshot: ItemSnapshot, asked: str) -> str:
    """The key as it is spelt; NotKnown if it has no price and nobody ever listed it."""
    if snapshot.find(asked) is None and await deps.engine.rows(SQL["is_item_key"], {"key": asked}, timeout_s=TIMEOUT_S):
        return asked
    return snapshot.columns.key[deps.ledger.item(snapshot, asked)]


def _point(row: Row) -> ItemPoint:
    (
        begin_s, as_of_s, chaos, divine, first, low, high, listings, units, sellers, rests_on_sellers, confidence,
        low_sample, likely_sales, hours, batch_id,
    ) = row  # fmt: skip
    return ItemPoint(
        begin=rfc3339(begin_s),
        as_of=rfc3339(as_of_s),
        chaos=chaos,
        divine=divine,
        open=first,
        low=low,
        high=high,
        listings=listings,
        units=units,
        sellers=sellers,
        rests_on_sellers=rests_on_sellers,
        confidence=confidence,
        low_sample=low_sample,
        likely_sales=likely_sales,
        hours=hours,
        batch_id=batch_id,
    )


ENDPOINTS = (
    Endpoint(
        HISTORY_PATH,
        get_item_history,
        ItemHistory,
        SpanQuery,
        example="/v1/pc/Mirage/items/unique%7CHeadhunter%7Cbase=Leather%20Belt/history?step=day",
    ),
)
