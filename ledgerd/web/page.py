"""The front page: three static files the package carries, read once."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

FOLDER = Path(__file__).parent / "dashboard"
FILES = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "img-src 'self' data:; object-src 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def routes() -> list[web.RouteDef]:
    """The routes of this file."""
    return [web.get(path, serving(name, content_type)) for path, (name, content_type) in FILES.items()]


def serving(name: str, content_type: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    """A handler that answers with the file ``name`` of the folder."""
    text = (FOLDER / name).read_text(encoding="utf-8")

    async def get_file(request: web.Request) -> web.Response:
        return web.Response(text=text, content_type=content_type, charset="utf-8", headers=HEADERS)

    return get_file
