"""The command: opens both sides, brings both to this version's schema, moves, compares, and prints what came of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from ledgerd import reach
from ledgerd.clock import SystemClock
from ledgerd.config import Config
from ledgerd.errors import Refused, StoreLocked, StoreUnavailable, UsageError
from ledgerd.move.carry import PASS_TIMEOUT_S, Move, Progress, Totals
from ledgerd.move.plan import Leg, Table, Total, ttl_of
from ledgerd.store import preflight
from ledgerd.store.cluster import render, stored_as
from ledgerd.store.engine import Engine
from ledgerd.store.migrate import Migrator
from ledgerd.store.migration import TABLE as MIGRATIONS
from ledgerd.terminal import table, waiting

TTL_MARGIN = timedelta(days=1)
"""Rows the engine would let go of within this time stay behind, or they would vanish between copy and comparison."""
TTL_TIMEOUT_S = 600.0

_ENGINES = "SELECT name, engine_full FROM system.tables WHERE database = currentDatabase()"
_DATABASES = "SELECT database FROM system.tables WHERE name = {name:String} ORDER BY database"


async def move(config: Config, *, data_dir: Path | None, dry_run: bool) -> None:
    """Move what ``data_dir``, by default the configured one, holds; print what it came to.

    Refused: the server holds rows that are not from here, or the two sides differ in the end.
    """
    if config.clickhouse.engine != "server":
        raise UsageError(
            'The configuration says clickhouse.engine = "embedded", and names no server to move to.',
            'Write clickhouse.engine = "server" and clickhouse.url, then: ledgerd move',
        )
    async with reach.daemon(config) as running:
        if running:
            raise StoreLocked(
                "A daemon runs on this data directory.", "Stop it (systemctl stop ledgerd), then: ledgerd move"
            )
    progress = Progress()
    keep_from = datetime.now(UTC) + TTL_MARGIN
    async with waiting(progress.line), _both(config, data_dir) as (source, target):
        job = Move(source, target, progress, keep_from)
        report = await (_look(job) if dry_run else _work(config, job, progress))
    click.echo("\n".join(report))


@asynccontextmanager
async def _both(config: Config, data_dir: Path | None) -> AsyncIterator[tuple[Engine, Engine]]:
    """The embedded engine, with nobody else in it, and the server. UsageError if there is nothing to move."""
    daemon = config.daemon.model_copy(update={"data_dir": data_dir or config.daemon.data_dir})
    store = config.clickhouse.model_copy(update={"engine": "embedded"})
    old = config.model_copy(update={"daemon": daemon, "clickhouse": store})
    if not reach.has_data(old):
        raise UsageError(
            f"There is no embedded database in {daemon.data_dir}.", "Name its folder: ledgerd move --from DIR"
        )
    async with reach.stored(old) as source:
        found = [name for (name,) in await source.rows(_DATABASES, {"name": MIGRATIONS})]
        if store.database not in found:
            raise UsageError(
                f"In {daemon.data_dir} there is no database {store.database}, but {', '.join(found) or 'none at all'}.",
                "Correct clickhouse.database, then: ledgerd check-config",
            )
        async with reach.stored(config, create=True) as target:
            yield source, target


async def _look(job: Move) -> list[str]:
    """What would be moved, and what the server holds of it; changes nothing."""
    made: dict[str, str] = dict(await job.target.rows(_ENGINES))
    rows = []
    for each in await job.tables():
        count = f"SELECT uniqExact({each.partition}), count() FROM {each.source}"  # noqa: S608 -- names of the schema
        [(partitions, here)] = await job.source.rows(count, timeout_s=PASS_TIMEOUT_S)
        [(_, there)] = await job.target.rows(count, timeout_s=PASS_TIMEOUT_S) if each.name in made else [(0, 0)]
        rows.append((each.name, partitions, f"{here:,}", f"{there:,}"))
    return [table(("table", "partitions", "rows", "on the server"), rows)]


async def _work(config: Config, job: Move, progress: Progress) -> list[str]:
    """Move and compare; what to print. Refused if the sides differ, StoreUnavailable if the server went away."""
    progress.what = "migrating"
    await _prepare(config, job)
    plans: list[tuple[Table, Totals, list[Leg]]] = []
    for each in await job.tables():
        progress.what = f"looking at {each.name}"
        here = await job.totals(job.source, each)
        plans.append((each, here, await job.legs(each, here)))
    to_go = sum(leg.rows for _, _, legs in plans for leg in legs)
    config.move_marker.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    config.move_marker.touch()  # a daemon that started now would take the server for a new ledger
    progress.begin(to_go, sum(_sum(here).rows for _, here, _ in plans) - to_go)
    rows, wrong, notes = [], [], []
    try:
        for each, here, legs in plans:
            for leg in legs:
                await job.carry(leg)
            differ = await job.differences(each, here) if legs else []
            wrong += [f"{each.name} {partition.value}".strip() for partition in differ]
            total = _sum(here)
            rows.append((each.name, len(here), f"{total.rows:,}", f"{total.hash:016x}", "no" if differ else "yes"))
            if stays := await job.left_behind(each):
                notes.append(f"{stays:,} rows of {each.name} are past their TTL and stay behind.")
    except StoreUnavailable as error:
        raise StoreUnavailable(error.message, "What went over stays there; go on with: ledgerd move") from error
    report = [table(("table", "partitions", "rows", "hash", "equal"), rows), *notes, progress.done()]
    if wrong:
        click.echo("\n".join(report))
        raise Refused(
            f"The two sides differ in {', '.join(wrong)}: somebody else writes there, or the server lost rows.",
            "Drop the database on the server, then: ledgerd move",
        )
    config.move_marker.unlink()
    return report


async def _prepare(config: Config, job: Move) -> None:
    """Bring both sides to this version's schema and the server to the TTLs here; CannotStart if it will not do."""
    cluster, database = config.clickhouse.cluster, config.clickhouse.database
    await Migrator(job.source, SystemClock()).apply()
    await Migrator(job.target, SystemClock(), cluster=cluster).apply()
    await preflight.check_store(job.target)
    await job.hold_together()
    await job.source.execute("SYSTEM STOP MERGES")  # the rows stay as they are counted
    has: dict[str, str] = dict(await job.target.rows(_ENGINES))
    for each in await job.tables():  # before a row comes that the server's own TTL would take
        if ttl_of(has[stored_as(each.name, cluster)]) != each.ttl:
            change = f"MODIFY TTL {each.ttl}" if each.ttl else "REMOVE TTL"
            for statement in render(f"ALTER TABLE {each.name} {change}", cluster, database):
                await job.target.execute(statement, timeout_s=TTL_TIMEOUT_S)


def _sum(totals: Totals) -> Total:
    return sum(totals.values(), Total())
