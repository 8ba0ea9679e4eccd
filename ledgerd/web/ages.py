"""How old an answer is, in every answer; and the refusal of one that is too old."""

from functools import lru_cache
from typing import NotRequired

from pydantic import with_config
from typing_extensions import TypedDict

from ledgerd.clock import rfc3339
from ledgerd.ledger.freshness import Limit, Verdict, age_s, is_stale, judge, warning
from ledgerd.ledger.shape import SHAPE, Moment
from ledgerd.web.answers import TooOld


@with_config(SHAPE)
class Aged(TypedDict):
    """How old an answer is."""

    as_of: Moment
    """The moment the figures stand for, RFC 3339. Of several ages the oldest."""
    age_s: float
    """Seconds from then to this answer; in a copy, to the answer it is a copy of."""
    stale: bool
    """True if that is more than the configured limit."""
    warning: NotRequired[str]
    """Why it is stale, in words; only if it is."""


@with_config(SHAPE)
class MaybeAged(TypedDict):
    """How old an answer is; null where there is nothing that could have an age."""

    as_of: Moment | None
    """The moment the figures stand for, RFC 3339. Of several ages the oldest."""
    age_s: float | None
    """Seconds from then to this answer; in a copy, to the answer it is a copy of."""
    stale: bool | None
    """True if that is more than the configured limit."""
    warning: NotRequired[str]
    """Why it is stale, in words; only if it is."""


NO_AGE = MaybeAged(as_of=None, age_s=None, stale=None)


def aged(as_of: float, now_s: float, limit: Limit) -> Aged:
    """The age of what stands for ``as_of``, both unix seconds, judged by ``limit``."""
    age = age_s(as_of, now_s)
    stale = is_stale(age, limit)
    told = Aged(as_of=moment(as_of), age_s=round(age, 1), stale=stale)
    if stale:
        told["warning"] = warning(age, limit)
    return told


def admit(as_of: float, now_s: float, limit: Limit) -> None:
    """Let an answer pass that may be served; TooOld if it may not."""
    age = age_s(as_of, now_s)
    if judge(age, limit) is Verdict.REFUSED:
        said = warning(age, limit)
        raise TooOld(text=said[0].upper() + said[1:] + ".")


@lru_cache(maxsize=1024)
def moment(as_of: float) -> str:
    """The time in words, made once for a snapshot: it costs more than the rest of a look-up's own work."""
    return rfc3339(as_of)


def stamped(head: bytes, as_of: float, now_s: float, limit: Limit) -> bytes:
    """A JSON object that was made once but for its age, ``head`` being all of it but the brace."""
    age = age_s(as_of, now_s)
    return b'%b,"age_s":%.1f,"stale":%b}' % (head, age, b"true" if is_stale(age, limit) else b"false")
