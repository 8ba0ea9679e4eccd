"""The order of the river: which stash is touched when, where a change id stands, and what is superseded. Pure.

Touches come at an even pace, numbered from the river's beginning. Forty of them make a cycle whose places belong to
four classes of stashes: cold, warm and hot ones, each class touched once a round in an order that changes with the
round, so that a stash's next touch can be computed; and gone ones, touched for the last time. A change id is five
counters, one a shard; places belong to shards too.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ledgerd.sim.hashes import Bools, Ints
from ledgerd.sim.noise import key_of, mix

BEGINNING_S = 1_700_000_000
"""The beginning of history, unix seconds."""
DELAY_S = 300
"""How late the river shows a change."""
COLD, WARM, HOT, GONE = range(4)
SHARDS = 5
_CYCLE = 40
_PLACES = (22, 10, 4, 4)  # of a cycle, by class
_SHARD_PLACES = (15, 6, 5, 7, 7)  # as the counters of October 2026 were seen to grow
_KNOWN_S = 1_791_369_441
_KNOWN_ID = (3278697332, 3203624673, 3129327201, 3479175554, 3367790506)  # seen at ``_KNOWN_S``
_BLOCK, _OLD_BLOCK = 2048, 24_000
_ID_DIGITS_MAX = 18
_ROUNDS_KEPT = 256


def _spread(places: Sequence[int]) -> Ints:
    """Who has which place of the cycle: each its number of them, evenly."""
    wanted = sorted(((n + 0.5) / count, who) for who, count in enumerate(places) for n in range(count))
    return np.array([who for _, who in wanted], dtype=np.int64)


def _ranks(owners: Ints) -> Ints:
    """How many places before each belong to the same owner."""
    return np.array([np.count_nonzero(owners[:n] == who) for n, who in enumerate(owners)], dtype=np.int64)


def _prime(at_least: int) -> int:
    """The first prime from ``at_least`` on."""
    n = max(at_least, 2)
    while any(n % d == 0 for d in range(2, int(n**0.5) + 1)):
        n += 1
    return n


_CLASS, _SHARD = _spread(_PLACES), np.roll(_spread(_SHARD_PLACES), 7)
_CLASS_RANK, _SHARD_RANK = _ranks(_CLASS), _ranks(_SHARD)
_CLASS_SLOTS = [np.flatnonzero(c == _CLASS) for c in range(4)]
_SHARD_SLOTS = [np.flatnonzero(k == _SHARD).tolist() for k in range(SHARDS)]
_SHARD_BEFORE = [[sum(slot < n for slot in _SHARD_SLOTS[k]) for n in range(_CYCLE)] for k in range(SHARDS)]


@dataclass(frozen=True, slots=True)
class Touches:
    """Columns, one entry a touch, in the river's order: its number, its stash's class, and the stash within it."""

    n: Ints
    cls: Ints
    unit: Ints


class Timeline:
    """The touches of one realm, ``per_s`` a second, of about ``stashes`` stashes that live; pure."""

    def __init__(self, seed: int, realm: str, *, per_s: float, stashes: int) -> None:
        self._key = key_of(seed, "timeline", realm)
        self.per_s = per_s
        wanted = (round(0.85 * stashes), round(0.148 * stashes), max(8, round(0.002 * stashes)))
        self._blocks = tuple(_prime(max(3, count // 2)) for count in wanted)  # two stashes each, touched together
        rounds = [2 * blocks * _CYCLE // places for blocks, places in zip(self._blocks, _PLACES[:3], strict=True)]
        self._alive = 2 * max(rounds) + 2 * _CYCLE  # touches of a living stash that is older than these are superseded
        known = self._counts(int((_KNOWN_S - BEGINNING_S) * per_s))
        self._base = tuple(max(0, seen - count) for seen, count in zip(_KNOWN_ID, known, strict=True))
        self._round = lru_cache(maxsize=_ROUNDS_KEPT)(self._make_round)

    @property
    def units(self) -> tuple[int, ...]:
        """How many stashes the cold, warm and hot class have."""
        return tuple(2 * blocks for blocks in self._blocks)

    def head(self, now_s: float) -> int:
        """How many touches the river shows at ``now_s``."""
        return max(0, int((now_s - DELAY_S - BEGINNING_S) * self.per_s) + 1) if now_s >= BEGINNING_S + DELAY_S else 0

    def touched_at(self, n: int) -> float:
        """When touch ``n`` was, unix seconds."""
        return BEGINNING_S + n / self.per_s

    def last_id(self, now_s: float) -> str:
        """The change id after which there is nothing yet at ``now_s``."""
        return write_id(self.counters(self.head(now_s)))

    def id_beside(self, counters: Sequence[int] | None, touches: int) -> str:
        """A change id that stands ``touches`` after another, before it where negative."""
        start = min(self.starts(counters)) if counters else 0
        return write_id(self.counters(max(0, start + touches)))

    def counters(self, n: int) -> tuple[int, ...]:
        """The change id, in parts, that stands before touch ``n``."""
        return tuple(base + count for base, count in zip(self._base, self._counts(n), strict=True))

    def _counts(self, n: int) -> tuple[int, ...]:
        cycle, slot = divmod(n, _CYCLE)
        return tuple(cycle * _SHARD_PLACES[k] + _SHARD_BEFORE[k][slot] for k in range(SHARDS))

    def starts(self, counters: Sequence[int]) -> tuple[int, ...]:
        """Shard by shard, the touch from which a change id asks."""
        found = []
        for k, counter in enumerate(counters):
            cycle, rank = divmod(max(0, counter - self._base[k]), _SHARD_PLACES[k])
            found.append(cycle * _CYCLE + _SHARD_SLOTS[k][rank])
        return tuple(found)

    def scan(self, starts: Sequence[int], head: int) -> Iterator[Touches]:
        """The touches from ``starts`` (shard by shard) up to ``head`` that are still their stash's last, in order."""
        n, old_until = min(starts), max(0, head - self._alive)
        from_n = np.array(starts, dtype=np.int64)
        while n < head:
            if n < old_until:
                stop = min(old_until, n + _OLD_BLOCK)
                cycles = np.arange(n // _CYCLE, stop // _CYCLE + 1, dtype=np.int64)
                ns = (cycles[:, None] * _CYCLE + _CLASS_SLOTS[GONE]).ravel()
                ns = ns[(ns >= n) & (ns < stop)]
            else:
                stop = min(head, n + _BLOCK)
                ns = np.arange(n, stop, dtype=np.int64)
            ns = ns[ns >= from_n[_SHARD[ns % _CYCLE]]]
            yield self._last(ns, head)
            n = stop

    def _last(self, ns: Ints, head: int) -> Touches:
        """Those of ``ns`` whose stash is not touched again before ``head``."""
        slots = ns % _CYCLE
        cls, unit = _CLASS[slots], np.zeros(len(ns), dtype=np.int64)
        order = ns // _CYCLE * np.array(_PLACES)[cls] + _CLASS_RANK[slots]
        keep = np.ones(len(ns), dtype=np.bool_)
        for c in (COLD, WARM, HOT):
            of_class = np.flatnonzero(cls == c)
            if len(of_class):
                unit[of_class], keep[of_class] = self._units(c, order[of_class], head)
        gone = cls == GONE
        unit[gone] = order[gone]
        return Touches(ns[keep], cls[keep], unit[keep])

    def _units(self, c: int, order: Ints, head: int) -> tuple[Ints, Bools]:
        """The stashes of a class's touches number ``order``, and whether ``head`` comes before their next."""
        size = self._blocks[c]
        round_n, at = np.divmod(order // 2, size)
        first = int(round_n[0])
        table = np.array([self._round(c, r) for r in range(first, int(round_n[-1]) + 2)], dtype=np.int64)
        step, shift, _ = table[round_n - first].T
        block = (step * at + shift) % size
        _, next_shift, back = table[round_n - first + 1].T
        next_at = back * (block - next_shift) % size
        next_order = 2 * ((round_n + 1) * size + next_at) + order % 2
        next_n = next_order // _PLACES[c] * _CYCLE + _CLASS_SLOTS[c][next_order % _PLACES[c]]
        return 2 * block + order % 2, next_n >= head

    def _make_round(self, c: int, r: int) -> tuple[int, int, int]:
        """A round's order, place → (step · place + shift) mod size, and the inverse of its step."""
        size, key = self._blocks[c], self._key + key_of(c, r)
        step = 1 + mix(key, 0) % (size - 1)
        return step, mix(key, 1) % size, pow(step, -1, size)


def parse_id(text: str) -> tuple[int, ...] | None:
    """The five counters of a change id; None for anything else.

    >>> parse_id("1-2-3-4-5"), parse_id("1-2-3")
    ((1, 2, 3, 4, 5), None)
    """
    parts = text.split("-")
    if len(parts) != SHARDS or not all(p.isascii() and p.isdigit() and len(p) <= _ID_DIGITS_MAX for p in parts):
        return None
    return tuple(map(int, parts))


def write_id(counters: Sequence[int]) -> str:
    """A change id as upstream writes it."""
    return "-".join(map(str, counters))
