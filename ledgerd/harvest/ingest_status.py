"""Logs in ``poe_ingest_status`` how every source is: a row whenever it turns well or ill, and as its cursor moves."""

import asyncio
import math
from collections.abc import Callable, Sequence
from datetime import datetime

from ledgerd.clock import Clock, wait_for
from ledgerd.status import SourceState, SourceStatus
from ledgerd.store.engine import Engine, Row
from ledgerd.supervise import Heart, Stop

COLUMNS = (
    "source", "kind", "realm", "state", "last_cursor", "request_rate", "errors", "last_error", "last_ingest_time",
    "stalled_since", "retry_after_s", "lag_s", "updated_at",
)  # fmt: skip
EVERY_S = 10.0


class IngestStatus:
    """The service that writes it."""

    def __init__(self, engine: Engine, sources: Callable[[], Sequence[SourceStatus]], clock: Clock) -> None:
        """``sources``: what ``/status`` says of them now."""
        self._engine = engine
        self._sources = sources
        self._clock = clock
        self._written: dict[str, tuple[object, ...]] = {}
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """A source turned: write it now."""
        self._woken.set()

    async def run(self, stop: Stop, heart: Heart) -> None:
        """Service: write what changed every few seconds, what turned at once, and all once more at the stop."""
        while not stop.is_set:
            self._woken.clear()
            await self.write()
            heart.beat()
            await heart.rest(stop, wait_for(self._woken, self._clock, EVERY_S))
        await self.write()

    async def write(self) -> None:
        """Write the sources whose state, cursor, errors or last ingest changed since they were last written.

        One that stands by is left to the ledgerd that harvests it.
        """
        fresh = {source.name: source for source in self._sources() if source.state is not SourceState.STANDBY}
        changed = [source for name, source in fresh.items() if self._written.get(name) != _mark(source)]
        if not changed:
            return
        now_s = self._clock.now()
        token = f"status-{math.floor(now_s * 1000)}"
        await self._engine.insert("poe_ingest_status", COLUMNS, [_row(each, now_s) for each in changed], token=token)
        self._written.update({source.name: _mark(source) for source in changed})


def _mark(source: SourceStatus) -> tuple[object, ...]:
    return source.state, source.cursor, source.errors, source.last_ingest_time, source.stalled_since


def _row(source: SourceStatus, now_s: float) -> Row:
    return (
        source.name, source.kind, source.realm, source.state.value, source.cursor or "", source.avg_req_per_sec,
        source.errors, source.last_error or "", _time(source.last_ingest_time), _time(source.stalled_since),
        source.retry_after_s, source.lag_s, now_s,
    )  # fmt: skip


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
