"""What every source does alike: ask, judge, freeze, wait; be patient with outages and stop at refusals."""

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, NoReturn, TypeVar

from ledgerd.clock import HOUR_S, Clock
from ledgerd.errors import LedgerdError, SpoolFull, UpstreamRefused, UpstreamUnavailable
from ledgerd.events import PageFrozen, Quarantined, emit
from ledgerd.harvest.book import Book
from ledgerd.spool.journal import Journal, quarantine_record
from ledgerd.spool.record import Page
from ledgerd.spool.spool import Stream
from ledgerd.spool.writer import Committed
from ledgerd.status import LaneStatus, SourceStatus
from ledgerd.supervise import Heart, Stop
from ledgerd.upstream.client import Answer

HTTP_OK = 200
HTTP_TOO_MANY = 429
HTTP_MAINTENANCE = 503
REFUSALS_MAX = 3
REFUSAL_WAITS_S = (60.0, 300.0)
"""The least wait after the first and the second refusal: a CDN that trips for seconds must not stop a source."""
RETRY_AFTER_MAX_S = HOUR_S

Asked = TypeVar("Asked")


@dataclass(frozen=True, slots=True)
class Settings:
    """What an operator may change while a source runs.

    ``poll_s``: how often to ask again for what is not there yet; ``maintenance_poll_s``: after a 503.
    """

    leagues: tuple[str, ...]
    poll_s: float
    maintenance_poll_s: float
    decoded_bytes_max: int
    stalled_after_s: float


class Source(ABC, Generic[Asked]):
    """One stream of one realm; its cursor is the spool stream's. ``Asked``: what stands for the page to ask for."""

    check = ""
    """What a person is to look at when upstream refuses, up to the command that follows."""

    def __init__(
        self,
        book: Book,
        *,
        settings: Settings,
        stream: Stream,
        journal: Journal,
        clock: Clock,
        rng: random.Random,
        on_freeze: Callable[[], Awaitable[None]],
    ) -> None:
        """``settings`` may be replaced while running; ``on_freeze`` is told of every page on disk."""
        self.name = book.name
        self.kind = book.kind
        self.realm = book.realm
        self.settings = settings
        self._book = book
        self._stream = stream
        self._journal = journal
        self._clock = clock
        self._jitter = rng
        self._on_freeze = on_freeze
        self._refusals = 0
        self._held: tuple[Asked, Answer] | None = None
        self._not_before_s = 0.0

    async def run(self, stop: Stop, heart: Heart) -> None:
        """Service: ask, judge, freeze, wait for what comes next; until the stop.

        Raises UpstreamUnavailable or SpoolFull to be run again, UpstreamRefused to be left alone.
        """
        try:
            while not stop.is_set:
                wait_s = self._wait_s()
                if wait_s > 0 and await heart.sleep(stop, wait_s):
                    return
                if self._held is None:
                    asked = self._asking()
                    fetching = self._request(asked)
                    if await self._rest(stop, heart, fetching):
                        return
                    self._held = asked, fetching.result()
                await self._take_held()
                heart.beat()
        finally:
            await self._leave()

    def committed(self, what: Committed) -> None:
        """A batch of this source is visible to ETL."""
        self._book.committed(what)

    def status(self, refused: str | None) -> SourceStatus:
        """For ``/status``; ``refused``: why the supervisor stopped this source, if it did."""
        return self._book.status(self._cursor(), self.settings.stalled_after_s, refused)

    def lanes(self) -> list[LaneStatus]:
        """For ``/status``: every league this source has met."""
        return self._book.lanes()

    def on_turn(self, told: Callable[[], None]) -> None:
        """Tell ``told`` whenever the source begins or ceases to fail, or fails in another way."""
        self._book.on_turn = told

    @abstractmethod
    async def step(self) -> bool:
        """Without a service: fetch and freeze one page, now; False if there is none yet. Raises as ``run``."""

    @abstractmethod
    def _asking(self) -> Asked:
        """What to put into the next request."""

    @abstractmethod
    def _cursor(self) -> str | None:
        """Where the source stands, for ``/status``."""

    @abstractmethod
    def _request(self, asked: Asked) -> asyncio.Future[Answer]:
        """The request for ``asked``, under way."""

    @abstractmethod
    async def _take(self, asked: Asked, answer: Answer) -> None:
        """Judge an answer and do what it calls for."""

    @abstractmethod
    def _pause_s(self) -> float:
        """Seconds until it makes sense to ask, as far as upstream does not forbid it."""

    def _wait_s(self) -> float:
        """Seconds until upstream may be asked and it makes sense to."""
        barred_s = self._not_before_s - self._clock.now()
        return barred_s if barred_s > 0 else self._pause_s()

    async def _leave(self) -> None:
        """Let go of what is under way; the service ends or fails."""

    async def _rest(self, stop: Stop, heart: Heart, fetching: asyncio.Future[Answer]) -> bool:
        """Wait for the throttle and for upstream, which has a time limit of its own; True if the stop came."""
        try:
            return await heart.rest(stop, fetching)
        except LedgerdError as error:
            self._book.failed(error)
            raise

    async def _take_held(self) -> None:
        """Judge the answer in hand; a full spool leaves it there, so that upstream is not asked again for nothing."""
        held, self._held = self._held, None
        if held is not None:
            try:
                await self._judge(*held)
            except SpoolFull:
                self._held = held
                raise

    async def _judge(self, asked: Asked, answer: Answer) -> None:
        """Take an answer and book how it went."""
        try:
            await self._take(asked, answer)
        except LedgerdError as error:
            self._book.failed(error)
            raise

    async def _freeze(self, page: Page) -> None:
        if await self._stream.freeze(page):
            emit(PageFrozen(self.name, page.asked, page.next, len(page.body)))
        await self._on_freeze()

    def _unusable(self, answer: Answer, reason: str) -> NoReturn:
        """An answer that holds no page, nor a body worth keeping: say when upstream may be asked again.

        Three refusals in a row, minutes apart, stop this source: every one counts against us. A 429 is none of them:
        the throttle keeps silent for as long as it demands. Raises UpstreamUnavailable or UpstreamRefused.
        """
        now_s, wait_s = self._clock.now(), min(answer.retry_after_s or 0.0, RETRY_AFTER_MAX_S)
        if answer.status == HTTP_MAINTENANCE:
            wait_s = max(wait_s, self.settings.maintenance_poll_s * self._jitter.uniform(0.8, 1.2))
        elif answer.status // 100 == 4 and answer.status != HTTP_TOO_MANY:  # noqa: PLR2004  the class of refusals
            self._refusals += 1
            if self._refusals >= REFUSALS_MAX:
                self._refusals = 0
                said = f"{self.name}: refused {REFUSALS_MAX} times in a row, last with {answer.status} ({reason})."
                raise UpstreamRefused(said, self.check)
            wait_s = max(wait_s, REFUSAL_WAITS_S[self._refusals - 1])
        self._not_before_s = now_s + wait_s
        self._book.told_to_wait(answer.retry_after_s)
        raise UpstreamUnavailable(f"{self.name}: upstream answered {answer.status} ({reason})", "See: ledgerd status")

    async def _keep(self, cursor: str, answer: Answer, reason: str) -> None:
        """Put an answer nobody can use into quarantine."""
        emit(Quarantined(self.name, f"the answer for {cursor or 'the oldest page'}", reason))
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
