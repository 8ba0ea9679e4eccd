"""What tests of the ETL steps and of their runner share: a page, a runner, and a look at the tables."""

import random
from collections.abc import Sequence
from typing import Any

from ledgerd.chaos_scale.reference import load
from ledgerd.clock import Clock, SystemClock
from ledgerd.etl.norm import Scale
from ledgerd.etl.plan import Step
from ledgerd.etl.runner import Runner, load_steps
from ledgerd.store.engine import Engine
from ledgerd.store.queries import schema_root
from tests.store.exchange_rows import CHAOS, DIVINE, EXALTED, body, commit, land, market

HOUR_S = 1_787_086_800
REFERENCE = load(schema_root() / "reference" / "currencies.tsv")
SCALE = Scale(REFERENCE.chaos_ids, REFERENCE.divine_ids)
TABLES = ("silver_exchange_ticks", "silver_currency_norm", "gold_currency_snapshot")
PAGE = body(
    market(DIVINE, CHAOS, (50, 5000)),
    market(EXALTED, CHAOS, (90, 1000)),
    market(EXALTED, DIVINE, (80, 9)),
    market("idle", CHAOS, (0, 0)),
    market(EXALTED, CHAOS, (7, 80), league="Allflame"),
)


def runner(db: Engine, clock: Clock | None = None, steps: Sequence[Step] | None = None, **options: Any) -> Runner:
    return Runner(db, steps or load_steps(), REFERENCE, clock or SystemClock(), rng=random.Random(0), **options)


async def hour_of_pages(db: Engine, seq: int, *pages: bytes, source: str = "exchange-poe2") -> None:
    """Land and commit batch ``seq``: the ``seq``-th hour and one more for each further page."""
    await land(db, seq, HOUR_S + seq * 3600, *pages, source=source)
    await commit(db, seq, HOUR_S + seq * 3600, hours=len(pages), source=source)


async def dump(db: Engine, table: str, realm: str = "poe2") -> bytes:
    """All of a table but what names the realm and the batch."""
    sql = f"SELECT * EXCEPT (realm, batch_id) FROM {table} FINAL WHERE realm = {{realm:String}} ORDER BY ALL"
    return await db.text(sql, "TSV", {"realm": realm})
