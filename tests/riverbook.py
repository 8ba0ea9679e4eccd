"""The stand-in's book of the river held against what a daemon committed: what is lost, doubled, unexpected. Pure.

A page that is asked for twice is never answered twice alike, and a daemon killed before it froze an answer asks again.
So nothing is owed for an answer as such: owed is one unbroken chain of pages from the first cursor to the last, and of
each page on it the changes of one answer the stand-in gave, all of them, each once.
"""

import hashlib
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, NamedTuple

import orjson


class Change(NamedTuple):
    """One stash of an answer, as `ledgerd.sim.audit.RiverEntry` lists it."""

    stash_id: str
    sha256: str
    league: str | None
    items: int
    is_public: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """A page the stand-in sent: who got all of it could read ``changes``; ``struck`` was spoiled by a fault."""

    asked: str
    following: str
    changes: Sequence[Change]
    struck: str | None = None


class Commit(NamedTuple):
    """One checkpoint: a batch of so many pages that leads from a cursor to the next; ``lanes`` were in force."""

    batch_id: str
    cursor: str
    next_cursor: str
    pages: int
    lanes: Sequence[str] = ("*",)


@dataclass(slots=True)
class Kept:
    """What a daemon has of one page.

    ``rows``: of each row in bronze, the stash's id and the sha256 of its payload, as stored and as `value_sha256` has
    it. ``stored`` and ``skipped``: changes counted as stored, and as of leagues that are not. ``whole``: the page's
    body, decompressed, where it is in quarantine. ``asked`` and ``following`` are None where no row says them.
    """

    asked: str | None = None
    following: str | None = None
    rows: list[tuple[str, frozenset[str]]] = field(default_factory=list)
    stored: int = 0
    skipped: int = 0
    whole: bytes = b""


Pages = Mapping[tuple[str, int], Kept]
"""By batch and number of the page in it."""


@dataclass(slots=True)
class Verdict:
    """The outcome, a line for each finding; ``broken``: places where the chain of pages is."""

    pages: int = 0
    changes: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    @property
    def findings(self) -> dict[str, list[str]]:
        """What is not as it must be; empty if all is."""
        found = {name: getattr(self, name) for name in ("lost", "doubled", "unexpected", "broken")}
        return {name: lines for name, lines in found.items() if lines}

    def weight(self) -> int:
        """How many findings."""
        return sum(map(len, self.findings.values()))

    def add(self, other: "Verdict") -> None:
        """Take in the verdict on another page."""
        for name, lines in other.findings.items():
            getattr(self, name).extend(lines)
        self.pages += other.pages
        self.changes += other.changes


def value_sha256(payload: bytes) -> str:
    """The sha256 of a stash as compact JSON, what the book holds of it; of ``payload`` itself where it is no JSON."""
    with suppress(orjson.JSONDecodeError):
        payload = orjson.dumps(orjson.loads(payload))
    return hashlib.sha256(payload).hexdigest()


def answers(entries: Iterable[Mapping[str, Any]], realm: str = "pc") -> list[Answer]:
    """The pages in a book's lines. Whether all of one arrived is the client's to say: the line may be too early."""
    return [
        Answer(line["asked"] or "", line["next"], [Change(*each) for each in line["stashes"]], line["struck"])
        for line in entries
        if line["realm"] == realm and line["status"] == 200 and line["next"] is not None
    ]


def river_lost_and_doubled(commits: Sequence[Commit], pages: Pages, book: Iterable[Answer]) -> Verdict:
    """Hold what was committed, in order of commit, against the book."""
    by_asked: dict[str, list[Answer]] = defaultdict(list)
    for answer in book:
        by_asked[answer.asked].append(answer)
    verdict, seen = Verdict(), set()
    cursor = commits[0].cursor if commits else ""
    for commit in commits:
        if commit.cursor != cursor:
            verdict.broken.append(f"{commit.batch_id} begins at {commit.cursor}, the one before it ended at {cursor}")
        cursor = commit.cursor
        for n, (kept, asked, following) in enumerate(_walked(commit, pages, by_asked)):
            seen.add((commit.batch_id, n))
            verdict.add(_judged(f"{commit.batch_id}/{n}", kept, commit.lanes, by_asked.get(asked, ()), following))
            if kept.asked not in {None, asked}:
                verdict.broken.append(f"{commit.batch_id}/{n} was asked with {kept.asked}, {asked} was due")
            cursor = following
        if cursor != commit.next_cursor:
            verdict.broken.append(f"{commit.batch_id} ends at {cursor}, its checkpoint says {commit.next_cursor}")
        cursor = commit.next_cursor
    verdict.unexpected += [f"{batch_id}/{n} is in no checkpoint" for batch_id, n in sorted(pages.keys() - seen)]
    return verdict


def _walked(commit: Commit, pages: Pages, by_asked: Mapping[str, Sequence[Answer]]) -> Iterator[tuple[Kept, str, str]]:
    """Each page of a batch with the id the chain asks with there and the id it goes on at."""
    every = [pages.get((commit.batch_id, n), Kept()) for n in range(commit.pages)]
    asked, ahead = commit.cursor, deque[str]()
    for n, kept in enumerate(every):
        if kept.following is None and not ahead:
            silent = list(takewhile(lambda page: page.following is None, every[n:]))
            known = every[n + len(silent)].asked if n + len(silent) < len(every) else None
            ahead.extend(_bridge(asked, silent, commit.next_cursor if known is None else known, by_asked) or [])
        following = kept.following if kept.following is not None else ahead.popleft() if ahead else ""
        yield kept, asked, following
        asked = following


def _bridge(asked: str, silent: Sequence[Kept], end: str, by_asked: Mapping[str, Sequence[Answer]]) -> list[str] | None:
    """The ids by which the book leads from one to another over pages that left no row; None if it does not."""
    if not silent:
        return [] if asked == end else None
    kept, *rest = silent
    for answer in by_asked.get(asked, ()):
        if kept.whole or len(answer.changes) == kept.stored + kept.skipped:
            found = _bridge(answer.following, rest, end, by_asked)
            if found is not None:
                return [answer.following, *found]
    return None


def _judged(name: str, kept: Kept, lanes: Sequence[str], candidates: Sequence[Answer], following: str) -> Verdict:
    """The verdict on one page, by the answer that explains it best."""
    fitting = [answer for answer in candidates if answer.following == following]
    if not fitting:
        return Verdict(1, broken=[f"{name}: no answer in the book leads to {following}"])
    return min((compared(name, kept, lanes, answer) for answer in fitting), key=Verdict.weight)


def compared(name: str, kept: Kept, lanes: Sequence[str], answer: Answer) -> Verdict:
    """One page held against one answer."""
    verdict, skipped = Verdict(1, len(answer.changes)), 0
    left: dict[str, list[frozenset[str]]] = defaultdict(list)
    for stash_id, hashes in kept.rows:
        left[stash_id].append(hashes)
    for change in answer.changes:
        row = next((hashes for hashes in left[change.stash_id] if change.sha256 in hashes), None)
        is_wanted = _is_wanted(change, lanes)
        if row is not None:
            left[change.stash_id].remove(row)
        if row is not None and not is_wanted and change.stash_id != answer.struck:
            verdict.unexpected.append(f"{name}: {change.stash_id} of {change.league} is stored, and in no lane")
        elif row is None and change.stash_id.encode() not in kept.whole:
            if is_wanted and change.stash_id != answer.struck:
                verdict.lost.append(f"{name}: {change.stash_id}")
            else:
                skipped += 1
    verdict.lost += [f"{name}: a change left out is not counted"] * (skipped - kept.skipped)
    owed = {(change.stash_id, change.sha256) for change in answer.changes}
    for stash_id, rows in left.items():
        for hashes in rows:
            is_again = any((stash_id, each) in owed for each in hashes)
            (verdict.doubled if is_again else verdict.unexpected).append(f"{name}: a row of {stash_id}")
    if not kept.whole and (kept.stored, kept.skipped) != (len(kept.rows), skipped):
        counts = f"{kept.stored} stored and {kept.skipped} left out, there are {len(kept.rows)} and {skipped}"
        verdict.unexpected.append(f"{name}: counted are {counts}")
    return verdict


def _is_wanted(change: Change, lanes: Sequence[str]) -> bool:
    """Whether lanes store a change: what bears no league and what is gone, always."""
    return not change.is_public or not change.league or "*" in lanes or change.league in lanes
