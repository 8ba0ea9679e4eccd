"""The folder where pages wait: its streams, who owns it, and what waits in it."""

import fcntl
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ledgerd.clock import Clock
from ledgerd.errors import Refused, StoreLocked
from ledgerd.spool.record import Page
from ledgerd.spool.recover import recover
from ledgerd.spool.room import Room, Spare
from ledgerd.spool.segment import Batch, sync_folder, unreadable
from ledgerd.spool.stream import Stream

__all__ = ["Batch", "Page", "Spool", "SpoolFigures", "Stream"]

STREAM_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
BAD = "bad"
BACKLOGGED_SHARE = 0.5
"""Share of ``bytes_max`` from which what waits is called a backlog."""


@dataclass(frozen=True, slots=True)
class SpoolFigures:
    """What waits, for ``/status``: ``pages`` and ``oldest_age_s`` leave journals out, ``bytes`` counts all unretired.

    ``retired_bytes``: kept for replay or for a person to look at, and given up when room is needed.
    """

    pages: int
    bytes: int
    bytes_max: int
    retired_bytes: int
    oldest_age_s: float | None
    state: Literal["ok", "full", "backlogged"]


class Spool:
    """All streams below one folder, ``bytes_max`` on disk. Retired files are kept ``retain_s``, room permitting."""

    def __init__(self, root: Path, *, bytes_max: int, retain_s: float, clock: Clock) -> None:
        """Touches nothing before ``open``."""
        self.root = root
        self.breaks: list[tuple[str, str, str]] = []
        """(stream, after_next, found_asked) of each gap ``open`` found; told at each start while the pages lie here."""
        self._clock = clock
        self._streams: dict[str, Stream] = {}
        self._room = Room(bytes_max, retain_s, clock, self._waiting_bytes)
        self._lock_file: int | None = None

    def open(self) -> None:
        """Create or read the folder, repair its streams and verify their chains; once, before serving, as it blocks.

        SpoolUnreadable when it cannot be read or written, StoreLocked when another process has it.
        """
        try:
            for folder in (self.root, self.root / BAD):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock()
            for folder in sorted(self.root.iterdir()):
                if folder.is_dir() and folder.name != BAD and STREAM_NAME.fullmatch(folder.name):
                    self._open_stream(folder)
            for path in (self.root / BAD).glob("*.bin"):
                status = path.stat()
                self._room.add(Spare(status.st_mtime, path, status.st_size, _never))
        except OSError as error:
            raise unreadable(self.root, error) from error

    def limit(self, *, bytes_max: int, retain_s: float) -> None:
        """Change how much may wait and how long retired files are kept, from the next page on."""
        self._room.bytes_max, self._room.retain_s = bytes_max, retain_s

    def close(self) -> None:
        """Let another process have the folder."""
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None

    def stream(self, name: str) -> Stream:
        """The stream called ``name``, created when it is new. Refused for a name that cannot be a folder."""
        if name in self._streams:
            return self._streams[name]
        if name == BAD or not STREAM_NAME.fullmatch(name):
            raise Refused(f"{name!r} cannot name a stream: a-z, 0-9, dot, dash, underscore.", "Look: ledgerd status")
        try:
            return self._open_stream(self.root / name)
        except OSError as error:
            raise unreadable(self.root / name, error) from error

    def journal(self, name: str) -> Stream:
        """As ``stream``, for entries that follow nothing: no chain, no cursor."""
        stream = self.stream(name)
        stream.chained = False
        return stream

    def streams(self) -> list[Stream]:
        """Every stream on disk, by name."""
        return [self._streams[name] for name in sorted(self._streams)]

    def figures(self) -> SpoolFigures:
        """What waits now."""
        chains = [stream for stream in self._streams.values() if stream.chained]
        oldest_ms = min((stream.oldest_at_ms for stream in chains if stream.oldest_at_ms is not None), default=None)
        return SpoolFigures(
            pages=sum(stream.waiting_pages for stream in chains),
            bytes=self._waiting_bytes(),
            bytes_max=self._room.bytes_max,
            retired_bytes=self._room.spare_bytes,
            oldest_age_s=None if oldest_ms is None else max(0.0, self._clock.now() - oldest_ms / 1000),
            state=self._state(),
        )

    def _state(self) -> Literal["ok", "full", "backlogged"]:
        if self._room.is_refusing or self._waiting_bytes() >= self._room.bytes_max:
            return "full"
        return "backlogged" if self._waiting_bytes() > self._room.bytes_max * BACKLOGGED_SHARE else "ok"

    def _waiting_bytes(self) -> int:
        return sum(stream.waiting_bytes for stream in self._streams.values())

    def _open_stream(self, folder: Path) -> Stream:
        """Create the stream's folder, or recover what is in it."""
        if not (folder / "retired").is_dir():
            folder.mkdir(mode=0o700, exist_ok=True)
            (folder / "retired").mkdir(mode=0o700)
            sync_folder(folder)
            sync_folder(self.root)
        found = recover(folder, self.root / BAD, int(self._clock.now() * 1000))
        self.breaks += [(folder.name, each.after_next, each.found_asked) for each in found.breaks]
        self._streams[folder.name] = Stream(folder, found, self._room, self._clock)
        return self._streams[folder.name]

    def _lock(self) -> None:
        """Own the folder until ``close`` or the end of the process, however it ends."""
        self._lock_file = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.lockf(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            raise StoreLocked(
                f"Another process owns the spool {self.root}.", f"Find it: fuser {self.root}/lock"
            ) from error


def _never(path: Path) -> bool:
    """Nothing needs ``path``."""
    return False
