"""What stands in the stand-in's stashes at any moment, and what it is truly worth: pure, from hashes, nothing kept.

A place of a stash holds one item a *stay*: its owner lists it, perhaps asks otherwise later, and it leaves: sold when
somebody found the price right, else taken back. Honest owners ask about the true price; fixers ask alike, far off, for
a few kinds; baits ask nearly nothing for dear things and never sell; the absurd ask fortunes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np

from ledgerd.sim.goods import catalogue
from ledgerd.sim.hashes import Bools, Floats, Ints, Keys, mix, normal, one, spread, uniform
from ledgerd.sim.market import Market
from ledgerd.sim.noise import key_of
from ledgerd.sim.noise import normal as normal_one
from ledgerd.sim.noise import uniform as uniform_one
from ledgerd.sim.notes import CURRENCIES, UNREAD_TO
from ledgerd.sim.sellers import BAIT, BY_NOTE, BY_TAB, FIXER, HONEST, POOLS, Sellers, Tabs, tab_chaos
from ledgerd.sim.world import anchors, codes_of, realm_of

HOUR_S = 3600
SHORTEST_STAY_S = 3 * HOUR_S
_SHARES = (0.30, 0.55, 0.12, 0.03)  # of stashes, by league as the realm lists them
_GENERAL = {
    "rares": 0.33, "uniques": 0.22, "gems": 0.22, "magics": 0.06, "bases": 0.05, "clusters": 0.03, "cards": 0.03,
    "currency": 0.03, "fragments": 0.02, "maps": 0.02,
}  # fmt: skip
_RATES_EVERY_S = 6 * HOUR_S
_SPREAD, _SELLER_BIAS = 0.05, 0.025  # logarithms of an honest price
_SELLS_BELOW = 0.25  # logarithm over the true price
_HASTE = 4.0
_SOONEST_S = 120.0
_CREWS = 25
_FIX_SHARE, _BAIT_SHARE, _ABSURD_SHARE = 0.35, 0.15, 0.3


@dataclass(frozen=True, slots=True)
class Listings:
    """Columns, one entry a stay under way at its stash's moment, listed or already over."""

    tab: Ints  # the stash's place among the tabs
    place: Ints
    key: Keys
    kind: Ints  # of the catalogue
    start_s: Floats
    end_s: Floats
    sold: Bools  # whether it ends by a sale
    true_chaos: Floats
    ask_chaos: Floats
    reprice: Ints  # how often it was repriced so far
    noted: Bools  # whether it has a note of its own
    alive: Bools  # whether it is listed now


class StashMarket:
    """One realm's stashes. ``hostile_share``, 0..1, of owners is not honest. ValueError for an unknown realm."""

    def __init__(self, seed: int, realm: str, *, hostile_share: float = 0.2, rates_seed: int | None = None) -> None:
        self.realm = realm_of(realm)
        self.leagues = tuple(league.name for league in self.realm.leagues)
        self.sellers = Sellers(seed, realm, _SHARES, hostile_share)
        waves = _waves(seed)
        self._prices = _league_prices(seed, self.leagues)
        self._pool_to, self._pool_kinds = _pools()
        self._crews = key_of(seed, "crews", realm)
        self._wave_high, self._wave_s, self._wave_at = 0.02 + 0.1 * waves[0], (5 + 10 * waves[1]) * 86_400, waves[2]
        self._patience_s = HOUR_S * (1.0 + 5.0 * waves[3])
        keyed = np.flatnonzero(self._prices[0] > 0)
        self._by_price = [keyed[np.argsort(prices[keyed], kind="stable")] for prices in self._prices]
        ids = tuple(anchors(self.realm.game))
        self._market = Market(seed if rates_seed is None else rates_seed, realm, ids)
        codes = {code: currency for currency, code in codes_of(ids, self.realm.game).items()}
        self._ids = {code: codes[code] for code in CURRENCIES}
        self._rates = lru_cache(maxsize=1024)(self._find_rates)

    def truth(self, league: str, key: str, at_s: float) -> float:
        """The true price in chaos of one of the kind called ``key``; ValueError where there is none."""
        for kind, price in zip(catalogue(), self._at(self._league(league), at_s), strict=True):
            if kind.key == key and price:
                return float(price)
        raise ValueError(f"no true price is known for {key!r}: expected a key of the list of truths")

    def truths(self, league: str, at_s: float) -> Iterator[tuple[str, Mapping[str, object], float]]:
        """(key, its parts, true price in chaos) of all that has one; ValueError for an unknown league."""
        prices = self._at(self._league(league), at_s)
        return ((k.key, k.identity, float(price)) for k, price in zip(catalogue(), prices, strict=True) if price)

    def rates(self, league: int, at_s: float) -> Mapping[str, float]:
        """Currency → chaos as sellers of the league reckon at ``at_s``: the exchange's true values, some hours old."""
        return self._rates(league, int(at_s // _RATES_EVERY_S))

    def _find_rates(self, league: int, nth: int) -> Mapping[str, float]:
        values = self._market.truth(self.leagues[league], nth * _RATES_EVERY_S)
        return {code: values[currency] for code, currency in self._ids.items()}

    def _league(self, name: str) -> int:
        if name not in self.leagues:
            raise ValueError(f"unknown league {name!r}: expected one of {', '.join(self.leagues)}")
        return self.leagues.index(name)

    def _at(self, league: int, at_s: float) -> Floats:
        kinds = np.arange(len(self._wave_at))
        return np.asarray(self._prices[league] * self._wave(kinds, np.full(len(kinds), float(at_s))))

    def _wave(self, kind: Ints, at_s: Floats) -> Floats:
        """How values move: each kind in a slow wave of its own."""
        angle = 2 * np.pi * (at_s / self._wave_s[kind] + self._wave_at[kind])
        return np.asarray(np.exp(self._wave_high[kind] * np.sin(angle)), dtype=np.float64)

    def listings(self, tabs: Tabs) -> Listings:
        """Every stay under way in ``tabs`` at their moments, sold ones and gaps between listings included."""
        tab = np.repeat(np.arange(len(tabs.places)), tabs.places)
        place = np.arange(len(tab)) - np.repeat(np.cumsum(tabs.places) - tabs.places, tabs.places)
        at_s, slot = tabs.at_s[tab], spread(tabs.key[tab], (place + 1000).astype(np.uint64))
        length_s = SHORTEST_STAY_S + 21 * HOUR_S * uniform(slot, 1) ** 2
        phase_s = length_s * uniform(slot, 2)
        nth = np.floor((at_s + phase_s) / length_s)
        key = spread(slot, nth.astype(np.uint64))
        start_s = nth * length_s - phase_s + 0.2 * length_s * uniform(key, 0)
        plan = self._plan(tabs, tab, key, start_s)
        leaves_s = start_s + 0.8 * length_s * (0.5 + 0.5 * uniform(key, 30))
        sold_s, reprice_s = self._sale(plan, key, start_s, length_s)
        end_s = np.minimum(sold_s, leaves_s)
        is_repriced = plan.reprices & (at_s >= reprice_s)
        return Listings(
            tab=tab,
            place=place,
            key=key,
            kind=plan.kind,
            start_s=start_s,
            end_s=end_s,
            sold=sold_s < leaves_s,
            true_chaos=plan.fair,
            ask_chaos=np.where(is_repriced, plan.later, plan.first),
            reprice=is_repriced.astype(np.int64),
            noted=plan.noted,
            alive=(start_s <= at_s) & (at_s < end_s),
        )

    def _plan(self, tabs: Tabs, tab: Ints, key: Keys, start_s: Floats) -> "_Plan":
        """What each stay is of, and what is asked."""
        seller, home, style = tabs.seller[tab], tabs.home[tab], tabs.style[tab]
        temper = np.where(style == BY_TAB, HONEST, tabs.temper[tab])
        hostile = uniform(key, 3) < np.array([0.0, _FIX_SHARE, _BAIT_SHARE, _ABSURD_SHARE])[temper]
        named = tab_chaos(tabs.key[tab], start_s)
        kind = self._kinds(tabs, tab, key, named, hostile & (temper == FIXER))
        fair = self._prices[home, kind] * self._wave(kind, start_s)
        fair = np.where(fair > 0, fair, np.exp(4.2 + 1.8 * normal(key, 4)))
        bias = _SELLER_BIAS * normal(seller, 4)
        hopeful = uniform(key, 12) < 0.1  # noqa: PLR2004 - of owners ask too much at first
        first = fair * np.exp(bias + _SPREAD * normal(key, 7) + 0.3 * hopeful)
        later = fair * np.exp(bias + _SPREAD * normal(key, 8))
        odd = self._odd(temper, seller, key, fair)
        by_tab = style == BY_TAB
        noted = np.where(by_tab, uniform(key, 13) < 0.05, (style == BY_NOTE) & (uniform(key, 13) < 0.92)) | hostile  # noqa: PLR2004 - a share, chosen
        of_tab = by_tab & ~noted
        return _Plan(
            kind=kind,
            fair=fair,
            first=np.where(of_tab, named, np.where(hostile, odd, first)),
            later=np.where(of_tab, named, np.where(hostile, odd, later)),
            noted=noted,
            offered=(noted & ~hostile) | of_tab,
            reprices=~hostile & (hopeful | (uniform(key, 14) < 0.25)),  # noqa: PLR2004 - a quarter changes its mind
        )

    def _kinds(self, tabs: Tabs, tab: Ints, key: Keys, named: Floats, fixed: Bools) -> Ints:
        """Which kind each stay is of: by the stash's theme, near its price where the name has one, or the crew's."""
        pool, u = tabs.pool[tab], uniform(key, 5)
        crew = spread(one(self._crews), tabs.seller[tab] % np.uint64(_CREWS))
        target = uniform(spread(crew, mix(key, 6) % np.uint64(6)))
        pool = np.where(fixed, np.where(target < 0.5, 2, 6), pool)  # noqa: PLR2004 - uniques or gems
        at = np.searchsorted(self._pool_to, pool + np.where(fixed, (target * 2) % 1.0, u) * 0.999999)
        kind = self._pool_kinds[np.minimum(at, len(self._pool_kinds) - 1)]
        for league, order in enumerate(self._by_price):
            mine = np.flatnonzero((tabs.style[tab] == BY_TAB) & (tabs.home[tab] == league))
            if len(mine):
                wanted = named[mine] * np.exp(0.08 * normal(key[mine], 9))
                near = np.searchsorted(self._prices[league][order], wanted)
                kind[mine] = order[np.minimum(near, len(order) - 1)]
        return np.asarray(kind, dtype=np.int64)

    @staticmethod
    def _odd(temper: Ints, seller: Keys, key: Keys, fair: Floats) -> Floats:
        """What the hostile ask."""
        is_low = uniform(seller, 5) < 0.7  # noqa: PLR2004 - most fixers fix low
        fixed = fair * np.where(is_low, 0.45 + 0.2 * uniform(key, 10), 1.8 + 0.8 * uniform(key, 10))
        bait = np.maximum(1.0, fair * 0.1 * uniform(key, 10))
        absurd = np.minimum(fair * 10 ** (1.3 + 2.7 * uniform(key, 10)), 9_999_999)
        return np.where(temper == FIXER, fixed, np.where(temper == BAIT, bait, absurd))

    def _sale(self, plan: "_Plan", key: Keys, start_s: Floats, length_s: Floats) -> tuple[Floats, Floats]:
        """When each stay would be sold (infinity: never), and when its price changes if it does."""
        reprice_s = start_s + (0.1 + 0.35 * uniform(key, 31)) * length_s
        sold_s = start_s + self._wait_s(plan, plan.first, key, 0)
        again_s = reprice_s + self._wait_s(plan, plan.later, key, 1)
        sold_s = np.where(plan.reprices & (sold_s > reprice_s), again_s, sold_s)
        return np.where(plan.offered, sold_s, np.inf), reprice_s

    def _wait_s(self, plan: "_Plan", ask: Floats, key: Keys, step: int) -> Floats:
        """How long a price stands until somebody takes it: sooner the lower, never when far too high or unread."""
        over = np.log(ask / plan.fair)
        wait_s = _SOONEST_S - np.log(uniform(key, 32 + step)) * self._patience_s[plan.kind] * np.exp(_HASTE * over)
        unread = plan.noted & (uniform(note_keys(key, step), 3) < UNREAD_TO)
        return np.where((over > _SELLS_BELOW) | unread, np.inf, wait_s)


def note_keys(key: Keys, step: int | Ints) -> Keys:
    """The keys by which notes are written, after ``step`` changes of price."""
    steps = np.asarray(step, dtype=np.uint64).reshape(-1)
    return spread(key, steps + np.uint64(40))


@dataclass(frozen=True, slots=True)
class _Plan:
    """Columns, one entry a stay: what, and the prices asked before and after a change."""

    kind: Ints
    fair: Floats
    first: Floats
    later: Floats
    noted: Bools
    offered: Bools  # whether a buyer could take it at what is asked
    reprices: Bools


@lru_cache(maxsize=16)
def _league_prices(seed: int, leagues: tuple[str, ...]) -> Floats:
    """Usual values, league by league, of every kind; 0 for what has no key."""
    local = [[normal_one(key_of(seed, "price", name, kind.key)) for kind in catalogue()] for name in leagues]
    return np.asarray(np.array([kind.price for kind in catalogue()]) * np.exp(0.2 * np.array(local)), dtype=np.float64)


@lru_cache(maxsize=16)
def _waves(seed: int) -> Floats:
    """Four numbers in 0..1 of every kind."""
    keys = [key_of(seed, "kind", kind.key) for kind in catalogue()]
    return np.array([[uniform_one(key, n) for key in keys] for n in (10, 11, 12, 13)])


@cache
def _pools() -> tuple[Floats, Ints]:
    """All pools in one column: pool number plus cumulative share, and the kinds they stand for."""
    kinds = catalogue()
    by_pool: dict[str, list[int]] = {}
    for n, kind in enumerate(kinds):
        by_pool.setdefault(kind.pool, []).append(n)
    ends: list[Floats] = []
    order: list[Sequence[int]] = []
    for number, pool in enumerate(POOLS):
        parts = _GENERAL if pool == "general" else {pool: 1.0}
        members = [n for part in parts for n in by_pool[part]]
        total = {part: sum(kinds[n].weight for n in by_pool[part]) for part in parts}
        shares = np.array([parts[kinds[n].pool] * kinds[n].weight / total[kinds[n].pool] for n in members])
        ends.append(number + np.cumsum(shares) / shares.sum())
        order.append(members)
    return np.concatenate(ends), np.concatenate([np.array(members, dtype=np.int64) for members in order])
