"""The river's own routes under ``/_sim/``: order limits, end tokens, read the book, the true prices and the sales."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import islice
from typing import Any

import orjson
from aiohttp import web

from ledgerd.sim.limits import STYLES, Limiter
from ledgerd.sim.river_source import RIVER_REALMS
from ledgerd.sim.state import SIM, Sim

_CHUNK_LINES = 200
_SALES_SPAN_MAX_S = 7 * 86_400


def river_state(sim: Sim) -> dict[str, Any]:
    """Where the river stands, for ``/_sim/state``."""
    river, now_s = sim.river, sim.clock.now()
    return {
        "head": {realm: river.source.head(realm, now_s) for realm in RIVER_REALMS},
        "answers": river.audit.written,
        "dropped": river.audit.dropped,
        "invalid_requests": {"total": river.invalid.total(), **river.invalid},
        "user_agents_wrong": river.agents_wrong,
        "bans": river.limiter.bans,
        "limits": {policy: river.limiter.limits(policy) for policy in river.limiter.policies},
        "tokens": {"issued": river.tokens.issued, "valid": river.tokens.valid},
    }


async def order_limits(request: web.Request) -> dict[str, Any]:
    """Carry out ``{"policy":…, "rules"|"foreign"|"ban_s":…}`` or ``{"headers"|"retry_after_s":…}``; tell the limits.

    ``rules`` replaces the policy's, ``foreign`` counts that many requests of others, ``ban_s`` restricts the asking
    address. ``headers`` is a spelling of ``limits.STYLES``; ``retry_after_s`` is what 429s say, null for the truth.
    """
    sim, wanted = request.app[SIM], orjson.loads(await request.read())
    if not isinstance(wanted, dict):
        raise ValueError("expected an object")  # noqa: TRY004 - the caller's input
    limiter = sim.river.limiter
    unknown = set(wanted) - {"policy", "rules", "foreign", "ban_s", "headers", "retry_after_s"}
    if unknown or (wanted.keys() & {"rules", "foreign", "ban_s"} and not isinstance(wanted.get("policy"), str)):
        raise ValueError('expected {"policy":…, "rules"|"foreign"|"ban_s":…} or {"headers"|"retry_after_s":…}')
    _order_policy(limiter, wanted, request.remote or "", sim.clock.now())
    if "headers" in wanted:
        if wanted["headers"] not in STYLES:
            raise ValueError(f"expected headers to be one of {', '.join(STYLES)}")
        limiter.style = wanted["headers"]
    if "retry_after_s" in wanted:
        limiter.retry_after_s = None if wanted["retry_after_s"] is None else _whole(wanted, "retry_after_s")
    return {policy: limiter.limits(policy) for policy in limiter.policies}


def _order_policy(limiter: Limiter, wanted: dict[str, Any], remote: str, now_s: float) -> None:
    """The orders that are of one policy."""
    who = {"ip": remote}
    if "rules" in wanted:
        rules = wanted["rules"]
        if not isinstance(rules, dict) or not all(isinstance(text, str) for text in rules.values()):
            raise ValueError('expected rules such as {"Ip": "2:1:60"}')
        limiter.change(wanted["policy"], rules)
    if "foreign" in wanted:
        limiter.foreign(wanted["policy"], who, _whole(wanted, "foreign"), now_s)
    if "ban_s" in wanted:
        limiter.ban(wanted["policy"], who, _whole(wanted, "ban_s"), now_s)


def _whole(wanted: dict[str, Any], name: str) -> int:
    value = wanted[name]
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{name}: expected a whole number from 0, not {value!r}")
    return value


async def end_tokens(request: web.Request) -> dict[str, Any]:
    """End every token; those who hold one get 401 from now on."""
    tokens = request.app[SIM].river.tokens
    tokens.invalidate()
    return {"issued": tokens.issued, "valid": tokens.valid}


async def ledger(request: web.Request) -> web.StreamResponse:
    """Every answer of the river, one ``audit.RiverEntry`` a line; ``?skip=`` leaves out the first ones."""
    skip = _number(request, "skip", 0)
    lines = request.app[SIM].river.audit.lines()
    return await _stream(request, lambda: islice(lines, int(skip), None))


async def truths(request: web.Request) -> web.StreamResponse:
    """A league's true prices at ``?at=`` (now): ``{"key", "identity", "chaos"}`` a line, or of ``?key=`` alone."""
    sim, realm, league = request.app[SIM], _realm(request), request.match_info["league"]
    at_s, key = _number(request, "at", sim.clock.now()), request.query.get("key")
    market = await asyncio.to_thread(sim.river.source.market, realm)
    if key is not None:
        found = {"key": key, "chaos": market.truth(league, key, at_s)}
        return web.Response(body=orjson.dumps(found), content_type="application/json")
    prices = market.truths(league, at_s)
    rows = ({"key": key, "identity": identity, "chaos": chaos} for key, identity, chaos in prices)
    return await _stream(request, lambda: (orjson.dumps(row) + b"\n" for row in rows))


async def sales(request: web.Request) -> web.StreamResponse:
    """Sales of a realm after ``?since=`` and up to ``?until=`` (now), one a line; see ``MadeRiver.sales``."""
    sim, realm = request.app[SIM], _realm(request)
    until_s = _number(request, "until", sim.clock.now())
    since_s = _number(request, "since", until_s - 3600.0)
    if not 0 <= until_s - since_s <= _SALES_SPAN_MAX_S:
        raise ValueError(f"expected since to be at most {_SALES_SPAN_MAX_S} seconds before until")
    found = await asyncio.to_thread(sim.river.source.sales, realm, since_s, until_s)
    return await _stream(request, lambda: (orjson.dumps(sale) + b"\n" for sale in found))


def _realm(request: web.Request) -> str:
    realm = request.match_info["realm"]
    if realm not in RIVER_REALMS:
        raise ValueError(f"unknown realm {realm!r}: expected one of {', '.join(RIVER_REALMS)}")
    return realm


def _number(request: web.Request, name: str, default: float) -> float:
    """A query parameter that is a number from 0; ValueError when it is none."""
    text = request.query.get(name)
    if text is None:
        return default
    value = float(text) if text.replace(".", "", 1).isdigit() and text.isascii() else -1.0
    if value < 0:
        raise ValueError(f"{name}: expected a number from 0, not {text!r}")
    return value


async def _stream(request: web.Request, lines: Callable[[], Iterator[bytes]]) -> web.StreamResponse:
    """NDJSON, made and sent a piece at a time."""
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    async for piece in _pieces(lines()):
        await response.write(piece)
    await response.write_eof()
    return response


async def _pieces(lines: Iterator[bytes]) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(lambda: b"".join(islice(lines, _CHUNK_LINES))):
        yield piece
