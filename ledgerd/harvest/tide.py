"""Whether a river's pages still come full: how its end shows to who asks too often to find an empty page; pure."""

from collections import deque

PAGES_SEEN = 10
SHORT_SHARE = 0.5
SHORT_PAGES = 2
PROBE_PAGES = 100


class Tide:
    """Judges pages by their number of changes.

    Upstream fills a page with what it has, up to a bound of its own that we do not know. So a page is short when it
    holds at most half of the largest of the ten before it, and two short ones in a row mean that there was no more. An
    empty page always means that. Where pages come alike for long, nothing can be told: then ``is_due`` asks for a
    pause, after which the next page is larger if we stand at the end, and just as large if we do not.
    """

    def __init__(self) -> None:
        self._sizes: deque[int] = deque(maxlen=PAGES_SEEN)
        self._short = 0
        self._untold = 0

    @property
    def is_due(self) -> bool:
        """Whether it is time for a pause that shows where we stand."""
        return self._untold >= PROBE_PAGES

    def told(self, changes: int) -> bool:
        """Take the size of the next page; True if it reached the end of the stream."""
        is_short = changes <= SHORT_SHARE * max(self._sizes, default=0)
        self._short = self._short + 1 if is_short else 0
        self._sizes.append(changes)
        is_end = changes == 0 or self._short >= SHORT_PAGES
        self._untold = 0 if is_end or self.is_due else self._untold + 1
        return is_end
