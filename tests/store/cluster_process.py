"""The schema of a cluster on one real engine, in a process of its own: it prints what it found as JSON and is gone.

The engine gets what a server of a cluster has: macros, a cluster definition in which it is a shard, and Keeper, as
ClickHouse's own in-memory stand-in. What it lacks: the queue of ON CLUSTER (the clause is taken off, and judged by the
parser elsewhere), and a port for replicas, without which Replicated tables are made and dropped but take neither rows
nor changes. So ``door`` and ``wire`` make the tables unreplicated, to see rows pass through the Distributed one.
"""

import json
import os
import re
import socket
import sys
import threading
from pathlib import Path

from chdb import ChdbError
from chdb.session import Session

from ledgerd.store.cluster import render, stored_as
from ledgerd.store.embedded import _SERVER_ARGS
from ledgerd.store.engine import INSERT_SETTINGS
from ledgerd.store.migration import load_migrations, opening
from ledgerd.store.queries import schema_root
from ledgerd.store.rowbinary import varint
from ledgerd.store.sqltext import set_statement, string
from tests.store.native_front import REVISION, packed

ASKS_FOR_TABLES, TABLES = 5, 9
"""The packet with which a server asks another whether a table is there, and the one that answers."""

CONFIG = """<clickhouse>
  <zookeeper><implementation>testkeeper</implementation><node><host>localhost</host><port>1</port></node></zookeeper>
  <macros><shard>01</shard><replica>r1</replica></macros>
  <tcp_port>9000</tcp_port>
  <remote_servers><main><shard><internal_replication>true</internal_replication>
    <replica><host>127.0.0.1</host><port>9000</port></replica></shard>OTHERS</main></remote_servers>
</clickhouse>"""
SHARD = "<shard><replica><host>127.0.0.1</host><port>{}</port></replica></shard>"
FOUND = {
    "tables": "SELECT name, engine, partition_key, sorting_key FROM system.tables",
    "columns": "SELECT table, name, type, default_expression, compression_codec FROM system.columns",
    "replicas": "SELECT table, zookeeper_path, replica_name FROM system.replicas",
}
"""What is read of the database, in the order of all columns."""
STASHES = [{"id": f"stash-{n}", "public": True, "league": "Standard", "items": [{}] * n} for n in range(5)]
CHANGES = (
    "ADD COLUMN IF NOT EXISTS new UInt8",
    "MODIFY TTL toDateTime(retrieved_at) + INTERVAL 4000 DAY",
    "REMOVE TTL",
    "DROP PARTITION ID '20260101'",
)


def statements():
    """What ``Migrator.apply`` runs on a cluster, to be run by the one server that is there."""
    made = opening("main", "poe")
    for migration in load_migrations(schema_root() / "migrations"):
        made += [each for statement in migration.statements for each in render(statement, "main", "poe")]
    return [statement.replace(" ON CLUSTER `main`", "") for statement in made]


def unreplicated(statement):
    """``statement`` with tables that need no Keeper, and remember tokens all the same."""
    plain = re.sub(r"Replicated(\w*MergeTree)\('[^']*', '[^']*'(?:, )?", r"\1(", statement)
    return re.sub(r"\breplicated_dedup(\w+_window =)", r"non_replicated_dedup\1", plain).replace(
        ", replicated_deduplication_window_seconds = 2592000", ""
    )


def rows(session, sql):
    return [json.loads(line) for line in session.query(sql, "JSONCompactEachRow").bytes().splitlines()]


def schema(session):
    """Make the schema twice; what the database holds then: columns, which change, of the tables without Keeper."""
    for statement in statements() * 2:
        if not statement.startswith(("ALTER", "INSERT")):
            session.query(statement)
    session.query("CREATE DATABASE plain")
    session.query("USE plain")
    for statement in statements() * 2:
        session.query(unreplicated(statement).replace("'poe'", "'plain'"))
    where = {"columns": "plain"}
    return {
        name: rows(session, f"{sql} WHERE database = '{where.get(name, 'poe')}' ORDER BY ALL")
        for name, sql in FOUND.items()
    }


def insert(session, token):
    """Send the river page of STASHES."""
    settings = {**INSERT_SETTINGS, "distributed_foreground_insert": 1, "insert_deduplication_token": token}
    body = json.dumps({"next_change_id": "2-2", "stashes": STASHES})
    session.query(set_statement(settings))
    session.query(
        "INSERT INTO landing_river_1 SELECT "
        f"{string(token)}, 0, 'pc', '1-1', '2-2', ['*'], toDateTime64('2026-01-01 00:00:00', 3, 'UTC'), {string(body)}"
    )


def door(session):
    """Send a river page three times with one token and once with another, change the table, drop the rows again."""
    for statement in statements():
        session.query(unreplicated(statement))
    for token in ("a", "a", "a", "b"):
        insert(session, token)
    ask = "SELECT batch_id, stash_id FROM {} ORDER BY ALL"
    found = {
        "stored": rows(session, ask.format("bronze_raw_stashes")),
        "local": rows(session, ask.format(stored_as("bronze_raw_stashes", "main"))),
        "counts": rows(session, "SELECT batch_id, stashes FROM bronze_river_counts ORDER BY ALL"),
    }
    for change in CHANGES:
        for statement in render(f"ALTER TABLE bronze_raw_stashes {change}", "main", "poe"):
            session.query(statement.replace(" ON CLUSTER `main`", ""))
    return found | {"left": rows(session, "SELECT new, stash_id FROM bronze_raw_stashes")}


def wire(session):
    """Send the page to two shards, of which the other only listens; what that one was told."""
    for statement in statements():
        session.query(unreplicated(statement))
    threading.Thread(target=insert, args=(session, "the-token"), daemon=True).start()
    return OTHER.heard_insert()


class OtherShard:
    """Enough of a server for another to send it an insert: it says hello and that the table is there, and listens."""

    def __init__(self):
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]

    def heard_insert(self):
        """What is sent before the rows: the statement's settings, then the statement, as text."""
        connection, _ = self._server.accept()
        connection.recv(1 << 16)
        hello = [varint(0), packed("other"), varint(26), varint(9), varint(REVISION), packed("UTC"), packed("other")]
        connection.sendall(b"".join([*hello, varint(1)]))
        heard = b""
        while b"INSERT INTO" not in heard:
            packet = connection.recv(1 << 16)
            heard += packet
            if packet[0] == ASKS_FOR_TABLES:
                table = [packed("poe"), packed("bronze_raw_stashes_local"), b"\0"]
                connection.sendall(b"".join([varint(TABLES), varint(1), *table]))
        return heard.decode(errors="replace")


def main():
    what, folder = {"schema": schema, "door": door, "wire": wire}[sys.argv[1]], Path(sys.argv[2])
    others = SHARD.format(OTHER.port) if what is wire else ""
    (folder / "cluster.xml").write_text(CONFIG.replace("OTHERS", others))
    arguments = {**_SERVER_ARGS, "config-file": folder / "cluster.xml"}
    session = Session(f"{folder}/cluster?" + "&".join(f"{name}={value}" for name, value in arguments.items()))
    session.query("CREATE DATABASE poe")
    session.query("USE poe")
    try:
        print(json.dumps(what(session)), flush=True)
    except ChdbError as error:
        print(error, file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)  # an engine with a Keeper does not end in good order


OTHER = OtherShard()

if __name__ == "__main__":
    main()
