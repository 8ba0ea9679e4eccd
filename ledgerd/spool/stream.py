"""One stream of the spool: freeze its pages in chain order, seal them into batches, retire those."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import orjson

from ledgerd.clock import Clock
from ledgerd.errors import ChainBroken, SpoolFull
from ledgerd.failpoint import failpoint
from ledgerd.spool import segment
from ledgerd.spool.record import JSON, Link, Page, encode_recipe, page_bytes_most
from ledgerd.spool.recover import Recovered
from ledgerd.spool.room import Room, Spare
from ledgerd.spool.segment import Batch, OpenSegment

FROZEN_REMEMBERED_MAX = 10_000

Done = TypeVar("Done")


class Stream:
    """A chain of pages, or a journal of entries that follow nothing. Made by `Spool.stream` and `Spool.journal`.

    One lock orders freeze, seal and retire, so that any task may call any of them. A cancelled call runs to its end all
    the same: file and figures never disagree.
    """

    def __init__(self, folder: Path, found: Recovered, room: Room, clock: Clock) -> None:
        """``found``: what `recover` read in ``folder``, whose name is the stream's."""
        self.name = folder.name
        self.chained = True
        self._folder = folder
        self._room = room
        self._clock = clock
        self._lock = asyncio.Lock()
        self._open = found.open
        self._sealed = {batch.path: batch for batch in found.sealed}
        self._last_seq = found.last_seq
        self._newest_retired = found.retired[-1] if found.retired else None
        self._cursor: str | None = None
        self._frozen: OrderedDict[str, None] = OrderedDict()
        self._jump_next = False
        for link in found.links:
            if link is not None:
                self._remember(link)
        for path in found.retired:
            status = path.stat()
            room.add(Spare(status.st_mtime, path, status.st_size, self.holds_cursor))

    @property
    def cursor(self) -> str | None:
        """What to ask next: the ``next`` of the last frozen page; None when nothing is known, and for a journal."""
        return self._cursor if self.chained else None

    @property
    def open_pages(self) -> int:
        """Pages frozen and not yet sealed."""
        return len(self._open.digests) if self._open else 0

    @property
    def open_bytes(self) -> int:
        """Size of the open segment."""
        return self._open.size if self._open else 0

    @property
    def open_since_ms(self) -> int | None:
        """When the oldest page of the open segment was received; None without one."""
        return self._open.since_ms if self._open else None

    @property
    def waiting_bytes(self) -> int:
        """Size of all that is not retired."""
        return self.open_bytes + sum(batch.bytes for batch in self._sealed.values())

    @property
    def waiting_pages(self) -> int:
        """Pages that are not retired."""
        return self.open_pages + sum(batch.pages for batch in self._sealed.values())

    @property
    def oldest_at_ms(self) -> int | None:
        """When the oldest page that is not retired was received; None without one."""
        times_ms = [batch.oldest_at_ms for batch in self._sealed.values() if batch.oldest_at_ms]
        if self.open_since_ms is not None:
            times_ms.append(self.open_since_ms)
        return min(times_ms, default=None)

    def is_frozen(self, asked: str) -> bool:
        """True if the page that answers ``asked`` is among the last frozen ones of this chain."""
        return self.chained and asked in self._frozen

    def holds_cursor(self, path: Path) -> bool:
        """True if the retired segment at ``path`` is the only place on disk where this stream's cursor stands."""
        return path == self._newest_retired and not self.waiting_pages

    def fall_back(self, seq: int, cursor: str) -> bool:
        """Go on after batch ``seq`` at ``cursor``, the database's newest checkpoint: for when the spool is lost.

        To be called before the first freeze. Numbers continue above ``seq`` in any case. The cursor is taken, and True
        returned, only when the stream has no pages of its own, or only retired ones older than that batch (a folder
        restored from a backup).
        """
        is_ahead = seq > self._last_seq
        self._last_seq = max(self._last_seq, seq)
        if self._cursor is not None and (self.waiting_pages or not is_ahead):
            return False
        self._cursor, self._jump_next = cursor, True
        self._frozen.clear()
        return True

    async def freeze(self, page: Page, *, durable: bool = True, resume: bool = False) -> bool:
        """Append ``page``: True when it is on disk, False when its ``asked`` was frozen before and nothing is written.

        ``resume``: a page that does not ask the cursor is a deliberate jump, and recorded as one. ``durable=False``
        skips the fsync. ChainBroken when the page does not follow, or names a cursor already asked (its own, say);
        SpoolFull or Transient when the disk refuses, and then the segment is as before. Refused for a page no record
        can hold.
        """
        return await asyncio.shield(self._freeze(page, durable=durable, resume=resume))

    async def seal(self, recipe: Mapping[str, JSON]) -> Batch | None:
        """Make the open segment an immutable batch that is on disk, ``recipe`` with it; None when it holds no page.

        ``recipe``: all that the batch's rows depend on besides its pages. SpoolFull or Transient: nothing has changed.
        """
        return await asyncio.shield(self._seal(orjson.loads(encode_recipe(recipe))))

    def sealed(self) -> list[Batch]:
        """Batches that are not retired, oldest first."""
        return list(self._sealed.values())

    async def pages(self, batch: Batch) -> list[Page]:
        """The pages of ``batch`` whose checksums hold: all ``batch.pages`` of them unless the disk damaged some.

        SpoolUnreadable when the file is gone or cannot be read.
        """
        return await asyncio.to_thread(segment.read_pages, batch.path)

    async def alone(self, batch: Batch) -> list[int] | None:
        """The pages of ``batch`` that go in one by one; None while it is to be inserted whole."""
        return await asyncio.to_thread(segment.read_alone, batch.path)

    async def set_alone(self, batch: Batch, numbers: Sequence[int]) -> None:
        """From now on, after a restart too, insert these pages of ``batch`` one by one and no others of it."""
        await asyncio.shield(asyncio.to_thread(segment.write_alone, batch.path, numbers))

    async def retire(self, batch: Batch) -> None:
        """Let go of ``batch``: its rows are committed. A second call does nothing. Transient when the disk refuses."""
        await asyncio.shield(self._retire(batch))

    async def _freeze(self, page: Page, *, durable: bool, resume: bool) -> bool:
        async with self._lock:
            placed = self._placed(page, resume=resume)
            if placed is None:
                return False
            target = self._open or self._next_segment()
            async with self._room.hold(self.name, page_bytes_most(placed)):
                length, digest = await self._pressing(
                    lambda: segment.append_page(target, placed, durable=durable),
                )
                target.add(placed, length, digest)
                self._open, self._last_seq = target, max(self._last_seq, target.seq)
            self._remember(segment.link_of(placed))
            self._jump_next = False
            return True

    async def _seal(self, recipe: dict[str, JSON]) -> Batch | None:
        async with self._lock:
            target = self._open
            if target is None or not target.digests:
                return None
            batch = await self._pressing(lambda: segment.seal_segment(target, self.name, recipe))
            self._sealed[batch.path] = batch
            self._open = None
            if self.chained:
                failpoint("batch_sealed")
            return batch

    async def _retire(self, batch: Batch) -> None:
        async with self._lock:
            if batch.path not in self._sealed:
                return
            now_s = self._clock.now()
            path = await asyncio.to_thread(segment.retire_segment, batch.path, now_s)
            del self._sealed[batch.path]
            self._newest_retired = max(self._newest_retired or path, path)
            self._room.add(Spare(now_s, path, batch.bytes, self.holds_cursor))
        await self._room.prune()

    async def _pressing(self, work: Callable[[], Done]) -> Done:
        """Do the disk ``work`` in a thread; when the disk has no room, give up every spare file and try once more."""
        try:
            return await asyncio.to_thread(work)
        except SpoolFull:
            if not await self._room.prune(everything=True):
                raise
        return await asyncio.to_thread(work)

    def _next_segment(self) -> OpenSegment:
        seq = self._last_seq + 1
        return OpenSegment(self._folder / f"{seq:010d}.open", seq)

    def _placed(self, page: Page, *, resume: bool) -> Page | None:
        """``page`` as it is to be recorded, None when it is frozen already; ChainBroken when it has no place."""
        if not self.chained:
            return replace(page, jump=True)
        follows = self._cursor is None or page.asked == self._cursor
        if not follows and not resume:
            if page.asked in self._frozen:
                return None
            raise ChainBroken(
                f"{self.name}: a page asks {page.asked} where the chain stands at {self._cursor}.",
                "Look: ledgerd status",
            )
        jump = self._jump_next or not follows
        if page.next == page.asked or (page.next in self._frozen and not jump):
            raise ChainBroken(f"{self.name}: {page.asked} leads back to {page.next}.", "Look: ledgerd status")
        return replace(page, jump=jump)

    def _remember(self, link: Link) -> None:
        """Move the cursor past ``link``; after a jump, ids frozen before may be asked again."""
        if link.jump:
            self._frozen.clear()
        self._cursor = link.next
        self._frozen[link.asked] = None
        if len(self._frozen) > FROZEN_REMEMBERED_MAX:
            self._frozen.popitem(last=False)
