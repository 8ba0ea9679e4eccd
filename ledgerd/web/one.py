"""One price, answered as quickly as it can be: this is what tools ask all day."""

from functools import lru_cache
from typing import NamedTuple

import orjson
from aiohttp import web
from multidict import CIMultiDict

from ledgerd.ledger.freshness import Limit, age_s, warning
from ledgerd.ledger.items import ItemSnapshot
from ledgerd.ledger.snapshot import Snapshot
from ledgerd.web import copies
from ledgerd.web.ages import admit, moment
from ledgerd.web.edge import OPEN, Finished

_HEADERS = CIMultiDict({**OPEN, "Content-Type": "application/json", "Cache-Control": copies.CACHE})
"""Made once: aiohttp takes a copy as it is, and would go through anything else name by name."""


class Found(NamedTuple):
    """A price: what an answer calls it, its JSON object without ages and brace, and the unix second it stands for."""

    name: bytes
    head: bytes
    as_of: float


def answer_one(
    request: web.Request, snapshot: Snapshot | ItemSnapshot, found: Found, now_s: float, limit: Limit
) -> web.Response:
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
    body = b'{%b,"as_of":"%b","age_s":%.1f,"stale":%b%b,"%b":%b,"age_s":%.1f,"stale":%b}}' % (
        _place(snapshot.realm, snapshot.league), moment(as_of).encode(), age, is_stale, told, name, head, age, is_stale,
    )  # fmt: skip
    headers = _HEADERS.copy()
    headers["ETag"] = etag
    return Finished(body=body, headers=headers)


@lru_cache(maxsize=256)
def _place(realm: str, league: str) -> bytes:
    """Realm and league as they stand in a JSON object."""
    return orjson.dumps({"realm": realm, "league": league})[1:-1]
