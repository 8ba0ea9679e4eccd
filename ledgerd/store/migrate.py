"""Bring a database to the schema this program needs: forward only, one numbered file after the other.

A migration counts as applied when its row stands in ``poe_schema_migrations``; one that was cut off half-way runs again
from its first statement, so every statement must be safe to run twice (IF NOT EXISTS, OR REPLACE).
"""

import time
from collections.abc import Sequence

from ledgerd.clock import Clock
from ledgerd.errors import MigrationRefused, QueryRefused
from ledgerd.events import MigrationApplied, emit
from ledgerd.store.cluster import render
from ledgerd.store.engine import Engine
from ledgerd.store.migration import (
    TABLE,
    Migration,
    MigrationStatus,
    load_migrations,
    opening,
    plan,
    script,
    states,
)
from ledgerd.store.queries import schema_root

STATEMENT_TIMEOUT_S = 600.0
"""A migration may have to rewrite a table."""

CLUSTER_SETTINGS = {"distributed_ddl_task_timeout": int(STATEMENT_TIMEOUT_S), "alter_sync": 2}
"""Sent with the statements of a cluster: a statement has run when it has run on every node."""

COLUMNS = ("version", "name", "checksum", "statements", "started_at", "applied_at")


class Migrator:
    """The migrations of one database."""

    __slots__ = ("_clock", "_cluster", "_engine", "_migrations")

    def __init__(
        self, engine: Engine, clock: Clock, migrations: Sequence[Migration] | None = None, *, cluster: str = ""
    ) -> None:
        """``engine``: open; ``migrations``: by default those of ``schema/migrations``; ``cluster``: empty for none."""
        self._engine = engine
        self._clock = clock
        self._cluster = cluster
        self._migrations = load_migrations(schema_root() / "migrations") if migrations is None else list(migrations)

    async def status(self) -> list[MigrationStatus]:
        """Every migration and its state. Reads only. SchemaNewer if the database is ahead of the files."""
        return states(self._migrations, await self.applied())

    async def dry_run(self) -> str:
        """The SQL ``apply`` would run now, empty if none. Reads only."""
        return script(plan(self._migrations, await self.applied()), self._cluster, await self._database())

    async def apply(self) -> list[Migration]:
        """Run what is pending and return it. SchemaNewer: nothing was run.

        MigrationRefused: one was edited, or holds what cannot be run on a cluster (nothing was run), or a statement
        the engine refuses (those before it stand, and the next ``apply`` begins its file again).
        """
        pending = plan(self._migrations, await self.applied())
        database = await self._database()
        runs = [[render(each, self._cluster, database) for each in migration.statements] for migration in pending]
        if pending:
            for statement in opening(self._cluster, database):
                await self._execute(statement, "The book of migrations")
        for migration, statements in zip(pending, runs, strict=True):
            await self._apply_one(migration, statements)
        return pending

    async def _apply_one(self, migration: Migration, statements: Sequence[Sequence[str]]) -> None:
        """Run ``statements``, of each of the migration's what it has become, and write the row that says so."""
        started_s, began_s = self._clock.now(), time.monotonic()
        for number, rendered in enumerate(statements, 1):
            for statement in rendered:
                await self._execute(statement, f"Migration {migration.label}, statement {number}")
        applied_s = self._clock.now()
        row = (migration.version, migration.name, migration.checksum, len(migration.statements), started_s, applied_s)
        await self._engine.insert(TABLE, COLUMNS, [row], token=f"{migration.label}-{migration.checksum}")
        emit(MigrationApplied(subject=migration.label, seconds=time.monotonic() - began_s))

    async def _execute(self, statement: str, what: str) -> None:
        """Run ``statement``; ``what`` it is, for the one who reads why it was refused."""
        settings = CLUSTER_SETTINGS if self._cluster else None
        try:
            await self._engine.execute(statement, timeout_s=STATEMENT_TIMEOUT_S, settings=settings)
        except QueryRefused as error:
            raise MigrationRefused(
                f"{what}: {error.message}", error.hint or "Type `ledgerd migrate --dry-run`."
            ) from error

    async def _database(self) -> str:
        """The database the engine works in."""
        [(name,)] = await self._engine.rows("SELECT currentDatabase()")
        return str(name)

    async def applied(self) -> dict[int, str]:
        """Version to checksum of the migrations the database has taken.

        MigrationRefused: the tables are there, but of another kind than ``cluster`` asks for.
        """
        engines = await self._engine.rows(
            "SELECT engine FROM system.tables WHERE database = currentDatabase() AND name = {name:String}",
            {"name": TABLE},
        )
        if not engines:
            return {}
        if engines[0][0].startswith("Replicated") != bool(self._cluster):
            raise MigrationRefused(
                "The tables of this database are one server's, and clickhouse.cluster is set."
                if self._cluster
                else "The tables of this database are a cluster's, and clickhouse.cluster is empty.",
                "Correct clickhouse.cluster, or name a new clickhouse.database, then: ledgerd check-config",
            )
        rows = await self._engine.rows(f"SELECT version, checksum FROM {TABLE} ORDER BY version")  # noqa: S608 -- a constant
        return dict(rows)
