"""What a cluster is given, judged by the engine: every statement parsed, the schema made, rows sent through."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ledgerd.clock import SystemClock
from ledgerd.store.cluster import SHARD_KEYS, render
from ledgerd.store.migrate import CLUSTER_SETTINGS, Migrator
from ledgerd.store.migration import load_migrations, opening
from ledgerd.store.queries import schema_root
from tests.store.cluster_process import FOUND, STASHES

ROOT = Path(__file__).resolve().parents[2]
RETENTION = [f"ALTER TABLE {table} DROP PARTITION ID '20260101'" for table in ("bronze_raw_stashes", "etl_runs")]


def found_by_process(what, folder):
    ended = subprocess.run(
        [sys.executable, "-m", "tests.store.cluster_process", what, str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@pytest.mark.parametrize("cluster", ["main", "eu-1.live", "1"])
async def test_every_statement_is_one_the_engine_can_parse(engine, cluster):
    shipped = [statement for one in load_migrations(schema_root() / "migrations") for statement in one.statements]
    made = [*opening(cluster, "poe"), *(each for one in [*shipped, *RETENTION] for each in render(one, cluster, "poe"))]
    for statement in made:
        [(parsed,)] = await engine.rows("SELECT formatQuery({sql:String})", {"sql": statement})
        assert ("ON CLUSTER" in parsed) == ("ON CLUSTER" in statement)

    assert len(made) > len(shipped)


async def test_the_settings_sent_along_are_known_to_the_engine(engine):
    await engine.execute("CREATE TABLE a (n UInt8) ENGINE = Null", settings=CLUSTER_SETTINGS)

    assert await engine.rows("SHOW TABLES") == [("a",)]


async def test_a_cluster_gets_the_tables_of_one_server_and_their_rows_are_where_they_should_be(engine, tmp_path):
    await Migrator(engine, SystemClock()).apply()
    alone = {
        name: [list(row) for row in await engine.rows(f"{FOUND[name]} WHERE database = 'poe' ORDER BY ALL")]
        for name in ("tables", "columns")
    }
    found = found_by_process("schema", tmp_path)
    tables = {name: rest for name, *rest in found["tables"]}
    replicas = {name: rest for name, *rest in found["replicas"]}
    local = {name: f"{name}_local" for name in SHARD_KEYS}

    assert tables.keys() == {name for name, *_ in alone["tables"]} | set(local.values())
    for name, kind, *keys in alone["tables"]:
        prefix = "Replicated" if kind.endswith("MergeTree") else ""
        assert tables[local.get(name, name)] == [f"{prefix}{kind}", *keys]
        if prefix and name not in local:
            assert replicas.pop(name) == [f"/clickhouse/tables/poe/{name}", "01-r1"]
    for name, at in local.items():
        assert tables[name] == ["Distributed", "", ""]
        assert replicas.pop(at) == [f"/clickhouse/tables/poe/{at}/01", "r1"]
        assert [rest for table, *rest in found["columns"] if table == at] == [
            rest for table, *rest in found["columns"] if table == name
        ]
    assert replicas == {}
    assert [row for row in found["columns"] if row[0] not in local.values()] == alone["columns"]


async def test_every_table_of_stashes_as_they_came_is_sharded_by_the_stash(engine):
    await Migrator(engine, SystemClock()).apply()
    with_stashes = await engine.rows(
        "SELECT DISTINCT table FROM system.columns INNER JOIN system.tables AS t ON t.name = table "
        "WHERE database = 'poe' AND t.database = 'poe' AND columns.name = 'stash_id' AND t.engine LIKE '%MergeTree' "
        "AND table LIKE 'bronze_%'"
    )

    assert {name for (name,) in with_stashes} == set(SHARD_KEYS)


def test_a_page_sent_again_passes_the_door_and_the_distributed_table_once(tmp_path):
    found = found_by_process("door", tmp_path)
    stored = [[token, stash["id"]] for token in ("a", "b") for stash in STASHES]

    assert found["stored"] == stored
    assert found["local"] == stored
    assert found["counts"] == [["a", len(STASHES)], ["b", len(STASHES)]]
    assert found["left"] == []


def test_another_shard_is_sent_its_rows_under_the_same_token(tmp_path):
    heard = found_by_process("wire", tmp_path)

    assert "insert_deduplication_token\0\tthe-token" in heard
    assert "INSERT INTO poe.bronze_raw_stashes_local" in heard
