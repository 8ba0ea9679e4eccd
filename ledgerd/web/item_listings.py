"""The listings behind an item's price, each with its seller and its batch: asked of the engine, the cheapest first."""

import asyncio
from dataclasses import dataclass

from aiohttp import web
from pydantic import with_config
from typing_extensions import TypedDict

from ledgerd.clock import UPSTREAM_DELAY_S
from ledgerd.ledger.ledger import Market
from ledgerd.ledger.shape import SHAPE, Moment
from ledgerd.web import copies
from ledgerd.web.ages import Aged
from ledgerd.web.deps import DEPS
from ledgerd.web.endpoint import Endpoint
from ledgerd.web.items import Place, snapshot_of
from ledgerd.web.light import market_of
from ledgerd.web.params import choice, count
from ledgerd.web.rows import FORMATS, Rows, respond, told
from ledgerd.web.stashes import ask, head_of, until_of

LIMIT_MAX = 5_000
BELIEVED_S = 3 * 86_400
"""A stash that has not changed for longer says nothing about a price; see docs/item-prices.md."""


@with_config(SHAPE)
class Listing(TypedDict):
    """One listing that stands, in a stash that changed within three days."""

    # As the columns of item_listings stand.
    account: str
    stash: str
    """The stash's id."""
    units: int
    """How many it holds."""
    amount: float
    """What it asks for one, in ``currency``."""
    currency: str
    """A metadata id."""
    chaos: float | None
    """The same in chaos, at what the currency is worth now; null where it has no price."""
    listed_at: Moment
    changed_at: Moment
    """Since when it asks that."""
    repriced: int
    """How often it asked something else before."""
    seen_at: Moment
    """When its stash last changed, and it still stood there."""
    batch_id: str
    """The batch that brought that change."""


@with_config(SHAPE)
class ItemListings(Aged, Place):
    """The listings of one item, the cheapest first; those whose currency has no price come last."""

    key: str
    count: int
    """How many stand in this answer."""
    total: int
    """How many there are."""
    listings: list[Listing]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingsQuery:
    """Parameters of a list of listings."""

    limit: int = count(100, most=LIMIT_MAX, about="At most that many")
    format: str = choice("json", tuple(FORMATS), about="How the rows are written")


async def get_item_listings(request: web.Request, asked: ListingsQuery) -> web.StreamResponse:
    """The listings an item's price rests on, each with its seller, its stash and its batch, the cheapest first.

    The price takes a seller's lowest alone, and believes those that lie close together.
    """
    deps, snapshot = request.app[DEPS], snapshot_of(request)
    key = snapshot.columns.key[deps.ledger.item(snapshot, request.match_info["key"])]
    until_s = (await until_of(request, snapshot)).listings
    head = head_of(request, snapshot, "item", until_s)
    ids, rates = _rates(market_of(request))
    since_s = int(until_s + UPSTREAM_DELAY_S - BELIEVED_S)
    found = await ask(
        request, "item_listings", snapshot, key=key, ids=ids, rates=rates, since_s=since_s, most=asked.limit
    )
    total = found[0][-1] if found else 0
    rows = await asyncio.to_thread(told, Listing, [row[:-1] for row in found])
    tag = copies.etag_of(rows, total, head["stale"], deps.freshness().limit("items", "item").max_age_s)
    if (unmodified := copies.unmodified(request, tag)) is not None:
        return unmodified
    body = {**head, "key": key, "count": len(rows), "total": total}
    return await respond(request, Rows(body, "listings", rows, len(rows), Listing, tag), asked.format)


def _rates(market: Market) -> tuple[list[str], list[float]]:
    """The currencies that have a price, and what one is worth in chaos."""
    prices = market.currency.prices if market.currency is not None else ()
    priced = [(price.id, price.chaos) for price in prices if price.chaos is not None]
    return [of for of, _ in priced], [chaos for _, chaos in priced]


ENDPOINTS = (
    Endpoint(
        "/v1/{realm}/{league}/items/{key:.+}/listings",
        get_item_listings,
        ItemListings,
        ListingsQuery,
        example="/v1/pc/Mirage/items/unique%7CHeadhunter%7Cbase=Leather%20Belt/listings?limit=5",
        has_formats=True,
        has_copies=True,
    ),
)
