"""What the engine said when it failed, as one of our errors: its number decides whether trying again can help."""

import re

from ledgerd.errors import QueryRefused, StoreUnavailable

MESSAGE_CHARS_MAX = 400

TIMEOUT = 159
MEMORY = 241

TRANSIENT_CODES = {
    *(32, 74, 75, 76),  # reading or writing a file failed, or the other side hung up
    *(159, 160, 202, 203, 209, 210, 236, 279),  # too slow, too many at once, network, aborted
    *(173, 241, 439, 1001),  # no memory, no thread
    *(242, 243, 252),  # table read-only, disk full, too many parts
    *(225, 285, 286, 319, 999),  # Keeper, replicas, quorum
    *(394, 473),  # cancelled, deadlock avoided
    *(198, 201, 254, 255, 265, 499, 745),  # name not found, quota, other nodes, object storage, overloaded
    *(1000, 1002),  # POCO and unknown exceptions
}
"""Numbers of https://github.com/ClickHouse/ClickHouse/blob/master/src/Common/ErrorCodes.cpp that pass with time."""

REPEATABLE_CODES = frozenset({TIMEOUT, MEMORY})
"""Of those that pass with time, the ones that also come of what was sent: then they come each time."""
SCHEMA_CODES = frozenset({8, 10, 16, 20, 46, 47, 60, 62, 81, 115, 164, 192, 193, 194, 218, 497, 516})
"""Tables, columns, functions or rights that are not there: no row is to blame for them."""

HINTS = {
    159: "Ask for less at once, or allow more time; see `ledgerd status`.",
    241: "Raise clickhouse.memory_bytes_max or ask for less; then: `ledgerd check-config`.",
    243: "Free disk space; see `ledgerd status`.",
    252: "Merges are behind; see `ledgerd status`.",
    164: "Only reads are allowed here; see `ledgerd sql --help`.",
}

_CODE = re.compile(r"Code: (\d+)\. DB::(?:Net)?Exception: ")
_NOISE = re.compile(r"\s*(?:,? ?Stack trace|Expected one of:|\(version \d).*", re.DOTALL)
_NAME = re.compile(r"\s*\([A-Z][A-Z0-9_]+\)\.?\s*$")


def fault(text: str, code: int | None = None) -> StoreUnavailable | QueryRefused:
    """The error for an engine's message ``text``; ``code`` if it came apart from the text.

    A message without a number counts as passing: it comes from the way to the engine, not from the statement.
    """
    found = _CODE.search(text)
    number = code if code is not None else int(found[1]) if found else 0
    message = f"{shortened(text)} (code {number})" if number else shortened(text)
    is_passing = number == 0 or number in TRANSIENT_CODES
    error = (StoreUnavailable if is_passing else QueryRefused)(message, HINTS.get(number, ""))
    error.code = number
    return error


def is_repeatable(error: StoreUnavailable | QueryRefused) -> bool:
    """True if what was sent may be to blame, so that sending it again gives the same."""
    if isinstance(error, QueryRefused):
        return error.code not in SCHEMA_CODES
    return error.code in REPEATABLE_CODES


def shortened(text: str) -> str:
    """``text`` without stack, version, repeated prefix and list of what the parser might have liked.

    >>> shortened("Code: 62. DB::Exception: Syntax error: failed at position 7: 1. Expected one of: token, OR")
    'Syntax error: failed at position 7: 1.'
    """
    last = list(_CODE.finditer(text))
    body = text[last[-1].end() :] if last else text
    body = _NAME.sub("", _NOISE.sub("", body))
    line = " ".join(body.split())
    return line if len(line) <= MESSAGE_CHARS_MAX else line[: MESSAGE_CHARS_MAX - 1] + "…"


def timed_out(timeout_s: float, what: str) -> StoreUnavailable:
    """The error for work that took longer than ``timeout_s``."""
    error = StoreUnavailable(f"{what} took longer than {timeout_s:g} s.", HINTS[TIMEOUT])
    error.code = TIMEOUT
    return error


def refused(message: str, hint: str = "") -> QueryRefused:
    """An error for a statement we refuse before the engine sees it."""
    return QueryRefused(message, hint)
