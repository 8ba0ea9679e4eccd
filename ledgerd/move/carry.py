"""The work of a move: what is on both sides, what is to go, and sending it, with progress."""

import sys
import time
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import click

from ledgerd.errors import Refused
from ledgerd.move.plan import (
    CHUNK_BYTES,
    COLUMNS,
    LEFT,
    PROBE,
    TABLES,
    WHOLE,
    Leg,
    Partition,
    Span,
    Table,
    Total,
    condition,
    in_order,
    rows_at_once,
    staying,
    table_of,
    totals_of,
)
from ledgerd.store.engine import Engine, Row
from ledgerd.store.sqltext import quoted

PASS_TIMEOUT_S = 3600.0
"""How long reading all of a table may take."""
CHUNK_TIMEOUT_S = 300.0
SAY_EVERY_S = 10.0
"""How often progress is a line of its own where stderr is no terminal."""

Totals = dict[Partition, Total]


@dataclass(slots=True)
class Progress:
    """How far the move is, as a line: on a terminal by ``waiting``, elsewhere one every SAY_EVERY_S."""

    what: str = "looking at both sides"
    rows: int = 0
    moved: int = 0
    kept: int = 0
    began_s: float = 0.0
    said_s: float = 0.0

    def begin(self, rows: int, kept: int) -> None:
        """``rows`` are to go, ``kept`` are there already."""
        self.rows, self.kept, self.began_s = rows, kept, time.monotonic()
        self.said_s = self.began_s

    def line(self) -> str:
        """What goes on now."""
        if not self.moved or self.moved == self.rows:
            return self.what
        pace = self.moved / max(time.monotonic() - self.began_s, 0.001)
        left = timedelta(seconds=round((self.rows - self.moved) / pace))
        return f"{self.what}: {self.moved:,} of {self.rows:,} rows, {pace:,.0f} rows/s, {left} left"

    def done(self) -> str:
        """What was done, in the end."""
        there = f"; {self.kept:,} were there" if self.kept else ""
        took_s = time.monotonic() - self.began_s
        return f"{self.moved:,} rows moved in {took_s:.1f} s ({self.moved / max(took_s, 0.001):,.0f} rows/s){there}."

    def went(self, rows: int) -> None:
        """``rows`` more are there."""
        self.moved += rows
        now_s = time.monotonic()
        if now_s - self.said_s >= SAY_EVERY_S and not sys.stderr.isatty():
            self.said_s = now_s
            click.echo(self.line(), err=True)


class Move:
    """One move between two open engines, ``source`` owned by nobody else and changed by nobody meanwhile."""

    def __init__(self, source: Engine, target: Engine, progress: Progress, keep_from: datetime) -> None:
        """``keep_from``: rows whose TTL is not beyond it stay behind."""
        self.source = source
        self.target = target
        self._progress = progress
        self._keep_from = keep_from

    async def tables(self) -> list[Table]:
        """What is to move, in its order."""
        columns: dict[str, list[tuple[str, str]]] = {}
        for table, name, type_name in await self.source.rows(COLUMNS):
            columns.setdefault(table, []).append((name, type_name))
        found = await self.source.rows(TABLES, {"left": list(LEFT)})
        return in_order([table_of(row, columns[row[0]]) for row in found])

    async def totals(self, engine: Engine, table: Table) -> Totals:
        """What ``engine`` has of ``table``, by partition."""
        sql = f"""
            SELECT {table.partition} AS its_partition, toTypeName(its_partition), {totals_of(table)}
            FROM {table.source} WHERE 1{staying(table)} GROUP BY its_partition HAVING count() > 0 ORDER BY its_partition
        """  # noqa: S608 -- names of the schema
        rows = await engine.rows(sql, {"keep_from": self._keep_from}, timeout_s=PASS_TIMEOUT_S)
        return {Partition(value, type_name): Total(*numbers) for value, type_name, *numbers in rows}

    async def hold_together(self) -> None:
        """Refused if the two versions do not hash alike."""
        if await self.source.rows(PROBE) != await self.target.rows(PROBE):
            versions = f"{self.source.info.version} and {self.target.info.version}"
            raise Refused(
                f"ClickHouse {versions} hash the same row differently, so nothing could be compared.",
                "Use a ledgerd with the server's version of the engine: pip install -U 'ledgerd[embedded]'",
            )

    async def legs(self, table: Table, here: Totals) -> list[Leg]:
        """What is to go of ``table``, of which there is ``here``. Refused if the server has what is not from here."""
        there = await self.totals(self.target, table)
        for partition in set(there) - set(here):
            raise foreign(table, partition, there[partition])
        return [
            await self._leg(table, partition, total, there.get(partition, Total()))
            for partition, total in here.items()
            if there.get(partition) != total
        ]

    async def _leg(self, table: Table, partition: Partition, total: Total, there: Total) -> Leg:
        if not there.rows:
            return Leg(table, partition, total, total.rows)
        span = Span(partition)
        edge = replace(span, until=await self._edge(self.target, table, span, "DESC", 0))
        if await self._total(table, edge) != there:
            raise foreign(table, partition, there)
        return Leg(table, partition, total, total.rows - there.rows, edge.until)

    async def differences(self, table: Table, here: Totals) -> list[Partition]:
        """The partitions of ``table`` that are not the same on both sides."""
        self._progress.what = f"comparing {table.name}"
        there = await self.totals(self.target, table)
        return [partition for partition in here | there if here.get(partition) != there.get(partition)]

    async def left_behind(self, table: Table) -> int:
        """Rows of ``table`` that stay here because of their TTL."""
        if not table.ttl:
            return 0
        sql = f"SELECT count() FROM {table.source} WHERE NOT (1{staying(table)})"  # noqa: S608 -- names of the schema
        [(rows,)] = await self.source.rows(sql, {"keep_from": self._keep_from}, timeout_s=PASS_TIMEOUT_S)
        return int(rows)

    async def carry(self, leg: Leg) -> None:
        """Send what is to go of a partition. StoreUnavailable: what went is there."""
        table, after = leg.table, leg.after
        self._progress.what = f"moving {table.name}"
        names = [name for name, _ in table.columns]
        columns = ", ".join(map(quoted, names))
        while True:
            span, total = await self._chunk(leg, after)
            where, params = condition(table, span, self._keep_from)
            sql = f"SELECT {columns} FROM {table.source} WHERE {where}"  # noqa: S608 -- names of the schema
            rows = await self.source.rows(sql, params, timeout_s=CHUNK_TIMEOUT_S)
            token = f"move-{table.name}-{leg.partition.value}-{total.rows}-{total.hash}"
            await self.target.insert(table.name, names, rows, token=token, timeout_s=CHUNK_TIMEOUT_S)
            self._progress.went(len(rows))
            if span.until is None:
                return
            after = span.until

    async def _chunk(self, leg: Leg, after: Row | None) -> tuple[Span, Total]:
        """The rows that go next, fewer where they are large; the last ones if ``until`` is None."""
        size = rows_at_once(leg.total)
        while True:
            span = Span(leg.partition, after)
            span = replace(span, until=await self._edge(self.source, leg.table, span, "ASC", size - 1))
            total = await self._total(leg.table, span)
            if total.bytes <= 4 * CHUNK_BYTES or size == 1:
                return span, total
            size //= 2

    async def _edge(self, engine: Engine, table: Table, span: Span, order: str, skip: int) -> Row | None:
        """The key behind ``skip`` others of ``span``; None if there are no more."""
        where, params = condition(table, span, self._keep_from)
        key = ", ".join(map(quoted, table.key))
        by = ", ".join(f"{quoted(name)} {order}" for name in table.key)
        sql = f"SELECT {key} FROM {quoted(table.name)} WHERE {where} ORDER BY {by} LIMIT 1 OFFSET {skip}"  # noqa: S608 -- as above
        rows = await engine.rows(sql, params, timeout_s=CHUNK_TIMEOUT_S)
        return rows[0] if rows else None

    async def _total(self, table: Table, span: Span) -> Total:
        """What the embedded engine has of ``span``."""
        where, params = condition(table, span, self._keep_from)
        sql = f"SELECT {totals_of(table)} FROM {table.source} WHERE {where}"  # noqa: S608 -- names of the schema
        [numbers] = await self.source.rows(sql, params, timeout_s=PASS_TIMEOUT_S)
        return Total(*numbers)


def foreign(table: Table, partition: Partition, there: Total) -> Refused:
    """The error for rows on the server that no move from here has left there."""
    which = f", partition {partition.value}" if table.partition != WHOLE else ""
    return Refused(
        f"The server's {table.name}{which} holds {there.rows} rows that were not moved from here; nothing was moved.",
        "Name a new clickhouse.database, or drop that one on the server, then: ledgerd move",
    )
