"""What the faults do to a page of the river: to one of its stashes, to its cursor, to its header."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson

from ledgerd.sim.faults import DEEP_LEVELS, Answer, apply, error_body
from ledgerd.sim.river_page import Page
from ledgerd.sim.river_source import RiverSource
from ledgerd.sim.timeline import parse_id

_MARK = b'"@fault@"'
_BACK, _ASIDE = 400, 500  # touches
_ERASED = ("stashType", "accountName", "items", "stash")


def _stash(field: str, text: bytes) -> Callable[[bytes, int], bytes]:
    """A damage that writes ``text`` as the value of a stash's field."""
    return lambda raw, _: orjson.dumps({**orjson.loads(raw), field: "@fault@"}).replace(_MARK, text)


def _item(field: str, text: bytes) -> Callable[[bytes, int], bytes]:
    """A damage that writes ``text`` as the value of a field of one item."""

    def write(raw: bytes, pick: int) -> bytes:
        stash: dict[str, Any] = orjson.loads(raw)
        stash["items"][pick % len(stash["items"])][field] = "@fault@"
        return orjson.dumps(stash).replace(_MARK, text)

    return write


def _missing(raw: bytes, pick: int) -> bytes:
    gone = _ERASED[pick % len(_ERASED)]
    return orjson.dumps({name: value for name, value in orjson.loads(raw).items() if name != gone})


_DAMAGE: dict[str, Callable[[bytes, int], bytes]] = {
    "lone_surrogate": _stash("stash", b'"Sta\\ud800sh"'),
    "nul_byte": _stash("stash", b'"Sta\\u0000sh"'),
    "bad_utf8": _stash("stash", b'"Sta\xff\xfe\xc3sh"'),
    "duplicate_keys": _stash("league", b'"Duplicate","league":"Duplicate again"'),
    "huge_number": _item("ilvl", b"1e400"),
    "overflow_int64": _item("ilvl", b"9223372036854775808"),
    "float_number": _item("ilvl", b"84.5"),
    "negative_number": _item("w", b"-7"),
    "deep_json": _item("hybrid", b"[" * DEEP_LEVELS + b"]" * DEEP_LEVELS),
    "missing_field": _missing,
}


def spoiled(fault: str, page: Page, realm: str, source: RiverSource, pick: int) -> tuple[Page, str | None]:
    """``page`` after a fault that leaves it a page, and the id of the stash struck, if one was; ``pick`` chooses it."""
    if fault in _DAMAGE:
        with_items = [n for n, piece in enumerate(page.pieces) if piece.items]
        at = with_items[pick % len(with_items)]
        raw = _DAMAGE[fault](page.pieces[at].raw, pick >> 8)
        return page.with_piece(at, raw), page.pieces[at].stash_id
    counters = parse_id(page.asked) if page.asked else None
    if fault == "backwards_cursor":
        return replace(page, next_id=source.beside(realm, counters, -_BACK), body=None), None
    if fault == "repeated_cursor":
        return replace(page, next_id=page.asked or source.beside(realm, None, 0), body=None), None
    if fault == "lying_next_id":
        aside = _ASIDE if pick & 1 else -_ASIDE
        return replace(page, header_id=source.beside(realm, parse_id(page.next_id), aside)), None
    if fault == "bom":
        return replace(page, body=b"\xef\xbb\xbf" + page.written()), None
    return page, None


def replaced(fault: str, answer: Answer, pick: int) -> Answer | None:
    """The answer that stands in for a page, for faults that leave no page; None for the others.

    A 429 or 403 keeps the rate-limit headers of ``answer``; what a proxy says, and a 401, has none.
    """
    if fault == "storm_429":
        return Answer(429, error_body(3, "Rate limit exceeded"), headers=(*answer.headers, ("Retry-After", "1")))
    if fault == "invalid_token":
        return Answer(401, orjson.dumps({"error": "invalid_token"}))
    if fault == "wrong_type_json":
        return Answer(200, b'{"next_change_id":7,"stashes":{"0":null}}', headers=answer.headers)
    if fault in _DAMAGE or fault in {"bom", "backwards_cursor", "repeated_cursor", "lying_next_id", "limit_change"}:
        return None
    struck = apply(fault, answer, pick)
    if struck == answer:
        return None
    kept = answer.headers if struck.status in {200, 403, 429} and "html" not in struck.content_type else ()
    return replace(struck, headers=(*kept, *(h for h in struck.headers if h not in answer.headers)))
