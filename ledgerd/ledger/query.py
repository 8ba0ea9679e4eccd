"""SQL from people: one statement that only reads, judged by the engine's own parser before it runs."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ledgerd.errors import QueryRefused
from ledgerd.store.engine import Engine

TIMEOUT_S = 60.0
JUDGE_TIMEOUT_S = 5.0
RESULT_BYTES_MAX = 256 << 20
SQL_CHARS_MAX = 1 << 20
SETTINGS: dict[str, str | int] = {
    "readonly": 1,
    "max_result_bytes": RESULT_BYTES_MAX,
    "result_overflow_mode": "throw",
}
FORMATS = (
    "PrettyCompact", "Pretty", "Vertical", "TSV", "TSVWithNames", "TabSeparated", "TabSeparatedWithNames", "CSV",
    "CSVWithNames", "JSON", "JSONCompact", "JSONEachRow", "Markdown", "XML", "Values", "Parquet", "Arrow",
    "ArrowStream", "Native", "RowBinary", "RowBinaryWithNamesAndTypes",
)  # fmt: skip
"""Output formats that need no file and no schema of their own."""

_SELECTS = {"SelectWithUnionQuery", "SelectQuery", "SelectIntersectExceptQuery"}
_READS = _SELECTS | {
    "DescribeQuery", "Explain", "ExistsTableQuery", "ExistsDatabaseQuery", "ExistsViewQuery", "ShowTables",
    "ShowColumns", "ShowIndexes", "ShowFunctions", "ShowProcesslistQuery", "ShowSetting", "ShowEngineQuery",
    "ShowCreateTableQuery", "ShowCreateViewQuery", "ShowCreateDatabaseQuery",
}  # fmt: skip
_EXPLAINS = {"EXPLAIN", "EXPLAIN AST", "EXPLAIN SYNTAX", "EXPLAIN PIPELINE", "EXPLAIN ESTIMATE", "EXPLAIN QUERY TREE"}
_TABLE_FUNCTIONS = {
    "numbers", "numbers_mt", "zeros", "zeros_mt", "primes", "generateSeries", "generate_series", "values",
    "SQLStandardValues", "null", "view", "generateRandom", "format",
}  # fmt: skip
"""Table functions that read nothing but their arguments."""
_REACHING = re.compile(
    r"(?:ai|AI)[A-Z]\w*|(?i:file|catboostEvaluate|hasColumnInTable|reverseDNSQuery|trap|logTrace|generateSerialID|"
    r"getClientHTTPHeader|showCertificate|fuzzQuery|eval|executable\w*)"
)
"""Scalar functions that read files, reach other machines, run programs or touch the server."""
_LITERAL = re.compile(r"'(?:[^'\\]|\\.)*'")
_PLAIN_TABLE = re.compile(r"\w+(\.\w+)?")
_EMBEDDED_FILES = "default"
"""The embedded engine's own database ``default`` opens files of the disk by name; ours is another one."""
_WHAT_WORKS = 'Only reading works: ledgerd sql "SELECT * FROM gold_currency_snapshot LIMIT 5"'


@dataclass(frozen=True, slots=True)
class Node:
    """One line of EXPLAIN AST: ``depth`` 0 is the statement; ``name`` follows ``kind``, without its alias."""

    depth: int
    kind: str
    name: str
    above: str
    """The kind of the node it hangs from."""


async def run_readonly(engine: Engine, sql: str, fmt: str) -> bytes:
    """The result of one reading statement in ``fmt`` (or in its own FORMAT). QueryRefused says what is wrong with it.

    The statement is parsed and written anew by the engine first (so comments and second statements are gone), then
    judged by its syntax tree, then run with ``readonly``.
    """
    if len(sql) > SQL_CHARS_MAX:
        raise QueryRefused(f"The query has {len(sql)} characters, more than {SQL_CHARS_MAX}.", _WHAT_WORKS)
    statement = await _one_statement(engine, sql)
    if "\\" in _LITERAL.sub("", statement):
        raise QueryRefused("A name holds a line break or another character written with a backslash.", _WHAT_WORKS)
    explained = await engine.rows(f"EXPLAIN AST {statement}", timeout_s=JUDGE_TIMEOUT_S, settings={"readonly": 1})
    nodes = list(_nodes([str(row[0]) for row in explained]))
    judge(nodes, is_embedded=engine.info.name == "embedded")
    for node in nodes:
        if node.depth == 1 and node.kind == "Identifier" and statement.endswith(f"\nFORMAT {node.name}"):
            statement, fmt = statement.removesuffix(f"\nFORMAT {node.name}"), node.name
    if fmt not in FORMATS:
        raise QueryRefused(f"The format {fmt[:50]!r} is not offered.", f"Use one of: {', '.join(FORMATS)}.")
    return await engine.text(statement, fmt, timeout_s=TIMEOUT_S, settings=SETTINGS)


def judge(nodes: Sequence[Node], *, is_embedded: bool) -> None:
    """Raise QueryRefused unless the statement only reads, and only what is stored here (pure).

    ``is_embedded``: the embedded engine's database ``default`` opens files by name and is refused.
    """
    if not nodes or nodes[0].kind not in _READS:
        what = nodes[0].kind.removesuffix("Query") if nodes else "Nothing"
        raise QueryRefused(f"{what} is not a statement that only reads.", _WHAT_WORKS)
    _judge_explain(nodes)
    for node in nodes:
        for reason in _offences(node, is_embedded):
            raise QueryRefused(reason, _WHAT_WORKS)


async def _one_statement(engine: Engine, sql: str) -> str:
    """``sql`` as the engine writes it; QueryRefused if it is not exactly one statement."""
    try:
        rows = await engine.rows("SELECT formatQuery({sql:String})", {"sql": sql}, timeout_s=JUDGE_TIMEOUT_S)
    except QueryRefused as error:
        message = error.message
        if "Multi-statements" in message:
            raise QueryRefused("There is more than one statement.", "Send one at a time.") from error
        raise QueryRefused(f"This is not SQL: {_first_line(message)}", _WHAT_WORKS) from error
    return str(rows[0][0])


def _first_line(message: str) -> str:
    return message.partition("\n")[0].partition(": In scope SELECT formatQuery")[0][:300]


def _nodes(lines: Sequence[str]) -> Iterator[Node]:
    """The nodes of an EXPLAIN AST, whose names hold no line breaks."""
    above: list[str] = []
    for line in lines:
        text = line.lstrip(" ")
        if not text:
            continue
        depth = len(line) - len(text)
        kind, _, rest = text.partition(" ")
        name = re.sub(r"( \(alias .*?\))?( \(children \d+\))?$", "", rest)
        above[depth:] = [kind]
        yield Node(depth, kind, name.strip(), above[depth - 1] if depth else "")


def _judge_explain(nodes: Sequence[Node]) -> None:
    """EXPLAIN only of a SELECT."""
    if nodes[0].kind != "Explain":
        return
    explained = [node for node in nodes if node.depth == 1 and node.kind != "Set"]
    if nodes[0].name not in _EXPLAINS or not explained or explained[0].kind not in _SELECTS:
        raise QueryRefused(f"{nodes[0].name} works for a SELECT only.", 'Write: ledgerd sql "EXPLAIN SELECT …"')


def _offences(node: Node, is_embedded: bool) -> Iterator[str]:
    """Why ``node`` may not stand in a statement that reads what is stored here."""
    bare = node.name.strip("`")
    match node.kind:
        case "Literal" if node.depth == 1:
            yield "INTO OUTFILE would write a file; print the result, or redirect the command's output."
        case "Set" if node.above != "Explain":
            yield "SETTINGS cannot be changed here."
        case "ColumnsApplyTransformer":
            yield "APPLY hides the function it calls; name the columns and the function."
        case "Function" if node.above == "TableExpression" and bare not in _TABLE_FUNCTIONS:
            yield f"The table function {bare} may read what is not stored here."
        case "Function" | "Identifier" if _REACHING.fullmatch(bare):
            yield f"The function {bare} reaches outside the database."
        case "TableIdentifier" if not _PLAIN_TABLE.fullmatch(bare):
            yield f"{bare[:100]!r} is no table's name."
        case "Identifier" if "/" in bare:
            yield f"{bare[:100]!r} is no column's name; write aliases without a slash."
    if is_embedded and node.kind.endswith("Identifier") and bare.partition(".")[0] == _EMBEDDED_FILES:
        yield "The database default is not ours, and holds nothing."
