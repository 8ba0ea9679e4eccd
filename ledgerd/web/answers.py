"""The shapes answers leave in: JSON, and RFC 9457 problems for everything that went wrong."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

import orjson
from aiohttp import web
from pydantic import with_config
from typing_extensions import TypedDict

from ledgerd.errors import LedgerdError, NotKnown, NotPricedYet, QueryRefused, Refused, Transient
from ledgerd.events import RequestCrashed, emit
from ledgerd.ledger.freshness import RETRY_AFTER_S
from ledgerd.ledger.shape import SHAPE

PROBLEM_TYPE = "application/problem+json"
PROBLEMS = {
    "bad-request": "The request is not understood",
    "unauthorized": "The key is missing or wrong",
    "not-found": "There is no such address",
    "not-known": "There is nothing of that name",
    "method-not-allowed": "This address takes other methods",
    "too-large": "The request is too large",
    "not-json": "The body is not JSON",
    "query-refused": "The query cannot be run",
    "no-prices-yet": "There are no prices yet",
    "stale": "The prices are too old to be served",
    "busy": "Too many ask the engine already",
    "unavailable": "The data cannot be reached now",
    "crashed": "The request met an error nobody foresaw",
    "http-error": "The request cannot be served",
}
"""Every ``type`` a problem answer can have, after ``urn:ledgerd:``, with its title."""
WAIT = {"Retry-After": str(RETRY_AFTER_S)}


@with_config(SHAPE)
class Problem(TypedDict):
    """What went wrong (RFC 9457)."""

    type: str
    """``urn:ledgerd:`` and the kind; the kinds are a closed set."""
    title: str
    """The kind in words."""
    status: int
    """The HTTP status."""
    detail: str
    """What is wrong with this request."""
    instance: str
    """The path that was asked for."""
    suggestions: list[str]
    """Near spellings, best first."""
    hint: str
    """What to do; may be empty."""


class Told(Exception):
    """What a handler raises to answer with a problem; beside it stands aiohttp's class of the status."""

    kind: ClassVar[str]
    """One of `PROBLEMS`."""
    hint = ""
    suggestions: Sequence[str] = ()
    told: Mapping[str, str] = MappingProxyType({})
    """Header fields that go with it."""


class BadRequest(Told, web.HTTPBadRequest):
    """A parameter that cannot be understood."""

    kind = "bad-request"

    def __init__(self, detail: str, hint: str = "", suggestions: Sequence[str] = ()) -> None:
        """``detail``: what is wrong; ``hint``: what to write instead; ``suggestions``: near spellings."""
        super().__init__(text=detail)
        self.hint = hint
        self.suggestions = suggestions


class BadQuery(Told, web.HTTPBadRequest):
    """SQL of the client's that cannot run, or does more than read."""

    kind = "query-refused"

    def __init__(self, error: QueryRefused) -> None:
        """``error``: why."""
        super().__init__(text=error.message)
        self.hint = error.hint


class Unauthorized(Told, web.HTTPUnauthorized):
    """The key is missing or wrong."""

    kind = "unauthorized"
    hint = "Send the key of THROTTLER_API_KEY as X-API-Key, or as Authorization: Bearer."
    told = MappingProxyType({"WWW-Authenticate": "Bearer"})


class NotJson(Told, web.HTTPUnsupportedMediaType):
    """The body says that it is something else than JSON."""

    kind = "not-json"
    hint = "Send Content-Type: application/json."


class Busy(Told, web.HTTPServiceUnavailable):
    """Too many ask the engine already."""

    kind = "busy"
    hint = "Ask again, or for less."
    told = MappingProxyType(WAIT)


class TooOld(Told, web.HTTPServiceUnavailable):
    """The answer is older than its limit and the policy is to refuse."""

    kind = "stale"
    hint = 'Stale prices are served, marked, with [freshness] policy = "serve"; why they are stale: ledgerd status'
    told = MappingProxyType(WAIT)


def answer(data: object, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """``data`` as JSON: plain values, dataclasses and enumerations of text."""
    return whole(orjson.dumps(data), status, headers)


def whole(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """JSON that is written already."""
    return web.Response(body=body, status=status, headers={"Content-Type": "application/json", **(headers or {})})


def problem(
    request: web.BaseRequest,
    status: int,
    kind: str,
    detail: str,
    *,
    hint: str = "",
    suggestions: Iterable[str] = (),
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """A problem answer (RFC 9457); ``kind`` is one of `PROBLEMS`."""
    body = Problem(
        type=f"urn:ledgerd:{kind}",
        title=PROBLEMS[kind],
        status=status,
        detail=detail,
        instance=request.path,
        suggestions=list(suggestions),
        hint=hint,
    )
    no_store = {"Cache-Control": "no-store", **(headers or {})}
    return web.Response(body=orjson.dumps(body), status=status, headers=no_store, content_type=PROBLEM_TYPE)


def problem_of(request: web.Request, error: Exception) -> web.StreamResponse:
    """The answer to a request whose handler raised ``error``; what nobody foresaw is told as an event."""
    match error:
        case web.HTTPException():
            return _of_http(request, error)
        case web.RequestPayloadError():  # cut off, or not packed as it says
            return problem(request, 400, "bad-request", "The body cannot be read.", hint="Send it whole, and unpacked.")
        case LedgerdError() if not isinstance(error, QueryRefused):  # a query of ours is a fault of ours
            return _of_ledgerd(request, error)
    resource = request.match_info.route.resource
    route = resource.canonical if resource else request.path
    emit(RequestCrashed(f"{request.method} {route}", error=f"{type(error).__name__}: {error}"))
    return problem(request, 500, "crashed", "This is a fault of ledgerd, and it is in the log.", hint="ledgerd status")


def _of_ledgerd(request: web.BaseRequest, error: LedgerdError) -> web.Response:
    detail, hint = error.message, error.hint
    match error:
        case NotKnown():
            return problem(request, 404, "not-known", detail, hint=hint, suggestions=error.suggestions)
        case NotPricedYet():
            return problem(request, 503, "no-prices-yet", detail, hint=hint, headers=WAIT)
        case Refused():
            return problem(request, 400, "bad-request", detail, hint=hint)
        case Transient():
            return problem(request, 503, "unavailable", detail, hint=hint, headers=WAIT)
    return problem(request, 500, "crashed", detail, hint=hint)


def _of_http(request: web.Request, error: web.HTTPException) -> web.StreamResponse:
    """Refusals of our own and of aiohttp, reshaped; redirects and the like pass as they are."""
    detail = error.text or error.reason
    match error:
        case Told():
            return problem(
                request, error.status, error.kind, detail,
                hint=error.hint, suggestions=error.suggestions, headers=error.told,
            )  # fmt: skip
        case web.HTTPNotFound():
            detail = f"Nothing is served at {request.path[:200]}."
            return problem(
                request, 404, "not-found", detail, hint="What there is: GET /openapi.json, and /docs to read"
            )
        case web.HTTPMethodNotAllowed():
            detail, allow = f"{request.method[:20]} is not served here.", error.headers["Allow"]
            hint = f"Use {allow}."
            return problem(request, 405, "method-not-allowed", detail, hint=hint, headers={"Allow": allow})
        case web.HTTPError():
            kinds = {400: "bad-request", 413: "too-large"}
            return problem(request, error.status, kinds.get(error.status, "http-error"), detail)
    raise error
