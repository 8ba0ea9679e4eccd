"""What a value of the configuration must be: the types of the models, each with the sentence that says its rule."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address
from math import inf
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

YEAR_S = 366 * 86400
REQUEST_S_MAX = 240
"""Below what counts as a stall: a request must end before the watchdog doubts the daemon."""


class Secret:
    """A text that prints as ``***`` wherever it is printed; empty means none is known.

    >>> Secret("hunter2"), str(Secret("hunter2")), bool(Secret())
    (***, '***', False)
    """

    __slots__ = ("_text",)

    def __init__(self, text: str = "") -> None:
        """``text``: the secret itself."""
        self._text = text

    def reveal(self) -> str:
        """The secret itself, for the one place that sends it."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "***"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Taken as it is; ``***`` in JSON."""
        return core_schema.is_instance_schema(cls, serialization=core_schema.to_string_ser_schema())


@dataclass(frozen=True, slots=True)
class Rule:
    """What a value must be: ``text`` completes the sentence "must be …", ``holds`` decides. Stands in ``Annotated``."""

    text: str
    holds: Callable[[Any], bool]

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Checked after the type."""
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def _checked(self, value: object) -> object:
        if not self.holds(value):
            raise ValueError(f"must be {self.text}")
        return value


def _split(url: str) -> SplitResult | None:
    """``url`` in its parts, or None if it is none a client could ask."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    plain = url.isascii() and url.isprintable() and " " not in url
    return parts if plain and parts.hostname and not (parts.username or parts.query or parts.fragment) else None


def _is_url(*schemes: str) -> Callable[[str], bool]:
    def holds(url: str) -> bool:
        parts = _split(url)
        return parts is not None and parts.scheme in schemes

    return holds


def is_loopback(url: str) -> bool:
    """True if ``url`` stays on this machine.

    >>> is_loopback("http://127.0.0.1:8020/x"), is_loopback("http://[::1]:1"), is_loopback("https://web.poecdn.com")
    (True, True, False)
    """
    parts = _split(url)
    host = (parts.hostname if parts else None) or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def host_port(listen: str) -> tuple[str, int] | None:
    """Host without brackets and port, or None if ``listen`` is not both."""
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)]|([A-Za-z0-9._-]+)):([0-9]{1,5})", listen)
    return (found[1] or found[2], int(found[3])) if found and int(found[3]) < 1 << 16 else None


def _is_contact(text: str) -> bool:
    mail = re.fullmatch(r"[^@\s()<>,]+@[^@\s()<>,]+\.[^@\s()<>,]+", text)
    web = "(" not in text and ")" not in text and _is_url("http", "https")(text)
    return text == "" or (text.isascii() and text.isprintable() and (bool(mail) or web))


def _matches(pattern: str) -> Callable[[str], bool]:
    return lambda text: re.fullmatch(pattern, text) is not None


def _is_leagues(names: tuple[str, ...]) -> bool:
    sane = all(name.strip() == name != "" and name.isprintable() and len(name) <= 100 for name in names)  # noqa: PLR2004 -- the text of the rule names it
    return bool(names) and sane and len(set(names)) == len(names)


def _is_hosts(names: tuple[str, ...]) -> bool:
    sane = all(re.fullmatch(r"[a-z0-9_]([a-z0-9._-]{0,252})", name) for name in names)
    return sane and len(set(names)) == len(names)


def parse_from(text: str, now_s: float) -> int | None:
    """The unix second of the first hour wanted; None means the oldest upstream has.

    ``text``: an RFC 3339 time with its zone, ``-24h``, ``-30d`` or ``oldest``; ``now_s``: unix seconds. Raises
    ValueError for any other text and for a time before 1970.

    >>> parse_from("-24h", 90000.0), parse_from("1970-01-02T01:30:00Z", 0), parse_from("oldest", 0)
    (3600, 90000, None)
    """
    if text == "oldest":
        return None
    if back := re.fullmatch(r"-([0-9]{1,5})([hd])", text):
        unix_s = now_s - int(back[1]) * (86400 if back[2] == "d" else 3600)
        return max(0, int(unix_s) // 3600 * 3600)
    when = datetime.fromisoformat(text)
    if when.tzinfo is None or when.timestamp() < 0:
        raise ValueError(f"{text} has no zone or is before 1970")
    return int(when.timestamp()) // 3600 * 3600


def _is_from(text: str) -> bool:
    try:
        parse_from(text, 0)
    except (ValueError, OverflowError):
        return False
    return True


Seconds = Annotated[float, Rule("a number of seconds greater than 0, at most a year", lambda s: 0 < s <= YEAR_S)]
RequestSeconds = Annotated[
    float, Rule("a number of seconds greater than 0, at most 240", lambda s: 0 < s <= REQUEST_S_MAX)
]
IntervalSeconds = Annotated[float, Rule("a number of seconds from 1 to 3600", lambda s: 1 <= s <= 3600)]  # noqa: PLR2004 -- the text of the rule names it
Hours = Annotated[float, Rule("a number of hours from 0 to 8784", lambda h: 0 <= h * 3600 <= YEAR_S)]
Days = Annotated[int, Rule("a whole number of days from 0 to 36500", lambda d: 0 <= d <= 36500)]  # noqa: PLR2004 -- the text of the rule names it
Bytes = Annotated[int, Rule("a whole number of bytes greater than 0", lambda n: 0 < n < 1 << 63)]
Pages = Annotated[int, Rule("a whole number from 1 to 1000", lambda n: 1 <= n <= 1000)]  # noqa: PLR2004 -- the text of the rule names it
Rows = Annotated[int, Rule("a whole number of rows greater than 0", lambda n: 0 < n < 1 << 63)]
Queries = Annotated[int, Rule("a whole number from 1 to 64", lambda n: 1 <= n <= 64)]  # noqa: PLR2004 -- the text of the rule names it
Rate = Annotated[float, Rule("a number greater than 0", lambda r: 0 < r < inf)]
Folder = Annotated[Path, Field(strict=False), Rule("a path", lambda path: "\0" not in str(path))]
File = Annotated[str, Rule("a path, or empty", lambda path: "\0" not in path)]
Url = Annotated[
    str,
    Rule("an http:// or https:// URL without user, query or fragment", _is_url("http", "https")),
    AfterValidator(lambda url: url.rstrip("/")),
]
ClickHouseUrl = Annotated[
    str,
    Rule(
        "clickhouse://host:9000, or clickhouses://host:9440 for TLS, without user or path",
        lambda url: url == "" or (_is_url("clickhouse", "clickhouses")(url) and urlsplit(url).path in ("", "/")),
    ),
]
Listen = Annotated[
    str,
    Rule('host:port, IPv6 in brackets, like "127.0.0.1:8010" or "[::1]:0"', lambda text: host_port(text) is not None),
]
Hosts = Annotated[
    tuple[str, ...],
    Field(strict=False),
    Rule('a list of different host names in small letters, without port, like ["ledger.lan"]', _is_hosts),
]
Contact = Annotated[str, Rule("a mail address or an http(s) URL", _is_contact)]
Token = Annotated[str, Rule("1 to 32 letters, digits, '.', '_' or '-'", _matches(r"[A-Za-z0-9._-]{1,32}"))]
ClientId = Annotated[str, Rule("up to 64 letters, digits, '.', '_' or '-'", _matches(r"[A-Za-z0-9._-]{0,64}"))]
Identifier = Annotated[
    str, Rule("an identifier: letters, digits and '_', no digit first", _matches(r"[A-Za-z_][A-Za-z0-9_]{0,63}"))
]
Name = Annotated[str, Rule("a name: letters, digits, '.', '_' or '-'", _matches(r"[A-Za-z0-9._-]{0,128}"))]
UserName = Annotated[str, Rule("a user name on one line", lambda text: text == "" or text.isprintable())]
UserAgent = Annotated[
    str,
    Rule(
        'empty, or one line of ASCII that begins "OAuth "',
        lambda text: text == "" or (text.startswith("OAuth ") and text.isascii() and text.isprintable()),
    ),
]
UrlPath = Annotated[str, Rule("a path like public-stash-tabs", _matches(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*"))]
Scope = Annotated[
    str, Rule("scopes like service:psapi, a space between two", _matches(r"[a-z]+:[a-z_]+( [a-z]+:[a-z_]+)*"))
]
Policy = Literal["serve", "refuse"]
Leagues = Annotated[
    tuple[str, ...],
    Field(strict=False),
    Rule('a list of different league names, or ["*"] for all public ones', _is_leagues),
]
From = Annotated[str, Rule('a time like "2026-10-01T00:00:00Z", "-72h", "-30d" or "oldest"', _is_from)]
RiverFrom = Annotated[
    str, Rule('"head", "oldest" or a change id', _matches(r"head|oldest|[0-9]{1,20}(-[0-9]{1,20}){4}"))
]
