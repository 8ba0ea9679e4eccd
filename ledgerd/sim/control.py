"""The stand-in's own routes under ``/_sim/``: order faults, move the edge, read the books and the truth."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

import orjson
from aiohttp import web

from ledgerd.clock import HOUR_S
from ledgerd.sim import river_control
from ledgerd.sim.faults import read_orders
from ledgerd.sim.state import SIM, Sim

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def routes() -> list[web.RouteDef]:
    """The routes of this family."""
    return [
        web.post("/_sim/faults", _plain(_order_faults)),
        web.post("/_sim/edge", _plain(_move_edge)),
        web.get("/_sim/ledger", _ledger),
        web.get("/_sim/hour/{realm}/{hour}", _plain(_true_hour)),
        web.get("/_sim/truth/{realm}/{league}/{hour}", _plain(_truth)),
        web.get("/_sim/state", _plain(_state)),
        web.post("/_sim/limits", _told(river_control.order_limits)),
        web.post("/_sim/tokens", _told(river_control.end_tokens)),
        web.get("/_sim/river-ledger", _plain(river_control.ledger)),
        web.get("/_sim/truth-items/{realm}/{league}", _plain(river_control.truths)),
        web.get("/_sim/sales/{realm}", _plain(river_control.sales)),
    ]


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(value), content_type="application/json")


def _plain(handler: Handler) -> Handler:
    """``handler``, with a ValueError told to the caller as a 400 ``{"error": "…"}``."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except ValueError as error:
            return _json({"error": str(error)}, 400)

    return guarded


def _told(order: Callable[[web.Request], Awaitable[dict[str, Any]]]) -> Handler:
    """An order whose answer is what it tells, as JSON; a ValueError as ``_plain``."""

    async def answered(request: web.Request) -> web.StreamResponse:
        return _json(await order(request))

    return _plain(answered)


async def _body(request: web.Request) -> Any:  # noqa: ANN401 - whatever JSON was sent
    """The request's JSON; a ValueError when it is none."""
    return orjson.loads(await request.read())


async def _order_faults(request: web.Request) -> web.Response:
    """Append the orders in the body to the queue: ``["html", {"fault": "reset", "hour": 1787086800}]``."""
    sim = request.app[SIM]
    sim.plan.order(read_orders(await _body(request)))
    return _json({"waiting": _waiting(sim)})


def _waiting(sim: Sim) -> list[dict[str, Any]]:
    return [asdict(order) for order in sim.plan.waiting]


async def _move_edge(request: web.Request) -> web.Response:
    """Move the manual edge: ``{"advance": hours}`` or ``{"hour": unix seconds}``."""
    sim, wanted = request.app[SIM], await _body(request)
    if not isinstance(wanted, dict) or set(wanted) not in ({"advance"}, {"hour"}):
        raise ValueError('expected {"advance": hours} or {"hour": unix seconds}')
    ((name, value),) = wanted.items()
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{name}: expected a whole number, not {value!r}")  # noqa: TRY004 - the caller's input
    (sim.timetable.advance if name == "advance" else sim.timetable.move)(value)
    return _json({"edge": {realm: sim.timetable.edge(realm, sim.clock.now()) for realm in sim.source.realms}})


async def _ledger(request: web.Request) -> web.Response:
    """Every answer served, one JSON object a line; see ``audit.Entry``."""
    lines = b"".join(request.app[SIM].audit.lines())
    return web.Response(body=lines, content_type="application/x-ndjson")


def _place(request: web.Request) -> tuple[Sim, str, int]:
    """The realm and hour a path names; ValueError when there are no such ones."""
    sim, realm, hour = request.app[SIM], request.match_info["realm"], request.match_info["hour"]
    if realm not in sim.source.realms:
        raise ValueError(f"unknown realm {realm!r}: expected one of {', '.join(sim.source.realms)}")
    if not hour.isdecimal() or int(hour) % HOUR_S:
        raise ValueError(f"hour {hour!r}: expected unix seconds at the start of an hour")
    return sim, realm, int(hour)


async def _true_hour(request: web.Request) -> web.Response:
    """The true body of an hour, published or not; 404 for a gap."""
    sim, realm, hour = _place(request)
    if not sim.source.exists(realm, hour):
        return _json({"error": f"hour {hour} of {realm} never comes to be"}, 404)
    return web.Response(body=await asyncio.to_thread(sim.source.body, realm, hour), content_type="application/json")


async def _truth(request: web.Request) -> web.Response:
    """Currency → true value in chaos."""
    sim, realm, hour = _place(request)
    return _json(await asyncio.to_thread(sim.source.truth, realm, request.match_info["league"], hour))


async def _state(request: web.Request) -> web.Response:
    """Where the stand-in stands."""
    sim = request.app[SIM]
    now_s, realms, table = sim.clock.now(), sim.source.realms, sim.timetable
    return _json(
        {
            "now": now_s,
            "edge_mode": "manual" if table.is_manual else "clock",
            "edge": {realm: table.edge(realm, now_s) for realm in realms},
            "oldest": {realm: table.oldest(realm) for realm in realms},
            "leagues": {realm: await asyncio.to_thread(sim.source.leagues, realm) for realm in realms},
            "faults_waiting": _waiting(sim),
            "answers": sim.audit.written,
            "dropped": sim.audit.dropped,
            "river": await asyncio.to_thread(river_control.river_state, sim),
        }
    )
