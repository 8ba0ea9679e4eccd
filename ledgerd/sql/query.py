"""SQL from people: one statement that only reads, judged by the engine's own parser before it runs."""

from collections.abc import Mapping
from dataclasses import dataclass

from ledgerd.errors import QueryRefused
from ledgerd.sql.judge import READONLY, WHAT_WORKS, Judge, check_names
from ledgerd.sql.names import OPERATORS_TABLES, SYSTEM_TABLES, load_names
from ledgerd.sql.tree import parse_tree
from ledgerd.store.engine import Engine, Settings

TIMEOUT_S = 60.0
JUDGE_TIMEOUT_S = 5.0
RESULT_BYTES_MAX = 256 << 20
SQL_CHARS_MAX = 1 << 20
SYNTAX_ERROR, UNKNOWN_FORMAT, UNKNOWN_DATABASE = 62, 73, 81
"""ClickHouse's error numbers."""
SETTINGS: dict[str, str | int] = {"max_result_bytes": RESULT_BYTES_MAX, "result_overflow_mode": "throw"}
FORMATS = (
    "PrettyCompact", "Pretty", "Vertical", "TSV", "TSVWithNames", "TSVWithNamesAndTypes", "TSVRaw", "TabSeparated",
    "TabSeparatedWithNames", "TabSeparatedWithNamesAndTypes", "TabSeparatedRaw", "CSV", "CSVWithNames",
    "CSVWithNamesAndTypes", "JSON", "JSONStrings", "JSONCompact", "JSONCompactStrings", "JSONColumns",
    "JSONColumnsWithMetadata", "JSONEachRow", "JSONStringsEachRow", "JSONCompactEachRow",
    "JSONCompactEachRowWithNames", "JSONCompactEachRowWithNamesAndTypes", "JSONCompactStringsEachRow",
    "JSONCompactStringsEachRowWithNamesAndTypes", "JSONLines", "NDJSON", "Markdown", "XML", "Values", "Null",
    "Parquet", "Arrow", "ArrowStream", "Native", "RowBinary", "RowBinaryWithNames", "RowBinaryWithNamesAndTypes",
)  # fmt: skip
"""Output formats that need no file and no schema of their own."""
NONE: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Result:
    """What a statement gave: ``body`` in the format ``fmt``."""

    body: bytes
    fmt: str


async def run_readonly(engine: Engine, sql: str, fmt: str) -> bytes:
    """What an operator's reading statement gives, in ``fmt`` or in its own FORMAT; errors as of `read`."""
    return (await read(engine, sql, fmt, settings=SETTINGS, timeout_s=TIMEOUT_S, system=OPERATORS_TABLES)).body


async def read(
    engine: Engine,
    sql: str,
    fmt: str,
    params: Mapping[str, str] = NONE,
    *,
    settings: Settings,
    timeout_s: float,
    database: str = "",
    system: frozenset[str] = SYSTEM_TABLES,
) -> Result:
    """The result of one reading statement within ``timeout_s``, in ``fmt`` or in its own FORMAT.

    The statement is parsed and written anew by the engine first (so comments and second statements are gone), then
    judged by its syntax tree, then run with ``readonly``. ``params``: texts for its ``{name:Type}``, as the engine
    takes them over HTTP; they are in force when it is judged, too, so that what is judged is what runs. ``database``:
    the one the client believes to be in. ``system``: the tables of that database which may be read, too. QueryRefused
    or StoreUnavailable with ClickHouse's number as ``code``.
    """
    if len(sql) > SQL_CHARS_MAX:
        raise _refused(f"The query has {len(sql)} characters, more than {SQL_CHARS_MAX}.", SYNTAX_ERROR)
    given = {f"param_{name}": text for name, text in params.items()}
    statement, ours = await _one_statement(engine, sql)
    if database not in {"", ours}:
        raise _refused(f"There is no database {database[:50]!r} here; name {ours}, or none.", UNKNOWN_DATABASE)
    check_names(statement, params)
    explained = await engine.rows(f"EXPLAIN AST {statement}", timeout_s=JUDGE_TIMEOUT_S, settings=given)
    try:
        tree = parse_tree([str(row[0]) for row in explained])
    except ValueError as error:
        raise _refused("Nothing is not a statement that only reads.", READONLY) from error
    last = tree.children[-1] if tree.children else tree
    if last.kind == "Identifier" and statement.endswith(f"\nFORMAT {last.name}"):
        statement, fmt = statement.removesuffix(f"\nFORMAT {last.name}"), last.name
        tree.children.pop()
    Judge(load_names(), ours, system).check(tree, statement)
    if fmt not in FORMATS:
        raise _refused(f"The format {fmt[:50]!r} is not offered. Use one of: {', '.join(FORMATS)}.", UNKNOWN_FORMAT)
    body = await engine.text(statement, fmt, timeout_s=timeout_s, settings={**settings, **given, "readonly": 1})
    return Result(body, fmt)


async def _one_statement(engine: Engine, sql: str) -> tuple[str, str]:
    """``sql`` as the engine writes it, and the database it reads; QueryRefused if it is not exactly one statement."""
    ask = "SELECT formatQuery({sql:String}), currentDatabase()"
    try:
        [(statement, database)] = await engine.rows(ask, {"sql": sql}, timeout_s=JUDGE_TIMEOUT_S)
    except QueryRefused as error:
        if "Multi-statements" in error.message:
            raise _refused("There is more than one statement; send one at a time.", SYNTAX_ERROR) from error
        raise _refused(f"This is not SQL: {_first_line(error.message)}", error.code or SYNTAX_ERROR) from error
    return str(statement), str(database)


def _first_line(message: str) -> str:
    return message.partition("\n")[0].partition(": In scope SELECT formatQuery")[0][:300]


def _refused(message: str, code: int) -> QueryRefused:
    error = QueryRefused(message, WHAT_WORKS)
    error.code = code
    return error
