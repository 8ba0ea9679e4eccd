"""What an answer's rate-limit headers say: grammar in, values out; whatever cannot be used is dropped and named.

The grammar, from GGG's developer documentation:
``X-Rate-Limit-Policy: name`` · ``X-Rate-Limit-Rules: Account,Ip`` · ``Retry-After: seconds`` ·
``X-Rate-Limit-<rule>: hits:period:restriction[,…]`` · ``X-Rate-Limit-<rule>-State: current:period:active[,…]``.
The case of names varies.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

FIELDS_MAX = 500
"""Header lines looked at."""
RULES_MAX = 8
ENTRIES_MAX = 16
"""Entries read of one header."""
PROBLEMS_MAX = 16
TEXT_CHARS_MAX = 4096
"""Characters read of one header."""
HITS_MAX = 1_000_000
PERIOD_S_MAX = 86_400
WAIT_S_MAX = 86_400
"""Longest restriction or ``Retry-After`` believed; a longer one is cut to it."""

_PREFIX = "x-rate-limit-"
_STATE = "-state"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_DIGITS_MAX = 15
_PARTS = 3


@dataclass(frozen=True, slots=True)
class Limit:
    """At most ``hits`` requests in ``period_s``, or ``restriction_s`` of nothing; ``rule``: a capitalised name."""

    rule: str
    period_s: int
    hits: int
    restriction_s: int

    def __str__(self) -> str:
        """As upstream writes it: ``Ip 2:1:60``."""
        return f"{self.rule} {self.hits}:{self.period_s}:{self.restriction_s}"


@dataclass(frozen=True, slots=True)
class State:
    """Where upstream's own counter of a rule and period stands, this request counted; ``active_s``: restricted for."""

    rule: str
    period_s: int
    current: int
    active_s: int


@dataclass(frozen=True, slots=True)
class Report:
    """All an answer's headers say about limits.

    ``limits`` and ``states`` hold at most one entry for each rule and period; every state has its limit.
    ``is_whole``: the policy is named and each of its rules has usable limits, so that what is absent is really gone.
    ``problems``: what was dropped, cut or doubled, one short sentence each; empty where there are no headers at all.
    """

    policy: str | None = None
    limits: tuple[Limit, ...] = ()
    states: tuple[State, ...] = ()
    retry_after_s: int | None = None
    is_whole: bool = False
    problems: tuple[str, ...] = ()


NOTHING = Report()
"""What an answer without rate-limit headers says."""


def parse(headers: Mapping[str, str] | Iterable[tuple[str, str]]) -> Report:
    """Read an answer's headers, names in any case; never raises for any text.

    >>> report = parse({"X-Rate-Limit-Policy": "p", "x-rate-limit-rules": "ip", "X-Rate-Limit-Ip": "2:1:60,-3:5:1",
    ...                 "X-Rate-Limit-Ip-State": "1:1:0"})
    >>> report.limits, report.states
    ((Limit(rule='Ip', period_s=1, hits=2, restriction_s=60),), (State(rule='Ip', period_s=1, current=1, active_s=0),))
    >>> report.is_whole, report.problems
    (False, ("Ip: '-3:5:1' is no hits:period:restriction",))
    """
    problems: list[str] = []
    fields = _fields(headers, problems)
    policy = _policy(fields, problems)
    rules = _rules(fields, problems)
    limits = {rule: _limits(rule, fields, problems) for rule in rules}
    is_whole = policy is not None and bool(rules) and all(limits.values()) and not problems
    found = [limit for each in limits.values() for limit in each]
    states = [state for rule in rules for state in _states(rule, fields, limits[rule], problems)]
    retry_after_s = _retry_after_s(fields, problems)
    return Report(policy, tuple(found), tuple(states), retry_after_s, is_whole, tuple(problems[:PROBLEMS_MAX]))


def _fields(headers: Mapping[str, str] | Iterable[tuple[str, str]], problems: list[str]) -> dict[str, list[str]]:
    """The header lines that concern limits: lower-case name → values in order."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    found: dict[str, list[str]] = {}
    for number, (name, value) in enumerate(pairs):
        if number >= FIELDS_MAX:
            problems.append(f"more than {FIELDS_MAX} header lines")
            break
        key = name.strip().lower()
        if key.startswith(_PREFIX) or key == "retry-after":
            if len(value) > TEXT_CHARS_MAX:
                problems.append(f"{_shown(name)} is longer than {TEXT_CHARS_MAX} characters")
            found.setdefault(key, []).append(value[:TEXT_CHARS_MAX])
    return found


def _policy(fields: Mapping[str, list[str]], problems: list[str]) -> str | None:
    names = [value.strip() for value in fields.get(f"{_PREFIX}policy", [])]
    if len(set(names)) > 1:
        problems.append("several policies are named")
        return None
    if not names:
        if any(key.startswith(_PREFIX) for key in fields):
            problems.append("no policy is named")
        return None
    if not _NAME.fullmatch(names[0]):
        problems.append(f"policy {_shown(names[0])} is no name")
        return None
    return names[0]


def _rules(fields: Mapping[str, list[str]], problems: list[str]) -> list[str]:
    """The rules named, capitalised; where none is, those that have a header of their own."""
    named = _entries("X-Rate-Limit-Rules", fields.get(f"{_PREFIX}rules", []), problems)
    found: dict[str, None] = {}
    for name in named:
        if _NAME.fullmatch(name):
            found[name.capitalize()] = None
        else:
            problems.append(f"rule {_shown(name)} is no name")
    if not found:
        own = [key.removeprefix(_PREFIX) for key in fields if key.startswith(_PREFIX) and not key.endswith(_STATE)]
        found = {name.capitalize(): None for name in own if name not in {"policy", "rules"} and _NAME.fullmatch(name)}
        if found or f"{_PREFIX}rules" in fields or f"{_PREFIX}policy" in fields:
            problems.append("no rules are named")
    if len(found) > RULES_MAX:
        problems.append(f"more than {RULES_MAX} rules")
    return list(found)[:RULES_MAX]


def _limits(rule: str, fields: Mapping[str, list[str]], problems: list[str]) -> list[Limit]:
    """A rule's limits by period; of two for one period the stricter."""
    found: dict[int, Limit] = {}
    for entry in _entries(rule, fields.get(f"{_PREFIX}{rule.lower()}", []), problems):
        numbers = _numbers(entry)
        if numbers is None or not 1 <= numbers[0] <= HITS_MAX or not 1 <= numbers[1] <= PERIOD_S_MAX:
            problems.append(f"{rule}: {_shown(entry)} is no hits:period:restriction")
            continue
        hits, period_s, restriction_s = numbers
        if period_s in found:
            problems.append(f"{rule}: period {period_s} has two limits")
        twin = found.get(period_s, Limit(rule, period_s, hits, 0))
        restriction_s = max(twin.restriction_s, _cut(restriction_s, rule, problems))
        found[period_s] = Limit(rule, period_s, min(twin.hits, hits), restriction_s)
    if not found:
        problems.append(f"rule {rule} has no usable limits")
    return list(found.values())


def _states(rule: str, fields: Mapping[str, list[str]], limits: list[Limit], problems: list[str]) -> list[State]:
    """A rule's counters, each matched to its limit by period; of two for one period the higher."""
    periods = {limit.period_s for limit in limits}
    found: dict[int, State] = {}
    for entry in _entries(f"{rule}-State", fields.get(f"{_PREFIX}{rule.lower()}{_STATE}", []), problems):
        numbers = _numbers(entry)
        if numbers is None or numbers[1] not in periods:
            problems.append(f"{rule}-State: {_shown(entry)} is no current:period:active of a known period")
            continue
        current, period_s, active_s = numbers
        if period_s in found:
            problems.append(f"{rule}-State: period {period_s} has two states")
        twin = found.get(period_s, State(rule, period_s, 0, 0))
        active_s = max(twin.active_s, _cut(active_s, f"{rule}-State", problems))
        found[period_s] = State(rule, period_s, max(twin.current, min(current, HITS_MAX)), active_s)
    return list(found.values())


def _retry_after_s(fields: Mapping[str, list[str]], problems: list[str]) -> int | None:
    """The longest ``Retry-After``; the form that is a date is not used by GGG and counts as unusable."""
    found: list[int] = []
    for text in fields.get("retry-after", []):
        number = _number(text)
        if number is None:
            problems.append(f"Retry-After {_shown(text)} is no number of seconds")
        else:
            found.append(_cut(number, "Retry-After", problems))
    return max(found, default=None)


def _entries(what: str, values: list[str], problems: list[str]) -> list[str]:
    """The comma-separated entries of all ``values``, bounded."""
    if len(values) > 1:
        problems.append(f"{what} is sent {len(values)} times")
    entries = [entry.strip() for value in values for entry in value.split(",")]
    if len(entries) > ENTRIES_MAX:
        problems.append(f"{what} has {len(entries)} entries, {ENTRIES_MAX} are read")
    return [entry for entry in entries[:ENTRIES_MAX] if entry]


def _numbers(entry: str) -> tuple[int, int, int] | None:
    """Three non-negative whole numbers joined by colons."""
    first, second, third, *rest = [_number(part) for part in entry.split(":", _PARTS)] + [None] * _PARTS
    if first is None or second is None or third is None or entry.count(":") != _PARTS - 1 or any(rest):
        return None
    return first, second, third


def _number(text: str) -> int | None:
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX else None


def _cut(wait_s: int, what: str, problems: list[str]) -> int:
    if wait_s > WAIT_S_MAX:
        problems.append(f"{what}: {wait_s} s is cut to {WAIT_S_MAX}")
    return min(wait_s, WAIT_S_MAX)


def _shown(text: str) -> str:
    """``text`` short and printable."""
    return ascii(text if len(text) <= 40 else f"{text[:40]}…")  # noqa: PLR2004  a log line's worth
