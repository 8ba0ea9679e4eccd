"""What things are worth in the stand-in's world, and how much of them is traded where."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from ledgerd.sim.noise import key_of, laplace, mix, normal, swell, uniform, wander
from ledgerd.sim.world import CHAOS, DIVINE, EXALTED, League, Realm, anchors

VALUE_MIN, VALUE_MAX = 0.005, 40_000.0
NUMERAIRES = (CHAOS, DIVINE, EXALTED)
_CROSS_PAIRS = 1300
_CROSS_CENTRES = 16
_FIXER_SHARE = 0.012
_VALUE_CHEAP, _VALUE_DEAR = 1.5, 2.1  # scales of the logarithm of values, either side of the centre
_DEMAND_LOW, _DEMAND_HIGH = 1.7, 2.8  # the same of how much of a currency is traded
_DEAR_DEMAND, _DEAR_MAX = 0.25, 4.0  # extra units by logarithm of value, and where that ends
_DAY_H, _WEEK_H = 24, 168
# Logarithm of the value (chaos an hour) traded between two numeraires in a realm's biggest league.
_BETWEEN = {
    "poe1": {frozenset((CHAOS, DIVINE)): 16.3, frozenset((CHAOS, EXALTED)): 6.5, frozenset((DIVINE, EXALTED)): 6.5},
    "poe2": {frozenset((CHAOS, DIVINE)): 12.1, frozenset((CHAOS, EXALTED)): 8.6, frozenset((DIVINE, EXALTED)): 10.5},
}


@dataclass(frozen=True, slots=True)
class Pair:
    """One market of one league, as it stays over the hours."""

    key: int
    first: str
    second: str
    item: str | None  # the side that is no numeraire; None where both sides are, or neither is
    numeraire: str | None  # the other side of an ``item``
    liking: float  # logarithm of its trade against what is usual for such a pair
    is_fixed: bool  # a few hands hold its price far off


@dataclass(frozen=True, slots=True)
class Course:
    """How one currency's value moves: a logarithm around which it wanders, its pace, and where its waves begin."""

    currency: str
    key: int
    base: float
    pace: float
    day_phase: float
    week_phase: float

    def value(self, t_h: int) -> float:
        """Chaos in hour number ``t_h``."""
        day = math.sin(2 * math.pi * (t_h / _DAY_H + self.day_phase))
        week = math.sin(2 * math.pi * (t_h / _WEEK_H + self.week_phase))
        log = self.base + self.pace * (day + 2.0 * week + wander(self.key, t_h))
        return min(max(math.exp(log), VALUE_MIN), VALUE_MAX)


class Economy:
    """One realm's currencies, true values and flows; pure, any hour at the same cost."""

    def __init__(self, seed: int, realm: Realm, ids: Sequence[str]) -> None:
        self.realm = realm
        self._seed = seed
        self._key = key_of(seed, realm.name)
        self._anchors = anchors(realm.game)
        self.currencies = self._choose(ids)
        self._ranks = {c: realm.ranks.get(c, uniform(key_of("rank", realm.game, c))) for c in self.currencies}
        self._courses = cache(lambda league: tuple(self._course(league, c) for c in self.currencies))
        self._demand = {c: _skewed(normal(key_of(seed, "demand", realm.game, c))) for c in self.currencies}

    def _choose(self, ids: Sequence[str]) -> tuple[str, ...]:
        """The realm's currencies out of ``ids``: the well-known ones, then a seeded choice of the others."""
        offered = set(ids)
        known = [c for c in self._anchors if c in offered or c in NUMERAIRES]
        others = sorted(offered - set(known), key=lambda c: (mix(key_of(c), self._seed & 0xFFFF), c))
        return tuple(known + others[: max(0, self.realm.currencies_max - len(known))])

    def values(self, league: League, t_h: int) -> dict[str, float]:
        """Currency → true value in chaos in hour number ``t_h``: its usual one, moved by day, week and a slow walk."""
        values = {course.currency: course.value(t_h) for course in self._courses(league)}
        values[CHAOS] = 1.0
        return values

    def _course(self, league: League, currency: str) -> "Course":
        """How one currency's value moves in a league."""
        key = key_of(self._key, "walk", league.name, currency)
        pace = 0.005 if currency in NUMERAIRES else 0.009 * math.exp(0.5 * normal(key, 1))
        return Course(currency, key, self._base(league, currency), pace, uniform(key, 5), uniform(key, 6))

    def _base(self, league: League, currency: str) -> float:
        """Logarithm of a currency's usual value in a league."""
        local = normal(key_of(self._key, "base", league.name, currency))
        if currency in self._anchors:
            return math.log(self._anchors[currency]) + 0.15 * local
        shared = uniform(key_of(self._seed, "base", self.realm.game, currency))
        spread = laplace(shared, 1.0)
        return self.realm.value_mu + spread * (_VALUE_DEAR if spread > 0.0 else _VALUE_CHEAP) + 0.4 * local

    def pairs(self, league: League) -> tuple[Pair, ...]:
        """Every market the league could ever show, in upstream's order."""
        duos = {tuple(sorted(duo, key=self._rank)) for duo in self._duos() if duo[0] != duo[1]}
        ordered = sorted(duos, key=lambda duo: (self._rank(duo[0]), self._rank(duo[1])))
        return tuple(self._pair(league, first, second) for first, second in ordered)

    def _rank(self, currency: str) -> tuple[float, str]:
        """Where a currency stands in upstream's one fixed order, which orders pairs and markets alike."""
        return self._ranks[currency], currency

    def _duos(self) -> list[tuple[str, str]]:
        """Two by two, in no order: all against the numeraires, and some against each other."""
        key = key_of(self._key, "cross")
        items = [c for c in self.currencies if c not in NUMERAIRES]
        duos = [(c, n) for c in items for n in NUMERAIRES]
        duos += [(CHAOS, DIVINE), (CHAOS, EXALTED), (DIVINE, EXALTED)]
        centres = [c for c in items if c in self._anchors][:_CROSS_CENTRES]
        if centres:
            draws = [(mix(key, 2 * n), mix(key, 2 * n + 1)) for n in range(_CROSS_PAIRS)]
            duos += [(centres[a % len(centres)], items[b % len(items)]) for a, b in draws]
        return duos

    def _pair(self, league: League, first: str, second: str) -> Pair:
        """What stays the same about one market of one league."""
        key = key_of(self._key, league.name, first, second)
        liking = 0.4 * normal(key_of(self._seed, "liking", self.realm.game, first, second)) + 0.3 * normal(key)
        fixed = [c for c in (first, second) if c in NUMERAIRES]
        if len(fixed) != 1:
            return Pair(key, first, second, None, None, liking, uniform(key, 7) < _FIXER_SHARE)
        item = second if first == fixed[0] else first
        return Pair(key, first, second, item, fixed[0], liking, uniform(key, 7) < _FIXER_SHARE)

    def turnover(self, league: League, pair: Pair, values: Mapping[str, float], t_h: int) -> float:
        """The value in chaos expected to change hands in the pair's market in hour number ``t_h``."""
        tide = 0.25 * math.sin(2 * math.pi * t_h / _DAY_H) + 0.16 * swell(pair.key, t_h, 3)
        return math.exp(min(league.activity + tide + self._usual_turnover(league, pair, values), 18.0))

    def _usual_turnover(self, league: League, pair: Pair, values: Mapping[str, float]) -> float:
        """Logarithm of a market's usual turnover, were its league the realm's biggest."""
        if pair.item is not None and pair.numeraire is not None:
            log = math.log(values[pair.item])
            share = _share(self.realm.game, pair.numeraire, log)
            bound = 0.0 if pair.numeraire == DIVINE else league.divine_bound
            return (
                self.realm.units_mu
                + log
                + _DEAR_DEMAND * min(log, _DEAR_MAX)
                + self._demand[pair.item]
                + pair.liking
                + share
                - bound
            )
        between = _BETWEEN[self.realm.game].get(frozenset((pair.first, pair.second)))
        if between is not None:
            return between
        cheap, dear = sorted((math.log(values[pair.first]), math.log(values[pair.second])))
        return dear - 0.75 * (dear - cheap) - 1.0 + 3.4 * pair.liking  # like trades for like


def _share(game: str, numeraire: str, log: float) -> float:
    """Logarithm of the share one numeraire takes of a currency's trade; ``log`` is of its value in chaos."""
    dear = max(0.0, log)
    if game == "poe1":
        shares = {CHAOS: 0.0, DIVINE: -2.8 + 0.42 * log, EXALTED: -11.0}
    else:
        shares = {DIVINE: 0.0, CHAOS: -0.8 - 0.06 * log - 0.03 * dear**2, EXALTED: -0.45 - 0.35 * log - 0.12 * dear**2}
    return shares[numeraire] - math.log(sum(math.exp(share) for share in shares.values()))


def _skewed(z: float) -> float:
    """Logarithm of a currency's demand from a standard normal: most trade a little, a few a great deal."""
    return z * (_DEMAND_HIGH if z > 0.0 else _DEMAND_LOW)
