"""What migrations are and which of them to run: files into statements, states and plans; no database is touched."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.abc import Traversable
from typing import Literal

from ledgerd.errors import MigrationRefused, SchemaNewer
from ledgerd.store.cluster import preamble, render

State = Literal["applied", "pending", "changed"]

TABLE = "poe_schema_migrations"
CREATE_TABLE = f"""CREATE TABLE IF NOT EXISTS {TABLE} (
    version UInt32,
    name String,
    checksum FixedString(64),
    statements UInt32,
    started_at DateTime64(3, 'UTC'),
    applied_at DateTime64(3, 'UTC')
) ENGINE = MergeTree ORDER BY version
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Which migrations this database has taken; a row is written when the last statement has run.'"""

_FILE = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_PIECE = re.compile(
    r"""(?P<comment>--[^\n]*|/\*.*?\*/)
      | (?P<quoted>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`(?:[^`\\]|\\.)*`)
      | (?P<end>;[ \t]*(?=--|\n|\r|$))
      | (?P<other>[^'"`;/-]+|.)""",
    re.DOTALL | re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: ``version`` and ``name`` from its name, ``checksum`` the SHA-256 of its bytes in hexadecimal."""

    version: int
    name: str
    checksum: str
    statements: tuple[str, ...]

    @property
    def label(self) -> str:
        """Its file's name without the ending."""
        return f"{self.version:04d}_{self.name}"


@dataclass(frozen=True, slots=True)
class MigrationStatus:
    """Where one migration stands; ``changed``: applied, but its file is another one now."""

    version: int
    name: str
    state: State


def parse(file_name: str, content: bytes) -> Migration:
    """The migration in ``content``; ValueError for a name that is not NNNN_name.sql or a file without statements."""
    found = _FILE.fullmatch(file_name)
    if found is None:
        raise ValueError(f"{file_name} is not called NNNN_name.sql")
    statements = tuple(split_statements(content.decode()))
    if not statements:
        raise ValueError(f"{file_name} holds no statement")
    return Migration(int(found[1]), found[2], hashlib.sha256(content).hexdigest(), statements)


def load_migrations(folder: Traversable) -> list[Migration]:
    """Every ``*.sql`` of ``folder`` in order; ValueError if two share a number or one is missing between others."""
    found = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    migrations = [parse(file.name, file.read_bytes()) for file in found]
    for expected, migration in enumerate(migrations, 1):
        if migration.version != expected:
            raise ValueError(f"migration {migration.label} stands where number {expected} is expected")
    return migrations


def split_statements(text: str) -> list[str]:
    r"""The statements of ``text``, which end with a semicolon at the end of a line; comments around them are dropped.

    >>> split_statements("SELECT ';';\n-- a; b\nSELECT 2;")
    ["SELECT ';'", 'SELECT 2']
    """
    statements: list[str] = []
    current: list[str] = []
    has_code = False
    for piece in _PIECE.finditer(text):
        if piece.lastgroup == "end":
            statements += ["".join(current).strip()] if has_code else []
            current, has_code = [], False
        elif piece.lastgroup != "comment":
            current.append(piece[0])
            has_code = has_code or not piece[0].isspace()
        elif has_code:
            current.append(piece[0])
    return [*statements, "".join(current).strip()] if has_code else statements


def states(migrations: Sequence[Migration], applied: Mapping[int, str]) -> list[MigrationStatus]:
    """Each migration's state; ``applied``: version to checksum, as the database has them.

    SchemaNewer if the database has taken a migration these files do not have.
    """
    unknown = sorted(set(applied) - {migration.version for migration in migrations})
    if unknown:
        raise SchemaNewer(
            f"The database has taken migration {unknown[-1]:04d}, which this ledgerd does not know.",
            "Type `pip install -U ledgerd`.",
        )
    return [MigrationStatus(one.version, one.name, _state(one, applied)) for one in migrations]


def _state(migration: Migration, applied: Mapping[int, str]) -> State:
    if migration.version not in applied:
        return "pending"
    return "applied" if applied[migration.version] == migration.checksum else "changed"


def plan(migrations: Sequence[Migration], applied: Mapping[int, str]) -> list[Migration]:
    """The migrations to run, in order. SchemaNewer as ``states``; MigrationRefused if an applied one was edited."""
    known = states(migrations, applied)
    changed = [f"{one.version:04d}_{one.name}" for one in known if one.state == "changed"]
    if changed:
        raise MigrationRefused(
            f"Migration {', '.join(changed)} was applied to this database with another content than its file has now.",
            "Migrations are never edited: restore the file, or type `pip install --force-reinstall ledgerd`.",
        )
    pending = {one.version for one in known if one.state == "pending"}
    return [one for one in migrations if one.version in pending]


def script(migrations: Sequence[Migration], cluster: str = "", database: str = "") -> str:
    """The SQL that ``migrations`` would run, as one text to read or to pipe into a client; empty if there are none.

    ``cluster``, ``database``: as for `ledgerd.store.cluster.render`; the book of migrations comes first there.
    """
    parts = []
    if cluster and migrations:
        parts.append("-- the database and its book of migrations")
        parts.extend(f"{statement};" for statement in opening(cluster, database))
    for migration in migrations:
        parts.append(f"-- {migration.label} (sha256 {migration.checksum})")
        parts.extend(f"{each};" for statement in migration.statements for each in render(statement, cluster, database))
    return "\n".join(parts) + "\n" if parts else ""


def opening(cluster: str, database: str) -> list[str]:
    """What runs before the first migration: the table they are written down in; on a cluster the database, too."""
    return [*preamble(cluster, database), *render(CREATE_TABLE, cluster, database)]
