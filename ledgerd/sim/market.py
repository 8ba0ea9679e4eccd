"""A market whose true prices are known, in the shape of the currency exchange's hourly digest.

What was matched, by hand, to the second game's biggest league in recorded hours of August 2026: levels to one hour,
changes to it with the next and with one eighteen hours before (recorded / made, median of five seeds;
units are of the dearer side of a market, off is the distance of volume / volume from a fit over all markets,
both it and changes as absolute logarithms):

* markets 1400 / 1458, currencies 604 / 590, shares: without a trade 0.20 / 0.20, of those with one side empty
  0.78 / 0.79, one price all hour 0.39 / 0.37, ratios with a 1 in them 0.95 / 0.95, stock of zero 0.18 / 0.19
* markets of either hour there in both, one hour apart 0.65 / 0.67, eighteen hours apart 0.65 / 0.66
* units traded, quartiles 2, 8, 35, 95th percentile 478 / 2, 6, 27, 409; value traded in chaos 3, 19, 155, 5469 /
  2.9, 18, 120, 3698; value of a currency 0.18, 1.0, 3.0, 97 / 0.21, 0.96, 3.4, 59
* off, median and 90th percentile: 1 unit 0.36, 2.0 / 0.22, 2.0; to 10 units 0.09, 1.3 / 0.10, 1.3; to 100 units
  0.05, 0.33 / 0.05, 0.26; to 1000 units 0.04, 0.16 / 0.03, 0.10
* highest over lowest ratio, the same: to 10 units 0.03, 1.8 / 0.12, 1.1; to 100 units 0.42, 1.7 / 0.41, 1.5;
  to 1000 units 0.51, 1.8 / 0.67, 1.8
* change of price after an hour, after eighteen: 1 unit 0.12, 0.31 / 0.19, 0.29; to 10 units 0.12, 0.21 / 0.15, 0.21;
  to 100 units 0.08, 0.15 / 0.08, 0.11; to 1000 units 0.04, 0.08 / 0.05, 0.07

Not matched, for want of records: the first game's whole hours (a sample of 25 markets fixed the order of sizes),
daily and weekly waves, and anything slower than a day.
"""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from random import Random
from typing import Any

from ledgerd.sim.economy import NUMERAIRES, Economy, Pair
from ledgerd.sim.noise import laplace, mix, normal, swell, uniform
from ledgerd.sim.trading import Habit, Tally, stock, trade_hour
from ledgerd.sim.world import EXALTED, League, builtin_ids, codes_of, realm_of

HOUR_S = 3600
PRICE_MAX = 30_000.0  # of a dear thing in cheap ones; beyond, nobody can carry the pile
_STALE_SHARE = 0.12  # of markets whose offers stand too far off to be taken
_STALE_TRADE = 0.03
_DEAR_WHEN_SMALL_SHARE = 0.8  # of markets where a cheap thing is quoted against dear money
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
        tally = trade_hour(rng, price, units * (_STALE_TRADE if is_stale else 1.0), _habit(pair, t_h, units, cheap))
        if tally is None and rng.random() > _listed(units, is_stale):
            return None
        flows = (turnover / values[pair.first], turnover / values[pair.second])
        stocks = _stocks(rng, pair, t_h, flows=flows, units=units, tally=tally)
        first, second = names[pair.first], names[pair.second]
        return _digest(league.name, first, second, first_is_dear=first_is_dear, tally=tally or Tally(), stocks=stocks)


def _listed(units: float, is_stale: bool) -> float:
    """How likely a market without a trade is in the digest all the same; ``units`` are the dear ones expected."""
    return (0.9 if is_stale else 0.5) * units / (units + 0.4) + 0.004


def _habit(pair: Pair, t_h: int, units: float, cheap: str) -> Habit:
    """How a market is quoted: thin ones are rough, and where the cheap side is a thing, not money, it sells dear."""
    thin = 1.0 / (1.0 + (units / 6.0) ** 0.6)
    is_rough = uniform(pair.key, 3) < 0.06 + 0.7 * thin
    scale = (0.25 + 1.1 * thin) if is_rough else 0.036 + 0.03 * thin
    lean = laplace(uniform(pair.key, 4), scale)
    if cheap not in NUMERAIRES and uniform(pair.key, 5) < _DEAR_WHEN_SMALL_SHARE:
        lean = -1.6 * abs(lean)
    if pair.is_fixed and units < 30:  # noqa: PLR2004 - deep markets cannot be held
        lean = math.copysign(1.5 + 2.5 * uniform(pair.key, 6), lean)
    stray = (0.7 if EXALTED in (pair.first, pair.second) else 0.26) * (0.85 + 2.6 * thin)
    drift = 0.55 * scale * swell(pair.key + 13, t_h, 14)
    return Habit(0.7 * lean + drift, 0.25 * scale, stray)


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
