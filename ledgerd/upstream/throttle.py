"""The one gate every upstream request passes: our own average pace, live and backfill."""

from aiolimiter import AsyncLimiter


class Throttle:
    """Spaces requests evenly; history waits on a second, slower gate so that it never crowds out the live edge.

    ``AsyncLimiter(1, 1 / rate)`` is exact; ``AsyncLimiter(n, n / rate)`` would let 2n - 1 requests through one window.
    """

    __slots__ = ("_backfill", "_every")

    def __init__(self, requests_per_s: float, backfill_requests_per_s: float) -> None:
        self.set_pace(requests_per_s, backfill_requests_per_s)

    def set_pace(self, requests_per_s: float, backfill_requests_per_s: float) -> None:
        """Change the pace of all requests, and of those for history; both requests a second, above 0."""
        self._every = AsyncLimiter(1, 1 / requests_per_s)
        self._backfill = AsyncLimiter(1, 1 / backfill_requests_per_s)

    async def admit(self, *, backfill: bool) -> None:
        """Return when a request may be sent."""
        if backfill:
            await self._backfill.acquire()
        await self._every.acquire()
