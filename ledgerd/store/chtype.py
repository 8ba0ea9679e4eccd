"""ClickHouse type names taken apart: ``Map(String, Array(Nullable(UInt8)))`` as a tree."""

import re
from dataclasses import dataclass
from functools import lru_cache

_NAME = re.compile(r"\s*([A-Za-z_]\w*)\s*")
_ENUM_ITEM = re.compile(r"\s*'((?:[^'\\]|\\.|'')*)'\s*=\s*(-?\d+)\s*", re.DOTALL)
_FIELD = re.compile(r"\s*(`(?:[^`\\]|\\.)+`|[A-Za-z_]\w*)\s+(?=\S)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "b": "\b", "f": "\f", "a": "\a", "v": "\v"}


@dataclass(frozen=True, slots=True)
class ChType:
    """``name`` without its brackets; ``args`` the texts between the outer commas, stripped."""

    name: str
    args: tuple[str, ...] = ()


@lru_cache(maxsize=4096)
def parse_type(text: str) -> ChType:
    """``text`` as name and arguments; ValueError if it is no type name.

    >>> parse_type("Map(String, Array(UInt8))")
    ChType(name='Map', args=('String', 'Array(UInt8)'))
    """
    found = _NAME.match(text)
    if found is None:
        raise ValueError(f"not a ClickHouse type: {text!r}")
    rest = text[found.end() :].strip()
    if not rest:
        return ChType(found[1])
    if not (rest.startswith("(") and rest.endswith(")")):
        raise ValueError(f"not a ClickHouse type: {text!r}")
    return ChType(found[1], tuple(split_args(rest[1:-1])))


def split_args(text: str) -> list[str]:
    """The parts of ``text`` between commas outside brackets and quotes.

    >>> split_args("a Tuple(x UInt8, y UInt8), 'b,c'")
    ['a Tuple(x UInt8, y UInt8)', "'b,c'"]
    """
    parts: list[str] = []
    depth, quote, start, i = 0, "", 0, 0
    while i < len(text):
        char = text[i]
        if quote:
            i += char == "\\"
            quote = "" if char == quote else quote
        elif char in "'`":
            quote = char
        elif char in "()":
            depth += 1 if char == "(" else -1
        elif char == "," and depth == 0:
            parts.append(text[start:i].strip())
            start = i + 1
        i += 1
    last = text[start:].strip()
    return [*parts, last] if last else parts


def tuple_fields(args: tuple[str, ...]) -> list[tuple[str, str]]:
    """The (name, type) pairs of a Tuple's arguments; the name is empty where the tuple gives none.

    >>> tuple_fields(("a UInt8", "Array(String)"))
    [('a', 'UInt8'), ('', 'Array(String)')]
    """
    fields = []
    for arg in args:
        named = _FIELD.match(arg)
        fields.append((named[1].strip("`"), arg[named.end() :]) if named else ("", arg))
    return fields


def enum_values(args: tuple[str, ...]) -> dict[str, int]:
    r"""The names and numbers of an Enum8 or Enum16.

    >>> enum_values(("'sell' = 1", "'it\\'s' = -2"))
    {'sell': 1, "it's": -2}
    """
    values = {}
    for arg in args:
        item = _ENUM_ITEM.fullmatch(arg)
        if item is None:
            raise ValueError(f"not an Enum value: {arg!r}")
        values[unquote(item[1])] = int(item[2])
    return values


def unquote(text: str) -> str:
    """The inside of a quoted ClickHouse literal with its escapes undone."""
    return re.sub(r"\\(.)|''", lambda m: _ESCAPES.get(m[1], m[1]) if m[1] else "'", text, flags=re.DOTALL)
