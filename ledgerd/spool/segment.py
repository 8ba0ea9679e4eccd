"""One segment file of the spool: append to it, seal it, read it, retire it; every call blocks and belongs in a thread.

aiofiles is not used here: it makes one thread hop per call, and a cancelled task would stop between a write and its
fsync.
"""

import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from ledgerd.errors import LedgerdError, SpoolFull, SpoolUnreadable, Transient
from ledgerd.failpoint import failpoint, is_armed_now
from ledgerd.spool.record import (
    JSON,
    Link,
    Page,
    Scan,
    Seal,
    batch_id_of,
    content_sha256,
    encode_page,
    encode_seal,
    scan,
    token_of,
)

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, slots=True)
class Batch:
    """A sealed, immutable run of pages.

    ``pages`` counts what was sealed; when ``damaged``, fewer can be read. ``cursor`` is what the first readable page
    asked, ``next_cursor`` what the last one named, ``oldest_at_ms`` when the first was received (0: none can be read).
    ``bytes`` is the size of the file. ``recipe`` is what was given to ``seal``, as JSON reads it back; empty when the
    seal is lost.
    """

    stream: str
    seq: int
    batch_id: str
    token: str
    recipe: dict[str, JSON]
    pages: int
    bytes: int
    cursor: str
    next_cursor: str
    oldest_at_ms: int
    damaged: bool
    path: Path


@dataclass(slots=True)
class OpenSegment:
    """The segment pages are appended to. ``size``: its good length in bytes; anything past it is to be cut off."""

    path: Path
    seq: int
    size: int = 0
    first: Link | None = None
    last: Link | None = None
    since_ms: int | None = None
    digests: list[bytes] = field(default_factory=list)

    def add(self, page: Page, length: int, digest: bytes) -> None:
        """Count ``page``, which is on disk as ``length`` more bytes."""
        self.last = link_of(page)
        self.first = self.first or self.last
        self.since_ms = page.retrieved_at_ms if self.since_ms is None else min(self.since_ms, page.retrieved_at_ms)
        self.digests.append(digest)
        self.size += length


def link_of(page: Page) -> Link:
    """``page``'s place in its chain, without its body."""
    return Link(page.asked, page.next, page.jump)


def append_page(segment: OpenSegment, page: Page, *, durable: bool) -> tuple[int, bytes]:
    """Append ``page`` after ``segment``'s good bytes; returns the record's length and digest, and changes no figure.

    ``durable``: the page has reached the disk on return. On failure the file is cut back to its good length; SpoolFull
    when the disk has no room, Transient for anything else the disk says.
    """
    data = encode_page(page)
    with _Failing(segment.path):
        if durable and is_armed_now("page_half_written"):
            _append(segment.path, data[: len(data) // 2], segment.size, durable=True)
        if durable:
            failpoint("page_half_written")
        _append(segment.path, data, segment.size, durable=durable)
        if durable and segment.size == 0:
            sync_folder(segment.path.parent)
    if durable:
        failpoint("page_frozen")
    return len(data), sha256(data).digest()


def seal_segment(segment: OpenSegment, stream: str, recipe: dict[str, JSON]) -> Batch:
    """Write the seal, fsync, rename to ``.sealed``, fsync the folder.

    The seal is written twice, so that one damaged spot cannot take the batch's name away. A whole seal is final,
    whatever the file is called: a power cut before the rename reached the disk leaves the same batch. SpoolFull or
    Transient: the segment is as it was. SpoolUnreadable: the folder cannot be synced, and only a restart can tell what
    the disk holds.
    """
    seal = Seal(segment.seq, stream, len(segment.digests), recipe, content_sha256(segment.digests))
    data = encode_seal(seal) * 2
    sealed_path = segment.path.with_suffix(".sealed")
    with _Failing(segment.path):
        _append(segment.path, data, segment.size, durable=True)
        try:
            segment.path.rename(sealed_path)
        except OSError:
            _cut(segment.path, segment.size)
            raise
    try:
        sync_folder(sealed_path.parent)
    except OSError as error:
        raise unreadable(sealed_path.parent, error) from error
    return _batch(
        seal,
        sealed_path,
        segment.size + len(data),
        (segment.first, segment.last),
        segment.since_ms or 0,
        damaged=False,
    )


def batch_of(stream: str, seq: int, path: Path, data_bytes: int, found: Scan) -> Batch:
    """The batch a sealed file of ``data_bytes`` holds, judged by its ``found`` pages and seal.

    An intact seal keeps the batch's own name and token even when pages are damaged. With both seals lost the name comes
    from the pages that are left and the recipe is empty: whoever inserts it must look whether (stream, seq) has rows.
    """
    content = content_sha256(each.digest for each in found.records)
    seal = found.sealed
    damaged = seal is None or seal.content_sha256 != content
    links = [link_of(each.page) for each in found.records]
    since_ms = min((each.page.retrieved_at_ms for each in found.records), default=0)
    ends = (links[0], links[-1]) if links else (None, None)
    return _batch(seal or Seal(seq, stream, len(links), {}, content), path, data_bytes, ends, since_ms, damaged=damaged)


def read_pages(path: Path) -> list[Page]:
    """Every readable page of a segment file, in order. SpoolUnreadable when the file cannot be read."""
    return [each.page for each in read(path)[1].records]


def read(path: Path) -> tuple[bytes, Scan]:
    """A whole segment file and what is in it. SpoolUnreadable when the file cannot be read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error
    return data, scan(data)


def retire_segment(path: Path, now_s: float) -> Path:
    """Move a sealed file to ``retired/`` beside it, stamped with ``now_s``; a file already gone stays gone."""
    folder = path.parent / "retired"
    with _Failing(path):
        with suppress(FileNotFoundError):
            os.utime(path, (now_s, now_s))
            path.rename(folder / path.name)
        sync_folder(folder)
        alone_file(path).unlink(missing_ok=True)
        sync_folder(path.parent)
    return folder / path.name


def alone_file(path: Path) -> Path:
    """Where it is written which pages of the sealed file at ``path`` are inserted one by one."""
    return path.with_suffix(".alone")


def write_alone(path: Path, numbers: Sequence[int]) -> None:
    """Decide, for good, that these pages of the sealed file at ``path`` go in one by one. SpoolFull or Transient."""
    target = alone_file(path)
    fresh = target.with_suffix(".alone-new")
    with _Failing(target):
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            _write(handle, " ".join(map(str, numbers)).encode(), 0)
            os.fsync(handle)
        finally:
            os.close(handle)
        fresh.rename(target)
        sync_folder(target.parent)


def read_alone(path: Path) -> list[int] | None:
    """What ``write_alone`` decided; None while it has not."""
    try:
        return [int(number) for number in alone_file(path).read_text().split()]
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise unreadable(alone_file(path), OSError(str(error))) from error


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def unreadable(path: Path, error: OSError) -> SpoolUnreadable:
    """``error`` as the end of the process: the spool cannot be used at ``path``."""
    return SpoolUnreadable(f"The spool cannot be used at {path}: {error.strerror or error}.", f"Look: ls -ld {path}")


class _Failing:
    """What the disk says, in words the daemon acts on: SpoolFull when there is no room, else Transient."""

    __slots__ = ("_path",)

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        """Nothing to set up."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            kind_of_error: type[LedgerdError] = SpoolFull if error.errno in NO_ROOM else Transient
            raise kind_of_error(
                f"The disk refuses to write {self._path}: {error.strerror or error}.",
                f"Look: df -h {self._path.parent}",
            ) from error


def _batch(
    seal: Seal, path: Path, data_bytes: int, ends: tuple[Link | None, Link | None], since_ms: int, *, damaged: bool
) -> Batch:
    first, last = ends
    batch_id = batch_id_of(seal.stream, seal.seq, seal.content_sha256)
    return Batch(
        stream=seal.stream,
        seq=seal.seq,
        batch_id=batch_id,
        token=token_of(batch_id, seal.recipe),
        recipe=dict(seal.recipe),
        pages=seal.pages,
        bytes=data_bytes,
        cursor=first.asked if first else "",
        next_cursor=last.next if last else "",
        oldest_at_ms=since_ms,
        damaged=damaged,
        path=path,
    )


def _append(path: Path, data: bytes, at: int, *, durable: bool) -> None:
    """Write ``data`` at offset ``at``, which must be the file's good length; cut back to it on failure."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(handle).st_size
        if size < at:
            raise unreadable(path, OSError(f"it has {size} bytes where {at} were frozen"))
        if size > at:  # what a failed write left when cutting back failed, too
            os.ftruncate(handle, at)
        try:
            _write(handle, data, at)
            if durable:
                os.fdatasync(handle)
        except OSError:
            with suppress(OSError):  # the next append cuts again, and so does start-up
                os.ftruncate(handle, at)
            raise
    finally:
        os.close(handle)


def _write(handle: int, data: bytes, at: int) -> None:
    """All of ``data`` at ``at``, however many calls the kernel takes for it."""
    view = memoryview(data)
    while view:
        written = os.pwrite(handle, view, at)
        view, at = view[written:], at + written


def _cut(path: Path, at: int) -> None:
    """Cut ``path`` back to ``at`` bytes if the disk lets us; the next append and start-up try again."""
    with suppress(OSError):
        os.truncate(path, at)
