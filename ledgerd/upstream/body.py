"""Undoing an answer's content encoding without trusting it: bounded, and every failure has one name.

Gunzipping is isal's: it takes half the time of zlib's, and every page of the river is gunzipped twice.
"""

from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap

from isal import isal_zlib

CHUNK_BYTES = 1 << 20
AT_ONCE_BYTES = 4 << 20
"""A body that decodes to no more than this, as a page of the river does, is decoded in one piece and never copied."""

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
    return _gunzip_at_once(body, bytes_max) or _gunzip(body, bytes_max)


def _gunzip_at_once(body: bytes, bytes_max: int) -> bytes | None:
    """A gzip body of one small member; None where it is anything else, damaged ones included."""
    inflate = isal_zlib.decompressobj(_GZIP_WBITS)
    try:
        plain = inflate.decompress(body, min(AT_ONCE_BYTES, bytes_max + 1))
    except isal_zlib.error:  # type: ignore[misc]  # isal's stub calls its exception class an instance
        return None
    is_whole = inflate.eof and not inflate.unused_data and len(plain) <= bytes_max
    return plain if is_whole else None


def _gunzip(body: bytes, bytes_max: int) -> bytes:
    """All members of a gzip body."""
    with mmap(-1, CHUNK_BYTES, flags=MAP_PRIVATE | MAP_ANONYMOUS) as room:  # malloc would keep what a bomb took
        return room[: _inflate(body, room, bytes_max)]


def _inflate(body: bytes, room: mmap, bytes_max: int) -> int:
    """Decode ``body`` into ``room``, which grows as needed; how many bytes."""
    size = 0
    rest = body
    while rest:
        inflate = isal_zlib.decompressobj(_GZIP_WBITS)
        while not inflate.eof:
            try:
                part = inflate.decompress(rest, CHUNK_BYTES)
            except isal_zlib.error as error:  # type: ignore[misc]  # as above
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
