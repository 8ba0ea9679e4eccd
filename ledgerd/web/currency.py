"""Currency prices from memory: ``/v1/realms``, a league's prices, one price."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import orjson
from aiohttp import web
from yarl import URL

from ledgerd.clock import rfc3339
from ledgerd.errors import NotPricedYet
from ledgerd.ledger.freshness import Rules, Verdict, age_s, as_of_s, is_stale, judge, warning
from ledgerd.ledger.snapshot import Price, Snapshot
from ledgerd.web.answers import WAIT, answer, problem
from ledgerd.web.deps import DEPS, Deps
from ledgerd.web.params import count, number, only

LIMIT_MAX = 10_000
CACHE = "public, max-age=5"
LIST_PATH = "/v1/{realm}/{league}/currency"
ONE_PATH = "/v1/{realm}/{league}/currency/{currency:.+}"


def routes() -> list[web.RouteDef]:
    """The routes of this file; `ONE_PATH` swallows slashes, so it must be registered after ``…/history``."""
    return [web.get("/v1/realms", get_realms), web.get(ONE_PATH, get_one), web.get(LIST_PATH, get_list)]


async def get_realms(request: web.Request) -> web.StreamResponse:
    """Realms and leagues that have prices, each with its age; 503 before there are any. Never refused for age."""
    deps = request.app[DEPS]
    only(request.query, ())
    realms = deps.ledger.realms()
    snapshots = [snapshot for leagues in realms.values() for snapshot in leagues.values()]
    if not snapshots:
        raise NotPricedYet("There are no prices yet.", "See the sources: ledgerd status")
    return answer(
        {
            **_age(max(snapshot.as_of for snapshot in snapshots), deps),
            "realms": [_realm(realm, list(leagues.values()), deps) for realm, leagues in realms.items()],
        },
        headers={"Cache-Control": CACHE},
    )


async def get_list(request: web.Request) -> web.StreamResponse:
    """A league's prices, most traded first. The age of the answer is that of the league's newest hour."""
    deps, rules = request.app[DEPS], request.app[DEPS].freshness()
    only(request.query, ("min_confidence", "limit"))
    least_confidence = number(request.query, "min_confidence", 0.0, 0.0, 1.0)
    limit = count(request.query, "limit", LIMIT_MAX, LIMIT_MAX)
    snapshot = _snapshot(request)
    now_s = deps.clock.now()
    if (refused := refusal(request, age_s(snapshot.as_of, now_s), rules)) is not None:
        return refused
    stale_hours = {hour_s for hour_s in snapshot.hours_s if is_stale(age_s(as_of_s(hour_s), now_s), rules)}
    etag = _etag(snapshot, rules, max(stale_hours, default=0))
    if _has(request, etag):
        return web.Response(status=304, headers=_cached(etag))
    sure = [price for price in snapshot.prices if price.confidence >= least_confidence]
    served = [price for price in sure if rules.policy != "refuse" or price.hour_s not in stale_hours]
    body = {
        **_head(snapshot, snapshot.as_of, deps),
        "count": min(limit, len(served)),
        "total": len(snapshot.prices),
        "withheld": len(sure) - len(served),
        "prices": [price_json(price, now_s, rules) for price in served[:limit]],
    }
    return answer(body, headers=_cached(etag))


async def get_one(request: web.Request) -> web.StreamResponse:
    """One price by id, tag, name or alias. The age of the answer is that of the hour this price rests on."""
    deps, rules = request.app[DEPS], request.app[DEPS].freshness()
    only(request.query, ())
    snapshot = _snapshot(request)
    price = deps.ledger.price(snapshot, request.match_info["currency"])
    now_s = deps.clock.now()
    age = age_s(price.as_of, now_s)
    if (refused := refusal(request, age, rules)) is not None:
        return refused
    etag = _etag(snapshot, rules, int(is_stale(age, rules)))
    if _has(request, etag):
        return web.Response(status=304, headers=_cached(etag))
    body = {**_head(snapshot, price.as_of, deps), "price": price_json(price, now_s, rules)}
    return answer(body, headers=_cached(etag))


def price_json(price: Price, now_s: float, rules: Rules) -> orjson.Fragment:
    """A price as it stands in an answer: what never changes, made once, and its age now."""
    age = age_s(price.as_of, now_s)
    stale = b"true" if is_stale(age, rules) else b"false"
    return orjson.Fragment(b'%b,"age_s":%.1f,"stale":%b}' % (price.json_head, age, stale))


def refusal(request: web.Request, age: float, rules: Rules) -> web.Response | None:
    """The 503 for an answer of that age where the policy is to refuse; None if it may be served."""
    if judge(age, rules) is not Verdict.REFUSED:
        return None
    detail = warning(age, rules)
    hint = 'Stale prices are served, marked, with [freshness] policy = "serve"; why they are stale: ledgerd status'
    return problem(request, 503, "stale", detail[0].upper() + detail[1:] + ".", hint=hint, headers=WAIT)


def _snapshot(request: web.Request) -> Snapshot:
    names = request.match_info
    return request.app[DEPS].ledger.snapshot(names["realm"], names["league"])


def _age(as_of: int, deps: Deps) -> dict[str, Any]:
    """``as_of``, ``age_s`` and ``stale``; and ``warning``, if it is."""
    rules = deps.freshness()
    age = age_s(as_of, deps.clock.now())
    stale = is_stale(age, rules)
    fields = {"as_of": _text(as_of), "age_s": round(age, 1), "stale": stale}
    return {**fields, "warning": warning(age, rules)} if stale else fields


@lru_cache(maxsize=1024)
def _text(as_of: int) -> str:
    """The time in words, made once for an hour: it costs more than the rest of a look-up's own work."""
    return rfc3339(as_of)


def _head(snapshot: Snapshot, as_of: int, deps: Deps) -> dict[str, Any]:
    return {"realm": snapshot.realm, "league": snapshot.league, **_age(as_of, deps)}


def _realm(realm: str, snapshots: Sequence[Snapshot], deps: Deps) -> dict[str, Any]:
    newest = max((snapshot.as_of for snapshot in snapshots), default=None)
    unknown = {"as_of": None, "age_s": None, "stale": None}
    freshness = unknown if newest is None else _age(newest, deps)
    busiest_first = sorted(snapshots, key=lambda snapshot: (-snapshot.newest_hour_s, -len(snapshot.prices)))
    return {"realm": realm, **freshness, "leagues": [_league(snapshot, deps) for snapshot in busiest_first]}


def _league(snapshot: Snapshot, deps: Deps) -> dict[str, Any]:
    return {
        "league": snapshot.league,
        **_age(snapshot.as_of, deps),
        "currencies": len(snapshot.prices),
        "divine_in_chaos": snapshot.divine_in_chaos,
        "href": str(URL.build(path=f"/v1/{snapshot.realm}/{snapshot.league}/currency")),
    }


def _etag(snapshot: Snapshot, rules: Rules, staleness: int) -> str:
    """Weak: two answers of one tag differ in ``age_s`` alone."""
    return f'W/"{snapshot.tag}-{staleness:x}-{rules.policy}-{rules.currency_max_age_s:g}"'


def _has(request: web.Request, etag: str) -> bool:
    """True if the client's copy is still right."""
    asked = request.headers.get("If-None-Match", "")
    return asked.strip() == "*" or etag in (tag.strip() for tag in asked.split(","))


def _cached(etag: str) -> dict[str, str]:
    return {"ETag": etag, "Cache-Control": CACHE}
