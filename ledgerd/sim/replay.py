"""Recorded hours, served again as they were received."""

import gzip
import re
from pathlib import Path

from ledgerd.clock import HOUR_S

_NAME = re.compile(r"(pc|xbox|sony|poe2)-(\d+)(?:-sample)?\.json\.gz")


def has_hours(folder: Path) -> bool:
    """Whether the folder holds a recorded hour."""
    return any(_NAME.fullmatch(path.name) for path in folder.glob("*.json.gz"))


class Replay:
    """The hours found in a folder as ``<realm>-<unix hour>[-sample].json.gz``; the hours between them are gaps.

    Raises ValueError when the folder holds none.
    """

    def __init__(self, folder: Path) -> None:
        self._files: dict[str, dict[int, Path]] = {}
        for path in sorted(folder.glob("*.json.gz")):
            match = _NAME.fullmatch(path.name)
            if match and int(match[2]) % HOUR_S == 0:
                self._files.setdefault(match[1], {})[int(match[2])] = path
        if not self._files:
            raise ValueError(f"{folder}: no recorded hours, expected files named <realm>-<unix hour>.json.gz")

    @property
    def realms(self) -> tuple[str, ...]:
        """The realms with at least one recorded hour."""
        return tuple(self._files)

    def span(self, realm: str) -> tuple[int, int]:
        """The first recorded hour, and the one after the last."""
        hours = self._files[realm]
        return min(hours), max(hours) + HOUR_S

    def exists(self, realm: str, hour: int) -> bool:
        """Whether the hour was recorded."""
        return hour in self._files[realm]

    def body(self, realm: str, hour: int) -> bytes:
        """The file's content, decompressed and otherwise untouched."""
        return gzip.decompress(self._files[realm][hour].read_bytes())

    def leagues(self, realm: str) -> tuple[str, ...]:
        """None: nobody knows the true values of a recorded hour."""
        return ()

    def truth(self, realm: str, league: str, hour: int) -> dict[str, float]:
        """Always ValueError."""
        raise ValueError(f"no true values are known for recorded hours ({realm}, {league}, {hour})")
