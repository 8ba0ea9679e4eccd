"""From an hour's ticks to rows of silver_currency_norm: the one step that is Python (pure)."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter

from ledgerd.chaos_scale.normalise import Norm, Tick, normalise
from ledgerd.errors import Refused
from ledgerd.store.engine import Row

UNITS_MAX = 2**64 - 1
"""What the column ``units`` holds."""
MARKETS_MAX = 2**32 - 1
"""What the column ``markets`` holds."""


@dataclass(frozen=True, slots=True)
class Scale:
    """The ids that mean the two orbs every value is told in."""

    chaos: frozenset[str]
    divine: frozenset[str]


@dataclass(slots=True)
class Refined:
    """Rows in the order of `norm_rows`; ``unusable`` names what was left out because a column cannot hold it."""

    rows: list[Row] = field(default_factory=list)
    unusable: list[str] = field(default_factory=list)


def norm_rows(realm: str, hour_s: int, batch_id: str, ticks: Sequence[Row], scale: Scale) -> Refined:
    """Normalise the ticks of one hour, league by league; the same rows for the same ticks.

    ``ticks``: league, the fields of `Tick`, retrieved_at; sorted by league. Rows: realm, league, hour (unix seconds),
    currency, the fields of `Norm` from ``chaos_value`` on, batch_id, retrieved_at (the newest of the league's ticks).
    Raises Refused if the ticks are beyond what the function can compute.
    """
    refined = Refined()
    for league, group in groupby(ticks, key=itemgetter(0)):
        markets = list(group)
        retrieved_at = max(row[-1] for row in markets)
        for norm in _priced(league, hour_s, markets, scale):
            if _fits(norm):
                refined.rows.append(_row(norm, (realm, league, hour_s), (batch_id, retrieved_at)))
            else:
                refined.unusable.append(f"{league} {norm.currency}")
    return refined


def _priced(league: str, hour_s: int, markets: Iterable[Row], scale: Scale) -> list[Norm]:
    ticks = [Tick(*row[1:-1]) for row in markets]
    try:
        return normalise(ticks, chaos=scale.chaos, divine=scale.divine)
    except (ArithmeticError, ValueError, LookupError) as error:
        raise Refused(
            f"The markets of {league} in hour {hour_s} cannot be normalised: {type(error).__name__}: {error}.",
            f'Look at them: ledgerd sql "FROM silver_exchange_ticks SELECT * WHERE hour = {hour_s}"',
        ) from error


def _row(norm: Norm, key: Row, origin: Row) -> Row:
    return (
        *key, norm.currency, norm.chaos_value, norm.divine_value, norm.units, norm.value_traded, norm.markets,
        norm.spread, norm.confidence, norm.log_sd, norm.low_sample, *origin,
    )  # fmt: skip


def _fits(norm: Norm) -> bool:
    """True if every number is finite and within its column."""
    floats = (norm.chaos_value, norm.divine_value, norm.value_traded, norm.spread, norm.confidence, norm.log_sd)
    is_finite = all(value is None or math.isfinite(value) for value in floats)
    return is_finite and 0 <= norm.units <= UNITS_MAX and 0 <= norm.markets <= MARKETS_MAX
