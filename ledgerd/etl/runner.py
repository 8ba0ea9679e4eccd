"""Carries committed batches through the ETL steps: reads what is new, follows the plan, moves the watermarks."""

import asyncio
import random
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from importlib.abc import Traversable

from ledgerd.chaos_scale.reference import Reference
from ledgerd.clock import Clock, rfc3339, wait_for
from ledgerd.errors import LedgerdError, Transient
from ledgerd.etl.norm import Scale
from ledgerd.etl.plan import INTERVAL_S, RIVER, TASKS_MAX, WHOLE, Queue, Step, Task, kind_of, ordered, parse_step, plan
from ledgerd.etl.rebuild import finish_emptying
from ledgerd.etl.reference import load_reference
from ledgerd.etl.standing import Standing
from ledgerd.etl.tasks import run_task, write_done, write_failure
from ledgerd.etl.troubles import Troubles
from ledgerd.etl.watermarks import (
    Births,
    batches_above,
    first_stored,
    lanes_of,
    new_sources,
    newest_batch,
    read_standing,
    write_births,
)
from ledgerd.events import EtlStepRan, emit
from ledgerd.failpoint import failpoint
from ledgerd.status import EtlState, EtlStatus
from ledgerd.store.engine import Engine
from ledgerd.store.queries import schema_root
from ledgerd.supervise import Heart, Stop

LOOK_S = 60.0
"""How often to look for batches nobody told us of, such as those of another process."""
LOOKED_AT = 1_000
"""Batches of a river whose lanes are looked up at a time, and so far ahead of what is done."""
PATIENCE = 3
"""Failures in a row of what may be the engine's fault, until a lane is looked for whose fault it is."""

OnGold = Callable[[str, str, list[str] | None], None]
"""Told source, realm and leagues (None: any may have changed) after each gold step; must not block."""


def load_steps(etl_dir: Traversable | None = None) -> list[Step]:
    """The steps of ``schema/etl`` (or ``etl_dir``) in the order of `ordered`. ConfigError says what is wrong."""
    root = etl_dir if etl_dir is not None else schema_root() / "etl"
    parts = load_parts(root)
    files = [(f"{layer}/{name}", text) for layer in ("silver", "gold") for name, text in _files(root, layer)]
    return ordered(parse_step(text, origin, parts) for origin, text in files)


def load_parts(etl_dir: Traversable | None = None) -> dict[str, str]:
    """What steps of ``schema/etl`` (or ``etl_dir``) have in common, by name: a SELECT each, behind its comment."""
    root = etl_dir if etl_dir is not None else schema_root() / "etl"
    return {name.removesuffix(".sql"): text for name, text in _files(root, "parts")}


def _files(root: Traversable, layer: str) -> list[tuple[str, str]]:
    """Name and text of the SQL files of a folder, by name."""
    folder = root / layer
    found = [file for file in folder.iterdir() if file.name.endswith(".sql")] if folder.is_dir() else []
    return sorted((file.name, file.read_text(encoding="utf-8")) for file in found)


class Runner:
    """Runs the steps, one task at a time. A lane that fails waits for its back-off while the others go on.

    A task may be repeated at any time, by a crash or a retry: its inserts carry its token, and its watermark moves
    after them. Watermarks are read from the database once, then kept; one runner at a time may write to a database.

    The lanes of a river go through its batches together, as long as they stand alike. A lane is met with the first
    batch that has changes of its league; that is written down before anything is refined for it, so that a lane which
    fails from the start is not forgotten. If a task of several lanes fails, each is tried alone: those that fail wait,
    each by itself, and join the others when they have caught up.
    """

    def __init__(
        self,
        engine: Engine,
        steps: Sequence[Step],
        reference: Reference,
        clock: Clock,
        *,
        rng: random.Random,
        on_gold: OnGold = lambda source, realm, leagues: None,
        look_s: float = LOOK_S,
        interval_s: float = INTERVAL_S,
        tasks_max: int = TASKS_MAX,
        only_lane: str | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``steps``: of `load_steps`; ``rng``: jitter of the back-off; ``monotonic``: times the tasks, seconds.

        ``look_s``: how often to look unasked; ``interval_s``: what ``every: interval`` means, in data time;
        ``only_lane``: of rivers this league alone.
        """
        self._engine = engine
        self._steps = list(steps)
        self._clock = clock
        self._reference = reference
        self._scale = Scale(reference.chaos_ids, reference.divine_ids)
        self._on_gold = on_gold
        self._look_s = look_s
        self._interval_s = interval_s
        self._tasks_max = tasks_max
        self._only_lane = only_lane
        self._monotonic = monotonic
        self._standing = Standing(steps, [])
        self._newest: dict[str, tuple[int, float]] = {}
        self._troubles = Troubles(clock, rng)
        self._is_ready = False
        self._woken = asyncio.Event()

    @property
    def watermarks(self) -> dict[tuple[str, str, str], int]:
        """The last batch done, by (step, source, lane); a copy. A step that has done nothing of a source has none."""
        return dict(self._standing.done)

    def notify(self) -> None:
        """Something was committed: look now."""
        self._woken.set()

    async def run(self, stop: Stop, heart: Heart) -> None:
        """Service: refine what is committed until the stop. Raises StoreUnavailable when the engine cannot be asked."""
        while not stop.is_set:
            self._woken.clear()
            done = await self._round(stop, heart.beat)
            heart.beat()
            if not done and not stop.is_set:
                await heart.rest(stop, wait_for(self._woken, self._clock, self._troubles.wait_s(self._look_s)))

    async def run_once(self) -> int:
        """Do what one plan holds; how many tasks were done. 0: nothing is left to do, or all that is left waits."""
        return await self._round(Stop(), lambda: None)

    async def gild_again(self) -> int:
        """Run the gold steps of rivers on the batch each lane has done last; how many tasks that were.

        Nothing is written down of it: watermarks are where they were. Raises what a step fails with.
        """
        tasks: list[Task] = []
        for source in (source for source in self._newest if kind_of(source) == RIVER):
            for lanes in self._standing.groups(source, ()):
                last = self._standing.lowest(source, lanes)
                found = await batches_above(self._engine, source, last - 1, 1)
                gold = [step for step in self._standing.steps_of(source) if step.is_gold]
                era = int(self._clock.now())  # a name nobody has used: the rows are to be written, known or not
                tasks += [
                    Task(step, replace(batch, before_s=None), lanes, era, self._interval_s)
                    for batch in found
                    for step in gold
                ]
        for task in tasks:
            await run_task(self._engine, task, self._scale)
        return len(tasks)

    @property
    def left(self) -> int:
        """How many batches wait for some step of some lane that is to be done, as of the last look."""
        return sum(
            max(0, newest - self._standing.lowest(source, lanes))
            for source, (newest, _) in self._newest.items()
            if (lanes := [lane for lane in self._standing.lanes(source) if not self._leaves_out(source, lane)])
        )

    async def look(self) -> list[EtlStatus]:
        """Ask the database how far every step is; runs nothing."""
        self._standing = await read_standing(self._engine, self._steps)
        busy: set[tuple[str, tuple[str, ...]]] = set()
        for task in self._plan(await self._queues(meets=False)):
            if task.is_due:
                busy.add((task.batch.source, task.leagues))
            elif (task.batch.source, task.leagues) not in busy:
                self._standing.passed(task)
        return self.status()

    async def _round(self, stop: Stop, beat: Callable[[], None]) -> int:
        """Do what one plan holds; where that is nothing, what the next one does, while plans differ."""
        await self._prepare()
        done, is_other = 0, True
        while not done and is_other and not stop.is_set:
            done, is_other = await self._follow_plan(stop, beat)
        return done

    async def _follow_plan(self, stop: Stop, beat: Callable[[], None]) -> tuple[int, bool]:
        """How many tasks were done, and whether others failed or were passed over, so that the next plan is another."""
        failed: set[tuple[str, str]] = set()
        done, passed = 0, 0
        for task in self._plan(await self._queues()):
            if stop.is_set:
                break
            source = task.batch.source
            leagues = tuple(lane for lane in task.leagues if not failed & {(source, lane), (source, "")})
            if leagues:
                failing = await self._carry(replace(task, leagues=leagues), beat)
                failed |= {(source, lane) for lane in failing}
                done += task.is_due and len(failing) < len(leagues) and "" not in failing
                passed += not task.is_due
            beat()
        return done, bool(failed or passed)

    async def _prepare(self) -> None:
        """Once: fill the reference table, read the watermarks, finish what a rebuild that was killed left to do."""
        if self._is_ready:
            return
        await load_reference(self._engine, self._reference.rows)
        self._standing = await read_standing(self._engine, self._steps)
        if self._standing.must_empty:
            await finish_emptying(self._engine, self._standing, self._clock.now())
            self._standing = await read_standing(self._engine, self._steps)
        self._is_ready = True

    async def _find_newest(self) -> None:
        """Learn what is committed."""
        kinds = {step.kind for step in self._steps}
        sources = [*self._newest, *await new_sources(self._engine, self._newest, kinds)]
        self._newest = {source: await newest_batch(self._engine, source) for source in sorted(sources)}

    def _plan(self, queues: Sequence[Queue]) -> list[Task]:
        done = self._standing.done
        return plan(self._steps, queues, done, tasks_max=self._tasks_max, interval_s=self._interval_s)

    async def _queues(self, *, meets: bool = True) -> list[Queue]:
        """The next batches of every lane that may be tried now, exchanges first; ``meets``: of new lanes, too."""
        await self._find_newest()
        queues: list[Queue] = []
        for source, (newest, _) in self._newest.items():
            if self._troubles.is_waiting(source, ""):
                continue
            if kind_of(source) == RIVER and meets:
                await self._meet_lanes(source)
            alone = self._troubles.lanes_of(source) | {self._only_lane or ""}
            for lanes in self._standing.groups(source, alone):
                if not self._leaves_out(source, lanes[0]) and not self._troubles.is_waiting(source, lanes[0]):
                    queues += await self._queue(source, lanes, newest)
        return queues

    def _leaves_out(self, source: str, lane: str) -> bool:
        """True for the lanes of a river that are not the one to be refined."""
        return kind_of(source) == RIVER and self._only_lane not in (None, lane)

    async def _queue(self, source: str, lanes: tuple[str, ...], newest: int) -> list[Queue]:
        """What waits for lanes that stand alike, if anything does."""
        lowest = self._standing.lowest(source, lanes)
        last = self._standing.looked[source] if kind_of(source) == RIVER else newest
        if lowest >= last:
            return []
        found = await batches_above(self._engine, source, lowest, self._tasks_max)
        batches = [batch for batch in found if batch.seq <= last]
        has_more = bool(batches) and batches[-1].seq < newest
        return [Queue(source, lanes, batches, has_more, self._standing.eras_of(source))] if batches else []

    async def _meet_lanes(self, source: str) -> None:
        """Look which lanes the next batches of a river have, up to one with a new lane that has not come yet.

        It has come when the others have done all before it, for then they go on together.
        """
        standing, newest = self._standing, self._newest[source][0]
        if source not in standing.looked:
            first = await first_stored(self._engine, source)
            standing.looked[source] = newest if first is None else first - 1
        while standing.looked[source] < min(newest, standing.furthest(source) + LOOKED_AT):
            batches = await batches_above(self._engine, source, standing.looked[source], LOOKED_AT)
            lanes = await lanes_of(self._engine, batches)
            for batch in batches:
                new = sorted(set(lanes.get(batch.batch_id, ())) - set(standing.lanes(source)))
                if new and not self._is_level(source):
                    return
                if new:
                    births = Births(source, standing.steps_of(source), new, batch.seq - 1)
                    await write_births(self._engine, births, standing.eras_of(source), self._clock.now())
                    standing.born(source, new, batch.seq - 1)
                standing.looked[source] = batch.seq

    def _is_level(self, source: str) -> bool:
        """True if some lane of ``source`` has done all that was looked at, or none can."""
        well = set(self._standing.lanes(source)) - self._troubles.lanes_of(source)
        looked = self._standing.looked[source]
        return not well or any(self._standing.lowest(source, [lane]) >= looked for lane in well)

    async def _carry(self, task: Task, beat: Callable[[], None]) -> Collection[str]:
        """Run a task; the lanes that failed, "" for the source as a whole. Those that failed wait from now on."""
        started_s, source = self._clock.now(), task.batch.source
        try:
            await self._do(task)
        except LedgerdError as error:
            is_together = len(task.leagues) > 1
            may_be_engine = isinstance(error, Transient) and self._troubles.failures(source, "") < PATIENCE - 1
            if is_together and not may_be_engine:
                return await self._each_alone(task, beat)
            where = "" if is_together else task.leagues[0]
            await self._failed(task, where, error, started_s)
            return [where]
        return []

    async def _each_alone(self, task: Task, beat: Callable[[], None]) -> Collection[str]:
        """Run a task that failed lane by lane, to find whose fault it is; as `_carry`."""
        started_s = self._clock.now()
        errors: dict[str, LedgerdError] = {}
        for lane in task.leagues:
            try:
                await self._do(replace(task, leagues=(lane,)))
            except LedgerdError as failure:
                errors[lane] = failure
            beat()
        if len(errors) == len(task.leagues) and all(isinstance(error, Transient) for error in errors.values()):
            await self._failed(task, "", next(iter(errors.values())), started_s)
            return [""]
        for lane, error in errors.items():
            await self._failed(replace(task, leagues=(lane,)), lane, error, started_s)
        return errors

    async def _do(self, task: Task) -> None:
        """Run a task and move its watermarks; one that is not due is passed over without a statement."""
        if not task.is_due:
            self._standing.passed(task)
            return
        started_s, began_s = self._clock.now(), self._monotonic()
        rows = await run_task(self._engine, task, self._scale)
        failpoint("etl_written")
        seconds = self._monotonic() - began_s
        await write_done(self._engine, task, rows, seconds, (started_s, self._clock.now()))
        failpoint("etl_watermarked")
        self._standing.moved(task, seconds)
        self._troubles.succeeded(task)
        emit(EtlStepRan(task.step.name, task.batch.batch_id, rows, seconds))
        if task.step.is_gold:
            leagues = None if task.leagues == WHOLE else list(task.leagues)
            self._on_gold(task.batch.source, task.batch.realm, leagues)

    async def _failed(self, task: Task, lane: str, error: LedgerdError, started_s: float) -> None:
        if self._troubles.failed(task, lane, error):
            await write_failure(self._engine, task, error, (started_s, self._clock.now()))

    def status(self) -> list[EtlStatus]:
        """Every step of every lane of every source met so far, as of the last look."""
        return [
            self._status_of(step, source, lane)
            for source in self._newest
            for lane in self._standing.lanes(source)
            for step in self._standing.steps_of(source)
        ]

    def _status_of(self, step: Step, source: str, lane: str) -> EtlStatus:
        newest, newest_s = self._newest[source]
        mark = self._standing.done.get((step.name, source, lane), -1)
        last = self._standing.last(step, source, lane)
        error = self._troubles.error_of(step, source, lane)
        behind = max(0, newest - mark)
        state = EtlState.FAILING if error else EtlState.BEHIND if behind else EtlState.OK
        return EtlStatus(
            step=step.name,
            source=source,
            league=lane or None,
            state=state,
            watermark=mark,
            behind=behind,
            behind_s=round(newest_s - last.retrieved_s, 1) if behind and last else None if behind else 0.0,
            done_until=rfc3339(last.retrieved_s) if last else None,
            took_s=round(last.seconds, 3) if last else None,
            last_error=error,
        )
