"""Whether a statement only reads, and only what people may read: judged by its syntax tree (pure).

Every kind of node, function, table function and table must be on a list. Some statements do not show in their tree what
they hold (``SHOW TABLES WHERE …``): of those the text must have a plain form.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ledgerd.errors import QueryRefused
from ledgerd.spelling import nearest
from ledgerd.sql.names import INFORMATION_SCHEMA, Names
from ledgerd.sql.tree import Node

READONLY, ACCESS_DENIED = 164, 497
"""ClickHouse's error numbers."""
WHAT_WORKS = 'Only reading works: ledgerd sql "SELECT * FROM gold_currency_snapshot LIMIT 5"'

_SELECTS = {"SelectWithUnionQuery", "SelectQuery", "SelectIntersectExceptQuery"}
_TABLES = {"ExistsTableQuery", "ExistsViewQuery", "ShowCreateTableQuery", "ShowCreateViewQuery"}
_DATABASES = {"ExistsDatabaseQuery", "ShowCreateDatabaseQuery"}
_SHOWS = {"ShowTables", "ShowColumns", "ShowIndexes", "ShowFunctions", "ShowSetting", "ShowEngineQuery"}
_STATEMENTS = {*_SELECTS, "DescribeQuery", "Explain", *_TABLES, *_DATABASES, *_SHOWS}
_PARTS = {
    *_SELECTS, "ExpressionList", "Subquery", "WithElement", "TablesInSelectQuery", "TablesInSelectQueryElement",
    "TableExpression", "TableIdentifier", "TableJoin", "ArrayJoin", "SampleRatio", "OrderByElement",
    "InterpolateElement", "WindowDefinition", "WindowListElement", "Function", "Identifier", "Literal", "Asterisk",
    "QualifiedAsterisk", "ColumnsRegexpMatcher", "ColumnsListMatcher", "QualifiedColumnsRegexpMatcher",
    "QualifiedColumnsListMatcher", "ColumnsTransformerList", "ColumnsExceptTransformer", "ColumnsReplaceTransformer",
    "ColumnsReplaceTransformer::Replacement",
}  # fmt: skip
"""What a SELECT is made of. ColumnsApplyTransformer is not among them: it hides the function it calls."""
_EXPLAINS = {"EXPLAIN", "EXPLAIN AST", "EXPLAIN SYNTAX", "EXPLAIN PIPELINE", "EXPLAIN ESTIMATE", "EXPLAIN QUERY TREE"}
_IN = {"in", "notin", "globalin", "globalnotin", "nullin", "notnullin", "globalnullin", "globalnotnullin"}
_BY_NAME = {"arrayreduce", "arrayreduceinranges", "initializeaggregation"}
"""Functions that take the name of an aggregate function as text."""
_TEXT = r"'(?:[^'\\]|\\.)*'"
_QUOTED = r"`(?:[^`\\]|\\.)*`"
_NAME = rf"(?:\w+|{_QUOTED})"
_SHOW = re.compile(
    rf"SHOW (?:CHANGED |EXTENDED |FULL )*(?:(?:TABLES|DATABASES|DICTIONARIES)(?: FROM (?P<of>{_NAME}))?"
    rf"|(?:COLUMNS|INDEXES) FROM (?P<table>{_NAME})(?: FROM (?P<within>{_NAME}))?"
    rf"|FUNCTIONS|ENGINES|SETTINGS|SETTING \w+)(?: (?:NOT )?I?LIKE {_TEXT})?(?: LIMIT \d+)?",
    re.DOTALL,
)
_TOKEN = re.compile(rf"{_TEXT}|{_QUOTED}", re.DOTALL)
_TABLE = re.compile(r"\w+(\.\w+)?")
_NAME_GIVEN = re.compile(r"\{(\w+):Identifier\}")
_AGGREGATE_TEXT = re.compile(r"'(\w+)(\(.*\))?'")


def check_names(statement: str, params: Mapping[str, str]) -> None:
    """QueryRefused if a name in ``statement`` (as the engine writes it) has a character that needs a backslash.

    A line break in a name would draw lines of its own into the tree. ``params`` may give names, too.
    """
    for token in _TOKEN.finditer(statement):
        if token[0].startswith("`") and "\\" in token[0]:
            raise _refused("A name holds a line break or another character written with a backslash.")
    for given in _NAME_GIVEN.finditer(statement):
        if not re.fullmatch(r"\w*", params.get(given[1], "")):
            raise _refused(f"The parameter {given[1]} is no plain name.")


@dataclass(frozen=True, slots=True)
class Judge:
    """What statements are judged by: the functions and tables that may be named."""

    names: Names
    database: str
    """All of its tables may be read."""
    system: frozenset[str]
    """Those of the database ``system`` that may."""

    def check(self, root: Node, statement: str) -> None:
        """Raise QueryRefused unless ``statement`` (without FORMAT), whose tree is ``root``, may run."""
        if root.kind not in _STATEMENTS:
            raise _refused(f"{root.kind.removesuffix('Query')} is not a statement that only reads.", READONLY)
        for reason in self._about(root, statement):
            raise _refused(reason)
        for node, above in root.walk():
            for reason in self._offences(node, above):
                raise _refused(reason)

    def _about(self, root: Node, statement: str) -> Iterator[str]:
        """What is wrong with the statement as a whole."""
        if any(child.kind == "Literal" for child in root.children):
            yield "INTO OUTFILE would write a file; print the result, or redirect the command's output."
        plain = [child.name for child in root.children]
        if root.kind == "Explain":
            explained = next((child.kind for child in root.children if child.kind != "Set"), "")
            if root.name not in _EXPLAINS or explained not in _SELECTS:
                yield f"{root.name} works for a SELECT only."
        elif root.kind in _TABLES:
            yield from self._table(".".join(plain))
        elif root.kind in _DATABASES:
            yield from self._database(*plain)
        elif root.kind in _SHOWS:
            shown = _SHOW.fullmatch(statement)
            if not shown:
                yield "SHOW takes FROM, LIKE and LIMIT with a number here; ask the tables of system for more."
            else:
                yield from self._database(*(name.strip("`") for name in shown.group("of", "within") if name))

    def _offences(self, node: Node, above: Node) -> Iterator[str]:
        """Why ``node``, which hangs from ``above``, may not stand in a statement."""
        match node.kind:
            case "Function" if above.kind == "TableExpression":
                yield from self._table_function(node)
            case "Function":
                yield from self._function(node)
            case "TableIdentifier":
                yield from self._table(node.name)
            case "TableExpression" if above.kind == "DescribeQuery" and node.children[0].kind == "Function":
                yield "DESCRIBE works for tables and SELECTs, not for table functions."
            case "Set":
                if above.kind != "Explain":
                    yield "SETTINGS cannot be changed here."
            case "ColumnsApplyTransformer":
                yield "APPLY hides the function it calls; name the columns and the function."
            case kind if kind not in _PARTS:
                yield f"{kind} is not offered here."

    def _table_function(self, node: Node) -> Iterator[str]:
        if node.name not in self.names.tables:
            offered = ", ".join(sorted(self.names.tables))
            yield f"The table function {_short(node.name)} is not offered, for what it may read. Offered are {offered}."

    def _function(self, node: Node) -> Iterator[str]:
        low = node.name.lower()
        arguments = node.arguments()
        if not self.names.has(node.name):
            near = nearest(low, self.names.plain | self.names.taking_functions | self.names.aggregates)
            hint = f" Maybe you meant: {', '.join(near)}." if near else ""
            yield f"The function {_short(node.name)} is not offered, or there is none.{hint}"
        elif low in self.names.taking_functions and len(arguments) > 1 and arguments[0].kind == "Identifier":
            if not self.names.has_plain(arguments[0].name):
                yield f"{_short(arguments[0].name)} is no function {node.name} may be given; write x -> … instead."
        elif low in _IN and len(arguments) > 1 and arguments[1].kind == "Identifier":
            yield from self._table(arguments[1].name)
        elif low in _BY_NAME:
            named = _AGGREGATE_TEXT.fullmatch(arguments[0].name) if arguments and arguments[0].is_text() else None
            if not named or not self.names.has_aggregate(named[1]):
                yield f"{node.name} takes the name of an aggregate function, written out, such as 'sum'."

    def _table(self, name: str) -> Iterator[str]:
        database, _, table = name.rpartition(".")
        if not _TABLE.fullmatch(name):
            yield f"{_short(name)!r} is no table's name."
        elif database == "system" and table not in self.system:
            yield f"The table {_short(name)} is not offered: only those that describe tables, types and functions are."
        elif database:
            yield from self._database(database)

    def _database(self, *names: str) -> Iterator[str]:
        for name in names:
            if name not in {self.database, "system", *INFORMATION_SCHEMA}:
                yield f"The database {_short(name)} is not offered; the tables are in {self.database}."


def _short(name: str) -> str:
    return name if len(name) <= 100 else f"{name[:99]}…"  # noqa: PLR2004 -- as long as a message can bear


def _refused(message: str, code: int = ACCESS_DENIED) -> QueryRefused:
    error = QueryRefused(message, WHAT_WORKS)
    error.code = code
    return error
