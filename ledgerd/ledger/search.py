"""Finding by words: what people type, typos and all, to the names they meant, best first (pure)."""

import re
import unicodedata
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import fuzz, process
from rapidfuzz.distance import OSA

from ledgerd.spelling import ASKED_CHARS_MAX

RESULTS_MAX = 50
WORDS_MAX = 8
NEAR_WORDS_MAX = 3
"""How many words of a text are compared with every word there is: each costs up to a millisecond."""
NEAR_CHARS_MIN = 3
"""Shorter words are like too many others."""
WORD_LIKENESS = 0.7
"""One slip in four letters, two in seven."""
NAME_LIKENESS = 75.0
"""As `fuzz.ratio` has it, of 100."""
NEAR_NAMES = 20
"""How many names spelt nearly so are looked at."""
SCORE_MIN = 0.55
SCORE_SPAN = 0.1
"""What is nearly meant is at most that much worse than the nearest."""

Places = NDArray[np.int32]
Weights = NDArray[np.float32]
_TOP = "\U0010ffff"
"""Sorts behind every text."""
_DETAIL = "|"
"""Stands before terms that are details; no name holds one."""
_WORD = re.compile(r"[a-z]+=\d+|[^\W_]+")
_SHORT_FORMS = (
    (re.compile(r"\b(\d{1,2})/(\d{1,2})c\b"), r" level=\1 quality=\2 corrupted "),
    (re.compile(r"\b(\d{1,2})/(\d{1,2})\b"), r" level=\1 quality=\2 "),
    (re.compile(r"\blinks?[ =:]*(\d)\b|(?<![=\d])(\d)[ -]?l(?:ink(?:s|ed)?)?\b"), r" links=\1\2 "),
    (re.compile(r"\b(?:ilvl|ilevel|item level)[ =:]*(\d+)\b|\bi(\d\d)\b"), r" ilvl=\1\2 "),
    (re.compile(r"\b(?:level|lvl|lv)[ =:]*(\d+)\b|(?<![=\d])(\d+) ?(?:level|lvl|lv)\b"), r" level=\1\2 "),
    (re.compile(r"\b(?:quality|qual|q)[ =:]*(\d+)\b|(?<![=\d])(\d+) ?%? ?(?:quality|qual|q)\b"), r" quality=\1\2 "),
    (re.compile(r"\b(?:tier|t)[ =:]*(\d{1,2})\b"), r" tier=\1 "),
    (re.compile(r"\bpassives?[ =:]*(\d+)\b|(?<![=\d])(\d+)[ -]?p(?:assives?)?\b"), r" passives=\1\2 "),
    (re.compile(r"\bsynthesi[sz]ed?\b"), " synthesised "),
    (re.compile(r"\b(?:base|variant|skill|enchant|blight|occupied|influences|art)=|=true\b"), " "),
)
"""How the parts of a key are spoken of, and as what they are looked for: ``6l``, ``21/20c``, ``20% q``, ``t16``."""


class Grade(IntEnum):
    """How well an entry answers a text, the better the higher."""

    NEAR = 1
    """With typos forgiven, or some words left out."""
    WORDS = 2
    """Every word of the text begins a word of the entry."""
    PREFIX = 3
    """A name of the entry begins with the text."""
    EXACT = 4
    """The text is a name of the entry."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What can be found: by its names as wholes and word by word, by its details word by word only."""

    names: tuple[str, ...]
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hit:
    """An entry found: of which of the things searched, and its place there."""

    kind: str
    place: int
    grade: Grade
    score: float
    """Within a grade: the share of the text that was met, 1 at most."""


class Searched(Protocol):
    """What can be searched: a snapshot."""

    @property
    def index(self) -> "Index":
        """Its entries' words."""
        ...

    @property
    def popularity(self) -> Places:
        """By place, how many entries are more sought for; no number twice."""
        ...


def search(text: str, things: Mapping[str, Searched], n: int = RESULTS_MAX) -> tuple[Hit, ...]:
    """Up to ``n`` entries of ``things`` (by kind) that ``text`` may mean, best first; never raises for odd text.

    Exact names come first, then names that begin so, then entries that have all words, then what is spelt nearly so;
    among equals the kind that is named first, then what is more popular. What is nearly meant is left out where
    anything is meant outright.
    """
    asked = Asked.of(text)
    hits = [
        (-hit.grade, -hit.score, number, order, hit)
        for number, (kind, thing) in enumerate(things.items())
        for order, hit in enumerate(thing.index.find(asked, kind, thing.popularity, min(n, RESULTS_MAX)))
    ]
    best = [hit for *_, hit in sorted(hits, key=lambda ranked: ranked[:-1])][: min(n, RESULTS_MAX)]
    return tuple(hit for hit in best if hit.grade > Grade.NEAR or best[0].grade == Grade.NEAR)


@dataclass(frozen=True, slots=True)
class Asked:
    """A text as it is looked for: folded whole, and its words."""

    whole: str
    words: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> Self:
        """From what somebody typed."""
        plain = folded(text[:ASKED_CHARS_MAX])[:ASKED_CHARS_MAX]
        spoken = plain.replace("|", " ")
        for short_form, canonical in _SHORT_FORMS:
            spoken = short_form.sub(canonical, spoken)
        return cls(" ".join(plain.split()), tuple(dict.fromkeys(_WORD.findall(spoken)))[:WORDS_MAX])


class Index:
    """Entries by their words. A term is a name or a detail, kept once however many entries have it."""

    __slots__ = ("_is_name", "_names", "_places", "_size", "_sorted", "_squeezed", "_terms", "_vocabulary")

    def __init__(self, entries: Iterable[Entry]) -> None:
        """Entries are known by their place in ``entries``."""
        terms, words = _Maker(), _Maker()
        self._size = 0
        for place, entry in enumerate(entries):
            terms.add([*entry.names, *map(_DETAIL.__add__, entry.details)], place)
            self._size += 1
        self._places = terms.made(terms.numbers.values())
        self._is_name = np.asarray([not term.startswith(_DETAIL) for term in terms.numbers], np.bool_)
        self._squeezed: dict[int, str] = {}
        wholes: list[tuple[str, int]] = []
        for term, number in terms.numbers.items():
            plain = " ".join(folded(term).split())
            words.add(_words_of(plain), number)
            if self._is_name[number]:
                wholes.append((plain, number))
                self._squeezed[number] = plain.replace(" ", "")
        wholes.sort()
        self._sorted = [whole for whole, _ in wholes]
        self._names = np.asarray([number for _, number in wholes], np.int32)
        self._vocabulary = sorted(words.numbers)
        self._terms = words.made(words.numbers[word] for word in self._vocabulary)

    def find(self, asked: Asked, kind: str, popularity: Places, n: int) -> list[Hit]:
        """Up to ``n`` entries ``asked`` may mean, best first; near ones only if there are no others."""
        if not asked.words:
            return []
        weights = [self._weights(word) for word in asked.words]
        has_all = np.logical_and.reduce([each > 0 for each in weights])
        scores = np.where(has_all, _mean(weights), np.float32(0))
        grades = np.where(has_all, Grade.WORDS, 0).astype(np.int8)
        self._grade_wholes(asked.whole, grades, scores)
        if not grades.any():
            scores = self._near(asked, weights)
            grades[scores > 0] = Grade.NEAR
        found = np.flatnonzero(grades)
        order = (grades[found].astype(np.int64) << 56) + ((scores[found] * 1000).astype(np.int64) << 40)
        order -= popularity[found]
        best = np.argpartition(-order, n)[:n] if len(found) > n else np.arange(len(found))
        best = best[np.argsort(-order[best])]
        return [Hit(kind, int(at), Grade(int(grades[at])), round(float(scores[at]), 3)) for at in found[best]]

    def _grade_wholes(self, whole: str, grades: NDArray[np.int8], scores: Weights) -> None:
        """Raise the grade of entries with a name that is ``whole``, or begins so."""
        first, end = bisect_left(self._sorted, whole), bisect_left(self._sorted, whole + _TOP)
        for last, grade in ((end, Grade.PREFIX), (bisect_right(self._sorted, whole, first), Grade.EXACT)):
            places = self._places.of(self._names[first:last])
            grades[places] = grade
            scores[places] = 1

    def _weights(self, word: str) -> Weights:
        """By entry, how well it has ``word``: as one of its words or their beginning, in a name or in a detail."""
        weights = np.zeros(self._size, np.float32)
        first = bisect_left(self._vocabulary, word)
        is_there = self._vocabulary[first : first + 1] == [word]
        if not any(character.isdigit() for character in word):
            self._weigh(weights, first + is_there, bisect_left(self._vocabulary, word + _TOP), name=0.8, detail=0.7)
        if is_there:
            self._weigh(weights, first, first + 1, name=1.0, detail=0.9)
        return weights

    def _weigh(self, weights: Weights, first: int, end: int, *, name: float, detail: float) -> None:
        """Raise the weights of the entries that have a word of the vocabulary from ``first`` up to ``end``."""
        terms = self._terms.between(first, end)
        is_name = self._is_name[terms]
        for chosen, weight in ((~is_name, detail), (is_name, name)):
            places = self._places.of(terms[chosen])
            weights[places] = np.maximum(weights[places], weight)

    def _near(self, asked: Asked, weights: Sequence[Weights]) -> Weights:
        """By entry, how nearly it is what was asked, 0 for what is not; ``weights``: of each word as it stands."""
        missed = [(word, of) for word, of in zip(asked.words, weights, strict=True) if not of.any()]
        compared = sorted((pair for pair in missed if _is_comparable(pair[0])), key=lambda pair: -len(pair[0]))
        for word, of_word in compared[:NEAR_WORDS_MAX]:
            for _, likeness, at in process.extract(
                word, self._vocabulary, scorer=OSA.normalized_similarity, score_cutoff=WORD_LIKENESS, limit=20
            ):
                self._weigh(of_word, at, at + 1, name=likeness, detail=likeness * 0.9)
        scores = _mean(weights)
        for _, likeness, term in process.extract(
            asked.whole.replace(" ", ""),
            self._squeezed,
            scorer=fuzz.ratio,
            score_cutoff=NAME_LIKENESS,
            limit=NEAR_NAMES,
        ):
            places = self._places.between(term, term + 1)
            scores[places] = np.maximum(scores[places], likeness / 100)
        scores[scores < max(SCORE_MIN, float(scores.max(initial=0)) - SCORE_SPAN)] = 0
        return scores


def _mean(weights: Sequence[Weights]) -> Weights:
    mean: Weights = np.add.reduce(weights) / np.float32(len(weights))
    return mean


class _Lists:
    """Lists of numbers, one after the other in one array."""

    __slots__ = ("_starts", "_values")

    def __init__(self, starts: NDArray[np.int64], values: Places) -> None:
        """List n is what stands in ``values`` from ``starts[n]`` up to ``starts[n + 1]``."""
        self._starts, self._values = starts, values

    def between(self, first: int, end: int) -> Places:
        """What the lists from ``first`` up to ``end`` hold."""
        return self._values[self._starts[first] : self._starts[max(first, end)]]

    def of(self, numbers: Places) -> Places:
        """What the lists of those numbers hold."""
        starts = self._starts[numbers]
        lengths = self._starts[numbers + 1] - starts
        ends = np.cumsum(lengths)
        inside = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)
        found: Places = self._values[np.repeat(starts, lengths) + inside]
        return found


class _Maker:
    """Collects lists of numbers; a list goes by a text, and by its number in the order in which the texts came."""

    __slots__ = ("_groups", "_values", "numbers")

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self._groups, self._values = array("i"), array("i")

    def add(self, texts: Iterable[str], value: int) -> None:
        """Put ``value`` into the list of each of ``texts``."""
        for text in texts:
            self._groups.append(self.numbers.setdefault(text, len(self.numbers)))
            self._values.append(value)

    def made(self, order: Iterable[int]) -> _Lists:
        """The lists, in the ``order`` of their numbers that is given."""
        size = len(self.numbers)
        ranks = np.empty(size, np.int32)
        ranks[list(order)] = np.arange(size, dtype=np.int32)
        groups = ranks[np.asarray(self._groups, np.int32)]
        by_group = np.argsort(groups, kind="stable")
        starts = np.searchsorted(groups[by_group], np.arange(size + 1))
        return _Lists(starts, np.asarray(self._values, np.int32)[by_group])


def folded(text: str) -> str:
    """``text`` without what people leave out or write otherwise: case, accents, apostrophes, wide forms.

    >>> folded("Maelström Staff"), folded("Watcher’s Eye")
    ('maelstrom staff', 'watchers eye')
    """
    if text.isascii():
        return text.casefold().replace("'", "")
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    return "".join(letter for letter in plain if letter not in "'’ʼ`" and not unicodedata.combining(letter))


def _words_of(term: str) -> Iterable[str]:
    """The words a folded term is found by; of a part ``links=6`` that as it stands, and its value alone."""
    if not term.startswith(_DETAIL):
        return dict.fromkeys(_WORD.findall(term))
    part, is_part, value = term.removeprefix(_DETAIL).partition("=")
    if value == "true":
        return [part]
    whole = [f"{part}={value}"] if value.isdecimal() else []
    return dict.fromkeys([*whole, *_WORD.findall(value if is_part else part)])


def _is_comparable(word: str) -> bool:
    """True for words of letters: numbers that look alike are not alike."""
    return len(word) >= NEAR_CHARS_MIN and word.isalpha()
