"""A currency's past prices, asked of the engine: bounded, a few at a time."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from ledgerd.clock import HOUR_S, rfc3339
from ledgerd.ledger.freshness import age_s, is_stale
from ledgerd.store.engine import Row
from ledgerd.web.answers import BadRequest, answer
from ledgerd.web.deps import DEPS, Deps, turn
from ledgerd.web.params import choice, moment, only

HISTORY_PATH = "/v1/{realm}/{league}/currency/{currency:.+}/history"
POINTS_MAX = 2_000
TIMEOUT_S = 10.0
STEPS_S = {"hour": HOUR_S, "day": 24 * HOUR_S}
DEFAULT_POINTS = {"hour": 7 * 24, "day": 90}
FIELDS = ("chaos", "divine", "open", "high", "low", "units", "confidence", "low_sample", "hours")


def routes() -> list[web.RouteDef]:
    """The routes of this file."""
    return [web.get(HISTORY_PATH, get_history)]


async def get_history(request: web.Request) -> web.StreamResponse:
    """Prices of a currency by hour or by day, oldest first; spans without trade have no point."""
    deps = request.app[DEPS]
    only(request.query, ("from", "to", "step"))
    span = _span(request.query, deps.clock.now())
    snapshot = deps.ledger.snapshot(request.match_info["realm"], request.match_info["league"])
    currency = deps.ledger.currency_id(snapshot, request.match_info["currency"])
    params = {"realm": snapshot.realm, "league": snapshot.league, "currency": currency, **span}
    async with turn(request.app):
        rows = await deps.engine.rows(deps.queries["ledger_history"], params, timeout_s=TIMEOUT_S)
    body = {
        "realm": snapshot.realm,
        "league": snapshot.league,
        "id": currency,
        "name": deps.ledger.label(snapshot.realm, currency),
        **_age(rows, deps),
        "from": rfc3339(span["from_s"]),
        "to": rfc3339(span["to_s"]),
        "step": "day" if span["step_s"] > HOUR_S else "hour",
        "points": [_point(row) for row in rows],
    }
    return answer(body, headers={"Cache-Control": "public, max-age=60"})


def _span(query: Mapping[str, str], now_s: float) -> dict[str, int]:
    """``from_s`` (its span's beginning), ``to_s`` and ``step_s`` of a query; BadRequest if they make no sense."""
    step = choice(query, "step", tuple(STEPS_S), "hour")
    step_s = STEPS_S[step]
    to_s = moment(query, "to", int(now_s))
    from_s = moment(query, "from", max(0, to_s - DEFAULT_POINTS[step] * step_s)) // step_s * step_s
    if from_s >= to_s:
        raise BadRequest(f"from ({rfc3339(from_s)}) is not before to ({rfc3339(to_s)}).", "Swap them.")
    points = -(-(to_s - from_s) // step_s)
    if points > POINTS_MAX:
        hint = f"Ask for at most {POINTS_MAX} points: a shorter time" + (", or step=day." if step == "hour" else ".")
        raise BadRequest(f"From {rfc3339(from_s)} to {rfc3339(to_s)} there are {points} {step}s.", hint)
    return {"from_s": from_s, "to_s": to_s, "step_s": step_s}


def _age(rows: list[Row], deps: Deps) -> dict[str, Any]:
    """How old the newest point is. History is never refused for age: being old is what it is for."""
    if not rows:
        return {"as_of": None, "age_s": None, "stale": None}
    as_of = rows[-1][1]
    age = age_s(as_of, deps.clock.now())
    return {"as_of": rfc3339(as_of), "age_s": round(age, 1), "stale": is_stale(age, deps.freshness())}


def _point(row: Row) -> dict[str, Any]:
    begin_s, as_of_s, *values = row
    return {"begin": rfc3339(begin_s), "as_of": rfc3339(as_of_s), **dict(zip(FIELDS, values, strict=True))}
