"""The database port: all that ledgerd asks of ClickHouse, whichever engine answers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Row = tuple[Any, ...]
Params = Mapping[str, Any]
Settings = Mapping[str, str | int]

EMBEDDED, SERVER = "embedded", "server"
TIMEOUT_S = 30.0
"""How long a query may take unless its caller says otherwise."""

INSERT_SETTINGS: dict[str, str | int] = {
    "async_insert": 0,
    "insert_deduplicate": 1,
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    "max_insert_threads": 1,
    "max_threads": 1,
    "max_block_size": 1_048_576,
    "max_insert_block_size": 1_048_576,
    "min_insert_block_size_rows": 0,
    "min_insert_block_size_bytes": 0,
    "throw_on_max_partitions_per_insert_block": 1,
    "distributed_foreground_insert": 1,
}
"""Sent with every insert: defaults differ between versions, and a retried batch must split into the same one block.

The two ``min_insert_block_size`` keep views from copying blocks together: what comes in is one block already, and
collecting it again at every view cost a third of the CPU of a river page (measured, 42 against 30 ms).

Durability is not here: ``fsync_after_insert`` is a setting of MergeTree tables, given by the migrations. A commit row
is our licence to forget the page, so the rows are on disk before it is written.
"""


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """Which engine answers: ``name`` is EMBEDDED or SERVER, ``version`` is ClickHouse's."""

    name: str
    version: str


class Engine(Protocol):
    """ClickHouse as ledgerd uses it. Every call may raise StoreUnavailable (try again) or QueryRefused (never works).

    Values cross as Python's own: integers, floats, ``str`` (``bytes`` go in, too), ``bool``, aware UTC ``datetime`` for
    DateTime and DateTime64, ``list`` for Array, ``None`` for NULL.
    """

    @property
    def info(self) -> EngineInfo:
        """Name and version; valid after ``open``."""
        ...

    async def open(self) -> None:
        """Connect, create the database if it is missing. StoreLocked or CannotStart if that cannot work."""
        ...

    async def close(self) -> None:
        """Cancel what runs and let go; never raises."""
        ...

    async def rows(
        self, sql: str, params: Params | None = None, *, timeout_s: float = TIMEOUT_S, settings: Settings | None = None
    ) -> list[Row]:
        """All rows of a SELECT; ``{name:Type}`` in ``sql`` is filled from ``params``."""
        ...

    async def text(
        self,
        sql: str,
        fmt: str,
        params: Params | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
        settings: Settings | None = None,
    ) -> bytes:
        """The result of a SELECT in one of ClickHouse's output formats, as bytes."""
        ...

    async def execute(
        self, sql: str, params: Params | None = None, *, timeout_s: float = TIMEOUT_S, settings: Settings | None = None
    ) -> None:
        """Run a statement that returns nothing: DDL, INSERT … SELECT."""
        ...

    async def insert(
        self, table: str, columns: Sequence[str], rows: Iterable[Row], *, token: str, timeout_s: float = TIMEOUT_S
    ) -> None:
        """Insert ``rows`` as one block with INSERT_SETTINGS; the same ``token`` again is a no-op."""
        ...
