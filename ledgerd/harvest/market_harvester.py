"""MarketHarvester: follows the currency exchange of a realm, hour by hour, through history and along the live edge."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from ledgerd.clock import HOUR_S, Clock, rfc3339
from ledgerd.errors import LedgerdError, SpoolFull, UpstreamRefused, UpstreamUnavailable
from ledgerd.events import GapFound, PageFrozen, Quarantined, emit
from ledgerd.harvest.book import LIVE_WITHIN_S, Book
from ledgerd.harvest.exchange_landing import KIND_HOUR, KIND_NEVER, KIND_UNREADABLE
from ledgerd.harvest.exchange_page import (
    HTTP_OK,
    Digest,
    NeverWas,
    NotYet,
    UnreadablePage,
    read_answer,
)
from ledgerd.spool.journal import Journal, quarantine_record
from ledgerd.spool.record import Page
from ledgerd.spool.spool import Stream
from ledgerd.spool.writer import Committed
from ledgerd.status import LaneStatus, SourceStatus
from ledgerd.supervise import Heart, Stop
from ledgerd.upstream.body import UnreadableBody, decode
from ledgerd.upstream.client import Answer, Client

KIND = "exchange"
PC = "pc"
EDGE_DELAY_S = 90.0
"""How long after an hour's end it is first asked for; GGG publishes it a minute or two later."""
EDGE_JITTER_S = 30.0
REFUSALS_MAX = 3
REFUSAL_WAITS_S = (60.0, 300.0)
"""The least wait after the first and the second refusal: a CDN that trips for seconds must not stop a source."""
RETRY_AFTER_MAX_S = HOUR_S
UNREADABLE_PATIENCE_S = 6 * HOUR_S
"""How long one hour may stay unreadable before the chain goes on without it."""


@dataclass(frozen=True, slots=True)
class ExchangeSettings:
    """What an operator may change while the source runs."""

    leagues: tuple[str, ...]
    late_poll_s: float
    decoded_bytes_max: int
    stalled_after_s: float


def hour_url(exchange_url: str, realm: str, hour: int | None) -> str:
    """The address of an hour's digest; None asks for the oldest.

    >>> hour_url("https://h/api/currency-exchange", "pc", 1787119200)
    'https://h/api/currency-exchange/1787119200'
    >>> hour_url("https://h/api/currency-exchange", "poe2", None)
    'https://h/api/currency-exchange/poe2'
    """
    parts = [exchange_url.rstrip("/"), *([] if realm == PC else [realm]), *([] if hour is None else [str(hour)])]
    return "/".join(parts)


@dataclass(frozen=True, slots=True)
class _PassedOver:
    """An hour upstream did not have though it named the hour after it: ``answer`` said so, ``next_hour`` is to show."""

    next_hour: int
    answer: Answer


class ExchangeSource:
    """One realm's exchange: asks for the next hour, judges the answer, freezes it. Its cursor is the stream's."""

    def __init__(
        self,
        realm: str,
        *,
        exchange_url: str,
        start_hour: int | None,
        newest_end_s: int | None,
        newest_hours: Mapping[str, int] | None = None,
        settings: ExchangeSettings,
        client: Client,
        stream: Stream,
        journal: Journal,
        clock: Clock,
        rng: random.Random,
        on_freeze: Callable[[], Awaitable[None]],
    ) -> None:
        """``start_hour``: where a stream without a cursor begins, None for the oldest hour upstream keeps.

        ``newest_end_s``: end of the newest hour committed so far, unix seconds; ``newest_hours``: the newest of each
        league.
        ``settings`` may be replaced while running; ``on_freeze`` is told of every page on disk.
        """
        self.name = f"{KIND}-{realm}"
        self.realm = realm
        self.settings = settings
        self._url = exchange_url
        self._start_hour = start_hour
        self._client = client
        self._stream = stream
        self._journal = journal
        self._clock = clock
        self._jitter = rng
        self._on_freeze = on_freeze
        self._book = Book(self.name, KIND, realm, clock, newest_end_s=newest_end_s, newest_hours=newest_hours or {})
        self._refusals = 0
        self._is_early = False
        self._held: tuple[int | None, Answer] | None = None
        self._passed_over: _PassedOver | None = None
        self._not_before_s = 0.0
        self._unreadable_since_s: float | None = None
        self._unreadable_ahead: int | None = None

    @property
    def next_hour(self) -> int | None:
        """The hour to ask for next, unix seconds; None: the oldest upstream keeps."""
        return int(self._stream.cursor) if self._stream.cursor else self._start_hour

    async def run(self, stop: Stop, heart: Heart) -> None:
        """Service: ask, judge, freeze, wait for the next hour; until the stop.

        Raises UpstreamUnavailable or SpoolFull to be run again, UpstreamRefused to be left alone.
        """
        while not stop.is_set:
            wait_s = self._wait_s()
            if wait_s > 0 and await heart.sleep(stop, wait_s):
                return
            if self._held is None:
                asked = self._asking
                fetching = asyncio.ensure_future(self._fetch(asked))
                if await heart.rest(stop, fetching):  # for the throttle or upstream, which has a time limit of its own
                    return
                self._held = asked, fetching.result()
            await self._take_held()
            heart.beat()

    async def step(self) -> bool:
        """Ask once, now, and freeze what comes; False if the hour is not published. Raises as ``run``."""
        await self._judge(self._asking, await self._fetch(self._asking))
        if self._passed_over:
            await self._judge(self._asking, await self._fetch(self._asking))
        return not self._is_early

    @property
    def _asking(self) -> int | None:
        """The hour to put into the next request: ``next_hour``, or the one behind it after that was passed over."""
        return self._passed_over.next_hour if self._passed_over else self.next_hour

    async def _take_held(self) -> None:
        """Judge the answer in hand; a full spool leaves it there, so that upstream is not asked again for nothing."""
        held, self._held = self._held, None
        if held is not None:
            try:
                await self._judge(*held)
            except SpoolFull:
                self._held = held
                raise

    async def _judge(self, asked: int | None, answer: Answer) -> None:
        """Take an answer and book how it went."""
        try:
            await self._take(asked, answer)
        except LedgerdError as error:
            self._book.failed(error)
            raise
        if self._passed_over is None:
            self._book.well()

    def committed(self, what: Committed) -> None:
        """A batch of this source is visible to ETL."""
        self._book.committed(what)

    def status(self, refused: str | None) -> SourceStatus:
        """For ``/status``; ``refused``: why the supervisor stopped this source, if it did."""
        cursor = None if self.next_hour is None else str(self.next_hour)
        return self._book.status(cursor, self.settings.stalled_after_s, refused)

    def lanes(self) -> list[LaneStatus]:
        """For ``/status``: every league this source has met."""
        return self._book.lanes()

    async def _fetch(self, asked: int | None) -> Answer:
        backfill = asked is None or asked + HOUR_S + LIVE_WITHIN_S < self._clock.now()
        self._book.asked()
        try:
            return await self._client.get(
                hour_url(self._url, self.realm, asked),
                source=self.name,
                realm=self.realm,
                cursor="" if asked is None else str(asked),
                backfill=backfill,
            )
        except UpstreamUnavailable as error:
            self._book.failed(error)
            raise

    async def _take(self, asked: int | None, answer: Answer) -> None:
        """Judge an answer and do what it calls for."""
        passed_over = self._passed_over
        try:
            meaning = await asyncio.to_thread(self._read, asked, answer)
        except (UnreadableBody, UnreadablePage) as error:
            self._is_early, self._passed_over = passed_over is not None, None
            await self._take_unreadable(asked, answer, str(error), is_ahead=passed_over is not None)
            return
        self._unreadable_since_s = None
        if isinstance(meaning, NotYet):
            self._wait_or_look_ahead(asked, meaning.next_hour, answer, has_looked=passed_over is not None)
        if self._passed_over is None:  # the hour ahead may still be refused, and that counts
            self._refusals = 0
        if isinstance(meaning, NotYet):
            return
        if passed_over is not None:  # the hour after it is there, so it will never be
            await self._freeze(passed_over.answer, self.next_hour or 0, passed_over.next_hour, KIND_NEVER)
            self._passed_over = None
        match meaning:
            case Digest(hour, next_hour):
                await self._freeze(answer, hour, next_hour, KIND_HOUR)
            case NeverWas(next_hour):
                await self._freeze(answer, asked or 0, next_hour, KIND_NEVER)

    def _read(self, asked: int | None, answer: Answer) -> Digest | NotYet | NeverWas:
        """What ``answer`` means. A chain that leads into the future is unreadable: it would wait there for ever."""
        body = decode(answer.body, answer.encoding, self.settings.decoded_bytes_max)
        meaning = read_answer(asked, answer.status, body)
        if not isinstance(meaning, NotYet) and meaning.next_hour > answer.received_at_s + HOUR_S:
            raise UnreadablePage(f"next_change_id {meaning.next_hour} lies in the future")
        return meaning

    def _wait_or_look_ahead(self, asked: int | None, next_hour: int, answer: Answer, *, has_looked: bool) -> None:
        """Nothing there: wait, but if upstream names an hour that is over, see first whether that one is there."""
        is_over = next_hour + HOUR_S <= self._clock.now()
        looks_ahead = asked is not None and next_hour > asked and is_over and not has_looked
        self._is_early = not looks_ahead
        self._passed_over = _PassedOver(next_hour, answer) if looks_ahead else None

    async def _take_unreadable(self, asked: int | None, answer: Answer, reason: str, *, is_ahead: bool) -> None:
        """An answer that is no digest: a refusal, an outage, or a body worth keeping for a person.

        ``is_ahead``: it is about an hour that is not next in the chain, which therefore does not go on without it.
        """
        if answer.status // 100 == 4:  # noqa: PLR2004  the class of refusals
            self._refused(answer, reason)
        if answer.status != HTTP_OK:
            raise UpstreamUnavailable(f"{self.name}: upstream answered {answer.status}", "See: ledgerd status")
        if is_ahead:
            await self._quarantine_ahead(asked, answer, reason)
            raise UpstreamUnavailable(f"{self.name}: hour {asked} is unreadable: {reason}", "See: ledgerd status")
        await self._quarantine(asked, answer, reason, is_new=self._unreadable_since_s is None)
        now_s = self._clock.now()
        since_s = self._unreadable_since_s = self._unreadable_since_s or now_s
        if asked is None or now_s - since_s < UNREADABLE_PATIENCE_S:
            raise UpstreamUnavailable(f"{self.name}: hour {asked} is unreadable: {reason}", "See: ledgerd status")
        await self._freeze(answer, asked, asked + HOUR_S, KIND_UNREADABLE)
        self._unreadable_since_s = None

    def _refused(self, answer: Answer, reason: str) -> None:
        """A 4xx that is not the edge: three in a row, minutes apart, stop this source."""
        self._refusals += 1
        if self._refusals >= REFUSALS_MAX:
            self._refusals = 0
            raise UpstreamRefused(
                f"{self.name}: refused {REFUSALS_MAX} times in a row, last with {answer.status} ({reason}).",
                "Check upstream.exchange_url and daemon.contact, then: systemctl reload ledgerd",
            )
        wait_s = max(min(answer.retry_after_s or 0.0, RETRY_AFTER_MAX_S), REFUSAL_WAITS_S[self._refusals - 1])
        self._not_before_s = self._clock.now() + wait_s

    async def _quarantine(self, asked: int | None, answer: Answer, reason: str, *, is_new: bool) -> None:
        """Keep the body, once for each time an hour turns unreadable."""
        if is_new:
            cursor = "" if asked is None else str(asked)
            emit(Quarantined(self.name, f"the answer for {cursor or 'the oldest hour'}", reason))
            await self._journal.append(
                quarantine_record(
                    source=self.name,
                    realm=self.realm,
                    cursor=cursor,
                    reason=reason,
                    payload=answer.body,
                    retrieved_at_ms=int(answer.received_at_s * 1000),
                )
            )

    async def _quarantine_ahead(self, asked: int | None, answer: Answer, reason: str) -> None:
        """As ``_quarantine``, for the hour behind the one that is waited for."""
        await self._quarantine(asked, answer, reason, is_new=self._unreadable_ahead != asked)
        self._unreadable_ahead = asked

    async def _freeze(self, answer: Answer, hour: int, next_hour: int, kind: str) -> None:
        at_ms = int(answer.received_at_s * 1000)
        page = Page(str(hour), str(next_hour), at_ms, answer.status, answer.encoding, answer.body, kind)
        await self._stream.freeze(page)
        emit(PageFrozen(self.name, page.asked, page.next, len(page.body)))
        first_missing = hour + HOUR_S if kind == KIND_HOUR else hour
        if next_hour > first_missing:
            emit(GapFound(self.name, rfc3339(first_missing), rfc3339(next_hour), kind))
        self._is_early = False
        await self._on_freeze()

    def _wait_s(self) -> float:
        """Seconds until it makes sense to ask: a little after the hour's end, late_poll_s after it was not there."""
        now_s = self._clock.now()
        if self._not_before_s > now_s:
            return self._not_before_s - now_s
        if self._is_early:
            return self.settings.late_poll_s * self._jitter.uniform(0.8, 1.2)
        hour = self.next_hour
        early_s = 0.0 if hour is None else hour + HOUR_S + EDGE_DELAY_S - now_s
        return early_s + self._jitter.uniform(0, EDGE_JITTER_S) if early_s > 0 else 0.0
