"""Statements for a cluster: golden examples, what is refused, and all shipped migrations, so that none is forgotten."""

import re

import pytest

from ledgerd import offline
from ledgerd.config.model import ClickHouse, Config
from ledgerd.errors import CannotStart, MigrationRefused
from ledgerd.store.cluster import SHARD_KEYS, preamble, render, stored_as
from ledgerd.store.migration import load_migrations, opening, parse, script, split_statements
from ledgerd.store.queries import schema_root

WHOLE = """CREATE TABLE IF NOT EXISTS prices
(
    realm String,
    at DateTime
)
ENGINE = ReplacingMergeTree(at)
ORDER BY realm
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1"""
SHARDED = """CREATE TABLE IF NOT EXISTS bronze_raw_stashes
(
    stash_id String
)
ENGINE = MergeTree
ORDER BY stash_id
SETTINGS non_replicated_deduplication_window = 500"""
VIEW = "CREATE MATERIALIZED VIEW IF NOT EXISTS landing_a_1 TO prices AS\nSELECT realm, at FROM landing_b_1"
MONTH = "replicated_deduplication_window_seconds = 2592000"
SHIPPED = load_migrations(schema_root() / "migrations")
STATEMENTS = [(one.label, statement) for one in SHIPPED for statement in one.statements]


def on_main(statement):
    return render(statement, "main", "poe")


def test_without_a_cluster_nothing_changes():
    assert all(render(statement, "", "poe") == [statement] for _, statement in STATEMENTS)
    assert preamble("", "poe") == []


def test_the_database_is_made_on_every_node_first():
    assert preamble("a-b", "poe") == ["CREATE DATABASE IF NOT EXISTS `poe` ON CLUSTER `a-b`"]
    assert opening("main", "poe")[0] == preamble("main", "poe")[0]


def test_a_table_is_whole_on_every_node_under_a_path_without_shard():
    expected = (
        "CREATE TABLE IF NOT EXISTS prices ON CLUSTER `main`\n(\n    realm String,\n    at DateTime\n)\n"
        "ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{database}/{table}', '{shard}-{replica}', at)\n"
        f"ORDER BY realm\nSETTINGS replicated_deduplication_window = 1000, {MONTH}, ttl_only_drop_parts = 1"
    )

    assert on_main(WHOLE) == [expected]


def test_stashes_are_spread_by_their_id_behind_a_distributed_table_of_the_same_name():
    local, distributed = on_main(SHARDED)

    assert local == (
        "CREATE TABLE IF NOT EXISTS bronze_raw_stashes_local ON CLUSTER `main`\n(\n    stash_id String\n)\n"
        "ENGINE = ReplicatedMergeTree('/clickhouse/tables/{database}/{table}/{shard}', '{replica}')\n"
        f"ORDER BY stash_id\nSETTINGS replicated_deduplication_window = 500, {MONTH}"
    )
    assert distributed == (
        "CREATE TABLE IF NOT EXISTS bronze_raw_stashes ON CLUSTER `main` AS bronze_raw_stashes_local\n"
        "ENGINE = Distributed('main', 'poe', 'bronze_raw_stashes_local', sipHash64(stash_id))"
    )


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("", "\nSETTINGS replicated_deduplication_window = 0"),
        ("\nSETTINGS index_granularity = 16", "\nSETTINGS replicated_deduplication_window = 0, index_granularity = 16"),
    ],
)
def test_a_table_that_remembers_no_tokens_remembers_none_on_a_cluster_either(settings, expected):
    (made,) = on_main(f"CREATE TABLE IF NOT EXISTS a (n UInt8)\nENGINE = MergeTree\nORDER BY n{settings}")

    assert made.endswith(f"ORDER BY n{expected}")


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (VIEW, [VIEW.replace(" TO", " ON CLUSTER `main` TO")]),
        (
            "CREATE TABLE IF NOT EXISTS landing_a_1 (n UInt8) ENGINE = Null",
            ["CREATE TABLE IF NOT EXISTS landing_a_1 ON CLUSTER `main` (n UInt8) ENGINE = Null"],
        ),
        ("DROP TABLE IF EXISTS prices", ["DROP TABLE IF EXISTS prices ON CLUSTER `main` SYNC"]),
        ("DROP VIEW IF EXISTS landing_a_1", ["DROP VIEW IF EXISTS landing_a_1 ON CLUSTER `main` SYNC"]),
        (
            "DROP TABLE IF EXISTS bronze_raw_stashes",
            [
                "DROP TABLE IF EXISTS bronze_raw_stashes ON CLUSTER `main` SYNC",
                "DROP TABLE IF EXISTS bronze_raw_stashes_local ON CLUSTER `main` SYNC",
            ],
        ),
        (
            "CREATE VIEW IF NOT EXISTS live_prices AS\nSELECT * FROM prices FINAL",
            ["CREATE VIEW IF NOT EXISTS live_prices ON CLUSTER `main` AS\nSELECT * FROM prices FINAL"],
        ),
        (
            "ALTER TABLE landing_a_1 MODIFY QUERY\nSELECT 1",
            ["ALTER TABLE landing_a_1 ON CLUSTER `main` MODIFY QUERY\nSELECT 1"],
        ),
        (
            "ALTER TABLE prices ADD COLUMN IF NOT EXISTS n UInt8",
            ["ALTER TABLE prices ADD COLUMN IF NOT EXISTS n UInt8"],
        ),
        (
            "ALTER TABLE bronze_raw_stashes ADD COLUMN IF NOT EXISTS n UInt8",
            [
                "ALTER TABLE bronze_raw_stashes_local ON CLUSTER `main` ADD COLUMN IF NOT EXISTS n UInt8",
                "ALTER TABLE bronze_raw_stashes ON CLUSTER `main` ADD COLUMN IF NOT EXISTS n UInt8",
            ],
        ),
    ],
)
def test_what_stands_on_each_node_is_made_changed_and_dropped_on_each_node(statement, expected):
    assert on_main(statement) == expected


def test_rows_for_a_whole_table_go_in_once():
    insert = "INSERT INTO prices\nSELECT realm, at FROM others"

    assert on_main(insert) == [insert]


@pytest.mark.parametrize(
    "change", ["DROP PARTITION ID '20260101'", "MODIFY TTL toDateTime(retrieved_at) + INTERVAL 67 DAY", "REMOVE TTL"]
)
def test_retention_reaches_the_rows_of_a_sharded_table_on_every_shard_and_others_once(change):
    assert on_main(f"ALTER TABLE bronze_raw_stashes {change}") == [
        f"ALTER TABLE bronze_raw_stashes_local ON CLUSTER `main` {change}"
    ]
    assert on_main(f"ALTER TABLE etl_runs {change}") == [f"ALTER TABLE etl_runs {change}"]
    assert stored_as("bronze_raw_stashes", "main") == "bronze_raw_stashes_local"


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("OPTIMIZE TABLE prices FINAL", "a statement of this form on a cluster: OPTIMIZE TABLE prices FINAL"),
        ("INSERT INTO bronze_raw_stashes SELECT 1", "a statement of this form"),
        ("INSERT INTO prices VALUES (1)", "a statement of this form"),
        ("CREATE VIEW live_prices AS SELECT 1", "a statement of this form"),
        ("CREATE TABLE prices (n UInt8) ENGINE = MergeTree ORDER BY n", "a statement of this form"),
        ("CREATE TABLE IF NOT EXISTS a AS b", "a statement of this form"),
        ("CREATE MATERIALIZED VIEW IF NOT EXISTS landing_a ENGINE = MergeTree AS SELECT 1", "a statement of this form"),
        ("DROP TABLE prices", "a statement of this form"),
        ("CREATE TABLE IF NOT EXISTS a (n UInt8) ENGINE = Log", "a table of this engine"),
        ("CREATE TABLE IF NOT EXISTS a (n UInt8)", "a table of this engine"),
        ("CREATE TABLE IF NOT EXISTS a (n UInt8) ENGINE = Null", "a view or Null table whose name"),
        ("CREATE MATERIALIZED VIEW IF NOT EXISTS a TO b AS SELECT 1", "a view or Null table whose name"),
        ("ALTER TABLE prices DELETE WHERE n = 1", "a change of this kind"),
        ("ALTER TABLE prices MODIFY QUERY SELECT 1", "a change of this kind"),
    ],
)
def test_what_nobody_has_thought_through_is_refused_in_a_sentence(statement, said):
    with pytest.raises(MigrationRefused, match=re.escape(said)) as caught:
        on_main(statement)

    assert caught.value.hint.endswith("ledgerd check-config")


@pytest.mark.parametrize(("label", "statement"), STATEMENTS, ids=lambda value: " ".join(value.split())[:50])
def test_every_shipped_statement_can_run_on_a_cluster_and_twice(label, statement):
    for made in on_main(statement):
        assert "non_replicated" not in made
        assert " ON CLUSTER `main`" in made or (made == statement and made.startswith(("ALTER", "INSERT")))
        assert re.match(
            r"CREATE (TABLE|VIEW|MATERIALIZED VIEW) IF NOT EXISTS |DROP (TABLE|VIEW) IF EXISTS |ALTER TABLE "
            r"|INSERT INTO etl_watermarks\s",  # may come twice: of equal rows one stays
            made,
        )


def test_one_view_at_most_writes_to_a_sharded_table_for_one_insert():
    """Behind a Distributed table all views of an insert have one token: the rows of the second would be dropped."""
    views = [
        re.match(r"CREATE MATERIALIZED VIEW IF NOT EXISTS landing_([a-z]+)_\w*?(\d+) TO (\w+) AS", statement)
        for _, statement in STATEMENTS
        if statement.startswith("CREATE MATERIALIZED VIEW")
    ]
    doors = [view.groups() for view in views if view[3] in SHARD_KEYS]

    assert None not in views
    assert doors
    assert len(doors) == len(set(doors))


def test_the_script_begins_with_the_database_and_its_book_and_can_be_split_again():
    text = script(SHIPPED, "main", "poe")

    assert split_statements(text)[:2] == opening("main", "poe")
    assert split_statements(text)[2:] == [made for _, statement in STATEMENTS for made in on_main(statement)]
    assert script([], "main", "poe") == ""
    assert script([parse("0001_a.sql", b"SELECT 1;")]) == script([parse("0001_a.sql", b"SELECT 1;")], "", "poe")


@pytest.fixture
def config():
    """A cluster behind a port of loopback at which nobody listens."""
    store = ClickHouse(engine="server", url="clickhouse://127.0.0.1:1", database="poe", cluster="main")
    return Config(clickhouse=store)


async def test_a_dry_run_shows_the_schema_even_while_no_server_answers(config, capsys):
    await offline.migrate(config, status=False, dry_run=True, apply=False)
    out, err = capsys.readouterr()

    assert split_statements(out) == split_statements(script(SHIPPED, "main", "poe"))
    assert "127.0.0.1:1" in err
    assert "Shown is what an empty database would be given." in err


async def test_a_status_is_not_made_up_while_no_server_answers(config):
    with pytest.raises(CannotStart, match=re.escape("127.0.0.1:1")):
        await offline.migrate(config, status=True, dry_run=True, apply=False)
