"""Faults on order: what a bad network, a bad day upstream, or a changed API does to one answer.

A *whole* fault replaces an answer and may strike any. A *damage* fault changes a true body, most often in one market
or one stash, and so waits for an answer that has some. A *transport* fault keeps the body and spoils its delivery; the
server carries those out. ``river_faults`` does to pages of the river what needs to know them, and what only strikes
there.
"""

import gzip
import struct
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import orjson

from ledgerd.sim.noise import key_of, mix, uniform

BOMB_BYTES = 1 << 30
DEEP_LEVELS = 100_000
_MARK = b'"@fault@"'
_HTML = b"<!DOCTYPE html>\n<html><head><title>%s</title></head><body><h1>%s</h1></body></html>\n"


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer: ``body`` is what goes over the wire unless the server still has to compress it."""

    status: int
    body: bytes
    content_type: str = "application/json"
    encoding: str | None = None  # the Content-Encoding ``body`` already has
    headers: tuple[tuple[str, str], ...] = ()
    gzip_level: int = 6  # at which the server compresses it


def error_body(code: int, message: str) -> bytes:
    """The API's error shape, ``{"error":{"code":n,"message":…}}``; codes are listed in the official documentation."""
    return orjson.dumps({"error": {"code": code, "message": message}})


def _error(status: int, code: int, message: str, *headers: tuple[str, str]) -> Answer:
    return Answer(status, error_body(code, message), headers=headers)


def _page(status: int, title: bytes) -> Answer:
    return Answer(status, _HTML % (title, title), "text/html; charset=UTF-8")


def _garbage(seed: int) -> Answer:
    """Bytes of no format, called JSON."""
    return Answer(200, b"".join(mix(seed, n).to_bytes(8, "big") for n in range(512)))


@cache
def bomb() -> bytes:
    """About 1 MB of gzip, one member, that is 1 GiB of JSON whitespace; built when first asked for."""
    blank, times, crc = b" " * (1 << 20), BOMB_BYTES >> 20, 0
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(blank) + packer.flush(zlib.Z_FULL_FLUSH)  # stands alone, so it can be repeated
    for _ in range(times):
        crc = zlib.crc32(blank, crc)
    head, tail = b"\x1f\x8b\x08" + bytes(6) + b"\xff", zlib.compress(b"", wbits=-15)
    return head + block * times + tail + struct.pack("<II", crc, BOMB_BYTES)


_WHOLE: dict[str, Callable[[int], Answer]] = {
    "http_500": lambda _: _error(500, 4, "Internal error"),
    "http_502": lambda _: _page(502, b"502 Bad Gateway"),
    "http_503": lambda _: _page(503, b"503 Service Temporarily Unavailable"),
    "http_404_html": lambda _: _page(404, b"404 Not Found"),
    "http_401": lambda _: _error(401, 8, "Unauthorized"),
    "http_403": lambda _: _error(403, 6, "Forbidden"),
    "http_429": lambda _: _error(429, 3, "Rate limit exceeded", ("Retry-After", "60")),
    "html": lambda _: _page(200, b"Down for maintenance"),
    "gzip_bomb": lambda _: Answer(200, bomb(), encoding="gzip"),
    "garbage": _garbage,
    "wrong_type_json": lambda _: Answer(200, b'{"next_change_id":"soon","markets":{"0":null}}'),
}
TRANSPORT = ("truncated_gzip", "reset", "hang", "slow")


def _marked(body: bytes, pick: int, field: str) -> bytes:
    """``body`` with a mark in place of the second value of ``field`` in one market; ``pick`` chooses which."""
    page = orjson.loads(body)
    market = page["markets"][pick % len(page["markets"])]
    if isinstance(market[field], dict):
        market[field][market["market_pair"][1]] = "@fault@"
    else:
        market[field] = "@fault@"
    return orjson.dumps(page)


def _raw(field: str, text: bytes) -> Callable[[bytes, int], bytes]:
    """A damage that writes ``text`` as the value of ``field``."""
    return lambda body, pick: _marked(body, pick, field).replace(_MARK, text)


def _missing(body: bytes, pick: int) -> bytes:
    page = orjson.loads(body)
    del page["markets"][pick % len(page["markets"])]["volume_traded"]
    return orjson.dumps(page)


def _twice(body: bytes, pick: int) -> bytes:
    """One market says ``league`` twice, the second time otherwise; JSON leaves open which holds."""
    text = b'"Duplicate","league":"Duplicate again"'
    return _marked(body, pick, "league").replace(_MARK, text)


def _next_id(shift_s: int) -> Callable[[bytes, int], bytes]:
    """A damage that moves ``next_change_id`` by ``shift_s`` seconds."""

    def shift(body: bytes, _: int) -> bytes:
        page = orjson.loads(body)
        page["next_change_id"] += shift_s
        return orjson.dumps(page)

    return shift


_DAMAGE: dict[str, Callable[[bytes, int], bytes]] = {
    "lone_surrogate": _raw("league", b'"Sta\\ud800ndard"'),
    "huge_number": _raw("volume_traded", b"1e400"),
    "nul_byte": _raw("league", b'"Sta\\u0000ndard"'),
    "deep_json": _raw("volume_traded", b"[" * DEEP_LEVELS + b"]" * DEEP_LEVELS),
    "overflow_int64": _raw("volume_traded", b"9223372036854775808"),
    "duplicate_keys": _twice,
    "bad_utf8": _raw("league", b'"Sta\xff\xfe\xc3ndard"'),
    "backwards_cursor": _next_id(-2 * 3600),
    "repeated_cursor": _next_id(-3600),
    "bom": lambda body, _: b"\xef\xbb\xbf" + body,
    "missing_field": _missing,
    "negative_number": _raw("volume_traded", b"-7"),
    "float_number": _raw("volume_traded", b"7.5"),
}
FAULTS = (*_WHOLE, *TRANSPORT, *_DAMAGE)
"""Every fault there is. ``backwards_cursor`` names the hour before the one asked, ``repeated_cursor`` the one asked."""
AT_RANDOM = tuple(fault for fault in FAULTS if fault not in {"hang", "gzip_bomb"})
"""What a rate draws from when no faults are named: all but those that cost a client minutes or a machine its memory."""


RIVER_ONLY = ("storm_429", "invalid_token", "limit_change", "lying_next_id")
"""Faults that strike the river alone: refusals in a row whose Retry-After is too short, all tokens ended, other limits
from this answer on, and a header that names another next id than the body."""
ALL = (*FAULTS, *RIVER_ONLY)
RIVER_AT_RANDOM = (*AT_RANDOM, *RIVER_ONLY)
TARGETS = ("exchange", "river")
STORM_ANSWERS = 8
"""How many answers a storm lasts unless its order says otherwise."""


def check(names: Iterable[str]) -> tuple[str, ...]:
    """The names as a tuple; ValueError, listing what is allowed, when one is no fault."""
    found = tuple(names)
    unknown = [name for name in found if name not in ALL]
    if unknown:
        raise ValueError(f"unknown fault {unknown[0]!r}: expected one of {', '.join(ALL)}")
    return found


def needs_markets(fault: str) -> bool:
    """Whether ``fault`` can only strike an answer that has markets."""
    return fault in _DAMAGE or fault == "truncated_gzip"


def apply(fault: str | None, answer: Answer, pick: int) -> Answer:
    """``answer`` after ``fault``; ``pick`` is any number, it chooses the market struck. Pure.

    ``reset``, ``hang`` and ``slow`` leave the answer as it is.
    """
    if fault in _WHOLE:
        return _WHOLE[fault](pick)
    if fault in _DAMAGE:
        return Answer(answer.status, _DAMAGE[fault](answer.body, pick), headers=answer.headers)
    if fault == "truncated_gzip":
        packed = gzip.compress(answer.body, 6, mtime=0)
        return Answer(answer.status, packed[: len(packed) * 3 // 5], encoding="gzip", headers=answer.headers)
    return answer


@dataclass(frozen=True, slots=True)
class Order:
    """A fault ordered for the next ``times`` answers it can strike, of ``hour`` (unix seconds) or ``to`` alone."""

    fault: str
    hour: int | None = None
    to: str | None = None
    times: int = 1

    def strikes(self, hour: int | None, to: str, has_content: bool) -> bool:
        """Whether an answer of ``to``, of that hour and with or without markets or stashes, is one it waits for."""
        return self.to in {None, to} and self.hour in {None, hour} and _fits(self.fault, to, has_content)


def _fits(fault: str, to: str, has_content: bool) -> bool:
    """Whether ``fault`` can strike such an answer at all."""
    return (has_content or not needs_markets(fault)) and (to == "river" or fault not in RIVER_ONLY)


def read_orders(value: Any) -> list[Order]:  # noqa: ANN401 - checked here
    """Orders from JSON: a list of names or of ``{"fault":…, "hour":…, "to":…, "times":…}``; else ValueError."""
    if not isinstance(value, list):
        raise ValueError('expected a list such as ["html", {"fault": "reset", "hour": 1787086800}]')  # noqa: TRY004 - the caller's input
    return [_read_order({"fault": entry} if isinstance(entry, str) else entry) for entry in value]


def _read_order(named: Any) -> Order:  # noqa: ANN401 - checked here
    known = {"fault", "hour", "to", "times"}
    if not isinstance(named, dict) or not isinstance(named.get("fault"), str) or set(named) - known:
        raise ValueError(f'expected a fault\'s name or {{"fault":…, "hour":…, "to":…, "times":…}}, not {named!r}')
    (fault,) = check([named["fault"]])
    hour, to = named.get("hour"), named.get("to")
    times = named.get("times", STORM_ANSWERS if fault == "storm_429" else 1)
    if hour is not None and (isinstance(hour, bool) or not isinstance(hour, int)):
        raise ValueError(f"expected hour in unix seconds, not {hour!r}")
    if to is not None and to not in TARGETS:
        raise ValueError(f"expected to to be one of {', '.join(TARGETS)}, not {to!r}")
    if isinstance(times, bool) or not isinstance(times, int) or times < 1:
        raise ValueError(f"expected times to be 1 or more, not {times!r}")
    return Order(fault, hour, to, times)


class FaultPlan:
    """Which fault strikes which answer: ordered ones first, then a seeded share of all answers.

    ``rate`` is that share, 0..1, drawn evenly from ``faults`` (when empty: ``AT_RANDOM``, of the river
    ``RIVER_AT_RANDOM``). Whether answer ``n`` is struck depends on seed and ``n`` alone. Raises ValueError for an
    unknown fault or a rate outside 0..1.
    """

    def __init__(self, seed: int = 0, rate: float = 0.0, faults: Sequence[str] = ()) -> None:
        if not 0.0 <= rate <= 1.0:
            raise ValueError(f"fault rate {rate}: expected 0 to 1")
        named = check(faults)
        self._faults = {"exchange": named or AT_RANDOM, "river": named or RIVER_AT_RANDOM}
        self._keys = {"exchange": key_of(seed, "faults"), "river": key_of(seed, "river faults")}
        self._rate = rate
        self._orders: deque[Order] = deque()

    @property
    def waiting(self) -> list[Order]:
        """The orders not yet carried out, oldest first."""
        return list(self._orders)

    def order(self, orders: Iterable[Order]) -> None:
        """Append to the queue."""
        self._orders.extend(orders)

    def take(self, n: int, hour: int | None, has_markets: bool, to: str = "exchange") -> str | None:
        """The fault for answer ``n`` of ``to``, of ``hour``; an order that cannot strike it keeps its place."""
        for at, order in enumerate(self._orders):
            if order.strikes(hour, to, has_markets):
                self._spend(at, order)
                return order.fault
        key, faults = self._keys[to], self._faults[to]
        if uniform(key, 2 * n) >= self._rate:
            return None
        fault = faults[mix(key, 2 * n + 1) % len(faults)]
        if not _fits(fault, to, has_markets):
            return None
        if fault == "storm_429":
            self._orders.appendleft(Order(fault, None, to, STORM_ANSWERS - 1))
        return fault

    def _spend(self, at: int, order: Order) -> None:
        """One answer less for the order at that place."""
        if order.times > 1:
            self._orders[at] = replace(order, times=order.times - 1)
        else:
            del self._orders[at]

    def pick(self, n: int) -> int:
        """The number that decides where answer ``n`` is struck."""
        return mix(self._keys["exchange"] + 1, n)
