"""The stand-in as a server: its options, its application, and how it is run on loopback."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aiohttp import web

from ledgerd.clock import Clock, ScaledClock, SystemClock
from ledgerd.sim import control, exchange, oauth, river
from ledgerd.sim.audit import Audit
from ledgerd.sim.faults import FaultPlan, check
from ledgerd.sim.limits import WINDOWS, Limiter
from ledgerd.sim.replay import Replay, has_hours
from ledgerd.sim.river_replay import RiverReplay, recorded_pages
from ledgerd.sim.river_source import MadeRivers, RiverSource
from ledgerd.sim.source import MarketSource, Source
from ledgerd.sim.state import SIM, River, Sim
from ledgerd.sim.timetable import Timetable
from ledgerd.sim.tokens import Tokens

LOOPBACK = ("127.0.0.1", "::1")
EDGES = ("clock", "manual")
PORT_MAX = 65_535
RIVER_RATE_MAX, FOREIGN_RATE_MAX = 10_000.0, 10.0
STASHES_MIN, STASHES_MAX = 100, 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SimOptions:
    """How a stand-in is to be; ValueError at construction names the option, what it got and what is allowed.

    ``port`` 0 takes any free one. ``speed`` is clock seconds a real second, used when no clock is given. ``gap_rate``,
    ``late_rate`` and ``fault_rate`` are shares, 0..1, of hours and of answers. ``faults`` are what ``fault_rate``
    draws from (when empty, ``faults.AT_RANDOM``). ``edge`` is ``clock`` or ``manual`` (moved by ``POST /_sim/edge``).
    ``replay_dir`` serves recorded hours in place of the made market. ``ids_path`` is a reference table of currencies;
    ``codes_before`` (unix seconds) is the hour before which currencies are named by trade code.

    ``river`` turns the river, the leagues and their OAuth on, for ``client_id`` and ``client_secret``. ``river_seed``
    is ``seed`` where None; ``river_rate`` is stash changes a second and ``river_stashes`` how many stashes live, both
    on pc; ``hostile_share`` 0..1 of sellers is not honest; mods are strings before ``mods_before`` (unix seconds;
    None: as upstream). ``limits`` is ``sliding`` or ``bucketed``; ``foreign_rate`` is requests a second others send
    from the same address. ``river_ledger_path`` is the river's ``ledger_path``. A ``replay_dir`` may hold hours, river
    pages, or both; what it has none of is made.
    """

    host: str = "127.0.0.1"
    port: int = 0
    seed: int = 1
    speed: float = 1.0
    history_hours: int = 14 * 24
    publish_delay_s: float = 120.0
    gap_rate: float = 0.0
    late_rate: float = 0.0
    fault_rate: float = 0.0
    faults: tuple[str, ...] = ()
    slow_s: float = 20.0
    replay_dir: Path | None = None
    ledger_path: Path | None = None
    ids_path: Path | None = None
    codes_before: int | None = None
    edge: Literal["clock", "manual"] = "clock"
    river: bool = True
    river_seed: int | None = None
    river_rate: float = 38.0
    river_stashes: int = 24_000
    hostile_share: float = 0.2
    mods_before: int | None = None
    limits: Literal["sliding", "bucketed"] = "sliding"
    foreign_rate: float = 0.0
    client_id: str = "ledgerd"
    client_secret: str = "stand-in"  # noqa: S105 - known to everybody
    river_ledger_path: Path | None = None

    def __post_init__(self) -> None:
        _require(self.host in LOOPBACK, "host", self.host, f"a loopback address, {' or '.join(LOOPBACK)}")
        _require(0 <= self.port <= PORT_MAX, "port", self.port, f"0 (any free one) to {PORT_MAX}")
        _require(self.seed >= 0, "seed", self.seed, "0 or more")
        _require(self.speed > 0, "speed", self.speed, "more than 0")
        _require(self.history_hours > 0, "history_hours", self.history_hours, "at least 1")
        _require(self.publish_delay_s >= 0, "publish_delay_s", self.publish_delay_s, "0 or more")
        _require(0 <= self.gap_rate < 1, "gap_rate", self.gap_rate, "0 to less than 1")
        _require(0 <= self.late_rate <= 1, "late_rate", self.late_rate, "0 to 1")
        _require(0 <= self.fault_rate <= 1, "fault_rate", self.fault_rate, "0 to 1")
        _require(self.slow_s >= 0, "slow_s", self.slow_s, "0 or more")
        _require(self.edge in EDGES, "edge", self.edge, " or ".join(EDGES))
        self._check_river()
        check(self.faults)

    def _check_river(self) -> None:
        """The options of the river."""
        seed = 0 if self.river_seed is None else self.river_seed
        _require(seed >= 0, "river_seed", self.river_seed, "0 or more")
        _require(
            0 < self.river_rate <= RIVER_RATE_MAX, "river_rate", self.river_rate, f"more than 0 to {RIVER_RATE_MAX:g}"
        )
        _require(STASHES_MIN <= self.river_stashes <= STASHES_MAX, "river_stashes", self.river_stashes,
                 f"{STASHES_MIN} to {STASHES_MAX}")  # fmt: skip
        _require(0 <= self.hostile_share <= 1, "hostile_share", self.hostile_share, "0 to 1")
        _require(self.limits in WINDOWS, "limits", self.limits, " or ".join(WINDOWS))
        _require(
            0 <= self.foreign_rate <= FOREIGN_RATE_MAX, "foreign_rate", self.foreign_rate, f"0 to {FOREIGN_RATE_MAX:g}"
        )
        _require(bool(self.client_id), "client_id", self.client_id, "a name")
        _require(bool(self.client_secret), "client_secret", "***", "a secret")


def _require(holds: bool, name: str, value: object, rule: str) -> None:
    if not holds:
        raise ValueError(f"{name} = {value!r}: expected {rule}")


def build_source(options: SimOptions) -> Source:
    """The hours the options ask for; ValueError when a folder or table has nothing usable, OSError when unreadable."""
    if options.replay_dir and (has_hours(options.replay_dir) or not recorded_pages(options.replay_dir)):
        return Replay(options.replay_dir)
    return MarketSource(
        options.seed, gap_rate=options.gap_rate, ids_path=options.ids_path, codes_before=options.codes_before
    )


def build_river(options: SimOptions) -> RiverSource:
    """The river the options ask for; errors as ``build_source``."""
    if options.replay_dir and recorded_pages(options.replay_dir):
        return RiverReplay(options.replay_dir)
    return MadeRivers(
        options.seed if options.river_seed is None else options.river_seed,
        per_s=options.river_rate,
        stashes=options.river_stashes,
        hostile_share=options.hostile_share,
        rates_seed=options.seed,
        mods_before_s=options.mods_before,
    )


def _river_of(options: SimOptions) -> River:
    limiter = Limiter(river.policies(), windows=options.limits, foreign_rate=options.foreign_rate, seed=options.seed)
    tokens = Tokens(options.seed, options.client_id, options.client_secret)
    return River(build_river(options), limiter, tokens, Audit(options.river_ledger_path), options.client_id)


def create_app(source: Source, clock: Clock, options: SimOptions) -> web.Application:
    """The application; the clock is read once here, to fix the oldest hour."""
    timetable = Timetable(
        source,
        started_s=clock.now(),
        history_hours=options.history_hours,
        publish_delay_s=options.publish_delay_s,
        late_rate=options.late_rate,
        seed=options.seed,
        is_manual=options.edge == "manual",
    )
    plan = FaultPlan(options.seed, options.fault_rate, options.faults)
    app = web.Application()
    app[SIM] = Sim(source, clock, timetable, plan, Audit(options.ledger_path), options.slow_s, _river_of(options))
    app.add_routes(exchange.routes())
    if options.river:
        app.add_routes(oauth.routes())
        app.add_routes(river.routes())
    app.add_routes(control.routes())
    app.on_shutdown.append(_stop)
    return app


async def _stop(app: web.Application) -> None:
    """Let hanging answers go, or shutdown would wait for them."""
    app[SIM].stopping.set()


@asynccontextmanager
async def running(options: SimOptions, clock: Clock | None = None) -> AsyncIterator[str]:
    """A stand-in listening on loopback for as long as the context lasts; yields its base URL, without a final slash.

    Without a clock it takes the machine's, made faster where ``options.speed`` says so. OSError when the port is taken.
    """
    system = SystemClock()
    clock = clock or (system if options.speed == 1 else ScaledClock(system.now(), options.speed))
    app = create_app(build_source(options), clock, options)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, options.host, options.port).start()
        host, port, *_ = runner.addresses[0]
        yield f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    finally:
        await runner.cleanup()


async def serve(options: SimOptions, clock: Clock | None = None, on_ready: Callable[[str], None] | None = None) -> None:
    """Run a stand-in until cancelled; ``on_ready`` is told its base URL once it listens. Errors as ``running``."""
    async with running(options, clock) as url:
        if on_ready:
            on_ready(url)
        await asyncio.Event().wait()
