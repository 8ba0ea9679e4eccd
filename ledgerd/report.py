"""Puts ``/status`` together from whoever owns each fact; asks nobody who could be slow."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from ledgerd import __version__
from ledgerd.clock import Clock, rfc3339
from ledgerd.config import Roles
from ledgerd.errors import StoreUnavailable
from ledgerd.etl.runner import Runner
from ledgerd.harvest.harvest import Harvest
from ledgerd.spool.spool import Spool
from ledgerd.status import (
    WELL,
    ConfigStatus,
    DaemonState,
    EtlState,
    EtlStatus,
    SourceStatus,
    SpoolState,
    SpoolStatus,
    Status,
    StoreState,
    StoreStatus,
)
from ledgerd.store.engine import Engine
from ledgerd.supervise import Supervisor

STALL_S = 300.0
"""How long a service may work without progress before it counts as stalled, here and for systemd's watchdog."""
BACKLOG_AGE_S = 600.0
"""How long a page may wait for its commit before the spool is called backlogged, however small it is."""
FAR_BEHIND_BATCHES = 100
"""So many committed batches may wait for an ETL step of an exchange, or one that has done none, before we say so."""
FAR_BEHIND_S = 900.0
"""So much later than what a step has done may the newest batch of a river have been fetched."""


class Report:
    """The daemon's account of itself. It never flatters: whatever is not well shows in ``state`` and in ``reasons``."""

    def __init__(
        self,
        clock: Clock,
        *,
        engine: Engine,
        spool: Spool,
        harvest: Harvest,
        etl: Runner,
        supervisor: Supervisor,
        roles: Roles,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``roles``: a role that is off has no part in the account; ``monotonic``: real seconds, for the uptime."""
        self.has_started = False
        self.is_stopping = False
        self.last_reload_error: str | None = None
        self.store_error: str | None = None
        self.generation = 0
        self._clock = clock
        self._monotonic = monotonic
        self._started_s = monotonic()
        self._engine = engine
        self._spool = spool
        self._harvest = harvest
        self._etl = etl
        self._supervisor = supervisor
        self._roles = roles
        self.reloaded()

    def reloaded(self) -> None:
        """A configuration came into force."""
        self.generation += 1
        self._loaded_s = self._clock.now()
        self.last_reload_error = None

    def status(self) -> Status:
        """All of ``/status``, from memory."""
        told = Status(
            state=DaemonState.STARTING,
            version=__version__,
            uptime_s=round(self._monotonic() - self._started_s, 1),
            config=ConfigStatus(self.generation, rfc3339(self._loaded_s), self.last_reload_error),
            store=self._store(),
            spool=self._spool_status(),
            sources=self._harvest.sources() if self._roles.harvest else [],
            lanes=self._harvest.lanes() if self._roles.harvest else [],
            etl=self._etl.status() if self._roles.etl else [],
        )
        if self.is_stopping:
            return replace(told, state=DaemonState.STOPPING)
        if not self.has_started:
            return told
        reasons = [*troubles(told)]
        reasons += self._services(reasons)
        return replace(told, state=DaemonState.DEGRADED if reasons else DaemonState.OK, reasons=reasons)

    def _store(self) -> StoreStatus:
        try:
            info = self._engine.info
        except StoreUnavailable as error:
            return StoreStatus("unknown", "", StoreState.UNAVAILABLE, str(error))
        state = StoreState.UNAVAILABLE if self.store_error else StoreState.OK
        return StoreStatus(info.name, info.version, state, self.store_error)

    def _spool_status(self) -> SpoolStatus:
        figures = self._spool.figures()
        state = SpoolState(figures.state)
        if state is SpoolState.OK and (figures.oldest_age_s or 0.0) > BACKLOG_AGE_S:
            state = SpoolState.BACKLOGGED
        return SpoolStatus(figures.pages, figures.bytes, figures.bytes_max, figures.oldest_age_s, state)

    def _services(self, told: Iterable[str]) -> Iterator[str]:
        """The services that fail or stall, but for those whose error a part of ``told`` gives already."""
        said = "\n".join(told)
        for name in self._supervisor.names():
            trouble = self._supervisor.trouble(name)
            if trouble and trouble not in said:
                yield f"{name} has failed: {trouble}"
        for name in self._supervisor.stalled(STALL_S):
            yield f"{name} has made no progress for more than {STALL_S:.0f} s"


def troubles(told: Status) -> Iterator[str]:
    """Whatever in ``told`` is not well, a sentence for each part."""
    store, spool = told.store, told.spool
    if store.state is not StoreState.OK:
        yield f"the store is {store.state.value}: {_or_unknown(store.last_error)}"
    if spool.state is not SpoolState.OK:
        age_s = spool.oldest_age_s or 0.0
        yield f"the spool is {spool.state.value}: {spool.pages} pages wait, the oldest for {age_s:.0f} s"
    yield from (_of_source(source) for source in told.sources if source.state not in WELL)
    yield from _of_steps(told.etl)
    if told.config.last_reload_error:
        yield f"the last reload was refused: {told.config.last_reload_error}"


def _of_source(source: SourceStatus) -> str:
    since = f" since {source.stalled_since}" if source.stalled_since else ""
    return f"{source.name} is {source.state.value}{since}: {_or_unknown(source.last_error)}"


def _of_steps(steps: Sequence[EtlStatus]) -> Iterator[str]:
    """Each step that fails, and of each source the step that is furthest behind, if that is far."""
    for step in steps:
        if step.state is EtlState.FAILING:
            yield f"{_named(step)} is failing: {_or_unknown(step.last_error)}"
    for source in dict.fromkeys(step.source for step in steps):
        furthest = max((step for step in steps if step.source == source), key=lambda step: step.behind)
        if furthest.state is not EtlState.FAILING and _is_far_behind(furthest):
            batches = "batch" if furthest.behind == 1 else "batches"
            yield f"{_named(furthest)} is {furthest.behind} {batches} behind"


def _is_far_behind(step: EtlStatus) -> bool:
    """True if prices are late enough to say so: a river has a batch every two seconds, so there the time counts.

    A lane that has done nothing yet has no time to count from.
    """
    if step.league is None or step.behind_s is None:
        return step.behind > FAR_BEHIND_BATCHES
    return step.behind > 0 and step.behind_s > FAR_BEHIND_S


def _named(step: EtlStatus) -> str:
    lane = f", {step.league}," if step.league else ""
    return f"{step.step} of {step.source}{lane}"


def _or_unknown(error: str | None) -> str:
    return error or "no error is known"
