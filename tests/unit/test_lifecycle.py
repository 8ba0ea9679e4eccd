"""What the operator's signals do, and what systemd is told."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time

import pytest

from ledgerd.clock import SystemClock
from ledgerd.errors import ConfigError, ReloadRefused, SpoolUnreadable
from ledgerd.lifecycle import (
    PATIENCE_S,
    STATUS_EVERY_S,
    Notifier,
    Signals,
    asking_for_time,
    keep_status,
    keep_watchdog,
    watchdog_interval_s,
)
from ledgerd.supervise import Heart, Stop
from tests.clocks import ManualClock, settle

SOON_S = 30
"""Far longer than what is soon takes, on a slow machine, too."""


class Systemd:
    """The other end of $NOTIFY_SOCKET."""

    def __init__(self, address):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.settimeout(SOON_S)
        self.env = {"NOTIFY_SOCKET": address}

    def told(self):
        """The next datagram as its lines."""
        return self._socket.recv(4096).decode().split("\n")

    def told_so_far(self):
        """Every line that has arrived."""
        self._socket.setblocking(False)
        lines = []
        try:
            while True:
                lines += self.told()
        except BlockingIOError:
            return lines

    def close(self):
        self._socket.close()


@pytest.fixture
def systemd(tmp_path):
    systemd = Systemd(str(tmp_path / "notify"))
    yield systemd
    systemd.close()


class TestNotifier:
    def test_ready_carries_its_status(self, systemd):
        Notifier(systemd.env).ready("3 sources")

        assert systemd.told() == ["READY=1", "STATUS=3 sources"]

    def test_reloading_carries_the_monotonic_time(self, systemd):
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        Notifier(systemd.env).reloading()
        word, stamp = systemd.told()

        assert word == "RELOADING=1"
        assert before <= int(stamp.removeprefix("MONOTONIC_USEC=")) <= before + 1_000_000

    def test_each_message_is_the_word_systemd_knows(self, systemd):
        notifier = Notifier(systemd.env)
        notifier.ready()
        notifier.stopping()
        notifier.watchdog()
        notifier.extend_timeout(1.5)

        assert systemd.told_so_far() == ["READY=1", "STOPPING=1", "WATCHDOG=1", "EXTEND_TIMEOUT_USEC=1500000"]

    def test_a_status_cannot_smuggle_in_another_message(self, systemd):
        Notifier(systemd.env).status("fine\nREADY=1\nMAINPID=1")

        assert systemd.told() == ["STATUS=fine READY=1 MAINPID=1"]

    def test_an_abstract_socket_is_reached(self):
        systemd = Systemd(f"@ledgerd-test-{os.getpid()}")
        Notifier(systemd.env).ready()
        told = systemd.told()
        systemd.close()

        assert told == ["READY=1"]

    def test_without_a_socket_nothing_happens(self, caplog):
        Notifier({}).ready("fine")

        assert caplog.records == []

    def test_a_socket_out_of_reach_is_noted_once(self, tmp_path, caplog):
        notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "absent")})
        notifier.ready()
        notifier.watchdog()

        assert [record.event for record in caplog.records] == ["Noted"]


class TestWatchdogInterval:
    def test_it_is_half_of_what_systemd_allows(self):
        assert watchdog_interval_s({"WATCHDOG_USEC": "120000000", "WATCHDOG_PID": str(os.getpid())}) == 60

    @pytest.mark.parametrize(
        "env",
        [
            {},
            {"WATCHDOG_USEC": "0"},
            {"WATCHDOG_USEC": "-5"},
            {"WATCHDOG_USEC": "soon"},
            {"WATCHDOG_USEC": "²"},
            {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"},
        ],
    )
    def test_unasked_for_or_meant_for_another_process_there_is_none(self, env):
        assert watchdog_interval_s(env) is None


class Pulse:
    """A supervisor seen from the watchdog: ages by name."""

    def __init__(self, **ages_s):
        self.ages_s = ages_s

    def pulse(self):
        return self.ages_s

    def stalled(self, limit_s):
        return [name for name, age_s in self.ages_s.items() if age_s > limit_s]


class TestKeepWatchdog:
    @pytest.fixture
    async def watch(self, systemd):
        """A watchdog of 10 s that calls 60 s a stall."""
        clock, stop, pulse = ManualClock(), Stop(), Pulse(writer=0.0)
        heart = Heart(clock, clock.now)
        notifier = Notifier(systemd.env)
        kept = asyncio.create_task(
            keep_watchdog(stop, heart, notifier=notifier, supervisor=pulse, clock=clock, stall_s=60, interval_s=10)
        )
        await settle()
        assert systemd.told_so_far() == ["WATCHDOG=1"]
        yield clock, pulse
        stop.set("test")
        await kept

    async def test_a_sign_of_life_each_interval_while_all_get_on(self, systemd, watch):
        clock, _ = watch
        await clock.advance(35)

        assert systemd.told_so_far() == ["WATCHDOG=1"] * 3

    async def test_no_sign_of_life_while_one_stalls_and_one_line_about_it(self, systemd, watch, caplog):
        clock, pulse = watch
        pulse.ages_s["writer"] = 61.0
        await clock.advance(35)

        assert systemd.told_so_far() == []
        assert [(record.event, record.fields) for record in caplog.records] == [
            ("LoopStalled", {"subject": "writer", "seconds": 61.0})
        ]

    async def test_a_service_that_recovers_is_watched_anew(self, systemd, watch, caplog):
        clock, pulse = watch
        for age_s in (61.0, 0.0, 62.0):
            pulse.ages_s["writer"] = age_s
            await clock.advance(10)

        assert [record.fields["seconds"] for record in caplog.records] == [61.0, 62.0]
        assert systemd.told_so_far() == ["WATCHDOG=1"]


class TestKeepStatus:
    async def test_systemd_is_told_each_change_once_and_nothing_else(self, systemd):
        clock, stop, said = ManualClock(), Stop(), ["serving x"]
        told = Notifier(systemd.env)
        service = keep_status(stop, Heart(clock), notifier=told, text=lambda: said[-1], told="serving x", clock=clock)
        task = asyncio.create_task(service)
        for text in ("serving x", "degraded: the spool is full", "degraded: the spool is full", "serving x"):
            said.append(text)
            await clock.advance(STATUS_EVERY_S)
        stop.set("test")
        await task

        assert systemd.told_so_far() == ["STATUS=degraded: the spool is full", "STATUS=serving x"]


class TestAskingForTime:
    async def test_more_is_asked_for_before_what_was_given_runs_out_and_no_more_afterwards(self, systemd):
        clock = ManualClock()
        async with asking_for_time(Notifier(systemd.env), clock):
            await clock.advance(PATIENCE_S)
        await clock.advance(PATIENCE_S)

        assert systemd.told_so_far() == [f"EXTEND_TIMEOUT_USEC={int(PATIENCE_S * 1_000_000)}"] * 3


class Reloads:
    """An `on_reload` that takes until it is let go, and counts."""

    def __init__(self, error=None):
        self.begun = 0
        self.at_once = 0
        self.at_once_most = 0
        self.gate = asyncio.Event()
        self.error = error

    async def __call__(self):
        self.begun += 1
        self.at_once += 1
        self.at_once_most = max(self.at_once, self.at_once_most)
        await self.gate.wait()
        self.at_once -= 1
        if self.error:
            raise self.error


async def until(condition):
    """Wait for a signal to have come all its way."""
    async with asyncio.timeout(SOON_S):
        while not condition():  # noqa: ASYNC110  the condition is the outside's, it cannot set an event
            await asyncio.sleep(0.001)


class TestSignals:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    async def test_the_first_one_sets_the_stop_and_tells_systemd(self, systemd, number, caplog):
        caplog.set_level(logging.INFO, "ledgerd")
        stop = Stop()
        with Signals(stop, Reloads(), notifier=Notifier(systemd.env)):
            os.kill(os.getpid(), number)
            async with asyncio.timeout(SOON_S):
                await stop.wait()

        assert (stop.why, systemd.told()) == (number.name, ["STOPPING=1"])
        assert [record.event for record in caplog.records] == ["Stopping"]

    async def test_quit_shows_where_every_thread_stands_and_changes_nothing(self, capfd):
        stop = Stop()
        with Signals(stop, Reloads(), notifier=Notifier({})):
            os.kill(os.getpid(), signal.SIGQUIT)
        shown = capfd.readouterr().err

        assert stop.is_set is False
        assert "test_quit_shows_where_every_thread_stands" in shown
        assert "in _listen" in shown

    async def test_leaving_gives_every_handler_back(self):
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        before = [signal.getsignal(number) for number in numbers]
        with Signals(Stop(), Reloads(), notifier=Notifier({})):
            during = [signal.getsignal(number) for number in numbers]

        assert [signal.getsignal(number) for number in numbers] == before
        assert not set(during) & set(before)

    async def test_a_signal_of_another_kind_does_no_harm(self):
        stop, seen = Stop(), []
        old = signal.signal(signal.SIGRTMIN + 1, lambda number, frame: seen.append(number))
        with Signals(stop, Reloads(), notifier=Notifier({})):
            os.kill(os.getpid(), signal.SIGRTMIN + 1)
            await until(lambda: seen)
            os.kill(os.getpid(), signal.SIGTERM)
            await until(lambda: stop.is_set)
        signal.signal(signal.SIGRTMIN + 1, old)

        assert stop.why == "SIGTERM"

    @pytest.fixture
    async def reloading(self, systemd):
        """Starts to answer HUP with a given reload."""
        stop, answering, begun = Stop(), [], contextlib.ExitStack()

        def answer(reload):
            signals = begun.enter_context(Signals(stop, reload, notifier=Notifier(systemd.env)))
            answering.append(asyncio.create_task(signals.answer_reloads(stop, Heart(SystemClock()))))
            return answering[0]

        with begun:
            yield answer
            stop.set("test")
            await asyncio.gather(*answering, return_exceptions=True)

    async def test_a_hup_reloads_between_reloading_and_ready(self, systemd, reloading):
        reload = Reloads()
        reloading(reload)
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: reload.begun)
        during = systemd.told_so_far()
        reload.gate.set()
        await until(lambda: not reload.at_once)
        await settle()

        assert (during[0], systemd.told_so_far()) == ("RELOADING=1", ["READY=1"])

    async def test_hups_during_a_reload_are_one_more_after_it(self, reloading, monkeypatch):
        hear, heard = Signals._heard, []
        monkeypatch.setattr(Signals, "_heard", lambda signals, number: heard.append(hear(signals, number)))
        reload = Reloads()
        reloading(reload)
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: reload.begun)
        for count in range(2, 7):
            os.kill(os.getpid(), signal.SIGHUP)
            await until(lambda count=count: len(heard) == count)
        reload.gate.set()
        await until(lambda: reload.begun == 2 and not reload.at_once)
        await settle()

        assert (reload.begun, reload.at_once_most) == (2, 1)

    @pytest.mark.parametrize("error", [ConfigError("two keys unknown"), ReloadRefused("listen needs a restart")])
    async def test_a_refused_reload_is_an_event_and_the_next_hup_works(self, systemd, reloading, caplog, error):
        reload = Reloads(error)
        reload.gate.set()
        reloading(reload)
        for count in (1, 2):
            os.kill(os.getpid(), signal.SIGHUP)
            await until(lambda count=count: reload.begun == count)
            await settle()

        assert [record.event for record in caplog.records] == ["ReloadFailed"] * 2
        assert systemd.told_so_far().count("READY=1") == 2

    async def test_what_is_fatal_in_a_reload_is_for_the_supervisor(self, systemd, reloading):
        reload = Reloads(SpoolUnreadable("spool gone"))
        reload.gate.set()
        answering = reloading(reload)
        os.kill(os.getpid(), signal.SIGHUP)

        with pytest.raises(SpoolUnreadable):
            await answering


DAEMON = """
    import asyncio, hashlib, sys
    import uvloop
    from ledgerd import logs
    from ledgerd.lifecycle import Notifier, Signals
    from ledgerd.supervise import Stop

    def forever():
        while True:
            pass

    blocks = {"c call": lambda: hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1), "python": forever}

    async def main():
        logs.configure("info", "text")
        with Signals(stop := Stop(), stop.wait, notifier=Notifier(), last_words=logs.flush):
            print("ready", flush=True)
            await stop.wait()
            print("stuck", flush=True)
            if sys.argv[2] in blocks:
                blocks[sys.argv[2]]()
            await asyncio.sleep(30)

    runner = uvloop.run if sys.argv[1] == "uvloop" else asyncio.run
    runner(main())
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("block", ["idle", "c call", "python"])
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_process_within_a_second_whatever_the_loop_does(loop, block, second):
    command = [sys.executable, "-c", textwrap.dedent(DAEMON), loop, block]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as daemon:
        daemon.stdout.readline()
        daemon.send_signal(signal.SIGTERM)
        daemon.stdout.readline()
        sent_s = time.monotonic()
        daemon.send_signal(second)
        _, log = daemon.communicate(timeout=8)
        took_s = time.monotonic() - sent_s

    assert (daemon.returncode, took_s < 1) == (128 + second, True)
    assert "stopping (SIGTERM); a second signal stops now" in log


def test_a_second_signal_does_not_wait_for_a_log_nobody_reads():
    script = """
        import asyncio, time
        from ledgerd.lifecycle import Notifier, Signals
        from ledgerd.supervise import Stop

        async def main():
            with Signals(stop := Stop(), stop.wait, notifier=Notifier(), last_words=lambda: time.sleep(30)):
                print("ready", flush=True)
                await stop.wait()
                print("stuck", flush=True)
                time.sleep(30)

        asyncio.run(main())
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE) as daemon:
        daemon.stdout.readline()
        daemon.send_signal(signal.SIGINT)
        daemon.stdout.readline()
        sent_s = time.monotonic()
        daemon.send_signal(signal.SIGINT)
        code = daemon.wait(timeout=8)

    assert (code, time.monotonic() - sent_s < 1) == (128 + signal.SIGINT, True)
