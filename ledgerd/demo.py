"""The stand-in upstream from the command line: alone, or with the whole daemon against it."""

import asyncio
import errno
import json
import shlex
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click

from ledgerd.app import serve
from ledgerd.clock import Clock, ScaledClock, SystemClock
from ledgerd.config import Config, Daemon, Etl, Http, Realm, Secret, Throttle, Upstream
from ledgerd.config import Spool as SpoolSection
from ledgerd.config.load import Loaded
from ledgerd.errors import CannotStart, UsageError
from ledgerd.harvest.market_harvester import KIND
from ledgerd.sim.server import SimOptions, running
from ledgerd.spool.spool import Spool
from ledgerd.store.queries import schema_root

HISTORY_HOURS = 24
HEAD_START_S = 30 * 24 * 3600
"""The demo's clock starts this far in the past, so that even a fast market stays behind the real time for days."""
REQUESTS_PER_S = 20.0
CHANGES_PER_S = 38.0
"""Stash changes of the river a second of real time, as upstream's were measured, however fast the market."""
RIVER_POLL_S = 1.0
"""Real seconds between two looks at the end of the river."""
BATCH_S = 2.0
"""Real seconds of pages in a batch, as in a live ledger: what a batch costs ETL hardly depends on what it holds."""
INTERVAL_S = 900.0
"""Data time between two rounds of item prices: a quarter of a minute at the usual speed."""
MARKER = "demo"
"""The file that marks a data directory as a demo's."""
CONFIG = "config.toml"
CONFIG_TEXT = """\
# With this the commands find the demo: ledgerd sql --config PATH "SHOW TABLES"
[daemon]
data_dir = "."
"""
"""The file in it by which commands such as ``ledgerd sql`` find what the demo holds."""


async def run_demo(*, port: int, data_dir: Path, speed: float, seed: int) -> None:
    """The whole daemon on the embedded engine against a stand-in of its own, both on one fast clock."""
    _claim(data_dir)
    clock = ScaledClock(_reached_s(data_dir / "spool") or time.time() - HEAD_START_S, speed)
    options = _options(seed=seed, history_hours=HISTORY_HOURS + 2, port=0, river_rate=CHANGES_PER_S / speed)
    async with _standing_in(options, clock) as upstream:
        loaded = _loaded(upstream, options, port, data_dir, speed)
        welcome = partial(_welcome, upstream=upstream, speed=speed, data_dir=data_dir)
        try:
            await serve(lambda: loaded, clock=clock, on_listen=lambda url: click.echo(welcome(url)))
        except CannotStart as error:
            raise CannotStart(error.message, "Try another port: ledgerd demo --port 0") from error


def _claim(data_dir: Path) -> None:
    """Mark ``data_dir`` as a demo's. UsageError if it holds something unmarked: invented prices would get into it."""
    marker = data_dir / MARKER
    if not marker.is_file() and data_dir.is_dir() and any(data_dir.iterdir()):
        fresh = shlex.quote(f"{data_dir}-demo")
        raise UsageError(
            f"{data_dir} holds something that is no demo's, and a demo's prices are invented.",
            f"Give it a folder of its own: ledgerd demo --data-dir {fresh}",
        )
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    marker.write_text("Invented prices: this data directory belongs to `ledgerd demo`.\n", encoding="utf-8")
    (data_dir / CONFIG).write_text(CONFIG_TEXT, encoding="utf-8")


def _reached_s(spool_dir: Path) -> float:
    """Where an earlier demo on the same data stood, unix seconds: its market goes on from there. 0: there was none."""
    if not spool_dir.is_dir():
        return 0.0
    spool = Spool(spool_dir, bytes_max=1 << 40, retain_s=1e9, clock=SystemClock())
    try:
        spool.open()
        cursors = (stream.cursor for stream in spool.streams() if stream.name.startswith(KIND))
        return max((float(cursor) for cursor in cursors if cursor), default=0.0)
    finally:
        spool.close()


async def run_sim(**options: Any) -> None:  # noqa: ANN401  passed on to SimOptions, which checks them
    """The stand-in alone, until TERM or Ctrl-C."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    made = _options(**options)
    async with _standing_in(made) as url:
        click.echo(f"{url}/api/currency-exchange")
        if made.river:
            click.echo(_for_the_river(url, made))
        await stop.wait()


@asynccontextmanager
async def _standing_in(options: SimOptions, clock: Clock | None = None) -> AsyncIterator[str]:
    """A running stand-in; yields its base URL. CannotStart for a taken port, UsageError for what it cannot serve."""
    is_up = False
    try:
        async with running(options, clock) as url:
            is_up = True
            yield url
    except (OSError, ValueError) as error:
        if is_up:
            raise
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise CannotStart(f"Port {options.port} is taken.", "Try another: ledgerd sim --port 0") from error
        raise UsageError(f"The stand-in cannot start: {error}.", "See: ledgerd sim --help") from error


def _options(**options: Any) -> SimOptions:  # noqa: ANN401  SimOptions checks them
    try:
        return SimOptions(ids_path=Path(str(schema_root() / "reference" / "currencies.tsv")), **options)
    except ValueError as error:
        raise UsageError(f"{error}.", "See: ledgerd sim --help") from error


def _loaded(upstream: str, options: SimOptions, port: int, data_dir: Path, speed: float) -> Loaded:
    """The demo's configuration; a reload reads the same again."""
    config = Config(
        daemon=Daemon(environment="demo", contact="demo@example.org", data_dir=data_dir.absolute()),
        http=Http(listen=f"127.0.0.1:{port}"),
        upstream=Upstream(
            exchange_url=f"{upstream}/api/currency-exchange",
            api_url=upstream,
            auth_url=f"{upstream}/oauth",
            client_id=options.client_id,
            client_secret=Secret(options.client_secret),
            river_poll_s=RIVER_POLL_S * speed,
        ),
        spool=SpoolSection(seal_after_s=BATCH_S * speed),
        etl=Etl(interval_s=INTERVAL_S),
        throttle=Throttle(requests_per_s=REQUESTS_PER_S, backfill_requests_per_s=REQUESTS_PER_S),
        realms=(
            Realm(name="pc", exchange_from=f"-{HISTORY_HOURS}h", river=True),
            Realm(name="poe2", exchange_from=f"-{HISTORY_HOURS}h"),
        ),
    )
    return Loaded(config, data_dir / "(demo)", [])


def _for_the_river(url: str, options: SimOptions) -> str:
    """How a daemon is to read the stand-in, river and all: lines for its config.toml."""
    client_id = json.dumps(options.client_id, ensure_ascii=False)
    return f"""
# To read it with a daemon: export POE_OAUTH_CLIENT_SECRET={shlex.quote(options.client_secret)}, and in config.toml
[upstream]
exchange_url = "{url}/api/currency-exchange"
api_url = "{url}"  # the river: {url}/public-stash-tabs
auth_url = "{url}/oauth"  # tokens: {url}/oauth/token
client_id = {client_id}

[[realm]]
name = "pc"
river = true
"""


def _welcome(url: str, *, upstream: str, speed: float, data_dir: Path) -> str:
    config = shlex.quote(str(data_dir / CONFIG))
    return f"""
  ledgerd demo: the whole daemon against a stand-in for GGG ({upstream}), {speed:g} market seconds a second.
  Open        {url}/
  Status      {url}/status
  Prices      {url}/v1/realms
  The API     {url}/docs
  Metrics     {url}/metrics
  Ask         ledgerd sql --config {config} "SHOW TABLES"
  Stop        Ctrl-C
"""
