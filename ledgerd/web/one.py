"""One price, answered as quickly as it can be: this is what tools ask all day."""

from functools import lru_cache
from typing import NamedTuple

import orjson
from aiohttp import web

from ledgerd.ledger.freshness import Limit, age_s, warning
from ledgerd.ledger.items import ItemSnapshot
from ledgerd.ledger.snapshot import Snapshot
from ledgerd.web import copies
from ledgerd.web.ages import admit, moment
from ledgerd.web.edge import Ready


class Found(NamedTuple):
    """A price: what an answer calls it, its JSON object without ages and brace, and the unix second it stands for."""

    name: bytes
    head: bytes
    as_of: float


def answer_one(
    request: web.Request, snapshot: Snapshot | ItemSnapshot, found: Found, now_s: float, limit: Limit
) -> web.StreamResponse:
    """The JSON of one price of ``snapshot``, with its age, or the 304; TooOld if it may not be served."""
    name, head, as_of = found
    tag = snapshot.tag
    age = age_s(as_of, now_s)
    is_stale, told = b"false", b""
    if age > limit.max_age_s:
        admit(as_of, now_s, limit)
        is_stale, told, tag = b"true", b',"warning":' + orjson.dumps(warning(age, limit)), f"{tag}-stale"
    etag = f'W/"{tag}"'
    if "If-None-Match" in request.headers and (unmodified := copies.unmodified(request, etag)) is not None:
        return unmodified
    ages = b'"age_s":%.1f,"stale":%b' % (age, is_stale)
    body = b'%b,%b%b,"%b":%b,%b}}' % (_opening(snapshot.realm, snapshot.league, as_of), ages, told, name, head, ages)
    return Ready(etag, body)


@lru_cache(maxsize=1024)
def _opening(realm: str, league: str, as_of: float) -> bytes:
    """What an answer's JSON begins with, made once for a snapshot."""
    return orjson.dumps({"realm": realm, "league": league, "as_of": moment(as_of)})[:-1]
