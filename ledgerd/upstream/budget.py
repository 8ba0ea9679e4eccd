"""What upstream still allows under one policy: our own requests, its limits, its restrictions. Pure.

A request counts from when leave was given, at the earliest, to its end, at the latest; when in between it went out does
not matter. So one that another job sends with leave of ours is booked like our own.

Three promises. No request leaves before every limit known, with its padding, has room for it. Odd headers never leave a
shorter wait than none at all would. Limits, recent requests and restrictions survive a restart, as upstream's counters
do.

Before the limits of a policy are known, one request at a time is allowed: the next when the last is answered.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import astuple, dataclass, replace

from ledgerd.upstream.headers import WAIT_S_MAX, Limit, Report
from ledgerd.upstream.window import Spent, Window, moment, pad_s

SPENT_MAX = 1024
"""Entries kept of our own requests; older ones are merged, each held as long as the later one."""
KEEP_S = 900.0
"""How long a request is remembered at least: a longer window may be announced at any time."""
WINDOWS_MAX = 64
STRIKES_MAX = 30
BACKOFF_FIRST_S = 10.0
BACKOFF_MAX_S = 3600.0
WHOLE_S = 1.0
"""Upstream tells waits in whole seconds; what it cut off is added."""
HTTP_TOO_MANY = 429
HTTP_REFUSED_FROM = 400


@dataclass(frozen=True, slots=True)
class Remaining:
    """What a limit leaves at a moment; ``restricted_until_s`` unix seconds, 0 when it restricts nothing.

    ``hits`` in ``period_s`` are what it allows, ``restriction_s`` what overrunning it costs.
    """

    policy: str
    rule: str
    period_s: int
    remaining: int
    restricted_until_s: float
    hits: int
    restriction_s: int


@dataclass(frozen=True, slots=True)
class Silence:
    """Nothing is sent until ``until_s`` (unix seconds). ``rule``: the limits that caused it, or ``unknown``.

    ``reason``: ``restriction``, ``Retry-After`` or ``back-off``, whichever lasts longest.
    """

    until_s: float
    rule: str
    reason: str


class Budget:
    """The requests and limits of one policy; ``policy`` may be empty while none is known. All times unix seconds.

    A request is reported twice: ``sent`` before it leaves, ``answered`` when its headers are in (``lost``: when they
    will not come any more). ``earliest`` says when the next may leave, judged at the time it is asked for.
    """

    __slots__ = (
        "_floor_s",
        "_open",
        "_own",
        "_silent_until_s",
        "_strikes",
        "_tickets",
        "_told_s",
        "_windows",
        "is_known",
        "policy",
    )

    def __init__(self, policy: str = "") -> None:
        self.policy = policy
        self.is_known = False
        """Every rule of the policy has told its limits at least once; until then one request at a time."""
        self._own: list[Spent] = []
        self._open: dict[int, Spent] = {}
        self._tickets = 0
        self._windows: dict[tuple[str, int], Window] = {}
        self._floor_s = 0.0
        self._silent_until_s = 0.0
        self._strikes = 0
        self._told_s = 0.0
        """When the answer was in whose limits replaced what was known."""

    def earliest(self, now_s: float) -> float:
        """When the next request may be sent, ``now_s`` or later; inf while that hangs on an answer still to come."""
        if self._open and not self.is_known:
            return math.inf
        seen = [window.seen_until(self._own) for window in self._windows.values()]
        return max([self._booked_until(now_s, self._own), *seen])

    def settled(self, now_s: float) -> float:
        """What ``earliest`` would be, were every request under way answered now: always finite."""
        own = self._settled(now_s)
        seen = [window.seen_until(own) for window in self._windows.values()]
        return max([self._booked_until(now_s, own), *seen])

    def sent(self, now_s: float) -> int:
        """Book a request that is about to be sent; returns the ticket to report its end with."""
        self._tickets += 1
        spent = self._open[self._tickets] = Spent(now_s)
        self._own.append(spent)
        self._forget(now_s)
        return self._tickets

    def lost(self, ticket: int, now_s: float) -> None:
        """Request ``ticket`` ended without an answer: upstream counted it at any time up to ``now_s``, or never."""
        spent = self._open.pop(ticket)
        spent.answered_s, spent.is_lost = max(now_s, spent.sent_s), True

    def answered(self, ticket: int, now_s: float, *, status: int, report: Report, jitter: float) -> Silence | None:
        """Take the answer to request ``ticket``: its HTTP ``status`` and what its headers say.

        ``jitter``, 0 to 1, is drawn by the caller and lengthens the back-off after a 429 by up to a half. Returns the
        silence this answer calls for, None if it calls for none. A raised limit, or one that is gone, counts from the
        request after next: the wait in force stands.
        """
        spent = self._open.pop(ticket)
        spent.answered_s = max(now_s, spent.sent_s)
        is_other = report.is_whole and set(report.limits) != {window.limit for window in self._windows.values()}
        floor_s = self.settled(now_s) if is_other else self._booked_until(now_s, self._settled(now_s))
        known = [window.limit for window in self._windows.values()]
        self._learn(report, spent)
        is_sound = report.is_whole and not report.problems
        spent.is_seen = is_sound and len(report.states) == len(self._windows)
        for state in report.states:
            if window := self._windows.get((state.rule, state.period_s)):
                window.observe(state, spent, self._own, is_sound=is_sound)
        self._floor_s = max(self._floor_s, floor_s)
        self._forget(now_s)
        return self._fall_silent(spent.answered_s, status, report, jitter, known)

    def wait_until(self, until_s: float) -> None:
        """Send nothing before ``until_s``: a wait taken over from another policy."""
        self._floor_s = max(self._floor_s, until_s)

    def remaining(self, now_s: float) -> list[Remaining]:
        """What each limit leaves now, by rule and period."""
        found = []
        for (rule, period_s), window in sorted(self._windows.items()):
            until_s = max(window.restricted_until_s, self._silent_until_s)
            left = 0 if until_s > now_s else window.remaining(now_s, self._own)
            hits, restriction_s = window.limit.hits, window.limit.restriction_s
            restricted_until_s = until_s if until_s > now_s else 0.0
            found.append(Remaining(self.policy, rule, period_s, left, restricted_until_s, hits, restriction_s))
        return found

    def _learn(self, report: Report, spent: Spent) -> None:
        """Take the limits told: whole ones replace what was known, others may only add to it or tighten it.

        So may those of a request that may have been counted before the one whose limits stand: they may be older.
        """
        if not report.limits:
            return
        is_newest = report.is_whole and spent.sent_s >= self._told_s
        if is_newest:
            self._told_s = spent.answered_s
        windows = {} if is_newest else dict(self._windows)
        for told in report.limits:
            key = (told.rule, told.period_s)
            window = self._windows.get(key)
            if window is None:
                window = Window(told)
            elif is_newest:
                window.limit = told
            else:
                window.limit = _stricter(window.limit, told)
            if key in windows or len(windows) < WINDOWS_MAX:
                windows[key] = window
        self._windows = windows
        self.is_known = self.is_known or report.is_whole

    def _settled(self, now_s: float) -> list[Spent]:
        """Our requests, as they would stand were all of them answered by now."""
        if not self._open:
            return self._own
        return [replace(each, answered_s=now_s) if each.answered_s > now_s else each for each in self._own]

    def _booked_until(self, now_s: float, own: Sequence[Spent]) -> float:
        booked = [window.booked_until(now_s, own) for window in self._windows.values()]
        restricted = [window.restricted_until_s for window in self._windows.values()]
        return max([now_s, self._floor_s, self._silent_until_s, *restricted, *booked])

    def _fall_silent(
        self, now_s: float, status: int, report: Report, jitter: float, known: Sequence[Limit]
    ) -> Silence | None:
        """Lengthen the silence as far as an answer demands; ``known``: the limits before it."""
        active = {(state.rule, state.period_s): state.active_s for state in report.states if state.active_s}
        waits = {"restriction": float(max(active.values(), default=0))}
        causes = [self._windows[key].limit for key in active if key in self._windows]
        if status < HTTP_REFUSED_FROM:
            self._strikes = 0
            return self._silence(now_s, waits, causes, causes)
        waits["Retry-After"] = float(report.retry_after_s or 0)
        if status != HTTP_TOO_MANY:
            return self._silence(now_s, waits, causes, causes)
        windows = self._windows.values()
        limits = [*known, *(window.limit for window in windows)]
        causes = causes or [window.limit for window in windows if not window.remaining(now_s, self._own)]
        if not (active and report.is_whole):  # it does not say which limit: the longest restriction there is
            waits["restriction"] = float(max([*active.values(), *(limit.restriction_s for limit in limits)], default=0))
        self._strikes = min(STRIKES_MAX, self._strikes + 1)
        backoff_s = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** (self._strikes - 1))
        waits["back-off"] = backoff_s * (1 + jitter / 2)
        return self._silence(now_s, waits, causes, limits)

    def _silence(
        self, now_s: float, waits: Mapping[str, float], causes: Sequence[Limit], padding: Sequence[Limit]
    ) -> Silence | None:
        """Take the longest of ``waits``, and a bucket of ``padding``: upstream's counters lag behind its words."""
        reason = max(waits, key=lambda name: waits[name])
        if not waits[reason]:
            return None
        bucket_s = max((pad_s(limit.period_s) for limit in padding), default=0.0)
        until_s = now_s + waits[reason] + WHOLE_S + bucket_s
        if until_s <= self._silent_until_s:
            return None
        self._silent_until_s = until_s
        return Silence(until_s, ", ".join(map(str, causes)) or "unknown", reason)

    def _forget(self, now_s: float) -> None:
        """Drop requests no window counts any more, and merge the oldest where there are too many."""
        keep_s = max([KEEP_S, *(window.hold_s for window in self._windows.values())])
        self._own = [spent for spent in self._own if spent.answered_s + keep_s > now_s]
        if len(self._own) > SPENT_MAX:
            self._own = _merged(self._own)

    @property
    def under_way(self) -> int:
        """How many requests have been sent and are not answered."""
        return len(self._open)

    def to_json(self, without: Collection[int] = ()) -> dict[str, object]:
        """The budget as JSON values, for ``from_json``; a request under way has null for its answer's time.

        ``without``: tickets of requests under way that are left out, because they are kept elsewhere.
        """
        left_out = {id(self._open[ticket]) for ticket in without}
        own = [
            [
                each.sent_s,
                None if math.isinf(each.answered_s) else each.answered_s,
                each.hits,
                each.is_lost,
                each.is_seen,
            ]
            for each in self._own
            if id(each) not in left_out
        ]
        return {
            "policy": self.policy,
            "is_known": self.is_known,
            "own": own,
            "windows": [window.to_json() for window in self._windows.values()],
            "wait_until_s": self._floor_s,
            "silent_until_s": self._silent_until_s,
            "strikes": self._strikes,
            "told_s": self._told_s,
        }

    @classmethod
    def from_json(cls, data: object, now_s: float) -> "Budget":
        """The budget ``to_json`` wrote, read at ``now_s``; ValueError for anything else.

        A request that was under way is taken as answered now: it may have been counted at any time since. Times that
        lie in the future, after the machine's clock was set back, are cut to the longest they can mean.
        """
        match data:
            case {
                "policy": str(policy),
                "is_known": bool(is_known),
                "own": [*own],
                "windows": [*windows],
                "wait_until_s": wait_until_s,
                "silent_until_s": silent_until_s,
                "strikes": int(strikes),
                **rest,
            }:
                budget = cls(policy)
            case _:
                raise ValueError("no budget")
        budget.is_known = is_known
        budget._own = [_spent(entry, now_s) for entry in own]
        for each in windows[:WINDOWS_MAX]:
            window = Window.from_json(each, now_s)
            budget._windows[window.limit.rule, window.limit.period_s] = window
        budget._floor_s = moment(wait_until_s, now_s + WAIT_S_MAX)
        budget._silent_until_s = moment(silent_until_s, now_s + WAIT_S_MAX)
        budget._strikes = min(max(0, strikes), STRIKES_MAX)
        budget._told_s = moment(rest.get("told_s", 0.0), now_s)
        return budget


def _spent(entry: object, now_s: float) -> Spent:
    match entry:
        case [sent_s, None, int(hits), _, _] if hits >= 1:
            return Spent(moment(sent_s, now_s), now_s, hits, is_lost=True)
        case [sent_s, answered_s, int(hits), bool(is_lost), bool(is_seen)] if hits >= 1:
            return Spent(moment(sent_s, now_s), moment(answered_s, now_s), hits, is_lost, is_seen)
        case _:
            raise ValueError("no request")


def _stricter(known: Limit, told: Limit) -> Limit:
    rule, period_s, hits, restriction_s = astuple(known)
    return Limit(rule, period_s, min(hits, told.hits), max(restriction_s, told.restriction_s))


def _merged(own: list[Spent]) -> list[Spent]:
    """The older half in pairs, each as early and held as long as its two; what is under way stays as it is."""
    half = len(own) // 2
    old = [spent for spent in own[:half] if not math.isinf(spent.answered_s)]
    rest = [spent for spent in own[:half] if math.isinf(spent.answered_s)] + own[half:]
    pairs = [old[at : at + 2] for at in range(0, len(old), 2)]
    merged = [
        Spent(
            min(spent.sent_s for spent in pair),
            max(spent.answered_s for spent in pair),
            sum(spent.hits for spent in pair),
            any(spent.is_lost for spent in pair),
            all(spent.is_seen for spent in pair),
        )
        for pair in pairs
    ]
    return merged + rest
