"""Lets go of old partitions, but never of one a step still has to read."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ledgerd.clock import Clock, hour_of
from ledgerd.errors import QueryRefused
from ledgerd.etl.plan import EXCHANGE, Step, kind_of
from ledgerd.etl.watermarks import SCAN_TIMEOUT_S, SQL, first_stored, new_sources, read_standing
from ledgerd.events import Noted, PartitionDropped, emit
from ledgerd.store.cluster import render, stored_as
from ledgerd.store.engine import Engine
from ledgerd.supervise import Heart, Stop

INTERVAL_S = 3600.0
DAY_S = 86_400
TTL_MARGIN_DAYS = 60
"""How much longer than retention the engine's own TTL keeps rows: a backstop, never the first to act."""
REACH_S = 8 * DAY_S
"""How far behind a batch's first hour a step reads: gold looks back 7 d 12 h."""
DROP_TIMEOUT_S = 120.0

BRONZE = {
    "bronze_exchange_events": "retrieved_at",
    "bronze_requests": "requested_at",
    "bronze_quarantine": "retrieved_at",
}
"""Partitioned by the week of this column, which their TTL counts from, too."""
RIVER = {"bronze_raw_stashes": "retrieved_at", "bronze_river_counts": "retrieved_at"}
"""As ``BRONZE``, by the day, for a day of it is gigabytes. Silver and gold have no TTL: it would count
from the hours they are about, and eat freshly read history before gold has seen it."""
EVENTS = ("silver_listing_events",)
"""Silver by the day of what happened. What is left of the river's silver says what is so now: its rows have no age."""
SILVER = (
    "silver_exchange_ticks", "silver_currency_norm", "silver_currency_price", "silver_currency_rates",
    "silver_currency_asks",
)  # fmt: skip
GOLD = (
    "gold_currency_snapshot", "gold_item_prices", "gold_liquidity", "gold_stash_summary", "gold_stash_diffs",
    "gold_item_roi",
)  # fmt: skip
"""Partitioned, as silver is, by the month of their hours."""
TIDIED = "silver_listings"
"""Keeps what went as rows that say so, until they are tidied away."""
TIDY_SHARE = 0.1
"""From this share on of rows that went, a partition is written anew without them."""
TIDY_EVERY_S = DAY_S
TIDY_TIMEOUT_S = 240.0


@dataclass(frozen=True, slots=True)
class Keep:
    """How many days each layer keeps its rows; 0: for ever. Bronze counts from retrieval, the others from the hour."""

    bronze_days: int
    river_days: int
    silver_days: int
    gold_days: int

    def days(self, table: str) -> int:
        """What applies to ``table``."""
        if table in RIVER:
            return self.river_days
        if table in BRONZE:
            return self.bronze_days
        return self.silver_days if table in SILVER + EVENTS else self.gold_days


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition of a table, named as ClickHouse does: ``20251006`` that day or its week, ``202510`` a month."""

    table: str
    id: str
    rows: int
    bytes: int

    @property
    def end_s(self) -> int:
        """The first unix second behind it."""
        first = datetime(int(self.id[:4]), int(self.id[4:6]), int(self.id[6:] or 1), tzinfo=UTC)
        if self.table in RIVER or self.table in EVENTS:
            return int((first + timedelta(days=1)).timestamp())
        following = first + timedelta(days=7) if self.table in BRONZE else (first + timedelta(days=31)).replace(day=1)
        return int(following.timestamp())


@dataclass(frozen=True, slots=True)
class OpenBatch:
    """The first batch of a source that some step has not done: when it was fetched, and the first hour it is about."""

    retrieved_s: float
    hour_s: int


def expired(
    partitions: Iterable[Partition], keep: Keep, open_batches: Sequence[OpenBatch], now_s: float
) -> list[Partition]:
    """The partitions that are past their days and that no open batch, nor a later one, can need.

    Batches of a source are fetched in the order of their hours, so the first open one bounds all that follow.
    """
    retrieved_s = min((batch.retrieved_s for batch in open_batches), default=now_s)
    hour_s = min((batch.hour_s for batch in open_batches), default=now_s) - REACH_S
    return [
        partition
        for partition in partitions
        if (days := keep.days(partition.table))
        and partition.end_s + days * DAY_S <= now_s
        and partition.end_s <= (retrieved_s if partition.table in BRONZE | RIVER else hour_s)
    ]


def ttl_changes(has_days: Mapping[str, int], keep: Keep) -> dict[str, int]:
    """Tables whose TTL would act before retention does, with the days it must have instead; 0: none at all.

    ``has_days``: the TTL of each table now, 0 where it has none, which never has to change.
    """
    changes = {}
    for table, has in has_days.items():
        days = keep.days(table)
        wanted = days + TTL_MARGIN_DAYS if days else 0
        if has and (wanted == 0 or wanted > has):
            changes[table] = wanted
    return changes


class Retention:
    """Drops what is expired, every hour."""

    def __init__(self, engine: Engine, steps: Sequence[Step], clock: Clock, keep: Keep, *, cluster: str = "") -> None:
        """``keep`` may be replaced while running; ``cluster``: the one the tables are on, empty for one server."""
        self.keep = keep
        self._cluster = cluster
        self._engine = engine
        self._steps = list(steps)
        self._clock = clock
        self._tidied_s = 0.0

    async def run(self, stop: Stop, heart: Heart) -> None:
        """Service: hold TTLs and partitions to ``keep`` until the stop, and tidy once a day."""
        while not stop.is_set:
            await self.run_once()
            heart.beat()
            if self._clock.now() >= self._tidied_s + TIDY_EVERY_S:
                await self._tidy_if_it_can_be()
                self._tidied_s = self._clock.now()
            await heart.sleep(stop, INTERVAL_S)

    async def run_once(self) -> list[Partition]:
        """Drop what is expired now, oldest first, and return it."""
        await self._hold_ttls()
        names = self._stored([*BRONZE, *RIVER, *EVENTS, *SILVER, *GOLD])
        rows = await self._engine.rows(SQL["partitions"], {"tables": list(names)})
        found = [Partition(names[table], *row) for table, *row in rows]
        dropped = expired(found, self.keep, await self._open_batches(), self._clock.now())
        dropped.sort(key=lambda partition: partition.end_s)
        for partition in dropped:
            drop = f"ALTER TABLE {partition.table} DROP PARTITION ID '{partition.id}'"
            await self._alter(drop)
            emit(PartitionDropped(partition.table, partition.id, self.keep.days(partition.table)))
        return dropped

    async def _tidy_if_it_can_be(self) -> None:
        """An engine that will not do this has to be let go of old partitions all the same."""
        try:
            await self.tidy()
        except QueryRefused as error:
            emit(Noted("retention", note=f"listings that went are not tidied away: {error}"))

    async def tidy(self) -> list[str]:
        """Write partitions anew in which many listings went, without these; their ids.

        A merge of all of a partition is the one moment at which a row that says "gone" is needed no longer: nothing
        older is left that it would have to hide, and what is written meanwhile is newer.
        """
        found = await self._engine.rows(SQL["gone_listings"], timeout_s=SCAN_TIMEOUT_S)
        ids = [partition for partition, share in found if share >= TIDY_SHARE]
        for partition in ids:
            merge = f"OPTIMIZE TABLE {TIDIED} PARTITION ID '{partition}' FINAL CLEANUP"
            await self._engine.execute(merge, timeout_s=TIDY_TIMEOUT_S)
        return ids

    async def _open_batches(self) -> list[OpenBatch]:
        """The first open batch of every source that has one."""
        standing = await read_standing(self._engine, self._steps)
        batches: list[OpenBatch] = []
        for source in await new_sources(self._engine, [], {step.kind for step in self._steps}):
            if lanes := standing.lanes(source):
                lowest = standing.lowest(source, lanes)
            elif (first := await first_stored(self._engine, source)) is not None:
                lowest = first - 1
            else:
                continue
            rows = await self._engine.rows(SQL["oldest_open"], {"source": source, "from": lowest + 1})
            for retrieved_s, asked_s in rows:
                hour_s = hour_of(asked_s if kind_of(source) == EXCHANGE else retrieved_s)
                batches.append(OpenBatch(retrieved_s, hour_s))
        return batches

    async def _hold_ttls(self) -> None:
        names = self._stored([*BRONZE, *RIVER])
        rows = await self._engine.rows(SQL["table_ttls"], {"tables": list(names)})
        for table, days in ttl_changes({names[table]: days for table, days in rows}, self.keep).items():
            ttl = f"MODIFY TTL toDateTime({(BRONZE | RIVER)[table]}) + INTERVAL {days} DAY" if days else "REMOVE TTL"
            await self._alter(f"ALTER TABLE {table} {ttl}")

    def _stored(self, tables: Iterable[str]) -> dict[str, str]:
        """The name under which the rows of each table lie, and the table."""
        return {stored_as(table, self._cluster): table for table in tables}

    async def _alter(self, statement: str) -> None:
        for each in render(statement, self._cluster, ""):
            await self._engine.execute(each, timeout_s=DROP_TIMEOUT_S)
