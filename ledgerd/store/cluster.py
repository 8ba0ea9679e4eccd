"""The schema's statements as a cluster is to run them: which table is whole on every node, which is spread over shards.

Migrations are written for one server. Here each becomes what gives the same tables, under the same names, on a cluster:

* **Whole**: every table of MergeTree but those below, as one Replicated table whose path in Keeper knows no shard, so
  that each node of each shard holds all its rows, and queries, joins and FINAL mean what they mean on one server.
* **Sharded**: the tables of ``SHARD_KEYS``. The rows are in ``<name>_local``, replicated within their shard; the name
  itself is a Distributed table over those, through which everybody reads and writes.
* **Doors**: the Null tables and views named ``landing_…``, which hold nothing: each node has its own.
* **Views** that only select: each node has its own, too.

The servers' macros ``shard`` and ``replica`` name each node; ``database`` and ``table`` in a path are ClickHouse's own.
"""

import re

from ledgerd.errors import MigrationRefused
from ledgerd.store.sqltext import quoted, string

SHARD_KEYS = {"bronze_raw_stashes": "sipHash64(stash_id)"}
"""What is too much for each node, and what keeps a stash, with all that ever happened to it, on one shard."""
DOOR = "landing_"
"""Begins the name of what holds no rows: a door to bronze, or one of its views."""
WINDOW_S = 30 * 86_400
"""How long Keeper remembers tokens, within the window's number: longer than a batch waits for its servers to be back.
ClickHouse's default is an hour, and a batch that is sent again after a longer outage would be stored twice."""

_CREATE_TABLE = re.compile(r"CREATE TABLE IF NOT EXISTS (\w+)(?=\s*\()")
_CREATE_DOOR = re.compile(r"CREATE MATERIALIZED VIEW IF NOT EXISTS (\w+)(?= TO \w+ AS\s)")
_CREATE_VIEW = re.compile(r"CREATE VIEW IF NOT EXISTS \w+(?= AS\s)")
_INSERT = re.compile(r"INSERT INTO (\w+)\s+SELECT\s")
_DROP = re.compile(r"DROP (TABLE|VIEW) IF EXISTS (\w+)")
_ALTER = re.compile(r"ALTER TABLE (\w+)\s+(?=(\w+ \w+))")
_ENGINE = re.compile(r"\bENGINE = (\w+)(?:\(([^()]*)\))?")
_WINDOW = re.compile(r"\bnon_replicated_deduplication_window = (\d+)")
_OF_COLUMNS = {"ADD COLUMN", "DROP COLUMN", "MODIFY COLUMN", "RENAME COLUMN", "COMMENT COLUMN"}
"""What is done to a sharded table and to the Distributed one before it."""
_OF_ROWS = {"DROP PARTITION", "MODIFY TTL", "REMOVE TTL", "MODIFY SETTING"}
"""What is done to a sharded table alone: the Distributed one has no rows, parts or settings of that kind."""


def stored_as(table: str, cluster: str) -> str:
    """The table that holds the rows of ``table``, as system.parts and system.tables name it; ``cluster`` may be empty.

    >>> stored_as("bronze_raw_stashes", "main"), stored_as("bronze_raw_stashes", ""), stored_as("etl_runs", "main")
    ('bronze_raw_stashes_local', 'bronze_raw_stashes', 'etl_runs')
    """
    return f"{table}_local" if cluster and table in SHARD_KEYS else table


def preamble(cluster: str, database: str) -> list[str]:
    """What comes before all migrations: the database on every node; nothing without a cluster."""
    return [f"CREATE DATABASE IF NOT EXISTS {quoted(database)}{_on(cluster)}"] if cluster else []


def render(statement: str, cluster: str, database: str) -> list[str]:
    """``statement`` as ``cluster`` runs it, in order; as it is if ``cluster`` is empty.

    ``database``: the one the tables are in. Each may run twice, as ``statement`` may. MigrationRefused: a form of
    statement, or an engine, that nobody has said what a cluster makes of.
    """
    if not cluster:
        return [statement]
    if found := _CREATE_TABLE.match(statement):
        return _create_table(statement, found, cluster, database)
    if found := _CREATE_DOOR.match(statement):
        _must_be_door(found[1], statement)
    if found or (found := _CREATE_VIEW.match(statement)):
        return [f"{found[0]}{_on(cluster)}{statement[found.end() :]}"]
    if (found := _INSERT.match(statement)) and stored_as(found[1], cluster) == found[1]:
        return [statement]  # once: its replicas copy it
    if found := _DROP.fullmatch(statement):
        names = [found[2], stored_as(found[2], cluster)]
        return [f"DROP {found[1]} IF EXISTS {name}{_on(cluster)} SYNC" for name in dict.fromkeys(names)]
    if found := _ALTER.match(statement):
        return _alter(statement, found, cluster)
    raise _refused("a statement of this form", statement)


def _create_table(statement: str, found: re.Match[str], cluster: str, database: str) -> list[str]:
    name = found[1]
    engine = _ENGINE.search(statement)
    if engine and engine[1] == "Null":
        _must_be_door(name, statement)
        return [f"{found[0]}{_on(cluster)}{statement[found.end() :]}"]
    if engine is None or not engine[1].endswith("MergeTree") or engine[1].startswith("Replicated"):
        raise _refused("a table of this engine", statement)
    local = stored_as(name, cluster)
    columns, rest = statement[found.end() : engine.start()], _with_window(statement[engine.end() :])
    clause = _replicated(engine, is_whole=local == name)
    made = [f"CREATE TABLE IF NOT EXISTS {local}{_on(cluster)}{columns}{clause}{rest}"]
    if local != name:
        target = ", ".join([string(cluster), string(database), string(local), SHARD_KEYS[name]])
        made.append(f"CREATE TABLE IF NOT EXISTS {name}{_on(cluster)} AS {local}\nENGINE = Distributed({target})")
    return made


def _replicated(engine: re.Match[str], *, is_whole: bool) -> str:
    """The engine clause with where its replicas meet; on a whole table the shards are replicas, too."""
    path, replica = ("", "{shard}-{replica}") if is_whole else ("/{shard}", "{replica}")
    arguments = [f"'/clickhouse/tables/{{database}}/{{table}}{path}'", f"'{replica}'", *filter(None, [engine[2]])]
    return f"ENGINE = Replicated{engine[1]}({', '.join(arguments)})"


def _with_window(rest: str) -> str:
    """``rest``, all behind the engine, with as many tokens remembered as before; none where there were none."""
    wanted = rf"replicated_deduplication_window = \1, replicated_deduplication_window_seconds = {WINDOW_S}"
    asked, count = _WINDOW.subn(wanted, rest)
    if count:
        return asked
    head, has_settings, tail = rest.partition("\nSETTINGS ")
    return f"{head}\nSETTINGS replicated_deduplication_window = 0{', ' if has_settings else ''}{tail}"


def _alter(statement: str, found: re.Match[str], cluster: str) -> list[str]:
    name, action = found[1], found[2]
    rest = statement[found.end() :]
    if name.startswith(DOOR):
        return [f"ALTER TABLE {name}{_on(cluster)} {rest}"]
    if action not in _OF_COLUMNS | _OF_ROWS:
        raise _refused("a change of this kind", statement)
    local = stored_as(name, cluster)
    if local == name:
        return [statement]  # Keeper carries it to every node
    names = [local, name] if action in _OF_COLUMNS else [local]
    return [f"ALTER TABLE {each}{_on(cluster)} {rest}" for each in names]


def _on(cluster: str) -> str:
    return f" ON CLUSTER {quoted(cluster)}"


def _must_be_door(name: str, statement: str) -> None:
    if not name.startswith(DOOR):
        raise _refused(f"a view or Null table whose name does not begin with {DOOR}", statement)


def _refused(what: str, statement: str) -> MigrationRefused:
    begins = " ".join(statement.split())[:80]
    return MigrationRefused(
        f"This version cannot run {what} on a cluster: {begins} …",
        "Leave clickhouse.cluster empty, or use a version that can, then: ledgerd check-config",
    )
