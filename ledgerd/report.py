"""Puts ``/status`` together from whoever owns each fact; asks nobody who could be slow."""

from ledgerd import __version__
from ledgerd.clock import Clock, rfc3339
from ledgerd.config import Roles
from ledgerd.errors import StoreUnavailable
from ledgerd.etl.runner import Runner
from ledgerd.harvest.harvest import Harvest
from ledgerd.spool.spool import Spool
from ledgerd.status import (
    ConfigStatus,
    DaemonState,
    EtlState,
    EtlStatus,
    SourceState,
    SourceStatus,
    SpoolState,
    SpoolStatus,
    Status,
    StoreState,
    StoreStatus,
)
from ledgerd.store.engine import Engine

GOOD_SOURCES = {SourceState.STARTING, SourceState.CATCHING_UP, SourceState.LIVE, SourceState.OFF}


class Report:
    """The daemon's account of itself."""

    def __init__(
        self, clock: Clock, *, engine: Engine, spool: Spool, harvest: Harvest, etl: Runner, roles: Roles
    ) -> None:
        """``roles``: a role that is off has no part in the account."""
        self.has_started = False
        self.is_stopping = False
        self.last_reload_error: str | None = None
        self.store_error: str | None = None
        self.generation = 0
        self._clock = clock
        self._started_s = clock.now()
        self._engine = engine
        self._spool = spool
        self._harvest = harvest
        self._etl = etl
        self._roles = roles
        self.reloaded()

    def reloaded(self) -> None:
        """A configuration came into force."""
        self.generation += 1
        self._loaded_s = self._clock.now()
        self.last_reload_error = None

    def status(self) -> Status:
        """All of ``/status``, from memory."""
        store, spool = self._store(), self._spool_status()
        sources = self._harvest.sources() if self._roles.harvest else []
        etl = self._etl.status() if self._roles.etl else []
        return Status(
            state=self._state(store, spool, sources, etl),
            version=__version__,
            uptime_s=round(self._clock.now() - self._started_s, 1),
            config=ConfigStatus(self.generation, rfc3339(self._loaded_s), self.last_reload_error),
            store=store,
            spool=spool,
            sources=sources,
            lanes=self._harvest.lanes() if self._roles.harvest else [],
            etl=etl,
        )

    def _store(self) -> StoreStatus:
        try:
            info = self._engine.info
        except StoreUnavailable as error:
            return StoreStatus("unknown", "", StoreState.UNAVAILABLE, str(error))
        state = StoreState.UNAVAILABLE if self.store_error else StoreState.OK
        return StoreStatus(info.name, info.version, state, self.store_error)

    def _spool_status(self) -> SpoolStatus:
        figures = self._spool.figures()
        return SpoolStatus(
            figures.pages, figures.bytes, figures.bytes_max, figures.oldest_age_s, SpoolState(figures.state)
        )

    def _state(
        self, store: StoreStatus, spool: SpoolStatus, sources: list[SourceStatus], etl: list[EtlStatus]
    ) -> DaemonState:
        """The worst of the parts."""
        if self.is_stopping:
            return DaemonState.STOPPING
        if not self.has_started:
            return DaemonState.STARTING
        is_well = (
            store.state is StoreState.OK
            and spool.state is SpoolState.OK
            and all(source.state in GOOD_SOURCES for source in sources)
            and all(step.state is not EtlState.FAILING for step in etl)
            and self.last_reload_error is None
        )
        return DaemonState.OK if is_well else DaemonState.DEGRADED
