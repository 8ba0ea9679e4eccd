"""The ledger: the current snapshot of every league, loaded from gold and read without waiting."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter

from ledgerd.chaos_scale.reference import Currency, Reference
from ledgerd.clock import HOUR_S, rfc3339
from ledgerd.errors import NotKnown, NotPricedYet
from ledgerd.events import Priced, emit
from ledgerd.ledger.snapshot import Price, Snapshot, nearest
from ledgerd.store.engine import Engine, Row

RELOAD_TIMEOUT_S = 30.0
WINDOW_S = 7 * 24 * HOUR_S
"""How far behind its league's newest hour a currency's newest price may lie."""


class Ledger:
    """Answers from memory; `reload` brings a realm's snapshots up to gold.

    Readers and `reload` share the loop's thread; a realm's leagues change in one assignment, never half.
    """

    __slots__ = ("_engine", "_newest_sql", "_reference", "_reloading", "_snapshots")

    def __init__(self, engine: Engine, reference: Reference, queries: Mapping[str, str]) -> None:
        """``queries``: the named blocks of ``schema/queries.sql``."""
        self._engine = engine
        self._reference = reference
        self._newest_sql = queries["ledger_newest"]
        self._reloading = asyncio.Lock()
        self._snapshots: dict[str, Mapping[str, Snapshot]] = {}

    def expect(self, realms: Iterable[str]) -> None:
        """Serve exactly ``realms`` from now on: new ones are known though empty, the others' prices are let go."""
        self._snapshots = {realm: self._snapshots.get(realm, {}) for realm in realms}

    async def reload(self, realm: str) -> None:
        """Load what gold has learnt of ``realm``, and swap it in; says `Priced` of each league whose newest hour moved.

        StoreUnavailable or QueryRefused leave the old snapshots in place. A realm nobody expects is let go by the next
        `expect`.
        """
        async with self._reloading:
            held = self._snapshots.get(realm, {})
            newest_hour_s = max((snapshot.newest_hour_s for snapshot in held.values()), default=0)
            params = {"realm": realm, "since": max(0, newest_hour_s - WINDOW_S)}
            rows = await self._engine.rows(self._newest_sql, params, timeout_s=RELOAD_TIMEOUT_S)
            loaded = await asyncio.to_thread(_by_league, realm, rows, self._reference)
            self._snapshots[realm] = {**held, **loaded}
        for league, snapshot in loaded.items():
            if league not in held or held[league].newest_hour_s != snapshot.newest_hour_s:
                emit(_priced(snapshot))

    @property
    def is_priced(self) -> bool:
        """True once any league has prices."""
        return any(self._snapshots.values())

    def realms(self) -> Mapping[str, Mapping[str, Snapshot]]:
        """The snapshots by realm and league; a realm without prices has no leagues."""
        return self._snapshots

    def snapshot(self, realm: str, league: str) -> Snapshot:
        """The prices of a league, names in any case. NotKnown or NotPricedYet if there are none."""
        if not self.is_priced:
            raise NotPricedYet("There are no prices yet.", "The first come within a minute of a start: ledgerd status")
        realm = _resolved("realm", realm, self._snapshots, "here")
        leagues = self._snapshots[realm]
        if not leagues:
            raise NotPricedYet(f"There are no prices in realm {realm} yet.", "See its sources: ledgerd status")
        return leagues[_resolved("league", league, leagues, f"in realm {realm}")]

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
