"""Rows as a table: which columns the shape of a row makes, and the SQL that reads them from its JSON (pure)."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from ledgerd.store.sqltext import quoted, string

_PLAIN = {"string": "String", "number": "Float64", "integer": "Int64", "boolean": "Bool"}

_TIME = "DateTime64(3, 'UTC')"

Json = Mapping[str, Any]


@cache
def columns(shape: Any) -> dict[str, str]:  # noqa: ANN401  a TypedDict
    """Field → ClickHouse type of a row's TypedDict; objects are named tuples, nullable where null is allowed."""
    schema = TypeAdapter(shape).json_schema(mode="serialization")
    return {name: _type(each, schema.get("$defs", {})) for name, each in schema["properties"].items()}


def flat_select(described: Mapping[str, str]) -> str:
    """SELECT that reads lines of JSON in the parameter ``rows``; a field of an object is a column ``object_field``.

    Not by the table function ``format``: that is refused where a query may only read.
    """
    structure = ", ".join(f"{quoted(name)} {_as_read(kind)}" for name, kind in described.items())
    made = [column for name, kind in described.items() for column in _flat(name, kind)]
    chosen = ", ".join(f"{value} AS {quoted(column)}" for column, value in made)
    lines = "SELECT arrayJoin(splitByChar('\\n', {rows:String})) AS line"
    read = f"SELECT JSONExtract(line, {string(f'Tuple({structure})')}) AS row FROM ({lines}) WHERE line != ''"  # noqa: S608  see below
    return f"SELECT {chosen} FROM ({read})"  # noqa: S608  names and types of our own shapes


def csv_head(described: Mapping[str, str]) -> str:
    """The line of CSV that names the columns."""
    return ",".join(f'"{name}"' for name in _names(described))


def csv_select(described: Mapping[str, str]) -> str:
    """SELECT of the lines of CSV that `flat_select` has as rows: a server writes no other format into an answer."""
    chosen = ", ".join(quoted(name) for name in _names(described))
    return f"SELECT formatRowNoNewline('CSV', {chosen}) FROM ({flat_select(described)})"  # noqa: S608  as above


def _names(described: Mapping[str, str]) -> list[str]:
    return [column for name, kind in described.items() for column, _ in _flat(name, kind)]


def _flat(name: str, kind: str) -> list[tuple[str, str]]:
    """The columns a field makes, each with the SQL of its value."""
    outer = f"tupleElement(row, {string(name)})"
    if not kind.startswith("Tuple("):
        return [(name, _typed(outer, kind))]
    fields = [part.split(" ", 1) for part in _split(kind.removeprefix("Tuple(").removesuffix(")"))]
    return [(f"{name}_{inner}", _typed(f"tupleElement({outer}, {string(inner)})", each)) for inner, each in fields]


def _split(fields: str) -> list[str]:
    """The fields of a tuple: at commas outside of brackets.

    >>> _split("a DateTime64(3, 'UTC'), b String")
    ["a DateTime64(3, 'UTC')", 'b String']
    """
    return re.split(r", (?![^()]*\))", fields)


def _as_read(kind: str) -> str:
    """Times are texts in JSON."""
    return kind.replace(_TIME, "String")


def _typed(value: str, kind: str) -> str:
    return f"parseDateTime64BestEffortOrNull({value}, 3, 'UTC')" if _TIME in kind else value


def _type(schema: Json, defined: Json) -> str:
    match schema:
        case {"$ref": str(ref)}:
            kind = _type(defined[ref.rpartition("/")[2]], defined)
        case {"anyOf": [*forms]}:
            (inner,) = [_type(each, defined) for each in forms if each.get("type") != "null"]
            kind = inner if inner.startswith(("Tuple(", "Array(", "Map(")) else f"Nullable({inner})"
        case {"format": "date-time"}:
            kind = _TIME
        case {"type": "array"}:
            kind = f"Array({_type(schema['items'], defined)})"
        case {"properties": dict(fields)}:
            kind = f"Tuple({', '.join(f'{name} {_type(each, defined)}' for name, each in fields.items())})"
        case {"type": "object"}:
            kind = "Map(String, String)"
        case _:
            kind = _PLAIN[schema["type"]]
    return kind
