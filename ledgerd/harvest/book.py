"""What a source knows about itself, for ``/status`` and ``poe_ingest_status``: told as it happens, never guessed."""

from collections import Counter, deque
from collections.abc import Iterable, Mapping

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


class Book:
    """The progress of one hourly source."""

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
        self._name = name
        self._kind = kind
        self._realm = realm
        self._clock = clock
        self._started_s = clock.now()
        self._newest_end_s = newest_end_s
        self._ingested_s: float | None = None
        self._requests: deque[float] = deque(maxlen=10_000)
        self._answered = False
        self._failing: type[LedgerdError] | None = None
        self._errors = 0
        self._last_error: str | None = None
        self._rows: Counter[str] = Counter()
        self._skipped: Counter[str] = Counter()
        self._newest_hours = dict(newest_hours)
        self._unstored: set[str] = set()

    def asked(self) -> None:
        """A request goes out."""
        self._requests.append(self._clock.now())

    def failed(self, error: LedgerdError) -> None:
        """The last attempt failed."""
        self._errors += 1
        self._failing = type(error)  # not the error: its traceback holds the body it is about
        self._last_error = str(error)

    def well(self) -> None:
        """The last attempt worked."""
        self._answered = True
        self._failing = None

    def committed(self, what: Committed) -> None:
        """A batch is visible to ETL."""
        self._ingested_s = self._clock.now()
        self._newest_end_s = int(what.batch.next_cursor)
        self._rows.update(what.by_league)
        known = self._newest_hours.keys() | self._skipped.keys()
        for league in sorted(what.skipped):
            if league in known or len(known) < LANES_MAX:
                self._skipped[league] += what.skipped[league]
                known.add(league)
        self._unstored = (self._unstored | what.skipped.keys() & known) - what.by_league.keys()
        for league, hour in what.newest.items():
            self._newest_hours[league] = max(hour, self._newest_hours.get(league, 0))
        for league in self._newest_first(self._newest_hours)[LANES_MAX:]:
            del self._newest_hours[league]
            self._rows.pop(league, None)

    def status(self, cursor: str | None, stalled_after_s: float, refused: str | None) -> SourceStatus:
        """``cursor``: the next hour to ask; ``refused``: why the source was stopped, if it was."""
        now_s = self._clock.now()
        stalled_since_s = self._stalled_since_s(now_s, stalled_after_s)
        return SourceStatus(
            name=self._name,
            kind=self._kind,
            realm=self._realm,
            state=SourceState.REFUSED if refused else self._state(now_s, cursor, stalled=stalled_since_s is not None),
            cursor=cursor,
            lag_s=None if self._newest_end_s is None else round(now_s - self._newest_end_s, 1),
            last_ingest_time=None if self._ingested_s is None else rfc3339(self._ingested_s),
            avg_req_per_sec=round(sum(at > now_s - RATE_WINDOW_S for at in self._requests) / RATE_WINDOW_S, 4),
            stalled_since=None if stalled_since_s is None else rfc3339(stalled_since_s),
            errors=self._errors,
            last_error=refused or self._last_error,
            gaps=tally["GapFound", self._name],
        )

    def lanes(self) -> list[LaneStatus]:
        """Every league met: of what is stored, rows since the process started, of what is not, rows left out."""
        leagues = self._newest_hours.keys() | self._skipped.keys()
        return [self._lane(league) for league in sorted(self._newest_first(leagues)[:LANES_MAX])]

    def _newest_first(self, leagues: Iterable[str]) -> list[str]:
        return sorted(leagues, key=lambda league: (-self._newest_hours.get(league, 0), league))

    def _lane(self, league: str) -> LaneStatus:
        is_stored = league not in self._unstored
        hour = self._newest_hours.get(league)
        return LaneStatus(
            self._name,
            self._realm,
            league,
            stored=is_stored,
            rows=(self._rows if is_stored else self._skipped)[league],
            newest_hour=None if hour is None else rfc3339(hour),
        )

    def _stalled_since_s(self, now_s: float, stalled_after_s: float) -> float | None:
        progress_s = self._started_s if self._ingested_s is None else self._ingested_s
        return progress_s if now_s - progress_s > stalled_after_s else None

    def _state(self, now_s: float, cursor: str | None, *, stalled: bool) -> SourceState:
        if self._failing and issubclass(self._failing, SpoolFull | StoreUnavailable):
            return SourceState.WAITING
        if stalled:
            return SourceState.STALLED
        if self._failing:
            return SourceState.DEGRADED
        if not self._answered and self._ingested_s is None:
            return SourceState.STARTING
        reached_s = int(cursor) if self._newest_end_s is None and cursor else self._newest_end_s
        is_live = reached_s is not None and now_s - reached_s <= LIVE_LAG_S
        return SourceState.LIVE if is_live else SourceState.CATCHING_UP
