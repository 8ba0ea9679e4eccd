"""An address of the Ledger API, declared once: its route, its parameters and its documentation all come from here."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from ledgerd.web.params import Nothing

Guard = Callable[[web.Request], None]

PATH_NAMES: Mapping[str, str] = {
    "realm": "pc, xbox, sony or poe2; in any case",
    "league": "the league's name, in any case",
    "currency": "trade tag, name, alias or metadata id; in any case",
    "key": "item key, as in a search's answer; its | and spaces percent-encoded",
    "account": "the seller's account name",
    "stash": "the stash's id",
    "source": "a source's name, such as exchange-pc or river-pc",
}
"""What the names in paths stand for."""


@dataclass(frozen=True, slots=True, eq=False)
class Endpoint:
    """One method at one path; ``serve`` gets the request and its parameters, read and checked.

    The first paragraph of ``serve``'s docstring says what it answers, in words for its users.
    """

    path: str
    """As aiohttp has it; what stands in braces is one of `PATH_NAMES`."""
    serve: Callable[[web.Request, Any], Awaitable[web.StreamResponse]]
    answer: Any
    """The type of the JSON it answers with 200."""
    query: type = Nothing
    """A dataclass of parameters, see ``params``."""
    method: str = "GET"
    body: Any = None
    """The type of the JSON it takes."""
    example: str = ""
    """A path and query that show it at work, of pc/Mirage; `/docs` shows a league it has instead."""
    example_body: Any = None
    statuses: tuple[int, ...] = (400, 404, 503)
    """What it may answer beside 200, as problems."""
    has_formats: bool = False
    """It answers rows, in any of ``rows.FORMATS``."""
    has_copies: bool = False
    """It answers with an ETag, and 304 to who has the copy already."""
    content_type: str = "application/json"
    key: str = ""
    """The header its key goes in; empty: open to everybody."""
    guard: Guard | None = None
    """Looks at the request before its parameters are read; raises what refuses it."""
    is_hot: bool = False
    """Asked all day: its path is of ``onepath``'s form."""
