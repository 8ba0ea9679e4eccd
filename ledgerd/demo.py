"""The stand-in upstream from the command line: alone, or with the whole daemon against it."""

import time
from pathlib import Path
from typing import Any

import click

from ledgerd.app import serve
from ledgerd.clock import ScaledClock, SystemClock
from ledgerd.config import Config, Daemon, Http, Realm, Throttle, Upstream
from ledgerd.config.load import Loaded
from ledgerd.errors import CannotStart, UsageError
from ledgerd.sim.server import SimOptions, running
from ledgerd.sim.server import serve as serve_sim
from ledgerd.spool.spool import Spool
from ledgerd.store.queries import schema_root

HISTORY_HOURS = 24
HEAD_START_S = 30 * 24 * 3600
"""The demo's clock starts this far in the past, so that even a fast market stays behind the real time for days."""
REQUESTS_PER_S = 20.0


async def run_demo(*, port: int, data_dir: Path, speed: float, seed: int) -> None:
    """The whole daemon on the embedded engine against a stand-in of its own, both on one fast clock."""
    clock = ScaledClock(max(time.time() - HEAD_START_S, _reached_s(data_dir / "spool")), speed)
    options = _options(seed=seed, history_hours=HISTORY_HOURS + 2, port=0)
    async with running(options, clock) as upstream:
        click.echo(_welcome(f"http://127.0.0.1:{port}", upstream, speed))
        await serve(lambda: _loaded(upstream, port, data_dir), clock=clock)


def _reached_s(spool_dir: Path) -> float:
    """Where an earlier demo on the same data stood, unix seconds: its market goes on from there. 0: there was none."""
    if not spool_dir.is_dir():
        return 0.0
    spool = Spool(spool_dir, bytes_max=1 << 40, retain_s=1e9, clock=SystemClock())
    try:
        spool.open()
        return max(
            (float(stream.cursor) for stream in spool.streams() if stream.chained and stream.cursor), default=0.0
        )
    finally:
        spool.close()


async def run_sim(**options: Any) -> None:  # noqa: ANN401  passed on to SimOptions, which checks them
    """The stand-in alone, until Ctrl-C."""
    try:
        await serve_sim(_options(**options), on_ready=lambda url: click.echo(f"{url}/api/currency-exchange"))
    except OSError as error:
        raise CannotStart(f"The stand-in cannot start: {error}.", "Another port: ledgerd sim --port 0") from error


def _options(**options: Any) -> SimOptions:  # noqa: ANN401  SimOptions checks them
    try:
        return SimOptions(ids_path=Path(str(schema_root() / "reference" / "currencies.tsv")), **options)
    except ValueError as error:
        raise UsageError(f"{error}.", "ledgerd sim --help") from error


def _loaded(upstream: str, port: int, data_dir: Path) -> Loaded:
    config = Config(
        daemon=Daemon(environment="demo", contact="demo@example.org", data_dir=data_dir),
        http=Http(listen=f"127.0.0.1:{port}"),
        upstream=Upstream(exchange_url=f"{upstream}/api/currency-exchange"),
        throttle=Throttle(requests_per_s=REQUESTS_PER_S, backfill_requests_per_s=REQUESTS_PER_S),
        realms=tuple(Realm(name=name, exchange_from=f"-{HISTORY_HOURS}h") for name in ("pc", "poe2")),
    )
    return Loaded(config, data_dir / "(demo)", [])


def _welcome(url: str, upstream: str, speed: float) -> str:
    return f"""
  ledgerd demo: the whole daemon against a stand-in for GGG ({upstream}), {speed:g} market seconds a second.
  Open        {url}/
  Status      {url}/status
  Prices      {url}/v1/realms
  Metrics     {url}/metrics
  Stop        Ctrl-C
"""
