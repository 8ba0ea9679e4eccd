"""One hour of one market: the trades players make around a true price, and what stands in the book."""

import math
from dataclasses import dataclass
from random import Random

from ledgerd.sim.noise import laplace

_FILLS_MAX = 16
_ROUND_FROM = 20
_DENOMINATORS = ((0.66, 1), (0.8, 2), (0.88, 3), (0.93, 4), (0.98, 5), (1.0, 10))


@dataclass(frozen=True, slots=True)
class Habit:
    """How one market is quoted, hour after hour; all are logarithms of a price or scales of one.

    ``bias`` is where the market stands off the true price, ``rough_scale`` how far an hour strays from that,
    ``fill_scale`` how far one trade of the hour does from another, ``stray_scale`` how far the odd single one does.
    """

    bias: float
    rough_scale: float
    fill_scale: float
    stray_scale: float


@dataclass(slots=True)
class Tally:
    """What an hour's trades add up to; a ratio is (cheap, dear), so its quotient is a price of at least about 1."""

    dear: int = 0
    cheap: int = 0
    lowest: tuple[int, int] = (0, 0)
    highest: tuple[int, int] = (0, 0)
    owed: float = 0.0  # cheap ones by which rounding has shifted the hour so far

    def add(self, ratio: tuple[int, int], lots: int) -> None:
        """Count ``lots`` exchanges at ``ratio``."""
        cheap, dear = ratio
        if not self.dear or cheap * self.lowest[1] < self.lowest[0] * dear:
            self.lowest = ratio
        if not self.dear or cheap * self.highest[1] > self.highest[0] * dear:
            self.highest = ratio
        self.dear += dear * lots
        self.cheap += cheap * lots


def gauss(rng: Random) -> float:
    """A standard normal made only of ``rng.random()``, whose sequence Python guarantees."""
    return math.sqrt(-2.0 * math.log(1.0 - rng.random())) * math.cos(2.0 * math.pi * rng.random())


def poisson(rng: Random, mean: float) -> int:
    """A Poisson count of ``mean`` up to a few dozen."""
    floor, product, count = math.exp(-mean), rng.random(), 0
    while product > floor:
        product *= rng.random()
        count += 1
    return count


def whole(rng: Random, x: float) -> int:
    """``x`` rounded up or down so that it is right on average."""
    low = math.floor(x)
    return low + int(rng.random() < x - low)


def tidy(rng: Random, n: int) -> int:
    """``n`` as people write it: above twenty often a multiple of five or ten, above two hundred of more."""
    if n < _ROUND_FROM or rng.random() < 0.6:  # noqa: PLR2004 - matched, see market.py
        return n
    step: int = 10 ** max(1, len(str(n)) - 2)
    step = step // 2 if rng.random() < 0.35 else step  # noqa: PLR2004 - matched
    return max(step, round(n / step) * step)


def quote(rng: Random, price: float, dear_max: int = 10, owed: float = 0.0) -> tuple[int, int]:
    """A small-integer ratio (cheap, dear) somebody would write for ``price`` cheap ones a dear one.

    ``owed`` cheap ones a dear one, it is rather rounded up: who was outbid by one asks for one less.
    """
    if price < 1.0:
        return 1, max(1, whole(rng, 1.0 / price))
    u, dear = rng.random(), 1
    if price < _ROUND_FROM:
        dear = next(k for share, k in _DENOMINATORS if u <= share)
    dear = dear if dear <= dear_max else 1
    cheap = tidy(rng, max(1, whole(rng, (price + min(max(owed, -0.5), 0.5)) * dear)))
    shared = math.gcd(cheap, dear)
    return cheap // shared, dear // shared


def fill(rng: Random, tally: Tally, price: float, units: float) -> None:
    """Add one trade of about ``units`` dear ones near ``price``."""
    size = max(1, round(units * math.exp(0.7 * gauss(rng) - 0.25)))
    ratio = quote(rng, price, size, tally.owed / size)
    lots = max(1, round(size / ratio[1]))
    tally.add(ratio, lots)
    tally.owed += (price * ratio[1] - ratio[0]) * lots


def stray(rng: Random, tally: Tally, price: float, scale: float, fills: int) -> None:
    """Add the single trades far off the price: somebody in a hurry, somebody who mistyped."""
    for sign in (-1, 1):
        if rng.random() < 1.0 - math.exp(-0.08 * fills):
            off = sign * min(4.0, scale * -math.log(1.0 - rng.random()))
            tally.add(quote(rng, price * math.exp(off), 2), 1)


def trade_hour(rng: Random, price: float, units: float, habit: Habit) -> Tally | None:
    """The hour's trades: ``price`` is the true one in cheap ones a dear one, ``units`` the dear ones expected.

    None when nobody traded.
    """
    expected = min(units**0.45 if units > 1 else units, _FILLS_MAX)
    fills = min(poisson(rng, expected), 2 * _FILLS_MAX)
    if not fills:
        return None
    hour_off = habit.bias + laplace(1.0 - rng.random() * 0.999999, habit.rough_scale)
    wide = habit.fill_scale * (0.3 + rng.random())
    tally = Tally()
    for _ in range(fills):
        fill(rng, tally, price * math.exp(hour_off + wide * gauss(rng)), units / expected)
    stray(rng, tally, price * math.exp(hour_off), habit.stray_scale, fills)
    return tally


def stock(rng: Random, level: float, busy: bool) -> tuple[int, int]:
    """Lowest and highest stock of one side in the hour; ``level`` is the stock expected, 0 for an empty side."""
    highest = round(level)
    if rng.random() > (0.92 if busy else 0.4):
        return highest, highest
    lowest = highest * math.exp(-0.06 * math.exp(1.25 * gauss(rng)))
    return whole(rng, lowest), highest
