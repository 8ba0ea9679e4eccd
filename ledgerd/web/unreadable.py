"""What is not HTTP: counted as an event, answered without a word of what came, its traceback kept out of the log."""

import asyncio
import logging
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from ledgerd.events import RequestUnreadable, emit
from ledgerd.web.answers import problem
from ledgerd.web.edge import ALWAYS

SUBJECT = "http"


class ServerLog(logging.LoggerAdapter[logging.Logger]):
    """The logger of aiohttp's server; a request it could not parse becomes an event."""

    def __init__(self) -> None:
        super().__init__(logging.getLogger("aiohttp.server"))

    def exception(self, msg: object, *args: object, **kwargs: Any) -> None:  # noqa: ANN401  as LoggerAdapter has it
        """Count what the client did wrong, log anything else."""
        if not _is_counted(kwargs.get("exc_info")):
            super().exception(msg, *args, **kwargs)

    def debug(self, msg: object, *args: object, **kwargs: Any) -> None:  # noqa: ANN401  as LoggerAdapter has it
        """As `exception`: this is how aiohttp tells of a method that is none, such as a TLS greeting."""
        if not _is_counted(kwargs.get("exc_info")):
            super().debug(msg, *args, **kwargs)


class Runner(web.AppRunner):
    """aiohttp's runner of an application, but that no answer repeats what is not HTTP: there may be a key in it."""

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(made.request_handler, request_factory=made.request_factory, **self._kwargs)


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Connection(web.RequestHandler):
    __slots__ = ()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """A problem where aiohttp would quote the line it cannot read; what else it has to say as it says it."""
        response = super().handle_error(request, status, exc, message)
        if isinstance(exc, HttpProcessingError):
            detail = "The request cannot be read, or a line of its head is longer than 8 KiB."
            hint = "First a line such as GET /v1/realms HTTP/1.1, then one header a line, with a colon behind its name."
            response = problem(request, status, "bad-request", detail, hint=hint, headers=ALWAYS)
            response.force_close()
        return response


def count_unreadable(loop: asyncio.AbstractEventLoop) -> None:
    """Take over what ``loop`` is told of requests whose target cannot even be split: aiohttp lets that error through.

    The loop closes such a connection itself, without an answer. Everything else is told as before.
    """
    loop.set_exception_handler(_handle)


def _handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    if isinstance(context.get("protocol"), web.RequestHandler) and isinstance(error, ValueError):
        emit(RequestUnreadable(SUBJECT, error=type(error).__name__))
    else:
        loop.default_exception_handler(context)


def _is_counted(error: object) -> bool:
    if not isinstance(error, HttpProcessingError):
        return False
    emit(RequestUnreadable(SUBJECT, error=type(error).__name__))
    return True
