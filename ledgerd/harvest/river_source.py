"""MarketHarvester, the river's part: follows the public stashes of a realm from page to page and along the live end."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

import orjson

from ledgerd.clock import Clock
from ledgerd.errors import UpstreamUnavailable
from ledgerd.events import Noted, emit
from ledgerd.harvest.change_id import Seek, runs_back
from ledgerd.harvest.river_book import RiverBook
from ledgerd.harvest.river_page import CHANGE_ID, Gist, UnreadableRiverPage, gist
from ledgerd.harvest.source import HTTP_OK, Settings, Source
from ledgerd.harvest.tide import Tide
from ledgerd.spool.journal import Journal
from ledgerd.spool.record import Page
from ledgerd.spool.spool import Stream
from ledgerd.upstream.body import UnreadableBody, decode
from ledgerd.upstream.client import Answer
from ledgerd.upstream.oauth import OAuth

KIND = "river"
PC = "pc"
HEAD, OLDEST = "head", "oldest"
NEXT_HEADER = "X-Next-Change-Id"
UNREADABLE_PATIENCE_S = 600.0
"""How long one page may stay unreadable before the chain goes on at the id its header names."""
ERROR_BYTES_MAX = 1 << 16
CODES = {
    1: "not found", 2: "invalid query", 3: "rate limit", 4: "internal error", 6: "forbidden",
    7: "temporarily unavailable", 8: "unauthorized", 9: "method not allowed", 10: "unprocessable",
}  # fmt: skip
"""Upstream's error codes."""


class _Request:
    """A request under way for the page after ``asked``; ``named``: the id after that, once its headers told it."""

    def __init__(self, asked: str, fetch: Callable[["_Request"], Coroutine[Any, Any, Answer]]) -> None:
        self.asked = asked
        self.named = ""
        self.answer = asyncio.create_task(fetch(self))

    def let_go(self) -> None:
        """Nobody waits for it any more."""
        self.answer.cancel()
        self.answer.add_done_callback(lambda task: task.cancelled() or task.exception())


def river_url(api_url: str, path: str, realm: str, change_id: str) -> str:
    """The address of the page after ``change_id``; empty asks for the beginning of history.

    >>> river_url("https://h/", "public-stash-tabs", "pc", "1-2-3-4-5")
    'https://h/public-stash-tabs?id=1-2-3-4-5'
    >>> river_url("https://h", "public-stash-tabs", "xbox", "")
    'https://h/public-stash-tabs/xbox'
    """
    url = "/".join([api_url.rstrip("/"), path.strip("/"), *([] if realm == PC else [realm])])
    return f"{url}?id={change_id}" if change_id else url


class RiverSource(Source[str]):
    """One realm's river. Asked for is a change id; "": the beginning of history.

    The request for a page leaves as soon as the header of the one before names its id, while that one's body still
    downloads. Only the body's word counts: where the header lied, the request is let go and made anew. Pages freeze in
    the order of the chain, each when the one before is on disk.
    """

    check = (
        "Check upstream.client_id, its secret and upstream.oauth_scope, and daemon.contact; "
        "then: systemctl restart ledgerd"
    )
    _book: RiverBook

    def __init__(
        self,
        realm: str,
        *,
        url: Callable[[str], str],
        start: str,
        settings: Settings,
        oauth: OAuth,
        stream: Stream,
        journal: Journal,
        clock: Clock,
        rng: random.Random,
        on_freeze: Callable[[], Awaitable[None]],
    ) -> None:
        """``url``: the address of the page after an id; ``start``: where a stream without a cursor begins.

        That is ``head``, ``oldest`` or a change id. The others are `Source`'s.
        """
        name = f"{KIND}-{realm}"
        book = RiverBook(name, KIND, realm, clock, waiting=lambda: stream.waiting_pages)
        super().__init__(
            book, settings=settings, stream=stream, journal=journal, clock=clock, rng=rng, on_freeze=on_freeze
        )
        self._url = url
        self._oauth = oauth
        self._start = "" if start == OLDEST else start
        self._seek = Seek() if start == HEAD else None
        self._now: _Request | None = None
        self._ahead: _Request | None = None
        self._tide = Tide()
        self._is_at_end = False
        self._unreadable_since_s: float | None = None

    async def step(self) -> bool:
        """Ask until a page is frozen, the live end searched first where need be; False at the end of the stream."""
        frozen = self._stream.cursor
        try:
            while self._stream.cursor == frozen:
                asked = self._asking()
                await self._judge(asked, await self._request(asked))
                if self._is_at_end:
                    break
        finally:
            await self._leave()
        return self._stream.cursor != frozen

    @property
    def _is_seeking(self) -> bool:
        return self._stream.cursor is None and self._seek is not None

    def _asking(self) -> str:
        """The id the next request asks with: where the chain stands, or what the search for its start needs."""
        if self._stream.cursor is not None:
            return self._stream.cursor
        return self._start if self._seek is None else self._seek.asking

    def _cursor(self) -> str | None:
        return self._stream.cursor

    def _pause_s(self) -> float:
        """At the end of the stream a civil pace, before it none: the throttle's is enough."""
        is_paced = self._is_at_end or self._tide.is_due
        return self.settings.poll_s * self._jitter.uniform(0.8, 1.2) if is_paced else 0.0

    def _request(self, asked: str) -> asyncio.Future[Answer]:
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead.asked != asked:
            ahead.let_go()
            ahead = None
        self._now = ahead or _Request(asked, self._fetch)
        self._reach()
        return self._now.answer

    def _reach(self) -> None:
        """Begin the request for the page behind the one under way, once that one's header has named it."""
        if self._now is not None and self._now.named and self._ahead is None and not self._is_seeking:
            self._ahead = _Request(self._now.named, self._fetch)

    async def _leave(self) -> None:
        requests = [request for request in (self._now, self._ahead) if request is not None]
        self._now = self._ahead = None
        for request in requests:
            request.let_go()
        await asyncio.gather(*(request.answer for request in requests), return_exceptions=True)

    async def _fetch(self, request: _Request) -> Answer:
        def on_headers(status: int, headers: Mapping[str, str]) -> None:
            named = headers.get(NEXT_HEADER, "").strip()
            if status == HTTP_OK and self._leads_on(request.asked, named):
                request.named = named
                self._reach()

        self._book.asked()
        return await self._oauth.get(
            self._url(request.asked),
            source=self.name,
            realm=self.realm,
            cursor=request.asked,
            backfill=not self._book.is_live(),
            on_headers=on_headers,
        )

    def _leads_on(self, asked: str, following: str) -> bool:
        """Whether ``following`` is an id the chain may go on with after ``asked``."""
        is_new = not runs_back(asked, following) and not self._stream.is_frozen(following)
        return CHANGE_ID.fullmatch(following) is not None and is_new

    async def _take(self, asked: str, answer: Answer) -> None:
        if answer.status != HTTP_OK:
            self._unusable(answer, _said(answer))
        try:
            found = await self._read(asked, answer)
        except (UnreadableBody, UnreadableRiverPage) as error:
            await self._take_unreadable(asked, answer, str(error))
        else:
            self._unreadable_since_s = None
            await self._take_page(asked, answer, found)
        self._refusals = 0
        self._book.well()

    async def _read(self, asked: str, answer: Answer) -> Gist:
        """What the chain needs of a body. UnreadableBody or UnreadableRiverPage, too, for an id that leads nowhere."""
        found = await asyncio.to_thread(_gist, answer, self.settings.decoded_bytes_max)
        is_end = found.is_empty and (self._is_seeking or found.next_change_id == asked)
        if not is_end and not self._leads_on(asked, found.next_change_id):
            raise UnreadableRiverPage(f"next_change_id {found.next_change_id} does not lead on")
        return found

    async def _take_page(self, asked: str, answer: Answer, found: Gist) -> None:
        """Freeze a page, note the end of the stream, or let the search for it go on."""
        following = found.next_change_id
        if self._is_seeking:
            self._search(following, is_empty=found.is_empty)
            return
        if following != asked:
            await self._freeze_page(asked, following, answer)
        self._is_at_end = self._tide.told(0 if found.is_empty else found.stashes)
        if self._is_at_end:
            self._book.ended(answer.requested_at_s)

    def _search(self, following: str, *, is_empty: bool) -> None:
        head = self._seek.told(following, is_empty=is_empty) if self._seek else None
        if head is not None:
            self._seek, self._start = None, head
            emit(Noted(self.name, note=f"begins at the live end, {head}; what changed before is not fetched"))

    async def _take_unreadable(self, asked: str, answer: Answer, reason: str) -> None:
        """Keep a body that is no page, once, and ask again: pages are never twice the same.

        When that has not helped for long, the chain goes on at the id the header names; the page as it came is frozen
        all the same, and lands in quarantine. Raises UpstreamUnavailable until then.
        """
        now_s = self._clock.now()
        if self._unreadable_since_s is None:
            self._unreadable_since_s = now_s
            await self._keep(asked, answer, reason)
        named = answer.headers.get(NEXT_HEADER, "").strip()
        is_over = now_s - self._unreadable_since_s >= UNREADABLE_PATIENCE_S
        if not is_over or self._is_seeking or not self._leads_on(asked, named):
            raise UpstreamUnavailable(
                f"{self.name}: the page after {asked or 'the beginning'} is unreadable: {reason}", "See: ledgerd status"
            )
        await self._freeze_page(asked, named, answer)  # first: while the spool is full the page stays unreadable
        self._unreadable_since_s = None
        without = asked or "the beginning"
        emit(Noted(self.name, note=f"goes on at {named} without the page after {without}: {reason}"))

    async def _freeze_page(self, asked: str, following: str, answer: Answer) -> None:
        at_ms = int(answer.received_at_s * 1000)
        await self._freeze(Page(asked, following, at_ms, answer.status, answer.encoding, answer.body, KIND))


def _gist(answer: Answer, bytes_max: int) -> Gist:
    return gist(decode(answer.body, answer.encoding, bytes_max))


def _said(answer: Answer) -> str:
    """What kind of error upstream names, in words of ours: its own may quote what must not be repeated."""
    try:
        error = orjson.loads(decode(answer.body, answer.encoding, ERROR_BYTES_MAX)).get("error")
    except (UnreadableBody, ValueError, AttributeError):
        return "no reason given"
    match error:
        case {"code": int(code)}:
            return CODES.get(code, f"code {code}")
        case "invalid_token":
            return "invalid_token"
        case _:
            return "no reason given"
