"""What a river knows about itself: live while it keeps meeting the end of the stream with all before it stored."""

from collections import deque
from collections.abc import Callable

from ledgerd.clock import UPSTREAM_DELAY_S, Clock
from ledgerd.harvest.book import Book
from ledgerd.spool.writer import Committed

LIVE_WITHIN_S = 300.0
"""The end of the stream was met longer ago than this: the river runs ahead of us."""
ENDS_MAX = 1_000
"""How many ends may wait for their commit; the oldest is forgotten first."""


class RiverBook(Book):
    """The progress of one river."""

    def __init__(self, name: str, kind: str, realm: str, clock: Clock, *, waiting: Callable[[], int]) -> None:
        """``waiting``: how many frozen pages are not committed yet."""
        super().__init__(name, kind, realm, clock)
        self._waiting = waiting
        self._committed_pages = 0
        self._met: deque[tuple[int, float]] = deque(maxlen=ENDS_MAX)
        self._stored_until_s: float | None = None

    def ended(self, at_s: float) -> None:
        """At ``at_s``, unix seconds, upstream had no more than is frozen now: once that is committed, we have all.

        A batch that is committed and not retired yet still waits; an end met meanwhile, which counted it twice, gives
        way to the next.
        """
        pages = self._committed_pages + self._waiting()
        while self._met and self._met[-1][0] > pages:
            self._met.pop()
        self._met.append((pages, at_s))
        self._settle()

    def is_live(self) -> bool:
        """Whether we keep up: the end of the stream was met a short while ago, and all before it is stored."""
        return self._is_live(self._clock.now(), None)

    def _reached(self, what: Committed) -> None:
        self._newest_s |= dict.fromkeys(what.by_league, self._clock.now())
        self._committed_pages += what.batch.pages
        self._settle()

    def _settle(self) -> None:
        """Count the ends before which every page is committed."""
        while self._met and self._met[0][0] <= self._committed_pages:
            self._stored_until_s = self._met.popleft()[1]

    def _progress_s(self) -> float:
        return max(super()._progress_s(), self._stored_until_s or 0.0)

    def _lag_s(self, now_s: float) -> float | None:
        if self._stored_until_s is None or not self._is_live(now_s, None):
            return None
        return round(UPSTREAM_DELAY_S + now_s - self._stored_until_s, 1)

    def _pages_behind(self, now_s: float) -> int | None:
        return self._waiting() if self._is_live(now_s, None) else None

    def _is_live(self, now_s: float, cursor: str | None) -> bool:
        return self._stored_until_s is not None and now_s - self._stored_until_s <= LIVE_WITHIN_S
