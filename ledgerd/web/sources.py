"""What is behind the prices: the sources with their progress, what they missed, and the runs of ETL."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field, with_config
from typing_extensions import TypedDict

from ledgerd.clock import hour_of, rfc3339
from ledgerd.errors import NotKnown
from ledgerd.etl.plan import EXCHANGE
from ledgerd.etl.runner import load_steps
from ledgerd.ledger.items import Cursor
from ledgerd.ledger.shape import SHAPE, Moment
from ledgerd.spelling import nearest
from ledgerd.status import EtlState, EtlStatus, SourceState, SourceStatus
from ledgerd.store.engine import Row
from ledgerd.store.queries import load_queries
from ledgerd.web.answers import answer
from ledgerd.web.copies import CACHE
from ledgerd.web.deps import DEPS, turn
from ledgerd.web.endpoint import Endpoint
from ledgerd.web.history import TIMEOUT_S
from ledgerd.web.pages import after_of
from ledgerd.web.params import SHOWN_MAX, Nothing, count, words
from ledgerd.web.rows import cursor, next_cursor

NAME_CHARS_MAX = 100
LIMIT_MAX = 1_000
RECENT_S = 900.0
"""The pace of a backfill is that of the last quarter of an hour."""
FOUND_MS_MAX = 2**53
"""Beyond it a number of JSON is no longer exact."""
SQL = load_queries("api.sql")
_PATH = re.compile(r"(?<![\w/:.])(?:/[^\s/'\"`()<>,;:]+){2,}/?")


@with_config(SHAPE)
class Backfill(TypedDict):
    """How far an exchange's past is stored."""

    from_: Annotated[Moment, Field(alias="from")]
    """Where it began."""
    at: Moment
    """Up to there every hour is stored, or known to be missing."""
    to: Moment
    """Where it ends: the end of the last hour that is over."""
    share: float
    """How much of it is done, 0 to 1."""
    left_s: float | None
    """How long the rest takes at the pace of the last quarter of an hour; null where nobody can say."""


@with_config(SHAPE)
class SourceAnswer(TypedDict):
    """One stream of upstream's; its states are those of ``/status``."""

    name: str
    kind: str
    """``exchange`` or ``river``, the stream of public stashes."""
    realm: str
    state: SourceState
    cursor: str | None
    """What is asked for next."""
    lag_s: float | None
    """How far what is stored is behind upstream's events, seconds; null while that is not known."""
    pages_behind: int | None
    """Pages of a river that wait to be stored; null while catching up."""
    gaps: int
    """Spans found missing, ever."""
    last_ingest_time: Moment | None
    """When something was last stored, since the daemon started."""
    last_error: str | None
    backfill: Backfill | None
    """Of an exchange with anything stored; a river begins where it is met."""


@with_config(SHAPE)
class Sources(TypedDict):
    """All sources of this daemon."""

    sources: list[SourceAnswer]


@with_config(SHAPE)
class Gap(TypedDict):
    """A span that upstream no longer had, or never had."""

    from_: Annotated[Moment | None, Field(alias="from")]
    """Null where the cursors do not tell times."""
    to: Moment | None
    cursor_from: str
    cursor_to: str
    reason: str
    batch_id: str
    found_at: Moment


@with_config(SHAPE)
class Gaps(TypedDict):
    """What a source missed, newest first."""

    source: str
    count: int
    """How many stand in this answer."""
    next: str | None
    """What ``cursor`` must be for those before; null at the end."""
    gaps: list[Gap]


@with_config(SHAPE)
class EtlRun(TypedDict):
    """A run of a step on a batch. Of exchanges every run is logged, of rivers those that failed."""

    step: str
    source: str
    leagues: list[str]
    """The lanes it ran for; empty: all of the source."""
    seq: int
    """The batch's number."""
    batch_id: str
    started_at: Moment
    took_s: float
    rows: int
    outcome: str
    """``ok`` or ``failed``."""
    error: str | None


@with_config(SHAPE)
class EtlStep(TypedDict):
    """How far one step is, of a river for one league."""

    step: str
    source: str
    league: str | None
    """Null of an exchange, which is refined as a whole."""
    state: EtlState
    watermark: int
    """The number of the last batch done; below 0: none."""
    behind: int
    """Batches that wait."""
    behind_s: float | None
    """How much later than the last batch done the newest was fetched; null where none is done."""
    done_until: Moment | None
    """When the last batch it had to do with was fetched."""
    took_s: float | None
    """What that took."""
    last_error: str | None


@with_config(SHAPE)
class Etl(TypedDict):
    """How every step stands, as in ``/status``, and the last runs, newest first."""

    steps: list[EtlStep]
    runs: list[EtlRun]


@dataclass(frozen=True, slots=True, kw_only=True)
class GapsQuery:
    """Parameters of a list of gaps."""

    limit: int = count(100, most=LIMIT_MAX, about="At most that many, newest first")
    cursor: Cursor | None = cursor(about="Go on after the answer whose `next` this was")


@dataclass(frozen=True, slots=True, kw_only=True)
class EtlQuery:
    """Parameters of ETL."""

    step: str = words("", chars_max=NAME_CHARS_MAX, about="Only this step, such as `gold_item_prices`")
    source: str = words("", chars_max=NAME_CHARS_MAX, about="Only of this source, such as `river-pc`")
    limit: int = count(50, most=LIMIT_MAX, about="At most that many runs")


async def get_sources(request: web.Request, asked: Nothing) -> web.StreamResponse:
    """The sources: their state, cursor, lag and gaps, and how far the past of an exchange is stored."""
    deps = request.app[DEPS]
    now_s, sources = deps.clock.now(), deps.status().sources
    exchanges = [source.name for source in sources if source.kind == EXCHANGE]
    params = {"sources": exchanges, "since": datetime.fromtimestamp(now_s - RECENT_S, UTC)}
    async with turn(request.app):
        gaps: dict[str, int] = dict(await deps.engine.rows(SQL["gap_counts"], timeout_s=TIMEOUT_S))
        progress = await deps.engine.rows(SQL["exchange_progress"], params, timeout_s=TIMEOUT_S)
    known = {row[0]: row[1:] for row in progress}
    told = [_source(source, gaps.get(source.name, 0), known.get(source.name), now_s) for source in sources]
    return answer({"sources": told}, headers={"Cache-Control": CACHE})


async def get_gaps(request: web.Request, asked: GapsQuery) -> web.StreamResponse:
    """The spans a source missed, for upstream no longer had them, newest first."""
    deps, source = request.app[DEPS], request.match_info["source"]
    names = {each.name for each in deps.status().sources}
    after_ms, after = after_of(asked.cursor, FOUND_MS_MAX)
    params = {"source": source, "after_ms": after_ms, "after": after, "most": asked.limit + 1}
    async with turn(request.app):
        rows = await deps.engine.rows(SQL["gaps"], params, timeout_s=TIMEOUT_S)
    if not rows:
        _check("source", source, names, "/v1/sources")
    gaps = rows[: asked.limit]
    last = Cursor(gaps[-1][-1], gaps[-1][2]) if len(rows) > len(gaps) else None
    body = {"source": source, "count": len(gaps), "next": next_cursor(last), "gaps": [_gap(row) for row in gaps]}
    return answer(body, headers={"Cache-Control": CACHE})


async def get_etl(request: web.Request, asked: EtlQuery) -> web.StreamResponse:
    """How far every step of ETL is, and its last runs: what each took, what it wrote, why it failed."""
    deps = request.app[DEPS]
    steps = deps.status().etl
    params = {"step": asked.step, "source": asked.source, "most": asked.limit}
    async with turn(request.app):
        rows = await deps.engine.rows(SQL["etl_runs"], params, timeout_s=TIMEOUT_S)
    if not rows:
        _check("step", asked.step, _step_names())
        _check("source", asked.source, {each.source for each in steps})
    shown = [each for each in steps if asked.step in {"", each.step} and asked.source in {"", each.source}]
    body = {"steps": [_step(each) for each in shown], "runs": [_run(row) for row in rows]}
    return answer(body, headers={"Cache-Control": CACHE})


def without_paths(text: str) -> str:
    """An error without the paths of the machine it happened on.

    >>> without_paths("Cannot open /var/lib/ledgerd/db/x.bin: code 74. See pc/Mirage and https://h/api/x")
    'Cannot open …: code 74. See pc/Mirage and https://h/api/x'
    """
    return _PATH.sub("…", text)


def backfill(first_s: int, done_s: int, now_s: float, *, pace: float | None) -> dict[str, Any]:
    """How far an exchange that began with the hour ``first_s`` and has all up to ``done_s`` is, as a `Backfill`.

    ``pace``: seconds of its past it stores in a second; while it does, the end moves on by one.
    """
    to_s = max(done_s, hour_of(now_s))
    left = None if pace is None or pace <= 1 else round((to_s - done_s) / (pace - 1), 1)
    return {
        "from": rfc3339(first_s),
        "at": rfc3339(done_s),
        "to": rfc3339(to_s),
        "share": round((done_s - first_s) / (to_s - first_s), 4) if to_s > first_s else 1.0,
        "left_s": 0.0 if done_s == to_s else left,
    }


def _source(source: SourceStatus, gaps: int, progress: Row | None, now_s: float) -> Mapping[str, Any]:
    told = None
    if progress is not None:
        first_s, done_s, recent_from_s, recent_to_s, recent_took_s = progress
        is_moving = source.state is SourceState.CATCHING_UP and recent_took_s > 0
        pace = (recent_to_s - recent_from_s) / recent_took_s if is_moving else None
        told = backfill(first_s, done_s, now_s, pace=pace)
    return {
        "name": source.name,
        "kind": source.kind,
        "realm": source.realm,
        "state": source.state,
        "cursor": source.cursor,
        "lag_s": source.lag_s,
        "pages_behind": source.pages_behind,
        "gaps": gaps,
        "last_ingest_time": source.last_ingest_time,
        "last_error": _told(source.last_error),
        "backfill": told,
    }


def _gap(row: Row) -> Mapping[str, Any]:
    from_s, to_s, cursor_from, cursor_to, reason, batch_id, found_ms = row
    return {
        "from": None if from_s is None else rfc3339(from_s),
        "to": None if to_s is None else rfc3339(to_s),
        "cursor_from": cursor_from,
        "cursor_to": cursor_to,
        "reason": reason,
        "batch_id": batch_id,
        "found_at": rfc3339(found_ms / 1000),
    }


def _run(row: Row) -> EtlRun:
    step, source, leagues, seq, batch_id, started_s, took_s, rows, outcome, error = row
    return EtlRun(
        step=step,
        source=source,
        leagues=leagues,
        seq=seq,
        batch_id=batch_id,
        started_at=rfc3339(started_s),
        took_s=round(took_s, 3),
        rows=rows,
        outcome=outcome,
        error=_told(error),
    )


def _step(standing: EtlStatus) -> EtlStep:
    return EtlStep(
        step=standing.step,
        source=standing.source,
        league=standing.league,
        state=standing.state,
        watermark=standing.watermark,
        behind=standing.behind,
        behind_s=standing.behind_s,
        done_until=standing.done_until,
        took_s=standing.took_s,
        last_error=_told(standing.last_error),
    )


@cache
def _step_names() -> frozenset[str]:
    """All steps there are, whether they have anything to do yet or not."""
    return frozenset(step.name for step in load_steps())


def _told(error: str | None) -> str | None:
    return without_paths(error) if error else None


def _check(kind: str, asked: str, known: Collection[str], where: str = "/v1/etl") -> None:
    """NotKnown if something of that name was asked for and there is none."""
    if asked and asked not in known:
        near = nearest(asked, known) or tuple(sorted(known)[:5])
        raise NotKnown(f"There is no {kind} named {asked[:SHOWN_MAX]!r} here.", f"What there is: GET {where}", near)


ENDPOINTS = (
    Endpoint("/v1/sources", get_sources, Sources, example="/v1/sources"),
    Endpoint("/v1/sources/{source}/gaps", get_gaps, Gaps, GapsQuery, example="/v1/sources/exchange-pc/gaps?limit=5"),
    Endpoint("/v1/etl", get_etl, Etl, EtlQuery, example="/v1/etl?step=silver_exchange_ticks&limit=5"),
)
