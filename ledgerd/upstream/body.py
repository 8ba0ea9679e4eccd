"""Undoing an answer's content encoding without trusting it: bounded, and every failure has one name."""

import zlib
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap

CHUNK_BYTES = 1 << 20

_GZIP_WBITS = 31


class UnreadableBody(ValueError):
    """A body that cannot be turned into bytes of JSON; the text is the reason kept in quarantine."""


def decode(body: bytes, encoding: str, bytes_max: int) -> bytes:
    """``body`` as received (``encoding``: its Content-Encoding, "" for none) → decoded, at most ``bytes_max`` bytes.

    Memory stays within ``bytes_max`` plus one chunk whatever a bomb claims. Raises UnreadableBody.

    >>> decode(b"{}", "", 10)
    b'{}'
    """
    kind = encoding.strip().lower() or "identity"
    if kind == "identity":
        if len(body) > bytes_max:
            raise UnreadableBody(f"body is larger than {bytes_max} bytes")
        return body
    if kind != "gzip":
        raise UnreadableBody(f"content encoding {kind[:40]!r} is not one we asked for")
    return _gunzip(body, bytes_max)


def _gunzip(body: bytes, bytes_max: int) -> bytes:
    """All members of a gzip body."""
    with mmap(-1, CHUNK_BYTES, flags=MAP_PRIVATE | MAP_ANONYMOUS) as room:  # malloc would keep what a bomb took
        return room[: _inflate(body, room, bytes_max)]


def _inflate(body: bytes, room: mmap, bytes_max: int) -> int:
    """Decode ``body`` into ``room``, which grows as needed; how many bytes."""
    size = 0
    rest = body
    while rest:
        inflate = zlib.decompressobj(_GZIP_WBITS)
        while not inflate.eof:
            try:
                part = inflate.decompress(rest, CHUNK_BYTES)
            except zlib.error as error:
                raise UnreadableBody(f"gzip is damaged: {error}") from error
            rest = inflate.unconsumed_tail
            if not part and not inflate.eof:
                raise UnreadableBody("gzip ends in the middle")
            if size + len(part) > bytes_max:
                raise UnreadableBody(f"decoded body is larger than {bytes_max} bytes")
            if size + len(part) > len(room):
                room.resize(2 * len(room))
            room[size : size + len(part)] = part
            size += len(part)
        rest = inflate.unused_data
    return size
