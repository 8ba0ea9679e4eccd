"""Pages of the river: which stashes, written as upstream writes them."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import orjson

from ledgerd.sim.goods import catalogue
from ledgerd.sim.hashes import Bools, Floats, Ints, Keys, mix
from ledgerd.sim.hashes import uniform as uniform_of
from ledgerd.sim.items import UNKEYED_VARIANTS, VARIANTS, template
from ledgerd.sim.noise import key_of, uniform
from ledgerd.sim.notes import note
from ledgerd.sim.sellers import ABANDONED, BY_TAB, TYPES, Tabs, account, tab_word
from ledgerd.sim.stash_market import SHORTEST_STAY_S, Listings, StashMarket, note_keys
from ledgerd.sim.timeline import GONE, Timeline, Touches, write_id

MODS_BEFORE_S = 1_784_592_000
"""2026-07-21: mods are strings before, objects from then on."""
_LIVE_MIN, _LIVE_MAX, _OLD_MIN, _OLD_MAX = 64, 96, 1000, 1300  # changes a page
_TOMBSTONE_SHARE = 0.97  # of the stashes that are gone
_SALES_CHUNK = 2000
_BARE_SHARE = 8  # one tombstone in as many has no fields but two
_PLACES_A_ROW, _QUAD_PLACES_A_ROW = 12, 24


@dataclass(frozen=True, slots=True)
class Piece:
    """One stash of a page: ``raw`` is its JSON, compact and as ``orjson`` would write its value again."""

    stash_id: str
    public: bool
    league: str | None
    items: int
    raw: bytes

    def sha256(self) -> str:
        """Of ``raw``."""
        return hashlib.sha256(self.raw).hexdigest()


@dataclass(frozen=True, slots=True)
class Page:
    """One page: what was asked (None: the beginning), what to ask next, and the stashes.

    ``body`` is what goes out where it is not simply the parts put together; ``header_id`` likewise for the header.
    """

    asked: str | None
    next_id: str
    pieces: tuple[Piece, ...]
    body: bytes | None = None
    header_id: str | None = None

    def written(self) -> bytes:
        """The body."""
        if self.body is not None:
            return self.body
        stashes = b",".join([piece.raw for piece in self.pieces])
        return b'{"next_change_id":%b,"stashes":[%b]}' % (orjson.dumps(self.next_id), stashes)

    def with_piece(self, at: int, raw: bytes) -> "Page":
        """The page with another text for one stash."""
        pieces = list(self.pieces)
        pieces[at] = replace(pieces[at], raw=raw)
        return replace(self, pieces=tuple(pieces), body=None)


class MadeRiver:
    """One realm's river of a made market; a page costs the same wherever it stands."""

    def __init__(
        self, market: StashMarket, timeline: Timeline, seed: int, *, mods_before_s: float = MODS_BEFORE_S
    ) -> None:
        self.market = market
        self.timeline = timeline
        self._key = key_of(seed, "pages", market.realm.name)
        self._mods_before_s = mods_before_s
        self._leagues = [orjson.dumps(name) for name in market.leagues]
        self._is_unkeyed = np.array([kind.pool in {"rares", "magics"} for kind in catalogue()])

    def page(self, counters: Sequence[int] | None, now_s: float, nonce: int) -> Page:
        """What follows a change id (None: the beginning) at ``now_s``; ``nonce`` makes two answers differ."""
        line, head = self.timeline, self.timeline.head(now_s)
        asked = None if counters is None else write_id(counters)
        starts = (0,) * 5 if counters is None else line.starts(counters)
        touches, end = self._choose(starts, head)
        if not len(touches.n):
            return Page(asked, asked or write_id(line.counters(head)), ())
        own, heads = line.counters(end), line.counters(head)
        known = counters or own
        next_id = write_id([min(max(a, b), top) for a, b, top in zip(own, known, heads, strict=True)])
        return Page(asked, next_id, tuple(self._write(touches, now_s, nonce)))

    def sales(self, since_s: float, until_s: float) -> Iterator[dict[str, Any]]:
        """Every sale after ``since_s`` and up to ``until_s``, stash by stash, of stashes that live.

        ``stash``, ``item`` and ``seller`` are as pages name them; ``listed_at`` and ``sold_at`` unix seconds,
        ``ask_chaos`` what was asked and ``true_chaos`` what it was worth. A sale shows when its stash is touched next.
        """
        moments = np.arange(since_s - SHORTEST_STAY_S, until_s + SHORTEST_STAY_S, SHORTEST_STAY_S)
        for cls, units in enumerate(self.timeline.units):
            for first in range(0, units, _SALES_CHUNK):
                numbers = (cls << 40) + np.arange(first, min(units, first + _SALES_CHUNK), dtype=np.int64)
                yield from self._sold(numbers.astype(np.uint64), moments, since_s, until_s)

    def _sold(self, numbers: Keys, moments: Floats, since_s: float, until_s: float) -> Iterator[dict[str, Any]]:
        """The sales of some stashes; a stay is under way at one of ``moments`` at least."""
        seen: set[int] = set()
        for moment in moments.tolist():
            tabs = self.market.sellers.tabs(numbers, np.full(len(numbers), moment))
            found = self.market.listings(tabs)
            for n in np.flatnonzero(found.sold & (found.end_s > since_s) & (found.end_s <= until_s)).tolist():
                if int(found.key[n]) not in seen:
                    seen.add(int(found.key[n]))
                    yield self._sale(tabs, found, n)

    def _sale(self, tabs: Tabs, found: Listings, n: int) -> dict[str, Any]:
        tab = int(found.tab[n])
        return {
            "stash": _hex_ids(tabs.key[tab : tab + 1])[0],
            "item": _hex_ids(found.key[n : n + 1])[0],
            "seller": account(int(tabs.seller[tab])),
            "league": self.market.leagues[int(tabs.league[tab])],
            "key": catalogue()[int(found.kind[n])].key,
            "listed_at": float(found.start_s[n]),
            "sold_at": float(found.end_s[n]),
            "ask_chaos": float(found.ask_chaos[n]),
            "true_chaos": float(found.true_chaos[n]),
        }

    def _choose(self, starts: Sequence[int], head: int) -> tuple[Touches, int]:
        """The touches that fill one page, and the touch after the last of them."""
        key = self._key + min(starts)
        live = _LIVE_MIN + (_LIVE_MAX - _LIVE_MIN) * uniform(key, 0)
        old = _OLD_MIN + (_OLD_MAX - _OLD_MIN) * uniform(key, 1)
        room, found = 1.0, []
        for block in self.timeline.scan(starts, head):
            filled = np.cumsum(np.where(block.cls == GONE, 1.0 / old, 1.0 / live))
            fits = int(np.searchsorted(filled, room, side="right"))
            found.append(Touches(block.n[:fits], block.cls[:fits], block.unit[:fits]))
            if fits < len(block.n):
                return _joined(found), int(block.n[fits])
            room -= float(filled[-1]) if len(filled) else 0.0
        return _joined(found), head

    def _write(self, touches: Touches, now_s: float, nonce: int) -> Iterable[Piece]:
        """The stashes of ``touches``, as they were when touched."""
        numbers = ((touches.cls << 40) + touches.unit).astype(np.uint64)
        at_s = self.timeline.touched_at(0) + touches.n / self.timeline.per_s
        tabs = self.market.sellers.tabs(numbers, at_s)
        buried = (numbers >= np.uint64(ABANDONED)) & _is_buried(tabs.key)
        public = ~(tabs.hidden | buried)
        ids = _hex_ids(tabs.key)
        of_public = np.flatnonzero(public)
        shown = _rows_of(tabs, of_public)
        listings = self.market.listings(replace(shown, places=np.where(shown.homeless, 0, shown.places)))
        items = self._items(shown, listings, is_objects=now_s >= self._mods_before_s, nonce=nonce)
        live = dict(zip(of_public.tolist(), self._stashes(shown, of_public, ids, items), strict=True))
        types = tabs.type.tolist()
        return [live[n] if n in live else _tombstone(stash_id, types[n]) for n, stash_id in enumerate(ids)]

    def _stashes(self, tabs: Tabs, at: Ints, ids: Sequence[str], items: Mapping[int, list[bytes]]) -> Iterable[Piece]:
        """The public stashes, those without a league among them."""
        columns = zip(
            tabs.key.tolist(), tabs.seller.tolist(), tabs.league.tolist(), tabs.type.tolist(), tabs.homeless.tolist(),
            at.tolist(), strict=True,
        )  # fmt: skip
        for n, (key, seller, league, kind, homeless, place) in enumerate(columns):
            stash_id = ids[place]
            if homeless:
                text = (
                    b'{"id":"%b","public":true,"accountName":null,"stash":"","stashType":"%b","league":null,"items":[]}'
                )
                yield Piece(stash_id, True, None, 0, text % (stash_id.encode(), TYPES[kind].encode()))
                continue
            name = self._tab_name(tabs, n, key)
            found = items.get(n, [])
            raw = b"".join(
                (
                    b'{"id":"', stash_id.encode(), b'","public":true,"accountName":', orjson.dumps(account(seller)),
                    b',"stash":', orjson.dumps(name), b',"stashType":"', TYPES[kind].encode(), b'","league":',
                    self._leagues[league], b',"items":[', b",".join(found), b"]}",
                )
            )  # fmt: skip
            yield Piece(stash_id, True, self.market.leagues[league], len(found), raw)

    def _tab_name(self, tabs: Tabs, n: int, key: int) -> str:
        """A price where the tab is priced by its name, else a word."""
        if tabs.style[n] != BY_TAB:
            return tab_word(key)
        return f"{'~b/o' if key & 3 else '~price'} {tabs.tab_chaos[n]:g} chaos"

    def _items(self, tabs: Tabs, listings: Listings, *, is_objects: bool, nonce: int) -> dict[int, list[bytes]]:
        """Stash → its items' JSON."""
        alive = np.flatnonzero(listings.alive)
        tab, kind, key = listings.tab[alive], listings.kind[alive], listings.key[alive]
        ids = _hex_ids(key)
        unkeyed = self._is_unkeyed[kind]
        variant = (mix(key, 90) % np.where(unkeyed, UNKEYED_VARIANTS, VARIANTS).astype(np.uint64)).tolist()
        notes = note_keys(key, listings.reprice[alive]).tolist()
        width = np.where(tabs.type[tab] == TYPES.index("QuadStash"), _QUAD_PLACES_A_ROW, _PLACES_A_ROW)
        y, x = np.divmod(listings.place[alive], width)
        found: dict[int, list[bytes]] = {}
        columns = zip(
            tab.tolist(), kind.tolist(), variant, ids, listings.noted[alive].tolist(), notes,
            listings.ask_chaos[alive].tolist(), listings.start_s[alive].tolist(), x.tolist(), y.tolist(), strict=True,
        )  # fmt: skip
        homes, leagues = tabs.home.tolist(), [self._leagues[n] for n in tabs.league.tolist()]
        stands = [b',"inventoryId":"Stash%d"' % (1 + (k & 63)) for k in tabs.key.tolist()]
        rates = self.market.rates
        for n, k, v, item_id, noted, note_key, ask, start_s, column, row in columns:
            to_league, to_id, to_note, to_place, rest, last = template(k, v, is_objects)
            text = b'"note":%b,' % orjson.dumps(note(ask, rates(homes[n], start_s), note_key)[0]) if noted else b""
            place = b'"x":%d,"y":%d' % (column, row)
            parts = (to_league, leagues[n], to_id, item_id.encode(), to_note, text, to_place, place, stands[n], rest)
            tail = () if last is None else (_veiled(note_key, nonce), last)
            found.setdefault(n, []).append(b"".join((*parts, *tail)))
        return found


def _joined(blocks: Sequence[Touches]) -> Touches:
    """Blocks one after another."""
    if not blocks:
        none = np.zeros(0, dtype=np.int64)
        return Touches(none, none, none)
    return Touches(*(np.concatenate([getattr(block, name) for block in blocks]) for name in ("n", "cls", "unit")))


def _rows_of(tabs: Tabs, at: Ints) -> Tabs:
    """Some of ``tabs``."""
    return Tabs(**{field.name: getattr(tabs, field.name)[at] for field in fields(Tabs)})


def _is_buried(keys: Keys) -> Bools:
    """Whether a stash that is gone is a tombstone; the others were left standing."""
    return np.asarray(uniform_of(keys, 60) < _TOMBSTONE_SHARE, dtype=np.bool_)


def _hex_ids(keys: Keys) -> list[str]:
    """64 hex digits for each key."""
    words = np.stack([mix(keys, n) for n in (70, 71, 72, 73)], axis=1)
    text = np.ascontiguousarray(words).tobytes().hex()
    return [text[n : n + 64] for n in range(0, len(text), 64)]


def _tombstone(stash_id: str, kind: int) -> Piece:
    """What is left of a stash that is no longer public: recorded with nulls, and sometimes with nothing."""
    if int(stash_id[:2], 16) % _BARE_SHARE == 0:
        raw = b'{"id":"%b","public":false}' % stash_id.encode()
    else:
        text = b'{"id":"%b","public":false,"accountName":null,"stash":null,"stashType":"%b","league":null,"items":[]}'
        raw = text % (stash_id.encode(), TYPES[kind].encode() if int(stash_id[2], 16) % 3 else b"")
    return Piece(stash_id, False, None, 0, raw)


def _veiled(key: int, nonce: int) -> bytes:
    """Veiled mods as one answer names them: differently each time."""
    number = key_of(key, nonce)
    return b'"%b%02d"' % (b"Prefix" if number & 1 else b"Suffix", 1 + (number >> 8) % 12)
