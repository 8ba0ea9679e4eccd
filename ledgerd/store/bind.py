"""Query parameters written into the SQL itself, for a server that is asked through a client without parameters.

asynch 0.4.0 speaks a revision of the protocol that is older than query parameters (54453; they came with 54459). So
each ``{name:Type}`` becomes ``_CAST(literal, 'Type')``, which is what the server would have made of it.
"""

import re
from collections.abc import Mapping
from typing import Any

from ledgerd.store.chtype import parse_type, tuple_fields
from ledgerd.store.params import literal
from ledgerd.store.rowbinary import check, datetime_ticks
from ledgerd.store.sqltext import quoted, string

_PIECE = re.compile(
    r"""--[^\n]*|/\*.*?\*/|'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`(?:[^`\\]|\\.)*`
      | \{\s*(?P<name>[A-Za-z_]\w*)\s*:\s*(?P<type>[^{}]+?)\s*\}""",
    re.DOTALL | re.VERBOSE,
)


def bound(sql: str, params: Mapping[str, Any] | None) -> str:
    """``sql`` with every placeholder filled; those in quotes and comments stay. ValueError names what does not fit.

    >>> bound("SELECT {n:UInt8}, '{n:UInt8}'", {"n": 3})
    "SELECT _CAST('3', 'UInt8'), '{n:UInt8}'"
    """

    def fill(piece: re.Match[str]) -> str:
        name, type_name = piece["name"], piece["type"]
        if name is None:
            return piece[0]
        if name not in (params or {}):
            raise ValueError(f"Substitution {name} is not set")
        try:
            return expression(type_name, (params or {})[name])
        except ValueError as error:
            raise ValueError(f"parameter {name}: {error}") from error

    return _PIECE.sub(fill, sql)


def expression(type_name: str, value: Any) -> str:  # noqa: ANN401 -- any Python value may be offered
    r"""``value`` as a SQL expression of ``type_name``; ValueError if it does not fit.

    >>> expression("Array(String)", ["it's"])
    "_CAST(['it\\'s'], 'Array(String)')"
    """
    if type_name == "Identifier":
        return quoted(str(value))
    check(type_name, value)
    return f"_CAST({_piece(type_name, value)}, {string(type_name)})"


def _piece(type_name: str, value: Any) -> str:  # noqa: ANN401 -- any Python value may be offered
    """A literal the engine casts to ``type_name``: a number for a point in time, whose text it may read in two ways."""
    if value is None:
        return "NULL"
    kind = parse_type(type_name)
    match kind.name:
        case "LowCardinality" | "Nullable":
            text = _piece(kind.args[0], value)
        case "Array":
            text = f"[{', '.join(_piece(kind.args[0], item) for item in value)}]"
        case "Map":
            pairs = (f"{_piece(kind.args[0], key)}, {_piece(kind.args[1], item)}" for key, item in value.items())
            text = f"map({', '.join(pairs)})"
        case "Tuple":
            fields = tuple_fields(kind.args)
            items = [value[name] for name, _ in fields] if isinstance(value, Mapping) else value
            inner = (_piece(field_type, item) for (_, field_type), item in zip(fields, items, strict=True))
            text = f"tuple({', '.join(inner)})"
        case "DateTime":
            text = str(datetime_ticks(value, 0))
        case "DateTime64":
            ticks = datetime_ticks(value, int(kind.args[0]))
            text = f"reinterpret(_CAST('{ticks}', 'Int64'), 'DateTime64({kind.args[0]})')"
        case _:
            text = "'" + literal(type_name, value).replace("'", "\\'") + "'"
    return text
