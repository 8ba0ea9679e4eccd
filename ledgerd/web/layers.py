"""How fresh each layer of a league is: what is stored, what is refined, what is priced."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache

from aiohttp import web
from pydantic import with_config
from typing_extensions import TypedDict

from ledgerd.clock import HOUR_S, UPSTREAM_DELAY_S
from ledgerd.config import Limit
from ledgerd.etl.plan import EXCHANGE, RIVER
from ledgerd.etl.runner import load_steps
from ledgerd.ledger.shape import SHAPE
from ledgerd.status import EtlStatus, LaneStatus
from ledgerd.store.queries import load_queries
from ledgerd.web.ages import NO_AGE, MaybeAged, aged
from ledgerd.web.answers import answer
from ledgerd.web.copies import CACHE
from ledgerd.web.deps import DEPS, turn
from ledgerd.web.endpoint import Endpoint
from ledgerd.web.history import TIMEOUT_S
from ledgerd.web.items import Place
from ledgerd.web.params import Nothing

SQL = load_queries("api.sql")


@with_config(SHAPE)
class Layers(TypedDict):
    """How far each layer is; null where this daemon has nothing of the league, or nothing at work on it."""

    bronze: MaybeAged
    """The newest of the league that is stored as upstream said it."""
    silver: MaybeAged
    """What upstream said until then is refined, by the slowest step."""
    gold: MaybeAged
    """What upstream said until then is in the prices, by the slowest step."""


@with_config(SHAPE)
class Freshness(Place):
    """How fresh each layer of a league is. Prices say themselves how old they are; this says where time is lost."""

    currency: Layers
    """Through the exchange. An hour counts by its end."""
    items: Layers
    """Through the river of public stashes, whose own delay is taken off."""


async def get_freshness(request: web.Request, asked: Nothing) -> web.StreamResponse:
    """How fresh each layer of a league is: what is stored, refined and priced of its currencies and its items."""
    deps, names = request.app[DEPS], request.match_info
    market, status, now_s = deps.ledger.market(names["realm"], names["league"]), deps.status(), deps.clock.now()
    exchange, river = f"{EXCHANGE}-{market.realm}", f"{RIVER}-{market.realm}"
    stored = {(lane.source, lane.league): lane for lane in status.lanes if lane.stored}
    freshness = deps.freshness()
    currency = await _currency(request, stored.get((exchange, market.league)), _of(status.etl, exchange, None))
    items = _items(stored.get((river, market.league)), _of(status.etl, river, market.league))
    body = {
        "realm": market.realm,
        "league": market.league,
        "currency": _layers(currency, now_s, freshness.limit("currency", "currency")),
        "items": _layers(items, now_s, freshness.limit("items", "items")),
    }
    return answer(body, headers={"Cache-Control": CACHE})


@cache
def _hourly() -> frozenset[str]:
    """The steps that wait for the end of an hour: nobody is late who has not done the one under way."""
    return frozenset(step.name for step in load_steps() if step.every == "hour")


def _of(steps: Iterable[EtlStatus], source: str, league: str | None) -> list[list[EtlStatus]]:
    """The steps of silver and those of gold that refine the league."""
    own = [each for each in steps if (each.source, each.league) == (source, league) and each.step not in _hourly()]
    return [[each for each in own if each.step.startswith(layer)] for layer in ("silver_", "gold_")]


async def _currency(
    request: web.Request, lane: LaneStatus | None, steps: Sequence[Sequence[EtlStatus]]
) -> list[float | None]:
    """How far bronze, silver and gold are, unix seconds: by the hours of the last batch each step has done."""
    last = [min((step.watermark for step in layer), default=-1) for layer in steps]
    params = {"source": steps[0][0].source if steps[0] else "", "seqs": [seq for seq in last if seq >= 0]}
    async with turn(request.app):
        ends: dict[int, int] = dict(await request.app[DEPS].engine.rows(SQL["batch_ends"], params, timeout_s=TIMEOUT_S))
    newest_hour = lane.newest_hour if lane else None
    return [None if newest_hour is None else _unix_s(newest_hour) + HOUR_S, *(ends.get(seq) for seq in last)]


def _items(lane: LaneStatus | None, steps: Sequence[Sequence[EtlStatus]]) -> list[float | None]:
    """The same of items: by when the last batch each step has done was fetched."""
    moments = [lane.last_ingest_time if lane else None, *(_done_until(layer) for layer in steps)]
    return [None if text is None else _unix_s(text) - UPSTREAM_DELAY_S for text in moments]


def _done_until(steps: Sequence[EtlStatus]) -> str | None:
    """When what the slowest step did last was fetched; None if one has done nothing."""
    return min((step.done_until or "" for step in steps), default="") or None


def _layers(as_of: Sequence[float | None], now_s: float, limit: Limit) -> Layers:
    bronze, silver, gold = [NO_AGE if each is None else _age(each, now_s, limit) for each in as_of]
    return Layers(bronze=bronze, silver=silver, gold=gold)


def _age(as_of: float, now_s: float, limit: Limit) -> MaybeAged:
    """The age of a layer; in words it would be told of prices."""
    told = aged(as_of, now_s, limit)
    return MaybeAged(as_of=told["as_of"], age_s=told["age_s"], stale=told["stale"])


def _unix_s(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


ENDPOINTS = (Endpoint("/v1/{realm}/{league}/freshness", get_freshness, Freshness, example="/v1/pc/Mirage/freshness"),)
