"""One league's item prices at one time: rows as the engine wrote them, columns to find and rank them by (pure)."""

import hashlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import accumulate, count
from typing import Any, NamedTuple, Self, TypeVar, overload

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import with_config
from typing_extensions import TypedDict

from ledgerd.ledger.search import Entry, Index, Places, search
from ledgerd.ledger.shape import SHAPE, Moment
from ledgerd.spelling import SUGGESTIONS_MAX

T = TypeVar("T")

Numbers = NDArray[np.float64]
"""A column; NaN where nobody can say."""


@with_config(SHAPE)
class Liquidity(TypedDict):
    """How fast a thing turns over; see docs/gold.md."""

    turnover_24h: float | None
    """What was traded in 24 h, in chaos; of items what likely sold: of stacks the least it can have been."""
    sell_through: float | None
    """The share of the day's listings that sold."""
    time_to_sell_s: float | None
    """How long what is listed lasts at the day's pace, seconds."""
    spread: float | None
    """``high / low - 1``."""


@with_config(SHAPE)
class ItemEvidence(TypedDict):
    """What an item's price rests on."""

    listings: int
    """Listings with a readable price."""
    units: int
    """What they hold, whole stacks."""
    sellers: int
    """Whose they are."""
    rests_on_sellers: int
    """Of these, who is believed; 0: no price."""
    last_seen: Moment
    """When a stash with one was last seen."""
    judged_until: Moment
    """Listings that ended up to then are judged as sold or not."""
    rate_hour: Moment | None
    """The exchange hour of the rates it was converted with."""
    batch_id: str
    """The last batch refined."""


@with_config(SHAPE)
class Item(TypedDict, total=False):
    """What one item key is worth. Values are of one, in chaos; null where nobody can say. Shares: 0.05 is +5 %.

    All fields are there, unless ``fields`` names fewer.
    """

    key: str
    """Realm and league aside, what the price stands for; see docs/item-keys.md."""
    category: str
    name: str
    parts: dict[str, str]
    """The key's parts by name: ``{"links": "6", "corrupted": "true"}``."""
    chaos: float | None
    divine: float | None
    low: float | None
    """What honest sellers ask at least, a tenth of them left out."""
    high: float | None
    confidence: float
    """The probability that the price is within 15 % of the truth."""
    low_sample: bool
    """Fewer than five sellers are believed, or there is no price."""
    change_1h: float | None
    """Since exactly an hour before; null if there was no price then."""
    change_24h: float | None
    change_7d: float | None
    sparkline: list[float | None]
    """28 quarters of a day (UTC), oldest first, the last one under way."""
    likely_sales_1h: int
    """Listings that ended as if sold, in the last hour judged."""
    likely_sales_24h: int
    likely_sales_7d: int
    sale_value: float | None
    """What they asked, the median."""
    time_on_market_s: int | None
    """How long they had stood, the median, seconds."""
    liquidity: Liquidity
    roi_24h: float | None
    """What it earned to buy at the low of a day ago and to sell at the price; see docs/gold.md."""
    evidence: ItemEvidence
    as_of: Moment
    """The moment the price stands for: upstream's own delay is taken off."""
    age_s: float
    stale: bool


class Order(StrEnum):
    """What items can be ranked by; items nobody can say it of come last, and of equals the first by key first."""

    KEY = "key"
    TURNOVER = "turnover"
    """Chaos turned over in 24 h, the most first."""
    LISTINGS = "listings"
    CHAOS = "chaos"
    """The dearest first."""
    GAIN_1H = "gain_1h"
    GAIN_24H = "gain_24h"
    GAIN_7D = "gain_7d"
    LOSS_1H = "loss_1h"
    LOSS_24H = "loss_24h"
    LOSS_7D = "loss_7d"


_RANKED_BY = {
    Order.TURNOVER: ("turnover_24h", -1.0),
    Order.LISTINGS: ("listings", -1.0),
    Order.CHAOS: ("chaos", -1.0),
    Order.GAIN_1H: ("change_1h", -1.0),
    Order.GAIN_24H: ("change_24h", -1.0),
    Order.GAIN_7D: ("change_7d", -1.0),
    Order.LOSS_1H: ("change_1h", 1.0),
    Order.LOSS_24H: ("change_24h", 1.0),
    Order.LOSS_7D: ("change_7d", 1.0),
}
"""By order, the column, and the sign that puts its first lowest."""


class Cursor(NamedTuple):
    """Where a page ended: the rank and the key of its last item. Good in a later snapshot, too."""

    rank: float | None
    """The ranked value, negative where more is better; None where nobody can say, and in the order of keys."""
    key: str


@dataclass(frozen=True, slots=True)
class Page:
    """Items of one order, one after the other."""

    places: Places
    after: Cursor | None
    """What to ask for the next page with; None: this is the last one."""


@dataclass(frozen=True, slots=True)
class Columns:
    """What items are found, chosen and ranked by; one entry an item, in the order of their keys."""

    key: Sequence[str]
    name: Sequence[str]
    category: Sequence[str]
    chaos: Numbers
    confidence: Numbers
    listings: Numbers
    turnover_24h: Numbers
    change_1h: Numbers
    change_24h: Numbers
    change_7d: Numbers
    likely_sales_24h: Numbers
    as_of: Numbers
    """Unix seconds, upstream's delay taken off: an item nobody lists any more may be older than its neighbours."""


TEXTS = ("key", "name", "category")
NUMBERS = (
    *("chaos", "confidence", "listings", "turnover_24h", "change_1h", "change_24h", "change_7d", "likely_sales_24h"),
    "as_of",
)


class Rows(Sequence[bytes]):
    """Lines of a few large texts: 50,000 objects would be made and let go of one by one, while everybody waits."""

    __slots__ = ("_ends", "_firsts", "_texts")

    def __init__(self, texts: Sequence[bytes]) -> None:
        """``texts``: JSON objects, one a line; the last line of each has no line break."""
        self._texts = [text for text in texts if text]
        self._ends = [_line_ends(text) for text in self._texts]
        self._firsts = list(accumulate(map(len, self._ends), initial=0))

    def __len__(self) -> int:
        return self._firsts[-1]

    def __iter__(self) -> Iterator[bytes]:
        for text in self._texts:
            for line in text.split(b"\n"):
                yield line[:-1]

    @overload
    def __getitem__(self, at: int) -> bytes: ...

    @overload
    def __getitem__(self, at: slice) -> list[bytes]: ...

    def __getitem__(self, at: int | slice) -> bytes | list[bytes]:
        """A line without its brace."""
        if isinstance(at, slice):
            return [self[place] for place in range(*at.indices(len(self)))]
        if not 0 <= at < len(self):
            raise IndexError(at)
        of = bisect_right(self._firsts, at) - 1
        ends, line = self._ends[of], at - self._firsts[of]
        return self._texts[of][ends[line - 1] + 1 if line else 0 : ends[line] - 1]


def _line_ends(text: bytes) -> "array[int]":
    breaks = np.flatnonzero(np.frombuffer(text, np.uint8) == ord("\n"))
    return array("q", np.append(breaks, len(text)).astype(np.int64).tobytes())


@dataclass(frozen=True, slots=True)
class Part:
    """One answer of the query ``ledger_items``, decoded: some thousand items, in the order of their keys."""

    rows: bytes
    texts: Mapping[str, list[str]]
    numbers: Mapping[str, Numbers]
    hashes: NDArray[np.int64]
    """Of the keys, folded."""

    @classmethod
    def of(cls, rows: str, *columns: str) -> Self:
        """``rows``: JSON objects, one a line; ``columns``: JSON arrays, as `TEXTS` and `NUMBERS` have them."""
        texts = {name: orjson.loads(column) for name, column in zip(TEXTS, columns, strict=False)}
        numbers = {name: orjson.loads(column) for name, column in zip(NUMBERS, columns[len(TEXTS) :], strict=True)}
        return cls(
            rows.encode(),
            texts,
            {name: np.asarray(values, np.float64) for name, values in numbers.items()},
            np.asarray([hash(key.casefold()) for key in texts["key"]], np.int64),
        )


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class ItemSnapshot:
    """All items of a league that are listed or were priced within seven days. Build one with `of_parts`."""

    realm: str
    league: str
    hour_s: int
    """The hour its rows are of, unix seconds."""
    as_of: int
    """The moment the newest of them stand for, unix seconds, upstream's delay taken off."""
    tag: str
    """A short name of the content, the same for the same rows; what an ETag is made of."""
    rows: Sequence[bytes]
    """Items as the API shows them: JSON objects (`Item`) that still lack ``age_s``, ``stale`` and their brace."""
    columns: Columns
    index: Index
    """Their words, for `search`."""
    popularity: Places
    """By place, how many items have more listings; among equals, more turnover."""
    _exact: Mapping[str, int]
    """The place of each key."""
    _hashes: NDArray[np.int64]
    """Of the folded keys, in their own order; and the place of each."""
    _places: Places
    _orders: dict[Order, tuple[Places, Numbers]] = field(default_factory=dict, repr=False)

    @classmethod
    def of_parts(cls, realm: str, league: str, hour_s: int, parts: Sequence[Part]) -> Self:
        """From ``parts`` in the order of their keys; takes a while, so in a thread."""
        content = hashlib.blake2b(repr((realm, league, hour_s)).encode(), digest_size=8)
        for part in parts:
            content.update(part.rows)
            content.update(b"\n" if part.rows else b"")
        texts: dict[str, Any] = {name: _joined([part.texts[name] for part in parts]) for name in TEXTS}
        numbers: dict[str, Any] = {
            name: np.concatenate([[], *(part.numbers[name] for part in parts)]) for name in NUMBERS
        }
        columns = Columns(**texts, **numbers)
        hashes = np.concatenate([np.empty(0, np.int64), *(part.hashes for part in parts)])
        by_hash = np.argsort(hashes, kind="stable").astype(np.int32)
        exact: dict[str, int] = {}
        for part in parts:  # piece by piece: the loop waits for each
            exact.update(zip(part.texts["key"], count(len(exact)), strict=False))
        return cls(
            realm,
            league,
            hour_s,
            int(columns.as_of.max(initial=0)),
            content.hexdigest(),
            Rows([part.rows for part in parts]),
            columns,
            Index(map(_entry, columns.key)),
            _popularity(columns),
            exact,
            hashes[by_hash],
            by_hash,
        )

    def __len__(self) -> int:
        """How many items there are."""
        return len(self.rows)

    def find(self, key: str) -> int | None:
        """The place of the item of that key, written exactly or in any case; None if there is none."""
        place = self._exact.get(key)
        if place is not None:
            return place
        folded = key.casefold()
        first = int(np.searchsorted(self._hashes, hash(folded)))
        end = int(np.searchsorted(self._hashes, hash(folded), "right"))
        alike = map(int, self._places[first:end])
        return next((place for place in alike if self.columns.key[place].casefold() == folded), None)

    def suggest(self, text: str) -> tuple[str, ...]:
        """Keys of items that ``text`` may mean, best first."""
        return tuple(self.columns.key[hit.place] for hit in search(text, {"item": self}, SUGGESTIONS_MAX))

    def page(self, order: Order, after: Cursor | None, n: int, keep: NDArray[np.bool_] | None = None) -> Page:
        """The ``n`` items that follow ``after`` in ``order``, of those ``keep`` has (by place; None: of all)."""
        places, ranks = self._ordered(order)
        begin = 0 if after is None else self._behind(after, places, ranks)
        rest = places[begin:]
        chosen = rest if keep is None else rest[keep[rest]]
        shown = chosen[:n]
        if len(chosen) <= n:
            return Page(shown, None)
        last = int(shown[-1])
        rank = float(_ranks(self.columns, order)[last])
        return Page(shown, Cursor(None if np.isnan(rank) else rank, self.columns.key[last]))

    def _ordered(self, order: Order) -> tuple[Places, Numbers]:
        """The places in that order, and the ranks they have there, both made once: a few ms of 50,000."""
        if order not in self._orders:
            ranks = _ranks(self.columns, order)
            places = np.argsort(ranks, kind="stable").astype(np.int32)
            self._orders[order] = (places, ranks[places])
        return self._orders[order]

    def _behind(self, after: Cursor, places: Places, ranks: Numbers) -> int:
        """Where in the order the items behind ``after`` begin, whether the item it names is still there or not."""
        rank = np.nan if after.rank is None else after.rank
        first, last = np.searchsorted(ranks, rank, "left"), np.searchsorted(ranks, rank, "right")
        place = bisect_left(self.columns.key, after.key)
        place += self.columns.key[place : place + 1] == [after.key]
        return int(first + np.searchsorted(places[first:last], place, "left"))


def _ranks(columns: Columns, order: Order) -> Numbers:
    if order is Order.KEY:
        return np.full(len(columns.key), np.nan)
    name, sign = _RANKED_BY[order]
    ranks: Numbers = getattr(columns, name) * sign
    return ranks


def _popularity(columns: Columns) -> Places:
    order = np.lexsort((-np.nan_to_num(columns.turnover_24h), -columns.listings))
    ranks = np.empty(len(order), np.int32)
    ranks[order] = np.arange(len(order), dtype=np.int32)
    return ranks


def _entry(key: str) -> Entry:
    """What an item is found by: its name, its parts and its category."""
    category, _, rest = key.partition("|")
    name, *parts = rest.split("|")
    return Entry((name,), (category.replace("_", " "), *parts))


def _joined(lists: Sequence[Sequence[T]]) -> list[T]:
    return [value for each in lists for value in each]
