"""ClickHouse's Native blocks: rows to one block's bytes, and a block on the wire back to columns.

A column's single values are those of RowBinary, so both engines share ``rowbinary`` and ``rowdecode``. What is native
is how containers lay them out: https://clickhouse.com/docs/interfaces/formats/Native.
"""

import struct
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain, pairwise
from typing import Any, Protocol

from ledgerd.store.chtype import ChType, parse_type, tuple_fields
from ledgerd.store.rowbinary import FIXED, WIDE, check, decimal_width, encoder, varint
from ledgerd.store.rowdecode import decoder

BLOCK_INFO = b"\1\0\2\xff\xff\xff\xff\0"
"""What stands before a block on the wire: field 1, no overflows; field 2, bucket -1; the end."""

_WIDTHS = {
    **{name: struct.calcsize(fmt) for name, fmt in FIXED.items()},
    **{name: width for name, (width, _) in WIDE.items()},
    **dict.fromkeys(("Bool", "Enum8", "Nothing"), 1),
    **dict.fromkeys(("Date", "Enum16"), 2),
    **dict.fromkeys(("Date32", "DateTime"), 4),
    "DateTime64": 8,
    "UUID": 16,
}
_DICTIONARY_VERSION = struct.pack("<Q", 1)
_HAS_KEYS, _NEW_DICTIONARY = 1 << 9, 1 << 10
_KEY_FORMATS = "BHIQ"
"""Struct formats of a dictionary's keys by their type number."""


class Source(Protocol):
    """Where a block is read from. Each call raises at the end of the stream, at the latest on the next one."""

    async def read_varint(self) -> int:
        """One unsigned LEB128 number."""
        ...

    async def read_bytes(self, length: int) -> bytes:
        """``length`` bytes."""
        ...

    async def read_strs(self, n_items: int, *, as_bytes: bool) -> list[bytes]:
        """``n_items`` texts, each behind its length."""
        ...


def encode_block(columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[Any]]) -> bytes:
    """``rows`` as one block, information first; ``columns`` are (name, type) in the order of the values.

    ValueError names the row and column of the first value that does not fit its type.
    """
    parts = [BLOCK_INFO, varint(len(columns)), varint(len(rows))]
    try:
        by_column = list(zip(*rows, strict=True)) or [() for _ in columns]
        for (name, type_name), values in zip(columns, by_column, strict=True):
            parts += [_text(name), _text(type_name), _prefix(type_name), *_column(type_name, values)]
    except (ValueError, struct.error, TypeError, OverflowError, ArithmeticError, LookupError, AttributeError) as error:
        raise _located(columns, rows) from error
    return b"".join(parts)


def _located(columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[Any]]) -> ValueError:
    """The sentence for the first bad value, found by encoding again one value at a time."""
    for number, row in enumerate(rows):
        if len(row) != len(columns):
            return ValueError(f"row {number} has {len(row)} values for {len(columns)} columns")
        for (name, type_name), value in zip(columns, row, strict=True):
            try:
                check(type_name, value)
            except ValueError as error:
                return ValueError(f"row {number}, column {name}: {error}")
    return ValueError("a value changed while it was encoded")


def _inner(kind: ChType) -> list[str]:
    """The types of the columns ``kind`` is made of; none for a value of its own. A Map is an array of pairs."""
    match kind.name:
        case "Tuple":
            return [type_name for _, type_name in tuple_fields(kind.args)]
        case "Map":
            return [f"Tuple({', '.join(kind.args)})"]
        case "Array" | "Nullable" | "LowCardinality":
            return [kind.args[0]]
        case "SimpleAggregateFunction":
            return [kind.args[1]]
        case _:
            return []


def _text(text: str) -> bytes:
    data = text.encode()
    return varint(len(data)) + data


def _prefix(type_name: str) -> bytes:
    """What stands before a column's data: a version number for each dictionary in it."""
    kind = parse_type(type_name)
    own = _DICTIONARY_VERSION if kind.name == "LowCardinality" else b""
    return own + b"".join(map(_prefix, _inner(kind)))


def _column(type_name: str, values: Sequence[Any]) -> Iterator[bytes]:
    """The data of one column, in pieces."""
    kind = parse_type(type_name)
    match kind.name:
        case "SimpleAggregateFunction":
            yield from _column(kind.args[1], values)
        case "Nullable":
            yield from _nullable(kind.args[0], values)
        case "LowCardinality" if not values:
            return
        case "LowCardinality":
            yield from _dictionary(kind.args[0], values)
        case "Tuple":
            yield from _tuples(kind, values)
        case "Array":
            yield from _arrays(kind, [list(_not_text(value)) for value in values])
        case "Map":
            yield from _arrays(kind, [list(value.items()) for value in values])
        case _:
            yield from map(encoder(type_name), values)


def _nullable(inner: str, values: Sequence[Any]) -> Iterator[bytes]:
    yield bytes(value is None for value in values)
    encode, empty = encoder(inner), bytes(_width(parse_type(inner)) or 1)
    yield from (empty if value is None else encode(value) for value in values)


def _dictionary(inner: str, values: Sequence[Any]) -> Iterator[bytes]:
    """Each distinct value once, then the number of each row's value; number 0 is NULL where there is one."""
    kind = parse_type(inner)
    is_nullable = kind.name == "Nullable"
    item = kind.args[0] if is_nullable else inner
    encode, numbers = encoder(item), dict[bytes | None, int]()
    if is_nullable:
        numbers[None] = 0
    keys = [
        numbers.setdefault(None if value is None and is_nullable else encode(value), len(numbers)) for value in values
    ]
    number = next(number for number, fmt in enumerate(_KEY_FORMATS) if len(numbers) <= 256 ** struct.calcsize(fmt))
    empty = bytes(_width(parse_type(item)) or 1)
    yield struct.pack("<QQ", _HAS_KEYS | _NEW_DICTIONARY | number, len(numbers))
    yield from (empty if value is None else value for value in numbers)
    yield struct.pack(f"<Q{len(keys)}{_KEY_FORMATS[number]}", len(keys), *keys)


def _tuples(kind: ChType, values: Sequence[Any]) -> Iterator[bytes]:
    fields = tuple_fields(kind.args)
    rows = [[value[name] for name, _ in fields] if isinstance(value, dict) else _not_text(value) for value in values]
    for (_, inner), column in zip(fields, zip(*rows, strict=True) if rows else [()] * len(fields), strict=True):
        yield from _column(inner, column)


def _arrays(kind: ChType, values: Sequence[Sequence[Any]]) -> Iterator[bytes]:
    yield struct.pack(f"<{len(values)}Q", *accumulate(map(len, values)))
    yield from _column(_inner(kind)[0], list(chain.from_iterable(values)))


def _not_text(value: Any) -> Any:  # noqa: ANN401 -- any sequence but a text
    if isinstance(value, str | bytes):
        raise TypeError("a string is not a list")
    return value


def _width(kind: ChType) -> int:
    """Bytes of one value; 0 where each says its own length."""
    if kind.name == "FixedString":
        return int(kind.args[0])
    if kind.name == "Decimal":
        return decimal_width(int(kind.args[0]))
    return _WIDTHS.get(kind.name, 0)


async def read_block(source: Source) -> tuple[list[tuple[str, str]], list[Sequence[Any]]]:
    """The (name, type) and the values of a block's columns; a block without rows has no values.

    ValueError if it holds a type that cannot cross the port.
    """
    while field := await source.read_varint():
        await source.read_bytes(1 if field == 1 else 4)
    column_count, row_count = await source.read_varint(), await source.read_varint()
    columns: list[tuple[str, str]] = []
    data: list[Sequence[Any]] = []
    for _ in range(column_count):
        name, type_name = (raw.decode(errors="replace") for raw in await source.read_strs(2, as_bytes=True))
        columns.append((name, type_name))
        if row_count:
            await source.read_bytes(len(_prefix(type_name)))
            data.append(await _read(source, type_name, row_count))
    return columns, data


async def _read(source: Source, type_name: str, count: int) -> Sequence[Any]:
    """``count`` values of one column."""
    kind = parse_type(type_name)
    match kind.name:
        case "SimpleAggregateFunction":
            return await _read(source, kind.args[1], count)
        case "Nullable":
            is_null = await source.read_bytes(count)
            values = await _read(source, kind.args[0], count)
            return [None if null else value for null, value in zip(is_null, values, strict=True)]
        case "LowCardinality":
            return await _read_dictionary(source, kind.args[0]) if count else []
        case "Tuple":
            return list(zip(*[await _read(source, inner, count) for inner in _inner(kind)], strict=True))
        case "Array" | "Map":
            ends = struct.unpack(f"<{count}Q", await source.read_bytes(8 * count))
            values = await _read(source, _inner(kind)[0], ends[-1] if ends else 0)
            slices = (values[start:end] for start, end in pairwise((0, *ends)))
            return list(map(dict, slices)) if kind.name == "Map" else list(map(list, slices))
        case _:
            return await _read_values(source, type_name, count)


async def _read_dictionary(source: Source, inner: str) -> Sequence[Any]:
    kind = parse_type(inner)
    is_nullable = kind.name == "Nullable"
    flags, size = struct.unpack("<QQ", await source.read_bytes(16))
    known = list(await _read(source, kind.args[0] if is_nullable else inner, size))
    if is_nullable:
        known[0] = None
    fmt = _KEY_FORMATS[flags & 3]
    (count,) = struct.unpack("<Q", await source.read_bytes(8))
    keys = struct.unpack(f"<{count}{fmt}", await source.read_bytes(count * struct.calcsize(fmt)))
    return [known[key] for key in keys]


async def _read_values(source: Source, type_name: str, count: int) -> Sequence[Any]:
    kind = parse_type(type_name)
    if kind.name == "String":
        return [_str_if_utf8(raw) for raw in await source.read_strs(count, as_bytes=True)]
    decode, width = decoder(type_name), _width(kind)
    data = bytes(await source.read_bytes(width * count))
    if kind.name in FIXED:
        return struct.unpack(f"<{count}{FIXED[kind.name][1]}", data)
    return [decode(data, position)[0] for position in range(0, width * count, width)]


def _str_if_utf8(raw: bytes) -> str | bytes:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw
