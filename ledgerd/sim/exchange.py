"""The currency exchange as the public CDN serves it: ``GET /api/currency-exchange[/<realm>][/<unix hour>]``.

No credentials, no rate-limit headers, no ETag. Behaviour at the live edge is as observed, not as documented.
"""

import asyncio
import hashlib
from dataclasses import dataclass

import orjson
from aiohttp import web

from ledgerd.clock import HOUR_S
from ledgerd.sim.audit import Entry
from ledgerd.sim.delivery import deliver
from ledgerd.sim.faults import Answer, apply, error_body
from ledgerd.sim.state import SIM, Sim

_ID_DIGITS_MAX = 12
_INVALID_QUERY, _NOT_FOUND, _METHOD_NOT_ALLOWED = 2, 1, 9


@dataclass(frozen=True, slots=True)
class Found:
    """A true answer and what it is of."""

    answer: Answer
    realm: str | None = None
    hour: int | None = None
    markets: int = 0


def routes() -> list[web.RouteDef]:
    """The routes of this family."""
    return [
        web.route("*", "/api/currency-exchange", _handle),
        web.route("*", "/api/currency-exchange/{tail:.*}", _handle),
    ]


async def _handle(request: web.Request) -> web.StreamResponse:
    """Answer, spoil where a fault is due, and write it in the book."""
    sim = request.app[SIM]
    n, is_get = sim.audit.arrive(), request.method == "GET"
    found = await _find(sim, request)
    fault = sim.plan.take(n, found.hour, bool(found.markets)) if is_get else None
    answer = await asyncio.to_thread(apply, fault, found.answer, sim.plan.pick(n)) if fault else found.answer
    digest = None if answer.encoding else hashlib.sha256(answer.body).hexdigest()
    complete = False
    try:
        response, complete = await deliver(sim, request, answer, fault)
    finally:
        about = (request.method, found.realm, found.hour, answer.status, fault, found.markets, digest, complete)
        sim.audit.write(Entry(n, sim.clock.now(), *about))
    return response


async def _find(sim: Sim, request: web.Request) -> Found:
    """The true answer to a request."""
    if request.method not in {"GET", "HEAD"}:
        return Found(
            Answer(405, error_body(_METHOD_NOT_ALLOWED, "Method not allowed"), headers=(("Allow", "GET, HEAD"),))
        )
    realm, wanted = _parse(request.match_info.get("tail", ""))
    if realm not in sim.source.realms:
        return Found(Answer(404, error_body(_NOT_FOUND, "Resource not found")))
    if wanted is not None and not _is_hour(wanted):
        return Found(Answer(400, error_body(_INVALID_QUERY, "Invalid query")), realm)
    now_s = sim.clock.now()
    hour = sim.timetable.oldest(realm) if wanted is None else int(wanted)
    if not sim.timetable.is_published(realm, hour, now_s):
        return Found(_unpublished(sim.timetable.following(realm, hour, now_s)), realm, hour)
    body = await asyncio.to_thread(sim.source.body, realm, hour)
    return Found(Answer(200, body), realm, hour, len(orjson.loads(body)["markets"]))


def _is_hour(text: str) -> bool:
    """Whether ``text`` is the unix second of an hour's beginning."""
    return text.isascii() and text.isdigit() and len(text) <= _ID_DIGITS_MAX and int(text) % HOUR_S == 0


def _parse(tail: str) -> tuple[str, str | None]:
    """Realm and id out of what follows the endpoint. No realm means ``pc``, which upstream has no other name for.

    >>> _parse(""), _parse("poe2"), _parse("3600"), _parse("sony/3600")
    (('pc', None), ('poe2', None), ('pc', '3600'), ('sony', '3600'))
    """
    first, *rest = tail.split("/")
    if first in {"xbox", "sony", "poe2"}:
        return first, "/".join(rest) if rest else None
    return "pc", tail or None


def _unpublished(next_change_id: int) -> Answer:
    """The 404 of an hour not published, or one that never will be: it names the hour to ask for next."""
    return Answer(404, orjson.dumps({"next_change_id": next_change_id, "markets": []}))
