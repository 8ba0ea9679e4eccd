"""Rate limits as upstream keeps them, from the server's side: pure, the time is an argument.

A policy has rules (``Ip``, ``Account``, ``Client``), a rule has limits ``hits:period:restriction``. A request that
makes a limit's count exceed its hits is refused and restricts whoever it came from for ``restriction`` seconds;
requests during a restriction count, but do not extend it.
"""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ledgerd.sim.noise import key_of, mix, uniform

WINDOWS = ("sliding", "bucketed")
STYLES = ("canonical", "lower", "upper", "mixed", "none")
_SHORT_BUCKET_S, _LONG_BUCKET_S, _LONG_FROM_S = 5, 60, 60
_KEPT_MAX = 20_000
_FOREIGN_PER_S_MAX = 20
_PARTS = 3


@dataclass(frozen=True, slots=True)
class Limit:
    """At most ``hits`` in ``period_s`` seconds, or a restriction of ``restriction_s``."""

    hits: int
    period_s: int
    restriction_s: int

    def __str__(self) -> str:
        return f"{self.hits}:{self.period_s}:{self.restriction_s}"


def parse_limits(text: str) -> tuple[Limit, ...]:
    """Limits out of the documented grammar; ValueError when it is another.

    >>> [str(limit) for limit in parse_limits("15:10:60,30:300:300")]
    ['15:10:60', '30:300:300']
    """
    found = []
    for entry in text.split(","):
        parts = entry.split(":")
        if len(parts) != _PARTS or not all(part.isascii() and part.isdigit() for part in parts) or not int(parts[1]):
            raise ValueError(f"limits {text!r}: expected hits:period:restriction[,…] such as 2:1:60")
        found.append(Limit(*map(int, parts)))
    return tuple(found)


def bucket_s(period_s: int) -> int:
    """The bucket in which hits of a period are counted where windows are bucketed, seconds; 0: exactly.

    Five seconds for periods up to a minute and sixty for longer ones; a period no longer than its bucket is exact.
    """
    bucket = _LONG_BUCKET_S if period_s > _LONG_FROM_S else _SHORT_BUCKET_S
    return bucket if period_s > bucket else 0


def counts_since(now_s: float, period_s: int, windows: str) -> float:
    """The moment after which a hit still counts at ``now_s``: in whole buckets, a hit leaves with its bucket."""
    bucket = bucket_s(period_s) if windows == "bucketed" else 0
    since_s = now_s - period_s
    return math.nextafter(math.floor(since_s / bucket) * bucket, -math.inf) if bucket else since_s


@dataclass(slots=True)
class _Book:
    """What one rule knows of one address, account or client."""

    hits: list[float] = field(default_factory=list)
    banned_until_s: dict[int, float] = field(default_factory=dict)  # by period

    def count(self, now_s: float, limit: Limit, windows: str) -> int:
        """Hits that count against ``limit`` now."""
        return len(self.hits) - bisect_right(self.hits, counts_since(now_s, limit.period_s, windows))

    def active_s(self, now_s: float, limit: Limit) -> int:
        """Whole seconds the limit's restriction still lasts, 0 when there is none."""
        return max(0, math.ceil(self.banned_until_s.get(limit.period_s, 0.0) - now_s))

    def add(self, at_s: float) -> None:
        """Count a hit; the clock may stand, but the hits stay in order."""
        self.hits.append(max(at_s, self.hits[-1] if self.hits else at_s))
        if len(self.hits) > _KEPT_MAX:
            del self.hits[: _KEPT_MAX // 2]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request may pass; ``headers`` say so in upstream's words, with ``Retry-After`` where it may not."""

    passes: bool
    headers: tuple[tuple[str, str], ...]


class Limiter:
    """The limits of one host and everybody who used them.

    ``policies`` maps a policy's name to its rules and their limits, as text. ``foreign_rate`` is how many requests a
    second others send through each ``Ip`` rule, at seeded moments; they keep the limits themselves. Raises ValueError
    for limits of another grammar.
    """

    def __init__(
        self,
        policies: Mapping[str, Mapping[str, str]],
        *,
        windows: str = "sliding",
        foreign_rate: float = 0.0,
        seed: int = 0,
    ) -> None:
        self._policies = {name: _rules(rules) for name, rules in policies.items()}
        self._windows = windows
        self._foreign_rate = foreign_rate
        self._key = key_of(seed, "foreign")
        self._books: dict[tuple[str, str, str], _Book] = {}
        self._foreign_until_s: dict[tuple[str, str, str], int] = {}
        self.style = "canonical"
        self.retry_after_s: int | None = None  # what Retry-After says in place of the truth
        self.bans = 0

    @property
    def policies(self) -> tuple[str, ...]:
        """The names of all policies."""
        return tuple(self._policies)

    def limits(self, policy: str) -> dict[str, str]:
        """The limits in force, rule by rule, as text; KeyError for a policy that is none."""
        return {rule: ",".join(map(str, limits)) for rule, limits in self._policies[policy].items()}

    def change(self, policy: str, rules: Mapping[str, str]) -> None:
        """Put other limits in force; past requests and restrictions stand. ValueError as at construction."""
        self._known(policy)
        self._policies[policy] = _rules(rules)

    def foreign(self, policy: str, who: Mapping[str, str], hits: int, now_s: float) -> None:
        """Count ``hits`` requests of others against every rule of ``policy``, without a restriction."""
        self._known(policy)
        for rule in self._policies[policy]:
            for _ in range(min(hits, _KEPT_MAX)):
                self._book(policy, rule, who).add(now_s)

    def ban(self, policy: str, who: Mapping[str, str], wait_s: float, now_s: float) -> None:
        """Restrict ``who`` for ``wait_s`` seconds under the first limit of every rule of ``policy``."""
        self._known(policy)
        for rule, limits in self._policies[policy].items():
            self._restrict(self._book(policy, rule, who), limits[0], now_s + wait_s)

    def hit(self, policy: str, who: Mapping[str, str], now_s: float) -> Verdict:
        """Count one request of ``who`` (rule → address, account or client) and judge it."""
        passes = True
        for rule, limits in self._policies[policy].items():
            book = self._book(policy, rule, who)
            self._prune(book, limits, now_s)
            if rule.lower() == "ip" and self._foreign_rate:
                self._others(policy, rule, who, now_s)
            book.add(now_s)
            passes &= self._judge(book, limits, now_s)
        return Verdict(passes, self.told(policy, who, now_s, passes=passes))

    def _known(self, policy: str) -> None:
        if policy not in self._policies:
            raise ValueError(f"unknown policy {policy!r}: expected one of {', '.join(self._policies)}")

    def _book(self, policy: str, rule: str, who: Mapping[str, str]) -> _Book:
        return self._books.setdefault((policy, rule.lower(), who.get(rule.lower(), "")), _Book())

    def _judge(self, book: _Book, limits: Sequence[Limit], now_s: float) -> bool:
        """Whether the last hit passes; a first one too many begins a restriction."""
        if any(until_s > now_s for until_s in book.banned_until_s.values()):
            return False
        over = [limit for limit in limits if book.count(now_s, limit, self._windows) > limit.hits]
        for limit in over:
            self._restrict(book, limit, now_s + limit.restriction_s)
        return not over

    def _restrict(self, book: _Book, limit: Limit, until_s: float) -> None:
        self.bans += 1
        book.banned_until_s[limit.period_s] = max(until_s, book.banned_until_s.get(limit.period_s, 0.0))

    def _prune(self, book: _Book, limits: Sequence[Limit], now_s: float) -> None:
        """Forget what no limit counts any more; an hour is kept, so that new limits find a past."""
        longest_s = max([3600, *(limit.period_s + _LONG_BUCKET_S for limit in limits)])
        del book.hits[: bisect_right(book.hits, now_s - longest_s)]

    def _others(self, policy: str, rule: str, who: Mapping[str, str], now_s: float) -> None:
        """Add the requests others sent up to now, each only if the limits allowed it then."""
        place = (policy, rule, who.get(rule.lower(), ""))
        limits = self._policies[policy][rule]
        longest_s = max(limit.period_s for limit in limits) + _LONG_BUCKET_S
        tick_s = 1.0 / _FOREIGN_PER_S_MAX
        first = max(self._foreign_until_s.get(place, 0), math.ceil((now_s - longest_s) / tick_s))
        self._foreign_until_s[place] = last = math.floor(now_s / tick_s) + 1
        key, book = self._key + mix(key_of(*place), 0), self._book(policy, rule, who)
        for tick in range(first, last):
            if uniform(key, tick) < self._foreign_rate * tick_s:
                _slip_in(book, tick * tick_s, limits, self._windows)

    def told(
        self, policy: str, who: Mapping[str, str], now_s: float, *, passes: bool = True
    ) -> tuple[tuple[str, str], ...]:
        """What an answer says of the policy, in the documented grammar and the ordered spelling."""
        rules = self._policies[policy]
        found = [("X-Rate-Limit-Policy", policy), ("X-Rate-Limit-Rules", ",".join(rules))]
        wait_s = 0
        for rule, limits in rules.items():
            book = self._book(policy, rule, who)
            states = [(book.count(now_s, li, self._windows), li.period_s, book.active_s(now_s, li)) for li in limits]
            found.append((f"X-Rate-Limit-{rule}", ",".join(map(str, limits))))
            found.append((f"X-Rate-Limit-{rule}-State", ",".join(f"{n}:{period}:{left}" for n, period, left in states)))
            wait_s = max([wait_s, *(left for _, _, left in states)])
        styled = [] if self.style == "none" else [(_styled(name, self.style), text) for name, text in found]
        if not passes:
            told_s = max(wait_s, 1) if self.retry_after_s is None else self.retry_after_s
            styled.append(("Retry-After", str(told_s)))
        return tuple(styled)


def _rules(rules: Mapping[str, str]) -> dict[str, tuple[Limit, ...]]:
    """A policy's rules; ValueError where there are none."""
    if not rules:
        raise ValueError("a policy needs at least one rule, such as Ip")
    return {name: parse_limits(text) for name, text in rules.items()}


def _slip_in(book: _Book, at_s: float, limits: Sequence[Limit], windows: str) -> None:
    """Put a polite stranger's hit among the others, unless a limit was full at its time or would be now."""
    at = bisect_right(book.hits, at_s)
    for limit in limits:
        since = bisect_right(book.hits, counts_since(at_s, limit.period_s, windows))
        ahead = bisect_right(book.hits, at_s + limit.period_s)
        if max(at - since, ahead - at) >= limit.hits:
            return
    book.hits.insert(at, at_s)


def _styled(name: str, style: str) -> str:
    """A header's name in another case."""
    if style == "mixed":
        return "".join(c.upper() if n % 2 else c.lower() for n, c in enumerate(name))
    return {"lower": name.lower(), "upper": name.upper()}.get(style, name)
