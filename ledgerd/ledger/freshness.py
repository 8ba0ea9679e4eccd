"""How old is too old: ages become stale marks or refusals (pure)."""

from enum import StrEnum
from typing import Protocol

from ledgerd.clock import HOUR_S

RETRY_AFTER_S = 30
"""What a refused or still empty answer tells the client to wait, seconds."""


class Limit(Protocol):
    """How old an answer may be, and what becomes of one that is older; ``[freshness]`` gives one for each route."""

    @property
    def max_age_s(self) -> float:
        """Age in seconds above which an answer is stale."""
        ...

    @property
    def policy(self) -> str:
        """``serve``: stale answers are served and say so; ``refuse``: they are not served."""
        ...


class Verdict(StrEnum):
    """What becomes of an answer."""

    FRESH = "fresh"
    STALE = "stale"
    """Served, marked stale."""
    REFUSED = "refused"
    """Not served."""


def as_of_s(hour_s: int) -> int:
    """The unix second a price of the hour beginning at ``hour_s`` stands for: the hour's end.

    >>> as_of_s(7200)
    10800
    """
    return hour_s + HOUR_S


def age_s(as_of: float, now_s: float) -> float:
    """Seconds from ``as_of`` to ``now_s``, both unix seconds; never below 0, for clocks differ.

    >>> age_s(10800, 10860), age_s(10800, 10799)
    (60.0, 0.0)
    """
    return max(0.0, float(now_s) - as_of)


def is_stale(age: float, limit: Limit) -> bool:
    """True if ``age`` seconds are more than the limit."""
    return age > limit.max_age_s


def judge(age: float, limit: Limit) -> Verdict:
    """What the limit says about an answer that is ``age`` seconds old."""
    if not is_stale(age, limit):
        return Verdict.FRESH
    return Verdict.REFUSED if limit.policy == "refuse" else Verdict.STALE


def warning(age: float, limit: Limit) -> str:
    """The sentence a stale answer carries.

    >>> from types import SimpleNamespace
    >>> warning(7380, SimpleNamespace(max_age_s=3900, policy="serve"))
    'prices are 123 min old, more than the 65 min allowed: see the sources in /status'
    """
    allowed_min = limit.max_age_s / 60
    return f"prices are {age / 60:.0f} min old, more than the {allowed_min:.0f} min allowed: see the sources in /status"
