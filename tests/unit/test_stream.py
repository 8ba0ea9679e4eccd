"""A stream: pages freeze once and in order, are sealed into batches, and leave."""

import asyncio
import os
import stat
from dataclasses import replace

import pytest

from ledgerd.errors import ChainBroken, Refused
from ledgerd.spool import segment
from ledgerd.spool.spool import Page
from tests.clocks import ManualClock
from tests.spools import (
    NOW_MS,
    PAGE_BYTES,
    RECIPE,
    STREAM,
    files,
    filled,
    numbers,
    page,
    starts,
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


class TestFreeze:
    async def test_a_new_stream_has_no_cursor_and_takes_any_first_page(self, opened):
        stream = opened().stream(STREAM)

        assert stream.cursor is None
        assert await stream.freeze(page(41))
        assert stream.cursor == "id-42"
        assert (stream.open_pages, stream.open_bytes, stream.open_since_ms) == (1, PAGE_BYTES + 2, NOW_MS + 41)

    async def test_a_second_read_of_a_frozen_id_is_a_no_op(self, opened):
        stream = await filled(opened(), 1, 3)

        again = [await stream.freeze(replace(page(number), body=b"other")) for number in (1, 2, 3)]

        assert again == [False, False, False]
        assert (stream.open_pages, stream.cursor) == (3, "id-4")
        assert [stream.is_frozen(f"id-{number}") for number in (1, 3, 4)] == [True, True, False]

    async def test_a_page_that_does_not_follow_breaks_the_chain_and_changes_nothing(self, opened):
        stream = await filled(opened(), 1, 2)

        with pytest.raises(ChainBroken, match="asks id-9 where the chain stands at id-3"):
            await stream.freeze(page(9))

        assert (stream.open_pages, stream.cursor) == (2, "id-3")

    @pytest.mark.parametrize("following", ["id-3", "id-1"])
    async def test_a_page_that_leads_back_is_refused_for_it_would_never_end(self, opened, following):
        stream = await filled(opened(), 1, 2)

        with pytest.raises(ChainBroken, match="id-3 leads back to"):
            await stream.freeze(replace(page(3), next=following))

    async def test_a_deliberate_jump_may_go_anywhere_and_is_recorded_as_one(self, opened):
        spool = opened()
        stream = await filled(spool, 1, 3)

        assert await stream.freeze(page(900), resume=True)
        assert await stream.freeze(page(2), resume=True)
        assert await stream.freeze(page(3))

        batch = await stream.seal(RECIPE)
        assert [each.jump for each in await stream.pages(batch)] == [False, False, False, True, True, False]
        assert opened().breaks == []

    async def test_two_tasks_freezing_the_same_page_freeze_it_once(self, opened):
        stream = await filled(opened(), 1, 1)

        done = await asyncio.gather(*(stream.freeze(page(2)) for _ in range(8)))

        assert sorted(done) == [False] * 7 + [True]
        assert stream.open_pages == 2

    async def test_a_cancelled_freeze_leaves_file_and_figures_agreed(self, opened):
        stream = await filled(opened(), 1, 1)
        freezing = asyncio.create_task(stream.freeze(page(2)))
        await asyncio.sleep(0)
        freezing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await freezing

        assert await stream.freeze(page(2)) is False
        assert stream.cursor == "id-3"
        assert (await opened().stream(STREAM).seal(RECIPE)).pages == 2

    async def test_streams_freeze_beside_each_other(self, opened):
        spool = opened()

        await asyncio.gather(*(filled(spool, 1, 5, f"realm-{number}") for number in range(6)))

        assert [each.cursor for each in opened().streams()] == ["id-6"] * 6

    @pytest.mark.parametrize("name", ["", "bad", "../up", "Upper", ".hidden", "a/b", "x" * 200])
    def test_a_name_that_cannot_be_a_folder_is_refused(self, opened, name):
        with pytest.raises(Refused, match="cannot name a stream"):
            opened().stream(name)

    async def test_nobody_else_may_read_what_waits(self, opened, root):
        stream = await filled(opened(), 1, 1)
        await stream.seal(RECIPE)

        modes = {stat.S_IMODE(path.stat().st_mode) for path in (root, *root.rglob("*")) if path.is_dir()}

        assert modes == {0o700}
        assert stat.S_IMODE((root / STREAM / "0000000001.sealed").stat().st_mode) == 0o600


class TestJournal:
    async def test_entries_follow_nothing_and_have_no_cursor(self, opened):
        journal = opened().journal("requests")
        entry = Page("", "", NOW_MS, 0, "identity", b"{}", kind="request")

        assert [await journal.freeze(entry, durable=False) for _ in range(3)] == [True] * 3
        assert (journal.cursor, journal.is_frozen("")) == (None, False)

        batch = await journal.seal({})
        assert [each.body for each in await journal.pages(batch)] == [b"{}"] * 3
        assert opened().breaks == []

    async def test_an_entry_is_not_fsynced_before_its_seal(self, opened, monkeypatch):
        synced = []
        real = os.fdatasync
        monkeypatch.setattr(segment.os, "fdatasync", lambda handle: (synced.append(handle), real(handle)))
        journal = opened().journal("requests")

        await journal.freeze(Page("", "", NOW_MS, 0, "identity", b"{}"), durable=False)
        assert synced == []
        await journal.seal({})
        assert len(synced) == 1

    async def test_figures_of_pages_and_age_leave_journals_out(self, opened):
        spool = opened()
        await spool.journal("requests").freeze(Page("", "", 5, 0, "identity", b"{}"), durable=False)

        figures = spool.figures()

        assert (figures.pages, figures.oldest_age_s) == (0, None)
        assert figures.bytes > 0


class TestSealAndRetire:
    async def test_an_empty_segment_makes_no_batch(self, opened):
        assert await opened().stream(STREAM).seal(RECIPE) is None

    async def test_a_batch_is_what_was_frozen(self, opened, root):
        stream = await filled(opened(), 1, 4)

        batch = await stream.seal(RECIPE)

        assert (batch.stream, batch.seq, batch.pages, batch.damaged) == (STREAM, 1, 4, False)
        assert (batch.cursor, batch.next_cursor, batch.oldest_at_ms) == ("id-1", "id-5", NOW_MS + 1)
        assert batch.recipe == RECIPE
        assert batch.bytes == batch.path.stat().st_size
        assert batch.token.startswith(batch.batch_id + "-")
        assert numbers(await stream.pages(batch)) == [1, 2, 3, 4]
        assert (stream.sealed(), stream.open_pages, stream.cursor) == ([batch], 0, "id-5")
        assert files(root) == ["river-pc/0000000001.sealed"]

    async def test_the_recipe_is_frozen_at_the_seal(self, opened):
        stream = await filled(opened(), 1, 1)
        recipe = {"lanes": ["a"]}
        sealing = asyncio.create_task(stream.seal(recipe))
        await asyncio.sleep(0)
        recipe["lanes"].append("b")

        assert (await sealing).recipe == {"lanes": ["a"]}

    async def test_batches_are_told_apart_by_one_byte_and_by_the_recipe(self, opened):
        spool = opened()
        tokens = set()
        for name, body, recipe in (("a", b"x", RECIPE), ("b", b"y", RECIPE), ("c", b"x", {})):
            stream = spool.stream(name)
            await stream.freeze(page(1, body))
            tokens.add((await stream.seal(recipe)).token.removeprefix(name))

        assert len(tokens) == 3

    async def test_retiring_moves_the_file_and_a_second_time_does_nothing(self, opened, root):
        stream = await filled(opened(), 1, 1)
        batch = await stream.seal(RECIPE)

        await stream.retire(batch)
        await stream.retire(batch)

        assert stream.sealed() == []
        assert files(root) == ["river-pc/retired/0000000001.sealed"]

    async def test_numbers_never_come_twice(self, opened):
        seen = []
        for number in range(1, 5):
            stream = await filled(opened(), number, number)
            batch = await stream.seal(RECIPE)
            seen.append(batch.seq)
            await stream.retire(batch)

        assert seen == [1, 2, 3, 4]
