"""Turns at upstream for other jobs on this address, over HTTP and with a key: ``/v1/throttle``."""

import math
from hashlib import sha256
from hmac import compare_digest
from typing import Annotated, NotRequired

from aiohttp import web
from pydantic import ConfigDict, Field, TypeAdapter, with_config
from typing_extensions import TypedDict

from ledgerd.clock import rfc3339
from ledgerd.ledger.shape import SHAPE, Moment
from ledgerd.upstream.budget import Remaining
from ledgerd.upstream.lending import WAIT_S_MAX, Lease, Lending, PolicyStanding
from ledgerd.upstream.throttle import LEASES_MAX
from ledgerd.web.answers import BadRequest, Unauthorized, answer
from ledgerd.web.body import read_body
from ledgerd.web.deps import DEPS
from ledgerd.web.endpoint import Endpoint
from ledgerd.web.params import Nothing

KEY = "X-API-Key"
BEARER = "Bearer "
HEADERS_MAX = 500
NO_STORE = {"Cache-Control": "no-store"}
BODY = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)

EndpointName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,99}$")]
PolicyName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


@with_config(SHAPE)
class RateLimit(TypedDict):
    """A limit of a policy: at most ``hits`` requests in ``period_s``."""

    rule: str
    period_s: int
    hits: int
    restriction_s: int
    """How long upstream refuses everything after an overrun."""
    remaining: int
    """How many requests it leaves room for now."""
    restricted_until: Moment | None
    """Until when nothing is sent because upstream said so; null: it did not."""


@with_config(SHAPE)
class ThrottlePolicy(TypedDict):
    """Requests that share limits."""

    policy: str | None
    """Upstream's name for it; null: no answer has told yet, and one request at a time is sent."""
    endpoints: list[str]
    """Those known to belong to it."""
    under_way: int
    """Requests sent and not answered, ours and those of leases."""
    next_at: Moment
    """When the next may be sent, were those answered now."""
    wait_s: float
    """The same, as seconds from now."""
    limits: list[RateLimit]


@with_config(SHAPE)
class ThrottleAnswer(TypedDict):
    """What upstream allows now."""

    requests_per_s: float
    """The average pace of all requests together."""
    leases: int
    """Open ones."""
    leases_max: int
    leases_lost: int
    """How many expired unreported since the start."""
    policies: list[ThrottlePolicy]


@with_config(BODY)
class AcquireBody(TypedDict):
    """What to ask upstream for: one of ``endpoint`` and ``policy``."""

    endpoint: NotRequired[EndpointName]
    """Your name for requests of one kind, which share a policy: it is learnt from the answers you report."""
    policy: NotRequired[PolicyName]
    """A policy an answer has named."""
    wait_s: NotRequired[Annotated[float, Field(ge=0, le=WAIT_S_MAX)]]
    """How long to wait for a turn; 0 if it is left out."""


@with_config(SHAPE)
class AcquireAnswer(TypedDict):
    """A lease: leave to send one request at once. Or none, and when to ask again."""

    lease: str | None
    """Its name, for the report; null: send nothing."""
    policy: str | None
    """What it is booked under; null: that is not known."""
    expires_at: Moment | None
    """By when its answer must have been reported; else it counts as sent up to then."""
    next_at: Moment
    """When to send: now, with a lease; without, when to ask again."""
    wait_s: float
    """The same, as seconds from now."""


@with_config(BODY)
class ReportBody(TypedDict):
    """What came of the request of a lease."""

    lease: Annotated[str, Field(min_length=1, max_length=100)]
    status: NotRequired[Annotated[int, Field(ge=100, le=599)]]
    """The HTTP status; left out: no answer came."""
    headers: NotRequired[Annotated[dict[str, str], Field(max_length=HEADERS_MAX)]]
    """The answer's headers, all or those that begin ``X-Rate-Limit-``, and ``Retry-After``."""


@with_config(SHAPE)
class ReportAnswer(TypedDict):
    """The answer is booked."""

    policy: str | None
    """Under what; null: it named none."""
    problems: list[str]
    """What of its headers could not be used."""
    next_at: Moment
    """When the next of the same may be sent at the earliest."""
    wait_s: float
    """The same, as seconds from now."""


async def get_throttle(request: web.Request, asked: Nothing) -> web.StreamResponse:
    """Upstream's rate limits as they stand: policies, rules, what is left of each, restrictions."""
    lending = _lending(request)
    standing, now_s = lending.standing(), lending.now()
    body = ThrottleAnswer(
        requests_per_s=standing.requests_per_s,
        leases=standing.leases,
        leases_max=LEASES_MAX,
        leases_lost=standing.leases_lost,
        policies=[_policy(each, now_s) for each in standing.policies],
    )
    return answer(body, headers=NO_STORE)


async def post_throttle_acquire(request: web.Request, asked: Nothing) -> web.StreamResponse:
    """Leave to send one request upstream at once, or the time to ask again. What was sent is to be reported."""
    body = await read_body(request, _ACQUIRE, _ACQUIRE_WHAT)
    endpoint, policy = body.get("endpoint", ""), body.get("policy", "")
    if bool(endpoint) == bool(policy):
        raise BadRequest("The body must have one of endpoint and policy.", _ACQUIRE_WHAT)
    lending = _lending(request)
    got = await lending.reserve(endpoint=endpoint, policy=policy, wait_s=body.get("wait_s", 0.0))
    now_s = lending.now()
    if isinstance(got, Lease):
        granted = AcquireAnswer(
            lease=got.name,
            policy=got.policy or None,
            expires_at=rfc3339(got.expires_s),
            next_at=rfc3339(now_s),
            wait_s=0.0,
        )
        return answer(granted, headers=NO_STORE)
    wait_s = _wait_s(got.next_s, now_s)
    refused = AcquireAnswer(
        lease=None, policy=policy or None, expires_at=None, next_at=_moment(got.next_s), wait_s=wait_s
    )
    return answer(refused, headers=NO_STORE | {"Retry-After": str(max(1, math.ceil(wait_s)))})


async def post_throttle_report(request: web.Request, asked: Nothing) -> web.StreamResponse:
    """What came of the request of a lease: its status and headers keep the limits true for everybody."""
    body = await read_body(request, _REPORT, _REPORT_WHAT)
    lending, status = _lending(request), body.get("status")
    if status is None:
        if "headers" in body:
            raise BadRequest("The body has headers and no status.", _REPORT_WHAT)
        taken = lending.unanswered(body["lease"])
    else:
        taken = lending.answered(body["lease"], status, body.get("headers", {}))
    reported = ReportAnswer(
        policy=taken.policy or None,
        problems=list(taken.problems),
        next_at=_moment(taken.next_s),
        wait_s=_wait_s(taken.next_s, lending.now()),
    )
    return answer(reported, headers=NO_STORE)


def check_key(request: web.Request) -> None:
    """Pass the key of ``throttle.api_key``. Digests are compared, so neither length nor first difference shows."""
    key = request.app[DEPS].throttler_key()
    if not key or request.app[DEPS].throttle is None:
        raise web.HTTPNotFound
    bearer = request.headers.get("Authorization", "")
    given = request.headers.get(KEY) or bearer[len(BEARER) :] * bearer.startswith(BEARER)
    if not compare_digest(_digest(given), _digest(key.reveal())):
        raise Unauthorized(text="The key is missing or wrong.")


def _digest(text: str) -> bytes:
    return sha256(text.encode("utf-8", "surrogateescape")).digest()


def _lending(request: web.Request) -> Lending:
    lending = request.app[DEPS].throttle
    if lending is None:
        raise web.HTTPNotFound
    return lending


def _policy(standing: PolicyStanding, now_s: float) -> ThrottlePolicy:
    return ThrottlePolicy(
        policy=standing.policy or None,
        endpoints=list(standing.endpoints),
        under_way=standing.under_way,
        next_at=_moment(standing.next_s),
        wait_s=_wait_s(standing.next_s, now_s),
        limits=[_limit(each) for each in standing.limits],
    )


def _limit(row: Remaining) -> RateLimit:
    return RateLimit(
        rule=row.rule,
        period_s=row.period_s,
        hits=row.hits,
        restriction_s=row.restriction_s,
        remaining=row.remaining,
        restricted_until=_moment(row.restricted_until_s) if row.restricted_until_s else None,
    )


def _moment(unix_s: float) -> str:
    """The first whole second not before ``unix_s``."""
    return rfc3339(math.ceil(unix_s))


def _wait_s(unix_s: float, now_s: float) -> float:
    """Seconds from now, rounded up to the millisecond."""
    return math.ceil(max(0.0, unix_s - now_s) * 1000) / 1000


_ACQUIRE = TypeAdapter(AcquireBody)
_ACQUIRE_WHAT = 'Send {"endpoint": "account-stash", "wait_s": 10} or {"policy": "a-policy"}.'
_REPORT = TypeAdapter(ReportBody)
_REPORT_WHAT = 'Send {"lease": "…", "status": 200, "headers": {…}}; without status if no answer came.'
ENDPOINTS = (
    Endpoint(
        "/v1/throttle",
        get_throttle,
        ThrottleAnswer,
        example="/v1/throttle",
        statuses=(400, 401, 404),
        key=KEY,
        guard=check_key,
    ),
    Endpoint(
        "/v1/throttle/acquire",
        post_throttle_acquire,
        AcquireAnswer,
        method="POST",
        body=AcquireBody,
        example="/v1/throttle/acquire",
        example_body={"endpoint": "account-stash", "wait_s": 10},
        statuses=(400, 401, 404, 413, 415),
        key=KEY,
        guard=check_key,
    ),
    Endpoint(
        "/v1/throttle/report",
        post_throttle_report,
        ReportAnswer,
        method="POST",
        body=ReportBody,
        example="/v1/throttle/report",
        example_body={"lease": "0123456789abcdef", "status": 200, "headers": {"X-Rate-Limit-Policy": "a-policy"}},
        statuses=(400, 401, 404, 413, 415),
        key=KEY,
        guard=check_key,
    ),
)
