"""How long a batch is tried whole: an engine that fails the same way each time will not take it tomorrow either."""

from ledgerd.errors import QueryRefused, StoreUnavailable
from ledgerd.store.faults import is_repeatable

FAILURES_MAX = 5
PATIENCE_S = 300.0
"""A short want of memory, another query's, must not be taken for a fault of the batch."""


class Patience:
    """The failures of the batch in hand that would come again however often it is sent."""

    __slots__ = ("_batch_id", "failures", "since_s")

    def __init__(self) -> None:
        """Nothing has failed."""
        self._batch_id = ""
        self.failures = 0
        self.since_s = 0.0

    def is_over(self, batch_id: str, error: StoreUnavailable | QueryRefused, now_s: float) -> bool:
        """Count ``error`` of ``batch_id``; True once the batch failed often enough, for long enough."""
        if not is_repeatable(error):
            return False
        if batch_id != self._batch_id:
            self._batch_id, self.failures, self.since_s = batch_id, 0, now_s
        self.failures += 1
        return self.failures >= FAILURES_MAX and now_s - self.since_s >= PATIENCE_S
