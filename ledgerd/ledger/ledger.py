"""The ledger: the current prices of every league, loaded from gold and read without waiting."""

import asyncio
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from operator import itemgetter
from typing import Literal, NamedTuple

from ledgerd.chaos_scale.reference import Currency, Reference
from ledgerd.clock import HOUR_S, UPSTREAM_DELAY_S, rfc3339
from ledgerd.errors import NotKnown, NotPricedYet
from ledgerd.events import ItemsPriced, Priced, emit
from ledgerd.ledger.items import ItemSnapshot, Part
from ledgerd.ledger.search import Searched
from ledgerd.ledger.snapshot import Price, Snapshot
from ledgerd.spelling import nearest
from ledgerd.store.engine import Engine, Row

RELOAD_TIMEOUT_S = 30.0
WINDOW_S = 7 * 24 * HOUR_S
"""How far behind its realm's newest hour a currency's league is looked at for news."""
ITEMS_WINDOW_S = 24 * HOUR_S
"""The same of items, which have a hundred times as many rows an hour."""
ITEMS_A_QUERY = 4_000
"""Few enough that what Python does with an answer holds nobody up; many enough that an answer is worth asking for."""
KEY_TOP = chr(sys.maxunicode)
"""Sorts behind every key."""
JSON_SETTINGS = {
    "enable_named_columns_in_function_tuple": 1,
    "output_format_json_named_tuples_as_objects": 1,
    "output_format_json_map_as_array_of_tuples": 0,
    "output_format_json_escape_forward_slashes": 0,
    "output_format_json_quote_64bit_integers": 0,
    "output_format_json_quote_denormals": 0,
}
"""How the engine writes the JSON of items, whatever its version's defaults are."""
ANNOUNCEMENTS_MAX = 64
"""How many announcements wait for a subscriber; of more the oldest is dropped."""

Layer = Literal["currency", "items"]
Announcements = asyncio.Queue["Announcement"]


@dataclass(frozen=True, slots=True)
class Market:
    """What is known of one league: its currencies, its items, or both."""

    realm: str
    league: str
    currency: Snapshot | None = None
    items: ItemSnapshot | None = None

    @property
    def searched(self) -> Mapping[str, Searched]:
        """What there is to search, by kind."""
        things: dict[str, Searched | None] = {"currency": self.currency, "item": self.items}
        return {kind: thing for kind, thing in things.items() if thing is not None}


@dataclass(frozen=True, slots=True)
class Announcement:
    """A layer of a league has new prices: how many, as of when (unix seconds), and their snapshot's tag."""

    realm: str
    league: str
    layer: Layer
    as_of: int
    count: int
    tag: str


class Stamp(NamedTuple):
    """How far gold of one layer of a league is: its newest hour, and the moments of its newest rows in ms."""

    hour_s: int
    prices_ms: int
    liquidity_ms: int
    roi_ms: int

    @property
    def is_whole(self) -> bool:
        """False between the step that makes prices and the one that makes their liquidity."""
        return self.liquidity_ms >= self.prices_ms


class Ledger:
    """Answers from memory; `reload` brings a realm's snapshots up to gold.

    Readers and `reload` share the loop's thread; the currencies of a realm change in one assignment, and so do the
    items of a league, never half.
    """

    __slots__ = ("_engine", "_late", "_markets", "_queries", "_reference", "_reloading", "_stamps", "_subscribers")

    def __init__(self, engine: Engine, reference: Reference, queries: Mapping[str, str]) -> None:
        """``queries``: the named blocks of ``schema/queries.sql``."""
        self._engine = engine
        self._reference = reference
        self._queries = queries
        self._reloading = asyncio.Lock()
        self._markets: dict[str, Mapping[str, Market]] = {}
        self._stamps: dict[tuple[str, Layer, str], Stamp] = {}
        self._late: set[tuple[str, Layer, str]] = set()
        self._subscribers: set[Announcements] = set()

    def expect(self, realms: Iterable[str]) -> None:
        """Serve exactly ``realms`` from now on: new ones are known though empty, the others' prices are let go."""
        self._markets = {realm: self._markets.get(realm, {}) for realm in realms}
        self._stamps = {place: stamp for place, stamp in self._stamps.items() if place[0] in self._markets}

    async def reload(self, realm: str) -> None:
        """Load what gold has learnt of ``realm``, layer by layer, and swap it in; says so of each league that moved.

        Where nothing moved that is one query. StoreUnavailable or QueryRefused leave the old snapshots in place where
        no new ones came. A realm nobody expects is let go by the next `expect`.
        """
        async with self._reloading:
            self._markets.setdefault(realm, {})
            moved = await self._moved(realm)
            await self._reload_currencies(realm, moved["currency"])
            await self._reload_items(realm, moved["items"])

    @property
    def is_priced(self) -> bool:
        """True once any league has prices."""
        return any(self._markets.values())

    def markets(self) -> Mapping[str, Mapping[str, Market]]:
        """What is known by realm and league; a realm without prices has no leagues."""
        return self._markets

    def market(self, realm: str, league: str) -> Market:
        """All that is known of a league, names in any case. NotKnown or NotPricedYet if there is nothing."""
        if (exact := self._markets.get(realm, {}).get(league)) is not None:
            return exact
        if not self.is_priced:
            raise NotPricedYet("There are no prices yet.", "The first come within a minute of a start: ledgerd status")
        realm = _resolved("realm", realm, self._markets, "here")
        leagues = self._markets[realm]
        if not leagues:
            raise NotPricedYet(f"There are no prices in realm {realm} yet.", "See its sources: ledgerd status")
        return leagues[_resolved("league", league, leagues, f"in realm {realm}")]

    def snapshot(self, realm: str, league: str) -> Snapshot:
        """The currencies' prices of a league, names in any case. NotKnown or NotPricedYet if there are none."""
        market = self.market(realm, league)
        if market.currency is None:
            raise NotPricedYet(
                f"There are no prices of currencies in {market.realm}/{market.league} yet, only of items.",
                f"They come from the exchange: see exchange-{market.realm} in ledgerd status",
            )
        return market.currency

    def items(self, realm: str, league: str) -> ItemSnapshot:
        """The items' prices of a league, names in any case. NotKnown or NotPricedYet if there are none."""
        market = self.market(realm, league)
        if market.items is None:
            raise NotPricedYet(
                f"There are no prices of items in {market.realm}/{market.league} yet, only of currencies.",
                "They come from public stashes, which need credentials and river = true in the realm's table of "
                f"config.toml: see river-{market.realm} in ledgerd status",
            )
        return market.items

    def item(self, snapshot: ItemSnapshot, key: str) -> int:
        """The place of the item of that key, in any case; NotKnown, with keys that may be meant, if it has no price."""
        place = snapshot.find(key)
        if place is None:
            here = f"{snapshot.realm}/{snapshot.league}"
            hint = f"Find keys by words: GET /v1/{here}/search?q="
            raise NotKnown(f"There is no item {key[:100]!r} in {here}.", hint, snapshot.suggest(key))
        return place

    def price(self, snapshot: Snapshot, currency: str) -> Price:
        """What ``currency`` (id, tag, name or alias) is worth in ``snapshot``'s league; NotKnown if it has none."""
        price = snapshot.find(currency)
        if price is not None:
            return price
        entry = self.entry(snapshot.realm, currency)
        if entry is None:
            raise _unknown_currency(currency, snapshot)
        raise NotKnown(
            f"{entry.name} has had no price in {snapshot.realm}/{snapshot.league} for 7 days.",
            f"Earlier prices, if there are any, are in its history: add /history and ?from= to {entry.metadata_id}.",
        )

    def currency_id(self, snapshot: Snapshot, currency: str) -> str:
        """The id of ``currency`` whether it has a price now or not; NotKnown if it is no currency's name."""
        price = snapshot.find(currency)
        if price is not None:
            return price.id
        entry = self.entry(snapshot.realm, currency)
        if entry is None:
            raise _unknown_currency(currency, snapshot)
        return entry.metadata_id

    def entry(self, realm: str, currency: str) -> Currency | None:
        """The reference table's entry for what ``currency`` names in the realm's game; None if it names nothing."""
        return self._reference.find(currency, realm)

    def label(self, realm: str, currency_id: str) -> str:
        """A readable name for an id."""
        return self._reference.label(currency_id, realm)

    def subscribe(self) -> Announcements:
        """A queue of what is loaded from now on; bounded: who does not read misses the oldest."""
        queue = Announcements(ANNOUNCEMENTS_MAX)
        self._subscribers.add(queue)
        return queue

    def unsubscribe(self, queue: Announcements) -> None:
        """Let go of a queue `subscribe` gave; again is nothing."""
        self._subscribers.discard(queue)

    async def _moved(self, realm: str) -> dict[Layer, dict[str, Stamp]]:
        """By layer and league how far gold is, of those leagues where that is further than what is held.

        New prices wait for their liquidity, which comes a moment later, until the next look; but only once, so that
        they come without it where it fails.
        """
        held = {place: stamp for place, stamp in self._stamps.items() if place[0] == realm}
        newest_s = {
            layer: max((stamp.hour_s for place, stamp in held.items() if place[1] == layer), default=0)
            for layer in ("currency", "items")
        }
        params = {
            "realm": realm,
            "since": max(0, newest_s["currency"] - WINDOW_S),
            "items_since": max(0, newest_s["items"] - ITEMS_WINDOW_S),
        }
        rows = await self._engine.rows(self._queries["ledger_moved"], params, timeout_s=RELOAD_TIMEOUT_S)
        moved: dict[Layer, dict[str, Stamp]] = {"currency": {}, "items": {}}
        for layer, league, *facts in rows:
            place, stamp = (realm, layer, league), Stamp(*facts)
            is_awaited = place in held and not stamp.is_whole and place not in self._late
            (self._late.discard if stamp.is_whole else self._late.add)(place)
            if stamp != held.get(place) and not is_awaited:
                moved[layer][league] = stamp
        return moved

    async def _reload_currencies(self, realm: str, moved: Mapping[str, Stamp]) -> None:
        if not moved:
            return
        params = {
            "realm": realm,
            "leagues": sorted(moved),
            "since": min(stamp.hour_s for stamp in moved.values()),
        }
        rows = await self._engine.rows(self._queries["ledger_newest"], params, timeout_s=RELOAD_TIMEOUT_S)
        loaded = await asyncio.to_thread(_by_league, realm, rows, self._reference)
        held = self._markets.get(realm, {})
        self._adopt(realm, "currency", moved, {
            league: replace(held.get(league, Market(realm, league)), currency=snapshot)
            for league, snapshot in loaded.items()
        })  # fmt: skip
        for league, snapshot in loaded.items():
            was = held[league].currency if league in held else None
            if was is None or was.newest_hour_s != snapshot.newest_hour_s:
                emit(_priced(snapshot))
            self._announce(was, "currency", snapshot, len(snapshot.prices))

    async def _reload_items(self, realm: str, moved: Mapping[str, Stamp]) -> None:
        """League by league, so that none waits for another, and only one is in memory twice."""
        for league, stamp in moved.items():
            snapshot = await self._load_items(realm, league, stamp.hour_s)
            market = self._markets.get(realm, {}).get(league, Market(realm, league))
            self._adopt(realm, "items", {league: stamp}, {league: replace(market, items=snapshot)})
            emit(ItemsPriced(f"{realm}/{league}", items=len(snapshot), as_of=rfc3339(snapshot.as_of)))
            self._announce(market.items, "items", snapshot, len(snapshot))

    async def _load_items(self, realm: str, league: str, hour_s: int) -> ItemSnapshot:
        """The items of a league, some thousand at a time, so that no answer is large and no step long."""
        facts = {"realm": realm, "league": league, "hour": hour_s}
        asked = {**facts, "items": ITEMS_A_QUERY}
        [(firsts,)] = await self._engine.rows(self._queries["ledger_item_pages"], asked, timeout_s=RELOAD_TIMEOUT_S)
        parts = []
        for first, end in pairwise(["", *firsts[1:], KEY_TOP]):
            asked = {**facts, "first": first, "end": end, "delay_s": int(UPSTREAM_DELAY_S)}
            [row] = await self._engine.rows(
                self._queries["ledger_items"], asked, timeout_s=RELOAD_TIMEOUT_S, settings=JSON_SETTINGS
            )
            parts.append(await asyncio.to_thread(Part.of, *row))
        return await asyncio.to_thread(ItemSnapshot.of_parts, realm, league, hour_s, parts)

    def _adopt(self, realm: str, layer: Layer, moved: Mapping[str, Stamp], markets: Mapping[str, Market]) -> None:
        self._markets[realm] = {**self._markets.get(realm, {}), **markets}
        self._stamps |= {(realm, layer, league): stamp for league, stamp in moved.items()}

    def _announce(
        self, was: Snapshot | ItemSnapshot | None, layer: Layer, now: Snapshot | ItemSnapshot, n: int
    ) -> None:
        if was is not None and was.tag == now.tag:
            return
        for queue in self._subscribers:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(Announcement(now.realm, now.league, layer, now.as_of, n, now.tag))


def _by_league(realm: str, rows: Sequence[Row], reference: Reference) -> dict[str, Snapshot]:
    """The snapshots of ``rows``, which are sorted by league: 10 ms for one of 500 prices, so in a thread."""
    return {
        league: Snapshot.of_rows(realm, league, [row[1:] for row in group], reference)
        for league, group in groupby(rows, key=itemgetter(0))
    }


def _resolved(kind: str, asked: str, known: Iterable[str], where: str) -> str:
    """``asked`` as it is spelt in ``known``; NotKnown with what is near."""
    folded = {name.casefold(): name for name in known}
    name = folded.get(asked.casefold())
    if name is None:
        near = nearest(asked, folded.values()) or tuple(sorted(folded.values())[:5])
        raise NotKnown(f"There is no {kind} named {asked[:100]!r} {where}.", "What there is: GET /v1/realms", near)
    return name


def _unknown_currency(asked: str, snapshot: Snapshot) -> NotKnown:
    here = f"{snapshot.realm}/{snapshot.league}"
    hint = f"What has a price: GET /v1/{here}/currency"
    return NotKnown(f"There is no currency named {asked[:100]!r} in {here}.", hint, snapshot.suggest(asked))


def _priced(snapshot: Snapshot) -> Priced:
    divine = snapshot.divine_in_chaos
    return Priced(
        f"{snapshot.realm}/{snapshot.league}",
        currencies=len(snapshot.prices),
        as_of=rfc3339(snapshot.as_of),
        divine_in_chaos="?" if divine is None else f"{divine:.4g}",
    )
