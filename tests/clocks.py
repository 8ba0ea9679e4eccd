"""A clock for tests: time stands still until the test moves it."""

import asyncio
import heapq
import itertools

ORIGIN_S = 1_760_000_400.0
"""2025-10-09T09:00:00Z, a whole hour."""


class ManualClock:
    """A `ledgerd.clock.Clock` whose sleepers wake when a test calls `advance`.

    >>> async def nap():
    ...     clock = ManualClock(0)
    ...     sleeper = asyncio.create_task(clock.sleep(5))
    ...     await clock.advance(5)
    ...     return sleeper.done(), clock.now()
    >>> asyncio.run(nap())
    (True, 5.0)
    """

    def __init__(self, origin_s: float = ORIGIN_S) -> None:
        self._now_s = float(origin_s)
        self._tickets = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> float:
        """Unix seconds; doubles as a monotonic clock where one is injected."""
        return self._now_s

    async def sleep(self, wait_s: float) -> None:
        """Wait until the test has moved the clock ``wait_s`` seconds on."""
        if wait_s <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now_s + wait_s, next(self._tickets), woken))
        await woken

    @property
    def sleepers(self) -> int:
        """How many tasks sleep on this clock now."""
        return sum(not woken.done() for _, _, woken in self._sleepers)

    async def advance(self, wait_s: float) -> None:
        """Move ``wait_s`` seconds on, waking each sleeper at its own time and letting it act before the next."""
        end_s = self._now_s + wait_s
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end_s:
            wakes_s, _, woken = heapq.heappop(self._sleepers)
            if woken.done():
                continue
            self._now_s = max(self._now_s, wakes_s)
            woken.set_result(None)
            await settle()
        self._now_s = end_s

    def jump(self, wait_s: float) -> None:
        """Step the time without waking anybody, as a corrected wall clock does."""
        self._now_s += wait_s


async def settle(turns: int = 30) -> None:
    """Let every task that can go on do so: ``turns`` turns of the loop, enough for chains of that many waits."""
    for _ in range(turns):
        await asyncio.sleep(0)
