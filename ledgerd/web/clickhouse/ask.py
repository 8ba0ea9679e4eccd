"""What a request to ``/sql`` asks: ClickHouse's parameters of its HTTP interface, those that make sense here."""

import math
import re
import uuid
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from aiohttp import web

from ledgerd.config import Sql
from ledgerd.spelling import nearest
from ledgerd.web.clickhouse.errors import BAD_ARGUMENTS, BAD_QUERY_PARAMETER, UNKNOWN_SETTING, refusal

T = TypeVar("T")

DEFAULT_FORMAT = "TabSeparated"
THREADS_MAX = 2
"""Of one query: SQL of people shall not take every core from what ingests."""
SHAPING = frozenset(
    {
        "date_time_output_format", "extremes", "join_use_nulls", "output_format_arrow_string_as_string",
        "output_format_binary_write_json_as_string", "output_format_decimal_trailing_zeros",
        "output_format_json_named_tuples_as_objects", "output_format_json_quote_64bit_floats",
        "output_format_json_quote_64bit_integers", "output_format_json_quote_decimals",
        "output_format_json_quote_denormals", "output_format_native_write_json_as_string",
        "output_format_parquet_string_as_string", "session_timezone",
    }
)  # fmt: skip
"""Settings that change how an answer is written and nothing else; the engine gets them as they are."""
LOWERED = frozenset(
    {
        "max_bytes_to_read", "max_execution_time", "max_memory_usage", "max_result_bytes", "max_result_rows",
        "max_rows_to_read", "max_threads",
    }
)  # fmt: skip
"""Limits a client may make narrower than ours, not wider."""
IGNORED = frozenset(
    {
        "buffer_size", "cancel_http_readonly_queries_on_client_close", "cast_string_to_dynamic_use_inference",
        "close_session", "connect_timeout", "date_time_input_format", "enable_http_compression",
        "http_headers_progress_interval_ms", "http_zlib_compression_level", "log_comment", "max_block_size",
        "quota_key", "receive_timeout", "send_progress_in_http_headers", "send_timeout", "session_check", "session_id",
        "session_timeout", "user", "wait_end_of_query",
    }
)  # fmt: skip
"""About sessions, progress, transport and what comes in: taken, without effect."""
NAMED = frozenset({"client_protocol_version", "database", "default_format", "query", "query_id"})
ONLY = {"compress": {"0"}, "decompress": {"0"}, "readonly": {"1", "2"}, "result_overflow_mode": {"throw", "break"}}
"""Parameters of which only these values are taken."""
_QUERY_ID = re.compile(r"[\w.:+-]{1,100}", re.ASCII)
_PARAM = re.compile(r"param_[A-Za-z_]\w{0,99}", re.ASCII)
_COMPRESS = "ClickHouse's own block compression is not offered: switch it off in the driver (JDBC: compress=false)."


@dataclass(frozen=True, slots=True)
class Asked:
    """A query as a client sends it."""

    sql: str
    format: str
    database: str
    """Empty: none was named."""
    query_id: str
    revision: int
    """Of the native protocol, which the format Native is written for; 0: as files have it."""
    timeout_s: float
    settings: dict[str, str | int]
    params: dict[str, str]
    timezone: str


async def asked(request: web.Request, rules: Sql) -> Asked:
    """What ``request`` asks within the limits of ``rules``; QueryRefused says which parameter is wrong, and how."""
    given = _single(request.query.items())
    if request.content_type == "multipart/form-data":
        given |= _single(await _form(request))
        body = ""
    else:
        body = await _text(request)
    _check(given)
    sql = "\n".join(text for text in (given.get("query", ""), body) if text)
    headers = request.headers
    query_id = given.get("query_id") or headers.get("X-ClickHouse-Query-Id") or str(uuid.uuid4())
    if not _QUERY_ID.fullmatch(query_id):
        raise refusal(BAD_ARGUMENTS, "query_id takes up to 100 letters, digits and . : + - _")
    limits = _limits(given, rules)
    timeout_s = limits.pop("max_execution_time")
    revision = int(_number("client_protocol_version", given.get("client_protocol_version", "0")))
    shaping = {name: text for name, text in given.items() if name in SHAPING}
    return Asked(
        sql=sql,
        format=given.get("default_format") or headers.get("X-ClickHouse-Format") or DEFAULT_FORMAT,
        database=given.get("database") or headers.get("X-ClickHouse-Database") or "",
        query_id=query_id,
        revision=revision,
        timeout_s=timeout_s,
        settings={
            **{name: max(1, int(limit)) for name, limit in limits.items()},  # 0 would be no limit
            **shaping,
            "result_overflow_mode": "break" if _cuts(given, rules) else "throw",
        },
        params={name.removeprefix("param_"): text for name, text in given.items() if name.startswith("param_")},
        timezone=shaping.get("session_timezone") or "UTC",
    )


def _single(items: Iterable[tuple[str, str]]) -> dict[str, str]:
    given: dict[str, str] = {}
    for name, text in items:
        if name in given:
            raise refusal(BAD_ARGUMENTS, f"The parameter {name[:50]!r} is given twice.")
        given[name] = text
    return given


async def _text(request: web.Request) -> str:
    try:
        return (await _read(request.read())).decode()
    except UnicodeDecodeError as error:
        raise refusal(BAD_ARGUMENTS, f"The query is not UTF-8: {error.reason} at byte {error.start}.") from error


async def _form(request: web.Request) -> list[tuple[str, str]]:
    """The fields of a form, as clients send parameters that are too long for an address."""
    try:
        fields = await _read(request.post())
    except ValueError as error:
        raise refusal(BAD_ARGUMENTS, "The form cannot be read.") from error
    texts = [(name, value) for name, value in fields.items() if isinstance(value, str)]
    if len(texts) != len(fields):
        raise refusal(BAD_ARGUMENTS, "External tables are not offered; a form may hold query and param_… only.")
    return texts


async def _read(reading: Awaitable[T]) -> T:
    """What ``reading`` a body gives; QueryRefused if it is too large, or packed in a way that cannot be undone."""
    try:
        return await reading
    except web.HTTPRequestEntityTooLarge as error:
        raise refusal(BAD_ARGUMENTS, "The query is larger than 1 MiB.") from error
    except web.RequestPayloadError as error:
        raise refusal(BAD_ARGUMENTS, "The body cannot be unpacked, or not within its limits.") from error


def _check(given: dict[str, str]) -> None:
    """QueryRefused for the first parameter that is not offered."""
    known = NAMED | SHAPING | LOWERED | IGNORED | ONLY.keys()
    for name, text in given.items():
        if name.startswith("param_"):
            if not _PARAM.fullmatch(name):
                raise refusal(BAD_QUERY_PARAMETER, f"{name[:50]!r} is no name for a parameter of a query.")
        elif name not in known:
            near = ", ".join(nearest(name, known))
            maybe = f" Maybe you meant: {near}." if near else ""
            raise refusal(UNKNOWN_SETTING, f"The setting {name[:50]!r} is not taken here.{maybe}")
        elif name in ONLY and text not in ONLY[name]:
            why = _COMPRESS if name == "compress" else f"Takes {' or '.join(sorted(ONLY[name]))}."
            raise refusal(BAD_ARGUMENTS, f"{name} = {text[:50]!r} is not offered. {why}")


def _limits(given: dict[str, str], rules: Sql) -> dict[str, float]:
    """The limits of ``rules``, or those the client asked for where they are narrower; 0 asks for none of its own."""
    limits = {
        "max_execution_time": rules.timeout_s,
        "max_memory_usage": rules.memory_bytes_max,
        "max_result_bytes": rules.bytes_max,
        "max_result_rows": rules.rows_max,
        "max_threads": THREADS_MAX,
    }
    for name in LOWERED & given.keys():
        wish = _number(name, given[name])
        if wish:
            limits[name] = min(wish, limits.get(name, math.inf))
    return limits


def _cuts(given: dict[str, str], rules: Sql) -> bool:
    """True if the client wants its own number of rows and no word about more; ours is never cut to without one."""
    rows_max = _number("max_result_rows", given.get("max_result_rows", "0"))
    return given.get("result_overflow_mode") == "break" and 0 < rows_max <= rules.rows_max


def _number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < 1 << 63:
        raise refusal(BAD_ARGUMENTS, f"{name} = {text[:50]!r} is no number from 0 on.")
    return number
