"""ClickHouse's RowBinary in pure Python: rows to bytes, and RowBinaryWithNamesAndTypes back to rows.

The format: https://clickhouse.com/docs/interfaces/formats/RowBinary. Values in and out, by type:

    String, FixedString     str out when the bytes are UTF-8, else the bytes themselves (nothing is ever replaced);
                            str or bytes in. FixedString keeps its trailing NULs.
    (U)Int8..256            int; out of range is a ValueError, never a wrap
    Float32, Float64, Bool  float, float, bool
    Date, Date32            date; days since 1970 in, too
    DateTime, DateTime64    aware UTC datetime (DateTime64 past microseconds is cut); unix seconds in, too, rounded down
    Decimal                 Decimal; int, str and float in, too, rounded half to even
    Enum8, Enum16           str; its number in, too
    Array, Tuple, Map       list, tuple, dict; a named Tuple takes a mapping, too
    Nullable                None or the value
    UUID                    uuid.UUID; str in, too
"""

import math
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from functools import lru_cache
from itertools import chain
from typing import Any
from uuid import UUID

from ledgerd.store.chtype import enum_values, parse_type, tuple_fields

Encode = Callable[[Any], bytes]

CHUNK_ROWS = 2048
"""Rows encoded before bytes are handed on."""

FIXED = {
    "UInt8": "<B",
    "UInt16": "<H",
    "UInt32": "<I",
    "UInt64": "<Q",
    "Int8": "<b",
    "Int16": "<h",
    "Int32": "<i",
    "Int64": "<q",
    "Float32": "<f",
    "Float64": "<d",
}
"""Struct formats of the types that Python's struct knows."""
WIDE = {"UInt128": (16, False), "UInt256": (32, False), "Int128": (16, True), "Int256": (32, True)}
"""(bytes, signed) of the integers it does not."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EPOCH_DAY = date(1970, 1, 1)
_SECOND = timedelta(seconds=1)
EXACT = Context(prec=100)
_BAD_VALUE = (struct.error, TypeError, OverflowError, InvalidOperation, KeyError, AttributeError, UnicodeEncodeError)
_VARINTS = [bytes([n]) for n in range(128)]


def encode_rows(columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[Any]]) -> Iterator[bytes]:
    """``rows`` as RowBinary, in chunks of whole rows; ``columns`` are (name, type) in the order of the values.

    ValueError names the row and column of the first value that does not fit its type.
    """
    encoders = [encoder(type_name) for _, type_name in columns]
    for start in range(0, len(rows), CHUNK_ROWS):
        chunk = rows[start : start + CHUNK_ROWS]
        try:
            by_column = [map(encode, values) for encode, values in zip(encoders, zip(*chunk, strict=True), strict=True)]
            yield b"".join(chain.from_iterable(zip(*by_column, strict=True)))
        except (ValueError, *_BAD_VALUE) as error:
            raise _located(columns, chunk, start) from error


def _located(columns: Sequence[tuple[str, str]], chunk: Sequence[Sequence[Any]], start: int) -> ValueError:
    """The sentence for the first bad value of ``chunk``, found by encoding it again one value at a time."""
    for number, row in enumerate(chunk, start):
        if len(row) != len(columns):
            return ValueError(f"row {number} has {len(row)} values for {len(columns)} columns")
        for (name, type_name), value in zip(columns, row, strict=True):
            try:
                check(type_name, value)
            except ValueError as error:
                return ValueError(f"row {number}, column {name}: {error}")
    return ValueError("a value changed while it was encoded")


def check(type_name: str, value: Any) -> None:  # noqa: ANN401 -- any Python value may be offered
    """ValueError with a sentence unless ``value`` fits ``type_name``."""
    try:
        encoder(type_name)(value)
    except (ValueError, *_BAD_VALUE) as error:
        shown = repr(value)
        shown = shown if len(shown) <= 80 else shown[:77] + "…"  # noqa: PLR2004 -- a line of a terminal
        raise ValueError(f"{shown} does not fit {type_name}") from error


@lru_cache(maxsize=1024)
def encoder(type_name: str) -> Encode:
    """A function from one value to the bytes of ``type_name``; ValueError if the type cannot be carried.

    The function raises ValueError, TypeError, OverflowError or struct.error for a value that does not fit.
    """
    kind = parse_type(type_name)
    name, args = kind.name, kind.args
    if name in FIXED:
        return struct.Struct(FIXED[name]).pack
    if name in _SIMPLE_ENCODERS:
        return _SIMPLE_ENCODERS[name]
    if name == "LowCardinality":
        return encoder(args[0])
    if name == "SimpleAggregateFunction":
        return encoder(args[1])
    if name in _ENCODER_MAKERS:
        return _ENCODER_MAKERS[name](args)
    raise ValueError(f"type {type_name} cannot cross the port; cast it in SQL")


def varint(n: int) -> bytes:
    """``n`` as unsigned LEB128.

    >>> varint(300).hex()
    'ac02'
    """
    out = bytearray()
    while n > 127:  # noqa: PLR2004 -- seven bits a byte
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def _string(value: str | bytes) -> bytes:
    data = value.encode() if type(value) is str else _as_bytes(value)
    size = len(data)
    return (_VARINTS[size] if size < 128 else varint(size)) + data  # noqa: PLR2004 -- seven bits a byte


def _as_bytes(value: object) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    raise TypeError("neither str nor bytes")


def _fixed_string(args: tuple[str, ...]) -> Encode:
    size = int(args[0])

    def encode(value: str | bytes) -> bytes:
        data = _as_bytes(value)
        if len(data) > size:
            raise ValueError("too long")
        return data.ljust(size, b"\0")

    return encode


def _bool(value: object) -> bytes:
    if value is True or value is False or (type(value) is int and value in (0, 1)):
        return b"\1" if value else b"\0"
    raise TypeError("not a bool")


def _days(value: date | int) -> int:
    if isinstance(value, datetime):
        raise TypeError("a datetime is not a date")
    return (value - EPOCH_DAY).days if isinstance(value, date) else value


def datetime_ticks(value: datetime | float, digits: int) -> int:
    """``value`` (aware datetime or unix seconds) in units of 10^-``digits`` s since 1970, rounded down.

    >>> datetime_ticks(1.2345, 3)
    1234
    """
    unit: int = 10**digits
    if isinstance(value, datetime):
        since = value - EPOCH  # a naive one raises TypeError here
        whole_s, rest = since // _SECOND, since % _SECOND
        return whole_s * unit + rest.microseconds * unit // 10**6
    if isinstance(value, int):
        return value * unit
    if isinstance(value, float) and math.isfinite(value):
        return int(Decimal(repr(value)).scaleb(digits, EXACT).to_integral_value(ROUND_FLOOR))
    raise TypeError("not a point in time")


def _datetime64(args: tuple[str, ...]) -> Encode:
    digits = int(args[0])
    pack = struct.Struct("<q").pack
    return lambda value: pack(datetime_ticks(value, digits))


def decimal_ticks(value: Decimal | float | str, precision: int, scale: int) -> int:
    """``value`` in units of 10^-``scale``, rounded half to even; ValueError past ``precision`` digits.

    >>> decimal_ticks("1.25", 9, 1)
    12
    """
    exact = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    ticks = int(exact.scaleb(scale, EXACT).to_integral_value(ROUND_HALF_EVEN))
    if abs(ticks) >= 10**precision:
        raise ValueError("too many digits")
    return ticks


def decimal_width(precision: int) -> int:
    """Bytes of a Decimal with ``precision`` digits."""
    return next(width for width, digits in ((4, 9), (8, 18), (16, 38), (32, 76)) if precision <= digits)


def _decimal(args: tuple[str, ...]) -> Encode:
    precision, scale = int(args[0]), int(args[1])
    width = decimal_width(precision)
    return lambda value: decimal_ticks(value, precision, scale).to_bytes(width, "little", signed=True)


def _enum(width: int) -> Callable[[tuple[str, ...]], Encode]:
    def make(args: tuple[str, ...]) -> Encode:
        names = enum_values(args)
        known: dict[str | int, bytes] = {}
        for name, number in names.items():
            known[name] = known[number] = number.to_bytes(width, "little", signed=True)
        return known.__getitem__

    return make


def _uuid(value: UUID | str) -> bytes:
    data = (value if isinstance(value, UUID) else UUID(value)).bytes
    return data[7::-1] + data[:7:-1]


def _array(args: tuple[str, ...]) -> Encode:
    item = encoder(args[0])

    def encode(values: Sequence[Any]) -> bytes:
        if isinstance(values, str | bytes):
            raise TypeError("a string is not an array")
        return varint(len(values)) + b"".join(map(item, values))

    return encode


def _map(args: tuple[str, ...]) -> Encode:
    key, item = encoder(args[0]), encoder(args[1])

    def encode(values: Mapping[Any, Any]) -> bytes:
        return varint(len(values)) + b"".join(key(k) + item(v) for k, v in values.items())

    return encode


def _tuple(args: tuple[str, ...]) -> Encode:
    fields = [(name, encoder(type_name)) for name, type_name in tuple_fields(args)]

    def encode(values: Sequence[Any] | Mapping[str, Any]) -> bytes:
        if isinstance(values, Mapping):
            return b"".join(item(values[name]) for name, item in fields)
        if isinstance(values, str | bytes):
            raise TypeError("a string is not a tuple")
        return b"".join(item(value) for (_, item), value in zip(fields, values, strict=True))

    return encode


def _nullable(args: tuple[str, ...]) -> Encode:
    item = encoder(args[0])
    return lambda value: b"\1" if value is None else b"\0" + item(value)


def _wide(name: str) -> Encode:
    width, signed = WIDE[name]
    return lambda value: int.to_bytes(value, width, "little", signed=signed)


_pack_u2, _pack_u4, _pack_i4 = struct.Struct("<H").pack, struct.Struct("<I").pack, struct.Struct("<i").pack

_SIMPLE_ENCODERS: dict[str, Encode] = {
    "String": _string,
    "Bool": _bool,
    "Date": lambda value: _pack_u2(_days(value)),
    "Date32": lambda value: _pack_i4(_days(value)),
    "DateTime": lambda value: _pack_u4(datetime_ticks(value, 0)),
    "UUID": _uuid,
    **{name: _wide(name) for name in WIDE},
}
_ENCODER_MAKERS: dict[str, Callable[[tuple[str, ...]], Encode]] = {
    "FixedString": _fixed_string,
    "DateTime64": _datetime64,
    "Decimal": _decimal,
    "Enum8": _enum(1),
    "Enum16": _enum(2),
    "Array": _array,
    "Map": _map,
    "Tuple": _tuple,
    "Nullable": _nullable,
}
