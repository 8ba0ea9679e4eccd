"""One hour of currency-exchange markets in, one value and one confidence per currency out.

The method is best-first pricing. It starts from the Divine Orb; of the currencies that touch something priced, the
deepest is priced next, from all its markets with what is priced already; so thin markets never move deep ones. The
reasons, the alternatives tried and their figures are in docs/chaos-scale.md. Everything is a natural logarithm until
the last step; values inside are relative to the anchor (Divine Orb, else Chaos Orb).
"""

import bisect
import heapq
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

LOW_SAMPLE_UNITS = 10  # fewer units than this, or less value than the next line, is a low sample
LOW_SAMPLE_DIVINES = 5.0
CONFIDENCE_TOLERANCE = 0.15  # confidence is the probability of being this near; measured in docs/chaos-scale.md

_SIGNIFICANT_DIGITS = 6  # below what the platform's exp and log can disagree on
_ROUNDS = 2  # the second orders by values instead of by units; a third changes nothing
_EVIDENCE_MAX = 10  # per currency, the deepest first: bounds the work on a hostile graph
# What a market may be off by: a Student-t of 5 degrees. Its scale falls with the value traded, grows with the range of
# ratios and levels off where hardly anything trades. A thing quoted in cheaper money reads cheap. Fitted to the
# stand-in's hours and to how recorded markets disagree; see docs/chaos-scale.md.
_SCALE, _DEPTH_POWER, _RANGE_POWER = 0.87, 0.44, 0.3  # e-folds at depth 1; of depth; of the range
_SCALE_MAX, _SCALE_MIN = 3.0, 0.007
_LEAN_DEAR = -0.5  # scales by which a thing reads off in money cheaper than itself
_STEPS = (0.15, 0.35, 0.6, 0.9, 1.3, 1.8, 2.5, 3.6, 5.5, 9.0, 16.0, 40.0)  # where a density is sampled, in scales
_CHAOS_PER_DIVINE = 100.0  # yardstick of depth only, where no divine traded
_RANGE_UNKNOWN = 1.0  # taken for a market with volume but no ratio
_RANGE_MAX = 4.0
_DEPTH_LOG_MIN, _DEPTH_LOG_MAX = -6.0, 25.0
_VALUE_LOG_MAX = 230.0  # beyond 1e100 either way there is no price


@dataclass(frozen=True, slots=True)
class Tick:
    """One market of one hour as the exchange reports it: units traded, units on offer, ratios as integer pairs."""

    a: str
    b: str
    volume_a: int
    volume_b: int
    lowest_stock_a: int
    lowest_stock_b: int
    highest_stock_a: int
    highest_stock_b: int
    lowest_ratio_a: int
    lowest_ratio_b: int
    highest_ratio_a: int
    highest_ratio_b: int


@dataclass(frozen=True, slots=True)
class Norm:
    """One currency of one hour. A value is None where no chain of traded markets leads to that orb."""

    currency: str
    chaos_value: float | None
    divine_value: float | None
    units: int  # traded in the hour over all its markets
    value_traded: float | None  # units × chaos_value
    markets: int  # that traded
    spread: float  # highest rate / lowest rate - 1, averaged over its markets by depth
    confidence: float  # probability that chaos_value (else divine_value) is within 15 % of the truth
    log_sd: float | None  # half the central 68 % of that value's logarithm; None without a value
    low_sample: bool  # under 10 units, under 5 divines of value, or no value


@dataclass(frozen=True, slots=True)
class _Market:
    a: str
    b: str
    units_a: int
    units_b: int
    log_rate_min: float | None  # of b per a
    log_rate_max: float | None


@dataclass(frozen=True, slots=True)
class _Side:
    """A market seen from one of its currencies: value = value of `other` + log_rate."""

    other: str
    log_rate: float
    log_range: float
    log_units_own: float
    log_units_other: float


@dataclass(frozen=True, slots=True)
class _Level:
    """A priced currency, relative to its anchor."""

    anchor: str
    log_value: float
    variance: float
    confidence: float


@dataclass(frozen=True, slots=True)
class _Evidence:
    """What one market with an already priced currency says: where, and how finely."""

    log_value: float
    scale: float


def normalise(ticks: Sequence[Tick], *, chaos: frozenset[str], divine: frozenset[str]) -> list[Norm]:
    """Price every currency that traded in one league's hour; sorted by currency, the same for any order of `ticks`.

    `chaos` and `divine` are the ids that mean the orb (metadata id, trade tag); where several occur in one hour they
    are one currency, named by the first in sort order. A market counts if both volumes are positive and its currencies
    differ; a currency without such a market gets no row. Identical ticks count once; different ticks of one pair are
    added up.
    """
    anchors = (_present(ticks, divine), _present(ticks, chaos))
    markets = _markets(ticks, dict.fromkeys(divine, anchors[0]) | dict.fromkeys(chaos, anchors[1]))
    sides = _sides(markets)
    levels: dict[str, _Level] = {}
    for _ in range(_ROUNDS):
        levels = _price_all(sides, [anchor for anchor in anchors if anchor in sides], anchors[1], levels)
    units = _units(sides, markets)
    return [_norm(currency, sides[currency], levels, anchors, units[currency]) for currency in sorted(sides)]


def _present(ticks: Iterable[Tick], ids: frozenset[str]) -> str:
    """The id that stands for an orb this hour: the first in sort order that occurs, "" if none does."""
    return min((id_ for tick in ticks for id_ in (tick.a, tick.b) if id_ in ids), default="")


def _markets(ticks: Iterable[Tick], fold: Mapping[str, str]) -> list[_Market]:
    """The markets that traded, one per pair, pairs in sort order."""
    by_pair: dict[tuple[str, str], _Market] = {}
    for tick in set(ticks):
        market = _market(tick, fold)
        if market is not None:
            pair = (market.a, market.b)
            by_pair[pair] = _merged(by_pair[pair], market) if pair in by_pair else market
    return [by_pair[pair] for pair in sorted(by_pair)]


def _market(tick: Tick, fold: Mapping[str, str]) -> _Market | None:
    """None for a market that traded nothing, or a currency against itself."""
    a, b = fold.get(tick.a, tick.a), fold.get(tick.b, tick.b)
    if a == b or tick.volume_a <= 0 or tick.volume_b <= 0:
        return None
    ends = ((tick.lowest_ratio_a, tick.lowest_ratio_b), (tick.highest_ratio_a, tick.highest_ratio_b))
    rates = sorted(
        (math.log(of_b) - math.log(of_a)) * (1 if a < b else -1) for of_a, of_b in ends if of_a > 0 and of_b > 0
    )
    low, high = (rates[0], rates[-1]) if rates else (None, None)
    if a < b:
        return _Market(a, b, tick.volume_a, tick.volume_b, low, high)
    return _Market(b, a, tick.volume_b, tick.volume_a, low, high)


def _merged(one: _Market, two: _Market) -> _Market:
    """Two reports of one pair: volumes add up, the range spans both."""
    lows = [low for low in (one.log_rate_min, two.log_rate_min) if low is not None]
    highs = [high for high in (one.log_rate_max, two.log_rate_max) if high is not None]
    units_a, units_b = one.units_a + two.units_a, one.units_b + two.units_b
    return _Market(one.a, one.b, units_a, units_b, min(lows, default=None), max(highs, default=None))


def _sides(markets: Iterable[_Market]) -> dict[str, list[_Side]]:
    """Every market from both of its currencies."""
    sides: dict[str, list[_Side]] = {}
    for market in markets:
        log_a, log_b = math.log(market.units_a), math.log(market.units_b)
        log_rate = log_b - log_a
        log_range = _range(log_rate, market.log_rate_min, market.log_rate_max)
        sides.setdefault(market.a, []).append(_Side(market.b, log_rate, log_range, log_a, log_b))
        sides.setdefault(market.b, []).append(_Side(market.a, -log_rate, log_range, log_b, log_a))
    return sides


def _range(log_rate: float, low: float | None, high: float | None) -> float:
    """Logarithm of highest over lowest rate; a volume-weighted rate outside the reported range widens it."""
    return _RANGE_UNKNOWN if low is None or high is None else max(high, log_rate) - min(low, log_rate)


def _price_all(
    sides: Mapping[str, list[_Side]], anchors: Sequence[str], chaos: str, before: Mapping[str, _Level]
) -> dict[str, _Level]:
    """One round: from each anchor in turn that is not reached yet, everything reachable, deepest first."""
    depths = {currency: _depth(currency, sides[currency], before) for currency in sides}
    levels: dict[str, _Level] = {}
    for anchor in anchors:
        if anchor not in levels:
            levels[anchor] = _Level(anchor, 0.0, 0.0, 1.0)
            _price_from(anchor, sides, depths, _yardstick(anchor, chaos, before), levels)
    return levels


def _yardstick(anchor: str, chaos: str, before: Mapping[str, _Level]) -> float:
    """What depth is counted in, the geometric mean of a chaos and a divine: its log value in the anchor."""
    known = before.get(chaos)
    if anchor != chaos and known is not None and known.anchor == anchor:
        return min(max(known.log_value, -10.0), 0.0) / 2.0
    return math.log(_CHAOS_PER_DIVINE) * (0.5 if anchor == chaos else -0.5)


def _price_from(
    anchor: str,
    sides: Mapping[str, list[_Side]],
    depths: Mapping[str, float],
    yardstick: float,
    levels: dict[str, _Level],
) -> None:
    """Best-first search over the markets; adds to `levels`."""
    seen = {anchor}
    frontier: list[tuple[float, str]] = []
    currency = anchor
    while True:
        for side in sides[currency]:
            if side.other not in seen:
                seen.add(side.other)
                heapq.heappush(frontier, (-depths[side.other], side.other))
        if not frontier:
            return
        currency = heapq.heappop(frontier)[1]
        levels[currency] = _level(anchor, _evidence_of(sides[currency], levels, yardstick))


def _depth(currency: str, sides: Iterable[_Side], levels: Mapping[str, _Level]) -> float:
    """How well traded a currency is, its largest market left out, so that no single market can lift it up the order."""
    own = levels.get(currency)
    depths = []
    for side in sides:
        other = levels.get(side.other)
        log_own = side.log_units_own + (own.log_value if own else 0.0)
        log_other = side.log_units_other + (other.log_value if other else 0.0)
        depths.append(math.exp(min(max(min(log_own, log_other), -30.0), 60.0)))
    return math.fsum(sorted(depths)[:-1])


def _evidence_of(sides: Iterable[_Side], levels: Mapping[str, _Level], yardstick: float) -> list[_Evidence]:
    """The deepest markets with what is priced already.

    Depth is the value traded as the other side counts it, but never more than this side's units come to at the lower
    median of all its markets: a rate a thousand times too high buys no weight.
    """
    priced = [(side, levels[side.other]) for side in sides if side.other in levels]
    typical = statistics.median_low([other.log_value + side.log_rate for side, other in priced])
    ranked = []
    for side, other in priced:
        log_depth = min(side.log_units_other + other.log_value, side.log_units_own + typical) - yardstick
        ranked.append((-log_depth, side.other, _evidence(side, other, log_depth)))
    return [evidence for _, _, evidence in sorted(ranked, key=lambda one: one[:2])[:_EVIDENCE_MAX]]


def _evidence(side: _Side, other: _Level, log_depth: float) -> _Evidence:
    """The model of what a market may be off by."""
    log_depth = min(max(log_depth, _DEPTH_LOG_MIN), _DEPTH_LOG_MAX)
    thin = _SCALE * math.exp(_RANGE_POWER * min(side.log_range, _RANGE_MAX) - _DEPTH_POWER * log_depth)
    own = _SCALE_MIN + thin / (1.0 + thin / _SCALE_MAX)
    lean = _LEAN_DEAR * own if side.log_units_own < side.log_units_other else 0.0
    return _Evidence(other.log_value + side.log_rate - lean, math.sqrt(own * own + other.variance))


def _level(anchor: str, markets: Sequence[_Evidence]) -> _Level:
    """The posterior over a currency's value: its median, the square of half its central 68 %, the mass near it."""
    places, masses = _posterior(markets)
    value = _quantile(places, masses, 0.5)
    sd = (_quantile(places, masses, 0.84) - _quantile(places, masses, 0.16)) / 2.0
    near = math.log1p(CONFIDENCE_TOLERANCE)
    mass = _mass_below(places, masses, value + near) - _mass_below(places, masses, value - near)
    return _Level(anchor, value, sd * sd, mass)


def _posterior(markets: Sequence[_Evidence]) -> tuple[list[float], list[float]]:
    """Places in order, and the probability of being below each: the markets' densities multiplied, by trapezoids."""
    spots = {one.log_value for one in markets}
    for one in markets:
        for step in _STEPS:
            spots.add(one.log_value - step * one.scale)
            spots.add(one.log_value + step * one.scale)
    places = sorted(spots)
    falls = [1.0] * len(places)
    for one in markets:
        centre, fifths = one.log_value, 1.0 / (5.0 * one.scale * one.scale)
        falls = [fall * (1.0 + (place - centre) ** 2 * fifths) for fall, place in zip(falls, places, strict=True)]
    least = min(falls)
    heights = [(least / fall) ** 3 for fall in falls]
    masses = [0.0]
    for n in range(1, len(places)):
        masses.append(masses[-1] + (heights[n] + heights[n - 1]) * (places[n] - places[n - 1]))
    return places, [mass / masses[-1] for mass in masses]


def _quantile(places: Sequence[float], masses: Sequence[float], share: float) -> float:
    n = max(1, bisect.bisect_left(masses, share))
    rise = masses[n] - masses[n - 1]
    return places[n - 1] + (places[n] - places[n - 1]) * ((share - masses[n - 1]) / rise if rise > 0.0 else 0.5)


def _mass_below(places: Sequence[float], masses: Sequence[float], place: float) -> float:
    n = bisect.bisect_left(places, place)
    if n == 0 or n == len(places):
        return 0.0 if n == 0 else 1.0
    return masses[n - 1] + (masses[n] - masses[n - 1]) * (place - places[n - 1]) / (places[n] - places[n - 1])


def _units(sides: Mapping[str, list[_Side]], markets: Iterable[_Market]) -> dict[str, int]:
    """Units traded per currency, exact."""
    units = dict.fromkeys(sides, 0)
    for market in markets:
        units[market.a] += market.units_a
        units[market.b] += market.units_b
    return units


def _norm(
    currency: str, sides: Sequence[_Side], levels: Mapping[str, _Level], anchors: tuple[str, str], units: int
) -> Norm:
    divine, chaos = (_value_in(levels.get(currency), levels.get(anchor)) for anchor in anchors)
    in_chaos, in_divine = _amount(chaos), _amount(divine)
    value_traded = None if in_chaos is None else in_chaos * units
    known = chaos if in_chaos is not None else divine if in_divine is not None else None
    return Norm(
        currency=currency,
        chaos_value=in_chaos,
        divine_value=in_divine,
        units=units,
        value_traded=None if value_traded is None else _round(value_traded),
        markets=len(sides),
        spread=_spread(sides, levels),
        confidence=0.0 if known is None else round(known[1], 4),
        log_sd=None if known is None else _round(math.sqrt(known[2])),
        low_sample=_is_low_sample(units, in_divine, in_chaos),
    )


def _value_in(level: _Level | None, unit: _Level | None) -> tuple[float, float, float] | None:
    """(log value, confidence, variance) of a currency in another, None where no chain of markets joins them."""
    if level is None or unit is None or level.anchor != unit.anchor:
        return None
    if level is unit:
        return 0.0, 1.0, 0.0
    confidence = level.confidence * unit.confidence
    return level.log_value - unit.log_value, confidence, level.variance + unit.variance


def _amount(value: tuple[float, float, float] | None) -> float | None:
    if value is None or abs(value[0]) > _VALUE_LOG_MAX:
        return None
    return _round(math.exp(value[0]))


def _is_low_sample(units: int, in_divine: float | None, in_chaos: float | None) -> bool:
    if in_divine is None and in_chaos is not None:
        in_divine = in_chaos / _CHAOS_PER_DIVINE
    return units < LOW_SAMPLE_UNITS or in_divine is None or units * in_divine < LOW_SAMPLE_DIVINES


def _spread(sides: Iterable[_Side], levels: Mapping[str, _Level]) -> float:
    """Mean of the markets' log ranges weighted by the value traded, as a ratio less one."""
    weights, ranges = [], []
    for side in sides:
        other = levels.get(side.other)
        weights.append(math.exp(min(max(side.log_units_other + (other.log_value if other else 0.0), -30.0), 60.0)))
        ranges.append(weights[-1] * min(side.log_range, _VALUE_LOG_MAX))
    return _round(math.expm1(math.fsum(ranges) / math.fsum(weights)))


def _round(amount: float) -> float:
    return float(f"{amount:.{_SIGNIFICANT_DIGITS}g}")
