"""An amount of one currency in another."""

from dataclasses import dataclass

from aiohttp import web
from pydantic import with_config

from ledgerd.ledger.shape import SHAPE
from ledgerd.ledger.snapshot import conversion
from ledgerd.web import copies
from ledgerd.web.ages import Aged, admit, aged
from ledgerd.web.answers import answer
from ledgerd.web.deps import DEPS
from ledgerd.web.endpoint import Endpoint
from ledgerd.web.items import Place
from ledgerd.web.params import number, words

AMOUNT_MAX = 1e12
NAME_CHARS_MAX = 200


@with_config(SHAPE)
class ConversionAnswer(Aged, Place):
    """What an amount of one currency is worth in another. The age is that of the older of the two prices."""

    amount: float
    from_id: str
    from_name: str
    to_id: str
    to_name: str
    rate: float
    """Units of the other for one."""
    result: float
    """Units of the other for the amount."""
    confidence: float
    """The probability that both prices are within 15 % of the truth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertQuery:
    """Parameters of a conversion."""

    from_: str = words(chars_max=NAME_CHARS_MAX, about="The currency you have: tag, name, alias or id")
    to: str = words("chaos", chars_max=NAME_CHARS_MAX, about="The currency you want it in")
    amount: float = number(1.0, least=0, most=AMOUNT_MAX, about="How much you have of it")


async def get_conversion(request: web.Request, asked: ConvertQuery) -> web.StreamResponse:
    """An amount of one currency in another, at the prices of both."""
    deps = request.app[DEPS]
    limit, now_s = deps.freshness().limit("currency", "convert"), deps.clock.now()
    snapshot = deps.ledger.snapshot(request.match_info["realm"], request.match_info["league"])
    source, target = deps.ledger.price(snapshot, asked.from_), deps.ledger.price(snapshot, asked.to)
    found = conversion(snapshot, asked.amount, source, target)
    admit(found.as_of, now_s, limit)
    age = aged(found.as_of, now_s, limit)
    tag = copies.etag(snapshot.tag, age["stale"], limit.max_age_s)
    if (unmodified := copies.unmodified(request, tag)) is not None:
        return unmodified
    body = ConversionAnswer(
        **age,
        realm=snapshot.realm,
        league=snapshot.league,
        amount=found.amount,
        from_id=source.id,
        from_name=source.name,
        to_id=target.id,
        to_name=target.name,
        rate=found.rate,
        result=found.result,
        confidence=found.confidence,
    )
    return answer(body, headers=copies.headers(tag))


ENDPOINTS = (
    Endpoint(
        "/v1/{realm}/{league}/convert",
        get_conversion,
        ConversionAnswer,
        ConvertQuery,
        example="/v1/pc/Mirage/convert?from=divine&to=chaos&amount=3",
        has_copies=True,
    ),
)
