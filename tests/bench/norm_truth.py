"""Prices of stand-in hours, on seeds and hours nothing was fitted to, against their true values. Prints; no judgement.

Each league twice: what the hours say alone (silver_currency_norm), and what they are priced at (silver_currency_price:
blended with the eleven hours before by the step itself, in the embedded engine). Some minutes.

Run: python -m tests.bench.norm_truth
"""

import asyncio
import itertools
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from ledgerd.chaos_scale.normalise import Norm, Tick  # noqa: E402 - the checkout, wherever we are started
from ledgerd.clock import SystemClock  # noqa: E402
from ledgerd.sim.market import Market  # noqa: E402
from ledgerd.sim.world import load_ids  # noqa: E402
from ledgerd.store.embedded import EmbeddedEngine  # noqa: E402
from ledgerd.store.migrate import Migrator  # noqa: E402
from tests.bench.norm_hours import CHAOS, DIVINE, FIELDS, direct, least_squares, ours  # noqa: E402
from tests.store.refining import blended  # noqa: E402

IDS = ROOT / "schema" / "reference" / "currencies.tsv"
BIGGEST = {"pc": "Allflame", "poe2": "Runes of Aldur"}
SEEDS = range(2101, 2107)
FIRST_HOUR = 1_796_000_400
BANDS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.01)
LIMIT = 0.15
SURE = 0.8
BLENDED_HOURS = 12
BUSY_UNITS = 100


@dataclass(frozen=True, slots=True)
class Priced:
    """One league's hour: its markets, our rows (the anchors left out) and the true values in chaos."""

    ticks: list[Tick]
    norms: list[Norm]
    truth: Mapping[str, float]

    def error(self, norm: Norm) -> float:
        return abs((norm.chaos_value or math.inf) / self.truth[norm.currency] - 1.0)


@dataclass(frozen=True, slots=True)
class Window:
    """An hour of a realm, and the values of the hours up to it: hour → league → our rows."""

    name: str
    ticks: dict[str, list[Tick]]
    hours: dict[int, dict[str, list[Norm]]]
    truth: dict[str, dict[str, float]]

    def priced(self, rows: Mapping[str, Sequence[Norm]]) -> dict[str, Priced]:
        """League → ``rows`` beside the truth."""
        return {
            league: Priced(
                self.ticks[league],
                [norm for norm in norms if norm.currency != CHAOS and norm.chaos_value],
                self.truth[league],
            )
            for league, norms in rows.items()
        }


def windows(realm: str, seed: int, count: int = 2) -> list[Window]:
    """``count`` windows of one seed; each seed at other hours."""
    market = Market(seed, realm, load_ids(IDS, "poe2" if realm == "poe2" else "poe1"))
    return [window(market, seed, FIRST_HOUR + 3600 * (37 * (seed % 100) + 1009 * n)) for n in range(count)]


def window(market: Market, seed: int, last: int) -> Window:
    """The hours up to ``last``."""
    hours, ticks = {}, {}
    for hour in range(last - 3600 * (BLENDED_HOURS - 1), last + 1, 3600):
        ticks = by_league(market.hour(hour)["markets"])
        hours[hour] = {league: list(ours(of_league).values()) for league, of_league in ticks.items()}
    truth = {league: market.truth(league, last) for league in ticks}
    return Window(f"{market.realm.name}-{seed}-{last}", ticks, hours, truth)


async def at_gold(found: Iterable[Window]) -> dict[str, dict[str, list[Norm]]]:
    """Window → league → what its last hour is priced at."""
    with tempfile.TemporaryDirectory() as folder:
        engine = EmbeddedEngine(Path(folder) / "store", database="bench", memory_bytes_max=1_000_000_000)
        await engine.open()
        await Migrator(engine, SystemClock()).apply()
        prices = {one.name: await blended(engine, one.name, one.hours) for one in found}
        await engine.close()
    return prices


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
        middle = 100 * statistics.median(error for _, error in busy)
        print(f"; all of them: {100 * share(busy):.1f} %, median error {middle:.1f} %")
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
    tasks = [(realm, seed) for realm in BIGGEST for seed in SEEDS]
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        found = list(zip(tasks, pool.map(windows, *zip(*tasks, strict=True)), strict=True))
    prices = asyncio.run(at_gold(one for _, some in found for one in some))
    everything: dict[str, list[Priced]] = {"the hour alone": [], "prices": []}
    for realm, league in BIGGEST.items():
        of_realm = [one for (of, _), some in found if of == realm for one in some]
        levels = {
            "the hour alone": [one.priced(one.hours[max(one.hours)]) for one in of_realm],
            "prices": [one.priced(prices[one.name]) for one in of_realm],
        }
        for level, leagues in levels.items():
            everything[level] += [hour for one in leagues for hour in one.values()]
            show(f"{realm}, {league}, {level}", [one[league] for one in leagues])
        compare([one[league] for one in levels["the hour alone"]])
        start = time.process_time()
        for one in of_realm:
            ours(one.ticks[league])
        print(f"  {1000 * (time.process_time() - start) / len(of_realm):.0f} ms CPU an hour")
    for level, hours in everything.items():
        show(f"all leagues of both, {level}", hours)


if __name__ == "__main__":
    main()
