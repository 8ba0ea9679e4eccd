"""Where the stand-in's river comes from: the port both sources keep, and the one made of stash markets."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Protocol

from ledgerd.sim.river_page import MODS_BEFORE_S, MadeRiver, Page
from ledgerd.sim.stash_market import StashMarket
from ledgerd.sim.timeline import Timeline

RIVER_REALMS = ("pc", "xbox", "sony")
"""The river is of the first game only."""
_CONSOLE_SHARE = 0.15
_STASHES_LEAST = 60


class RiverSource(Protocol):
    """Pages by change id, for the realms of ``RIVER_REALMS``. May take a while: call its methods in a thread."""

    def page(self, realm: str, counters: Sequence[int] | None, now_s: float, nonce: int) -> Page:
        """What follows a change id (None: the beginning) at ``now_s``; ``nonce`` makes two answers differ."""
        ...

    def beside(self, realm: str, counters: Sequence[int] | None, touches: int) -> str:
        """A change id so many touches after another (before it, where negative)."""
        ...

    def head(self, realm: str, now_s: float) -> str:
        """The change id after which there is nothing yet."""
        ...

    def market(self, realm: str) -> StashMarket:
        """What the stashes truly hold; ValueError where nobody knows."""
        ...

    def sales(self, realm: str, since_s: float, until_s: float) -> Iterator[dict[str, Any]]:
        """What was sold in a stretch of time; ValueError where nobody knows."""
        ...


class MadeRivers:
    """Made rivers of every realm, each built when first asked for.

    ``per_s`` changes a second and ``stashes`` are pc's; the consoles have a seventh of both.
    """

    def __init__(
        self,
        seed: int,
        *,
        per_s: float,
        stashes: int,
        hostile_share: float,
        rates_seed: int,
        mods_before_s: float | None = None,
    ) -> None:
        self._seed, self._rates_seed = seed, rates_seed
        self._per_s, self._stashes, self._hostile_share = per_s, stashes, hostile_share
        self._mods_before_s = MODS_BEFORE_S if mods_before_s is None else mods_before_s
        self.timeline = lru_cache(maxsize=None)(self._timeline)
        self.river = lru_cache(maxsize=None)(self._river)

    def _timeline(self, realm: str) -> Timeline:
        share = 1.0 if realm == "pc" else _CONSOLE_SHARE
        stashes = max(_STASHES_LEAST, round(self._stashes * share))
        return Timeline(self._seed, realm, per_s=self._per_s * share, stashes=stashes)

    def _river(self, realm: str) -> MadeRiver:
        market = StashMarket(self._seed, realm, hostile_share=self._hostile_share, rates_seed=self._rates_seed)
        return MadeRiver(market, self.timeline(realm), self._seed, mods_before_s=self._mods_before_s)

    def page(self, realm: str, counters: Sequence[int] | None, now_s: float, nonce: int) -> Page:
        """As the port."""
        return self.river(realm).page(counters, now_s, nonce)

    def beside(self, realm: str, counters: Sequence[int] | None, touches: int) -> str:
        """As the port."""
        return self.timeline(realm).id_beside(counters, touches)

    def head(self, realm: str, now_s: float) -> str:
        """As the port."""
        return self.timeline(realm).last_id(now_s)

    def market(self, realm: str) -> StashMarket:
        """As the port."""
        return self.river(realm).market

    def sales(self, realm: str, since_s: float, until_s: float) -> Iterator[dict[str, Any]]:
        """As the port."""
        return self.river(realm).sales(since_s, until_s)
