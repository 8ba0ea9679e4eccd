"""Currency prices from memory: a league's prices, one price."""

from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from pydantic import with_config
from typing_extensions import TypedDict

from ledgerd.config import Layer
from ledgerd.ledger.freshness import age_s, as_of_s, is_stale
from ledgerd.ledger.items import Cursor, Liquidity
from ledgerd.ledger.shape import SHAPE, Moment
from ledgerd.ledger.snapshot import Price, Snapshot
from ledgerd.web import copies
from ledgerd.web.ages import Aged, admit, aged, stamped
from ledgerd.web.answers import BadRequest
from ledgerd.web.deps import DEPS
from ledgerd.web.endpoint import Endpoint
from ledgerd.web.light import snapshot_tag
from ledgerd.web.one import Found, answer_one
from ledgerd.web.params import Nothing, choice, count, names, number
from ledgerd.web.rows import FORMATS, Rows, cursor, next_cursor, respond

LIMIT_MAX = 10_000
LIST_PATH = "/v1/{realm}/{league}/currency"
ONE_PATH = "/v1/{realm}/{league}/currency/{currency:.+}"
LAYER: Layer = "currency"


@with_config(SHAPE)
class CurrencyEvidence(TypedDict):
    """What a currency's price rests on."""

    units: int
    """Units traded in the hour."""
    units_24h: int
    value_traded_24h: float
    """In chaos."""
    markets: int
    """Markets that spoke in the hour."""
    spread: float
    """How far they were apart, as a share."""
    rests_on_hours: int
    """Hours that carry 5 % of the price or more; 0: there is no price."""
    hours_24h: int
    """How many of the last 24 hours had a price."""
    hours_7d: int
    batch_id: str
    """The batch the hour came in."""


@with_config(SHAPE)
class CurrencyPrice(TypedDict, total=False):
    """What one unit of a currency is worth. All fields are there, unless ``fields`` names fewer."""

    id: str
    """The game's metadata id."""
    name: str
    tag: str | None
    """The trade site's tag."""
    known: bool
    """False: the reference table lacks the id, and the name is made from it."""
    chaos: float | None
    """In Chaos Orbs; null where the league cannot tell."""
    divine: float | None
    confidence: float
    """The probability that the price is within 15 % of the truth."""
    low_sample: bool
    open_24h: float | None
    high_24h: float | None
    low_24h: float | None
    change_1h: float | None
    """A share: 0.01 is +1 %."""
    change_24h: float | None
    change_7d: float | None
    volatility_24h: float | None
    liquidity: Liquidity
    evidence: CurrencyEvidence
    as_of: Moment
    """The end of the hour the price rests on."""
    age_s: float
    stale: bool


FIELDS = tuple(CurrencyPrice.__annotations__)


@with_config(SHAPE)
class CurrencyList(Aged):
    """A league's currency prices, most traded first."""

    realm: str
    league: str
    count: int
    """How many stand in this answer."""
    total: int
    """How many the league has."""
    withheld: int
    """How many were left out for their age, where the policy is to refuse."""
    next: str | None
    """What ``cursor`` must be for those that follow; null at the end."""
    prices: list[CurrencyPrice]


@with_config(SHAPE)
class CurrencyAnswer(Aged):
    """One currency's price."""

    realm: str
    league: str
    price: CurrencyPrice


@dataclass(frozen=True, slots=True, kw_only=True)
class ListQuery:
    """Parameters of a list of currencies."""

    min_confidence: float = number(0.0, least=0, most=1, about="Only prices at least that sure")
    limit: int = count(LIMIT_MAX, most=LIMIT_MAX, about="At most that many, most traded first")
    cursor: Cursor | None = cursor(about="Go on after the answer whose `next` this was")
    fields: tuple[str, ...] = names(FIELDS, about="Of each price these fields alone, commas between them")
    format: str = choice("json", tuple(FORMATS), about="How the rows are written")


async def get_currencies(request: web.Request, asked: ListQuery) -> web.StreamResponse:
    """A league's currency prices, most traded first. The age of the answer is that of the league's newest hour."""
    deps = request.app[DEPS]
    limit, now_s = deps.freshness().limit(LAYER, "currency"), deps.clock.now()
    snapshot = _snapshot(request)
    admit(snapshot.as_of, now_s, limit)
    tag = snapshot_tag(snapshot, now_s, limit)
    if (unmodified := copies.unmodified(request, tag)) is not None:
        return unmodified
    stale_hours = {hour_s for hour_s in snapshot.hours_s if is_stale(age_s(as_of_s(hour_s), now_s), limit)}
    sure = [price for price in snapshot.prices if price.confidence >= asked.min_confidence]
    served = [price for price in sure if limit.policy != "refuse" or price.hour_s not in stale_hours]
    if asked.cursor is not None and asked.cursor.rank is None:
        raise BadRequest("cursor is of another list.", "Take it from `next` of an answer of this address.")
    first = 0 if asked.cursor is None else bisect_right(served, asked.cursor, key=_cursor)
    page = served[first : first + asked.limit]
    is_last = first + len(page) == len(served)
    body = {
        **_head(snapshot, aged(snapshot.as_of, now_s, limit)),
        "count": len(page),
        "total": len(snapshot.prices),
        "withheld": len(sure) - len(served),
        "next": next_cursor(None if is_last else _cursor(page[-1])),
    }
    rows = (stamped(price.json_head, price.as_of, now_s, limit) for price in page)
    return await respond(request, Rows(body, "prices", rows, len(page), CurrencyPrice, tag, asked.fields), asked.format)


async def get_currency(request: web.Request, asked: Nothing) -> web.StreamResponse:
    """One currency's price, by trade tag, name, alias or metadata id. The age is that of the hour it rests on."""
    deps = request.app[DEPS]
    limit = deps.freshness().limit(LAYER, "currency_one")
    snapshot = _snapshot(request)
    price = deps.ledger.price(snapshot, request.match_info["currency"])
    return answer_one(request, snapshot, Found(b"price", price.json_head, price.as_of), deps.clock.now(), limit)


def _snapshot(request: web.Request) -> Snapshot:
    names = request.match_info
    return request.app[DEPS].ledger.snapshot(names["realm"], names["league"])


def _head(snapshot: Snapshot, age: Aged) -> dict[str, Any]:
    return {"realm": snapshot.realm, "league": snapshot.league, **age}


def _cursor(price: Price) -> Cursor:
    return Cursor(-price.value_traded_24h, price.id)


ENDPOINTS = (
    Endpoint(
        ONE_PATH,
        get_currency,
        CurrencyAnswer,
        example="/v1/pc/Mirage/currency/divine",
        has_copies=True,
        is_hot=True,
    ),
    Endpoint(
        LIST_PATH,
        get_currencies,
        CurrencyList,
        ListQuery,
        example="/v1/pc/Mirage/currency?limit=3",
        has_formats=True,
        has_copies=True,
    ),
)
