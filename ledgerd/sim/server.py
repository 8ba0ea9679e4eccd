"""The stand-in as a server: its options, its application, and how it is run on loopback."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aiohttp import web

from ledgerd.clock import Clock, ScaledClock, SystemClock
from ledgerd.sim import control, exchange
from ledgerd.sim.audit import Audit
from ledgerd.sim.faults import FaultPlan, check
from ledgerd.sim.replay import Replay
from ledgerd.sim.source import MarketSource, Source
from ledgerd.sim.state import SIM, Sim
from ledgerd.sim.timetable import Timetable

LOOPBACK = ("127.0.0.1", "::1")
EDGES = ("clock", "manual")
PORT_MAX = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class SimOptions:
    """How a stand-in is to be; ValueError at construction names the option, what it got and what is allowed.

    ``port`` 0 takes any free one. ``speed`` is clock seconds a real second, used when no clock is given. ``gap_rate``,
    ``late_rate`` and ``fault_rate`` are shares, 0..1, of hours and of answers. ``faults`` are what ``fault_rate`` draws
    from (when empty, ``faults.AT_RANDOM``). ``edge`` is ``clock`` or ``manual`` (moved by ``POST /_sim/edge``).
    ``replay_dir`` serves recorded hours in place of the made market. ``ids_path`` is a reference table of currencies;
    ``codes_before`` (unix seconds) is the hour before which currencies are named by trade code.
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
        check(self.faults)


def _require(holds: bool, name: str, value: object, rule: str) -> None:
    if not holds:
        raise ValueError(f"{name} = {value!r}: expected {rule}")


def build_source(options: SimOptions) -> Source:
    """The hours the options ask for; ValueError when a folder or table has nothing usable, OSError when unreadable."""
    if options.replay_dir:
        return Replay(options.replay_dir)
    return MarketSource(
        options.seed, gap_rate=options.gap_rate, ids_path=options.ids_path, codes_before=options.codes_before
    )


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
    app[SIM] = Sim(source, clock, timetable, plan, Audit(options.ledger_path), options.slow_s)
    app.add_routes(exchange.routes())
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
