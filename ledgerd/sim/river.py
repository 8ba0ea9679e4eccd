"""The river and the leagues as the API serves them: ``GET /public-stash-tabs[/<realm>]?id=`` and ``GET /league``.

A token first, then the rate limit, then the rest: an answer without a good token says nothing of limits. Every 4xx
counts as an invalid request.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import orjson
from aiohttp import web

from ledgerd.sim.audit import RiverEntry
from ledgerd.sim.delivery import deliver
from ledgerd.sim.faults import Answer, apply, error_body
from ledgerd.sim.limits import Verdict
from ledgerd.sim.river_faults import replaced, spoiled
from ledgerd.sim.river_page import Page
from ledgerd.sim.river_source import RIVER_REALMS
from ledgerd.sim.state import SIM, River, Sim
from ledgerd.sim.timeline import parse_id
from ledgerd.sim.world import REALMS, realm_of

LEAGUE_POLICY = "league-request-limit"
LIMIT_CHANGES = ("1:1:60", "4:2:60,30:60:120", "2:1:60")
"""What the river's Ip limits become, one after another, at every ``limit_change``."""
_GZIP_LEVEL = 1  # about six to one, as upstream's was measured, at a third of the work
_CLIENT_ERROR, _SERVER_ERROR = 400, 500


def policy_of(realm: str) -> str:
    """The name of a river's rate-limit policy."""
    return f"public-stash-tabs-request-limit-{realm}"


def policies() -> dict[str, dict[str, str]]:
    """The limits of the API's host: the river's and the token endpoint's as observed, the leagues' our own."""
    rivers = {policy_of(realm): {"Ip": "2:1:60"} for realm in RIVER_REALMS}
    return {**rivers, LEAGUE_POLICY: {"Client": "5:10:60"}, "oauth-token-request-limit": {"Ip": "60:30:30"}}


def routes() -> list[web.RouteDef]:
    """The routes of this family."""
    return [
        web.route("*", "/public-stash-tabs", _handle),
        web.route("*", "/public-stash-tabs/{realm}", _handle),
        web.route("*", "/league", _leagues),
    ]


async def _handle(request: web.Request) -> web.StreamResponse:
    """Answer, spoil where a fault is due, and write it in the book."""
    sim = request.app[SIM]
    river, n = sim.river, sim.river.audit.arrive()
    realm = request.match_info.get("realm", "pc")
    answer = _refusal(sim, request, realm, policy_of(realm), "service:psapi")
    page, fault, struck = None, None, None
    if answer.status < _CLIENT_ERROR:
        counters = parse_id(request.query.get("id", "")) if request.query.get("id") else None
        page = await asyncio.to_thread(river.source.page, realm, counters, sim.clock.now(), n)
        fault = sim.plan.take(n, None, any(p.items for p in page.pieces), "river") if request.method == "GET" else None
        page, answer, struck = await asyncio.to_thread(
            _answer, sim, request, realm, page=page, allowed=answer, fault=fault, n=n
        )
    if _CLIENT_ERROR <= answer.status < _SERVER_ERROR:
        river.refused("river")
    served = page if request.method == "GET" else None
    entry = await asyncio.to_thread(_entry, served, n, realm, request.query.get("id"))
    entry = replace(entry, status=answer.status, fault=fault, struck=struck)
    complete = False
    try:
        response, complete = await deliver(sim, request, answer, fault)
    finally:
        river.audit.write(replace(entry, at=sim.clock.now(), complete=complete))
    return response


def _refusal(sim: Sim, request: web.Request, realm: str, policy: str, scope: str) -> Answer:
    """The answer to a request that may not have what it asks for; else an empty one of 200 with the limits' headers."""
    river = sim.river
    river.agents_wrong += not request.headers.get("User-Agent", "").startswith(f"OAuth {river.client_id}/")
    if request.method not in {"GET", "HEAD"}:
        return Answer(405, error_body(9, "Method not allowed"), headers=(("Allow", "GET, HEAD"),))
    if realm not in RIVER_REALMS and scope == "service:psapi":
        return Answer(404, error_body(1, "Resource not found"))
    scopes = river.tokens.scopes(request.headers.get("Authorization", ""))
    if scopes is None:
        return Answer(401, orjson.dumps({"error": "invalid_token"}), headers=(("WWW-Authenticate", "Bearer"),))
    verdict = river.limiter.hit(policy, _who(river, request), sim.clock.now())
    return _judged(request, verdict, has_scope=scope in scopes)


def _judged(request: web.Request, verdict: Verdict, *, has_scope: bool) -> Answer:
    """What follows from the limits, the token's scope and the id."""
    if not verdict.passes:
        return Answer(429, error_body(3, "Rate limit exceeded"), headers=verdict.headers)
    if not has_scope:
        return Answer(403, error_body(6, "Forbidden"), headers=verdict.headers)
    wanted = request.query.get("id", "")
    if wanted and parse_id(wanted) is None:
        return Answer(400, error_body(2, "Invalid query"), headers=verdict.headers)
    return Answer(200, b"", headers=verdict.headers, gzip_level=_GZIP_LEVEL)


def _who(river: River, request: web.Request) -> Mapping[str, str]:
    return {"ip": request.remote or "", "client": river.client_id, "account": "StandIn#0001"}


def _answer(
    sim: Sim, request: web.Request, realm: str, *, page: Page, allowed: Answer, fault: str | None, n: int
) -> tuple[Page | None, Answer, str | None]:
    """The page a client can read if any, the answer with it, and the stash struck if one was."""
    pick, struck = sim.plan.pick(n), None
    if fault:
        _outward(sim, realm, fault)
        other = replaced(fault, allowed, pick) if fault not in {"reset", "hang", "slow", "truncated_gzip"} else None
        if other is not None:
            return None, other, None
        page, struck = spoiled(fault, page, realm, sim.river.source, pick)
    if fault == "limit_change":
        told = sim.river.limiter.told(policy_of(realm), _who(sim.river, request), sim.clock.now())
        allowed = replace(allowed, headers=told)
    told_id = page.header_id or page.next_id
    answer = replace(allowed, body=page.written(), headers=(*allowed.headers, ("X-Next-Change-Id", told_id)))
    if fault == "truncated_gzip":
        return None, apply(fault, answer, pick), None
    return page, answer, struck


def _outward(sim: Sim, realm: str, fault: str) -> None:
    """What a fault changes beyond its own answer."""
    river = sim.river
    if fault == "invalid_token":
        river.tokens.invalidate()
    if fault == "limit_change":
        river.limiter.change(policy_of(realm), {"Ip": LIMIT_CHANGES[river.limit_changes % len(LIMIT_CHANGES)]})
        river.limit_changes += 1


def _entry(page: Page | None, n: int, realm: str, asked: str | None) -> RiverEntry:
    """What the book says of a page, as far as the page tells."""
    if page is None:
        return RiverEntry(n=n, realm=realm, asked=asked)
    stashes = [(p.stash_id, p.sha256(), p.league, p.items, p.public) for p in page.pieces]
    return RiverEntry(n, realm, asked, page.next_id, page.header_id or page.next_id, stashes=stashes)


async def _leagues(request: web.Request) -> web.StreamResponse:
    """The public leagues of a realm."""
    sim, realm = request.app[SIM], request.query.get("realm") or "pc"
    answer = _refusal(sim, request, realm, LEAGUE_POLICY, "service:leagues")
    if answer.status < _CLIENT_ERROR:
        known = realm in REALMS and request.query.get("type", "main") == "main"
        body = orjson.dumps({"leagues": _league_list(realm)}) if known else error_body(2, "Invalid query")
        answer = replace(answer, status=200 if known else 400, body=body)
    if answer.status >= _CLIENT_ERROR:
        sim.river.refused("league")
    response, _ = await deliver(sim, request, answer, None)
    return response


def _league_list(realm: str) -> list[dict[str, object]]:
    """Leagues in the documented shape; private ones are not listed."""
    names = [league.name for league in realm_of(realm).leagues if "(PL" not in league.name]
    return [
        {
            "id": name,
            "realm": realm,
            "description": f"The {name} league.",
            "rules": [{"id": "Hardcore", "name": "Hardcore"}] if "Hardcore" in name or name.startswith("HC ") else [],
            "registerAt": "2026-07-24T19:00:00Z",
            "event": False,
            "startAt": "2013-01-23T21:00:00Z" if name == "Standard" else "2026-07-24T20:00:00Z",
            "endAt": None,
            "scoreEvent": False,
            "delveEvent": realm != "poe2",
            "category": {"id": name, **({} if name == "Standard" else {"current": True})},
        }
        for name in names
    ]
