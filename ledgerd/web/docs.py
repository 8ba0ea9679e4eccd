"""The documentation: the OpenAPI document, made once, and the page that makes it readable."""

import asyncio
import zlib
from collections.abc import Iterable
from functools import cache

import orjson
from aiohttp import web

from ledgerd.web import copies, page
from ledgerd.web.endpoint import Endpoint
from ledgerd.web.openapi import document

FILES = {
    "/docs": ("docs.html", "text/html"),
    "/docs.css": ("docs.css", "text/css"),
    "/docs.js": ("docs.js", "text/javascript"),
}


def routes(endpoints: Iterable[Endpoint], version: str) -> list[web.RouteDef]:
    """The routes of this file, about ``endpoints``."""

    @cache
    def made() -> tuple[bytes, str]:
        """The document and its ETag: half a second's work, so not before somebody asks."""
        body = orjson.dumps(document(endpoints, version))
        return body, copies.etag(version, f"{zlib.crc32(body):08x}")

    async def get_openapi(request: web.Request) -> web.Response:
        body, tag = await asyncio.to_thread(made)
        if (unmodified := copies.unmodified(request, tag)) is not None:
            return unmodified
        return web.Response(body=body, content_type="application/json", headers=copies.headers(tag))

    files = [web.get(path, page.serving(name, content_type)) for path, (name, content_type) in FILES.items()]
    return [web.get("/openapi.json", get_openapi), *files]
