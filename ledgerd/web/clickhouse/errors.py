"""What goes wrong at ``/sql``, told as ClickHouse tells it over HTTP: its number, its words, its statuses (pure)."""

from ledgerd.errors import QueryRefused, StoreUnavailable
from ledgerd.ledger.freshness import RETRY_AFTER_S

BAD_ARGUMENTS, NOT_IMPLEMENTED, UNKNOWN_DATABASE, UNKNOWN_SETTING = 36, 48, 81, 115
TOO_MANY_AT_ONCE, NETWORK_ERROR, TOO_LARGE_RESULT = 202, 210, 396
ACCESS_DENIED, AUTHENTICATION_FAILED, BAD_QUERY_PARAMETER = 497, 516, 457
_TOLD = {
    36: ("BAD_ARGUMENTS", 400),
    46: ("UNKNOWN_FUNCTION", 404),
    47: ("UNKNOWN_IDENTIFIER", 404),
    48: ("NOT_IMPLEMENTED", 501),
    50: ("UNKNOWN_TYPE", 404),
    60: ("UNKNOWN_TABLE", 404),
    62: ("SYNTAX_ERROR", 400),
    73: ("UNKNOWN_FORMAT", 404),
    81: ("UNKNOWN_DATABASE", 404),
    115: ("UNKNOWN_SETTING", 404),
    158: ("TOO_MANY_ROWS", 400),
    159: ("TIMEOUT_EXCEEDED", 408),
    164: ("READONLY", 403),
    202: ("TOO_MANY_SIMULTANEOUS_QUERIES", 503),
    210: ("NETWORK_ERROR", 503),
    241: ("MEMORY_LIMIT_EXCEEDED", 400),
    396: ("TOO_MANY_ROWS_OR_BYTES", 400),
    456: ("UNKNOWN_QUERY_PARAMETER", 400),
    457: ("BAD_QUERY_PARAMETER", 400),
    497: ("ACCESS_DENIED", 403),
    516: ("AUTHENTICATION_FAILED", 401),
}
"""ClickHouse's names of the errors met most, and the statuses they leave with; READONLY, ACCESS_DENIED and limits would
be a 500 there, and are no fault of the server here."""
_HEADERS = {401: {"WWW-Authenticate": 'Basic realm="ledgerd"'}, 503: {"Retry-After": str(RETRY_AFTER_S)}}


def refusal(code: int, message: str) -> QueryRefused:
    """A refusal with ClickHouse's number ``code``."""
    error = QueryRefused(message)
    error.code = code
    return error


def told(error: QueryRefused | StoreUnavailable, version: str) -> tuple[int, dict[str, str], str]:
    """The status, headers and text that say ``error``; ``version`` is the engine's.

    >>> told(refusal(81, "There is no x."), "26.9")[2].strip()
    'Code: 81. DB::Exception: There is no x. (UNKNOWN_DATABASE) (version 26.9)'
    """
    is_passing = isinstance(error, StoreUnavailable)
    code = error.code or (NETWORK_ERROR if is_passing else BAD_ARGUMENTS)
    name, status = _TOLD.get(code, ("", 503 if is_passing else 400))
    message = error.message.removesuffix(f" (code {code})")
    words = f"Code: {code}. DB::Exception: {message}{f' ({name})' if name else ''} (version {version})\n"
    return status, {"X-ClickHouse-Exception-Code": str(code), **_HEADERS.get(status, {})}, words
