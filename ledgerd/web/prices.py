"""A whole league's prices in one answer, for tools that keep a copy."""

import asyncio
from dataclasses import dataclass
from itertools import chain

from aiohttp import web
from pydantic import with_config

from ledgerd.ledger.shape import SHAPE
from ledgerd.web import copies
from ledgerd.web.ages import MaybeAged
from ledgerd.web.deps import DEPS
from ledgerd.web.endpoint import Endpoint
from ledgerd.web.items import Place
from ledgerd.web.light import FIELDS, Ages, Light, light_rows, market_age, market_of, market_tag, snapshots_of
from ledgerd.web.params import choice, names
from ledgerd.web.rows import FORMATS, Rows, respond


@with_config(SHAPE)
class PriceList(MaybeAged, Place):
    """Every price of a league: currencies, most traded first, then items by key. The age is that of the older layer."""

    count: int
    """How many stand in this answer."""
    withheld: int
    """How many were left out for their age, where the policy is to refuse."""
    prices: list[Light]


@dataclass(frozen=True, slots=True, kw_only=True)
class PricesQuery:
    """Parameters of a whole league."""

    kind: str = choice("all", ("all", "currency", "item"), about="Only things of this kind")
    fields: tuple[str, ...] = names(FIELDS, about="Of each price these fields alone, commas between them")
    format: str = choice("json", tuple(FORMATS), about="How the rows are written")


async def get_prices(request: web.Request, asked: PricesQuery) -> web.StreamResponse:
    """Every price of a league in a few fields each: for tools that keep a copy and ask again with its ETag."""
    deps = request.app[DEPS]
    market = market_of(request)
    ages = Ages.of(deps, "prices")
    age = market_age(market, ages, asked.kind)
    tag = market_tag(market, ages, asked.kind)
    if (unmodified := copies.unmodified(request, tag)) is not None:
        return unmodified
    made = [await asyncio.to_thread(light_rows, prices) for prices in snapshots_of(market, asked.kind).values()]
    count = sum(int(each.served(ages).sum()) for each in made)
    withheld = sum(len(each.heads) for each in made) - count
    body = {"realm": market.realm, "league": market.league, **age, "count": count, "withheld": withheld}
    rows = chain.from_iterable(each.rows(ages) for each in made)
    found = Rows(body, "prices", rows, count, Light, tag, asked.fields)
    return await respond(request, found, asked.format)


ENDPOINTS = (
    Endpoint(
        "/v1/{realm}/{league}/prices",
        get_prices,
        PriceList,
        PricesQuery,
        example="/v1/pc/Mirage/prices?kind=item&fields=id,chaos",
        has_formats=True,
        has_copies=True,
    ),
)
