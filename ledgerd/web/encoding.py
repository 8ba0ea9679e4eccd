"""Answers compressed as the client takes them: zstd where it can, else gzip, and nothing that is small already."""

import asyncio
import re
import sys
from typing import Protocol

from aiohttp import web
from isal import isal_zlib

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LEAST_BYTES = 4096
"""Below this packing costs a look-up more than it saves: the answer is two packets on any wire."""
THREAD_BYTES = 64 << 10
"""From this size on compressing would hold up everybody else, so a thread does it."""
ENCODINGS = ("zstd", "gzip")
"""What is offered, best first."""
_GZIP_WBITS = 31
_GZIP_LEVEL = 1
_ZSTD_LEVEL = 3
_PACKED = re.compile(r"zip|zstd|image/|parquet|event-stream")
"""Content types that gain nothing, or must not be held back."""


async def pack(request: web.BaseRequest, response: web.Response) -> None:
    """Compress a whole answer of some size, in a thread where that takes a while."""
    body = response.body
    if not isinstance(body, bytes) or _PACKED.search(response.content_type):
        return
    response.headers["Vary"] = "Accept-Encoding"
    wanted = accepted(request.headers.get("Accept-Encoding", ""))
    if wanted is None or "Content-Encoding" in response.headers or request.method == "HEAD":
        return
    is_small = len(body) < THREAD_BYTES
    packed = compress(body, wanted) if is_small else await asyncio.to_thread(compress, body, wanted)
    response.headers["Content-Encoding"] = wanted
    response.body = packed


def accepted(header: str) -> str | None:
    """The best encoding an ``Accept-Encoding`` header takes, None if it takes none of ours (RFC 9110, 12.5.3).

    >>> accepted("gzip, deflate, br, zstd"), accepted("gzip;q=1.0, zstd;q=0"), accepted("*"), accepted("br")
    ('zstd', 'gzip', 'zstd', None)
    """
    weights: dict[str, float] = {}
    for part in header.lower().split(","):
        name, _, rest = part.strip().partition(";")
        found = re.fullmatch(r"\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*", rest)
        weights[name.strip()] = float(found[1]) if found else 1.0 if not rest else 0.0
    best = max(ENCODINGS, key=lambda name: weights.get(name, weights.get("*", 0.0)))
    return best if weights.get(best, weights.get("*", 0.0)) > 0 else None


def compress(body: bytes, encoding: str) -> bytes:
    """``body`` in one of `ENCODINGS`, for speed rather than size."""
    packer = packer_of(encoding)
    return packer.compress(body) + packer.flush()


class Packer(Protocol):
    """What packs a stream piece by piece, as zlib and zstd have it."""

    def compress(self, data: bytes, /) -> bytes:
        """Some more."""
        ...

    def flush(self) -> bytes:
        """The rest."""
        ...


class _Plain:
    """Packs nothing."""

    def compress(self, data: bytes, /) -> bytes:
        """``data`` as it is."""
        return data

    def flush(self) -> bytes:
        """Nothing is left."""
        return b""


def packer_of(encoding: str) -> Packer:
    """What packs a stream in one of `ENCODINGS`; of an empty name, in none."""
    if encoding == "zstd":
        packer: Packer = zstd.ZstdCompressor(_ZSTD_LEVEL)
        return packer
    return isal_zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_WBITS) if encoding == "gzip" else _Plain()
