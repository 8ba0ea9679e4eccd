"""The program: what it is made of, in the order it starts, stops and reloads."""

import asyncio
import fcntl
import os
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from aiohttp import web

from ledgerd import __version__, lifecycle, logs
from ledgerd.chaos_scale.reference import Reference
from ledgerd.chaos_scale.reference import load as load_table
from ledgerd.clock import Clock, SystemClock
from ledgerd.config import Config, Freshness, changes, restart_needed
from ledgerd.config.load import Loaded
from ledgerd.errors import (
    CannotStart,
    ConfigError,
    Fatal,
    LedgerdError,
    ReloadRefused,
    StoreLocked,
    StoreUnavailable,
)
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
from ledgerd.store.queries import load_queries, schema_root
from ledgerd.supervise import Heart, Service, Stop, Supervisor
from ledgerd.web.app import create_app, create_control_app
from ledgerd.web.deps import Deps
from ledgerd.web.unreadable import ServerLog, count_unreadable

NAME = "ledgerd"
HTTP_CLOSE_S = 2.0
"""How long a stop waits for answers under way, before it lets go of their clients."""
RELOAD_CLOSE_S = 2.0
"""How long a stop waits for a reload under way."""
CLOSE_S = 25.0
"""How long a stop may take beyond its deadline, as systemd is told: HTTP_CLOSE_S, RELOAD_CLOSE_S, a second for each
group of services that must be cancelled, and the engine's last queries."""
LOCK = "ledgerd.lock"
"""The file in the data directory whose lock the one daemon of that directory holds."""
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
        self._lock_file: int | None = None
        self._runners: list[web.AppRunner] = []
        self._spool = Spool(
            config.spool_dir,
            bytes_max=config.spool.bytes_max,
            retain_s=config.spool.retain_h * 3600,
            clock=clock,
        )
        self._engine = make_engine(config)
        reference, steps = load_reference(), load_steps()
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
        await asyncio.gather(*(runner.cleanup() for runner in self._runners))  # late: /status answers while we drain
        await self._engine.close()
        self._spool.close()
        if self._lock_file is not None:
            os.close(self._lock_file)  # last: until here nobody else may take the socket's path
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
        """Open the unix socket and the public port; returns the public URL. StoreLocked or CannotStart if one is taken.

        The socket first: whoever has it has this data directory, and is named rather than the port.
        """
        deps = Deps(
            ledger=self._ledger,
            engine=self._engine,
            queries=load_queries(),
            status=self.report.status,
            clock=self._clock,
            freshness=lambda: self.config.freshness,
            version=__version__,
            serves_prices=self.config.roles.api,
        )
        count_unreadable(asyncio.get_running_loop())
        await self._open_socket(await self._runner(create_control_app(replace(deps, freshness=self._unrefusing))))
        host, port = self.config.http.address
        public = await self._runner(create_app(deps))
        try:
            await web.TCPSite(public, host, port).start()
        except OSError as error:
            hint = "See who does: ss -lntp; or change http.listen, then: ledgerd check-config"
            raise CannotStart(f"Cannot listen on {host}:{port}: {_reason(error)}.", hint) from error
        host, port = public.addresses[0][:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def _runner(self, app: web.Application) -> web.AppRunner:
        """``app``, to be put behind a port or a socket, and let go at the stop."""
        runner = web.AppRunner(app, logger=ServerLog(), shutdown_timeout=HTTP_CLOSE_S, handler_cancellation=True)
        self._runners.append(runner)
        await runner.setup()
        return runner

    def _unrefusing(self) -> Freshness:
        """How the commands are answered: an operator sees stale prices, marked, where clients may be refused them."""
        return self.config.freshness.model_copy(update={"policy": "serve"})

    async def _open_socket(self, runner: web.AppRunner) -> None:
        """Serve the commands of this installation, and nobody else: mode 0600."""
        path = self.config.socket_path
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock_file = _locked(path.with_name(LOCK))
            path.unlink(missing_ok=True)  # a killed process left it: whoever lives holds the lock
            before = os.umask(0o177)
            try:
                await web.UnixSite(runner, path).start()
            finally:
                os.umask(before)
        except OSError as error:
            hint = "Change daemon.data_dir or its owner, then: ledgerd check-config"
            raise CannotStart(f"Cannot make the socket {path}: {_reason(error)}.", hint) from error

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
        self._gone_stale(set(names) - self._ledger.realms().keys())
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


def load_reference() -> Reference:
    """The currencies this version knows by name."""
    return load_table(schema_root() / "reference" / "currencies.tsv")


def _keep(config: Config) -> Keep:
    retention = config.retention
    return Keep(retention.bronze_days, retention.river_days, retention.silver_days, retention.gold_days)


def _reason(error: OSError) -> str:
    """What the system says, without the address that asyncio puts in front of it."""
    return os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)


def _locked(path: Path) -> int:
    """The lock at ``path``, ours until the descriptor is closed or the process ends. StoreLocked: somebody has it."""
    lock_file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.lockf(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock_file)
        if isinstance(error, BlockingIOError):
            raise StoreLocked(f"Another ledgerd serves {path.parent}.", "See it with: ledgerd status") from error
        raise
    return lock_file
