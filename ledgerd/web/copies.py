"""Copies clients keep: weak ETags, 304s, and how long a copy is good."""

import hashlib
from collections.abc import Iterable

from aiohttp import web

CACHE_S = 5
CACHE = f"public, max-age={CACHE_S}"


def etag(*parts: object) -> str:
    """A weak tag of what an answer is made of: two of one tag differ in ages alone, and a ``to`` that was not given."""
    return f'W/"{"-".join(format(part, "g") if isinstance(part, float) else str(part) for part in parts)}"'


def etag_of(rows: Iterable[bytes], *parts: object) -> str:
    """The tag of an answer that is of no snapshot: made of what its ``rows`` say, and of ``parts``."""
    content = hashlib.blake2b(digest_size=8)
    for row in rows:
        content.update(row)
        content.update(b"\n")
    return etag(content.hexdigest(), *parts)


def headers(tag: str, cache: str = CACHE) -> dict[str, str]:
    """What tells a client that it may keep this answer, and how long."""
    return {"ETag": tag, "Cache-Control": cache}


def unmodified(request: web.Request, tag: str, cache: str = CACHE) -> web.Response | None:
    """The 304 if the client's copy is still right, else None."""
    asked = [each.strip() for line in request.headers.getall("If-None-Match", ()) for each in line.split(",")]
    if "*" not in asked and tag.removeprefix("W/") not in (each.removeprefix("W/") for each in asked):
        return None
    return web.Response(status=304, headers=headers(tag, cache))
