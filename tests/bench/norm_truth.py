"""Prices of stand-in hours, on seeds and hours nothing was fitted to, against their true values. Prints; no judgement.

Run: python tests/bench/norm_truth.py
"""

import itertools
import math
import statistics
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from ledgerd.chaos_scale.normalise import Norm, Tick  # noqa: E402 - the checkout, wherever we are started
from ledgerd.sim.market import Market  # noqa: E402
from ledgerd.sim.world import load_ids  # noqa: E402
from tests.bench.norm_hours import CHAOS, DIVINE, FIELDS, direct, least_squares, ours  # noqa: E402

IDS = ROOT / "schema" / "reference" / "currencies.tsv"
BIGGEST = {"pc": "Allflame", "poe2": "Runes of Aldur"}
SEEDS = range(2101, 2107)
FIRST_HOUR = 1_796_000_400
BANDS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.01)
LIMIT = 0.15
SURE = 0.8
BUSY_UNITS = 100


@dataclass(frozen=True, slots=True)
class Priced:
    """One league's hour: its markets, our rows (the anchors left out) and the true values in chaos."""

    ticks: list[Tick]
    norms: list[Norm]
    truth: Mapping[str, float]

    def error(self, norm: Norm) -> float:
        return abs((norm.chaos_value or math.inf) / self.truth[norm.currency] - 1.0)


def priced(realm: str, seeds: Iterable[int], hours: int = 2) -> dict[str, list[Priced]]:
    """League → its hours, over all seeds, each seed at other hours."""
    leagues: dict[str, list[Priced]] = {}
    ids = load_ids(IDS, "poe2" if realm == "poe2" else "poe1")
    for seed in seeds:
        market = Market(seed, realm, ids)
        for n in range(hours):
            hour = FIRST_HOUR + 3600 * (37 * (seed % 100) + 1009 * n)
            for league, ticks in by_league(market.hour(hour)["markets"]).items():
                norms = [norm for norm in ours(ticks).values() if norm.currency != CHAOS and norm.chaos_value]
                leagues.setdefault(league, []).append(Priced(ticks, norms, market.truth(league, hour)))
    return leagues


def by_league(markets: Iterable[Mapping]) -> dict[str, list[Tick]]:
    """League → its ticks."""
    found: dict[str, list[Tick]] = {}
    for market in markets:
        a, b = market["market_pair"]
        numbers = [market[field][id_] for field in FIELDS for id_ in (a, b)]
        found.setdefault(market["league"], []).append(Tick(a, b, *numbers))
    return found


def targets(hours: Iterable[Priced]) -> tuple[float, float]:
    """Of the currencies at confidence ≥ 0.8 the share within 15 %; of those with ≥ 100 units the share at ≥ 0.8."""
    hours = list(hours)
    right = [hour.error(norm) <= LIMIT for hour in hours for norm in hour.norms if norm.confidence >= SURE]
    sure = [norm.confidence >= SURE for hour in hours for norm in hour.norms if norm.units >= BUSY_UNITS]
    return statistics.fmean(right or [math.nan]), statistics.fmean(sure or [math.nan])


def show(title: str, hours: Sequence[Priced]) -> None:
    """The table of a league, or of many together."""
    right, sure = targets(hours)
    pairs = [(norm, hour.error(norm)) for hour in hours for norm in hour.norms]
    busy = sorted((pair for pair in pairs if pair[0].units >= BUSY_UNITS), key=lambda pair: -pair[0].confidence)
    print(f"{title}: {len(hours)} hours, {len(pairs) / len(hours):.0f} currencies each")
    print(f"  at confidence ≥ 0.8, within 15 %: {100 * right:.1f} %", end="")
    print(f" of {sum(norm.confidence >= SURE for norm, _ in pairs)}; of those with ≥ 100 units", end="")
    print(f" ({len(busy) / len(hours):.0f} an hour) {100 * sure:.1f} % reach 0.8")
    if busy:
        top = busy[: round(0.6 * len(busy))]
        print(
            f"  of those the surest 60 %, within 15 %: {100 * share(top):.1f} % (from {top[-1][0].confidence:.2f})",
            end="",
        )
        print(f"; all of them: {100 * share(busy):.1f} %")
    print(f"  {'confidence':>12} {'count':>6} {'stated':>7} {'within 15 %':>12} {'median error':>13}")
    for low, high in itertools.pairwise(BANDS):
        band = [pair for pair in pairs if low <= pair[0].confidence < high]
        if band:
            stated = statistics.fmean(norm.confidence for norm, _ in band)
            middle = 100 * statistics.median(error for _, error in band)
            print(f"  {low:5.2f}–{high:5.2f} {len(band):7} {stated:7.2f} {share(band):12.2f} {middle:11.1f} %")


def share(pairs: Sequence[tuple[Norm, float]]) -> float:
    return sum(error <= LIMIT for _, error in pairs) / len(pairs)


def compare(hours: Sequence[Priced]) -> None:
    """Ours beside least squares ranked by value traded, and beside the direct market against divine, all in divines."""
    print(f"  {'in divines, against the truth':44} {'count':>6} {'median':>9} {'≤ 10 %':>8}{'≤ 15 %':>8}{'≤ 25 %':>8}")
    for top in (116, 150, 200, 300):
        mine, theirs = [], []
        for hour in hours:
            unit = hour.truth[DIVINE]
            surest = sorted(hour.norms, key=lambda norm: (-norm.confidence, norm.currency))[:top]
            mine += [abs((norm.divine_value or math.inf) * unit / hour.truth[norm.currency] - 1) for norm in surest]
            values, traded = least_squares(hour.ticks)
            dearest = sorted(values, key=lambda c: (-traded[c], c))[:top]
            theirs += [abs(math.exp(values[c]) * unit / hour.truth[c] - 1) for c in dearest]
        line(f"ours, surest {top}", mine)
        line(f"least squares, top {top} by value traded", theirs)
    mine, theirs = [], []
    for hour in hours:
        norms, unit = {norm.currency: norm for norm in hour.norms}, hour.truth[DIVINE]
        for currency, rate in direct(hour.ticks).items():
            if currency in norms:
                theirs.append(abs(math.exp(rate) * unit / hour.truth[currency] - 1))
                mine.append(abs((norms[currency].divine_value or math.inf) * unit / hour.truth[currency] - 1))
    line("direct market against divine, ungated", theirs)
    line("ours, same currencies", mine)


def line(name: str, errors: Sequence[float]) -> None:
    within = [100 * sum(error <= limit for error in errors) / len(errors) for limit in (0.10, 0.15, 0.25)]
    print(
        f"  {name:44} {len(errors):6} {100 * statistics.median(errors):7.1f} % "
        + "".join(f"{w:6.0f} %" for w in within)
    )


def main() -> None:
    """Print the tables."""
    everything: list[Priced] = []
    for realm, league in BIGGEST.items():
        leagues = priced(realm, SEEDS)
        everything += [hour for hours in leagues.values() for hour in hours]
        show(f"{realm}, {league}", leagues[league])
        compare(leagues[league])
        start = time.process_time()
        for hour in leagues[league]:
            ours(hour.ticks)
        print(f"  {1000 * (time.process_time() - start) / len(leagues[league]):.0f} ms CPU an hour")
    show("all leagues of both", everything)


if __name__ == "__main__":
    main()
