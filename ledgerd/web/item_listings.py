"""The listings behind an item's price, each with its seller and its batch: asked of the engine, the cheapest first."""

import asyncio
from dataclasses import dataclass

from aiohttp import web
from pydantic import with_config
from typing_extensions import TypedDict

from ledgerd.clock import UPSTREAM_DELAY_S
from ledgerd.etl.runner import load_parts
from ledgerd.ledger.shape import SHAPE, Moment
from ledgerd.web import copies
from ledgerd.web.ages import Aged
from ledgerd.web.deps import DEPS, turn
from ledgerd.web.endpoint import Endpoint
from ledgerd.web.history import TIMEOUT_S
from ledgerd.web.items import LAYER, Place, snapshot_of
from ledgerd.web.params import choice, count
from ledgerd.web.rows import FORMATS, Rows, respond, told
from ledgerd.web.stashes import SQL, head_of, until_of

RATES = f"SELECT currency, rate, toUnixTimestamp(rate_hour) FROM (\n{load_parts()['rates']}\n)"  # noqa: S608  our own
"""What prices of items are converted with."""
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
    """The same in chaos; null where the currency has no rate, and then the price does without it."""
    rate_hour: Moment | None
    """The hour of that rate; null of chaos where no exchange tells of it."""
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
    """The listings of one item, the cheapest first; those whose currency has no rate come last."""

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
    """The listings that stand and count for an item's price, each with its seller, stash and batch, the cheapest first.

    Of a seller the price takes the lowest alone, and believes those that lie close together; listings that ended
    quickly within the last day count, too, and stand no more.
    """
    deps, snapshot = request.app[DEPS], snapshot_of(request)
    key = snapshot.columns.key[deps.ledger.item(snapshot, request.match_info["key"])]
    until_s = (await until_of(request, snapshot, "silver_canonical_stashes")).listings
    head = head_of(request, snapshot, "item", until_s)
    read_s = until_s + UPSTREAM_DELAY_S
    place = {"realm": snapshot.realm, "league": snapshot.league}
    async with turn(request.app):
        priced = await deps.engine.rows(
            RATES, {"realm": snapshot.realm, "leagues": [snapshot.league], "at": read_s}, timeout_s=TIMEOUT_S
        )
        rates = {name: [row[at] for row in priced] for at, name in enumerate(("ids", "rates", "hours_s"))}
        params = {**place, **rates, "key": key, "since_s": int(read_s - BELIEVED_S), "most": asked.limit}
        found = await deps.engine.rows(SQL["item_listings"], params, timeout_s=TIMEOUT_S)
    total = found[0][-1] if found else 0
    rows = await asyncio.to_thread(told, Listing, [row[:-1] for row in found])
    tag = copies.etag_of(rows, total, int(until_s), head["stale"], deps.freshness().limit(LAYER, "item").max_age_s)
    if (unmodified := copies.unmodified(request, tag)) is not None:
        return unmodified
    body = {**head, "key": key, "count": len(rows), "total": total}
    return await respond(request, Rows(body, "listings", rows, len(rows), Listing, tag), asked.format)


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
