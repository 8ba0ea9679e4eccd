"""Which lanes fail, at what, and when each is tried again."""

import random
from dataclasses import dataclass

from ledgerd.clock import Clock
from ledgerd.errors import LedgerdError
from ledgerd.etl.plan import Step, Task
from ledgerd.outage import Backoff, Outage


@dataclass(slots=True)
class _Trouble:
    """A lane, or a source as a whole, whose last task failed, or failed before: when to try again, what went wrong."""

    outage: Outage
    backoff: Backoff
    step: str = ""
    not_before_s: float = 0.0


class Troubles:
    """The failures of ETL by source and lane; the lane is empty where a source failed as a whole, or has no lanes."""

    def __init__(self, clock: Clock, rng: random.Random) -> None:
        """``rng``: jitter of the back-offs."""
        self._clock = clock
        self._rng = rng
        self._troubles: dict[tuple[str, str], _Trouble] = {}

    def failed(self, task: Task, lane: str, error: LedgerdError) -> bool:
        """``task`` failed for ``lane``, which waits from now on; True if it was well before."""
        key = task.batch.source, lane
        if key not in self._troubles:
            outage = Outage(f"etl {' '.join(filter(None, key))}", self._clock)
            self._troubles[key] = _Trouble(outage, Backoff(self._rng))
        trouble = self._troubles[key]
        is_first = trouble.outage.since is None
        trouble.outage.failed(error)
        trouble.step = task.step.name
        trouble.not_before_s = self._clock.now() + trouble.backoff.next_s()
        return is_first

    def succeeded(self, task: Task) -> None:
        """End the outage of a task's lanes, and of their source, whose failing step this was."""
        for lane in ("", *task.leagues):
            trouble = self._troubles.get((task.batch.source, lane))
            if trouble and trouble.step == task.step.name:
                trouble.outage.succeeded()
                trouble.backoff.reset()
                trouble.step, trouble.not_before_s = "", 0.0

    def failures(self, source: str, lane: str) -> int:
        """How often it failed since it was well."""
        trouble = self._troubles.get((source, lane))
        return trouble.outage.failures if trouble else 0

    def is_waiting(self, source: str, lane: str) -> bool:
        """True until the lane may be tried again."""
        trouble = self._troubles.get((source, lane))
        return trouble is not None and trouble.not_before_s > self._clock.now()

    def lanes_of(self, source: str) -> set[str]:
        """The lanes of ``source`` that fail, each by itself."""
        return {lane for (name, lane), trouble in self._troubles.items() if name == source and lane and trouble.step}

    def wait_s(self, most_s: float) -> float:
        """Until one of them may be tried again; ``most_s`` if that is later."""
        now_s = self._clock.now()
        return max(0.0, min([most_s, *(one.not_before_s - now_s for one in self._troubles.values() if one.step)]))

    def error_of(self, step: Step, source: str, lane: str) -> str | None:
        """Why ``step`` fails for ``lane``; None if it does not."""
        for key in dict.fromkeys([(source, lane), (source, "")]):
            trouble = self._troubles.get(key)
            if trouble and trouble.step == step.name:
                return trouble.outage.last_error
        return None
