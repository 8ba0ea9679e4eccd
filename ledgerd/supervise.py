"""Keeps services alive: one task each, restarted, refused or fatal by the kind of error they end with."""

import asyncio
import enum
import math
import random
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ledgerd.clock import Clock
from ledgerd.errors import Fatal, Refused, Transient
from ledgerd.events import Noted, ServiceCrashed, SourceStopped, emit
from ledgerd.outage import BACKOFF_MOST_S, Backoff, Outage

CANCEL_GRACE_S = 1.0  # how long a cancelled service may take to unwind before it is left behind


class Stop:
    """The wish that somebody stops; every wait of a service also waits for it."""

    __slots__ = ("_came", "why")

    def __init__(self) -> None:
        self._came = asyncio.Event()
        self.why = ""

    @property
    def is_set(self) -> bool:
        """True once a stop was asked for."""
        return self._came.is_set()

    def set(self, why: str) -> None:
        """Ask for the stop; the first ``why`` stays. From the loop's thread only."""
        if not self._came.is_set():
            self.why = why
            self._came.set()

    async def wait(self) -> None:
        """Return once a stop was asked for."""
        await self._came.wait()

    async def sleep(self, clock: Clock, wait_s: float) -> bool:
        """Wait ``wait_s`` seconds of ``clock`` or until the stop; True if the stop came."""
        return await self.cuts_short(clock.sleep(wait_s))

    async def cuts_short(self, wait: Awaitable[object]) -> bool:
        """Wait for ``wait`` or the stop; True if the stop came, and then ``wait`` is cancelled and its result lost.

        What ``wait`` raises is raised here, unless the stop came first.
        """
        waiting, stopping = asyncio.ensure_future(wait), asyncio.ensure_future(self._came.wait())
        try:
            if not self.is_set:
                await asyncio.wait((waiting, stopping), return_when=asyncio.FIRST_COMPLETED)
            if not self.is_set:
                await waiting
        finally:
            waiting.cancel()
            stopping.cancel()
            await asyncio.gather(waiting, stopping, return_exceptions=True)
        return self.is_set


class Heart:
    """How a service shows that it gets on: it beats when work is done, and rests when there is nothing to do.

    Ages are measured on ``monotonic`` (seconds): neither a stepped wall clock nor a fast demo clock looks like a stall.
    """

    __slots__ = ("_beat_s", "_clock", "_monotonic", "_outage", "_rest_end_s", "beats")

    def __init__(
        self, clock: Clock, monotonic: Callable[[], float] = time.monotonic, outage: Outage | None = None
    ) -> None:
        """``outage``: ends at the next beat."""
        self._clock = clock
        self._monotonic = monotonic
        self._outage = outage
        self.beats = 0
        self._beat_s = monotonic()
        self._rest_end_s = -math.inf

    def beat(self) -> None:
        """Something got done: the rest is over, the age is zero, an outage ends."""
        self._wake()
        self.beats += 1
        if self._outage is not None:
            self._outage.succeeded()

    def resting(self, wait_s: float = math.inf) -> None:
        """Waiting on purpose for ``wait_s`` seconds: no stall until then, nor before the next beat is overdue."""
        self._rest_end_s = self._monotonic() + wait_s

    def rest_until(self, unix_s: float) -> None:
        """Waiting on purpose until the clock shows ``unix_s``."""
        self.resting(max(0.0, unix_s - self._clock.now()))

    async def rest(self, stop: Stop, wait: Awaitable[object]) -> bool:
        """Rest until ``wait`` is over, however long that takes; True if the stop came."""
        self.resting()
        try:
            return await stop.cuts_short(wait)
        finally:
            self._wake()  # no beat: a back-off that ends is not yet a success

    async def sleep(self, stop: Stop, wait_s: float) -> bool:
        """Rest ``wait_s`` seconds of the clock; True if the stop came."""
        return await self.rest(stop, self._clock.sleep(wait_s))

    def _wake(self) -> None:
        self._beat_s = self._monotonic()
        self._rest_end_s = -math.inf

    def age_s(self) -> float:
        """Seconds since the last beat or the end of the rest; 0 while resting."""
        return max(0.0, self._monotonic() - max(self._beat_s, self._rest_end_s))


@dataclass(frozen=True, slots=True)
class Service:
    """A named coroutine that runs until its stop. Returning earlier means it is finished, raising see `Supervisor`."""

    name: str
    run: Callable[[Stop, Heart], Awaitable[None]]


class State(enum.StrEnum):
    """Where a service stands: waiting for its restart after a failure, refused until a person acts, or told to stop."""

    RUNNING = "running"
    WAITING = "waiting"
    FINISHED = "finished"
    REFUSED = "refused"
    FATAL = "fatal"
    STOPPED = "stopped"


@dataclass(slots=True, eq=False)
class _Kept:
    """A service with everything the supervisor knows of it."""

    service: Service
    stop: Stop
    heart: Heart
    outage: Outage
    backoff: Backoff
    state: State = State.RUNNING
    last_error: str = ""
    beats_at_failure: int = -1
    task: asyncio.Task[None] = field(init=False)


class Supervisor:
    """Starts, watches, restarts and stops services by name; services come and go while others run.

    By what a service raises: `Transient` restarts it after a back-off, one outage from first failure to next beat;
    `Refused` stops it; `Fatal` ends the program through `until`; anything else is a crash, logged and restarted. Of an
    exception group, as a task group raises, the gravest member counts.
    """

    def __init__(self, clock: Clock, rng: random.Random, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rng = rng
        self._monotonic = monotonic
        self._kept: dict[str, _Kept] = {}
        self._fatal: Fatal | None = None
        self._fatal_came = asyncio.Event()

    def start(self, service: Service) -> None:
        """Run ``service``, in place of one of its name that has ended; ValueError if that one is alive."""
        name = service.name
        if self.is_alive(name):
            raise ValueError(f"a service named {name} is already running")
        heart = Heart(self._clock, self._monotonic, outage := Outage(name, self._clock))
        kept = _Kept(service, Stop(), heart, outage, Backoff(self._rng))
        self._kept.pop(name, None)
        self._kept[name] = kept
        kept.task = asyncio.create_task(self._keep(kept), name=name)

    def is_alive(self, name: str) -> bool:
        """True while ``name`` runs or waits to run again."""
        return name in self._kept and not self._kept[name].task.done()

    def names(self) -> list[str]:
        """Every service known, dead or alive, in order of start."""
        return list(self._kept)

    def state(self, name: str) -> State:
        """Where ``name`` stands; KeyError if it was never started, or was forgotten."""
        return self._kept[name].state

    def last_error(self, name: str) -> str:
        """What ``name`` last failed with, "" if it never did."""
        return self._kept[name].last_error

    def trouble(self, name: str) -> str:
        """What keeps ``name`` from its work: its error, from the failure to the next beat; "" if nothing does.

        A service that runs again has not recovered until it beats; one that is unknown or told to stop has no trouble.
        """
        kept = self._kept.get(name)
        if kept is None or kept.stop.is_set:
            return ""
        if kept.state is State.FINISHED:
            return "it ended though nobody had asked for it"
        return "" if kept.heart.beats > kept.beats_at_failure else kept.last_error

    def forget(self, name: str) -> None:
        """Drop what is known of a service that has ended; ValueError while it is alive."""
        if self.is_alive(name):
            raise ValueError(f"{name} is still running")
        self._kept.pop(name, None)

    def pulse(self) -> dict[str, float]:
        """Seconds without progress, by name, of every service alive."""
        return {name: kept.heart.age_s() for name, kept in self._kept.items() if not kept.task.done()}

    def stalled(self, limit_s: float) -> list[str]:
        """The services alive that made no progress for more than ``limit_s`` seconds."""
        return [name for name, age_s in self.pulse().items() if age_s > limit_s]

    async def until(self, stop: Stop) -> None:
        """Return when ``stop`` is set; raise the first `Fatal` any service ended with, before or meanwhile."""
        await stop.cuts_short(self._fatal_came.wait())
        self.raise_fatal()

    def raise_fatal(self) -> None:
        """Raise the first `Fatal` any service ended with, if any did; ask once more after `stop_all`."""
        if self._fatal is not None:
            raise self._fatal

    async def stop(self, name: str, deadline_s: float = 10.0, why: str = "no longer wanted") -> bool:
        """Stop ``name``: ask, then cancel after ``deadline_s`` real seconds. True if it needed no cancelling."""
        return not await self._stop_together([name], deadline_s, why)

    async def stop_all(self, order: Sequence[tuple[str, ...]], deadline_s: float, why: str = "shutdown") -> list[str]:
        """Stop everything within ``deadline_s`` real seconds; the names that had to be cancelled.

        ``order``: groups of names, each stopped together and before the next; a name in no group stops first. A group
        gets at most its equal share of the time left: one that hangs cannot eat the time others need to drain. One that
        will not even be cancelled costs a second more.
        """
        named = {name for group in order for name in group}
        groups = [tuple(name for name in self._kept if name not in named), *order]
        end_s = time.monotonic() + deadline_s
        cancelled = []
        for left, group in zip(range(len(groups), 0, -1), groups, strict=True):
            share_s = max(0.0, end_s - time.monotonic()) / left
            cancelled += await self._stop_together(group, share_s, why)
        return cancelled

    async def _stop_together(self, names: Sequence[str], deadline_s: float, why: str) -> list[str]:
        tasks = {self._kept[name].task: name for name in names if self.is_alive(name)}
        for name in tasks.values():
            self._kept[name].stop.set(why)
        if not tasks:
            return []
        _, late = await asyncio.wait(tasks, timeout=deadline_s)
        for task in late:
            task.cancel()
        if late:
            _, lost = await asyncio.wait(late, timeout=CANCEL_GRACE_S)
            for task in lost:
                emit(Noted(tasks[task], note="does not stop even when cancelled; it is left behind"))
        return [tasks[task] for task in late]

    async def _keep(self, kept: _Kept) -> None:
        try:
            while not kept.stop.is_set:
                kept.state = State.RUNNING
                started_s = self._monotonic()
                error = await _ending(kept)
                has_worked = isinstance(error, Transient) and kept.heart.beats > kept.beats_at_failure
                if has_worked or self._monotonic() - started_s >= BACKOFF_MOST_S:
                    kept.backoff.reset()
                if not self._goes_on(kept, error):
                    return
                await self._rest(kept, error)
        finally:
            if kept.state in {State.RUNNING, State.WAITING}:
                kept.state = State.STOPPED

    def _goes_on(self, kept: _Kept, error: Exception | None) -> bool:
        """Record how a service ended; True if it shall run again."""
        name = kept.service.name
        if error:
            kept.last_error, kept.beats_at_failure = _said(error), kept.heart.beats
        match error:
            case None if kept.stop.is_set:
                kept.state = State.STOPPED
            case None:
                kept.state = State.FINISHED
                kept.outage.succeeded()
            case Fatal():
                kept.state = State.FATAL
                self._fatal = self._fatal or error
                self._fatal_came.set()
            case Refused():
                kept.state = State.REFUSED
                emit(SourceStopped(name, error=kept.last_error))
            case _ if not kept.stop.is_set:
                kept.state = State.WAITING
            case Transient():
                pass
            case _:
                emit(Noted(name, note=f"failed while stopping: {kept.last_error}"))
        return kept.state is State.WAITING

    async def _rest(self, kept: _Kept, error: Exception | None) -> None:
        wait_s = kept.backoff.next_s()
        if isinstance(error, Transient):
            kept.outage.failed(error)
        else:
            emit(ServiceCrashed(kept.service.name, error=kept.last_error, wait_s=wait_s))
        await kept.heart.sleep(kept.stop, wait_s)


async def _ending(kept: _Kept) -> Exception | None:
    """Run the service once; None if it returned, else the error that decides what happens next."""
    try:
        await kept.service.run(kept.stop, kept.heart)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        return RuntimeError("something it waited for was cancelled")
    except Exception as error:  # noqa: BLE001  the one place: any error must restart the service, not end the program
        return max(_leaves(error), key=_gravity)
    return None


def _gravity(error: Exception) -> int:
    """Which of several errors decides: fatal before unforeseen before refused before transient."""
    ranks = {Transient: 0, Refused: 1, Fatal: 3}
    return next((rank for kind, rank in ranks.items() if isinstance(error, kind)), 2)


def _leaves(error: Exception) -> Iterator[Exception]:
    if isinstance(error, ExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _said(error: Exception) -> str:
    """One line that names the error; an unforeseen one also says its type and the calls that led to it."""
    if isinstance(error, Transient | Refused | Fatal):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    calls = " > ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
    return f"{type(error).__name__}: {error} ({calls or 'no frames'})"
