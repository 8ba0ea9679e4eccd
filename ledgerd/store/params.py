"""Query parameters as the texts ClickHouse parses for ``{name:Type}`` placeholders.

The engine reads a scalar as an escaped TSV field and the inside of an Array, Map or Tuple as quoted SQL; it wraps an
integer that is too large for its type, so the range is checked here.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from ledgerd.store.chtype import ChType, parse_type, tuple_fields
from ledgerd.store.rowbinary import EPOCH_DAY, EXACT, check, datetime_ticks, decimal_ticks

_PLACEHOLDER = re.compile(r"\{\s*([A-Za-z_]\w*)\s*:\s*([^{}]+?)\s*\}")
_ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\\0", "\b": "\\b", "\f": "\\f", "'": "\\'"}
_WRAPPERS = {"LowCardinality", "Nullable"}
_UNIX_DIGITS = 10
"""A DateTime shorter than this many digits is not read as unix seconds."""


def placeholders(sql: str) -> dict[str, str]:
    """The names and types of the placeholders in ``sql``.

    >>> placeholders("SELECT {league:String}, {n: UInt8}")
    {'league': 'String', 'n': 'UInt8'}
    """
    return {found[1]: found[2] for found in _PLACEHOLDER.finditer(sql)}


def literals(sql: str, params: Mapping[str, Any] | None) -> dict[str, str]:
    """``params`` as texts for the placeholders ``sql`` has; ValueError names the one that does not fit its type."""
    if not params:
        return {}
    texts = {}
    for name, type_name in placeholders(sql).items():
        if name not in params:
            continue
        try:
            texts[name] = literal(type_name, params[name])
        except ValueError as error:
            raise ValueError(f"parameter {name}: {error}") from error
    return texts


def literal(type_name: str, value: Any) -> str:  # noqa: ANN401 -- any Python value may be offered
    r"""``value`` as the engine reads it for a placeholder of ``type_name``; ValueError if it does not fit.

    >>> literal("Array(String)", ["it's"]), literal("String", "tab\t")
    ("['it\\'s']", 'tab\\t')
    """
    if type_name == "Identifier":
        return str(value)
    check(type_name, value)
    if value is None:
        return "\\N"
    text, is_quoted = _render(parse_type(type_name), value)
    return text.replace("\\'", "'") if is_quoted else text


def _render(kind: ChType, value: Any) -> tuple[str, bool]:  # noqa: ANN401 -- any Python value may be offered
    """The text of a value that fits, and whether SQL puts it between quotes."""
    if kind.name in _WRAPPERS:
        return _render(parse_type(kind.args[0]), value)
    if kind.name in _CONTAINERS:
        return _CONTAINERS[kind.name](kind.args, value), False
    if kind.name in _SCALARS:
        return _SCALARS[kind.name](kind.args, value), kind.name != "Decimal"
    if isinstance(value, str | bytes):
        return _escaped(value), True
    if isinstance(value, bool):
        return str(value).lower(), False
    return str(value), not isinstance(value, int | float)


def _nested(type_name: str, value: Any) -> str:  # noqa: ANN401 -- any Python value may be offered
    if value is None:
        return "NULL"
    text, is_quoted = _render(parse_type(type_name), value)
    return f"'{text}'" if is_quoted else text


def _array(args: tuple[str, ...], values: Iterable[Any]) -> str:
    return _joined("[]", (_nested(args[0], item) for item in values))


def _map(args: tuple[str, ...], values: Mapping[Any, Any]) -> str:
    return _joined("{}", (f"{_nested(args[0], key)}:{_nested(args[1], item)}" for key, item in values.items()))


def _tuple(args: tuple[str, ...], values: Any) -> str:  # noqa: ANN401 -- a sequence or a mapping
    fields = tuple_fields(args)
    items = [values[name] for name, _ in fields] if isinstance(values, Mapping) else values
    return _joined("()", (_nested(inner, item) for (_, inner), item in zip(fields, items, strict=True)))


def _joined(brackets: str, parts: Iterable[str]) -> str:
    return f"{brackets[0]}{','.join(parts)}{brackets[1]}"


def _datetime(_args: tuple[str, ...], value: datetime | float) -> str:
    return f"{datetime_ticks(value, 0):0{_UNIX_DIGITS}d}"


def _datetime64(args: tuple[str, ...], value: datetime | float) -> str:
    digits = int(args[0])
    ticks = datetime_ticks(value, digits)
    whole, rest = divmod(abs(ticks), 10**digits)
    return f"{'-' if ticks < 0 else ''}{whole:0{_UNIX_DIGITS}d}" + (f".{rest:0{digits}d}" if digits else "")


def _date(_args: tuple[str, ...], value: date | int) -> str:
    return (value if isinstance(value, date) else EPOCH_DAY + timedelta(days=value)).isoformat()


def _decimal(args: tuple[str, ...], value: Decimal | float | str) -> str:
    precision, scale = int(args[0]), int(args[1])
    return f"{Decimal(decimal_ticks(value, precision, scale)).scaleb(-scale, EXACT):f}"


def _escaped(value: str | bytes) -> str:
    """``value`` with TSV escapes and an escaped quote; bytes that are not UTF-8 go in hexadecimal."""
    if isinstance(value, str):
        return "".join(_ESCAPES.get(char, char) for char in value)
    try:
        return _escaped(value.decode())
    except UnicodeDecodeError:
        return "".join(f"\\x{byte:02X}" for byte in value)


_CONTAINERS: dict[str, Callable[[tuple[str, ...], Any], str]] = {"Array": _array, "Map": _map, "Tuple": _tuple}
_SCALARS: dict[str, Callable[[tuple[str, ...], Any], str]] = {
    "DateTime": _datetime,
    "DateTime64": _datetime64,
    "Date": _date,
    "Date32": _date,
    "Decimal": _decimal,
}
