"""Who sells in the stand-in's river: what a stash is, whose, in which league, and how its owner prices. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ledgerd.sim.hashes import Bools, Floats, Ints, Keys, mix, normal, one, spread, uniform
from ledgerd.sim.noise import key_of

TYPES = (
    "MapStash", "PremiumStash", "UniqueStash", "QuadStash", "CurrencyStash", "DivinationCardStash", "FragmentStash",
    "NormalStash",
)  # fmt: skip
_TYPE_TO = np.cumsum([0.44, 0.38, 0.08, 0.04, 0.02, 0.015, 0.01, 0.015])
_EMPTY = np.array([0.48, 0.42, 0.8, 0.3, 0.5, 0.5, 0.5, 0.7])  # share of stashes without an item
_MEDIAN = np.array([6.0, 86.0, 6.0, 190.0, 12.0, 12.0, 8.0, 30.0])  # places used, of the others
_MOST = np.array([72, 144, 80, 576, 60, 80, 60, 144])
_DUMP = 3  # what is abandoned is a quad tab
POOLS = ("general", "maps", "uniques", "currency", "cards", "fragments", "gems", "rares", "bases", "clusters", "beasts")
_TYPE_POOL = np.array([1, 0, 2, 0, 3, 4, 5, 0])
_THEMES = np.array([0, 6, 2, 7, 8, 9, 10, 4])
_THEME_TO = np.cumsum([0.6, 0.12, 0.1, 0.1, 0.04, 0.02, 0.01, 0.01])
UNPRICED, BY_NOTE, BY_TAB = range(3)
HONEST, FIXER, BAIT, ABSURD = range(4)
_HOSTILE_TO = np.cumsum([0.4, 0.3, 0.3])
_TAB_PRICES = np.array([1.0, 2, 3, 5, 8, 10, 15, 20, 25, 30, 40, 50, 64, 80, 100, 120, 200, 400])
_DAY_S = 86_400.0
_STASHES_EACH = 6
ABANDONED = 3 << 40
"""Numbers from here on are of stashes their owners left."""
_SYLLABLES = (
    "xil", "mor", "dra", "tan", "ven", "kor", "ash", "ele", "bru", "sin", "qua", "rho", "zed", "lum", "pik", "wol",
)  # fmt: skip
_TAB_WORDS = (
    "Trade", "Sell", "$$", "Shop", "Карты", "파란잼", "지도 3.22", "Maps", "U", "dump", "~", "T2", "GGGG", "1",
    "Selling", "6l_UN", "q20", "", "M", "=V=", "Uniques", "maps", "Cards", "16", "出售",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tabs:
    """Columns, one entry a stash at one moment."""

    key: Keys
    seller: Keys
    at_s: Floats
    home: Ints  # the league it is priced for
    league: Ints  # the league it stands in
    type: Ints
    pool: Ints
    places: Ints
    style: Ints  # UNPRICED, BY_NOTE or BY_TAB
    tab_chaos: Floats  # what its name asks, where BY_TAB
    temper: Ints  # HONEST, FIXER, BAIT or ABSURD
    hidden: Bools  # not public
    homeless: Bools  # public and without a league


class Sellers:
    """The owners of one realm's stashes; ``shares`` are the leagues' shares of them, ``hostile_share`` is 0..1."""

    def __init__(self, seed: int, realm: str, shares: Sequence[float], hostile_share: float) -> None:
        self._stashes = key_of(seed, "stash", realm)
        self._sellers = key_of(seed, "seller", realm)
        self._league_to = np.cumsum(np.array(shares) / sum(shares))
        self._hostile_share = hostile_share

    def tabs(self, numbers: Keys, at_s: Floats) -> Tabs:
        """Stashes by number, each as it is at its moment."""
        key = spread(one(self._stashes), numbers)
        seller = spread(one(self._sellers), numbers // np.uint64(_STASHES_EACH))
        left = numbers >= np.uint64(ABANDONED)
        kind = np.where(left, _DUMP, np.searchsorted(_TYPE_TO[:-1], uniform(key, 1)))
        pool = _TYPE_POOL[kind]
        pool = np.where(pool == 0, _THEMES[np.searchsorted(_THEME_TO[:-1], uniform(key, 2))], pool)
        home = np.searchsorted(self._league_to[:-1], uniform(seller, 1))
        style = self._style(key, kind)
        return Tabs(
            key=key,
            seller=seller,
            at_s=at_s,
            home=home,
            league=self._league(key, home, at_s),
            type=kind,
            pool=pool,
            places=_places(key, kind, left),
            style=style,
            tab_chaos=tab_chaos(key, at_s),
            temper=self._temper(seller),
            hidden=_epoch(key, at_s, 5 * _DAY_S, 20) < 0.04,  # noqa: PLR2004 - one stash in 25 is private
            homeless=(uniform(key, 3) < 0.025) & (kind == 0),  # noqa: PLR2004 - map tabs without a league are recorded
        )

    def _league(self, key: Keys, home: Ints, at_s: Floats) -> Ints:
        """Mostly home; a few stashes a month move to another league, for a while."""
        moved = _epoch(key, at_s, 20 * _DAY_S, 24) < 0.02  # noqa: PLR2004 - of stashes, at any time
        return np.where(moved, (home + 1) % len(self._league_to), home)

    def _temper(self, seller: Keys) -> Ints:
        """Whether an owner is honest, and if not, which game is played."""
        game = 1 + np.searchsorted(_HOSTILE_TO[:-1], uniform(seller, 3))
        return np.where(uniform(seller, 2) < self._hostile_share, game, HONEST)

    def _style(self, key: Keys, kind: Ints) -> Ints:
        """How a stash is priced; only tabs with a name of the owner's own price by it."""
        u = uniform(key, 4)
        named = np.isin(kind, (1, 3))
        return np.where(named & (u < 0.12), BY_TAB, np.where(u < np.where(named, 0.74, 0.45), BY_NOTE, UNPRICED))  # noqa: PLR2004 - matched to recorded pages


def _epoch(key: Keys, at_s: Floats, length_s: float, n: int) -> Floats:
    """A number in 0..1 that a stash keeps for ``length_s`` and then changes."""
    epoch = np.floor(at_s / length_s + uniform(key, n)).astype(np.uint64)
    return uniform(spread(mix(key, n + 1), epoch))


def _places(key: Keys, kind: Ints, left: Bools) -> Ints:
    """How many places of a stash are ever used."""
    usual = _MEDIAN[kind] * np.exp(np.where(kind == 0, 0.9, 0.75) * normal(key, 5))
    used = np.where(uniform(key, 12) < _EMPTY[kind], uniform(key, 13) < 0.15, np.ceil(usual))  # noqa: PLR2004 - matched to recorded pages
    return np.where(left, 60 + 165 * uniform(key, 13), np.minimum(used, _MOST[kind])).astype(np.int64)


def tab_chaos(key: Keys, at_s: Floats) -> Floats:
    """What a tab's name asks; its owner renames it now and then, by a step."""
    at = np.floor(uniform(key, 14) * len(_TAB_PRICES)).astype(np.int64)
    step = np.where(_epoch(key, at_s, 2 * _DAY_S, 28) < 0.2, 1, 0)  # noqa: PLR2004 - a fifth of the time
    return _TAB_PRICES[np.maximum(0, at - step)]


def account(seller: int) -> str:
    """A seller's account name, with the number that tells namesakes apart."""
    first, second, third = (_SYLLABLES[seller >> shift & 15] for shift in (0, 4, 8))
    return f"{first.capitalize()}{second}{third}{seller >> 12 & 0xFFF}#{seller >> 24 & 0x1FFF:04d}"


def tab_word(key: int) -> str:
    """A stash's name that is no price."""
    word = _TAB_WORDS[key >> 8 & 31] if key >> 8 & 31 < len(_TAB_WORDS) else ""
    return word or str(key >> 16 & 63)
