"""Start-up of one stream: what its files hold, the torn tail cut off, the chain verified."""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ledgerd.events import SpoolRepaired, emit
from ledgerd.spool.record import Bad, Break, Link, Scan, chain_breaks
from ledgerd.spool.segment import Batch, OpenSegment, batch_of, link_of, read, sync_folder

SEGMENT = re.compile(r"(\d{10})\.(open|sealed)")


@dataclass(frozen=True, slots=True)
class Recovered:
    """A stream as its folder has it. ``links``: its readable pages in chain order, None where files were not read."""

    sealed: list[Batch]
    open: OpenSegment | None
    retired: list[Path]
    links: list[Link | None]
    last_seq: int

    @property
    def breaks(self) -> list[Break]:
        """Where pages are missing."""
        return chain_breaks(self.links)


def recover(folder: Path, bad_folder: Path, now_ms: int) -> Recovered:
    """Read every unretired segment of the stream in ``folder``, repair what can be repaired, emit SpoolRepaired for it.

    Of the retired segments only those beside an unretired one, and the newest, are read: enough for the cursor and the
    chain. OSError or SpoolUnreadable when the disk refuses.
    """
    live = segments_in(folder)
    retired = segments_in(folder / "retired")
    opens = [seq for seq, path in live.items() if path.suffix == ".open"]
    sealed: list[Batch] = []
    opened: OpenSegment | None = None
    links: dict[int, list[Link]] = {}
    for seq, path in list(live.items()):
        size, found = _repaired(path, folder.name, bad_folder, now_ms)
        if size == 0 and path.suffix == ".open":  # a first page that never was; its number is free
            live.pop(seq).unlink()
            continue
        links[seq] = [link_of(each.page) for each in found.records]
        if path.suffix == ".sealed":
            sealed.append(batch_of(folder.name, seq, path, size, found))
        elif found.sealed or seq != opens[-1]:  # a whole seal is final; two open segments are not of our making
            sealed.append(batch_of(folder.name, seq, _renamed(path), size, found))
        else:
            opened = _reopened(path, seq, size, found)
    files = sorted([(seq, True) for seq in live] + [(seq, False) for seq in retired])
    chain = list(_chain(files, links, retired))
    return Recovered(sealed, opened, list(retired.values()), chain, max([0, *live, *retired]))


def segments_in(folder: Path) -> dict[int, Path]:
    """The segment files of ``folder`` by number, oldest first; other names are left alone."""
    found = {int(match[1]): path for path in folder.iterdir() if (match := SEGMENT.fullmatch(path.name))}
    return dict(sorted(found.items()))


def _repaired(path: Path, stream: str, bad_folder: Path, now_ms: int) -> tuple[int, Scan]:
    """Size and contents of ``path`` after its damage was copied to ``bad_folder`` and an open file's torn tail cut off.

    Damage further in stays where it is, as ``scan`` steps over it; it is copied and told once.
    """
    data, found = read(path)
    size = len(data)
    fresh = 0
    for bad in found.bad:
        is_tail = path.suffix == ".open" and bad.offset + bad.length == size
        name = f"{stream}-{path.stem}-{bad.offset}-"
        if is_tail or not any(bad_folder.glob(f"{name}*.bin")):
            fresh += bad.length
            _keep(bad_folder / f"{name}{now_ms}.bin", data, bad, now_ms / 1000)
        if is_tail:
            _truncate(path, bad.offset)
            size = bad.offset
    if fresh:
        emit(SpoolRepaired(stream, len(found.records), fresh, str(bad_folder)))
    return size, found


def _keep(path: Path, data: bytes, bad: Bad, now_s: float) -> None:
    """Copy the bad bytes where a person can look at them; a full disk keeps no copy, since the pages matter more."""
    with suppress(OSError):
        path.write_bytes(data[bad.offset : bad.offset + bad.length])
        path.chmod(0o600)
        os.utime(path, (now_s, now_s))


def _truncate(path: Path, size: int) -> None:
    """Cut ``path`` to ``size`` bytes, on disk."""
    handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.ftruncate(handle, size)
        os.fsync(handle)
    finally:
        os.close(handle)


def _renamed(path: Path) -> Path:
    """``path`` under the name its seal asks for, on disk."""
    sealed = path.rename(path.with_suffix(".sealed"))
    sync_folder(path.parent)
    return sealed


def _reopened(path: Path, seq: int, size: int, found: Scan) -> OpenSegment:
    """The open segment to go on with."""
    segment = OpenSegment(path, seq)
    for each in found.records:
        segment.add(each.page, each.length, each.digest)
    segment.size = size  # damage further in is stepped over, not counted
    return segment


def _chain(
    files: list[tuple[int, bool]], links: dict[int, list[Link]], retired: dict[int, Path]
) -> Iterator[Link | None]:
    """The links of ``files`` (number, is live) in order; None for a retired file that touches no live one."""
    near = {seq for one, other in pairwise(files) if one[1] or other[1] for seq, is_live in (one, other) if not is_live}
    for seq, is_live in files:
        if is_live:
            yield from links[seq]
        elif seq in near or seq == files[-1][0]:
            yield from (link_of(each.page) for each in read(retired[seq])[1].records)
        else:
            yield None
