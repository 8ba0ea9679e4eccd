"""One step on one batch: the inserts, each under the task's token, and the row that moves the watermark."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime

from ledgerd.clock import HOUR_S, rfc3339
from ledgerd.errors import LedgerdError, Transient
from ledgerd.etl.norm import Refined, Scale, norm_rows
from ledgerd.etl.plan import Task
from ledgerd.etl.watermarks import SQL
from ledgerd.events import Quarantined, emit
from ledgerd.store.engine import INSERT_SETTINGS, Engine, Row

STEP_TIMEOUT_S = 300.0
"""The longest one statement of a step may take; a batch of many hours on a small machine takes some seconds."""
RUN_COLUMNS = (
    "step", "version", "source", "seq", "batch_id", "rows", "seconds", "outcome", "error", "started_at", "finished_at",
)  # fmt: skip

Span = tuple[float, float]
"""Start and end, unix seconds."""


async def run_task(engine: Engine, task: Task, scale: Scale) -> int:
    """Write what ``task`` makes of its batch; rows written. Again, after success or half of it: nothing twice."""
    if not task.step.function:
        return await _insert_select(engine, task)
    rows = 0
    for (hour_s,) in await engine.rows(SQL["tick_hours"], _params(task, task.batch.from_s, task.batch.to_s)):
        rows += await _insert_normalised(engine, task, hour_s, scale)
    return rows


async def _insert_select(engine: Engine, task: Task) -> int:
    step, batch = task.step, task.batch
    params = _params(task, batch.from_s, batch.to_s)
    settings = {**INSERT_SETTINGS, "insert_deduplication_token": task.token}
    insert = f"INSERT INTO {step.writes} ({', '.join(step.columns)})\n{step.sql}"
    await engine.execute(insert, params, timeout_s=STEP_TIMEOUT_S, settings=settings)
    counted = await engine.rows(
        f"SELECT count() FROM {step.writes} WHERE realm = {{realm:String}} AND batch_id = {{batch_id:String}}"  # noqa: S608  a name from our own files
        " AND hour >= {hour_from:DateTime('UTC')} AND hour < {hour_to:DateTime('UTC')}",
        params,
    )
    return int(counted[0][0])


async def _insert_normalised(engine: Engine, task: Task, hour_s: int, scale: Scale) -> int:
    """One hour at a time, so that memory does not grow with the batch; the hour is part of the token."""
    step, batch = task.step, task.batch
    ticks = await engine.rows(step.sql, _params(task, hour_s, hour_s + HOUR_S), timeout_s=STEP_TIMEOUT_S)
    refined = await asyncio.to_thread(norm_rows, batch.realm, hour_s, batch.batch_id, ticks, scale)
    _report_unusable(task, hour_s, refined)
    if refined.rows:
        await engine.insert(step.writes, step.columns, refined.rows, token=f"{task.token}:{hour_s}")
    return len(refined.rows)


def _report_unusable(task: Task, hour_s: int, refined: Refined) -> None:
    if refined.unusable:
        what = f"{len(refined.unusable)} values of {rfc3339(hour_s)}, first {refined.unusable[0]}"
        emit(Quarantined(task.step.name, what, "a number is not finite or does not fit its column"))


def _params(task: Task, from_s: int, to_s: int) -> dict[str, str | datetime]:
    return {
        "source": task.batch.source,
        "realm": task.batch.realm,
        "batch_id": task.batch.batch_id,
        "hour_from": datetime.fromtimestamp(from_s, UTC),
        "hour_to": datetime.fromtimestamp(to_s, UTC),
    }


async def write_watermark(engine: Engine, task: Task, rows: int, seconds: float, span: Span) -> None:
    """Record that ``task`` is done; from now on a restart does not repeat it."""
    await _write_run(engine, task, (rows, seconds, "ok", ""), span, "")


async def write_failure(engine: Engine, task: Task, error: LedgerdError, span: Span) -> None:
    """Record why ``task`` failed, where the engine itself is not the reason and takes the row."""
    if isinstance(error, Transient):
        return
    with suppress(LedgerdError):  # /status and the log have the failure already; this row is for later readers
        await _write_run(engine, task, (0, span[1] - span[0], "failed", str(error)), span, f":failed:{span[0]}")


async def _write_run(engine: Engine, task: Task, result: Row, span: Span, suffix: str) -> None:
    step, batch = task.step, task.batch
    row = (step.name, step.version, batch.source, batch.seq, batch.batch_id, *result, *span)
    await engine.insert("etl_runs", RUN_COLUMNS, [row], token=f"{task.token}{suffix}")
