"""What tests of the ETL steps and of their runner share: a page, a runner, and a look at the tables."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import astuple, replace
from typing import Any

from ledgerd.chaos_scale.normalise import Norm
from ledgerd.chaos_scale.reference import shipped
from ledgerd.clock import Clock, SystemClock
from ledgerd.etl.norm import Scale
from ledgerd.etl.plan import EXCHANGE, Batch, Step, Task
from ledgerd.etl.runner import Runner, load_steps
from ledgerd.etl.tasks import run_task
from ledgerd.store.engine import Engine, Row
from tests.store.exchange_rows import CHAOS, DIVINE, EXALTED, body, commit, land, market

HOUR_S = 1_787_086_800
REFERENCE = shipped()
SCALE = Scale(REFERENCE.chaos_ids, REFERENCE.divine_ids)
NORM_COLUMNS = (
    "realm", "league", "hour", "currency", "chaos_value", "divine_value", "units", "value_traded", "markets",
    "spread", "confidence", "log_sd", "low_sample", "batch_id", "retrieved_at",
)  # fmt: skip
PRICE_COLUMNS = tuple("rests_on_hours" if column == "log_sd" else column for column in NORM_COLUMNS)
TABLES = ("silver_exchange_ticks", "silver_currency_norm", "silver_currency_price", "gold_currency_snapshot")
STEPS = [step for step in load_steps() if step.kind == EXCHANGE and step.writes in TABLES]
"""From markets to prices: the steps every other rests on."""
PAGE = body(
    market(DIVINE, CHAOS, (50, 5000)),
    market(EXALTED, CHAOS, (90, 1000)),
    market(EXALTED, DIVINE, (80, 9)),
    market("idle", CHAOS, (0, 0)),
    market(EXALTED, CHAOS, (7, 80), league="Allflame"),
)


def runner(db: Engine, clock: Clock | None = None, steps: Sequence[Step] | None = None, **options: Any) -> Runner:
    return Runner(db, steps or load_steps(), REFERENCE, clock or SystemClock(), rng=random.Random(0), **options)


def currency_runner(db: Engine, clock: Clock | None = None, steps: Sequence[Step] = STEPS, **options: Any) -> Runner:
    return runner(db, clock, steps, **options)


async def hour_of_pages(db: Engine, seq: int, *pages: bytes, source: str = "exchange-poe2") -> None:
    """Land and commit batch ``seq``: the ``seq``-th hour and one more for each further page."""
    await land(db, seq, HOUR_S + seq * 3600, *pages, source=source)
    await commit(db, seq, HOUR_S + seq * 3600, hours=len(pages), source=source)


async def dump(db: Engine, table: str, realm: str = "poe2") -> bytes:
    """All of a table but what names the realm and the batch."""
    sql = f"SELECT * EXCEPT (realm, batch_id) FROM {table} FINAL WHERE realm = {{realm:String}} ORDER BY ALL"
    return await db.text(sql, "TSV", {"realm": realm})


def task_of(step: str, from_hour: int, to_hour: int) -> Task:
    """A step on a batch of the hours from ``from_hour`` up to ``to_hour``, counted from `HOUR_S`."""
    batch = Batch("exchange-poe2", "poe2", 0, f"b-{from_hour}", HOUR_S + from_hour * 3600, HOUR_S + to_hour * 3600)
    return Task(next(one for one in load_steps() if one.name == step), batch)


Series = dict[str, dict[int, tuple[float | None, int, float | None]]]
"""Currency → hour → (chaos value, units, value traded)."""


def random_series(hours: int = 260) -> Series:
    """Two currencies with missing and unpriced hours."""
    rng = random.Random(7)
    series: Series = {"deep": {}, "thin": {}}
    for currency, share in (("deep", 0.95), ("thin", 0.15)):
        for hour in range(hours):
            if rng.random() < share:
                value = None if rng.random() < 0.1 else rng.lognormvariate(3, 1)
                traded = None if value is None else rng.random() * 1e4
                series[currency][hour] = (value, rng.randrange(10_000), traded)
    return series


async def insert_norms(db: Engine, series: Series, error: float | None = 0.3) -> None:
    """The series as the hours' own values, each that unsure."""
    await _insert(db, "silver_currency_norm", NORM_COLUMNS, series, error)


async def insert_prices(db: Engine, series: Series) -> None:
    """The series as prices, each resting on its hour alone."""
    await _insert(db, "silver_currency_price", PRICE_COLUMNS, series, 1)


async def _insert(db: Engine, table: str, columns: Sequence[str], series: Series, sure: float | None) -> None:
    rest = (3, 0.1, 0.5, sure, False, "b", 1)
    rows = [
        ("poe2", "Standard", HOUR_S + hour * 3600, currency, value, None, units, traded, *rest)
        for currency, values in series.items()
        for hour, (value, units, traded) in values.items()
    ]
    await db.insert(table, columns, rows, token="random")


Hours = Mapping[int, Mapping[str, Sequence[Norm]]]
"""Hour (unix seconds) → league → its rows."""


async def blended(db: Engine, realm: str, hours: Hours) -> dict[str, list[Norm]]:
    """League → the rows of the last of ``hours`` with values and confidence as the prices have them.

    ``realm`` keeps apart what was blended in one database: any text, each once.
    """
    rows = [
        (realm, league, hour_s, *astuple(norm), "b", hour_s)
        for hour_s, leagues in hours.items()
        for league, norms in leagues.items()
        for norm in norms
    ]
    last_s = max(hours)
    await db.insert("silver_currency_norm", NORM_COLUMNS, rows, token=realm)
    batch = Batch("exchange-poe2", realm, 0, realm, last_s, last_s + 3600)
    await run_task(db, Task(task_of("silver_currency_price", 0, 1).step, batch), SCALE)
    found = await db.rows(
        "SELECT league, currency, chaos_value, divine_value, confidence FROM silver_currency_price"
        " WHERE realm = {realm:String}",
        {"realm": realm},
    )
    prices = {row[:2]: row[2:] for row in found}
    return {
        league: [_with_price(norm, prices[league, norm.currency]) for norm in norms]
        for league, norms in hours[last_s].items()
    }


def _with_price(norm: Norm, price: Row) -> Norm:
    chaos, divine, confidence = price
    return replace(norm, chaos_value=chaos, divine_value=divine, confidence=confidence)
