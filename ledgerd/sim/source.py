"""Where the stand-in's hours come from: the port both sources keep, and the one made of markets."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import orjson

from ledgerd.clock import HOUR_S
from ledgerd.sim.market import Market
from ledgerd.sim.noise import key_of, uniform
from ledgerd.sim.world import REALMS, load_codes, load_ids, realm_of

_BODIES_KEPT = 48


class Source(Protocol):
    """Hours of true bodies. Hours are unix seconds, aligned; a realm outside ``realms`` is never asked for."""

    @property
    def realms(self) -> tuple[str, ...]:
        """The realms there are hours of."""
        ...

    def span(self, realm: str) -> tuple[int, int] | None:
        """The first hour and the first one after the last; None where any hour can be had."""
        ...

    def exists(self, realm: str, hour: int) -> bool:
        """Whether the hour ever comes to be; False is a gap."""
        ...

    def body(self, realm: str, hour: int) -> bytes:
        """The true body of an hour that exists. May take a while: call it in a thread."""
        ...

    def leagues(self, realm: str) -> tuple[str, ...]:
        """The leagues whose true values are known; none where the truth is not."""
        ...

    def truth(self, realm: str, league: str, hour: int) -> dict[str, float]:
        """Currency → true value in chaos, for a league of ``leagues``."""
        ...


class MarketSource:
    """Hours of a made market in every realm; a seeded ``gap_rate`` of them (0..1) never comes to be.

    ``ids_path`` is a reference table of currencies (see ``world.load_ids`` for its form and errors).
    """

    def __init__(
        self, seed: int, *, gap_rate: float = 0.0, ids_path: Path | None = None, codes_before: int | None = None
    ) -> None:
        self._seed = seed
        self._gap_rate = gap_rate
        self._codes_before = codes_before
        games = ("poe1", "poe2") if ids_path else ()
        self._ids: Mapping[str, tuple[str, ...]] = {game: load_ids(ids_path, game) for game in games if ids_path}
        self._codes = load_codes(ids_path) if ids_path else {}
        self._market = lru_cache(maxsize=None)(self._build)
        self.body = lru_cache(maxsize=_BODIES_KEPT)(self._body)

    @property
    def realms(self) -> tuple[str, ...]:
        """All realms of the exchange."""
        return REALMS

    def span(self, realm: str) -> None:
        """Any hour can be had."""
        return

    def exists(self, realm: str, hour: int) -> bool:
        """False for the seeded gaps."""
        return uniform(key_of(self._seed, "gap", realm), hour // HOUR_S) >= self._gap_rate

    def leagues(self, realm: str) -> tuple[str, ...]:
        """The realm's leagues."""
        return self._market(realm).leagues

    def truth(self, realm: str, league: str, hour: int) -> dict[str, float]:
        """The market's true values; ValueError for an unknown league."""
        return self._market(realm).truth(league, hour)

    def _build(self, realm: str) -> Market:
        ids = self._ids.get(realm_of(realm).game)
        return Market(self._seed, realm, ids, codes_before=self._codes_before, codes=self._codes)

    def _body(self, realm: str, hour: int) -> bytes:
        """The hour as compact JSON, like upstream's."""
        return orjson.dumps(self._market(realm).hour(hour))
