"""A market whose true prices are known, in the shape of the currency exchange's hourly digest.

What was matched, by hand, to the second game's biggest league in recorded hours of August 2026 (recorded / made, mean
of three hours / of four seeds; absolute logarithms; value in chaos):

* markets 1371 / 1219, currencies 538 / 494, without a trade 0.20 / 0.21, one price all hour 0.38 / 0.37, ratios with a
  1 in them 0.94 / 0.96, idle ones with one side empty 0.78 / 0.79, stock of zero 0.19 / 0.17, markets of either hour
  there in both 0.65 / 0.65 after one hour and after eighteen
* quartiles and 95th percentile: units of the dearer side 2, 8, 36, 439 / 2, 5, 29, 433; value traded 2.6, 17, 139,
  5924 / 2, 16, 163, 7758; value of a currency 0.17, 1.0, 5.8, 128 / 0.22, 1.0, 5.6, 150
* noise follows the value traded, not the units. Two markets of one thing disagree (median, 80th percentile, by the
  lesser market's value): to 10 chaos 1.0, 2.2 / 0.91, 1.9; to 100 0.37, 0.78 / 0.33, 0.79; to 1000 0.14, 0.29 / 0.14,
  0.34; to 10,000 0.05, 0.11 / 0.07, 0.13; beyond 0.03, 0.06 / 0.03, 0.06
* one market's change in an hour, 10 to 100 units, median: to 10 chaos 0.28 / 0.28; to 100 0.13 / 0.13; to 1000 0.05 /
  0.05; to 10,000 0.02 / 0.03; beyond 0.01 / 0.01
* highest over lowest ratio, the same: 1.0 / 0.69; 0.76 / 0.69; 0.37 / 0.41; 0.15 / 0.18; 0.08 / 0.05

The first game has no recorded hours, only 25 markets of one. Their ranges are as if a chaos counted as much there as in
the second game, their disagreements as if a divine did; its noise goes by the geometric mean of the two. Not matched,
for want of records: daily and weekly waves, and anything slower than a day.
"""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from random import Random
from typing import Any

from ledgerd.sim.economy import Economy, Pair
from ledgerd.sim.noise import laplace, mix, normal, swell, uniform
from ledgerd.sim.trading import Habit, Tally, stock, trade_hour
from ledgerd.sim.world import CHAOS, EXALTED, League, builtin_ids, codes_of, realm_of

HOUR_S = 3600
PRICE_MAX = 30_000.0  # of a dear thing in cheap ones; beyond, nobody can carry the pile
_STALE_SHARE = 0.12  # of markets whose offers stand too far off to be taken
_STALE_TRADE = 0.03
_WORTH_FINE, _WORTH_POWER = 5.3, 0.55  # money an hour at which prices are an e-fold rough, and how fast that falls
_ROUGH_MIN, _ROUGH_MAX, _LEAN_MAX = 0.008, 2.5, 4.0
_SHYNESS = 0.7  # the further off a market stands, the less is traded there: e-folds of units by e-folds of price
# By the cheap side: scale of how far a market stands off, and the share of markets in which it reads dear.
_ROUGHNESS = {CHAOS: (0.9, 0.92), EXALTED: (1.25, 0.92)}
_ROUGHNESS_THING = (0.65, 0.6)
_EMPTY_BELOW = -1.6  # standard deviations
_HALF, _ONE_SIDED_SHARE = 0.5, 0.78


class Market:
    """The currency exchange of one realm, pure: an hour is a function of seed, realm, hour and the ids given.

    ``ids`` are the currencies it may trade (several hundred of its own by default; more are thinned to the realm's
    size by the seed); the three numeraires are always among them. In hours before ``codes_before`` (unix seconds) the
    digest names currencies by trade code, as upstream once did, from ``codes`` where given. Raises ValueError for an
    unknown realm.
    """

    def __init__(
        self,
        seed: int,
        realm: str,
        ids: Sequence[str] | None = None,
        *,
        codes_before: int | None = None,
        codes: Mapping[str, str] | None = None,
    ) -> None:
        self.realm = realm_of(realm)
        self._economy = Economy(seed, self.realm, ids or builtin_ids(self.realm.game))
        self._codes_before = codes_before
        self._codes = {**codes_of(self.currencies, self.realm.game), **(codes or {})}
        self._leagues = {league.name: league for league in self.realm.leagues}
        self._pairs = {league.name: self._economy.pairs(league) for league in self.realm.leagues}
        self._values = lru_cache(maxsize=64)(self._economy.values)

    @property
    def leagues(self) -> tuple[str, ...]:
        """The names of the leagues, in the order a digest gives them."""
        return tuple(self._leagues)

    @property
    def currencies(self) -> tuple[str, ...]:
        """The metadata ids of all currencies of the realm."""
        return self._economy.currencies

    def truth(self, league: str, hour: int) -> dict[str, float]:
        """Currency → true value in chaos through the hour begun at unix second ``hour``; chaos itself is 1.

        Always by metadata id, whichever words the digest uses. Raises ValueError for an unknown league.
        """
        if league not in self._leagues:
            raise ValueError(f"unknown league {league!r}: expected one of {', '.join(self.leagues)}")
        return dict(self._values(self._leagues[league], hour // HOUR_S))

    def hour(self, hour: int) -> dict[str, Any]:
        """The digest of the hour begun at unix second ``hour``, in upstream's shape and order."""
        old = self._codes_before is not None and hour < self._codes_before
        names = self._codes if old else {c: c for c in self.currencies}
        found = (
            self._market(league, pair, hour // HOUR_S, names)
            for league in self.realm.leagues
            for pair in self._pairs[league.name]
        )
        return {"next_change_id": hour + HOUR_S, "markets": [market for market in found if market is not None]}

    def _market(self, league: League, pair: Pair, t_h: int, names: Mapping[str, str]) -> dict[str, Any] | None:
        """One market's hour, or None when nobody touched it."""
        values = self._values(league, t_h)
        first_is_dear = values[pair.first] >= values[pair.second]
        dear, cheap = (pair.first, pair.second) if first_is_dear else (pair.second, pair.first)
        turnover = self._economy.turnover(league, pair, values, t_h)
        price, units = values[dear] / values[cheap], turnover / values[dear]
        if price > PRICE_MAX:
            return None
        is_stale = uniform(pair.key, 12) < _STALE_SHARE
        rng = Random(mix(pair.key, t_h))  # noqa: S311 - reproducible noise is the point
        habit = _habit(pair, t_h, worth=turnover / self.realm.money, units=units, cheap=cheap)
        taken = units * (_STALE_TRADE if is_stale else math.exp(-_SHYNESS * abs(habit.bias)))
        tally = trade_hour(rng, price, taken, habit)
        if tally is None and rng.random() > _listed(taken if not is_stale else units, is_stale):
            return None
        flows = (turnover / values[pair.first], turnover / values[pair.second])
        stocks = _stocks(rng, pair, t_h, flows=flows, units=units, tally=tally)
        first, second = names[pair.first], names[pair.second]
        return _digest(league.name, first, second, first_is_dear=first_is_dear, tally=tally or Tally(), stocks=stocks)


def _listed(units: float, is_stale: bool) -> float:
    """How likely a market without a trade is in the digest all the same; ``units`` are the dear ones expected."""
    return (0.9 if is_stale else 0.42) * units / (units + 0.4) + 0.004


def _habit(pair: Pair, t_h: int, *, worth: float, units: float, cheap: str) -> Habit:
    """How a market is quoted: rough where little ``worth`` changes hands, mostly with the cheap side reading dear."""
    thin = (worth / _WORTH_FINE) ** -_WORTH_POWER
    roughness, lean_share = _ROUGHNESS.get(cheap, _ROUGHNESS_THING)
    scale = roughness * thin / (1.0 + thin / _ROUGH_MAX) + _ROUGH_MIN
    lean = min(abs(laplace(uniform(pair.key, 4), scale)), _LEAN_MAX)
    if uniform(pair.key, 5) < lean_share:
        lean = -lean
    if pair.is_fixed and units < 30:  # noqa: PLR2004 - deep markets cannot be held
        lean = math.copysign(1.5 + 2.5 * uniform(pair.key, 6), lean)
    stray = (0.7 if EXALTED in (pair.first, pair.second) else 0.4) * min(2.5, 3.0 * thin**0.7)
    drift = 0.4 * scale * swell(pair.key + 13, t_h, 14)
    return Habit(lean + drift, 0.2 * scale, 0.1 * min(1.0, 2.0 * thin**0.8), stray)


def _stocks(
    rng: Random, pair: Pair, t_h: int, *, flows: tuple[float, float], units: float, tally: Tally | None
) -> tuple[tuple[int, int], tuple[int, int]]:
    """(lowest, highest) stock of both sides; ``flows`` are the units of each expected to be traded in the hour."""
    chance = 0.03 + 0.3 / (1.0 + units)
    empty = [swell(pair.key + side, t_h, 12) < _EMPTY_BELOW or uniform(pair.key, 8 + side) < chance for side in (0, 1)]
    if tally is None:
        one = uniform(pair.key, 10) < _HALF
        empty = [one, not one] if uniform(pair.key, 11) < _ONE_SIDED_SHARE else [False, False]
    levels = [0.0 if empty[side] else _level(pair, t_h, flows[side], side) for side in (0, 1)]
    return stock(rng, levels[0], tally is not None), stock(rng, levels[1], tally is not None)


def _level(pair: Pair, t_h: int, flow: float, side: int) -> float:
    """The stock expected on one side: some hours of its flow, never less than one."""
    log = 2.7 + 1.3 * normal(pair.key, 20 + side) + 0.35 * swell(pair.key + 9 + side, t_h, 36)
    return max(1.0, math.exp(log) * max(flow, 0.3))


def _digest(
    league: str,
    first: str,
    second: str,
    *,
    first_is_dear: bool,
    tally: Tally,
    stocks: tuple[tuple[int, int], tuple[int, int]],
) -> dict[str, Any]:
    """One element of ``markets``. Upstream's lowest and highest are of first / second."""

    def both(cheap: int, dear: int) -> dict[str, int]:
        return {first: dear, second: cheap} if first_is_dear else {first: cheap, second: dear}

    lowest, highest = (tally.highest, tally.lowest) if first_is_dear else (tally.lowest, tally.highest)
    return {
        "league": league,
        "market_id": f"{first}|{second}",
        "market_pair": [first, second],
        "volume_traded": both(tally.cheap, tally.dear),
        "lowest_stock": {first: stocks[0][0], second: stocks[1][0]},
        "highest_stock": {first: stocks[0][1], second: stocks[1][1]},
        "lowest_ratio": both(*lowest),
        "highest_ratio": both(*highest),
    }
