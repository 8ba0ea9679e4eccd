"""Two consecutive recorded hours, each priced alone: how far apart are the values? Prints a table; passes no judgement.

Run: python tests/bench/norm_hours.py
"""

import gzip
import json
import math
import statistics
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from ledgerd.chaos_scale.normalise import Norm, Tick, normalise  # noqa: E402 - the checkout, wherever we are started

EXCHANGE = ROOT.parent / "shared" / "data" / "exchange"
HOURS = ("poe2-1787022000", "poe2-1787086800", "poe2-1787090400")
PREFIX = "Metadata/Items/Currency/"
CHAOS, DIVINE, EXALTED = PREFIX + "CurrencyRerollRare", PREFIX + "CurrencyModValues", PREFIX + "CurrencyAddModToRare"
FIELDS = ("volume_traded", "lowest_stock", "highest_stock", "lowest_ratio", "highest_ratio")

Logs = Mapping[str, float]  # currency → log value in divines


def read(hour: str) -> dict[str, list[Tick]]:
    """League → its markets."""
    leagues: dict[str, list[Tick]] = {}
    for market in json.loads(gzip.decompress((EXCHANGE / f"{hour}.json.gz").read_bytes()))["markets"]:
        a, b = market["market_pair"]
        numbers = [market[field][id_] for field in FIELDS for id_ in (a, b)]
        leagues.setdefault(market["league"], []).append(Tick(a, b, *numbers))
    return leagues


def ours(ticks: Sequence[Tick]) -> dict[str, Norm]:
    """The method of the product."""
    norms = normalise(ticks, chaos=frozenset({CHAOS, "chaos"}), divine=frozenset({DIVINE, "divine"}))
    return {norm.currency: norm for norm in norms if norm.divine_value is not None and norm.currency != DIVINE}


def traded(ticks: Iterable[Tick]) -> list[Tick]:
    return [tick for tick in ticks if tick.volume_a > 0 and tick.volume_b > 0]


def quoted(ticks: Iterable[Tick], numeraire: str) -> dict[str, tuple[float, int]]:
    """Currency → (log rate in the numeraire, units), from its market with the numeraire."""
    found = {}
    for tick in traded(ticks):
        log_rate = math.log(tick.volume_b / tick.volume_a)
        if tick.b == numeraire:
            found[tick.a] = (log_rate, tick.volume_a)
        if tick.a == numeraire:
            found[tick.b] = (-log_rate, tick.volume_b)
    return found


def direct(ticks: Sequence[Tick]) -> dict[str, float]:
    """The market against divine, whatever it traded."""
    return {currency: rate for currency, (rate, _) in quoted(ticks, DIVINE).items()}


def gated_median(ticks: Sequence[Tick]) -> dict[str, float]:
    """Unit-weighted median over three numeraires; at least 100 units and 5 divines traded."""
    to_divine = {DIVINE: 0.0} | {
        id_: rate for id_, (rate, _) in quoted(ticks, DIVINE).items() if id_ in (CHAOS, EXALTED)
    }
    seen: dict[str, list[tuple[float, int]]] = {}
    for numeraire, worth in to_divine.items():
        for currency, (rate, units) in quoted(ticks, numeraire).items():
            seen.setdefault(currency, []).append((rate + worth, units))
    out = {}
    for currency, quotes in seen.items():
        units = sum(count for _, count in quotes)
        if currency != DIVINE and units >= 100 and sum(math.exp(rate) * count for rate, count in quotes) >= 5:
            out[currency] = statistics.median_low(
                [rate for rate, count in sorted(quotes) for _ in range(min(count, 1000))]
            )
    return out


def least_squares(ticks: Sequence[Tick]) -> tuple[dict[str, float], dict[str, float]]:
    """Least squares over all markets at once, weighted and reweighted: (log values, value traded in divines)."""
    markets = traded(ticks)
    joined = reachable(markets)
    markets = [tick for tick in markets if tick.a in joined]
    place = {currency: n for n, currency in enumerate(sorted(joined - {DIVINE}))} | {DIVINE: len(joined) - 1}
    a, b = (np.array([place[side] for side in sides]) for sides in zip(*((t.a, t.b) for t in markets), strict=True))
    rate = np.array([math.log(t.volume_b / t.volume_a) for t in markets])
    spread = np.array(
        [abs(math.log(t.lowest_ratio_a * t.highest_ratio_b / t.lowest_ratio_b / t.highest_ratio_a)) for t in markets]
    )
    base = 1 / (0.05**2 + (spread / 4) ** 2 + 1 / np.array([min(t.volume_a, t.volume_b) for t in markets]))
    weight, size = base, len(place) - 1
    for _ in range(10):
        matrix, right = np.zeros((size + 1, size + 1)), np.zeros(size + 1)
        for one, two in ((a, b), (b, a)):
            np.add.at(matrix, (one, one), weight)
            np.add.at(matrix, (one, two), -weight)
        np.add.at(right, a, weight * rate)
        np.add.at(right, b, -weight * rate)
        level = np.append(np.linalg.solve(matrix[:size, :size], right[:size]), 0.0)
        weight = base * 5 / (4 + base * (rate - level[a] + level[b]) ** 2)
    units = np.zeros(size + 1)
    for side, volumes in ((a, [t.volume_a for t in markets]), (b, [t.volume_b for t in markets])):
        np.add.at(units, side, volumes)
    values = {currency: float(level[n]) for currency, n in place.items() if currency != DIVINE}
    return values, {
        currency: float(units[n] * math.exp(level[n])) for currency, n in place.items() if currency != DIVINE
    }


def reachable(markets: Iterable[Tick]) -> set[str]:
    """The currencies joined to divine by traded markets."""
    near: dict[str, set[str]] = {DIVINE: set()}
    for tick in markets:
        near.setdefault(tick.a, set()).add(tick.b)
        near.setdefault(tick.b, set()).add(tick.a)
    seen, queue = {DIVINE}, [DIVINE]
    while queue:
        fresh = near[queue.pop()] - seen
        seen |= fresh
        queue += fresh
    return seen


def line(name: str, one: Logs, two: Logs, chosen: Iterable[str] | None = None) -> None:
    """One method over the currencies both hours have, out of those chosen."""
    both = [currency for currency in (one if chosen is None else chosen) if currency in one and currency in two]
    gaps = [abs(math.expm1(one[currency] - two[currency])) for currency in both]
    if not gaps:
        return print(f"  {name:44} {0:5}")
    within = [100 * sum(gap <= limit for gap in gaps) / len(gaps) for limit in (0.10, 0.15, 0.25)]
    return print(
        f"  {name:44} {len(gaps):5} {100 * statistics.median(gaps):7.1f} % " + "".join(f"{w:7.0f} %" for w in within)
    )


def compare(title: str, one: Sequence[Tick], two: Sequence[Tick], tops: Sequence[int]) -> None:
    """The table of one league and one pair of hours; confidence and ranks are those of the first hour."""
    print(f"{title}\n  {'method':44} {'count':>5} {'median':>9} {'≤ 10 %':>9}{'≤ 15 %':>9}{'≤ 25 %':>9}")
    first, second = ours(one), ours(two)
    a, b = ({c: math.log(norm.divine_value or 1.0) for c, norm in norms.items()} for norms in (first, second))
    line("ours, all", a, b)
    for low, high in ((0.95, 1.1), (0.8, 1.1), (0.5, 0.8), (0.0, 0.5)):
        band = f"≥ {low}" if high > 1 else f"{low} to {high}"
        line(f"ours, confidence {band}", a, b, [c for c in first if low <= first[c].confidence < high])
    (wls, value), (wls_two, _) = least_squares(one), least_squares(two)
    surest = sorted((c for c in a if c in b), key=lambda c: (-first[c].confidence, c))
    dearest = sorted((c for c in a if c in b), key=lambda c: (-(first[c].value_traded or 0.0), c))
    wls_order = sorted((c for c in wls if c in wls_two), key=lambda c: (-value[c], c))
    for top in tops:
        line(f"ours, surest {top}", a, b, surest[:top])
        line(f"ours, top {top} by value traded", a, b, dearest[:top])
        line(f"least squares, top {top} by value traded", wls, wls_two, wls_order[:top])
    line("direct market against divine, ungated", direct(one), direct(two))
    line("ours, same currencies", a, b, direct(one).keys() & direct(two).keys())
    line("median of numeraires, gated", gated_median(one), gated_median(two))
    line("ours, same currencies", a, b, gated_median(one).keys() & gated_median(two).keys())


def main() -> None:
    """Print the tables."""
    if not EXCHANGE.is_dir():
        return print("skipped: ../shared not present")
    far, one, two = (read(hour) for hour in HOURS)
    league = max(one, key=lambda name: len(one[name]))
    compare(f"{league}, two consecutive hours", one[league], two[league], (50, 116, 150, 200, 300))
    compare(f"{league}, eighteen hours apart", far[league], one[league], (50, 116, 150, 200, 300))
    for other in ("Standard", "HC Runes of Aldur"):
        compare(f"{other}, two consecutive hours", one.get(other, []), two.get(other, []), (25, 50))
    for hour, leagues in zip(HOURS, (far, one, two), strict=True):
        start = time.process_time()
        norms = [norm for ticks in leagues.values() for norm in ours(ticks).values()]
        spent_ms = 1000 * (time.process_time() - start)
        wide = [norm for norm in ours(leagues[league]).values() if norm.units >= 100]
        sure = sum(norm.confidence >= 0.8 for norm in wide)
        print(f"{hour}: {len(norms)} currencies in {len(leagues)} leagues, {spent_ms:.0f} ms CPU; ", end="")
        print(f"{sure} of the {len(wide)} with ≥ 100 units at confidence ≥ 0.8")
    return None


if __name__ == "__main__":
    main()
