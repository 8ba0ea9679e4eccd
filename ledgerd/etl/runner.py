"""Carries committed batches through the ETL steps: reads what is new, follows the plan, moves the watermarks."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.abc import Traversable

from ledgerd.chaos_scale.reference import Reference
from ledgerd.clock import Clock, wait_for
from ledgerd.errors import LedgerdError
from ledgerd.etl.norm import Scale
from ledgerd.etl.plan import NOTHING_DONE, TASKS_MAX, Batch, Step, Task, kind_of, ordered, parse_step, plan
from ledgerd.etl.reference import load_reference
from ledgerd.etl.tasks import run_task, write_failure, write_watermark
from ledgerd.etl.watermarks import batches_above, newest_batches, watermarks
from ledgerd.events import EtlStepRan, emit
from ledgerd.failpoint import failpoint
from ledgerd.outage import Backoff, Outage
from ledgerd.status import EtlState, EtlStatus
from ledgerd.store.engine import Engine
from ledgerd.store.queries import schema_root
from ledgerd.supervise import Heart, Stop

INTERVAL_S = 60.0
"""How often to look for batches nobody told us of, such as those of another process."""

OnGold = Callable[[str, str, list[str] | None], None]
"""Told source, realm and leagues (None: any may have changed) after each gold step; must not block."""


def load_steps(etl_dir: Traversable | None = None) -> list[Step]:
    """The steps of ``schema/etl`` (or ``etl_dir``) in the order of `ordered`. ConfigError says what is wrong."""
    root = etl_dir if etl_dir is not None else schema_root() / "etl"
    files = [
        (f"{layer}/{file.name}", file.read_text(encoding="utf-8"))
        for layer in ("silver", "gold")
        for file in (root / layer).iterdir()
        if file.name.endswith(".sql")
    ]
    return ordered(parse_step(text, origin) for origin, text in sorted(files, key=_by_layer))


def _by_layer(file: tuple[str, str]) -> tuple[bool, str]:
    return file[0].startswith("gold/"), file[0]


@dataclass(slots=True)
class _Trouble:
    """A source whose last task failed, or failed before: when to try again and what went wrong where."""

    outage: Outage
    backoff: Backoff
    step: str = ""
    not_before_s: float = 0.0


class Runner:
    """Runs the steps, one task at a time. A source that fails waits for its back-off while the others go on.

    A task may be repeated at any time, by a crash or a retry: its inserts carry its token, and its watermark moves
    after them. Watermarks are read from the database once, then kept; one runner at a time may write to a database.
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
        interval_s: float = INTERVAL_S,
        tasks_max: int = TASKS_MAX,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``steps``: of `load_steps`; ``rng``: jitter of the back-off; ``monotonic``: times the tasks, seconds."""
        self._engine = engine
        self._steps = list(steps)
        self._clock = clock
        self._reference = reference
        self._scale = Scale(reference.chaos_ids, reference.divine_ids)
        self._rng = rng
        self._on_gold = on_gold
        self._interval_s = interval_s
        self._tasks_max = tasks_max
        self._monotonic = monotonic
        self._done: dict[tuple[str, str], int] = {}
        self._newest: dict[str, int] = {}
        self._troubles: dict[str, _Trouble] = {}
        self._is_ready = False
        self._woken = asyncio.Event()

    @property
    def watermarks(self) -> dict[tuple[str, str], int]:
        """The last batch done, by (step, source); a copy. A step that has done nothing of a source has none."""
        return dict(self._done)

    def notify(self) -> None:
        """Something was committed: look now."""
        self._woken.set()

    async def run(self, stop: Stop, heart: Heart) -> None:
        """Service: refine what is committed until the stop. Raises StoreUnavailable when the engine cannot be asked."""
        while not stop.is_set:
            self._woken.clear()
            done = await self._round(stop, heart)
            heart.beat()
            if not done and not stop.is_set:
                await heart.rest(stop, wait_for(self._woken, self._clock, self._wait_s()))

    async def run_once(self) -> int:
        """Do what one plan holds; how many tasks were done. 0: nothing is left to do, or all that is left waits."""
        return await self._round(Stop(), None)

    async def look(self) -> list[EtlStatus]:
        """Ask the database how far every step is; runs nothing."""
        self._done = await watermarks(self._engine, self._steps)
        await self._committed()
        return self.status()

    async def _round(self, stop: Stop, heart: Heart | None) -> int:
        await self._prepare()
        failed: set[str] = set()
        done = 0
        for task in plan(self._steps, await self._committed(), self._done, self._tasks_max):
            if stop.is_set:
                break
            if task.batch.source in failed:
                continue
            if await self._try(task):
                done += 1
            else:
                failed.add(task.batch.source)
            if heart is not None:
                heart.beat()
        return done

    async def _prepare(self) -> None:
        """Once: fill the reference table, read the watermarks."""
        if self._is_ready:
            return
        await load_reference(self._engine, self._reference.rows)
        self._done = await watermarks(self._engine, self._steps)
        self._is_ready = True

    async def _committed(self) -> list[Batch]:
        """The next batches of every source that may be tried now."""
        self._newest = await newest_batches(self._engine, {step.kind for step in self._steps})
        batches: list[Batch] = []
        for source, newest in sorted(self._newest.items()):
            lowest = min(self._mark(step, source) for step in self._steps if step.kind == kind_of(source))
            if lowest < newest and not self._is_waiting(source):
                batches += await batches_above(self._engine, source, lowest, self._tasks_max)
        return batches

    async def _try(self, task: Task) -> bool:
        """Run a task; False if it failed, and then its source waits."""
        started_s, began_s = self._clock.now(), self._monotonic()
        try:
            rows = await run_task(self._engine, task, self._scale)
            failpoint("etl_written")
            seconds = self._monotonic() - began_s
            await write_watermark(self._engine, task, rows, seconds, (started_s, self._clock.now()))
        except LedgerdError as error:
            await self._failed(task, error, started_s)
            return False
        failpoint("etl_watermarked")
        self._done[task.step.name, task.batch.source] = task.batch.seq
        self._succeeded(task)
        emit(EtlStepRan(task.step.name, task.batch.batch_id, rows, seconds))
        if task.step.is_gold:
            self._on_gold(task.batch.source, task.batch.realm, None)
        return True

    async def _failed(self, task: Task, error: LedgerdError, started_s: float) -> None:
        source = task.batch.source
        if source not in self._troubles:
            self._troubles[source] = _Trouble(Outage(f"etl {source}", self._clock), Backoff(self._rng))
        trouble = self._troubles[source]
        is_first = trouble.outage.since is None
        trouble.outage.failed(error)
        trouble.step = task.step.name
        trouble.not_before_s = self._clock.now() + trouble.backoff.next_s()
        if is_first:
            await write_failure(self._engine, task, error, (started_s, self._clock.now()))

    def _succeeded(self, task: Task) -> None:
        """End the outage of the task's source once the step that failed has got through."""
        trouble = self._troubles.get(task.batch.source)
        if trouble and trouble.step == task.step.name:
            trouble.outage.succeeded()
            trouble.backoff.reset()
            trouble.step, trouble.not_before_s = "", 0.0

    def _is_waiting(self, source: str) -> bool:
        return source in self._troubles and self._troubles[source].not_before_s > self._clock.now()

    def _wait_s(self) -> float:
        """Until the next look: the interval, or sooner when a failed source may be tried again."""
        now_s = self._clock.now()
        waits = [trouble.not_before_s - now_s for trouble in self._troubles.values() if trouble.step]
        return max(0.0, min([self._interval_s, *waits]))

    def _mark(self, step: Step, source: str) -> int:
        return self._done.get((step.name, source), NOTHING_DONE)

    def status(self) -> list[EtlStatus]:
        """Every step of every source met so far, as of the last look."""
        return [
            self._status_of(step, source, newest)
            for source, newest in sorted(self._newest.items())
            for step in self._steps
            if step.kind == kind_of(source)
        ]

    def _status_of(self, step: Step, source: str, newest: int) -> EtlStatus:
        mark = self._mark(step, source)
        trouble = self._troubles.get(source)
        is_failing = trouble is not None and trouble.step == step.name
        behind = max(0, newest - mark)
        state = EtlState.FAILING if is_failing else EtlState.BEHIND if behind else EtlState.OK
        error = trouble.outage.last_error if trouble and is_failing else None
        return EtlStatus(step.name, source, state, mark, behind, error)
