"""The program: what it is made of, in the order it starts, stops and reloads."""

import asyncio
import gc
import random
from collections.abc import Awaitable, Callable

from ledgerd import __version__, lifecycle, logs
from ledgerd.chaos_scale.reference import shipped
from ledgerd.clock import Clock, SystemClock
from ledgerd.config import Config, changes, restart_needed
from ledgerd.config.load import Loaded
from ledgerd.doors import Doors
from ledgerd.errors import CannotStart, ConfigError, Fatal, LedgerdError, ReloadRefused, StoreUnavailable
from ledgerd.etl.retention import Keep, Retention
from ledgerd.etl.runner import LOOK_S, Runner, load_steps
from ledgerd.events import Noted, Reloaded, Started, Stopped, emit
from ledgerd.harvest.harvest import Harvest
from ledgerd.harvest.strands import Strand
from ledgerd.ledger.ledger import Ledger
from ledgerd.report import STALL_S, Report
from ledgerd.spool.spool import Spool
from ledgerd.spool.writer import Committed
from ledgerd.store.engine import SERVER
from ledgerd.store.engines import make_engine
from ledgerd.store.migrate import Migrator
from ledgerd.store.preflight import check_store
from ledgerd.store.queries import load_queries
from ledgerd.supervise import Heart, Service, Stop, Supervisor
from ledgerd.web.deps import Deps

NAME = "ledgerd"
RELOAD_CLOSE_S = 2.0
"""How long a stop waits for a reload under way."""
CLOSE_S = 25.0
"""How long a stop may take beyond its deadline, as systemd is told: that of the doors, RELOAD_CLOSE_S, a second for
each group of services that must be cancelled, and the engine's last queries."""
OTHERS_EVERY_S = 10.0
"""How often batches and gold of another process are looked for."""
STORE_EVERY_S = 5.0
STORE_TIMEOUT_S = 10.0


async def serve(
    load: Callable[[], Loaded],
    *,
    clock: Clock | None = None,
    rng: random.Random | None = None,
    on_listen: Callable[[str], None] = lambda url: None,
) -> None:
    """Run the daemon until it is told to stop; raises Fatal when it cannot start or go on.

    ``load`` reads the configuration, at start and at every HUP; ``on_listen`` is told the public URL once it answers.
    """
    app = App(load, clock or SystemClock(), rng or random.Random())  # noqa: S311  jitter, no secret
    with lifecycle.Signals(app.stop, app.reload, notifier=app.notifier, last_words=logs.flush) as signals:
        try:
            if not await app.stop.cuts_short(app.start(signals, on_listen)):
                await app.supervisor.until(app.stop)
        except StoreUnavailable as error:  # while it started: later a service has it, and waits
            raise CannotStart(error.message, error.hint or "See: ledgerd check-config") from error
        finally:
            await app.shut_down()
            logs.flush()
    app.supervisor.raise_fatal()


class App:
    """Everything one ledgerd process is made of."""

    def __init__(self, load: Callable[[], Loaded], clock: Clock, rng: random.Random) -> None:
        """Read the configuration; touch nothing else yet. Raises ConfigError."""
        loaded = load()
        config = self.config = loaded.config
        logs.configure(config.log.level, config.log.format)
        for note in loaded.notes:
            emit(Noted(NAME, note=note))
        self.stop = Stop()
        self.notifier = lifecycle.Notifier()
        self.supervisor = Supervisor(clock, rng)
        self._load = load
        self._clock = clock
        self._url = ""
        self._doors = Doors()
        self._spool = Spool(
            config.spool_dir,
            bytes_max=config.spool.bytes_max,
            retain_s=config.spool.retain_h * 3600,
            clock=clock,
        )
        self._engine = make_engine(config)
        reference, steps = shipped(), load_steps()
        self._ledger = Ledger(self._engine, reference, load_queries())
        self._etl = Runner(
            self._engine, steps, reference, clock, rng=rng, on_gold=self._on_gold,
            look_s=LOOK_S if config.roles.harvest else OTHERS_EVERY_S, interval_s=config.etl.interval_s,
        )  # fmt: skip
        self._retention = Retention(self._engine, steps, clock, _keep(config), cluster=config.clickhouse.cluster)
        self._harvest = Harvest(
            config,
            engine=self._engine,
            spool=self._spool,
            supervisor=self.supervisor,
            clock=clock,
            rng=rng,
            on_commit=self._on_commit,
        )
        self._stale_realms: set[str] = set()
        self._gold_moved = asyncio.Event()
        self.report = Report(
            clock,
            engine=self._engine,
            spool=self._spool,
            harvest=self._harvest,
            etl=self._etl,
            supervisor=self.supervisor,
            roles=config.roles,
        )

    async def start(self, signals: lifecycle.Signals, on_listen: Callable[[str], None]) -> None:
        """Start everything, each when what it stands on is there."""
        roles = self.config.roles
        url = await self._listen()  # first: /status answers from the first second, and a taken port touches no data
        on_listen(url)
        await self._open_spool()  # owns the data directory from here on; repairs what a kill left
        if self.config.clickhouse.engine == SERVER and (marker := self.config.move_marker).exists():
            raise CannotStart(
                "The move to this server is not finished.", f"Type: ledgerd move; or give it up: rm {marker}"
            )
        await self._engine.open()
        async with lifecycle.asking_for_time(self.notifier, SystemClock()):  # a table may have to be rewritten
            cluster = self.config.clickhouse.cluster
            await Migrator(self._engine, self._clock, cluster=cluster).apply()  # before anyone reads or writes a table
            if self._engine.info.name == SERVER and (roles.harvest or roles.etl):
                await check_store(self._engine)  # before anything is fetched for a server that would not keep it
        self._expect()
        await self._load_ledger()  # old prices, with their age, beat none while the first hour is fetched
        self._start("store", self._watch_store)
        self._start("ledger", self._follow_gold)
        if roles.etl:
            self._start("etl", self._etl.run)
            self._start("retention", self._retention.run)
        else:
            self._start("gold", self._watch_gold)
        if roles.harvest:
            await self._harvest.open()  # last: from here on there is something to lose
        self._start("reload", signals.answer_reloads)  # behind the sources: a HUP may change what is there, not before
        self._start("watchdog", self._keep_watchdog)
        gc.freeze()  # what stands now stays: a full collection would hold everybody up for 30 ms to learn that
        self.report.has_started = True
        self._url = url
        self.notifier.ready(f"serving {url}")
        self._start("systemd", self._keep_status)
        emit(Started(NAME, version=__version__, url=url))

    async def shut_down(self) -> None:
        """Stop everything within the deadline: sources, then what drains them, then those who read.

        After a start that failed it lets go of whatever there is.
        """
        began_s = asyncio.get_running_loop().time()
        self.report.is_stopping = True
        deadline_s = self.config.daemon.stop_deadline_s
        self.notifier.stopping()
        self.notifier.extend_timeout(deadline_s + CLOSE_S)  # whatever TimeoutStopSec is: we end by ourselves
        await self.supervisor.stop("reload", RELOAD_CLOSE_S)  # first: it would start services behind our back
        order = [*self._harvest.stop_order(), ("etl", "retention"), ("gold", "ledger", "store"), ("watchdog",)]
        late = await self.supervisor.stop_all(order, deadline_s)
        for name in late:
            emit(Noted(name, note="did not stop in time; what it left is taken up at the next start"))
        await self._harvest.close()
        await self._doors.close()  # late: /status answers while we drain
        await self._engine.close()
        self._spool.close()
        self._doors.unlock()  # last: until here nobody else may take the socket's path
        if self.report.has_started:
            emit(Stopped(NAME, seconds=asyncio.get_running_loop().time() - began_s))

    async def reload(self) -> None:
        """Load, check, build, swap: the new configuration whole, or the old one. Raises what refused it."""
        try:
            loaded = await asyncio.to_thread(self._load)
            new = loaded.config
            if keys := restart_needed(self.config, new):
                raise ReloadRefused(f"{', '.join(keys)} cannot change while running.", "systemctl restart ledgerd")
            added = await self._harvest.prepare(new) if new.roles.harvest else []
        except LedgerdError as error:
            self.report.last_reload_error = str(error)
            if isinstance(error, Fatal) and not isinstance(error, ConfigError):
                raise ReloadRefused(error.message, error.hint) from error  # what ends a start must not end the daemon
            raise
        await self._harvest.drop(self._adopt(new, added, loaded.notes))

    def _adopt(self, new: Config, added: list[Strand], notes: list[str]) -> list[Strand]:
        """The swap: nothing in here waits or can be refused. Returns the sources that are no longer wanted."""
        changed = changes(self.config, new)
        self.config = new
        logs.configure(new.log.level, new.log.format)
        self._retention.keep = _keep(new)
        self._spool.limit(bytes_max=new.spool.bytes_max, retain_s=new.spool.retain_h * 3600)
        unwanted = self._harvest.adopt(new, added) if new.roles.harvest else []
        self._expect()
        self.report.reloaded()
        for note in notes:
            emit(Noted(NAME, note=note))
        emit(Reloaded(NAME, generation=self.report.generation, changes=", ".join(changed) or "nothing changed"))
        return unwanted

    def _start(self, name: str, run: Callable[[Stop, Heart], Awaitable[None]]) -> None:
        self.supervisor.start(Service(name, run))

    async def _listen(self) -> str:
        """Open the doors; returns the public URL. StoreLocked or CannotStart if one is taken."""
        deps = Deps(
            ledger=self._ledger,
            engine=self._engine,
            queries=load_queries(),
            status=self.report.status,
            clock=self._clock,
            freshness=lambda: self.config.freshness,
            version=__version__,
            serves_prices=self.config.roles.api,
            sql=lambda: self.config.sql,
            throttle=self._harvest.throttle if self.config.roles.harvest else None,
            throttler_key=lambda: self.config.throttle.api_key,
        )
        return await self._doors.open(self.config, deps)

    async def _open_spool(self) -> None:
        """Open the spool in a thread; a stop meanwhile waits: it must not lose the folder while it repairs it."""
        opening = asyncio.ensure_future(asyncio.to_thread(self._spool.open))
        try:
            await asyncio.shield(opening)
        except asyncio.CancelledError:
            await asyncio.gather(opening, return_exceptions=True)
            raise

    def _expect(self) -> None:
        """Let the ledger serve the configured realms and no others; new ones may have prices from earlier days."""
        names: list[str] = [realm.name for realm in self.config.realms]
        self._gone_stale(set(names) - self._ledger.markets().keys())
        self._ledger.expect(names)

    def _on_commit(self, _: Committed) -> None:
        self._etl.notify()

    def _on_gold(self, source: str, realm: str, leagues: list[str] | None) -> None:
        self._gone_stale({realm})

    def _gone_stale(self, realms: set[str]) -> None:
        self._stale_realms |= realms
        self._gold_moved.set()

    async def _load_ledger(self) -> None:
        """Bring the ledger up to gold. What cannot be loaded stays stale, and so does what moves meanwhile."""
        while self._stale_realms:
            realm, is_loaded = self._stale_realms.pop(), False
            try:
                await self._ledger.reload(realm)
                is_loaded = True
            finally:
                self._stale_realms |= set() if is_loaded else {realm}

    async def _follow_gold(self, stop: Stop, heart: Heart) -> None:
        """Service: bring the ledger up to gold whenever a gold step ran."""
        while not stop.is_set:
            self._gold_moved.clear()
            await self._load_ledger()
            heart.beat()
            await heart.rest(stop, self._gold_moved.wait())

    async def _watch_gold(self, stop: Stop, heart: Heart) -> None:
        """Service: without ETL of our own, notice what another process of the same server made of it."""
        seen: dict[str, int] = {}
        while not stop.is_set:
            found: dict[str, int] = dict(await self._engine.rows(load_queries()["gold_moved"]))
            self._gone_stale({realm for realm, at_ms in found.items() if seen.get(realm) != at_ms})
            seen = found
            heart.beat()
            await heart.sleep(stop, OTHERS_EVERY_S)

    async def _watch_store(self, stop: Stop, heart: Heart) -> None:
        """Service: ask the engine for a sign of life, so that /status knows before a batch does."""
        while not stop.is_set:
            try:
                await self._engine.rows("SELECT 1", timeout_s=STORE_TIMEOUT_S)
            except LedgerdError as error:  # a refusal, too: what it asks for is nothing anybody may refuse for good
                self.report.store_error = str(error)
                raise StoreUnavailable(error.message, error.hint) from error
            self.report.store_error = None
            heart.beat()
            await heart.sleep(stop, STORE_EVERY_S)

    async def _keep_status(self, stop: Stop, heart: Heart) -> None:
        """Service: show in ``systemctl status`` when the daemon becomes degraded, and when it is well again."""
        well = f"serving {self._url}"

        def in_words() -> str:
            reasons = self.report.status().reasons
            return f"degraded: {reasons[0]}" if reasons else well

        await lifecycle.keep_status(stop, heart, notifier=self.notifier, text=in_words, told=well, clock=SystemClock())

    async def _keep_watchdog(self, stop: Stop, heart: Heart) -> None:
        """Service: pet systemd's watchdog while every service gets on."""
        interval_s = lifecycle.watchdog_interval_s()
        await lifecycle.keep_watchdog(
            stop,
            heart,
            notifier=self.notifier,
            supervisor=self.supervisor,
            clock=SystemClock(),
            stall_s=STALL_S,
            interval_s=interval_s or lifecycle.WATCHDOG_INTERVAL_S,
        )


def _keep(config: Config) -> Keep:
    retention = config.retention
    return Keep(retention.bronze_days, retention.river_days, retention.silver_days, retention.gold_days)
