"""The process and its keepers: signals from the operator, notifications and a watchdog for systemd."""

import asyncio
import contextlib
import faulthandler
import math
import os
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from types import FrameType, TracebackType
from typing import Protocol, Self

from ledgerd.clock import Clock
from ledgerd.errors import ConfigError, Refused, Transient
from ledgerd.events import LoopStalled, Noted, ReloadFailed, Stopping, emit

WATCHDOG_INTERVAL_S = 15.0
"""How often services are looked at when systemd does not ask for a watchdog."""
LAST_WORDS_S = 0.5
"""How long a second signal waits for the log to be written: the exit as a whole may take one second."""
NOTIFY_TIMEOUT_S = 0.5
STATUS_EVERY_S = 5.0
PATIENCE_S = 120.0
"""How much more time is asked of systemd at once, and again after half of it, for work that may take long."""
STDERR = 2


class Stopper(Protocol):
    """What this file needs of `ledgerd.supervise.Stop`."""

    @property
    def is_set(self) -> bool: ...  # noqa: D102  described there
    def set(self, why: str) -> None: ...  # noqa: D102  described there
    async def cuts_short(self, wait: Awaitable[object]) -> bool: ...  # noqa: D102  described there


class Beating(Protocol):
    """What this file needs of `ledgerd.supervise.Heart`."""

    def beat(self) -> None: ...  # noqa: D102  described there
    def resting(self, wait_s: float = ...) -> None: ...  # noqa: D102  described there


class Watched(Protocol):
    """What this file needs of `ledgerd.supervise.Supervisor`."""

    def stalled(self, limit_s: float) -> list[str]: ...  # noqa: D102  described there
    def pulse(self) -> dict[str, float]: ...  # noqa: D102  described there


class Notifier:
    """Tells systemd how the service is, as sd_notify(3) does; without ``$NOTIFY_SOCKET`` it does nothing.

    Each call is one datagram and returns at once; one that cannot be delivered is noted the first time.
    """

    __slots__ = ("_address", "_is_noted")

    def __init__(self, env: Mapping[str, str] = os.environ) -> None:
        path = env.get("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self._is_noted = False

    def ready(self, status: str = "") -> None:
        """The service serves, or has done reloading; ``status`` as in `status`, left alone if empty."""
        self._send("READY=1", *([_status(status)] if status else []))

    def reloading(self) -> None:
        """A reload begins; `ready` must follow. The time stamp is what systemd 253 and later ask for."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """The service is on its way out."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """Show ``text`` in ``systemctl status``; line breaks become spaces."""
        self._send(_status(text))

    def watchdog(self) -> None:
        """The service is alive."""
        self._send("WATCHDOG=1")

    def extend_timeout(self, wait_s: float) -> None:
        """Start-up or stop needs up to ``wait_s`` seconds more from now, as a long migration does."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(wait_s * 1_000_000)}")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.settimeout(NOTIFY_TIMEOUT_S)
                sender.sendto("\n".join(lines).encode("utf-8", "replace"), self._address)
        except OSError as error:
            if not self._is_noted:
                self._is_noted = True
                emit(Noted("systemd", note=f"notifications do not reach it: {error}"))


def _status(text: str) -> str:
    return "STATUS=" + " ".join(text.split())


def watchdog_interval_s(env: Mapping[str, str] = os.environ) -> float | None:
    """Seconds between signs of life, half of what systemd allows, as sd_watchdog_enabled(3) advises.

    None if systemd does not ask for them, or asks another process.

    >>> watchdog_interval_s({"WATCHDOG_USEC": "30000000"}), watchdog_interval_s({})
    (15.0, None)
    """
    usec, pid = env.get("WATCHDOG_USEC", ""), env.get("WATCHDOG_PID", str(os.getpid()))
    if pid != str(os.getpid()) or not (usec.isascii() and usec.isdigit()) or int(usec) == 0:
        return None
    return int(usec) / 2_000_000


async def keep_watchdog(
    stop: Stopper,
    heart: Beating,
    *,
    notifier: Notifier,
    supervisor: Watched,
    clock: Clock,
    stall_s: float,
    interval_s: float = WATCHDOG_INTERVAL_S,
) -> None:
    """Service: show systemd a sign of life every ``interval_s`` seconds of ``clock``, but only while nobody stalls.

    A service without progress for ``stall_s`` seconds is one `LoopStalled` when noticed; ``clock`` must run as fast as
    systemd's. Stop it last: a drain is watched too.
    """
    known: set[str] = set()
    while True:
        heart.beat()
        ages = supervisor.pulse()
        stalled = set(supervisor.stalled(stall_s))
        for name in sorted(stalled - known):
            emit(LoopStalled(name, seconds=ages.get(name, stall_s)))
        known = stalled
        if not stalled:
            notifier.watchdog()
        if await stop.cuts_short(clock.sleep(interval_s)):
            return


async def keep_status(
    stop: Stopper, heart: Beating, *, notifier: Notifier, text: Callable[[], str], told: str, clock: Clock
) -> None:
    """Service: show systemd what ``text`` says, every few seconds of ``clock`` if it is not ``told`` already."""
    while not await stop.cuts_short(clock.sleep(STATUS_EVERY_S)):
        heart.beat()
        if (now := text()) != told:
            notifier.status(now)
            told = now


@contextlib.asynccontextmanager
async def asking_for_time(notifier: Notifier, clock: Clock) -> AsyncIterator[None]:
    """Keep systemd from giving up on the start or the stop while the block runs, however long that is."""

    async def ask() -> None:
        while True:
            notifier.extend_timeout(PATIENCE_S)
            await clock.sleep(PATIENCE_S / 2)

    asking = asyncio.create_task(ask(), name="asking for time")
    try:
        yield
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)


class Signals:
    """TERM and INT stop the daemon, HUP reloads it, QUIT shows where it stands; a context manager inside the loop.

    The first TERM or INT sets the stop. A second one ends the process at once with 128 + its number, even when the loop
    is stuck: the interpreter's signal handler writes the signal's number to a pipe (`signal.set_wakeup_fd`), whichever
    C call the main thread is in, and a thread of our own reads that pipe. Only a C call that holds the GIL delays it.
    `loop.add_signal_handler` would take the pipe away: nobody else may use it meanwhile.

    QUIT, which the unit's watchdog sends, writes every thread's stack to stderr and changes nothing; ABRT would not do:
    the embedded engine keeps it for itself.
    """

    def __init__(
        self,
        stop: Stopper,
        on_reload: Callable[[], Awaitable[None]],
        *,
        notifier: Notifier,
        last_words: Callable[[], object] = lambda: None,
    ) -> None:
        """``on_reload``: one whole reload, or an error and the old state; ``last_words``: writes pending log lines."""
        self._stop = stop
        self._on_reload = on_reload
        self._notifier = notifier
        self._last_words = last_words
        self._hup = asyncio.Event()
        self._asked = 0
        self._restore: list[Callable[[], object]] = []

    def __enter__(self) -> Self:
        """Take over TERM, INT, HUP and QUIT. From the main thread, inside the running loop."""
        self._loop = asyncio.get_running_loop()
        reader, writer = socket.socketpair()
        writer.setblocking(False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            old = signal.signal(number, _noted_by_the_pipe)
            self._restore.append(partial(signal.signal, number, signal.SIG_DFL if old is None else old))
        old_fd = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        self._restore += [partial(signal.set_wakeup_fd, old_fd), writer.close]
        faulthandler.register(signal.SIGQUIT, file=STDERR, all_threads=True)
        self._restore.append(partial(faulthandler.unregister, signal.SIGQUIT))
        self._listener = threading.Thread(target=self._listen, args=(reader,), name="signals", daemon=True)
        self._listener.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the signals back to whoever had them."""
        for restore in self._restore:
            restore()
        self._restore.clear()
        self._listener.join()

    async def answer_reloads(self, stop: Stopper, heart: Beating) -> None:
        """Service: one reload a HUP, never two at a time; any number of HUPs during a reload is one more after it.

        What `on_reload` refuses is a `ReloadFailed`; systemd hears of the beginning and the end.
        """
        while True:
            heart.resting(math.inf)
            if await stop.cuts_short(self._hup.wait()):
                return
            self._hup.clear()
            heart.beat()
            self._notifier.reloading()
            try:
                await self._on_reload()
            except (Refused, Transient, ConfigError) as error:
                emit(ReloadFailed("ledgerd", error=str(error)))
            finally:
                self._notifier.ready()

    def _listen(self, reader: socket.socket) -> None:
        """Thread: act on each signal number that arrives, until the pipe closes."""
        with reader:
            while numbers := reader.recv(64):
                for number in numbers:
                    self._heard(number)

    def _heard(self, number: int) -> None:
        if number == signal.SIGHUP:
            self._tell(self._hup.set)
        elif number in {signal.SIGTERM, signal.SIGINT}:
            self._asked += 1
            if self._asked > 1:
                exit_now(128 + number, self._last_words)
            self._tell(partial(self._begin_stop, signal.Signals(number).name))

    def _tell(self, act: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has closed: there is nothing left to stop or reload
            self._loop.call_soon_threadsafe(act)

    def _begin_stop(self, why: str) -> None:
        if not self._stop.is_set:
            emit(Stopping("ledgerd", why=why))
            self._notifier.stopping()
            self._stop.set(why)


def exit_now(code: int, last_words: Callable[[], object] = lambda: None) -> None:
    """End the process with ``code`` without unwinding anything; ``last_words`` gets half a second."""
    speaker = threading.Thread(target=last_words, name="last words", daemon=True)
    speaker.start()
    speaker.join(LAST_WORDS_S)
    os._exit(code)


def _noted_by_the_pipe(number: int, frame: FrameType | None) -> None:
    """Do nothing: the interpreter has written ``number`` to the wake-up pipe before it calls this."""
