"""Time as a constructor argument: the system's clock, a faster one for demos, and the protocol both keep."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol

HOUR_S = 3600
UPSTREAM_DELAY_S = 300.0
"""How late upstream shows what changes in public stashes."""


class Clock(Protocol):
    """Where every part of ledgerd gets its time from; tests pass a clock of their own."""

    def now(self) -> float:
        """Wall-clock time, unix seconds UTC."""
        ...

    async def sleep(self, wait_s: float) -> None:
        """Wait ``wait_s`` seconds of this clock."""
        ...


class SystemClock:
    """The machine's own time."""

    __slots__ = ()

    def now(self) -> float:
        """Wall-clock time, unix seconds UTC."""
        return time.time()

    async def sleep(self, wait_s: float) -> None:
        """Wait ``wait_s`` seconds."""
        await asyncio.sleep(wait_s)


class ScaledClock:
    """A clock that starts at ``origin_s`` and runs ``speed`` times as fast as the machine's."""

    __slots__ = ("_origin_s", "_speed", "_started_s")

    def __init__(self, origin_s: float, speed: float) -> None:
        """``origin_s``: unix seconds shown at construction; ``speed``: clock seconds a real second."""
        self._origin_s = origin_s
        self._speed = speed
        self._started_s = time.monotonic()

    def now(self) -> float:
        """Scaled time, unix seconds UTC."""
        return self._origin_s + (time.monotonic() - self._started_s) * self._speed

    async def sleep(self, wait_s: float) -> None:
        """Wait ``wait_s`` scaled seconds."""
        await asyncio.sleep(wait_s / self._speed)


async def wait_for(event: asyncio.Event, clock: Clock, wait_s: float) -> None:
    """Return when ``event`` is set, or after ``wait_s`` seconds of ``clock``."""
    waits = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(clock.sleep(wait_s))]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


def hour_of(unix_s: float) -> int:
    """The unix second at which the hour holding ``unix_s`` began.

    >>> hour_of(7201.5)
    7200
    """
    return int(unix_s) // HOUR_S * HOUR_S


def rfc3339(unix_s: float) -> str:
    """``unix_s`` as RFC 3339 in UTC, whole seconds.

    >>> rfc3339(0)
    '1970-01-01T00:00:00Z'
    """
    return datetime.fromtimestamp(int(unix_s), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
