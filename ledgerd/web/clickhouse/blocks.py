"""The format Native as clients of a later protocol read it: with information before each block and column (pure).

ClickHouse writes it so where ``client_protocol_version`` asks for it; the embedded engine knows no client, and writes
what files hold. clickhouse-go, which Grafana uses, insists.
"""

import struct

from ledgerd.store.chtype import ChType, parse_type, tuple_fields
from ledgerd.store.native import BLOCK_INFO
from ledgerd.store.rowbinary import FIXED, WIDE, decimal_width

CUSTOM_SERIALIZATION = 54454
"""From this revision on a byte after each type says how its values are laid out; earlier clients take plain Native."""
_PLAIN = b"\0"
_WIDTHS = {
    **{name: struct.calcsize(fmt) for name, fmt in FIXED.items()},
    **{name: width for name, (width, _) in WIDE.items()},
    **dict.fromkeys(("Bool", "Enum8", "Nothing"), 1),
    **dict.fromkeys(("Date", "Enum16", "BFloat16"), 2),
    **dict.fromkeys(("Date32", "DateTime", "IPv4", "Time"), 4),
    **dict.fromkeys(("DateTime64", "Time64"), 8),
    **dict.fromkeys(("UUID", "IPv6"), 16),
}


def with_revision(body: bytes, revision: int) -> bytes:
    """``body``, in the format Native, for a client of ``revision``; ValueError names a type that cannot be sent."""
    if revision < CUSTOM_SERIALIZATION:
        return body
    parts, position = [], 0
    while position < len(body):
        start = position
        columns, position = _varint(body, position)
        rows, position = _varint(body, position)
        parts += [BLOCK_INFO, body[start:position]]
        for _ in range(columns):
            start = position
            _, position = _text(body, position)
            type_name, position = _text(body, position)
            data, kind = position, parse_type(type_name)
            position = _end(kind, rows, body, data + _prefix_bytes(kind)) if rows else data
            parts += [body[start:data], _PLAIN, body[data:position]]
    return b"".join(parts)


def _end(kind: ChType, count: int, body: bytes, position: int) -> int:
    """Where ``count`` values of type ``kind`` end that begin at ``position``."""
    inner: list[str] = []
    match kind.name:
        case _ if not count:
            pass
        case "String":
            for _ in range(count):
                size, position = _varint(body, position)
                position += size
        case "Nullable":
            inner, position = [kind.args[0]], position + count
        case "SimpleAggregateFunction":
            inner = [kind.args[1]]
        case "Tuple":
            inner = [type_name for _, type_name in tuple_fields(kind.args)]
        case "LowCardinality":
            flags, keys = struct.unpack_from("<QQ", body, position)
            item = parse_type(kind.args[0])
            position = _end(parse_type(item.args[0]) if item.name == "Nullable" else item, keys, body, position + 16)
            (count,) = struct.unpack_from("<Q", body, position)
            position += 8 + (count << (flags & 3))
        case "Array" | "Map":
            ends, inner, position = position + 8 * (count - 1), list(kind.args), position + 8 * count
            (count,) = struct.unpack_from("<Q", body, ends)
        case _:
            position += count * _width(kind)
    for type_name in inner:
        position = _end(parse_type(type_name), count, body, position)
    return position


def _prefix_bytes(kind: ChType) -> int:
    """Bytes before a column's values: a version number for each dictionary in it."""
    parts = tuple(type_name for _, type_name in tuple_fields(kind.args)) if kind.name == "Tuple" else kind.args
    inner = parts if kind.name in {"Tuple", "Array", "Map", "SimpleAggregateFunction"} else ()
    return 8 * (kind.name == "LowCardinality") + sum(_prefix_bytes(parse_type(type_name)) for type_name in inner)


def _width(kind: ChType) -> int:
    """Bytes of one value."""
    if kind.name == "FixedString":
        return int(kind.args[0])
    if kind.name == "Decimal":
        return decimal_width(int(kind.args[0]))
    if kind.name.startswith("Interval"):
        return 8
    if kind.name not in _WIDTHS:
        raise ValueError(f"Values of {kind.name} cannot be sent to this client; write CAST(… AS String).")
    return _WIDTHS[kind.name]


def _varint(body: bytes, position: int) -> tuple[int, int]:
    number, shift = 0, 0
    while True:
        byte = body[position]
        number |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:  # noqa: PLR2004 -- the bit that says more follows
            return number, position
        shift += 7


def _text(body: bytes, position: int) -> tuple[str, int]:
    size, position = _varint(body, position)
    return body[position : position + size].decode(errors="replace"), position + size
