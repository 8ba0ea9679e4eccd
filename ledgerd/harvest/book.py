"""What a source knows about itself, for ``/status`` and ``poe_ingest_status``: told as it happens, never guessed."""

from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping

from ledgerd.clock import HOUR_S, Clock, rfc3339
from ledgerd.errors import LedgerdError, SpoolFull, StoreUnavailable
from ledgerd.events import tally
from ledgerd.spool.writer import Committed
from ledgerd.status import LaneStatus, SourceState, SourceStatus

RATE_WINDOW_S = 300.0
LIVE_WITHIN_S = 2 * HOUR_S
"""An hour that ended longer ago than this is history."""
LIVE_LAG_S = 75 * 60.0
"""The newest hour ended longer ago than this: the next one has ended, too, and should have been stored by now."""
LANES_MAX = 200
"""How many leagues are told apart; upstream names them."""


class Book(ABC):
    """The progress of one source; how far it came is its kind's to say."""

    def __init__(self, name: str, kind: str, realm: str, clock: Clock) -> None:
        self.name = name
        self.kind = kind
        self.realm = realm
        self.on_turn: Callable[[], None] = lambda: None
        """Told whenever the source begins or ceases to fail, or fails in another way."""
        self._clock = clock
        self._started_s = clock.now()
        self._ingested_s: float | None = None
        self._requests: deque[float] = deque(maxlen=10_000)
        self._answered = False
        self._failing: type[LedgerdError] | None = None
        self._errors = 0
        self._last_error: str | None = None
        self._retry_after_s: float | None = None
        self._rows: Counter[str] = Counter()
        self._skipped: Counter[str] = Counter()
        self._unstored: set[str] = set()
        self._lane_ingested_s: dict[str, float] = {}
        self._newest_s: dict[str, float] = {}
        """Of each league stored: how far it came, unix seconds; the newest are shown."""

    def asked(self) -> None:
        """A request goes out."""
        self._requests.append(self._clock.now())

    def told_to_wait(self, retry_after_s: float | None) -> None:
        """Upstream refused, and said how long to wait, or did not."""
        self._retry_after_s = retry_after_s

    def failed(self, error: LedgerdError) -> None:
        """The last attempt failed."""
        self._errors += 1
        self._last_error = str(error)
        self._turn(type(error))  # not the error: its traceback holds the body it is about

    def well(self) -> None:
        """The last attempt worked."""
        self._answered = True
        self._retry_after_s = None
        self._turn(None)

    def committed(self, what: Committed) -> None:
        """A batch is visible to ETL."""
        self._ingested_s = self._clock.now()
        self._rows.update(what.by_league)
        self._lane_ingested_s.update(dict.fromkeys(what.by_league, self._ingested_s))
        known = self._newest_s.keys() | self._skipped.keys()
        for league in sorted(what.skipped):
            if league in known or len(known) < LANES_MAX:
                self._skipped[league] += what.skipped[league]
                known.add(league)
        self._unstored = (self._unstored | what.skipped.keys() & known) - what.by_league.keys()
        self._reached(what)
        for league in self._newest_first(self._newest_s)[LANES_MAX:]:
            del self._newest_s[league]
            self._rows.pop(league, None)
            self._lane_ingested_s.pop(league, None)

    def status(self, cursor: str | None, stalled_after_s: float, refused: str | None) -> SourceStatus:
        """``cursor``: what is asked next; ``refused``: why the source was stopped, if it was."""
        now_s = self._clock.now()
        progress_s = self._progress_s()
        is_stalled = now_s - progress_s > stalled_after_s
        state = SourceState.REFUSED if refused else self._state(now_s, cursor, is_stalled=is_stalled)
        return SourceStatus(
            name=self.name,
            kind=self.kind,
            realm=self.realm,
            state=state,
            cursor=cursor,
            lag_s=self._lag_s(now_s),
            pages_behind=self._pages_behind(now_s),
            last_ingest_time=None if self._ingested_s is None else rfc3339(self._ingested_s),
            avg_req_per_sec=round(sum(at > now_s - RATE_WINDOW_S for at in self._requests) / RATE_WINDOW_S, 4),
            stalled_since=rfc3339(progress_s) if is_stalled else None,
            errors=self._errors,
            last_error=refused or self._last_error,
            retry_after_s=self._retry_after_s,
            gaps=tally["GapFound", self.name],
        )

    def lanes(self) -> list[LaneStatus]:
        """Every league met: of what is stored, rows since the process started, of what is not, rows left out."""
        leagues = self._newest_s.keys() | self._skipped.keys()
        return [self._lane(league) for league in sorted(self._newest_first(leagues)[:LANES_MAX])]

    @abstractmethod
    def _reached(self, what: Committed) -> None:
        """Note how far ``what`` brought the source, and each of its leagues."""

    @abstractmethod
    def _lag_s(self, now_s: float) -> float | None:
        """How old the newest that is stored is; None when that is not known."""

    def _pages_behind(self, now_s: float) -> int | None:
        """How many pages wait upstream and here, where it is known."""
        return None

    @abstractmethod
    def _is_live(self, now_s: float, cursor: str | None) -> bool:
        """Whether everything due is stored."""

    def _newest_hour(self, league: str) -> str | None:
        """The newest hour with a row of ``league``, of a source that comes by the hour."""
        return None

    def _progress_s(self) -> float:
        """When the source last got on, unix seconds."""
        return self._started_s if self._ingested_s is None else self._ingested_s

    def _turn(self, failing: type[LedgerdError] | None) -> None:
        before, self._failing = self._failing, failing
        if before is not failing:
            self.on_turn()

    def _newest_first(self, leagues: Iterable[str]) -> list[str]:
        return sorted(leagues, key=lambda league: (-self._newest_s.get(league, 0), league))

    def _lane(self, league: str) -> LaneStatus:
        is_stored = league not in self._unstored
        ingested_s = self._lane_ingested_s.get(league)
        return LaneStatus(
            self.name,
            self.realm,
            league,
            stored=is_stored,
            rows=(self._rows if is_stored else self._skipped)[league],
            newest_hour=self._newest_hour(league),
            last_ingest_time=None if ingested_s is None else rfc3339(ingested_s),
        )

    def _state(self, now_s: float, cursor: str | None, *, is_stalled: bool) -> SourceState:
        if self._failing and issubclass(self._failing, SpoolFull | StoreUnavailable):
            return SourceState.WAITING
        if is_stalled:
            return SourceState.STALLED
        if self._failing:
            return SourceState.DEGRADED
        if not self._answered and self._ingested_s is None:
            return SourceState.STARTING
        return SourceState.LIVE if self._is_live(now_s, cursor) else SourceState.CATCHING_UP


class HourBook(Book):
    """The progress of a source that comes by the hour."""

    def __init__(
        self,
        name: str,
        kind: str,
        realm: str,
        clock: Clock,
        *,
        newest_end_s: int | None,
        newest_hours: Mapping[str, int],
    ) -> None:
        """``newest_end_s``: end of the newest hour committed before this process started, unix seconds.

        ``newest_hours``: the newest hour stored before, by league.
        """
        super().__init__(name, kind, realm, clock)
        self._newest_end_s = newest_end_s
        self._newest_s |= newest_hours

    def _reached(self, what: Committed) -> None:
        self._newest_end_s = int(what.batch.next_cursor)
        for league, hour in what.newest.items():
            self._newest_s[league] = max(hour, self._newest_s.get(league, 0))

    def _lag_s(self, now_s: float) -> float | None:
        return None if self._newest_end_s is None else round(now_s - self._newest_end_s, 1)

    def _newest_hour(self, league: str) -> str | None:
        hour = self._newest_s.get(league)
        return None if hour is None else rfc3339(hour)

    def _is_live(self, now_s: float, cursor: str | None) -> bool:
        reached_s = int(cursor) if self._newest_end_s is None and cursor else self._newest_end_s
        return reached_s is not None and now_s - reached_s <= LIVE_LAG_S
