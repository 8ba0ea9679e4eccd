"""Item prices from memory: a league's items, ranked and chosen, and one item with its evidence."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from aiohttp import web
from pydantic import with_config
from typing_extensions import TypedDict

from ledgerd.config import Layer
from ledgerd.ledger.freshness import Limit
from ledgerd.ledger.items import Cursor, Item, ItemSnapshot, Order
from ledgerd.ledger.shape import SHAPE
from ledgerd.web import copies
from ledgerd.web.ages import Aged, admit, aged, stamped
from ledgerd.web.deps import DEPS
from ledgerd.web.endpoint import Endpoint
from ledgerd.web.light import snapshot_tag
from ledgerd.web.one import Found, answer_one
from ledgerd.web.params import Nothing, choice, count, names, number, words
from ledgerd.web.rows import FORMATS, Rows, cursor, next_cursor, respond

LAYER: Layer = "items"
LIMIT_MAX = 50_000
FIELDS = tuple(Item.__annotations__)


@with_config(SHAPE)
class Place(TypedDict):
    """Which league an answer is about, as it spells itself."""

    realm: str
    league: str


@with_config(SHAPE)
class ItemList(Aged, Place):
    """A league's items, in the order asked for."""

    count: int
    """How many stand in this answer."""
    total: int
    """How many the league has."""
    withheld: int
    """How many of those asked for were left out for their age, where the policy is to refuse."""
    next: str | None
    """What ``cursor`` must be for those that follow; null at the end."""
    items: list[Item]


@with_config(SHAPE)
class ItemAnswer(Aged, Place):
    """One item's price and its evidence."""

    item: Item


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemsQuery:
    """Parameters of a list of items."""

    category: str = words("", chars_max=50, about="Only this category, such as `unique` or `gem`")
    min_confidence: float = number(0.0, least=0, most=1, about="Only prices at least that sure")
    order: str = choice(Order.TURNOVER, tuple(Order), about="What they are ranked by; most first, losses worst first")
    limit: int = count(100, most=LIMIT_MAX, about="At most that many")
    cursor: Cursor | None = cursor(about="Go on after the answer whose `next` this was")
    fields: tuple[str, ...] = names(FIELDS, about="Of each item these fields alone, commas between them")
    format: str = choice("json", tuple(FORMATS), about="How the rows are written")


async def get_items(request: web.Request, asked: ItemsQuery) -> web.StreamResponse:
    """A league's items with their prices, ranked as asked. For all in one small answer take `prices` instead."""
    deps = request.app[DEPS]
    limit, now_s = deps.freshness().limit(LAYER, "items"), deps.clock.now()
    snapshot = snapshot_of(request)
    admit(snapshot.as_of, now_s, limit)
    tag = snapshot_tag(snapshot, now_s, limit)
    if (unmodified := copies.unmodified(request, tag)) is not None:
        return unmodified
    wanted = _wanted(snapshot, asked)
    in_time = now_s - snapshot.columns.as_of <= limit.max_age_s
    kept = wanted & in_time if limit.policy == "refuse" else wanted
    page = snapshot.page(Order(asked.order), asked.cursor, asked.limit, kept)
    body = {
        "realm": snapshot.realm,
        "league": snapshot.league,
        **aged(snapshot.as_of, now_s, limit),
        "count": len(page.places),
        "total": len(snapshot),
        "withheld": int(wanted.sum() - kept.sum()),
        "next": next_cursor(page.after),
    }
    rows = item_rows(snapshot, map(int, page.places), now_s, limit)
    return await respond(request, Rows(body, "items", rows, len(page.places), Item, tag, asked.fields), asked.format)


async def get_item(request: web.Request, asked: Nothing) -> web.StreamResponse:
    """One item's price by its key, with what it rests on: sample, sellers, range, likely sales, the last batch."""
    deps = request.app[DEPS]
    limit = deps.freshness().limit(LAYER, "item")
    snapshot = snapshot_of(request)
    place = deps.ledger.item(snapshot, request.match_info["key"])
    found = Found(b"item", snapshot.rows[place], float(snapshot.columns.as_of[place]))
    return answer_one(request, snapshot, found, deps.clock.now(), limit)


def snapshot_of(request: web.Request) -> ItemSnapshot:
    """The items of the league in the request's path; NotKnown or NotPricedYet."""
    names = request.match_info
    return request.app[DEPS].ledger.items(names["realm"], names["league"])


def item_rows(snapshot: ItemSnapshot, places: Iterator[int], now_s: float, limit: Limit) -> Iterator[bytes]:
    """Items as they stand in an answer."""
    as_of = snapshot.columns.as_of
    return (stamped(snapshot.rows[place], as_of[place], now_s, limit) for place in places)


def _wanted(snapshot: ItemSnapshot, asked: ItemsQuery) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    wanted = snapshot.columns.confidence >= asked.min_confidence
    if asked.category:
        wanted &= np.asarray(snapshot.columns.category) == asked.category
    return wanted


ENDPOINTS = (
    Endpoint(
        "/v1/{realm}/{league}/items/{key:.+}",
        get_item,
        ItemAnswer,
        example="/v1/pc/Mirage/items/unique%7CHeadhunter%7Cbase%3DLeather%20Belt",
        has_copies=True,
        is_hot=True,
    ),
    Endpoint(
        "/v1/{realm}/{league}/items",
        get_items,
        ItemList,
        ItemsQuery,
        example="/v1/pc/Mirage/items?category=unique&min_confidence=0.5&limit=3",
        has_formats=True,
        has_copies=True,
    ),
)
