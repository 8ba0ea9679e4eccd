"""One step on one batch: the inserts, each under the task's token, and the rows that say that it is done."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from ledgerd.clock import HOUR_S, rfc3339
from ledgerd.errors import LedgerdError, Transient
from ledgerd.etl.norm import Refined, Scale, norm_rows
from ledgerd.etl.plan import EXCHANGE, Task
from ledgerd.etl.watermarks import SQL, write_marks
from ledgerd.events import Quarantined, emit
from ledgerd.store.engine import INSERT_SETTINGS, Engine, Row

STEP_TIMEOUT_S = 300.0
"""The longest one statement of a step may take; a batch of many hours on a small machine takes some seconds."""
UNMERGED = {"query_plan_merge_expressions": 0}
"""Merging what subqueries compute costs the engine more planning than it saves: 50 to 80 ms CPU on the largest step."""
RUN_COLUMNS = (
    "step", "version", "source", "leagues", "seq", "batch_id",
    "rows", "seconds", "outcome", "error", "started_at", "finished_at",
)  # fmt: skip

Span = tuple[float, float]
"""Start and end, unix seconds."""


async def run_task(engine: Engine, task: Task, scale: Scale) -> int:
    """Write what ``task`` makes of its batch; rows written. Again, after success or half of it: nothing twice.

    Rows of a river's steps are not counted (0): their tables are not laid out by batch, and a count would cost a scan.
    """
    if not task.step.function:
        return await _insert_select(engine, task)
    rows = 0
    for (hour_s,) in await engine.rows(SQL["tick_hours"], params_of(task)):
        rows += await _insert_normalised(engine, task, hour_s, scale)
    return rows


async def _insert_select(engine: Engine, task: Task) -> int:
    step, params = task.step, params_of(task)
    settings = {**INSERT_SETTINGS, **UNMERGED, "insert_deduplication_token": task.token}
    insert = f"INSERT INTO {step.writes} ({', '.join(step.columns)})\n{step.sql}"
    await engine.execute(insert, params, timeout_s=STEP_TIMEOUT_S, settings=settings)
    if step.kind != EXCHANGE:
        return 0
    counted = await engine.rows(
        f"SELECT count() FROM {step.writes} WHERE realm = {{realm:String}} AND batch_id = {{batch_id:String}}"  # noqa: S608  a name from our own files
        " AND hour >= {hour_from:DateTime('UTC')} AND hour < {hour_to:DateTime('UTC')}",
        params,
    )
    return int(counted[0][0])


async def _insert_normalised(engine: Engine, task: Task, hour_s: int, scale: Scale) -> int:
    """One hour at a time, so that memory does not grow with the batch; the hour is part of the token."""
    step, batch = task.step, task.batch
    params = {**params_of(task), "hour_from": _time(hour_s), "hour_to": _time(hour_s + HOUR_S)}
    ticks = await engine.rows(step.sql, params, timeout_s=STEP_TIMEOUT_S)
    refined = await asyncio.to_thread(norm_rows, batch.realm, hour_s, batch.batch_id, ticks, scale)
    _report_unusable(task, hour_s, refined)
    if refined.rows:
        await engine.insert(step.writes, step.columns, refined.rows, token=f"{task.token}:{hour_s}")
    return len(refined.rows)


def _report_unusable(task: Task, hour_s: int, refined: Refined) -> None:
    if refined.unusable:
        what = f"{len(refined.unusable)} values of {rfc3339(hour_s)}, first {refined.unusable[0]}"
        emit(Quarantined(task.step.name, what, "a number is not finite or does not fit its column"))


def params_of(task: Task) -> dict[str, Any]:
    """What the SQL of a step is given: its batch, its lanes, and for one that runs now and then its window."""
    batch = task.batch
    window_from_s, window_to_s = task.window_s
    return {
        "source": batch.source,
        "realm": batch.realm,
        "batch_id": batch.batch_id,
        "leagues": list(task.leagues),
        "at": _time(batch.retrieved_s),
        "window_from": _time(window_from_s),
        "window_to": _time(window_to_s),
        "hour_from": _time(batch.from_s),
        "hour_to": _time(batch.to_s),
    }


def _time(unix_s: float) -> datetime:
    """To the millisecond, which is what upstream's times have; no further digit may come of a division."""
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=round(unix_s * 1000))


async def write_done(engine: Engine, task: Task, rows: int, seconds: float, span: Span) -> None:
    """Record that ``task`` is done; from now on a restart does not repeat it.

    Of an exchange each run is logged. A river has 43,000 batches a day: of its runs the watermark keeps the last.
    """
    if task.step.kind == EXCHANGE:
        await _write_run(engine, task, (rows, seconds, "ok", ""), span, "")
    await write_marks(engine, task, seconds, span[1])


async def write_failure(engine: Engine, task: Task, error: LedgerdError, span: Span) -> None:
    """Record why ``task`` failed, where the engine itself is not the reason and takes the row."""
    if isinstance(error, Transient):
        return
    with suppress(LedgerdError):  # /status and the log have the failure already; this row is for later readers
        await _write_run(engine, task, (0, span[1] - span[0], "failed", str(error)), span, f":failed:{span[0]}")


async def _write_run(engine: Engine, task: Task, result: Row, span: Span, suffix: str) -> None:
    step, batch = task.step, task.batch
    leagues = [league for league in task.leagues if league]
    row = (step.name, step.version, batch.source, leagues, batch.seq, batch.batch_id, *result, *span)
    await engine.insert("etl_runs", RUN_COLUMNS, [row], token=f"{task.token}{suffix}")
