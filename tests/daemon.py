"""ledgerd as a process, for tests: a stand-in upstream, a data directory with its lives, a look inside both."""

import asyncio
import gzip
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from signal import SIGHUP, SIGKILL, SIGTERM, Signals
from typing import Any

import aiohttp
import orjson

from ledgerd.clock import Clock, ScaledClock
from ledgerd.sim.river import policy_of
from ledgerd.sim.server import SimOptions, running
from ledgerd.sim.world import builtin_ids
from ledgerd.store.rowdecode import decode_rows
from tests.riverbook import Answer, Commit, Kept, Verdict, answers, river_lost_and_doubled, value_sha256
from tests.simriver import CLIENT, SMALL

ROOT = Path(__file__).resolve().parents[1]
EDGE = 1_787_090_400
"""2026-08-18T22:00:00Z: the first hour a stand-in of these tests has not published, until a test moves it on."""
HOUR_S = 3600
POLL_S = 0.05
WAIT_S = 240.0
"""How long to wait for what must come: on an eighth of our machine twenty batches take two minutes to be priced."""
TEST_S = 900
"""When a test that starts processes counts as hung: so that a wait in it ends first, and says what for."""
PRIVATE = ("Karui Tide Club (PL12345)", "Copper Kettle League (PL23456)")
"""The stand-in's private leagues, which are stored only by name."""
BRONZE = """
SELECT league, toUInt32(hour), market_id, currency_a, currency_b, volume_a, volume_b, lowest_stock_a, lowest_stock_b,
    highest_stock_a, highest_stock_b, lowest_ratio_a, lowest_ratio_b, highest_ratio_a, highest_ratio_b
FROM bronze_exchange_events WHERE realm = '{realm}'
"""
COMMITS = """
SELECT batch_id, cursor, next_cursor, pages, leagues
FROM bronze_ingest_checkpoints WHERE source = 'river-{realm}' ORDER BY seq
"""
STASHES = """
SELECT batch_id, page_seq, change_id, next_change_id, stash_id, lower(hex(SHA256(payload)))
FROM bronze_raw_stashes WHERE realm = '{realm}'
"""
RIVER_COUNTS = """
SELECT batch_id, page_seq, sum(stashes * stored), sum(stashes * NOT stored)
FROM bronze_river_counts WHERE realm = '{realm}' GROUP BY batch_id, page_seq
"""
RIVER_WHOLE = """
SELECT batch_id, page_seq, cursor, payload FROM bronze_quarantine
WHERE source = 'river-{realm}' AND batch_id LIKE 'river-%'
"""
FIELDS = ("volume_traded", "lowest_stock", "highest_stock", "lowest_ratio", "highest_ratio")
REFINED = ("silver_exchange_ticks", "silver_currency_norm", "silver_currency_price", "gold_currency_snapshot")
NOT_DATA = "batch_id, retrieved_at"
"""Columns of refined tables that say how an hour came, not what it holds."""

Row = tuple[Any, ...]


def true_rows(page: Mapping[str, Any], hour: int) -> list[Row]:
    """The rows of `BRONZE` that a digest's markets must become."""
    rows = []
    for market in page["markets"]:
        a, b = market.get("market_pair") or market["market_id"].split("|")
        numbers = [market[field][side] for field in FIELDS for side in (a, b)]
        rows.append((market["league"], hour, market["market_id"], a, b, *numbers))
    return rows


def lost_and_doubled(expected: Iterable[Row], stored: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    """Rows that are not stored, and rows that are stored and should not be, or not so often."""
    wanted, found = Counter(expected), Counter(stored)
    return list((wanted - found).elements()), list((found - wanted).elements())


class Upstream:
    """A running stand-in: order faults, move the edge, ask for the truth."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self._session = session

    async def get(self, path: str) -> Any:
        """The JSON below ``/_sim/``; None for a 404."""
        async with self._session.get(f"{self.url}/_sim/{path}") as response:
            body = await response.read()
            return None if response.status == 404 else orjson.loads(body)

    async def post(self, path: str, value: Any) -> Any:
        """Give an order below ``/_sim/``."""
        async with self._session.post(f"{self.url}/_sim/{path}", data=orjson.dumps(value)) as response:
            answer = orjson.loads(await response.read())
            assert response.status == 200, answer
            return answer

    async def answers(self) -> list[dict[str, Any]]:
        """Everything it has answered so far."""
        async with self._session.get(f"{self.url}/_sim/ledger") as response:
            return [orjson.loads(line) for line in (await response.read()).splitlines()]

    async def river_answers(self) -> list[dict[str, Any]]:
        """Everything it has answered so far of the river."""
        assert (await self.get("state"))["river"]["dropped"] == 0, "the book is not whole"
        async with self._session.get(f"{self.url}/_sim/river-ledger") as response:
            return [orjson.loads(line) for line in (await response.read()).splitlines()]

    async def lift_limits(self, realm: str = "pc") -> None:
        """Let the river be asked as fast as it can answer; a refusal, where one is ordered, restricts for a second."""
        await self.post("limits", {"policy": policy_of(realm), "rules": {"Ip": "1000000:1:1"}})

    async def edge(self, realm: str) -> int:
        """The first hour not published."""
        return int((await self.get("state"))["edge"][realm])

    async def rows(self, realm: str) -> list[Row]:
        """Every true market of the realm up to the edge, as bronze must hold it."""
        state = await self.get("state")
        rows: list[Row] = []
        for hour in range(state["oldest"][realm], state["edge"][realm], HOUR_S):
            page = await self.get(f"hour/{realm}/{hour}")
            rows += true_rows(page, hour) if page else []
        return rows


@asynccontextmanager
async def upstream(
    hours: int = 8, currencies: int | None = 25, clock: Clock | None = None, **options: Any
) -> AsyncIterator[Upstream]:
    """A stand-in in this process with ``hours`` hours of ``currencies`` currencies before `EDGE` (None: all there are).

    ``clock``: its own begins at `EDGE` where none is given. ``options`` as in `SimOptions`; the river is small unless
    they say otherwise.
    """
    with tempfile.TemporaryDirectory() as folder:
        if currencies is not None:
            options["ids_path"] = Path(folder) / "few.tsv"
            ids = (f"{name}\tboth\n" for name in builtin_ids("poe1")[:currencies])
            options["ids_path"].write_text("metadata_id\tgame\n" + "".join(ids))
        sim = SimOptions(**{"edge": "manual", "history_hours": hours, "slow_s": 0.5, **SMALL, **options})
        clock = clock or ScaledClock(EDGE + 60, sim.speed)
        async with running(sim, clock) as url, aiohttp.ClientSession() as session:
            yield Upstream(url, session)


class Daemon:
    """One data directory and the ledgerd processes that own it, one after another. Made by `daemon`."""

    def __init__(self, folder: Path, upstream_url: str, settings: Mapping[str, Any]) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        self.config = folder / "config.toml"
        self.log = folder / "log"
        self._upstream_url = upstream_url
        self._settings = dict(settings)
        self._process: asyncio.subprocess.Process | None = None
        self.configure()

    @property
    def pid(self) -> int:
        """The running process."""
        assert self._process is not None, "no process was started"
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """True while the process runs."""
        return self._process is not None and self._process.returncode is None

    def configure(self, **settings: Any) -> None:
        """Write config.toml; ``settings`` by ``section__key``, or ``realms``; they stay until changed again."""
        self._settings |= settings
        secret = self.folder / "secret"
        secret.write_text(CLIENT["client_secret"])
        secret.chmod(0o600)
        credentials = {"upstream__client_id": CLIENT["client_id"], "upstream__client_secret_file": str(secret)}
        self.config.write_text(_toml(self._upstream_url, credentials | self._settings))

    async def start(self, failpoint: str = "") -> None:
        """Start a process; it is not ready when this returns."""
        assert not self.is_alive, "a process already runs"
        env = {key: value for key, value in os.environ.items() if not key.startswith(("POE_", "CH_", "LEDGERD_"))}
        env |= {"LEDGERD_FAILPOINT": failpoint} if failpoint else {}
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "ledgerd", "run", "--config", str(self.config),
                cwd=ROOT, env=env, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def signal(self, number: Signals) -> None:
        """Send the process a signal, if it still runs."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def ended(self, within_s: float = WAIT_S) -> int:
        """Wait for the end of the process; its exit code, negative for a signal."""
        assert self._process is not None, "no process was started"
        try:
            return await asyncio.wait_for(self._process.wait(), within_s)
        except TimeoutError:
            raise AssertionError(f"the process has not ended within {within_s} s\n{self.said()}") from None

    async def stop(self, number: Signals = SIGTERM, within_s: float = WAIT_S) -> int:
        """Send a signal and wait for the end; the exit code."""
        self.signal(number)
        return await self.ended(within_s)

    async def status(self) -> dict[str, Any]:
        """What ``/status`` says. ClientError while nobody answers."""
        answer: dict[str, Any] = orjson.loads(await self._ask("GET", "/status"))
        return answer

    async def source(self, name: str) -> dict[str, Any]:
        """What ``/status`` says of a source. KeyError while it says nothing of it."""
        return {source["name"]: source for source in (await self.status())["sources"]}[name]

    async def sql(self, query: str) -> list[Row]:
        """The rows of a read-only query, typed. AssertionError when it is refused."""
        rows: list[Row] = decode_rows(await self._ask("POST", "/sql?format=RowBinaryWithNamesAndTypes", query))[1]
        return rows

    async def text(self, query: str) -> bytes:
        """The result of a read-only query as tab-separated text."""
        return await self._ask("POST", "/sql?format=TSV", query)

    async def wait(self, what: str, condition: Callable[[], Awaitable[Any]], within_s: float = WAIT_S) -> Any:
        """What ``condition`` gives once it gives something true; a daemon that cannot answer yet is asked again."""
        deadline_s, last = time.monotonic() + within_s, None
        while time.monotonic() < deadline_s:
            assert self.is_alive, f"the process ended ({self._process}) while waiting for {what}\n{self.said()}"
            try:
                if last := await condition():
                    return last
            except (aiohttp.ClientError, OSError, AssertionError, LookupError, TimeoutError) as error:
                last = error
            await asyncio.sleep(POLL_S)
        raise AssertionError(f"{what}: not within {within_s} s (last: {last!r})\n{self.said()}")

    async def caught_up(self, source: str, edge: int, within_s: float = WAIT_S) -> None:
        """Wait until every hour before ``edge`` is committed, refined and nothing waits in the spool."""
        query = f"""
            SELECT (SELECT max(toUInt32OrZero(next_cursor)) FROM bronze_ingest_checkpoints WHERE source = '{source}'),
                (SELECT uniqExact(seq) FROM bronze_ingest_checkpoints WHERE source = '{source}'),
                (SELECT uniqExact(seq) FROM etl_runs
                 WHERE source = '{source}' AND step = '{REFINED[-1]}' AND outcome = 'ok')
        """

        async def is_so() -> bool:
            ((reached, committed, refined),) = await self.sql(query)
            status = await self.status()
            is_up = status["state"] != "starting"  # what was stored before may be seen first
            return is_up and reached == edge and committed == refined and status["spool"]["pages"] == 0

        await self.wait(f"{source} to reach {edge}", is_so, within_s)

    async def well(self) -> None:
        """Wait until ``/status`` says that all is ok: it may tell of a trouble a moment after that is over."""

        async def is_so() -> bool:
            return bool((await self.status())["state"] == "ok")

        await self.wait("the daemon to be well", is_so)

    async def refined(self, realm: str) -> dict[str, bytes]:
        """Every refined table's data of a realm, one row per key, without what differs from run to run."""
        return {
            table: await self.text(
                f"SELECT * EXCEPT ({NOT_DATA}) FROM {table} FINAL WHERE realm = '{realm}' ORDER BY ALL"
            )
            for table in REFINED
        }

    async def still(self) -> None:
        """Switch the rivers off while everything else goes on, and wait until all that was frozen is committed."""
        before = (await self.wait("an answer", self.status))["config"]["generation"]  # before it, a HUP is no reload
        self.configure(realms=[{**realm, "river": False} for realm in self._settings["realms"]])
        self.signal(SIGHUP)

        async def is_so() -> bool:
            status = await self.status()
            rivers = [source for source in status["sources"] if source["kind"] == "river"]
            is_reloaded = status["config"]["generation"] > before
            return is_reloaded and not rivers and status["spool"]["pages"] == 0

        await self.wait("the rivers to be still", is_so)

    async def river_verdict(self, exchange: Upstream, realm: str = "pc") -> Verdict:
        """Everything committed of a river held against the stand-in's book; the rivers must be still."""
        book = answers(await exchange.river_answers(), realm)
        commits = [Commit(*row) for row in await self.sql(COMMITS.format(realm=realm))]
        return river_lost_and_doubled(commits, await self._river_pages(realm, book), book)

    async def _river_pages(self, realm: str, book: Iterable[Answer]) -> dict[tuple[str, int], Kept]:
        """What there is of each page of a river; payloads the book does not know as they are, by their value, too."""
        stashes = await self.sql(STASHES.format(realm=realm))
        odd = {row[-1] for row in stashes} - {change.sha256 for answer in book for change in answer.changes}
        listed = ", ".join(f"'{sha256}'" for sha256 in odd)
        query = f"SELECT payload FROM bronze_raw_stashes WHERE lower(hex(SHA256(payload))) IN ({listed})"
        payloads = [_as_bytes(payload) for (payload,) in (await self.sql(query) if odd else [])]
        values = {hashlib.sha256(payload).hexdigest(): value_sha256(payload) for payload in payloads}
        pages: dict[tuple[str, int], Kept] = defaultdict(Kept)
        for batch_id, page_seq, asked, following, stash_id, sha256 in stashes:
            page = pages[batch_id, page_seq]
            page.asked, page.following = asked, following
            page.rows.append((stash_id, frozenset({sha256, values.get(sha256, sha256)})))
        for batch_id, page_seq, stored, skipped in await self.sql(RIVER_COUNTS.format(realm=realm)):
            pages[batch_id, page_seq].stored, pages[batch_id, page_seq].skipped = stored, skipped
        for batch_id, page_seq, asked, payload in await self.sql(RIVER_WHOLE.format(realm=realm)):
            body = _as_bytes(payload)
            pages[batch_id, page_seq].asked = asked
            pages[batch_id, page_seq].whole = gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body
        return pages

    def said(self, lines: int = 40) -> str:
        """The end of the log of all lives."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def memory_kib(self, what: str = "VmRSS") -> int:
        """Resident memory of the process (``VmHWM``: the most it ever was)."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith(what)))

    async def _ask(self, method: str, path: str, data: str | None = None) -> bytes:
        socket = aiohttp.UnixConnector(str(self.data_dir / "ledgerd.sock"))
        timeout = aiohttp.ClientTimeout(total=60)
        async with (
            aiohttp.ClientSession("http://ledgerd", connector=socket, timeout=timeout) as session,
            session.request(method, path, data=data) as response,
        ):
            body = await response.read()
            assert response.status == 200, body.decode(errors="replace")[:500]
            return body


@asynccontextmanager
async def daemon(upstream_url: str, kind: type[Daemon] = Daemon, **settings: Any) -> AsyncIterator[Daemon]:
    """A data directory, not yet owned; whatever process a test started in it is gone afterwards, and so is the folder.

    ``settings`` as in `Daemon.configure`.
    """
    folder = Path(tempfile.mkdtemp(prefix="ld-"))  # short: the path of a unix socket has at most 107 bytes
    made = kind(folder, upstream_url, settings)
    try:
        yield made
    finally:
        if made.is_alive:
            await made.stop(SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


async def command(ledgerd: Daemon, *words: str, failpoint: str = "") -> tuple[int | None, str]:
    """Run a ledgerd command to its end; exit code and what it said."""
    env = {**os.environ, "LEDGERD_FAILPOINT": failpoint}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ledgerd", *words, "--config", str(ledgerd.config),
        cwd=ROOT, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await process.communicate()
    return process.returncode, said.decode()


def _as_bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()


def _toml(url: str, settings: Mapping[str, Any]) -> str:
    """A configuration that stays on this machine and does not wait where upstream would want us to."""
    tables: dict[str, dict[str, Any]] = {
        "daemon": {"environment": "test", "contact": "test@example.org", "data_dir": "data"},
        "http": {"listen": "127.0.0.1:0"},
        "upstream": {
            "api_url": url, "exchange_url": f"{url}/api/currency-exchange", "auth_url": f"{url}/oauth",
            "timeout_s": 10.0, "late_poll_s": 0.2, "river_poll_s": 0.2, "maintenance_poll_s": 0.2,
        },
        "throttle": {"requests_per_s": 200.0, "backfill_requests_per_s": 200.0},
        "spool": {"batch_pages_max": 3, "seal_after_s": 0.2},
        "retention": {"bronze_days": 0, "silver_days": 0, "gold_days": 0},
        "log": {"format": "text"},
    }  # fmt: skip
    realms = settings.get("realms") or [{"name": "pc"}]
    for name, value in settings.items():
        if name != "realms":
            section, _, key = name.partition("__")
            tables.setdefault(section, {})[key] = value
    blocks = [(f"[{name}]", table) for name, table in tables.items()]
    usual = {"exchange_from": "oldest", "leagues": ["*", *PRIVATE]}
    blocks += [("[[realm]]", {**usual, **realm}) for realm in realms]
    return "\n\n".join("\n".join([head, *(f"{k} = {json.dumps(v)}" for k, v in body.items())]) for head, body in blocks)
