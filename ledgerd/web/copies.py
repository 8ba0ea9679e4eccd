"""Copies clients keep: weak ETags, 304s, and how long a copy is good."""

from aiohttp import web

CACHE_S = 5
CACHE = f"public, max-age={CACHE_S}"


def etag(*parts: object) -> str:
    """A weak tag of what an answer is made of: two answers of one tag differ in ``age_s`` alone."""
    return f'W/"{"-".join(format(part, "g") if isinstance(part, float) else str(part) for part in parts)}"'


def headers(tag: str) -> dict[str, str]:
    """What tells a client that it may keep this answer."""
    return {"ETag": tag, "Cache-Control": CACHE}


def unmodified(request: web.Request, tag: str) -> web.Response | None:
    """The 304 if the client's copy is still right, else None."""
    asked = request.headers.get("If-None-Match")
    if asked is None or not (asked.strip() == "*" or tag in (each.strip() for each in asked.split(","))):
        return None
    return web.Response(status=304, headers=headers(tag))
