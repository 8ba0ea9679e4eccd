"""What a source knows about itself, for ``/status`` and ``poe_ingest_status``: told as it happens, never guessed."""

from collections import Counter, deque

from ledgerd.clock import HOUR_S, Clock, rfc3339
from ledgerd.errors import LedgerdError, SpoolFull, StoreUnavailable
from ledgerd.events import tally
from ledgerd.spool.writer import Committed
from ledgerd.status import LaneStatus, SourceState, SourceStatus

RATE_WINDOW_S = 300.0
LIVE_WITHIN_S = 2 * HOUR_S
"""An hour that ended longer ago than this is history."""


class Book:
    """The progress of one hourly source."""

    def __init__(self, name: str, kind: str, realm: str, clock: Clock, newest_end_s: int | None) -> None:
        """``newest_end_s``: end of the newest hour committed before this process started, unix seconds."""
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
        """Every league stored since the process started."""
        newest = None if self._newest_end_s is None else rfc3339(self._newest_end_s - HOUR_S)
        return [
            LaneStatus(self._name, self._realm, league, stored=True, rows=rows, newest_hour=newest)
            for league, rows in sorted(self._rows.items())
        ]

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
        at_edge = cursor is not None and int(cursor) + HOUR_S + LIVE_WITHIN_S >= now_s
        return SourceState.LIVE if at_edge else SourceState.CATCHING_UP
