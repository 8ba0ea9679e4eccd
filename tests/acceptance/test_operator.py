"""What an operator does to the daemon with signals, a port, a socket and a configuration, and what it does then."""

import asyncio
import fcntl
import json
import os
import random
import signal
import socket
import stat
import time
from contextlib import contextmanager

import aiohttp
import pytest

from tests.acceptance.test_sql_tools import ENDLESS, public_port, runs
from tests.daemon import BRONZE, EDGE, HOUR_S, TEST_S, WAIT_S, daemon, lost_and_doubled, upstream

pytest.importorskip("chdb")
pytestmark = pytest.mark.timeout(TEST_S)

SOURCE = "exchange-pc"
RELOADS = 100
HOURS = 8
SLOW_STOP_S, HUNG_STOP_S, SECOND_SIGNAL_S = 5.0, 45.0, 1.0
FIRST_COMMIT_S = 15.0


class Systemd:
    """The receiving end of sd_notify."""

    def __init__(self, folder):
        self.path = folder / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._socket.setblocking(False)

    async def next(self):
        """The lines of the next message."""
        return (await asyncio.get_running_loop().sock_recv(self._socket, 4096)).decode().split("\n")

    async def hears(self, line):
        """All lines of the next message that says ``line``."""
        async with asyncio.timeout(WAIT_S):
            while True:
                lines = await self.next()
                if line in lines:
                    return lines

    def close(self):
        self._socket.close()


@pytest.fixture
def systemd(tmp_path_factory, monkeypatch):
    systemd = Systemd(tmp_path_factory.mktemp("n"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(systemd.path))
    yield systemd
    systemd.close()


@contextmanager
def at_most(limit_s, what):
    """Print how long the block took, and hold it to ``limit_s``."""
    began_s = time.monotonic()
    yield
    took_s = time.monotonic() - began_s
    print(f"{what}: {took_s:.2f} s (at most {limit_s:g} s)")

    assert took_s <= limit_s, what


async def states_until(ledgerd, *, ended):
    """The states ``/status`` told, one after another, until ``ended`` says so of them."""
    seen = []
    async with asyncio.timeout(WAIT_S):
        while not ended(seen):
            try:
                state = (await ledgerd.status())["state"]
            except (aiohttp.ClientError, OSError):
                state = "nobody"
            if seen[-1:] != [state]:
                seen.append(state)
            await asyncio.sleep(0.005)
    return seen


async def is_well(ledgerd):
    return (await ledgerd.status())["state"] == "ok"


async def reloaded(ledgerd, generation):
    async def is_in_force():
        return (await ledgerd.status())["config"]["generation"] == generation

    ledgerd.signal(signal.SIGHUP)
    await ledgerd.wait(f"generation {generation}", is_in_force)


async def test_a_life_under_systemd_start_reload_stop_and_start_again_without_loss(systemd):
    async with upstream(6) as exchange, daemon(exchange.url) as ledgerd:
        await ledgerd.start()
        starting = await states_until(ledgerd, ended=lambda seen: seen[-1:] in (["ok"], ["degraded"]))
        await systemd.hears("EXTEND_TIMEOUT_USEC=120000000")  # for the migrations
        ready = await systemd.hears("READY=1")

        assert [state for state in starting if state != "nobody"] == ["starting", "ok"]
        assert any(line.startswith("STATUS=serving http://127.0.0.1:") for line in ready)
        assert stat.S_IMODE((ledgerd.data_dir / "ledgerd.sock").stat().st_mode) == 0o600
        assert stat.S_IMODE(ledgerd.data_dir.stat().st_mode) == 0o700

        ledgerd.signal(signal.SIGHUP)
        reloading = await systemd.hears("RELOADING=1")
        await systemd.hears("READY=1")
        assert any(line.startswith("MONOTONIC_USEC=") for line in reloading)

        await ledgerd.caught_up(SOURCE, EDGE)
        with at_most(SLOW_STOP_S, "stop of an idle daemon"):
            ledgerd.signal(signal.SIGTERM)
            await systemd.hears("STOPPING=1")
            assert await ledgerd.ended() == 0
        assert "stopping (SIGTERM)" in ledgerd.said()

        await exchange.post("edge", {"advance": 3})
        await ledgerd.start()
        await ledgerd.caught_up(SOURCE, EDGE + 3 * HOUR_S)
        print(
            f"resident memory: {ledgerd.memory_kib() / 1024:.0f} MiB, at most {ledgerd.memory_kib('VmHWM') / 1024:.0f}"
        )
        stored, expected = await ledgerd.sql(BRONZE.format(realm="pc")), await exchange.rows("pc")

        assert lost_and_doubled(expected, stored) == ([], [])
        assert await ledgerd.stop(signal.SIGINT) == 0


async def test_first_commit_comes_soon_after_the_start():
    async with upstream(2, currencies=None) as exchange, daemon(exchange.url) as ledgerd:
        began_s = time.monotonic()
        await ledgerd.start()
        await ledgerd.wait("the daemon to be ready", lambda: is_ready(ledgerd))  # how soon, is the machine's affair
        with at_most(FIRST_COMMIT_S, "first commit of a daemon that is ready"):
            await ledgerd.wait("the first commit", lambda: committed(ledgerd))
        print(f"start to first commit: {time.monotonic() - began_s:.1f} s (target {FIRST_COMMIT_S:g} s)")


async def is_ready(ledgerd):
    return (await ledgerd.status())["state"] != "starting"


async def committed(ledgerd):
    return any(source["last_ingest_time"] for source in (await ledgerd.status())["sources"])


async def test_a_busy_daemon_stops_in_time_and_says_that_it_is_stopping():
    async with upstream(200, currencies=None) as exchange, daemon(exchange.url) as ledgerd:
        await ledgerd.start()
        await ledgerd.wait("a first commit", lambda: committed(ledgerd))
        with at_most(SLOW_STOP_S, "stop of a busy daemon"):
            ledgerd.signal(signal.SIGTERM)
            said = await states_until(ledgerd, ended=lambda seen: seen[-1:] == ["nobody"])
            assert await ledgerd.ended() == 0

    assert set(said) <= {"ok", "degraded", "stopping", "nobody"}
    assert "stopping" in said


async def test_a_hung_upstream_does_not_hold_up_the_stop():
    async with upstream(6, faults=("hang",), fault_rate=1.0) as exchange, daemon(exchange.url) as ledgerd:

        async def is_asked():
            return any(source["avg_req_per_sec"] for source in (await ledgerd.status())["sources"])

        await ledgerd.start()
        await ledgerd.wait("a request to hang", is_asked)
        with at_most(HUNG_STOP_S, "stop while upstream hangs"):
            assert await ledgerd.stop() == 0


async def test_a_stop_during_the_start_does_not_wait_for_it():
    async with upstream(2) as exchange, daemon(exchange.url) as ledgerd:
        await ledgerd.start()
        await states_until(ledgerd, ended=lambda seen: "starting" in seen)
        with at_most(SLOW_STOP_S, "stop during the start"):
            assert await ledgerd.stop() == 0

        assert "is ready" not in ledgerd.said()


async def test_a_reload_that_cannot_be_built_is_refused_and_the_daemon_lives():
    async with upstream(2) as exchange, daemon(exchange.url) as ledgerd:
        await ledgerd.start()
        await ledgerd.well()
        (ledgerd.data_dir / "spool" / "exchange-xbox").write_text("in the way")
        ledgerd.configure(realms=[{"name": "pc"}, {"name": "xbox"}])
        ledgerd.signal(signal.SIGHUP)
        await ledgerd.wait("the refusal", lambda: has_said(ledgerd, "configuration refused, the old one stays"))
        status = await ledgerd.status()

        assert [source["name"] for source in status["sources"]] == [SOURCE]
        assert "exchange-xbox" in status["config"]["last_reload_error"]
        (ledgerd.data_dir / "spool" / "exchange-xbox").unlink()
        await reloaded(ledgerd, 2)
        await ledgerd.caught_up("exchange-xbox", EDGE)
        assert await ledgerd.stop() == 0


async def test_systemd_is_shown_that_the_daemon_is_degraded_and_that_it_is_well_again(systemd):
    async with upstream(2) as exchange, daemon(exchange.url) as ledgerd:
        await ledgerd.start()
        ready = await systemd.hears("READY=1")
        await ledgerd.well()
        (well,) = [line for line in ready if line.startswith("STATUS=")]
        good = ledgerd.config.read_text()
        ledgerd.config.write_text(good + "\n[broken")
        ledgerd.signal(signal.SIGHUP)
        async with asyncio.timeout(WAIT_S):
            while not (line := (await systemd.next())[0]).startswith("STATUS=degraded: the last reload was refused"):
                assert line != well
        ledgerd.config.write_text(good)
        ledgerd.signal(signal.SIGHUP)
        await systemd.hears(well)
        ledgerd.signal(signal.SIGTERM)
        extended = await systemd.hears("EXTEND_TIMEOUT_USEC=65000000")

        assert extended
        assert await ledgerd.ended() == 0


async def test_of_starters_that_race_one_serves_and_the_others_leave_its_socket_alone():
    async with upstream(1) as exchange, daemon(exchange.url) as one, daemon(exchange.url) as two:
        two.configure(daemon__data_dir=str(one.data_dir))
        for _ in range(3):
            await asyncio.gather(one.start(), two.start())
            ends = {asyncio.create_task(each.ended(TEST_S)): each for each in (one, two)}
            (loser,), (winner,) = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED, timeout=WAIT_S)
            await ends[winner].wait("the one that is left to be well", lambda: is_well(one))

            assert loser.result() == 73, ends[loser].said()
            ends[winner].signal(signal.SIGTERM)
            assert await winner == 0


async def test_a_stale_socket_is_taken_over_and_one_whose_lock_is_held_is_not_touched():
    async with upstream(1) as exchange, daemon(exchange.url) as ledgerd:
        ledgerd.data_dir.mkdir()
        path = ledgerd.data_dir / "ledgerd.sock"
        with socket.socket(socket.AF_UNIX) as left, (ledgerd.data_dir / "ledgerd.lock").open("w") as lock:
            left.bind(str(path))
            fcntl.lockf(lock, fcntl.LOCK_EX)
            await ledgerd.start()

            assert await ledgerd.ended() == 73
            assert path.is_socket()
        await ledgerd.start()
        await ledgerd.well()

        assert await ledgerd.stop() == 0


async def test_a_second_signal_stops_at_once():
    async with (
        upstream(2) as exchange,
        daemon(exchange.url, sql__enabled=True) as ledgerd,
        aiohttp.ClientSession() as session,
    ):
        await ledgerd.start()
        await ledgerd.well()
        url = f"http://127.0.0.1:{public_port(ledgerd)}/sql"
        held = asyncio.create_task(session.post(url, data=ENDLESS))
        await ledgerd.wait("the query to run", lambda: runs(ledgerd))
        ledgerd.signal(signal.SIGTERM)
        await ledgerd.wait("the stop to begin", lambda: has_said(ledgerd, "stopping (SIGTERM)"))
        with at_most(SECOND_SIGNAL_S, "second signal"):
            assert await ledgerd.stop(signal.SIGTERM) == 128 + signal.SIGTERM
        await asyncio.gather(held, return_exceptions=True)


async def has_said(ledgerd, text):
    return text in ledgerd.said()


async def test_what_keeps_a_daemon_from_starting_is_one_sentence_and_an_exit_code():
    taken = socket.create_server(("127.0.0.1", 0))
    async with upstream(1) as exchange, daemon(exchange.url) as first, daemon(exchange.url) as other:
        await first.start()
        await first.well()
        blocked = other.folder / "blocked"
        blocked.write_text("not a folder")
        cases = [
            (73, "Another ledgerd serves", {"daemon__data_dir": str(first.data_dir)}),
            (75, "Address already in use", {"http__listen": f"127.0.0.1:{taken.getsockname()[1]}"}),
            (75, "Cannot make the socket", {"daemon__data_dir": str(blocked)}),
            (74, "cannot be", {"spool__dir": str(blocked)}),
            (75, "is not there", {"clickhouse__engine": "server", "clickhouse__url": "clickhouse://127.0.0.1:1"}),
            (78, "did you mean 'listen'", {"http__lisen": "127.0.0.1:0"}),
        ]
        for code, words, settings in cases:
            async with daemon(exchange.url, **settings) as broken:
                await broken.start()

                assert (await broken.ended(), words in broken.said()) == (code, True), broken.said()
                assert "Traceback" not in broken.said()
                assert broken.said().splitlines()[-1].count("ledgerd") >= 1, "it ends with what to type"
                assert code != 78 or not broken.data_dir.exists(), "a wrong configuration touches nothing"
        await first.well()
        assert await first.stop() == 0
    taken.close()


def _realms(rng):
    others = rng.sample(["poe2", "xbox"], rng.randint(0, 2))
    leagues = ["*", "Standard", "No such league"]
    return [{"name": "pc"}, *({"name": name, "leagues": [rng.choice(leagues)]} for name in others)]


LIVE = {
    "freshness__currency_max_age_s": lambda rng: float(rng.randint(1, 9_999) * 60),
    "freshness__stalled_after_s": lambda rng: float(rng.randint(3_600, 9_999)),
    "throttle__requests_per_s": lambda rng: float(rng.randint(100, 300)),
    "log__level": lambda rng: rng.choice(["debug", "info", "warning"]),
    "spool__bytes_max": lambda rng: rng.randint(1 << 30, 1 << 31),
    "upstream__timeout_s": lambda rng: float(rng.randint(5, 30)),
    "retention__silver_days": lambda rng: rng.choice([0, 400, 4_000]),
    "realms": _realms,
}
"""What may change while the daemon runs."""
WRONG = {
    "http__listen": ("127.0.0.1:1", "http.listen cannot change while running"),
    "daemon__contact": ("other@example.org", "daemon.contact cannot change while running"),
    "clickhouse__database": ("elsewhere", "clickhouse.database cannot change while running"),
    "roles__etl": (False, "roles.etl cannot change while running"),
    "throttle__request_per_s": (1.0, "unknown key"),
    "log__level": ("loud", "must be one of"),
    "freshness__currency_max_age_s": ("old", "must be a number"),
    "realms": ([{"name": "pc"}, {"name": "pc"}], "must stand once"),
}
"""What must be refused, and in which words."""


class Reloads:
    """A daemon, the settings in force in it, and the ones that are tried."""

    def __init__(self, ledgerd, seed):
        self.ledgerd = ledgerd
        self.rng = random.Random(seed)
        self.in_force = {
            "freshness__currency_max_age_s": 3_900.0,
            "spool__bytes_max": 1 << 31,
            "realms": [{"name": "pc"}],
        }
        self.generation = 1
        self.refused = 0

    def drawn(self):
        """A few live settings with new values."""
        return {key: LIVE[key](self.rng) for key in self.rng.sample(sorted(LIVE), self.rng.randint(1, 4))}

    async def try_valid(self):
        self.in_force |= self.drawn()
        self.generation += 1
        self.ledgerd.configure(**self.in_force)
        self.ledgerd.signal(signal.SIGHUP)
        await self.ledgerd.wait(f"generation {self.generation}", self.holds)

    async def try_wrong(self):
        """Something wrong beside something right: neither may take."""
        key = self.rng.choice(sorted(WRONG))
        value, words = WRONG[key]
        kept, good = dict(self.ledgerd._settings), self.ledgerd.config.read_text()
        self.ledgerd.configure(**{**self.in_force, **self.drawn(), key: value})
        self.ledgerd._settings = kept
        self.refused += 1
        if self.rng.random() < 0.1:
            self.ledgerd.config.write_text(good + "\n[broken")
            words = "Expected ']'"
        self.ledgerd.signal(signal.SIGHUP)

        async def is_refused():
            status = await self.ledgerd.status()
            told = len([line for line in self.ledgerd.log.read_text().splitlines() if "configuration refused" in line])
            return told == self.refused and words in (status["config"]["last_reload_error"] or "") and status

        status = await self.ledgerd.wait(f"a refusal with {words!r}", is_refused)
        assert status["state"] == "degraded"
        assert any(words in reason for reason in status["reasons"])
        assert await self.holds(), "something of a refused configuration was put in force"

    async def holds(self):
        """True if exactly the settings in force show."""
        status = await self.ledgerd.status()
        minutes = self.in_force["freshness__currency_max_age_s"] / 60
        sources = [f"exchange-{realm['name']}" for realm in self.in_force["realms"]]
        return (
            status["config"]["generation"] == self.generation
            and sorted(source["name"] for source in status["sources"]) == sorted(sources)
            and status["spool"]["bytes_max"] == self.in_force["spool__bytes_max"]
            and f"more than the {minutes:.0f} min allowed" in await self.warning()
        )

    async def warning(self):
        realms = json.loads(await self.ledgerd._ask("GET", "/v1/realms"))
        return realms["warning"]


async def test_of_a_hundred_random_reloads_only_the_valid_ones_take_and_ingest_goes_on():
    seed = int(os.environ.get("LEDGERD_SEED", "7"))
    async with upstream(4) as exchange, daemon(exchange.url) as ledgerd:
        await ledgerd.start()
        await ledgerd.caught_up(SOURCE, EDGE)
        reloads, hours = Reloads(ledgerd, seed), 0
        await ledgerd.wait("prices", reloads.warning)
        for n in range(RELOADS):
            await (reloads.try_valid() if reloads.rng.random() < 0.5 else reloads.try_wrong())
            if n % 10 == 0:
                hours += 1
                await exchange.post("edge", {"advance": 1})
        ledgerd.configure(log__level="info", realms=[{"name": "pc"}])
        await reloaded(ledgerd, reloads.generation + 1)
        await ledgerd.caught_up(SOURCE, EDGE + hours * HOUR_S)
        stored, expected = await ledgerd.sql(BRONZE.format(realm="pc")), await exchange.rows("pc")
        print(
            f"seed {seed}: {reloads.generation - 1} reloads taken, {reloads.refused} refused, {hours} hours meanwhile"
        )

        assert lost_and_doubled(expected, stored) == ([], [])
        assert "crashed" not in ledgerd.log.read_text()
        await ledgerd.well()
        assert await ledgerd.stop() == 0


async def test_leagues_pace_and_log_level_change_while_pages_keep_coming():
    async with upstream(2) as exchange, daemon(exchange.url) as ledgerd:
        await ledgerd.start()
        await ledgerd.caught_up(SOURCE, EDGE)
        assert "froze" not in ledgerd.log.read_text()
        ledgerd.configure(
            realms=[{"name": "pc", "leagues": ["Standard"]}],
            throttle__requests_per_s=2.0,
            throttle__backfill_requests_per_s=2.0,
            log__level="debug",
        )
        await reloaded(ledgerd, 2)
        await exchange.post("edge", {"advance": HOURS})
        await ledgerd.caught_up(SOURCE, EDGE + HOURS * HOUR_S)
        new = f"FROM bronze_exchange_events WHERE hour >= {EDGE}"
        served = [answer["at"] for answer in await exchange.answers() if answer["markets"] and answer["hour"] >= EDGE]

        assert await ledgerd.sql(f"SELECT DISTINCT league {new}") == [("Standard",)]
        assert served[-1] - served[0] > 0.4 * (HOURS - 1)  # on the whole: one may be served late, and the next in time
        assert "froze" in ledgerd.log.read_text()
        assert await ledgerd.stop() == 0
