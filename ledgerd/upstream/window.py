"""One sliding window of a rate limit: when a request fits into it, by what we and others have spent. Pure.

Upstream counts a request somewhere between our sending it and its answer, and its counters are bucketed (5 s for
short periods, 60 s for long ones; measured by others). So a request of ours is held from its **answer** for the
period and one bucket: whatever the delay was, upstream no longer counts it then. Periods no longer than a bucket
are exact, and the delay from sending to answer, measured for each request, is their padding.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass

from ledgerd.upstream.headers import HITS_MAX, PERIOD_S_MAX, WAIT_S_MAX, Limit, State

SHORT_BUCKET_S = 5
LONG_BUCKET_S = 60
TIMER_SLOP_S = 0.02
"""Padding of exact periods beyond the measured delay: timers and float arithmetic."""
RESERVE_HOLDS = 3
RESERVE_S_MIN = 900.0
SIGHTS_MAX = 64
FOREIGN_MAX = 128
"""Entries of others' requests kept for a window; older ones are merged."""


@dataclass(slots=True)
class Spent:
    """``hits`` requests of ours, sent at ``sent_s`` and answered at ``answered_s`` (inf: not yet), unix seconds.

    ``is_lost``: no answer came, so that upstream counted it by ``answered_s``, or never. ``is_seen``: its answer told
    every counter of the policy.
    """

    sent_s: float
    answered_s: float = math.inf
    hits: int = 1
    is_lost: bool = False
    is_seen: bool = False

    def counts_at(self, now_s: float, period_s: float) -> bool:
        """True if upstream's counter of ``period_s`` surely holds it at ``now_s``, when it has been answered."""
        return not self.is_lost and self.sent_s + period_s > now_s


@dataclass(slots=True)
class Foreign:
    """``hits`` requests of others that came after ``after_s`` and not later than ``until_s``, unix seconds."""

    after_s: float
    until_s: float
    hits: int


def pad_s(period_s: float) -> float:
    """How much longer than its period a request is held, seconds.

    >>> [pad_s(period) for period in (1, 10, 60, 300)]
    [0.02, 5, 5, 60]
    """
    if period_s > LONG_BUCKET_S:
        return LONG_BUCKET_S
    return SHORT_BUCKET_S if period_s > SHORT_BUCKET_S else TIMER_SLOP_S


@dataclass(frozen=True, slots=True)
class Sight:
    """Upstream's counter as a request of ours saw it."""

    current: int
    sent_s: float
    answered_s: float


class Window:
    """A limit and what occupies it. Times are unix seconds; ``own``: the ledger of our requests, shared by windows."""

    __slots__ = ("_foreign", "_reserve", "_reserve_until_s", "_sights", "limit", "restricted_until_s")

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.restricted_until_s = 0.0
        """Until when upstream said, at last, that the limit's restriction lasts."""
        self._foreign: list[Foreign] = []
        self._sights: list[Sight] = []
        self._reserve = 0
        self._reserve_until_s = 0.0

    @property
    def hold_s(self) -> float:
        """How long after its answer a request may still be counted upstream, seconds."""
        return self.limit.period_s + pad_s(self.limit.period_s)

    def booked_until(self, now_s: float, own: Sequence[Spent]) -> float:
        """Until when the requests we know of, ours and others', leave no room for one more; inf: hangs on an answer."""
        hold_s, room = self.hold_s, self.limit.hits - 1
        mine = [(spent.answered_s + hold_s, spent.hits) for spent in own]
        others = [(each.until_s + hold_s, each.hits) for each in self._foreign]
        reserve = min(self._reserve, room) if now_s < self._reserve_until_s else 0
        full_until_s = _down_to(room, mine + others)
        return max(full_until_s, _down_to(room - reserve, mine)) if reserve else full_until_s

    def seen_until(self, own: Sequence[Spent]) -> float:
        """Until when upstream's last counter, with what we sent since, leaves no room; inf: hangs on an answer.

        Windows are bucketed, so some requests of ours may or may not have been counted any more. What the counter
        held beside the sure ones may be those or others' in their place, and is taken to stay as long as others'
        would. Lest that fill the window, the last room is kept until the doubtful ones are gone: the request that
        takes it then brings a counter without doubt.
        """
        if not self._sights:
            return 0.0
        hold_s, period_s = self.hold_s, self.limit.period_s
        since_s = min(sight.sent_s for sight in self._sights)
        until_s = max(sight.answered_s for sight in self._sights)
        counted = [spent for spent in own if spent.answered_s <= since_s or spent.is_seen]
        later = [spent for spent in own if spent.answered_s > since_s and not spent.is_seen]
        sure = [(spent.answered_s + hold_s, spent.hits) for spent in counted if spent.counts_at(until_s, period_s)]
        after = [(spent.answered_s + hold_s, spent.hits) for spent in later]
        doubtful = [spent.answered_s + hold_s for spent in counted if not spent.counts_at(until_s, period_s)]
        rest = max(sight.current for sight in self._sights) - sum(hits for _, hits in sure)
        if rest <= 0:
            return _down_to(self.limit.hits - 1, [*sure, *after])
        held = [*sure, *after, (until_s + hold_s, rest)]
        full_until_s, low_until_s = (_down_to(self.limit.hits - kept, held) for kept in (1, 2))
        return max(full_until_s, min(max(doubtful, default=0.0), low_until_s))

    def remaining(self, now_s: float, own: Sequence[Spent]) -> int:
        """How many requests fit now, room for others not set aside; never below 0."""
        hold_s = self.hold_s
        mine = sum(spent.hits for spent in own if spent.answered_s + hold_s > now_s)
        others = sum(each.hits for each in self._foreign if each.until_s + hold_s > now_s)
        return max(0, self.limit.hits - mine - others)

    def observe(self, state: State, seen: Spent, own: Sequence[Spent], *, is_sound: bool) -> None:
        """Take upstream's counter as it stood when it counted ``seen``, which has been answered and is in ``own``.

        What exceeds the requests of ours that may have been counted was spent by others. Of those we knew, the ones
        that may have expired make way first; the counter proves how many there are at least and at most. A counter
        below what we surely spent is none; one among headers that are not ``is_sound`` only adds to what is known.
        """
        if state.active_s:
            self.restricted_until_s = max(self.restricted_until_s, seen.answered_s + state.active_s)
        hold_s, period_s = self.hold_s, self.limit.period_s
        perhaps = sum(each.hits for each in own if each.answered_s + hold_s > seen.sent_s)
        surely = 1 + sum(
            each.hits for each in own if each.answered_s <= seen.sent_s and each.counts_at(seen.answered_s, period_s)
        )
        if state.current < surely:
            return
        least = min(max(0, state.current - perhaps), self.limit.hits)
        most = min(state.current - surely, self.limit.hits) if is_sound else self.limit.hits
        self._settle(least, most, seen)
        self._set_reserve(seen.answered_s)
        if is_sound:
            beside = [sight for sight in self._sights if sight.answered_s > seen.sent_s]
            self._sights = [*beside, Sight(state.current, seen.sent_s, seen.answered_s)][-SIGHTS_MAX:]

    def _settle(self, least: int, most: int, seen: Spent) -> None:
        """Make the ledger of others agree with a counter that says they spent ``least`` to ``most``."""
        counted_s = seen.answered_s - self.limit.period_s
        known = [each for each in self._foreign if each.until_s + self.hold_s > seen.sent_s]
        firm = [each for each in known if each.after_s > counted_s]
        loose = [each for each in known if each.after_s <= counted_s]
        firm = _newest(firm, most)
        need = max(0, least - _total(firm))
        loose = _newest(loose, max(0, min(_total(loose) - need, most - _total(firm) - need)))
        after_s = min([seen.sent_s, *(sight.sent_s for sight in self._sights)]) if self._sights else -math.inf
        fresh = [Foreign(after_s, seen.answered_s, need)] if need else []
        self._foreign = _merged(sorted([*loose, *firm, *fresh], key=lambda each: each.until_s))

    def _set_reserve(self, now_s: float) -> None:
        """Leave room for as many requests of others as were seen to come lately, and one more.

        What the window held when it was first seen is no sign of traffic: it may be ours, from before a restart.
        """
        active = sum(each.hits for each in self._foreign if each.after_s > -math.inf)
        if active and (active + 1 >= self._reserve or now_s >= self._reserve_until_s):
            self._reserve = active + 1
            self._reserve_until_s = now_s + max(RESERVE_HOLDS * self.hold_s, RESERVE_S_MIN)

    def to_json(self) -> dict[str, object]:
        """The window as JSON values."""
        return {
            "limit": list(astuple(self.limit)),
            "restricted_until_s": self.restricted_until_s,
            "sights": [list(astuple(sight)) for sight in self._sights],
            "foreign": [[each.until_s, each.hits] for each in self._foreign],
            "reserve": [self._reserve, self._reserve_until_s],
        }

    @classmethod
    def from_json(cls, data: object, now_s: float) -> "Window":
        """The window ``to_json`` wrote, its times cut to the latest they can be at ``now_s``; ValueError for others."""
        match data:
            case {
                "limit": [str(rule), int(period_s), int(hits), int(restriction_s)],
                "restricted_until_s": restricted_until_s,
                "sights": [*sights],
                "foreign": [*foreign],
                "reserve": [int(reserve), reserve_until_s],
            } if 1 <= hits <= HITS_MAX and 1 <= period_s <= PERIOD_S_MAX and 0 <= restriction_s <= WAIT_S_MAX:
                window = cls(Limit(rule, period_s, hits, restriction_s))
            case _:
                raise ValueError("no window")
        window.restricted_until_s = moment(restricted_until_s, now_s + WAIT_S_MAX)
        for entry in foreign[-FOREIGN_MAX:]:
            match entry:
                case [until_s, int(count)] if 1 <= count <= HITS_MAX:
                    window._foreign.append(Foreign(-math.inf, moment(until_s, now_s), count))
                case _:
                    raise ValueError("no request of others")
        for entry in sights[-SIGHTS_MAX:]:
            match entry:
                case [int(current), sent_s, answered_s] if 0 <= current <= HITS_MAX:
                    window._sights.append(Sight(current, moment(sent_s, now_s), moment(answered_s, now_s)))
                case _:
                    raise ValueError("no counter")
        window._reserve = min(max(0, reserve), HITS_MAX)
        window._reserve_until_s = moment(reserve_until_s, now_s + max(RESERVE_HOLDS * window.hold_s, RESERVE_S_MIN))
        return window


def moment(value: object, latest_s: float) -> float:
    """``value`` as a time, cut to ``latest_s``; ValueError when it is no finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("no time")
    return min(float(value), latest_s)


def _down_to(room: int, releases: Iterable[tuple[float, int]]) -> float:
    """The earliest time at which at most ``room`` of ``releases`` (time, hits) are still to come; -inf: always."""
    held = 0
    for release_s, hits in sorted(releases, reverse=True):
        held += hits
        if held > room:
            return release_s
    return -math.inf


def _total(entries: Iterable[Foreign]) -> int:
    return sum(each.hits for each in entries)


def _newest(entries: Sequence[Foreign], hits: int) -> list[Foreign]:
    """As many of ``entries`` as make ``hits``, those that will be held longest."""
    kept: list[Foreign] = []
    for each in sorted(entries, key=lambda each: each.until_s, reverse=True):
        if hits <= 0:
            break
        kept.append(Foreign(each.after_s, each.until_s, min(each.hits, hits)))
        hits -= each.hits
    return kept


def _merged(entries: list[Foreign]) -> list[Foreign]:
    """``entries`` in order of time, at most FOREIGN_MAX: the oldest become one, held as long as the last of them."""
    extra = len(entries) - FOREIGN_MAX
    if extra <= 0:
        return entries
    old = entries[: extra + 1]
    one = Foreign(min(each.after_s for each in old), old[-1].until_s, _total(old))
    return [one, *entries[extra + 1 :]]
