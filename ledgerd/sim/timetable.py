"""Which hours the stand-in has published, and when: the oldest, the edge, the gaps between. Pure."""

from ledgerd.clock import HOUR_S, hour_of
from ledgerd.sim.noise import key_of, uniform
from ledgerd.sim.source import Source

_LATE_MAX_H = 5


class Timetable:
    """What is published of ``source`` at a given time.

    ``started_s`` (unix seconds) fixes the oldest hour, ``history_hours`` before it. An hour is published
    ``publish_delay_s`` after it ends, a seeded ``late_rate`` of hours one to five hours after that. With ``is_manual``
    the edge stands where ``move`` last put it, at first at the hour of ``started_s``. A source with a span of its own
    ends there: all it has is published at once unless a manual edge holds it back.
    """

    def __init__(
        self,
        source: Source,
        *,
        started_s: float,
        history_hours: int,
        publish_delay_s: float = 120.0,
        late_rate: float = 0.0,
        seed: int = 0,
        is_manual: bool = False,
    ) -> None:
        self._source = source
        self._oldest = hour_of(started_s) - history_hours * HOUR_S
        self._delay_s = publish_delay_s
        self._late_rate = late_rate
        self._key = key_of(seed, "late")
        self._manual = self._first_manual(started_s) if is_manual else None

    @property
    def is_manual(self) -> bool:
        """Whether only ``move`` moves the edge."""
        return self._manual is not None

    def _first_manual(self, started_s: float) -> int:
        ends = [span[1] for span in map(self._source.span, self._source.realms) if span]
        return max(ends, default=hour_of(started_s))

    def oldest(self, realm: str) -> int:
        """The oldest hour there is."""
        span = self._source.span(realm)
        hour = span[0] if span else self._oldest
        while not self._source.exists(realm, hour):
            hour += HOUR_S
        return hour

    def edge(self, realm: str, now_s: float) -> int:
        """The first unpublished hour."""
        span = self._source.span(realm)
        if span:
            return span[1] if self._manual is None else min(span[1], self._manual)
        return self._by_clock(realm, now_s) if self._manual is None else self._manual

    def _by_clock(self, realm: str, now_s: float) -> int:
        """The first hour not yet published at ``now_s``: usually the running one, earlier when one is late."""
        hour = hour_of(now_s - self._delay_s) - (_LATE_MAX_H + 1) * HOUR_S
        while self.published_at(realm, hour) <= now_s:
            hour += HOUR_S
        return hour

    def published_at(self, realm: str, hour: int) -> float:
        """The unix second at which the clock publishes ``hour``."""
        key = self._key + key_of(realm)
        late_h = 0.0
        if uniform(key, hour // HOUR_S) < self._late_rate:
            late_h = 1.0 + (_LATE_MAX_H - 1) * uniform(key + 1, hour // HOUR_S)
        return hour + HOUR_S + self._delay_s + late_h * HOUR_S

    def is_published(self, realm: str, hour: int, now_s: float) -> bool:
        """Whether ``hour`` can be had."""
        return self.oldest(realm) <= hour < self.edge(realm, now_s) and self._source.exists(realm, hour)

    def following(self, realm: str, hour: int, now_s: float) -> int:
        """The hour a client waiting at an unpublished ``hour`` is told: past gaps, but never past the edge."""
        edge = self.edge(realm, now_s)
        if hour >= edge:
            return edge
        hour = max(hour, self.oldest(realm))
        while hour < edge and not self._source.exists(realm, hour):
            hour += HOUR_S
        return hour

    def move(self, hour: int) -> None:
        """Put the manual edge at ``hour`` (unix seconds). ValueError: the edge is not manual, ``hour`` not aligned."""
        if self._manual is None:
            raise ValueError("the edge follows the clock: start with edge = manual to move it")
        if hour % HOUR_S or hour <= 0:
            raise ValueError(f"edge {hour}: expected unix seconds at the start of an hour")
        self._manual = hour

    def advance(self, hours: int) -> None:
        """Move the manual edge on by ``hours``; errors as ``move``."""
        self.move((self._manual or 0) + hours * HOUR_S)
