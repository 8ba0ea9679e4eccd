"""Finding currencies and items by words."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from aiohttp import web
from pydantic import with_config
from typing_extensions import TypedDict

from ledgerd.ledger.ledger import Market
from ledgerd.ledger.search import RESULTS_MAX, Hit, search
from ledgerd.ledger.shape import SHAPE
from ledgerd.web import copies
from ledgerd.web.ages import MaybeAged
from ledgerd.web.answers import answer
from ledgerd.web.deps import DEPS
from ledgerd.web.endpoint import Endpoint
from ledgerd.web.items import Place
from ledgerd.web.light import Ages, Light, light_of, market_age, market_of, market_tag
from ledgerd.web.params import choice, count, words

KINDS = ("all", "currency", "item")
CHARS_MAX = 100


@with_config(SHAPE)
class Found(TypedDict):
    """One thing that may be meant."""

    match: str
    """How well: ``exact`` name, its beginning (``prefix``), all ``words``, or ``near`` ones."""
    price: Light


@with_config(SHAPE)
class SearchAnswer(MaybeAged, Place):
    """What may be meant, best first. The age is that of the older layer searched."""

    query: str
    results: list[Found]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchQuery:
    """Parameters of a search."""

    q: str = words(
        chars_max=CHARS_MAX, about="What is looked for, in words: `6l tabula`, `exalted`, `awakened multistrike 5`"
    )
    kind: str = choice("all", KINDS, about="Only things of this kind")
    limit: int = count(10, most=RESULTS_MAX, about="At most that many")


async def get_search(request: web.Request, asked: SearchQuery) -> web.StreamResponse:
    """Currencies and items by words, typos forgiven: exact names first, then beginnings, all words, near ones."""
    deps = request.app[DEPS]
    market = market_of(request)
    ages = Ages.of(deps, "search")
    age = market_age(market, ages, asked.kind)
    tag = market_tag(market, ages, asked.kind)
    if (unmodified := copies.unmodified(request, tag)) is not None:
        return unmodified
    searched = {kind: thing for kind, thing in market.searched.items() if asked.kind in {"all", kind}}
    hits = search(asked.q, searched, asked.limit)
    body = {
        "realm": market.realm,
        "league": market.league,
        **age,
        "query": asked.q,
        "results": list(_found(market, hits, ages)),
    }
    return answer(body, headers=copies.headers(tag))


def _found(market: Market, hits: Iterable[Hit], ages: Ages) -> Iterator[Found]:
    for hit in hits:
        price = light_of(market, hit.kind, hit.place, ages)
        if price is not None:
            yield Found(match=hit.grade.name.lower(), price=price)


ENDPOINTS = (
    Endpoint(
        "/v1/{realm}/{league}/search",
        get_search,
        SearchAnswer,
        SearchQuery,
        example="/v1/pc/Mirage/search?q=hedhunter",
        has_copies=True,
    ),
)
