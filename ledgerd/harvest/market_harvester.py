"""MarketHarvester: follows the currency exchange of a realm, hour by hour, through history and along the live edge."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from ledgerd.clock import HOUR_S, Clock, rfc3339
from ledgerd.errors import UpstreamUnavailable
from ledgerd.events import GapFound, emit
from ledgerd.harvest.book import LIVE_WITHIN_S, HourBook
from ledgerd.harvest.exchange_landing import KIND_HOUR, KIND_NEVER, KIND_UNREADABLE
from ledgerd.harvest.exchange_page import (
    Digest,
    NeverWas,
    NotYet,
    UnreadablePage,
    read_answer,
)
from ledgerd.harvest.source import HTTP_OK, Settings, Source
from ledgerd.spool.journal import Journal
from ledgerd.spool.record import Page
from ledgerd.spool.spool import Stream
from ledgerd.upstream.body import UnreadableBody, decode
from ledgerd.upstream.client import Answer, Client

KIND = "exchange"
PC = "pc"
EDGE_DELAY_S = 90.0
"""How long after an hour's end it is first asked for; GGG publishes it a minute or two later."""
EDGE_JITTER_S = 30.0
UNREADABLE_PATIENCE_S = 6 * HOUR_S
"""How long one hour may stay unreadable before the chain goes on without it."""


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


class ExchangeSource(Source[int | None]):
    """One realm's exchange, hour by hour. Asked for is an hour, unix seconds; None: the oldest upstream keeps."""

    check = "Check upstream.exchange_url and daemon.contact, then: systemctl reload ledgerd"

    def __init__(
        self,
        realm: str,
        *,
        exchange_url: str,
        start_hour: int | None,
        newest_end_s: int | None,
        newest_hours: Mapping[str, int] | None = None,
        settings: Settings,
        client: Client,
        stream: Stream,
        journal: Journal,
        clock: Clock,
        rng: random.Random,
        on_freeze: Callable[[], Awaitable[None]],
    ) -> None:
        """``start_hour``: where a stream without a cursor begins, None for the oldest hour upstream keeps.

        ``newest_end_s``: end of the newest hour committed so far, unix seconds; ``newest_hours``: the newest of each
        league. The others are `Source`'s.
        """
        book = HourBook(
            f"{KIND}-{realm}", KIND, realm, clock, newest_end_s=newest_end_s, newest_hours=newest_hours or {}
        )
        super().__init__(
            book, settings=settings, stream=stream, journal=journal, clock=clock, rng=rng, on_freeze=on_freeze
        )
        self._url = exchange_url
        self._start_hour = start_hour
        self._client = client
        self._is_early = False
        self._passed_over: _PassedOver | None = None
        self._unreadable_since_s: float | None = None
        self._unreadable_ahead: int | None = None

    @property
    def next_hour(self) -> int | None:
        """The hour to ask for next, unix seconds; None: the oldest upstream keeps."""
        return int(self._stream.cursor) if self._stream.cursor else self._start_hour

    async def step(self) -> bool:
        """Ask for one hour; False if it is not published."""
        await self._judge(self._asking(), await self._fetch(self._asking()))
        if self._passed_over:
            await self._judge(self._asking(), await self._fetch(self._asking()))
        return not self._is_early

    def _asking(self) -> int | None:
        """The hour to put into the next request: ``next_hour``, or the one behind it after that was passed over."""
        return self._passed_over.next_hour if self._passed_over else self.next_hour

    def _cursor(self) -> str | None:
        return None if self.next_hour is None else str(self.next_hour)

    def _request(self, asked: int | None) -> asyncio.Future[Answer]:
        return asyncio.ensure_future(self._fetch(asked))

    async def _fetch(self, asked: int | None) -> Answer:
        backfill = asked is None or asked + HOUR_S + LIVE_WITHIN_S < self._clock.now()
        self._book.asked()
        return await self._client.get(
            hour_url(self._url, self.realm, asked),
            source=self.name,
            realm=self.realm,
            cursor="" if asked is None else str(asked),
            backfill=backfill,
        )

    async def _take(self, asked: int | None, answer: Answer) -> None:
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
        if passed_over is not None and not isinstance(meaning, NotYet):  # the hour after it is there: it will never be
            await self._freeze_hour(passed_over.answer, self.next_hour or 0, passed_over.next_hour, KIND_NEVER)
            self._passed_over = None
        match meaning:
            case Digest(hour, next_hour):
                await self._freeze_hour(answer, hour, next_hour, KIND_HOUR)
            case NeverWas(next_hour):
                await self._freeze_hour(answer, asked or 0, next_hour, KIND_NEVER)
        if self._passed_over is None:
            self._book.well()

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
        if answer.status != HTTP_OK:
            self._unusable(answer, reason)
        if is_ahead:
            await self._quarantine_ahead(asked, answer, reason)
            raise UpstreamUnavailable(f"{self.name}: hour {asked} is unreadable: {reason}", "See: ledgerd status")
        await self._quarantine(asked, answer, reason, is_new=self._unreadable_since_s is None)
        now_s = self._clock.now()
        since_s = self._unreadable_since_s = self._unreadable_since_s or now_s
        if asked is None or now_s - since_s < UNREADABLE_PATIENCE_S:
            raise UpstreamUnavailable(f"{self.name}: hour {asked} is unreadable: {reason}", "See: ledgerd status")
        await self._freeze_hour(answer, asked, asked + HOUR_S, KIND_UNREADABLE)
        self._unreadable_since_s = None
        self._book.well()

    async def _quarantine(self, asked: int | None, answer: Answer, reason: str, *, is_new: bool) -> None:
        """Keep the body, once for each time an hour turns unreadable."""
        if is_new:
            await self._keep("" if asked is None else str(asked), answer, reason)

    async def _quarantine_ahead(self, asked: int | None, answer: Answer, reason: str) -> None:
        """As ``_quarantine``, for the hour behind the one that is waited for."""
        await self._quarantine(asked, answer, reason, is_new=self._unreadable_ahead != asked)
        self._unreadable_ahead = asked

    async def _freeze_hour(self, answer: Answer, hour: int, next_hour: int, kind: str) -> None:
        at_ms = int(answer.received_at_s * 1000)
        await self._freeze(Page(str(hour), str(next_hour), at_ms, answer.status, answer.encoding, answer.body, kind))
        first_missing = hour + HOUR_S if kind == KIND_HOUR else hour
        if next_hour > first_missing:
            emit(GapFound(self.name, rfc3339(first_missing), rfc3339(next_hour), kind))
        self._is_early = False

    def _pause_s(self) -> float:
        """A little after the hour's end; ``poll_s`` after it was not there."""
        if self._is_early:
            return self.settings.poll_s * self._jitter.uniform(0.8, 1.2)
        hour = self.next_hour
        early_s = 0.0 if hour is None else hour + HOUR_S + EDGE_DELAY_S - self._clock.now()
        return early_s + self._jitter.uniform(0, EDGE_JITTER_S) if early_s > 0 else 0.0
