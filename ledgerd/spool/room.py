"""The spool's share of the disk: how much may wait, and which files nobody waits for give way first."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from ledgerd.clock import Clock
from ledgerd.errors import SpoolFull


@dataclass(frozen=True, slots=True)
class Spare:
    """A file nobody waits for any more: a retired segment, or a copy of bad bytes.

    ``since_s``: unix seconds when it became spare; ``is_needed``: asked before its path is deleted.
    """

    since_s: float
    path: Path
    bytes: int
    is_needed: Callable[[Path], bool]


class Room:
    """Keeps what waits below ``bytes_max``, and everything with it: spare files go by age, and earlier for room."""

    def __init__(self, bytes_max: int, retain_s: float, clock: Clock, waiting_bytes: Callable[[], int]) -> None:
        """``waiting_bytes``: the size of all that is not spare; ``retain_s``: how long spare files are kept."""
        self.bytes_max = bytes_max
        self.retain_s = retain_s
        self._clock = clock
        self._waiting_bytes = waiting_bytes
        self._reserved_bytes = 0
        self._refused: dict[str, float] = {}
        """What each stream was last refused, in bytes; infinite where the disk itself did it."""
        self._spares: list[Spare] = []

    @property
    def spare_bytes(self) -> int:
        """Size of all spare files."""
        return sum(spare.bytes for spare in self._spares)

    @property
    def is_refusing(self) -> bool:
        """A page found no room and would find none now; a stream that froze one since is not waiting any more."""
        room_bytes = self.bytes_max - self._waiting_bytes() - self._reserved_bytes
        return any(need_bytes > room_bytes for need_bytes in self._refused.values())

    def add(self, spare: Spare) -> None:
        """Take over a file nobody waits for."""
        self._spares.append(spare)
        self._spares.sort(key=lambda each: each.since_s)

    @asynccontextmanager
    async def hold(self, stream: str, need_bytes: int) -> AsyncIterator[None]:
        """Reserve ``need_bytes`` while ``stream`` writes, at the cost of spare files; SpoolFull when too much waits."""
        waiting_bytes = self._waiting_bytes() + self._reserved_bytes
        if waiting_bytes + need_bytes > self.bytes_max:
            self._refused[stream] = need_bytes
            if need_bytes > self.bytes_max:
                raise SpoolFull(
                    f"A page of {need_bytes} bytes will never fit into a spool of {self.bytes_max}.",
                    "Raise spool.bytes_max above upstream.body_bytes_max, then: systemctl reload ledgerd",
                )
            raise SpoolFull(
                f"The spool holds {waiting_bytes} of {self.bytes_max} bytes: no room for {need_bytes} more.",
                "See what waits: ledgerd status",
            )
        self._reserved_bytes += need_bytes
        try:
            await self.prune()
            yield
            self._refused.pop(stream, None)
        except SpoolFull:
            self._refused[stream] = math.inf
            raise
        finally:
            self._reserved_bytes -= need_bytes

    async def prune(self, *, everything: bool = False) -> int:
        """Delete spare files that are too old or in the way, or ``everything`` unneeded; returns how many went.

        A file that cannot be deleted stays on the list and is tried again the next time.
        """
        victims = self._victims(everything=everything)
        if not victims:
            return 0
        stuck = await asyncio.to_thread(_delete, victims)
        for spare in stuck:
            self.add(spare)
        return len(victims) - len(stuck)

    def _victims(self, *, everything: bool) -> list[Spare]:
        """Take the files to delete off the list, oldest first."""
        expired_s = self._clock.now() - self.retain_s
        excess_bytes = self._waiting_bytes() + self._reserved_bytes + self.spare_bytes - self.bytes_max
        victims: list[Spare] = []
        kept: list[Spare] = []
        for spare in self._spares:
            is_due = everything or excess_bytes > 0 or spare.since_s < expired_s
            if is_due and not spare.is_needed(spare.path):
                victims.append(spare)
                excess_bytes -= spare.bytes
            else:
                kept.append(spare)
        self._spares = kept
        return victims


def _delete(victims: Iterable[Spare]) -> list[Spare]:
    """Delete the files; returns those that would not go."""
    stuck = []
    for spare in victims:
        try:
            spare.path.unlink(missing_ok=True)
        except OSError:
            stuck.append(spare)
    return stuck
