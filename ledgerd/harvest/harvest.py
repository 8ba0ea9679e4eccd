"""Every source of this process and its writer: built from the configuration, changed live, stopped in order."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from ledgerd.clock import Clock
from ledgerd.config import Config, Realm, user_agent
from ledgerd.errors import StoreLocked
from ledgerd.events import Noted, emit
from ledgerd.harvest.claims import RENEW_S, Claims, holder_of
from ledgerd.harvest.ingest_status import IngestStatus
from ledgerd.harvest.strands import EXCHANGE, RIVER, Loom, Strand, has_credentials, oauth_of, wanted
from ledgerd.spool.checkpoint import record_breaks
from ledgerd.spool.journal import Journal, quarantine_landing, requests_landing
from ledgerd.spool.spool import Spool
from ledgerd.spool.writer import Committed, SealRules, Writer, writer_name
from ledgerd.status import WELL, LaneStatus, SourceState, SourceStatus
from ledgerd.store.engine import EMBEDDED, Engine
from ledgerd.supervise import Heart, Service, State, Stop, Supervisor
from ledgerd.upstream.client import Client, Limits, RequestRecord
from ledgerd.upstream.lending import Lending
from ledgerd.upstream.throttle import Throttle

JOURNAL_RULES = SealRules(pages_max=1_000, bytes_max=32 << 20, after_s=10.0)
INGEST_STATUS = "ingest-status"
CLAIMS = "claims"
JOURNALS = ("requests", "quarantine")
THROTTLE_FILE = "throttle.json"
NO_CREDENTIALS = "it needs upstream.client_id and its secret, which are not configured; the exchange runs without"


class Harvest:
    """The sources of this process. Opened once; ``prepare``, ``adopt`` and ``drop`` are the parts of a reload."""

    def __init__(
        self,
        config: Config,
        *,
        engine: Engine,
        spool: Spool,
        supervisor: Supervisor,
        clock: Clock,
        rng: random.Random,
        on_commit: Callable[[Committed], None],
    ) -> None:
        """``on_commit`` is told of every batch that became visible."""
        self._config = config
        self._engine = engine
        self._spool = spool
        self._supervisor = supervisor
        self._clock = clock
        self._rng = rng
        self._on_commit = on_commit
        self._throttle = Throttle(
            config.throttle.requests_per_s,
            config.throttle.backfill_requests_per_s,
            clock=clock,
            rng=rng,
            state_path=config.daemon.data_dir / THROTTLE_FILE,
        )
        self.throttle = Lending(self._throttle)
        """Turns at upstream, for other jobs on this address."""
        self._journals: dict[str, Journal] = {}
        self._client = Client(
            user_agent=user_agent(config),
            limits=_limits(config),
            throttle=self._throttle,
            clock=clock,
            remember=lambda record: self._journals["requests"].append(_request_record(record)),
        )
        self._strands: dict[str, Strand] = {}
        self._leaving: list[Strand] = []
        """No longer configured, and perhaps not at their end yet."""
        self._loom = Loom(
            engine=engine,
            spool=spool,
            clock=clock,
            rng=rng,
            client=self._client,
            oauth=oauth_of(config, self._client, clock),
            quarantine=lambda: self._journals["quarantine"],
            leagues=self._leagues,
            committed=self._committed,
        )
        self._status = IngestStatus(engine, self.sources, clock)
        self._claims: Claims | None = None
        self._standing: set[str] = set()
        """Those of our sources that do not run because others have them."""

    async def open(self) -> None:
        """With the spool open: start every service; pages an earlier run left are carried first."""
        self._open_claims()
        self._throttle.restore()
        journal_writers = self._open_journals()
        await self._client.__aenter__()
        await record_breaks(self._engine, self._spool.breaks, self._clock)
        for writer in journal_writers:
            self._supervisor.start(Service(writer.name, writer.run))
        self._supervisor.start(Service(INGEST_STATUS, self._status.run))
        self.adopt(self._config, await self.prepare(self._config))
        if self._claims is not None:
            self._supervisor.start(Service(CLAIMS, self._keep_claims))

    async def once(self, kind: str, realm: Realm) -> bool:
        """Without services: fetch one page of a realm's source and carry it to its commit. False at the edge.

        StoreLocked where another harvests it.
        """
        name = f"{kind}-{realm.name}"
        self._open_claims()
        await self._claim([name])
        if name in self._rivals:
            raise StoreLocked(
                f"{name}: {self._rivals[name]} harvests it.",
                f"To look and keep nothing: ledgerd harvest --realm {realm.name} --source {kind} --once --dry-run",
            )
        try:
            return await self._one_page(kind, realm)
        finally:
            if self._claims is not None:
                await self._claims.leave([name])

    async def _one_page(self, kind: str, realm: Realm) -> bool:
        heart = Heart(self._clock)
        self._throttle.restore()
        journal_writers = self._open_journals()
        async with self._client:
            strand = await self._loom.strand(kind, realm, self._config)
            self._strands = {strand.source.name: strand}
            has_page = await strand.source.step()
            await strand.writer.flush(heart)
            for writer in journal_writers:
                await writer.flush(heart)
        return has_page

    async def close(self) -> None:
        """Close the client; the services have been stopped before."""
        await self._client.__aexit__(None, None, None)

    def stop_order(self) -> list[tuple[str, ...]]:
        """Groups of services in the order they stop: no more pages, then drain, then our own records and claims."""
        return [
            tuple(self._strands),
            tuple(strand.writer.name for strand in self._strands.values()),
            (INGEST_STATUS,),
            (CLAIMS, *(writer_name(name) for name in JOURNALS)),  # claims last: until here another would fork the chain
        ]

    async def prepare(self, config: Config) -> list[Strand]:
        """Claim and build, without starting, the sources ``config`` adds. If one cannot be, raises and changes none.

        Claimed before they start: else another's would be harvested here, too, until the next renewal.
        """
        missing = {name: each for name, each in wanted(config).items() if name not in self._strands}
        await self._claim(list(missing))
        return [await self._loom.strand(kind, realm, config) for kind, realm in missing.values()]

    def adopt(self, config: Config, added: list[Strand]) -> list[Strand]:
        """Put ``config`` in force at once: start what was prepared, change what goes on; returns what is to `drop`."""
        self._config = config
        self._throttle.set_pace(config.throttle.requests_per_s, config.throttle.backfill_requests_per_s)
        self._client.limits = _limits(config)
        named = wanted(config)
        self._strands |= {strand.source.name: strand for strand in added}
        unwanted = [self._strands.pop(name) for name in list(self._strands) if name not in named]
        self._leaving = [strand for strand in (*self._leaving, *unwanted) if self._is_alive(strand)]
        for name, strand in self._strands.items():
            strand.settle(named[name][1], config)
            strand.source.on_turn(self._status.wake)
            self._start(strand)
        return unwanted

    async def drop(self, unwanted: list[Strand]) -> None:
        """Stop each source, then its writer, which carries what was frozen."""
        for strand in unwanted:
            await self._halt(strand)

    async def _halt(self, strand: Strand) -> None:
        for service in (strand.source.name, strand.writer.name):
            await self._supervisor.stop(service, self._config.daemon.stop_deadline_s)
            if not self._supervisor.is_alive(service):
                self._supervisor.forget(service)

    def sources(self) -> list[SourceStatus]:
        """For ``/status``: every source of the configured realms, exchanges switched off and rivers kept off, too.

        And those no longer configured, until their last answer is stored.
        """
        strands = self._known()
        running = [self._told(strand) for strand in strands.values()]
        quiet = [
            _off(EXCHANGE, realm.name, f"realm.{realm.name}.exchange is false: nothing of it is fetched")
            for realm in self._config.realms
            if not realm.exchange and f"{EXCHANGE}-{realm.name}" not in strands
        ]
        if not has_credentials(self._config):
            quiet += [_off(RIVER, realm.name, NO_CREDENTIALS) for realm in self._config.realms if realm.river]
        return running + quiet

    def lanes(self) -> list[LaneStatus]:
        """For ``/status``: what each lane has stored since the process started."""
        return [lane for strand in self._known().values() for lane in strand.source.lanes()]

    async def _keep_claims(self, stop: Stop, heart: Heart) -> None:
        """Service: renew our claims; stand by for a source another claimed before us, take over what it has left.

        A source that was refused here is left to the others.
        """
        claims = self._claims
        while claims is not None and not await heart.sleep(stop, RENEW_S):
            refused = {name for name in self._strands if self._refusal(name) or self._refusal(writer_name(name))}
            await claims.leave(refused)
            await self._claim([name for name in wanted(self._config) if name not in refused])
            await self._yield()
            heart.beat()
        if claims is not None:
            await claims.leave(wanted(self._config).keys())

    def _open_claims(self) -> None:
        if self._engine.info.name != EMBEDDED:  # an embedded engine has one process, and its lock sees to that
            self._claims = Claims(self._engine, holder_of(self._config.daemon.data_dir))

    @property
    def _rivals(self) -> Mapping[str, str]:
        """The sources another harvests, and who that is."""
        return {} if self._claims is None else self._claims.rivals

    async def _claim(self, names: Sequence[str]) -> None:
        """Claim ``names``, or renew the claim."""
        if self._claims is not None:
            await self._claims.renew(names)

    async def _yield(self) -> None:
        """Let others have what is theirs, and take up where the last commit stands what they have left."""
        for name in self._rivals.keys() & self._strands.keys() - self._standing:
            self._standing.add(name)
            await self._halt(self._strands[name])
            emit(Noted(name, note=f"stands by: {self._rivals[name]} harvests it"))
        for name in self._standing - self._rivals.keys():
            if name in self._strands:
                kind, realm = wanted(self._config)[name]
                strand = await self._loom.strand(kind, realm, self._config)  # may fail: then it is tried again
                if name not in self._strands:  # a reload switched it off meanwhile
                    continue
                self._strands[name] = strand
                self._start(strand)
                emit(Noted(name, note="takes over, nobody else harvests it now"))
            self._standing.discard(name)

    def _start(self, strand: Strand) -> None:
        """Start what of ``strand`` is not alive and ours; a source that was refused gets another chance."""
        if strand.source.name in self._rivals:
            if strand.source.name not in self._standing:
                emit(Noted(strand.source.name, note=f"stands by: {self._rivals[strand.source.name]} harvests it"))
            self._standing.add(strand.source.name)
            return
        services = (
            Service(strand.writer.name, strand.writer.run),
            Service(strand.source.name, strand.source.run),
        )
        for service in services:
            if not self._supervisor.is_alive(service.name):
                self._supervisor.start(service)

    def _known(self) -> dict[str, Strand]:
        """Every source by name: those configured, then those that have not ended yet."""
        leaving = {strand.source.name: strand for strand in self._leaving if self._is_alive(strand)}
        return self._strands | {name: strand for name, strand in leaving.items() if name not in self._strands}

    def _is_alive(self, strand: Strand) -> bool:
        return any(self._supervisor.is_alive(name) for name in (strand.source.name, strand.writer.name))

    def _told(self, strand: Strand) -> SourceStatus:
        """A source as it is, its writer counted in: pages that nobody stores are no progress."""
        source, writer = strand.source.name, strand.writer.name
        if source in self._rivals:
            why = f"{self._rivals[source]} harvests it"
            return replace(strand.source.status(None), state=SourceState.STANDBY, last_error=why)
        status = strand.source.status(self._refusal(source) or self._refusal(writer))
        if status.state not in WELL:
            return status
        if error := self._supervisor.trouble(writer):
            return replace(status, state=SourceState.WAITING, last_error=error)
        if error := self._supervisor.trouble(source):
            return replace(status, state=SourceState.DEGRADED, last_error=error)
        return status

    def _refusal(self, name: str) -> str | None:
        if name not in self._supervisor.names() or self._supervisor.state(name) is not State.REFUSED:
            return None
        return self._supervisor.last_error(name)

    def _open_journals(self) -> list[Writer]:
        """Our own records and what carries them; returns the writers."""
        writers = []
        for landing in (requests_landing(), quarantine_landing()):
            stream = self._spool.journal(landing.source)
            writer = Writer(stream, landing, self._engine, rules=JOURNAL_RULES, clock=self._clock)
            self._journals[landing.source] = Journal(stream, self._clock, writer.frozen)
            writers.append(writer)
        return writers

    def _leagues(self, realm: str) -> tuple[str, ...]:
        """The lanes of ``realm`` in force now."""
        return next((each.leagues for each in self._config.realms if each.name == realm), ())

    def _committed(self, what: Committed) -> None:
        if (strand := self._known().get(what.source)) is not None:
            strand.source.committed(what)
        self._on_commit(what)


def _limits(config: Config) -> Limits:
    return Limits(config.upstream.timeout_s, config.upstream.body_bytes_max)


def _request_record(record: RequestRecord) -> dict[str, Any]:
    """A record for the requests journal: its keys are the columns of ``bronze_requests``."""
    fields = asdict(record)
    requested_at = fields.pop("requested_at_ms") / 1000
    return fields | {"requested_at": requested_at}


def _off(kind: str, realm: str, why: str) -> SourceStatus:
    """A source that does not run, and says so instead of looking well or not at all."""
    return SourceStatus(
        name=f"{kind}-{realm}",
        kind=kind,
        realm=realm,
        state=SourceState.OFF,
        cursor=None,
        lag_s=None,
        last_ingest_time=None,
        avg_req_per_sec=0.0,
        stalled_since=None,
        errors=0,
        last_error=why,
    )
