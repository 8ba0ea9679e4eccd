"""What ``/status`` says: its shape and its closed sets of states. Plain values; whoever owns a fact fills it in."""

from dataclasses import dataclass, field
from enum import StrEnum


class DaemonState(StrEnum):
    """The daemon as a whole; the worst of its parts."""

    STARTING = "starting"
    OK = "ok"
    DEGRADED = "degraded"
    """It serves, but something below is not well: look at ``store``, ``spool``, ``sources`` and ``etl``."""
    STOPPING = "stopping"


class SourceState(StrEnum):
    """One upstream stream."""

    STARTING = "starting"
    """No answer yet since the process started."""
    CATCHING_UP = "catching_up"
    """What is due is not stored yet: history, an hour that is late, pages up to the end of the river."""
    LIVE = "live"
    """Everything due is stored; waiting for what comes next is live, too."""
    WAITING = "waiting"
    """Held back by ourselves: the spool is full or the engine is down."""
    DEGRADED = "degraded"
    """Upstream fails; trying again with back-off."""
    STALLED = "stalled"
    """No progress for longer than ``freshness.stalled_after_s``."""
    STANDBY = "standby"
    """Another ledgerd on the same server harvests it; taken over when that one is gone."""
    REFUSED = "refused"
    """Stopped after repeated refusals; a person must act, then reload."""
    OFF = "off"
    """Switched off by configuration or for want of credentials."""


WELL = frozenset(
    {SourceState.STARTING, SourceState.CATCHING_UP, SourceState.LIVE, SourceState.STANDBY, SourceState.OFF}
)
"""The states of a source that need nobody's attention."""


class StoreState(StrEnum):
    """The engine."""

    OK = "ok"
    UNAVAILABLE = "unavailable"


class SpoolState(StrEnum):
    """The spool folder."""

    OK = "ok"
    BACKLOGGED = "backlogged"
    """Pages wait longer than they should: the engine is slow or down."""
    FULL = "full"
    """No room for another page; harvesting waits."""


class EtlState(StrEnum):
    """One ETL step for one source, of a river for one league."""

    OK = "ok"
    BEHIND = "behind"
    """Committed batches wait for this step."""
    FAILING = "failing"


@dataclass(frozen=True, slots=True)
class ConfigStatus:
    """Which configuration is in force; ``loaded_at`` RFC 3339."""

    generation: int
    loaded_at: str
    last_reload_error: str | None


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """The engine and how it is."""

    engine: str
    version: str
    state: StoreState
    last_error: str | None = None


@dataclass(frozen=True, slots=True)
class SpoolStatus:
    """What waits on disk: ``pages`` and ``bytes`` not yet retired; ``oldest_age_s`` null when nothing waits."""

    pages: int
    bytes: int
    bytes_max: int
    oldest_age_s: float | None
    state: SpoolState


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """One source. ``cursor``: the next id to ask.

    ``lag_s``: of an exchange, now minus the end of the newest committed hour; of a river, the 300 s by which upstream
    is late plus the time since its end was met with everything before it stored, null while catching up.
    ``pages_behind``: pages of a river that wait to be stored; null while catching up, for upstream does not say how
    many follow. ``retry_after_s``: what upstream's last refusal demanded, null once it answers again.
    ``gaps``: how many spans were found missing since the process started; each is a row of ``bronze_gaps``.
    """

    name: str
    kind: str
    realm: str
    state: SourceState
    cursor: str | None
    lag_s: float | None
    last_ingest_time: str | None
    avg_req_per_sec: float
    stalled_since: str | None
    errors: int
    last_error: str | None
    pages_behind: int | None = None
    retry_after_s: float | None = None
    gaps: int = 0


@dataclass(frozen=True, slots=True)
class LaneStatus:
    """One league's share of a source: ``rows`` stored since the process started, and when the last of them were.

    ``newest_hour``: of an exchange, the newest with any. Not ``stored``: a league nobody asked for; ``rows`` were
    counted and left out.
    """

    source: str
    realm: str
    league: str
    stored: bool
    rows: int
    newest_hour: str | None
    last_ingest_time: str | None = None


@dataclass(frozen=True, slots=True)
class EtlStatus:
    """One step for one source, of a river for one league: the last batch done, how many wait.

    ``behind_s``: the newest batch was fetched so much later than the last one done; null where nothing was done yet.
    ``done_until``: when the last batch it had to do with was fetched. ``took_s``: what that took.
    """

    step: str
    source: str
    league: str | None
    state: EtlState
    watermark: int
    behind: int
    behind_s: float | None
    done_until: str | None
    took_s: float | None
    last_error: str | None


@dataclass(frozen=True, slots=True)
class Status:
    """All of ``/status``. ``uptime_s`` seconds; every time RFC 3339 UTC; ``reasons``: why it is degraded, one each."""

    state: DaemonState
    version: str
    uptime_s: float
    config: ConfigStatus
    store: StoreStatus
    spool: SpoolStatus
    sources: list[SourceStatus] = field(default_factory=list)
    lanes: list[LaneStatus] = field(default_factory=list)
    etl: list[EtlStatus] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
