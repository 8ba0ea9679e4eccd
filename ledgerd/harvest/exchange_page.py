"""What an answer of the currency exchange means; values in, values out.

Shape and edge behaviour as GGG serves them since 3.29 (July 2026): the digest of an hour under the hour's unix second,
``next_change_id`` naming the hour to ask next, and a 404 with a body for an hour that is not published yet.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from ledgerd.clock import HOUR_S

HOUR_MAX = 2**32 - HOUR_S
"""The last hour a DateTime column can hold."""
MARKETS_MAX = 50_000
"""Most markets in an hour; ten times the busiest one. Millions of tiny ones would cost the engine its memory."""
HTTP_OK = 200
HTTP_NOT_FOUND = 404


class UnreadablePage(ValueError):
    """An answer that is neither a digest nor the edge; the text is the reason kept in quarantine."""


@dataclass(frozen=True, slots=True)
class Digest:
    """A published hour. ``next_hour`` is beyond ``hour + 3600`` where upstream skips hours."""

    hour: int
    next_hour: int


@dataclass(frozen=True, slots=True)
class NotYet:
    """The hour is not published; ask again later. This is no error and no invalid request.

    ``next_hour``: the one upstream names; an hour ahead of the one asked, it may mean that one will never be.
    """

    next_hour: int


@dataclass(frozen=True, slots=True)
class NeverWas:
    """The hours from the one asked up to ``next_hour`` do not exist and never will."""

    next_hour: int


def read_answer(asked: int | None, status: int, body: bytes) -> Digest | NotYet | NeverWas:
    """What upstream said of the hour ``asked`` (None: the oldest it keeps). Raises UnreadablePage.

    A ``next_change_id`` behind the hour asked makes the page unreadable, so that the chain cannot turn back.
    """
    if status not in {HTTP_OK, HTTP_NOT_FOUND}:
        raise UnreadablePage(f"HTTP status {status}")
    page = load(body)
    next_hour = _next_hour(page)
    markets = _markets(page)
    if status == HTTP_NOT_FOUND or next_hour == asked:
        return _edge(asked, next_hour, markets)
    hour = next_hour - HOUR_S if asked is None else asked
    if next_hour <= hour:
        raise UnreadablePage(f"next_change_id {next_hour} is behind the hour asked")
    return Digest(hour, next_hour)


def _edge(asked: int | None, next_hour: int, markets: list[Any]) -> NotYet | NeverWas:
    if markets:
        raise UnreadablePage("an unpublished hour came with markets")
    if asked is not None and next_hour - asked > HOUR_S:
        return NeverWas(next_hour)
    return NotYet(next_hour)


def _next_hour(page: Mapping[str, Any]) -> int:
    value = page.get("next_change_id")
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= len(str(HOUR_MAX)):
        value = int(value)
    if type(value) is not int or not 0 < value <= HOUR_MAX or value % HOUR_S:
        raise UnreadablePage("next_change_id is not a whole hour in unix seconds")
    return value


def load(body: bytes) -> dict[str, Any]:
    """``body`` as a JSON object: by a strict reader, else by a lenient one. Raises UnreadablePage."""
    try:
        page = orjson.loads(body)
    except orjson.JSONDecodeError:
        page = _load_leniently(body)
    if not isinstance(page, dict):
        raise UnreadablePage("not a JSON object")
    return page


def _load_leniently(body: bytes) -> object:
    """JSON with what strict readers refuse: a BOM, lone surrogates, infinities, bad UTF-8, control characters."""
    try:
        return json.loads(body.decode("utf-8-sig", "surrogateescape"), strict=False)
    except (ValueError, RecursionError) as error:
        raise UnreadablePage(f"not JSON: {error}"[:200]) from error


@dataclass(frozen=True, slots=True)
class Landable:
    """A page as the engine can read it.

    ``body``: JSON, the page itself wherever a strict reader takes it; ``leagues``: markets in it by league ("" where a
    market names none); ``unreadable``: markets no strict reader takes, each as ASCII JSON, for the quarantine.
    """

    body: bytes
    leagues: Counter[str] = field(default_factory=Counter)
    unreadable: tuple[bytes, ...] = ()


def landable(body: bytes) -> Landable:
    """Prepare a decoded page for its INSERT. Raises UnreadablePage.

    One lone surrogate or ``1e400`` makes the engine's JSON functions see an empty page, so such markets are taken out.
    """
    try:
        markets = _markets(orjson.loads(body))
        return Landable(body, _leagues(markets))
    except orjson.JSONDecodeError:
        markets = _markets(load(body))
    good, bad = [], []
    for market in markets:
        try:
            good.append(orjson.loads(json.dumps(market)))
        except (ValueError, RecursionError):
            bad.append(json.dumps(market).encode())
    return Landable(orjson.dumps({"markets": good}), _leagues(good), tuple(bad))


def _markets(page: object) -> list[Any]:
    markets = page.get("markets") if isinstance(page, dict) else None
    if not isinstance(markets, list):
        raise UnreadablePage("markets is not a list")
    if len(markets) > MARKETS_MAX:
        raise UnreadablePage(f"{len(markets)} markets are more than {MARKETS_MAX}")
    return markets


def _leagues(markets: Iterable[object]) -> Counter[str]:
    return Counter(_league(market) for market in markets)


def _league(market: object) -> str:
    league = market.get("league") if isinstance(market, dict) else None
    return league if isinstance(league, str) else ""
