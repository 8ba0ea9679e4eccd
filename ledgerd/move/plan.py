"""What a move is made of: its tables, their order, and the SQL that counts, hashes and cuts them. Nothing runs here."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ledgerd.store.engine import Row
from ledgerd.store.migration import TABLE as MIGRATIONS
from ledgerd.store.sqltext import quoted

CHUNK_ROWS = 32_768
CHUNK_BYTES = 16 << 20
"""What goes over at once, about; as Python's values it takes some ten times that."""

LEFT = (MIGRATIONS, "harvest_claims")
"""The server has its own book of migrations, and who harvests now is not for moving."""
LAST = ("etl_runs", "etl_watermarks", "bronze_ingest_checkpoints")
"""Where ETL and the sources stand: after all they speak of, or a daemon would go on from what is not there."""

WHOLE = "''"
"""The partition expression of a table that has none."""
TABLES = """
    SELECT name, engine, partition_key, sorting_key, engine_full
    FROM system.tables
    WHERE database = currentDatabase() AND engine LIKE '%MergeTree' AND NOT has({left:Array(String)}, name)
"""
COLUMNS = "SELECT table, name, type FROM system.columns WHERE database = currentDatabase() ORDER BY table, position"
PROBE = """
    SELECT cityHash64('é', unhex('FF'), 1.5, toUInt64(7), [''], ['a', 'b'], true, toLowCardinality('c'),
        toDateTime(9, 'UTC'), toDateTime64(9.5, 3, 'UTC'), assumeNotNull(toNullable('d')))
"""
_TTL = re.compile(r" TTL (.+?)(?: SETTINGS |$)")


@dataclass(frozen=True, slots=True)
class Table:
    """A table to move; ``partition`` is SQL that tells its partitions apart, ``ttl`` empty where rows stay for ever."""

    name: str
    columns: tuple[tuple[str, str], ...]
    key: tuple[str, ...]
    partition: str
    ttl: str
    is_replacing: bool

    @property
    def source(self) -> str:
        """What stands behind FROM: of a Replacing table the rows that hold, since the others may go at any time."""
        return f"{quoted(self.name)}{' FINAL' if self.is_replacing else ''}"

    @property
    def key_types(self) -> list[tuple[str, str]]:
        """(name, type) of the sorting key's columns."""
        types = dict(self.columns)
        return [(name, types[name]) for name in self.key]


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition of a table: what its partition expression gives, and the type of that."""

    value: Any
    type_name: str


@dataclass(frozen=True, slots=True)
class Total:
    """What there is: rows, the sum of their hashes, and about how many bytes they are."""

    rows: int = 0
    hash: int = 0
    bytes: int = field(default=0, compare=False)

    def __add__(self, other: "Total") -> "Total":
        """Both together."""
        return Total(self.rows + other.rows, (self.hash + other.hash) % 2**64, self.bytes + other.bytes)


@dataclass(frozen=True, slots=True)
class Span:
    """Rows of one partition whose key is behind ``after`` and not behind ``until``; None: no such end."""

    partition: Partition
    after: Row | None = None
    until: Row | None = None


@dataclass(frozen=True, slots=True)
class Leg:
    """A partition that is still to go, from ``after`` on, with ``rows`` left of ``total``."""

    table: Table
    partition: Partition
    total: Total
    rows: int
    after: Row | None = None


def table_of(row: Row, columns: Sequence[tuple[str, str]]) -> Table:
    """A row of ``TABLES`` with the table's (name, type) columns."""
    name, engine, partition, key, engine_full = row
    return Table(
        name=name,
        columns=tuple(columns),
        key=tuple(key.split(", ")),
        partition=partition or WHOLE,
        ttl=ttl_of(engine_full),
        is_replacing=engine == "ReplacingMergeTree",
    )


def ttl_of(engine_full: str) -> str:
    """The TTL in a table's ``engine_full``; empty if rows stay for ever.

    >>> ttl_of("MergeTree ORDER BY a TTL at + toIntervalDay(4) SETTINGS index_granularity = 8192")
    'at + toIntervalDay(4)'
    """
    found = _TTL.search(engine_full)
    return found[1] if found else ""


def in_order(tables: Sequence[Table]) -> list[Table]:
    """``tables`` as they go over."""
    return sorted(tables, key=lambda table: (table.name in LAST and LAST.index(table.name) + 1, table.name))


def totals_of(table: Table) -> str:
    """SQL for the numbers of a `Total`."""
    names = ", ".join(quoted(name) for name, _ in table.columns)
    return f"count(), sum({row_hash(table.columns)}), sum(byteSize({names}))"


def row_hash(columns: Sequence[tuple[str, str]]) -> str:
    """SQL of a row's hash. NULLs are told apart by hand: cityHash64 of a row that holds one is NULL.

    >>> row_hash([("a", "String"), ("b", "Nullable(UInt8)")])
    'cityHash64(`a`, isNull(`b`), if(isNull(`b`), 0, cityHash64(assumeNotNull(`b`))))'
    """
    parts = []
    for name, type_name in columns:
        one = quoted(name)
        is_nullable = type_name.startswith(("Nullable(", "LowCardinality(Nullable("))
        parts += [f"isNull({one})", f"if(isNull({one}), 0, cityHash64(assumeNotNull({one})))"] if is_nullable else [one]
    return f"cityHash64({', '.join(parts)})"


def beyond(key: Sequence[tuple[str, str]], sign: str, last: str, name: str) -> str:
    """SQL for a key ``sign`` another, column by column, so that every version finds its place in the primary index.

    ``last``: the sign for the last column. The values are the parameters ``name``0, ``name``1 and so on.

    >>> beyond([("a", "String"), ("b", "UInt8")], ">", ">=", "x")
    '(`a` > {x0:String} OR (`a` = {x0:String} AND `b` >= {x1:UInt8}))'
    """
    column, type_name = key[-1]
    sql = f"{quoted(column)} {last} {{{name}{len(key) - 1}:{type_name}}}"
    for number, (column, type_name) in reversed(list(enumerate(key[:-1]))):
        value = f"{{{name}{number}:{type_name}}}"
        sql = f"({quoted(column)} {sign} {value} OR ({quoted(column)} = {value} AND {sql}))"
    return sql


def condition(table: Table, span: Span, keep_from: datetime) -> tuple[str, dict[str, Any]]:
    """SQL for the rows of ``span`` that are moved, and its parameters."""
    parts, params = (
        [f"{table.partition} = {{partition:{span.partition.type_name}}}"],
        {"partition": span.partition.value},
    )
    for name, sign, last, edge in (("after", ">", ">", span.after), ("until", "<", "<=", span.until)):
        if edge is not None:
            parts.append(beyond(table.key_types, sign, last, name))
            params |= {f"{name}{number}": value for number, value in enumerate(edge)}
    return f"{' AND '.join(parts)}{staying(table)}", {**params, "keep_from": keep_from}


def staying(table: Table) -> str:
    """SQL, to follow another condition, for rows whose TTL is beyond {keep_from}."""
    return f" AND {table.ttl} > {{keep_from:DateTime('UTC')}}" if table.ttl else ""


def rows_at_once(total: Total) -> int:
    """Rows of a chunk, a power of two: about CHUNK_BYTES, at most CHUNK_ROWS. The same in each attempt at a move.

    >>> rows_at_once(Total(1000, 0, 1000 * 5_000))
    2048
    """
    fits = max(1, min(CHUNK_ROWS, CHUNK_BYTES * total.rows // max(total.bytes, 1)))
    return int(2 ** (fits.bit_length() - 1))
