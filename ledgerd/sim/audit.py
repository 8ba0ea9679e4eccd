"""The book of every answer the stand-in gave, against which a client's own books can be held."""

from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

ENTRIES_MAX = 100_000


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


class Audit:
    """Entries kept in memory, at most ``entries_max`` with the oldest dropped and counted, or appended to ``path``."""

    def __init__(self, path: Path | None = None, entries_max: int = ENTRIES_MAX) -> None:
        self._path = path
        self._entries: deque[bytes] = deque(maxlen=entries_max)
        self._arrived = 0
        self.written = 0
        self.dropped = 0
        if path:
            path.touch()

    def arrive(self) -> int:
        """The number of a request that has just come in, from 1."""
        self._arrived += 1
        return self._arrived

    def write(self, entry: Entry) -> None:
        """Record one answer. OSError when the file cannot be written."""
        line = orjson.dumps(asdict(entry)) + b"\n"
        self.written += 1
        if self._path:
            with self._path.open("ab") as file:
                file.write(line)
            return
        self.dropped += len(self._entries) == self._entries.maxlen
        self._entries.append(line)

    def lines(self) -> Iterator[bytes]:
        """All kept entries as NDJSON lines, in order of completion; from the file, also those of earlier runs."""
        if not self._path:
            yield from list(self._entries)
            return
        with self._path.open("rb") as file:
            yield from file
