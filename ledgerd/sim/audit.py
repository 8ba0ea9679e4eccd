"""The book of every answer the stand-in gave, against which a client's own books can be held."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import orjson

ENTRIES_MAX = 100_000
BYTES_MAX = 256 << 20


@dataclass(frozen=True, slots=True)
class Entry:
    """One answer.

    ``n`` counts requests from 1 in order of arrival (entries stand in order of completion); ``at`` is unix seconds of
    the stand-in's clock; ``sha256`` is of the body as a client reads it, decompressed, and None where it cannot be;
    ``markets`` counts the true body's; ``complete`` only if all of it was handed to the connection.
    """

    n: int
    at: float
    method: str
    realm: str | None
    hour: int | None
    status: int
    fault: str | None
    markets: int
    sha256: str | None
    complete: bool


@dataclass(frozen=True, slots=True)
class RiverEntry:
    """One answer of the river.

    ``n``, ``at`` and ``complete`` as of ``Entry``. ``asked`` is the id asked for (None: no id), ``next`` the id the
    body names, ``header_next`` the header's. ``stashes`` holds, for each stash a client that got the whole answer can
    read, in order: id, sha256, league, number of items, whether it is public. The sha256 is of the stash as compact
    JSON in its own order of keys, what ``orjson.dumps`` makes of its value; of a ``struck`` stash, of its text as
    sent.
    """

    n: int
    realm: str
    asked: str | None
    next: str | None = None
    header_next: str | None = None
    at: float = 0.0
    status: int = 0
    fault: str | None = None
    struck: str | None = None
    complete: bool = False
    stashes: list[tuple[str, str, str | None, int, bool]] = field(default_factory=list)


class Audit:
    """Entries kept in memory, or appended to ``path``.

    In memory at most ``entries_max`` of them, of ``bytes_max`` bytes in all; the oldest are dropped and counted.
    """

    def __init__(self, path: Path | None = None, entries_max: int = ENTRIES_MAX, bytes_max: int = BYTES_MAX) -> None:
        self._path = path
        self._entries: deque[bytes] = deque()
        self._entries_max, self._bytes_max = entries_max, bytes_max
        self._bytes = 0
        self._arrived = 0
        self.written = 0
        self.dropped = 0
        if path:
            path.touch()

    def arrive(self) -> int:
        """The number of a request that has just come in, from 1."""
        self._arrived += 1
        return self._arrived

    def write(self, entry: "Entry | RiverEntry") -> None:
        """Record one answer. OSError when the file cannot be written."""
        line = orjson.dumps(entry) + b"\n"
        self.written += 1
        if self._path:
            with self._path.open("ab") as file:
                file.write(line)
            return
        self._entries.append(line)
        self._bytes += len(line)
        while len(self._entries) > self._entries_max or self._bytes > self._bytes_max:
            self._bytes -= len(self._entries.popleft())
            self.dropped += 1

    def lines(self) -> Iterator[bytes]:
        """All kept entries as NDJSON lines, in order of completion; from the file, also those of earlier runs."""
        if not self._path:
            yield from list(self._entries)
            return
        with self._path.open("rb") as file:
            yield from file
