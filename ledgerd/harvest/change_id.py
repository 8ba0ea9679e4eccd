"""Change ids of the river: which way they run, and how the live end is found; pure.

An id is counters joined by dashes, officially opaque. What is read into it here is only what others measured: counters
grow, an id of five equal numbers seeks, and behind the live end a page is empty.
"""

from ledgerd.harvest.river_page import CHANGE_ID

COUNTERS = 5
SEEK_FROM = 3_400_000_000
"""Where the search begins: a counter of October 2026."""
SEEK_STEP = 100_000_000
SEEK_WITHIN = 50_000
"""How close to the live end is close enough: about an hour of one counter."""


def runs_back(asked: str, following: str) -> bool:
    """Whether an id that follows ``asked`` stands still or goes back: no counter of it is larger.

    >>> runs_back("5-5", "5-5"), runs_back("5-5", "4-6"), runs_back("5-5", "4-5")
    (True, False, True)
    """
    before, after = _counters(asked), _counters(following)
    return len(before) == len(after) and all(new <= old for old, new in zip(before, after, strict=True))


def _counters(change_id: str) -> list[int]:
    return [int(part) for part in change_id.split("-")] if CHANGE_ID.fullmatch(change_id) else []


class Seek:
    """Finds the live end of a river: steps that double until a page is empty, then bisection; 12 requests or so."""

    def __init__(self) -> None:
        self._number = SEEK_FROM
        self._step = SEEK_STEP
        self._low = 0
        self._high: int | None = None
        self._head = _seeking(0)

    @property
    def asking(self) -> str:
        """The id to ask for."""
        return _seeking(self._number)

    def told(self, following: str, *, is_empty: bool) -> str | None:
        """What upstream answered to ``asking``; the id of the live end once it is found, None while it is not."""
        if is_empty:
            self._high = self._number
        else:
            self._low, self._head = self._number, following
        if self._high is None:
            self._number += self._step
            self._step *= 2
            return None
        if self._high - self._low <= SEEK_WITHIN:
            return self._head
        self._number = (self._low + self._high) // 2
        return None


def _seeking(number: int) -> str:
    return "-".join([str(number)] * COUNTERS)
