"""What a page of public stashes is: its next id, how many changes it holds, and each change's own text; pure.

A page is up to 3 MB and comes every second or two, so it is not parsed here: the engine splits it. What must be known
without the engine, the id that follows and the number of changes, is read off the bytes.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

CHANGE_ID = re.compile(r"[0-9]{1,20}(?:-[0-9]{1,20}){0,9}")
"""Counters joined by dashes; how many there are is upstream's business."""
_LONG = re.compile(r'[:\[,]\s*(?:(")(-?[0-9]{19,})"|(-?[0-9]{19,})(?=\s*[,\]}]))')
_INT64_MIN, _UINT64_MAX = -(2**63), 2**64 - 1
_NEXT = re.compile(rb'"next_change_id"\s*:\s*"([^"\\]{1,220})"')
_EMPTY = re.compile(rb'"stashes"\s*:\s*\[\s*\]')
_PUBLIC = re.compile(rb'"public"\s*:')
_SPACE = re.compile(r"[ \t\n\r]*")
_CLAIM = re.compile(r'"(?:public|stashes)"\s*:')
_STASHES = re.compile(r'"stashes"\s*:\s*(?=\[)')


class UnreadableRiverPage(ValueError):
    """An answer that is no page of stashes; the text is the reason kept in quarantine."""


@dataclass(frozen=True, slots=True)
class Gist:
    """What the chain needs of a page: ``stashes`` counts its changes as far as bytes tell."""

    next_change_id: str
    is_empty: bool
    stashes: int


@dataclass(frozen=True, slots=True)
class Change:
    """One stash change: its JSON exactly as it came, and what a lenient reader made of it."""

    text: str
    stash: dict[str, Any]

    @property
    def is_odd(self) -> bool:
        """True if the landing view leaves it out: an integer beyond 64 bits, or text that looks as one would."""
        return any(quote or _is_beyond_64_bits(digits) for quote, _, digits in _LONG.findall(self.text))


def _is_beyond_64_bits(digits: str) -> bool:
    return len(digits) > len(str(_INT64_MIN)) or not _INT64_MIN <= int(digits) <= _UINT64_MAX


def gist(body: bytes) -> Gist:
    """The next id and the number of changes of a decoded page. Raises UnreadableRiverPage.

    A change is counted by its ``"public":``. No string can hold those bytes, for a quote inside a string is escaped; an
    item could, one day, have such a key: where the engine disagrees, a full reading settles it.
    """
    named = _NEXT.search(body)
    if named is None or b'"stashes"' not in body:
        raise UnreadableRiverPage("no next_change_id or no stashes in it")
    next_id = named[1].decode("ascii", "replace")
    if not CHANGE_ID.fullmatch(next_id):
        raise UnreadableRiverPage(f"next_change_id {next_id[:60]!r} is not one")
    stashes = len(_PUBLIC.findall(body))
    return Gist(next_id, not stashes and _EMPTY.search(body) is not None, stashes)


def changes(body: bytes) -> list[Change]:
    """Every change of a page, read leniently: lone surrogates, infinities, bad UTF-8 and a BOM are no obstacle.

    Raises UnreadableRiverPage if even so it is not JSON of a page's shape, or is nested too deep.
    """
    text = body.decode("utf-8-sig", "surrogateescape")
    try:
        return list(_changes(text))
    except (ValueError, IndexError, RecursionError) as error:
        raise UnreadableRiverPage(f"not a page: {error}"[:200]) from error


def _changes(text: str) -> Iterator[Change]:
    """Cut the elements out of the array under ``stashes``."""
    decoder = json.JSONDecoder(strict=False)
    found = _STASHES.search(text)
    if found is None:
        raise ValueError("it has no array of stashes")
    at = _skip(text, found.end() + 1)
    while text[at] != "]":
        stash, end = decoder.raw_decode(text, at)
        yield Change(text[at:end], stash if isinstance(stash, dict) else {})
        at = _skip(text, end)
        at = _skip(text, at + 1) if text[at] == "," else at
    if _CLAIM.search(text, at):
        raise ValueError("there are changes behind its array of stashes")


def _skip(text: str, at: int) -> int:
    """The next place that is not white space."""
    found = _SPACE.match(text, at)
    return found.end() if found else at
