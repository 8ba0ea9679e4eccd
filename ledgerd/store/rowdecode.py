"""RowBinaryWithNamesAndTypes back to Python rows; the values are those ``rowbinary`` lists."""

import struct
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import UUID

from ledgerd.store.chtype import enum_values, parse_type, tuple_fields
from ledgerd.store.rowbinary import EPOCH, EPOCH_DAY, EXACT, FIXED, WIDE, decimal_width

Decode = Callable[[bytes, int], tuple[Any, int]]
"""From the buffer and a position to the value and the position behind it."""


def decode_rows(data: bytes) -> tuple[list[tuple[str, str]], list[tuple[Any, ...]]]:
    """The columns (name, type) and the rows of a RowBinaryWithNamesAndTypes answer; an empty answer has neither.

    ValueError if the bytes end early or hold a type that cannot cross the port.
    """
    if not data:
        return [], []
    try:
        columns, position = _header(data)
        decoders = [decoder(type_name) for _, type_name in columns]
        rows = []
        while position < len(data):
            row, position = _row(data, position, decoders)
            rows.append(row)
    except (IndexError, struct.error, OverflowError) as error:
        raise ValueError("not a whole RowBinaryWithNamesAndTypes answer") from error
    if position != len(data):
        raise ValueError("the RowBinaryWithNamesAndTypes answer ends inside a row")
    return columns, rows


def _row(data: bytes, position: int, decoders: list[Decode]) -> tuple[tuple[Any, ...], int]:
    values, start = [], position
    for decode in decoders:
        value, position = decode(data, position)
        values.append(value)
    if position == start:
        raise IndexError(position)  # a row of no bytes would repeat for ever
    return tuple(values), position


def _header(data: bytes) -> tuple[list[tuple[str, str]], int]:
    count, position = _varint(data, 0)
    texts = []
    for _ in range(2 * count):
        size, position = _varint(data, position)
        raw, position = _take(data, position, size)
        texts.append(raw.decode(errors="replace"))  # an unnamed expression may hold any bytes
    return list(zip(texts[:count], texts[count:], strict=True)), position


@lru_cache(maxsize=1024)
def decoder(type_name: str) -> Decode:
    """A reader of one value of ``type_name``; ValueError if the type cannot be carried."""
    kind = parse_type(type_name)
    name, args = kind.name, kind.args
    if name in FIXED:
        return _fixed(FIXED[name])
    if name in _SIMPLE_DECODERS:
        return _SIMPLE_DECODERS[name]
    if name == "LowCardinality":
        return decoder(args[0])
    if name == "SimpleAggregateFunction":
        return decoder(args[1])
    if name in _DECODER_MAKERS:
        return _DECODER_MAKERS[name](args)
    raise ValueError(f"type {type_name} cannot cross the port; cast it in SQL")


def _varint(data: bytes, position: int) -> tuple[int, int]:
    byte = data[position]
    position += 1
    if byte < 128:  # noqa: PLR2004 -- seven bits a byte
        return byte, position
    value, shift = byte & 127, 7
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:  # noqa: PLR2004 -- seven bits a byte
            return value, position
        shift += 7


def _length(data: bytes, position: int) -> tuple[int, int]:
    """How many items follow; every item takes a byte at least."""
    size, position = _varint(data, position)
    if size > len(data) - position:
        raise IndexError(size)
    return size, position


def _text(raw: bytes) -> str | bytes:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _take(data: bytes, position: int, size: int) -> tuple[bytes, int]:
    end = position + size
    if end > len(data):
        raise IndexError(end)
    return data[position:end], end


def _string(data: bytes, position: int) -> tuple[str | bytes, int]:
    size, position = _varint(data, position)
    raw, end = _take(data, position, size)
    return _text(raw), end


def _fixed(fmt: str) -> Decode:
    packed = struct.Struct(fmt)
    unpack, size = packed.unpack_from, packed.size
    return lambda data, position: (unpack(data, position)[0], position + size)


def _mapped(fmt: str, convert: Callable[[Any], Any]) -> Decode:
    packed = struct.Struct(fmt)
    unpack, size = packed.unpack_from, packed.size
    return lambda data, position: (convert(unpack(data, position)[0]), position + size)


def _sized(size: int, convert: Callable[[bytes], Any]) -> Decode:
    def decode(data: bytes, position: int) -> tuple[Any, int]:
        raw, end = _take(data, position, size)
        return convert(raw), end

    return decode


def _datetime64(args: tuple[str, ...]) -> Decode:
    unit = 10 ** int(args[0])
    return _mapped("<q", lambda ticks: EPOCH + timedelta(microseconds=ticks * 10**6 // unit))


def _decimal(args: tuple[str, ...]) -> Decode:
    precision, scale = int(args[0]), int(args[1])

    def convert(raw: bytes) -> Decimal:
        return Decimal(int.from_bytes(raw, "little", signed=True)).scaleb(-scale, EXACT)

    return _sized(decimal_width(precision), convert)


def _enum(fmt: str) -> Callable[[tuple[str, ...]], Decode]:
    def make(args: tuple[str, ...]) -> Decode:
        names = {number: name for name, number in enum_values(args).items()}
        return _mapped(fmt, lambda number: names.get(number, str(number)))

    return make


def _array(args: tuple[str, ...]) -> Decode:
    item = decoder(args[0])

    def decode(data: bytes, position: int) -> tuple[list[Any], int]:
        size, position = _length(data, position)
        values = []
        for _ in range(size):
            value, position = item(data, position)
            values.append(value)
        return values, position

    return decode


def _map(args: tuple[str, ...]) -> Decode:
    key, item = decoder(args[0]), decoder(args[1])

    def decode(data: bytes, position: int) -> tuple[dict[Any, Any], int]:
        size, position = _length(data, position)
        values = {}
        for _ in range(size):
            name, position = key(data, position)
            values[name], position = item(data, position)
        return values, position

    return decode


def _tuple(args: tuple[str, ...]) -> Decode:
    items = [decoder(type_name) for _, type_name in tuple_fields(args)]

    def decode(data: bytes, position: int) -> tuple[tuple[Any, ...], int]:
        values = []
        for item in items:
            value, position = item(data, position)
            values.append(value)
        return tuple(values), position

    return decode


def _nullable(args: tuple[str, ...]) -> Decode:
    item = decoder(args[0])

    def decode(data: bytes, position: int) -> tuple[Any, int]:
        return (None, position + 1) if data[position] else item(data, position + 1)

    return decode


def _wide(name: str) -> Decode:
    size, signed = WIDE[name]
    return _sized(size, lambda raw: int.from_bytes(raw, "little", signed=signed))


_SIMPLE_DECODERS: dict[str, Decode] = {
    "String": _string,
    "Bool": _mapped("<B", bool),
    "Date": _mapped("<H", lambda days: EPOCH_DAY + timedelta(days=days)),
    "Date32": _mapped("<i", lambda days: EPOCH_DAY + timedelta(days=days)),
    "DateTime": _mapped("<I", lambda seconds: EPOCH + timedelta(seconds=seconds)),
    "UUID": _sized(16, lambda raw: UUID(bytes=raw[7::-1] + raw[:7:-1])),
    "Nothing": lambda _data, position: (None, position),
    **{name: _wide(name) for name in WIDE},
}
_DECODER_MAKERS: dict[str, Callable[[tuple[str, ...]], Decode]] = {
    "FixedString": lambda args: _sized(int(args[0]), _text),
    "DateTime64": _datetime64,
    "Decimal": _decimal,
    "Enum8": _enum("<b"),
    "Enum16": _enum("<h"),
    "Array": _array,
    "Map": _map,
    "Tuple": _tuple,
    "Nullable": _nullable,
}
