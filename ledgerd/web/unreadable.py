"""What is not HTTP: each is counted as an event, and its traceback is kept out of the log."""

import asyncio
import logging
from typing import Any

from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler

from ledgerd.events import RequestUnreadable, emit

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


def count_unreadable(loop: asyncio.AbstractEventLoop) -> None:
    """Take over what ``loop`` is told of requests whose target cannot even be split: aiohttp lets that error through.

    The loop closes such a connection itself, without an answer. Everything else is told as before.
    """
    loop.set_exception_handler(_handle)


def _handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    if isinstance(context.get("protocol"), RequestHandler) and isinstance(error, ValueError):
        emit(RequestUnreadable(SUBJECT, error=type(error).__name__))
    else:
        loop.default_exception_handler(context)


def _is_counted(error: object) -> bool:
    if not isinstance(error, HttpProcessingError):
        return False
    emit(RequestUnreadable(SUBJECT, error=type(error).__name__))
    return True
