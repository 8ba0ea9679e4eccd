"""The stand-in's OAuth: ``POST /oauth/token`` and ``/oauth/token/revoke`` for confidential clients.

Errors are RFC 6749's, not the API's. A token does not expire by itself (``expires_in: null``); it ends when revoked, or
when ``POST /_sim/tokens`` says so.
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import TypeAlias
from urllib.parse import parse_qsl, unquote

import orjson
from aiohttp import web

from ledgerd.sim.state import SIM, River, Sim
from ledgerd.sim.tokens import Refused

POLICY = "oauth-token-request-limit"
_FORM = "application/x-www-form-urlencoded"
_Work: TypeAlias = Callable[[River, Mapping[str, str], tuple[str, str] | None], dict[str, object]]


def routes() -> list[web.RouteDef]:
    """The routes of this family."""
    return [web.post("/oauth/token", _token), web.post("/oauth/token/revoke", _revoke)]


async def _token(request: web.Request) -> web.Response:
    """Issue a token."""
    return await _limited(request, lambda river, form, basic: river.tokens.issue(form, basic))


async def _revoke(request: web.Request) -> web.Response:
    """End a token (RFC 7009): an unknown one is no error."""

    def revoke(river: River, form: Mapping[str, str], basic: tuple[str, str] | None) -> dict[str, object]:
        river.tokens.check_client(form, basic)
        if not form.get("token"):
            raise Refused("invalid_request", "The request is missing the parameter token.")
        river.tokens.revoke(form["token"])
        return {}

    return await _limited(request, revoke)


async def _limited(request: web.Request, work: _Work) -> web.Response:
    """``work``'s answer to the form sent, behind the endpoint's rate limit."""
    sim: Sim = request.app[SIM]
    river = sim.river
    verdict = river.limiter.hit(POLICY, {"ip": request.remote or ""}, sim.clock.now())
    if not verdict.passes:
        river.refused("oauth")
        return _json({"error": "rate_limit_exceeded", "error_description": "Too many requests."}, 429, verdict.headers)
    try:
        form = _form(request.content_type, await request.read())
        return _json(work(river, form, _basic(request.headers.get("Authorization", ""))), 200, verdict.headers)
    except Refused as error:
        river.refused("oauth")
        told = {"error": error.error, "error_description": error.description}
        extra = (("WWW-Authenticate", "Basic"),) if error.status == web.HTTPUnauthorized.status_code else ()
        return _json(told, error.status, (*verdict.headers, *extra))


def _json(value: object, status: int, headers: tuple[tuple[str, str], ...]) -> web.Response:
    no_store = {"Cache-Control": "no-store", "Pragma": "no-cache"}
    return web.Response(
        status=status, body=orjson.dumps(value), content_type="application/json", headers={**no_store, **dict(headers)}
    )


def _form(content_type: str, body: bytes) -> dict[str, str]:
    """The form sent; Refused for a body of another kind (JSON too), for bad text and for a parameter sent twice."""
    if content_type != _FORM:
        raise Refused("invalid_request", f"The request body must be {_FORM}.")
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=bool(body), max_num_fields=50)
    except ValueError as error:
        raise Refused("invalid_request", "The request body is malformed.") from error
    if len({name for name, _ in pairs}) != len(pairs):
        raise Refused("invalid_request", "The request includes a parameter more than once.")
    return dict(pairs)


def _basic(authorization: str) -> tuple[str, str] | None:
    """Client id and secret of an HTTP Basic header, None without one; Refused where it cannot be read."""
    scheme, _, packed = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, secret = base64.b64decode(packed, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise Refused("invalid_client", "The Authorization header is malformed.", 401) from error
    return (unquote(name), unquote(secret)) if colon else None
