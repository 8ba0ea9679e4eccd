"""What every request passes on its way in and every answer on its way out."""

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from email.utils import formatdate
from functools import lru_cache

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.web_request import BaseRequest

from ledgerd.web.answers import problem, problem_of
from ledgerd.web.copies import CACHE
from ledgerd.web.encoding import LEAST_BYTES, pack
from ledgerd.web.endpoint import Endpoint, Guard
from ledgerd.web.onepath import OnePath
from ledgerd.web.params import Nothing, read

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
NOTHING = Nothing()
ALWAYS = {"X-Content-Type-Options": "nosniff", "Server": "ledgerd"}
OPEN = {
    **ALWAYS,
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "*",
}
"""What answers of ``/v1`` say besides: any page may read them."""
PREFLIGHT = {
    **OPEN,
    "Access-Control-Allow-Methods": "GET, HEAD, POST",
    "Access-Control-Allow-Headers": "Content-Type, If-None-Match, Last-Event-ID",
    "Access-Control-Max-Age": "86400",
}
API = "/v1/"
KEYED = "/v1/throttle"
"""Below this no page of another origin may ask, whatever key it found."""

_READY_HEADERS = {**OPEN, "Content-Type": "application/json", "Cache-Control": CACHE}
_FIRST_LINES = "\r\n".join(
    ["HTTP/1.1 200 OK", *(f"{name}: {value}" for name, value in _READY_HEADERS.items())]
).encode()


class Ready(web.StreamResponse):
    """A 200 written in one piece, headers and all: aiohttp's way, header by header, costs what finding a price does.

    JSON that any page may read and a client keep; ``etag`` and ``body`` are not looked at.
    """

    def __init__(self, etag: str, body: bytes) -> None:
        super().__init__()
        self._etag, self._content = etag.encode(), body
        self._is_kept_alive = False

    @property
    def keep_alive(self) -> bool:
        """Whether the connection stays open after it."""
        return self._is_kept_alive

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter:
        """Write all of it; HEAD gets no body."""
        self._is_kept_alive = request.keep_alive
        connection = b""
        if not self._is_kept_alive:
            connection = b"Connection: close\r\n"
        elif request.version != HttpVersion11:
            connection = b"Connection: keep-alive\r\n"
        head = b"%b\r\nETag: %b\r\nContent-Length: %d\r\nDate: %b\r\n%b\r\n" % (
            _FIRST_LINES, self._etag, len(self._content), _date(int(time.time())), connection,
        )  # fmt: skip
        writer = request.writer
        await writer.write_eof(head if request.method == "HEAD" else head + self._content)
        return writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to write."""


def edged(
    serve: Callable[..., Awaitable[web.StreamResponse]], query: type | None = None, guard: Guard | None = None
) -> Handler:
    """``serve`` as aiohttp calls it: its errors leave as problems, its answers packed, with the headers they need.

    ``query``: what it takes besides the request, see ``params``; ``guard`` looks at the request before anything else.
    All in one function, and no middleware, for which aiohttp wraps a handler twice: that is a third of a look-up.
    """

    async def served(request: web.Request) -> web.StreamResponse:
        try:
            if guard is not None:
                guard(request)
            if query is None:
                response = await serve(request)
            else:
                is_bare = query is Nothing and not request.query_string
                response = await serve(request, NOTHING if is_bare else read(query, request.query))
        except Exception as error:  # noqa: BLE001  the edge of one request: aiohttp would answer it in HTML and no event
            response = problem_of(request, error)
        if isinstance(response, Ready):
            return response
        if isinstance(response, web.Response):
            response.headers.update(headers_of(request.path))
            if isinstance(response.body, bytes) and len(response.body) >= LEAST_BYTES:
                await pack(request, response)
        return response

    return served


async def get_nothing(request: web.Request) -> web.StreamResponse:
    """What is not served: a browser that asks whether it may, another method, or an address that is none."""
    if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers and is_open(request.path):
        return web.Response(status=204, headers=PREFLIGHT)
    allowed: set[str] = set()
    for resource in request.app.router.resources():
        if resource is not request.match_info.route.resource:
            _, methods = await resource.resolve(request)
            allowed |= methods
    raise web.HTTPMethodNotAllowed(request.method, allowed) if allowed else web.HTTPNotFound()


def add_routes(app: web.Application, endpoints: Iterable[Endpoint], others: Iterable[web.RouteDef]) -> None:
    """Serve ``endpoints`` in their order, then ``others``, and a problem everywhere else."""
    for each in endpoints:
        handler = edged(each.serve, each.query, each.guard)
        if each.is_hot:
            app.router.register_resource(OnePath(each.path, handler, met))
        elif each.method == "GET":
            app.router.add_get(each.path, handler, expect_handler=met)
        else:
            app.router.add_route(each.method, each.path, handler, expect_handler=met)
    elsewhere = web.route("*", "/{nothing:[\\s\\S]*}", get_nothing)
    for other in (*others, elsewhere):
        given = {**other.kwargs, "expect_handler": met}
        web.RouteDef(other.method, other.path, edged(other.handler), given).register(app.router)


async def met(request: web.Request) -> web.StreamResponse | None:
    """What a client is told that expects something before it sends its body; aiohttp's own refusal repeats it."""
    if request.version < HttpVersion11:
        return None
    if request.headers["Expect"].lower() != "100-continue":
        hint, headers = "Leave out the header Expect.", headers_of(request.path)
        return problem(request, 417, "http-error", "Nobody here can do what is expected.", hint=hint, headers=headers)
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # the answer has not begun
    return None


def headers_of(path: str) -> Mapping[str, str]:
    """What an answer at ``path`` says; one that is streamed is given it when it begins."""
    return OPEN if is_open(path) else ALWAYS


def is_open(path: str) -> bool:
    """True if any page may read what is there."""
    return path.startswith(API) and not path.startswith(KEYED)


@lru_cache(maxsize=1)
def _date(now_s: int) -> bytes:
    """The second as HTTP has it."""
    return formatdate(now_s, usegmt=True).encode()
