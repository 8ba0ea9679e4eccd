"""A disk that refuses: what failed has not happened, and may be tried again."""

import asyncio
import errno
import os
import random
from contextlib import suppress

import pytest

from ledgerd.errors import SpoolFull, Transient
from ledgerd.spool import segment
from ledgerd.spool.record import encode_page, scan
from tests.clocks import ManualClock
from tests.spools import (
    PAGE_BYTES,
    RECIPE,
    RETAIN_S,
    STREAM,
    failing,
    files,
    filled,
    filled_on,
    numbers,
    page,
    refuse,
    starts,
    state,
)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def root(tmp_path):
    return tmp_path / "spool"


@pytest.fixture
def opened(root, clock):
    """Opens the spool, again and again."""
    with starts(root, clock) as start:
        yield start


class TestDiskRefuses:
    @pytest.mark.parametrize(
        "fault",
        [
            ("pwrite", errno.ENOSPC, SpoolFull),
            ("pwrite", errno.EDQUOT, SpoolFull),
            ("pwrite", errno.EIO, Transient),
            ("fdatasync", errno.EIO, Transient),
            ("fdatasync", errno.ENOSPC, SpoolFull),
            ("open", errno.EROFS, Transient),
        ],
    )
    async def test_a_failed_freeze_leaves_the_segment_as_it_was(self, opened, root, monkeypatch, fault):
        call, number, error = fault
        stream = await filled(opened(), 1, 2)
        before = (root / STREAM / "0000000001.open").read_bytes()
        with monkeypatch.context() as patch:
            failing(patch, call, number)
            with pytest.raises(error, match="refuses") as caught:
                await stream.freeze(page(3))

        assert type(caught.value) is error
        assert (root / STREAM / "0000000001.open").read_bytes() == before
        assert (stream.cursor, stream.open_pages) == ("id-3", 2)
        assert await stream.freeze(page(3))
        assert opened().stream(STREAM).cursor == "id-4"

    async def test_half_a_write_is_taken_back_before_the_next(self, opened, root, monkeypatch):
        stream = await filled(opened(), 1, 2)
        real = os.pwrite

        def half(handle, data, at):
            if len(data) < 50:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(handle, data[: len(data) // 2], at)

        with monkeypatch.context() as patch:
            patch.setattr(segment.os, "pwrite", half)
            failing(patch, "ftruncate", errno.EIO)
            with pytest.raises(SpoolFull):
                await stream.freeze(page(3))
        assert (root / STREAM / "0000000001.open").stat().st_size > 2 * PAGE_BYTES

        assert await stream.freeze(page(3, b"short"))
        assert scan((root / STREAM / "0000000001.open").read_bytes()).bad == []

    async def test_short_writes_are_carried_on(self, opened, monkeypatch):
        real = os.pwrite
        monkeypatch.setattr(segment.os, "pwrite", lambda handle, data, at: real(handle, data[:7], at))

        await filled(opened(), 1, 3)

        assert opened().stream(STREAM).open_pages == 3

    async def test_a_full_disk_takes_retired_files_first(self, opened, root, monkeypatch):
        stream = await filled(opened(), 1, 1)
        await stream.retire(await stream.seal(RECIPE))
        await filled_on(stream, 2, 2)
        failing(monkeypatch, "pwrite", errno.ENOSPC, times=1)

        assert await stream.freeze(page(3))
        assert files(root) == ["river-pc/0000000002.open"]

    @pytest.mark.parametrize("call", ["pwrite", "fdatasync"])
    async def test_a_failed_seal_changes_nothing_and_may_be_repeated(self, opened, root, monkeypatch, call):
        stream = await filled(opened(), 1, 2)
        with monkeypatch.context() as patch:
            failing(patch, call, errno.ENOSPC)
            with pytest.raises(SpoolFull):
                await stream.seal(RECIPE)

        assert (root / STREAM / "0000000001.open").stat().st_size == 2 * PAGE_BYTES
        await filled_on(stream, 3, 3)
        assert (await stream.seal(RECIPE)).pages == 3

    async def test_a_failed_rename_takes_the_seal_back(self, opened, root, monkeypatch):
        stream = await filled(opened(), 1, 2)
        with monkeypatch.context() as patch:
            patch.setattr("pathlib.Path.rename", refuse)
            with pytest.raises(Transient, match="refuses"):
                await stream.seal(RECIPE)

        assert files(root) == ["river-pc/0000000001.open"]
        await filled_on(stream, 3, 3)
        assert numbers(await stream.pages(await stream.seal(RECIPE))) == [1, 2, 3]

    async def test_a_failed_retire_may_be_repeated(self, opened, monkeypatch):
        stream = await filled(opened(), 1, 1)
        batch = await stream.seal(RECIPE)
        with monkeypatch.context() as patch:
            failing(patch, "fsync", errno.EIO)
            with pytest.raises(Transient):
                await stream.retire(batch)
        assert stream.sealed() == [batch]

        await stream.retire(batch)

        assert (stream.sealed(), opened().stream(STREAM).cursor) == ([], "id-2")

    def test_a_start_on_a_full_disk_needs_no_room(self, opened, root, monkeypatch):
        spool = opened()
        asyncio.run(filled(spool, 1, 1))
        path = root / STREAM / "0000000001.open"
        path.write_bytes(path.read_bytes() + b"torn")
        monkeypatch.setattr("pathlib.Path.write_bytes", refuse)

        assert opened().stream(STREAM).open_bytes == PAGE_BYTES


class Walk:
    """Everything that can happen to a stream, in an order drawn by ``chance``; ``left`` are the pages carried away."""

    def __init__(self, chance, start, root, monkeypatch):
        self.chance = chance
        self.start = lambda: start(bytes_max=12_000)
        self.folder = root / STREAM
        self.monkeypatch = monkeypatch
        self.stream = self.start().stream(STREAM)
        self.asked = 1
        self.left = []

    async def freeze(self):
        with suppress(Transient):
            self.asked += await self.stream.freeze(page(self.asked, self.chance.randbytes(self.chance.randint(0, 300))))

    async def freeze_again(self):
        if self.stream.is_frozen(f"id-{self.asked - 1}"):
            assert await self.stream.freeze(page(self.asked - 1)) is False

    async def seal(self):
        with suppress(Transient):
            await self.stream.seal({"transform": self.chance.choice("ab")})

    async def carry(self):
        for batch in self.stream.sealed()[:1]:
            self.left.extend(numbers(await self.stream.pages(batch)))
            await self.stream.retire(batch)

    async def restart(self):
        before = state(self.stream)
        self.stream = self.start().stream(STREAM)
        assert state(self.stream) == before

    async def tear(self):
        for path in self.folder.glob("*.open"):
            path.write_bytes(path.read_bytes() + encode_page(page(self.asked))[: self.chance.randint(1, 200)])
        self.stream = self.start().stream(STREAM)

    async def fail(self):
        with self.monkeypatch.context() as patch:
            failing(patch, self.chance.choice(["pwrite", "fdatasync"]), self.chance.choice([errno.EIO, errno.ENOSPC]))
            await self.freeze()
            await self.seal()


class TestAnyOrder:
    @pytest.mark.parametrize("seed", range(12))
    async def test_whatever_happens_every_page_leaves_once_and_in_order(self, opened, root, monkeypatch, clock, seed):
        chance = random.Random(seed)
        walk = Walk(chance, opened, root, monkeypatch)
        steps = [walk.freeze_again, walk.seal, walk.carry, walk.carry, walk.restart, walk.tear, walk.fail]

        for _ in range(150):
            await chance.choice([walk.freeze] * 6 + steps)()
            clock.jump(chance.choice([0, 1, RETAIN_S / 3]))

        spool = opened()
        stream = walk.stream = spool.stream(STREAM)
        assert (stream.cursor or "id-1") == f"id-{walk.asked}"
        assert spool.breaks == []
        await walk.seal()
        while stream.sealed():
            await walk.carry()
        assert walk.left == list(range(1, walk.asked))
