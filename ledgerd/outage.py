"""How failures are waited out and counted: growing waits, and two log lines for an outage however long it lasts."""

import random

from ledgerd.clock import Clock
from ledgerd.events import OutageEnded, OutageStarted, emit

BACKOFF_FIRST_S = 1.0
BACKOFF_MOST_S = 60.0


class Backoff:
    """Waits that double from ``first_s`` up to ``most_s``, each drawn from its upper half so that nobody keeps step.

    >>> backoff = Backoff(random.Random(1), first_s=1, most_s=4)
    >>> [round(backoff.next_s(), 1) for _ in range(4)]
    [0.6, 1.8, 3.5, 2.5]
    """

    __slots__ = ("_ceiling_s", "_first_s", "_most_s", "_rng")

    def __init__(self, rng: random.Random, first_s: float = BACKOFF_FIRST_S, most_s: float = BACKOFF_MOST_S) -> None:
        if not 0 < first_s <= most_s:
            raise ValueError(f"first_s {first_s} must lie above 0 and not above most_s {most_s}")
        self._rng = rng
        self._first_s = self._ceiling_s = first_s
        self._most_s = most_s

    def next_s(self) -> float:
        """The next wait in seconds."""
        ceiling_s = self._ceiling_s
        self._ceiling_s = min(self._most_s, ceiling_s * 2)
        return self._rng.uniform(ceiling_s / 2, ceiling_s)

    def reset(self) -> None:
        """Begin again at ``first_s``."""
        self._ceiling_s = self._first_s


class Outage:
    """One line when ``subject`` starts to fail and one when it is well again; what lies between is counted.

    ``since``: unix seconds of the first failure, None while all is well; ``failures``: how many since then;
    ``last_error``: the newest failure's text, which outlives the outage.
    """

    __slots__ = ("_clock", "_subject", "failures", "last_error", "since")

    def __init__(self, subject: str, clock: Clock) -> None:
        self._subject = subject
        self._clock = clock
        self.since: float | None = None
        self.failures = 0
        self.last_error = ""

    def failed(self, error: Exception) -> None:
        """Count a failure; the first one after a success is logged."""
        self.failures += 1
        self.last_error = str(error) or type(error).__name__
        if self.since is None:
            self.since = self._clock.now()
            emit(OutageStarted(self._subject, error=self.last_error))

    def succeeded(self) -> None:
        """End the outage, if there is one."""
        if self.since is None:
            return
        since, failures, self.since, self.failures = self.since, self.failures, None, 0
        emit(OutageEnded(self._subject, failures=failures, seconds=max(0.0, self._clock.now() - since)))
