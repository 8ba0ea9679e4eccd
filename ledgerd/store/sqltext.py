"""Small pieces of SQL text both engines write: names, settings, the shape of an insert."""

import re
from collections.abc import Iterable, Mapping, Sequence

from ledgerd.store.engine import INSERT_SETTINGS, Row
from ledgerd.store.faults import refused

_SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LEAD = re.compile(r"(?:\s+|--[^\n]*(?:\n|$)|/\*.*?\*/)*", re.DOTALL)

_QUIET = re.compile(
    r"--[^\n]*|/\*.*?\*/|'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|`(?:[^`\\]|\\.)*`",
    re.DOTALL,
)


def quoted(name: str) -> str:
    r"""``name`` as a quoted identifier.

    >>> quoted("a`b")
    '`a\\`b`'
    """
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def string(value: str) -> str:
    r"""``value`` as a string literal.

    >>> string("it's")
    "'it\\'s'"
    """
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def set_statement(settings: Mapping[str, str | int]) -> str:
    """A SET for ``settings``; ``readonly`` goes last, since it stops the others. QueryRefused for a strange name."""
    parts = []
    for name, value in sorted(settings.items(), key=lambda item: item[0] == "readonly"):
        if not _SETTING.fullmatch(name):
            raise refused(f"{name!r} is no setting.")
        parts.append(f"{name} = {int(value) if isinstance(value, int) else string(value)}")
    return "SET " + ", ".join(parts)


def is_insert(sql: str) -> bool:
    """True if ``sql`` begins with INSERT, after comments."""
    found = _LEAD.match(sql)
    return sql[found.end() if found else 0 :][:6].upper() == "INSERT"


def is_one_statement(sql: str) -> bool:
    """False if something follows a semicolon outside quotes and comments: two answers in one cannot be told apart.

    >>> is_one_statement("SELECT ';'; -- two;"), is_one_statement("SELECT 1; SELECT 2")
    (True, False)
    """
    return ";" not in sql or ";" not in _QUIET.sub("", sql).strip().rstrip(";")


def insertable(rows: Iterable[Row], token: str) -> Sequence[Row]:
    """``rows`` as a sequence that fits one block; QueryRefused without a token or with too many rows."""
    if not token:
        raise refused("An insert needs a token, or a retry would double its rows.")
    block = rows if isinstance(rows, list | tuple) else list(rows)
    rows_max = int(INSERT_SETTINGS["max_insert_block_size"])
    if len(block) > rows_max:
        raise refused(f"{len(block)} rows do not fit one block of {rows_max}.")
    return block


def column_list(table: str, types: Mapping[str, str], columns: Sequence[str]) -> list[tuple[str, str]]:
    """(name, type) of ``columns`` by ``types``, a table's columns; QueryRefused names what is missing."""
    if not types:
        raise refused(f"There is no table {table}.", "Type `ledgerd migrate --status`.")
    missing = [name for name in columns if name not in types]
    if missing:
        raise refused(f"Table {table} has no column {', '.join(missing)}.", "Type `ledgerd migrate --status`.")
    return [(name, types[name]) for name in columns]
