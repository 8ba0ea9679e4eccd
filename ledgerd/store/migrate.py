"""Bring a database to the schema this program needs: forward only, one numbered file after the other.

A migration counts as applied when its row stands in ``poe_schema_migrations``; one that was cut off half-way runs again
from its first statement, so every statement must be safe to run twice (IF NOT EXISTS, OR REPLACE).
"""

import time
from collections.abc import Sequence

from ledgerd.clock import Clock
from ledgerd.errors import MigrationRefused, QueryRefused
from ledgerd.events import MigrationApplied, emit
from ledgerd.store.engine import Engine
from ledgerd.store.migration import (
    CREATE_TABLE,
    TABLE,
    Migration,
    MigrationStatus,
    load_migrations,
    plan,
    render,
    script,
    states,
)
from ledgerd.store.queries import schema_root

STATEMENT_TIMEOUT_S = 600.0
"""A migration may have to rewrite a table."""

COLUMNS = ("version", "name", "checksum", "statements", "started_at", "applied_at")


class Migrator:
    """The migrations of one database."""

    __slots__ = ("_clock", "_engine", "_migrations")

    def __init__(self, engine: Engine, clock: Clock, migrations: Sequence[Migration] | None = None) -> None:
        """``engine``: open; ``migrations``: by default those of ``schema/migrations``."""
        self._engine = engine
        self._clock = clock
        self._migrations = load_migrations(schema_root() / "migrations") if migrations is None else list(migrations)

    async def status(self) -> list[MigrationStatus]:
        """Every migration and its state. Reads only. SchemaNewer if the database is ahead of the files."""
        return states(self._migrations, await self._applied())

    async def dry_run(self) -> str:
        """The SQL ``apply`` would run now, empty if none. Reads only."""
        return script(plan(self._migrations, await self._applied()))

    async def apply(self) -> list[Migration]:
        """Run what is pending and return it. SchemaNewer: nothing was run.

        MigrationRefused: one was edited (nothing was run) or holds a statement the engine refuses (those before it
        stand, and the next ``apply`` begins its file again).
        """
        pending = plan(self._migrations, await self._applied())
        if pending:
            await self._engine.execute(CREATE_TABLE)
        for migration in pending:
            await self._apply_one(migration)
        return pending

    async def _apply_one(self, migration: Migration) -> None:
        started_s, began_s = self._clock.now(), time.monotonic()
        for number, statement in enumerate(migration.statements, 1):
            try:
                await self._engine.execute(render(statement), timeout_s=STATEMENT_TIMEOUT_S)
            except QueryRefused as error:
                raise MigrationRefused(
                    f"Migration {migration.label}, statement {number}: {error.message}",
                    error.hint or "Type `ledgerd migrate --dry-run`.",
                ) from error
        applied_s = self._clock.now()
        row = (migration.version, migration.name, migration.checksum, len(migration.statements), started_s, applied_s)
        await self._engine.insert(TABLE, COLUMNS, [row], token=f"{migration.label}-{migration.checksum}")
        emit(MigrationApplied(subject=migration.label, seconds=time.monotonic() - began_s))

    async def _applied(self) -> dict[int, str]:
        """Version to checksum of the migrations the database has taken."""
        exists = await self._engine.rows(
            "SELECT 1 FROM system.tables WHERE database = currentDatabase() AND name = {name:String}", {"name": TABLE}
        )
        if not exists:
            return {}
        rows = await self._engine.rows(f"SELECT version, checksum FROM {TABLE} ORDER BY version")  # noqa: S608 -- a constant
        return dict(rows)
