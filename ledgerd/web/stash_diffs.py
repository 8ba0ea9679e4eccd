"""What happened in stashes, hour by hour, asked of the engine a page at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field, with_config
from typing_extensions import TypedDict

from ledgerd.clock import HOUR_S, rfc3339
from ledgerd.ledger.items import Cursor
from ledgerd.ledger.shape import SHAPE, Moment
from ledgerd.store.engine import Row
from ledgerd.web.ages import Aged
from ledgerd.web.answers import BadRequest, answer
from ledgerd.web.copies import CACHE
from ledgerd.web.deps import DEPS
from ledgerd.web.endpoint import Endpoint
from ledgerd.web.items import Place, snapshot_of
from ledgerd.web.pages import after_of
from ledgerd.web.params import UNIX_S_MAX, count, moment
from ledgerd.web.rows import cursor, next_cursor
from ledgerd.web.stashes import SELLER_PATH, STASH_PATH, ask, head_of, stash_of, stashes_of, until_of

LIMIT_MAX = 500
SPAN_S = 7 * 24 * HOUR_S


@with_config(SHAPE)
class StashDiff(TypedDict):
    """What happened in one stash in one hour. Values are in chaos, of whole stacks, at the rates of that moment."""

    hour: Moment
    """Its beginning."""
    stash: str
    account: str
    added: int
    """Items that came, priced or not. Events are counted: what came and went within the hour counts as both."""
    removed: int
    repriced: int
    """Changes of a price; also one given, or taken back."""
    restacked: int
    unconverted: int
    """Events whose price has no rate: counted, but without value."""
    added_chaos: float
    """What they asked."""
    removed_chaos: float
    repriced_chaos: float
    """By how much what they ask changed."""
    restacked_chaos: float
    """The same; a stack that sold in part is negative."""
    first_batch: str
    last_batch: str


@with_config(SHAPE)
class StashDiffs(Aged, Place):
    """What happened, newest first: in hours that were over as of ``as_of``, or a little later."""

    from_: Annotated[Moment, Field(alias="from")]
    to: Moment
    count: int
    """How many stand in this answer."""
    next: str | None
    """What ``cursor`` must be for those before; null at the end."""
    diffs: list[StashDiff]


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffsQuery:
    """Parameters of diffs."""

    from_: int | None = moment(about="The beginning, RFC 3339 with its zone or unix seconds; 7 days before `to`")
    to: int | None = moment(about="The end, not included; now unless given")
    limit: int = count(100, most=LIMIT_MAX, about="At most that many, newest first")
    cursor: Cursor | None = cursor(about="Go on after the answer whose `next` this was, with the same `from` and `to`")


async def get_stash_diffs(request: web.Request, asked: DiffsQuery) -> web.StreamResponse:
    """What came, went and changed its price in one stash, hour by hour, newest first."""
    snapshot, stash = snapshot_of(request), request.match_info["stash"]
    span = _span(request, asked)
    head = head_of(request, snapshot, "stash", (await until_of(request, snapshot)).diffs)
    rows = await ask(request, "stash_diffs", snapshot, stash=stash, **span)
    if not rows and asked.cursor is None:
        await stash_of(request, snapshot, stash)
    return _page(head, span, rows)


async def get_seller_diffs(request: web.Request, asked: DiffsQuery) -> web.StreamResponse:
    """What came, went and changed its price in any stash of one seller, hour by hour, newest first."""
    snapshot, account = snapshot_of(request), request.match_info["account"]
    span = _span(request, asked)
    head = head_of(request, snapshot, "seller", (await until_of(request, snapshot)).diffs)
    rows = await ask(request, "seller_diffs", snapshot, account=account, **span)
    if not rows and asked.cursor is None:
        await stashes_of(request, snapshot, account)
    return _page(head, span, rows)


def _span(request: web.Request, asked: DiffsQuery) -> dict[str, Any]:
    """What the queries are to read: a row more than asked for, to see whether any follow. BadRequest if it is odd."""
    to_s = int(request.app[DEPS].clock.now()) if asked.to is None else asked.to
    from_s = max(0, to_s - SPAN_S) if asked.from_ is None else asked.from_
    if from_s >= to_s:
        raise BadRequest(f"from ({rfc3339(from_s)}) is not before to ({rfc3339(to_s)}).", "Swap them.")
    after_s, after = after_of(asked.cursor, UNIX_S_MAX)
    return {"from_s": from_s, "to_s": to_s, "after_s": after_s, "after": after, "most": asked.limit + 1}


def _page(head: dict[str, Any], span: dict[str, Any], rows: Sequence[Row]) -> web.Response:
    diffs = [_diff(row) for row in rows[: span["most"] - 1]]
    last = Cursor(*rows[len(diffs) - 1][:2]) if len(rows) > len(diffs) else None
    body = {
        **head,
        "from": rfc3339(span["from_s"]),
        "to": rfc3339(span["to_s"]),
        "count": len(diffs),
        "next": next_cursor(last),
        "diffs": diffs,
    }
    return answer(body, headers={"Cache-Control": CACHE})


def _diff(row: Row) -> StashDiff:
    hour_s, stash, account, added, removed, repriced, restacked, unconverted, *values, first, last = row
    added_chaos, removed_chaos, repriced_chaos, restacked_chaos = values
    return StashDiff(
        hour=rfc3339(hour_s),
        stash=stash,
        account=account,
        added=added,
        removed=removed,
        repriced=repriced,
        restacked=restacked,
        unconverted=unconverted,
        added_chaos=added_chaos,
        removed_chaos=removed_chaos,
        repriced_chaos=repriced_chaos,
        restacked_chaos=restacked_chaos,
        first_batch=first,
        last_batch=last,
    )


ENDPOINTS = (
    Endpoint(
        f"{STASH_PATH}/diffs", get_stash_diffs, StashDiffs, DiffsQuery, example="/v1/pc/Mirage/stashes/9b1deb4d3b/diffs"
    ),
    Endpoint(
        f"{SELLER_PATH}/diffs",
        get_seller_diffs,
        StashDiffs,
        DiffsQuery,
        example="/v1/pc/Mirage/sellers/Kortan%231234/diffs",
    ),
)
