"""A currency's past prices, asked of the engine: bounded, a few at a time."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field, with_config
from typing_extensions import TypedDict

from ledgerd.clock import HOUR_S, rfc3339
from ledgerd.ledger.freshness import Limit
from ledgerd.ledger.shape import SHAPE, Moment
from ledgerd.store.engine import Row
from ledgerd.web import copies
from ledgerd.web.ages import NO_AGE, MaybeAged, aged
from ledgerd.web.answers import BadRequest
from ledgerd.web.deps import DEPS, turn
from ledgerd.web.endpoint import Endpoint
from ledgerd.web.params import choice, moment
from ledgerd.web.rows import FORMATS, Rows, respond, told

HISTORY_PATH = "/v1/{realm}/{league}/currency/{currency:.+}/history"
POINTS_MAX = 2_000
TIMEOUT_S = 10.0
STEPS_S = {"hour": HOUR_S, "day": 24 * HOUR_S}
DEFAULT_POINTS = {"hour": 7 * 24, "day": 90}
CACHE = "public, max-age=60"


@with_config(SHAPE)
class CurrencyPoint(TypedDict):
    """One step of a currency's past: values of its last hour, extremes of all its hours."""

    # As the columns of ledger_history stand.
    begin: Moment
    as_of: Moment
    """The end of its last hour with trade."""
    chaos: float | None
    divine: float | None
    open: float | None
    high: float | None
    low: float | None
    units: int
    """Units traded in the step."""
    confidence: float
    low_sample: bool
    hours: int
    """Hours with trade."""


@with_config(SHAPE)
class CurrencyHistory(MaybeAged):
    """A currency's past, oldest first; steps without trade have no point. The age is that of the newest point."""

    realm: str
    league: str
    id: str
    name: str
    from_: Annotated[Moment, Field(alias="from")]
    to: Moment
    step: str
    points: list[CurrencyPoint]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanQuery:
    """Parameters of a history."""

    from_: int | None = moment(
        about="The beginning, RFC 3339 with its zone or unix seconds; rounded down to a whole step"
    )
    to: int | None = moment(about="The end, not included; now unless given")
    step: str = choice("hour", tuple(STEPS_S), about="The length of a step; days are UTC")
    format: str = choice("json", tuple(FORMATS), about="How the points are written")


@dataclass(frozen=True, slots=True)
class Span:
    """From when to when, in unix seconds, by steps of ``step_s``."""

    from_s: int
    to_s: int
    step_s: int

    @property
    def step(self) -> str:
        """The step's name."""
        return next(name for name, step_s in STEPS_S.items() if step_s == self.step_s)


async def get_currency_history(request: web.Request, asked: SpanQuery) -> web.StreamResponse:
    """A currency's past prices by hour or by day, oldest first; spans without trade have no point."""
    deps = request.app[DEPS]
    span = span_of(asked, deps.clock.now())
    snapshot = deps.ledger.snapshot(request.match_info["realm"], request.match_info["league"])
    currency = deps.ledger.currency_id(snapshot, request.match_info["currency"])
    params = {"realm": snapshot.realm, "league": snapshot.league, "currency": currency, **asdict(span)}
    async with turn(request.app):
        rows = await deps.engine.rows(deps.queries["ledger_history"], params, timeout_s=TIMEOUT_S)
    whose = {
        "realm": snapshot.realm,
        "league": snapshot.league,
        "id": currency,
        "name": deps.ledger.label(snapshot.realm, currency),
    }
    limit = deps.freshness().limit("currency", "currency_one")
    return await respond_points(request, whose, span, shape=CurrencyPoint, rows=rows, limit=limit, form=asked.format)


async def respond_points(
    request: web.Request,
    whose: Mapping[str, str],
    span: Span,
    *,
    shape: Any,  # noqa: ANN401  a TypedDict
    rows: Sequence[Row],
    limit: Limit,
    form: str,
) -> web.StreamResponse:
    """A past: ``rows`` of the engine, oldest first, as points of ``shape``, whose second field is their ``as_of``.

    A ``to`` that was not given is the moment of the answer: its ETag has as little of that as of the age.
    """
    age = aged(rows[-1][1], request.app[DEPS].clock.now(), limit) if rows else NO_AGE
    points = await asyncio.to_thread(told, shape, rows)
    tag = copies.etag_of(points, span.from_s, age["stale"], limit.max_age_s)
    if (unmodified := copies.unmodified(request, tag, CACHE)) is not None:
        return unmodified
    head = {**whose, **age, "from": rfc3339(span.from_s), "to": rfc3339(span.to_s), "step": span.step}
    return await respond(request, Rows(head, "points", points, len(points), shape, tag, cache=CACHE), form)


def span_of(asked: SpanQuery, now_s: float) -> Span:
    """The span a query asks for; BadRequest if it makes no sense."""
    step_s = STEPS_S[asked.step]
    to_s = int(now_s) if asked.to is None else asked.to
    first_s = max(0, to_s - DEFAULT_POINTS[asked.step] * step_s) if asked.from_ is None else asked.from_
    from_s = first_s // step_s * step_s
    if from_s >= to_s:
        raise BadRequest(f"from ({rfc3339(from_s)}) is not before to ({rfc3339(to_s)}).", "Swap them.")
    points = -(-(to_s - from_s) // step_s)
    if points > POINTS_MAX:
        hint = f"Ask for at most {POINTS_MAX} points: a shorter time" + (
            ", or step=day." if asked.step == "hour" else "."
        )
        raise BadRequest(f"From {rfc3339(from_s)} to {rfc3339(to_s)} there are {points} {asked.step}s.", hint)
    return Span(from_s, to_s, step_s)


ENDPOINTS = (
    Endpoint(
        HISTORY_PATH,
        get_currency_history,
        CurrencyHistory,
        SpanQuery,
        example="/v1/pc/Mirage/currency/divine/history?step=day",
        has_formats=True,
        has_copies=True,
    ),
)
