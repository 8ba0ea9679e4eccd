"""``/v1/events``: who listens is told of every new snapshot, as server-sent events."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web
from pydantic import with_config
from typing_extensions import TypedDict

from ledgerd.ledger.ledger import Announcement, Announcements, Ledger
from ledgerd.ledger.shape import SHAPE, Moment
from ledgerd.web.ages import moment
from ledgerd.web.answers import Busy
from ledgerd.web.deps import DEPS
from ledgerd.web.edge import headers_of
from ledgerd.web.endpoint import Endpoint
from ledgerd.web.params import choice, words

LISTENERS_MAX = 200
"""A listener costs a socket and a queue; more are told to come again."""
ALIVE_S = 15.0
"""How often a silent stream says that it is there, so that nobody in between closes it."""
EVENT_STREAM = "text/event-stream"
HEADERS = {"Content-Type": EVENT_STREAM, "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""The last for proxies: one that gathers pages would hold events back."""
RETRY_MS = 5_000
"""How long a client waits before it connects again."""


@with_config(SHAPE)
class SnapshotEvent(TypedDict):
    """The ``data`` of one event: a league's prices are new."""

    realm: str
    league: str
    layer: str
    """``currency`` or ``items``."""
    as_of: Moment
    count: int
    """How many prices there are."""
    tag: str
    """A name of the content: another one, another content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsQuery:
    """Which events to be told of."""

    realm: str = words("", chars_max=20, about="Only this realm's")
    league: str = words("", chars_max=100, about="Only this league's")
    layer: str = choice("all", ("all", "currency", "items"), about="Only these prices'")


LISTENING = web.AppKey("listening", set[asyncio.Task[Any]])
"""The requests that listen."""


async def get_events(request: web.Request, asked: EventsQuery) -> web.StreamResponse:
    """Server-sent events, one named `snapshot` whenever a league has new prices; begins with those there are.

    A client that reconnects is told what stands, so nothing has to be remembered for it.
    """
    ledger, listening = request.app[DEPS].ledger, request.app[LISTENING]
    _check(ledger, asked)
    if len(listening) >= LISTENERS_MAX:
        raise Busy(text=f"{LISTENERS_MAX} listen already.")
    response = web.StreamResponse(headers={**headers_of(request.path), **HEADERS})
    task, queue = asyncio.current_task(), ledger.subscribe()
    assert task is not None  # noqa: S101  aiohttp runs every handler in one
    listening.add(task)
    try:
        with suppress(ConnectionResetError):  # the client has gone
            await response.prepare(request)
            if request.method == "HEAD":
                return response
            await response.write(b"retry: %d\n\n" % RETRY_MS)
            for news in list(standing(ledger)):
                await _tell(response, news, asked)
            while True:
                await _await_news(response, queue, asked)
    finally:
        ledger.unsubscribe(queue)
        listening.discard(task)
    return response


def _check(ledger: Ledger, asked: EventsQuery) -> None:
    """NotKnown, with what is near, if no league there is can be meant."""
    known = [market for leagues in ledger.markets().values() for market in leagues.values()]
    if known and not any(_is_asked(asked, market.realm, market.league) for market in known):
        ledger.market(asked.realm or known[0].realm, asked.league or known[0].league)


def _is_asked(asked: EventsQuery, realm: str, league: str) -> bool:
    return asked.realm.casefold() in {"", realm.casefold()} and asked.league.casefold() in {"", league.casefold()}


def standing(ledger: Ledger) -> Iterator[Announcement]:
    """What a listener would have been told of the snapshots there are."""
    for leagues in ledger.markets().values():
        for market in leagues.values():
            if (now := market.currency) is not None:
                yield Announcement(now.realm, now.league, "currency", now.as_of, len(now.prices), now.tag)
            if (items := market.items) is not None:
                yield Announcement(items.realm, items.league, "items", items.as_of, len(items), items.tag)


async def end_streams(app: web.Application) -> None:
    """The signal of a stop: streams never end by themselves, and the stop would wait for them."""
    for task in app[LISTENING]:
        task.cancel()


async def _await_news(response: web.StreamResponse, queue: Announcements, asked: EventsQuery) -> None:
    """Tell the next news, or that there are none."""
    try:
        async with asyncio.timeout(ALIVE_S):
            news = await queue.get()
    except TimeoutError:
        await response.write(b": alive\n\n")
    else:
        await _tell(response, news, asked)


async def _tell(response: web.StreamResponse, news: Announcement, asked: EventsQuery) -> None:
    """Write one event, if it was asked for."""
    if not (_is_asked(asked, news.realm, news.league) and asked.layer in {"all", news.layer}):
        return
    data = SnapshotEvent(
        realm=news.realm,
        league=news.league,
        layer=news.layer,
        as_of=moment(news.as_of),
        count=news.count,
        tag=news.tag,
    )
    await response.write(b"event: snapshot\nid: %b\ndata: %b\n\n" % (news.tag.encode(), orjson.dumps(data)))


ENDPOINTS = (
    Endpoint(
        "/v1/events",
        get_events,
        SnapshotEvent,
        EventsQuery,
        example="/v1/events?layer=currency",
        content_type=EVENT_STREAM,
    ),
)
