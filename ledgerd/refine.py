"""The etl commands: how far the steps are, running what waits, and making all of it anew."""

import random
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any, Literal

import click

from ledgerd import reach
from ledgerd.chaos_scale.reference import shipped
from ledgerd.clock import SystemClock
from ledgerd.config import Config
from ledgerd.config.rules import parse_from
from ledgerd.errors import NotKnown, QueryRefused, StoreLocked, StoreUnavailable, UsageError
from ledgerd.etl.plan import EXCHANGE, RIVER, Step
from ledgerd.etl.rebuild import Rebuild, begin_again, lost_for_good
from ledgerd.etl.runner import Runner, load_steps
from ledgerd.spelling import nearest
from ledgerd.store.engine import Engine
from ledgerd.store.migrate import Migrator
from ledgerd.terminal import steps_at_length, waiting

NO_TABLE = 60
"""ClickHouse's number of a table that is not there."""
SAY_EVERY_S = 10.0
"""How often progress is a line of its own where stderr is no terminal."""


@dataclass(slots=True)
class Progress:
    """How far the work is, as a line: on a terminal by ``waiting``, elsewhere one every SAY_EVERY_S."""

    total: int = 0
    left: int = 0
    began_s: float = field(default_factory=time.monotonic)
    said_s: float = field(default_factory=time.monotonic)

    def line(self) -> str:
        """What goes on now."""
        done = self.total - self.left
        if not done:
            return f"{self.total:,} batches to refine"
        pace = done / max(time.monotonic() - self.began_s, 0.001)
        left = timedelta(seconds=round(self.left / pace))
        return f"{done:,} of {self.total:,} batches, {pace:,.1f} a second, {left} left"

    def at(self, left: int) -> None:
        """``left`` batches are still to do; more of them may have been committed."""
        self.total = max(self.total, left)
        self.left = left
        now_s = time.monotonic()
        if now_s - self.said_s >= SAY_EVERY_S and not sys.stderr.isatty():
            self.said_s = now_s
            click.echo(self.line(), err=True)


async def status(config: Config) -> None:
    """Print how far each step is, and what waits."""
    async with reach.daemon(config) as running:
        rows = (await running.get("/status"))["etl"] if running else None
    if rows is None:
        async with reach.stored(config) as engine:
            rows = await _looked(config, engine)
    click.echo(steps_at_length(rows))


async def _looked(config: Config, engine: Engine) -> list[dict[str, Any]]:
    """How far the database says each step is. StoreUnavailable where nobody has made its tables."""
    try:
        return [asdict(each) for each in await _runner(config, engine).look()]
    except QueryRefused as error:
        if error.code != NO_TABLE:
            raise
        raise StoreUnavailable(
            "The database does not hold the tables of this version.", "Make them with: ledgerd migrate --apply"
        ) from error


async def run(config: Config, *, step: str | None = None, lane: str | None = None) -> None:
    """Refine what waits, with progress. StoreUnavailable if a step failed: the others have done what they could."""
    await _nobody_runs(config, "The running daemon does this by itself.", "See how far it is: ledgerd etl status")
    progress = Progress()
    async with waiting(progress.line), reach.stored(config) as engine:
        await Migrator(engine, SystemClock(), cluster=config.clickhouse.cluster).apply()
        steps = await _only(config, engine, step)
        runner = _runner(config, engine, steps, only_lane=lane)
        total, failed = await _work(runner, progress)
        lanes = sorted({each.league for each in runner.status() if each.league})
    if lane is not None and lane not in lanes:
        raise _unknown(f"No river has a lane {lane!r}.", lane, lanes)
    click.echo(f"{total} tasks done; " + ("some failed" if failed else "nothing waits"))
    _raise(failed, "ledgerd etl run")


async def rebuild(config: Config, *, source: Literal["bronze", "silver"], since: str | None, is_sure: bool) -> None:
    """Make silver and gold anew from bronze, or gold from silver. UsageError: it would lose what nobody means to."""
    what = Rebuild(source == "bronze", None if since is None else _time(since))
    stop = f"systemctl stop ledgerd; then: ledgerd etl rebuild --from {source}"
    await _nobody_runs(
        config, "The running daemon refines by itself, and what it has done cannot be redone meanwhile.", stop
    )
    progress = Progress()
    async with waiting(progress.line), reach.stored(config) as engine:
        await Migrator(engine, SystemClock(), cluster=config.clickhouse.cluster).apply()
        steps = load_steps()
        await _say(engine, steps, what, is_sure=is_sure)
        await begin_again(engine, steps, what, SystemClock().now())
        runner = _runner(config, engine)
        total, failed = await _work(runner, progress)
        if not what.is_from_bronze and what.since_s is None and not failed:
            total += await runner.gild_again()
    click.echo(f"{total} tasks done; " + ("some failed" if failed else "all of it is new"))
    _raise(failed, "ledgerd etl run")


def _time(text: str) -> int:
    """Unix seconds of what was typed as a time. UsageError if it is none, or still to come."""
    now_s = SystemClock().now()
    try:
        unix_s = parse_from(text, now_s)
    except ValueError:
        unix_s = None
    if unix_s is None or unix_s > now_s:
        hint = "Give a time with its zone, as 2026-10-01T00:00:00Z, or -24h, or -30d. See: ledgerd etl rebuild --help"
        raise UsageError(f"{text!r} is {'no time' if unix_s is None else 'still to come'}.", hint)
    return unix_s


async def _say(engine: Engine, steps: list[Step], what: Rebuild, *, is_sure: bool) -> None:
    """Say plainly what is made anew and what is not. UsageError if rows would be lost for good and nobody is sure."""
    if what.since_s is not None:
        click.echo(
            "Rivers are left as they are: their state grows from the first batch, so they have no part to begin with."
        )
    elif not what.is_from_bronze:
        click.echo(
            "Of public stashes only the gold of now is made anew: what they were at past hours, silver does not say."
        )
    else:
        if (lost := await lost_for_good(engine, steps)) and not is_sure:
            which = ", ".join(f"{batches:,} batches of {source}" for source, batches in lost.items())
            raise UsageError(
                f"Bronze no longer has {which}; what was refined of them would be lost for good.",
                "If that is what you want: ledgerd etl rebuild --from bronze --yes; "
                "to leave rivers as they are: ledgerd etl rebuild --from bronze --since 1970-01-01T00:00:00Z",
            )
        click.echo("What was refined of public stashes is emptied and made anew from the first batch bronze has.")


async def _nobody_runs(config: Config, message: str, hint: str) -> None:
    async with reach.daemon(config) as running:
        if running:
            raise StoreLocked(message, hint)


async def _only(config: Config, engine: Engine, name: str | None) -> list[Step]:
    """All steps, or the one of that name. UsageError if it may not run by itself."""
    steps = load_steps()
    if name is None:
        return steps
    step = next((each for each in steps if each.name == name), None)
    if step is None:
        raise _unknown(f"There is no step {name!r}.", name, [each.name for each in steps])
    if step.kind == RIVER:
        raise UsageError(
            f"{name} refines public stashes, of which each batch goes through all steps before the next.",
            "Run them all: ledgerd etl run; or those of one league: ledgerd etl run --lane Standard",
        )
    behind = {each.step for each in await _runner(config, engine, steps).look() if each.behind}
    if first := [
        each.name for each in steps if each.kind == EXCHANGE and each.writes in step.reads and each.name in behind
    ]:
        raise UsageError(
            f"{name} reads what {', '.join(first)} writes, which is behind itself.", "Run them all: ledgerd etl run"
        )
    return [step]


def _unknown(message: str, name: str, known: Sequence[str]) -> NotKnown:
    near = nearest(name, known)
    meant = f" Did you mean {', '.join(map(repr, near))}?" if near else ""
    return NotKnown(f"{message}{meant}", "See: ledgerd etl status", near)


async def _work(runner: Runner, progress: Progress) -> tuple[int, list[str]]:
    """Run until nothing is left that can be done; how many tasks were, and what failed."""
    total = 0
    while done := await runner.run_once():
        total += done
        progress.at(runner.left)
    failed = [
        f"{each.step} of {' '.join(filter(None, (each.source, each.league)))}: {each.last_error}"
        for each in runner.status()
        if each.last_error
    ]
    return total, failed


def _raise(failed: list[str], again: str) -> None:
    if failed:
        raise StoreUnavailable("\n".join(failed), f"\nWhat was done is kept; try the rest again: {again}")


def _runner(config: Config, engine: Engine, steps: list[Step] | None = None, *, only_lane: str | None = None) -> Runner:
    return Runner(
        engine,
        load_steps() if steps is None else steps,
        shipped(),
        SystemClock(),
        rng=random.Random(),  # noqa: S311  jitter
        interval_s=config.etl.interval_s,
        only_lane=only_lane,
    )
