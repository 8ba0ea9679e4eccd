"""The shapes answers leave in: JSON, and RFC 9457 problems for everything that went wrong."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

import orjson
from aiohttp import web

from ledgerd.errors import LedgerdError, NotKnown, NotPricedYet, QueryRefused, Refused, Transient
from ledgerd.events import RequestCrashed, emit
from ledgerd.ledger.freshness import RETRY_AFTER_S

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
PROBLEM_TYPE = "application/problem+json"
PROBLEMS = {
    "bad-request": "The request is not understood",
    "not-found": "There is no such address",
    "not-known": "There is nothing of that name",
    "method-not-allowed": "This address takes other methods",
    "too-large": "The request is too large",
    "query-refused": "The query cannot be run",
    "no-prices-yet": "There are no prices yet",
    "stale": "The prices are too old to be served",
    "busy": "Too many ask the engine already",
    "unavailable": "The data cannot be reached now",
    "crashed": "The request met an error nobody foresaw",
    "http-error": "The request cannot be served",
}
"""Every ``type`` a problem answer can have, after ``urn:ledgerd:``, with its title."""
CORS = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "ETag, Retry-After"}
ALWAYS = {"X-Content-Type-Options": "nosniff", "Server": "ledgerd"}
WAIT = {"Retry-After": str(RETRY_AFTER_S)}


class BadRequest(web.HTTPBadRequest):
    """A parameter that cannot be understood; leaves as a 400 problem."""

    def __init__(self, detail: str, hint: str = "", suggestions: Sequence[str] = ()) -> None:
        """``detail``: what is wrong; ``hint``: what to write instead; ``suggestions``: near spellings."""
        super().__init__(text=detail)
        self.hint = hint
        self.suggestions = suggestions


class Busy(web.HTTPServiceUnavailable):
    """Too many ask the engine already; leaves as a 503 problem that says when to come back."""


def answer(data: object, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """``data`` as JSON: plain values, dataclasses and enumerations of text."""
    return web.Response(body=orjson.dumps(data), status=status, headers=headers, content_type="application/json")


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
    body: dict[str, Any] = {
        "type": f"urn:ledgerd:{kind}",
        "title": PROBLEMS[kind],
        "status": status,
        "detail": detail,
        "instance": request.path,
        "suggestions": list(suggestions),
        "hint": hint,
    }
    no_store = {"Cache-Control": "no-store", **(headers or {})}
    return web.Response(body=orjson.dumps(body), status=status, headers=no_store, content_type=PROBLEM_TYPE)


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The outermost middleware: what a handler raises leaves as a problem, and ``/v1`` may be read from any page."""
    response = await _answered(request, handler)
    response.headers.update(ALWAYS)
    if request.path.startswith("/v1/"):
        response.headers.update(CORS)
    return response


async def _answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        return _of_http(request, error)
    except LedgerdError as error:
        return _of_ledgerd(request, error)
    except Exception as error:  # noqa: BLE001  the edge of one request: aiohttp would answer it in HTML and no event
        resource = request.match_info.route.resource
        route = resource.canonical if resource else request.path
        emit(RequestCrashed(f"{request.method} {route}", error=f"{type(error).__name__}: {error}"))
        return problem(
            request, 500, "crashed", "This is a fault of ledgerd, and it is in the log.", hint="ledgerd status"
        )


def _of_ledgerd(request: web.BaseRequest, error: LedgerdError) -> web.Response:
    detail, hint = error.message, error.hint
    match error:
        case NotKnown():
            return problem(request, 404, "not-known", detail, hint=hint, suggestions=error.suggestions)
        case NotPricedYet():
            return problem(request, 503, "no-prices-yet", detail, hint=hint, headers=WAIT)
        case QueryRefused():
            return problem(request, 400, "query-refused", detail, hint=hint)
        case Refused():
            return problem(request, 400, "bad-request", detail, hint=hint)
        case Transient():
            return problem(request, 503, "unavailable", detail, hint=hint, headers=WAIT)
    return problem(request, 500, "crashed", detail, hint=hint)


def _of_http(request: web.Request, error: web.HTTPException) -> web.StreamResponse:
    """Refusals of our own and of aiohttp, reshaped; redirects and the like pass as they are."""
    detail = error.text or error.reason
    match error:
        case BadRequest():
            return problem(request, 400, "bad-request", detail, hint=error.hint, suggestions=error.suggestions)
        case Busy():
            return problem(request, 503, "busy", detail, hint="Ask again, or for less.", headers=WAIT)
        case web.HTTPNotFound():
            detail = f"Nothing is served at {request.path[:200]}."
            return problem(request, 404, "not-found", detail, hint="Prices begin at GET /v1/realms")
        case web.HTTPMethodNotAllowed():
            detail, allow = f"{request.method[:20]} is not served here.", error.headers["Allow"]
            hint = f"Use {allow}."
            return problem(request, 405, "method-not-allowed", detail, hint=hint, headers={"Allow": allow})
        case web.HTTPError():
            kinds = {400: "bad-request", 413: "too-large"}
            return problem(request, error.status, kinds.get(error.status, "http-error"), detail)
    raise error
