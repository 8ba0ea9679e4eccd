"""Migrations against a real engine: crashes, edits, and databases from the future."""

import pytest

from ledgerd.errors import MigrationRefused, QueryRefused, SchemaNewer
from ledgerd.store.migrate import CLUSTER_SETTINGS, Migrator
from ledgerd.store.migration import CREATE_TABLE, load_migrations, parse, split_statements
from ledgerd.store.queries import schema_root

ONE = parse("0001_one.sql", b"CREATE TABLE IF NOT EXISTS a (n UInt8) ENGINE = MergeTree ORDER BY n;")
TWO = parse(
    "0002_two.sql",
    b"CREATE TABLE IF NOT EXISTS b (n UInt8) ENGINE = MergeTree ORDER BY n;\n"
    b"CREATE TABLE IF NOT EXISTS c (s String DEFAULT ';') ENGINE = MergeTree ORDER BY s;\n",
)


class StillClock:
    """A clock that stands at one second."""

    def now(self):
        return 1_800_000_000.0

    async def sleep(self, wait_s):
        raise AssertionError(wait_s)


class PulledPlug(Exception):
    """The process is gone."""


class DyingEngine:
    """An engine whose process dies when ``when`` passes by; the statement it dies at is not run."""

    def __init__(self, engine, when):
        self._engine = engine
        self._when = when

    async def execute(self, sql, **limits):
        self._die(sql)
        await self._engine.execute(sql, **limits)

    async def insert(self, table, columns, rows, *, token):
        self._die("insert the row")
        await self._engine.insert(table, columns, rows, token=token)

    async def rows(self, sql, params=None):
        return await self._engine.rows(sql, params)

    def _die(self, what):
        if self._when in what:
            raise PulledPlug(what)


class OneOfMany:
    """One server of a cluster that has no others: what is to run on all is written down, the rest is done."""

    def __init__(self, engine):
        self._engine = engine
        self.for_all = []

    async def execute(self, sql, *, timeout_s, settings):
        assert settings == CLUSTER_SETTINGS
        self.for_all.append(sql)
        if "poe_schema_migrations" in sql:
            await self._engine.execute(CREATE_TABLE)

    async def insert(self, *what, token):
        await self._engine.insert(*what, token=token)

    async def rows(self, sql, params=None):
        found = await self._engine.rows(sql, params)
        return [("ReplicatedMergeTree",) for _ in found] if sql.startswith("SELECT engine") else found


def migrator(engine, *migrations):
    return Migrator(engine, StillClock(), migrations)


async def tables(engine):
    rows = await engine.rows(
        "SELECT name FROM system.tables WHERE database = 'poe' AND NOT startsWith(name, 'poe_') ORDER BY name"
    )
    return [name for (name,) in rows]


async def test_pending_migrations_run_in_order_and_only_once(engine):
    first = await migrator(engine, ONE, TWO).apply()
    second = await migrator(engine, ONE, TWO).apply()

    assert [one.label for one in first] == ["0001_one", "0002_two"]
    assert second == []
    assert await tables(engine) == ["a", "b", "c"]


async def test_the_database_remembers_what_it_took_and_when(engine):
    await migrator(engine, TWO).apply()
    sql = "SELECT version, name, checksum, statements, toUnixTimestamp(applied_at) FROM poe_schema_migrations"

    assert await engine.rows(sql) == [(2, "two", TWO.checksum, 2, 1_800_000_000)]


async def test_status_and_dry_run_write_nothing(engine):
    waiting = migrator(engine, ONE, TWO)

    states = [(one.version, one.name, one.state) for one in await waiting.status()]
    script = await waiting.dry_run()

    assert states == [(1, "one", "pending"), (2, "two", "pending")]
    assert script.index("TABLE IF NOT EXISTS a") < script.index("TABLE IF NOT EXISTS b") < script.index("DEFAULT ';'")
    assert await engine.rows("SHOW TABLES") == []


async def test_a_new_file_is_the_only_one_pending(engine):
    await migrator(engine, ONE).apply()
    waiting = migrator(engine, ONE, TWO)

    assert [one.state for one in await waiting.status()] == ["applied", "pending"]
    assert "0001" not in await waiting.dry_run()
    assert [one.label for one in await waiting.apply()] == ["0002_two"]
    assert await waiting.dry_run() == ""


@pytest.mark.parametrize("when", ["TABLE IF NOT EXISTS poe_", "TABLE IF NOT EXISTS b", "DEFAULT ';'", "insert the row"])
async def test_a_crash_in_the_middle_is_mended_by_the_next_run(engine, when):
    with pytest.raises(PulledPlug):
        await migrator(DyingEngine(engine, when), TWO).apply()
    left_over = [one.state for one in await migrator(engine, TWO).status()]
    await migrator(engine, TWO).apply()

    assert left_over == ["pending"]
    assert await tables(engine) == ["b", "c"]
    assert await engine.rows("SELECT count() FROM poe_schema_migrations") == [(1,)]


async def test_a_database_from_the_future_is_left_alone_with_exit_code_70(engine):
    await migrator(engine, ONE, TWO).apply()
    for ask in (migrator(engine, ONE).apply, migrator(engine, ONE).status, migrator(engine, ONE).dry_run):
        with pytest.raises(SchemaNewer, match="0002") as caught:
            await ask()

    assert caught.value.exit_code == 70
    assert caught.value.hint


async def test_an_edited_migration_is_refused_before_anything_runs(engine):
    await migrator(engine, ONE).apply()
    edited = parse("0001_one.sql", b"CREATE TABLE IF NOT EXISTS a (n UInt16) ENGINE = MergeTree ORDER BY n;")
    with pytest.raises(MigrationRefused, match="0001_one was applied to this database with another content") as caught:
        await migrator(engine, edited, TWO).apply()

    assert caught.value.exit_code == 70
    assert [one.state for one in await migrator(engine, edited, TWO).status()] == ["changed", "pending"]
    assert await tables(engine) == ["a"]


async def test_a_statement_the_engine_refuses_names_its_migration_and_number(engine):
    broken = parse("0001_broken.sql", b"SELECT 1;\nCREATE TABLE nonsense;\n")
    with pytest.raises(MigrationRefused, match="0001_broken, statement 2: ") as caught:
        await migrator(engine, broken).apply()

    assert isinstance(caught.value.__cause__, QueryRefused)
    assert [one.state for one in await migrator(engine, broken).status()] == ["pending"]


async def test_each_shipped_statement_may_run_twice(engine):
    for migration in load_migrations(schema_root() / "migrations"):
        for _ in range(2):
            for statement in migration.statements:
                await engine.execute(statement)


async def test_on_a_cluster_what_is_shown_is_what_is_run_and_only_once(engine):
    one = OneOfMany(engine)
    clustered = Migrator(one, StillClock(), [ONE, TWO], cluster="main")
    shown = split_statements(await clustered.dry_run())
    await clustered.apply()

    assert one.for_all == shown
    assert [sql.split("(")[0].strip() for sql in shown] == [
        "CREATE DATABASE IF NOT EXISTS `poe` ON CLUSTER `main`",
        *(f"CREATE TABLE IF NOT EXISTS {name} ON CLUSTER `main`" for name in ("poe_schema_migrations", "a", "b", "c")),
    ]
    assert await clustered.apply() == []
    assert one.for_all == shown


async def test_tables_of_one_server_are_not_taken_for_a_clusters_nor_the_other_way_round(engine):
    await migrator(engine, ONE).apply()
    with pytest.raises(MigrationRefused, match=r"are one server's, and clickhouse\.cluster is set") as caught:
        await Migrator(engine, StillClock(), [ONE, TWO], cluster="main").apply()
    with pytest.raises(MigrationRefused, match=r"are a cluster's, and clickhouse\.cluster is empty"):
        await migrator(OneOfMany(engine), ONE, TWO).apply()

    assert caught.value.hint.endswith("ledgerd check-config")
    assert await tables(engine) == ["a"]


async def test_a_cluster_the_server_does_not_know_is_told_in_its_words(engine):
    with pytest.raises(MigrationRefused, match="The book of migrations: Requested cluster 'main' not found"):
        await Migrator(engine, StillClock(), [ONE], cluster="main").apply()


async def test_what_no_cluster_can_run_is_refused_before_anything_runs(engine):
    one = OneOfMany(engine)
    odd = parse("0002_odd.sql", b"OPTIMIZE TABLE a FINAL;")
    with pytest.raises(MigrationRefused, match="OPTIMIZE TABLE a FINAL"):
        await Migrator(one, StillClock(), [ONE, odd], cluster="main").apply()

    assert one.for_all == []
