"""Start-up: what was frozen comes back, and damage costs no more than what it touched."""

import os
import shutil

import pytest

from ledgerd.errors import SpoolUnreadable
from ledgerd.spool import segment
from ledgerd.spool.record import Seal, encode_page, encode_seal, scan
from ledgerd.spool.spool import Spool
from tests.clocks import ManualClock
from tests.spools import (
    NOW_MS,
    PAGE_BYTES,
    RECIPE,
    RETAIN_S,
    STREAM,
    files,
    filled,
    filled_on,
    flip,
    numbers,
    page,
    repairs,
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


@pytest.fixture
def said(caplog):
    """The repairs told so far."""
    return lambda: repairs(caplog)


class TestRestart:
    async def test_every_state_comes_back_equal(self, opened):
        stream = await filled(opened(), 1, 2)
        await stream.retire(await stream.seal(RECIPE))
        for first, last in ((3, 3), (4, 6), (7, 8)):
            await filled_on(stream, first, last)
            if last != 8:
                await stream.seal(RECIPE)
        before = state(stream)

        spool = opened()

        assert state(spool.stream(STREAM)) == before
        assert (spool.breaks, spool.figures().pages) == ([], 6)

    async def test_the_cursor_outlives_the_retiring_of_every_page(self, opened):
        stream = await filled(opened(), 1, 3)
        await stream.retire(await stream.seal(RECIPE))

        again = opened().stream(STREAM)

        assert (again.cursor, again.is_frozen("id-3"), again.sealed()) == ("id-4", True, [])
        assert await again.freeze(page(4))

    async def test_a_segment_goes_on_after_a_restart_as_if_none_had_been(self, opened, tmp_path, clock):
        stream = await filled(opened(), 1, 2)
        stream = await filled(opened(), 3, 3)
        other = Spool(tmp_path / "other", bytes_max=1 << 20, retain_s=1, clock=clock)
        other.open()

        batch = await stream.seal(RECIPE)
        unbroken = await (await filled(other, 1, 3)).seal(RECIPE)

        assert (batch.batch_id, batch.token) == (unbroken.batch_id, unbroken.token)

    async def test_a_whole_seal_is_final_even_when_the_rename_was_lost(self, opened, root):
        stream = await filled(opened(), 1, 2)
        batch = await stream.seal(RECIPE)
        batch.path.rename(batch.path.with_suffix(".open"))

        assert opened().stream(STREAM).sealed() == [batch]
        assert files(root) == ["river-pc/0000000001.sealed"]

    async def test_a_torn_seal_is_no_seal(self, opened, root):
        stream = await filled(opened(), 1, 2)
        batch = await stream.seal(RECIPE)
        path = batch.path.rename(batch.path.with_suffix(".open"))
        path.write_bytes(path.read_bytes()[: 2 * PAGE_BYTES + 30])

        stream = opened().stream(STREAM)

        assert (stream.open_pages, stream.open_bytes, stream.sealed()) == (2, 2 * PAGE_BYTES, [])
        assert (await stream.seal(RECIPE)).token == batch.token

    def test_files_of_other_names_are_left_alone(self, opened, root):
        opened().stream(STREAM)
        (root / STREAM / "notes.txt").write_text("mine")
        (root / "lost+found").mkdir()

        assert [each.name for each in opened().streams()] == [STREAM]
        assert (root / STREAM / "notes.txt").read_text() == "mine"


class TestLostSpool:
    async def test_the_checkpoint_gives_number_and_cursor(self, opened, root):
        stream = await filled(opened(), 1, 1)
        await stream.retire(await stream.seal(RECIPE))
        shutil.rmtree(root)

        stream = opened().stream(STREAM)

        assert stream.fall_back(77, "id-500")
        assert stream.cursor == "id-500"
        await stream.freeze(page(500))
        assert (await stream.seal(RECIPE)).seq == 78

    async def test_pages_of_its_own_know_better_than_the_checkpoint(self, opened):
        stream = await filled(opened(), 1, 2)

        assert not stream.fall_back(0, "id-1")
        assert not stream.fall_back(77, "id-500")
        assert stream.cursor == "id-3"

    async def test_numbers_continue_above_the_checkpoint_even_then(self, opened):
        stream = await filled(opened(), 1, 1)
        stream.fall_back(77, "id-500")
        await stream.seal(RECIPE)
        await stream.freeze(page(2))

        assert (await stream.seal(RECIPE)).seq == 78

    async def test_the_checkpoint_of_the_last_retired_batch_changes_nothing(self, opened):
        stream = await filled(opened(), 1, 2)
        batch = await stream.seal(RECIPE)
        await stream.retire(batch)

        assert not opened().stream(STREAM).fall_back(batch.seq, batch.next_cursor)

    async def test_a_folder_from_a_backup_gives_way_and_is_no_gap(self, opened):
        stream = await filled(opened(), 1, 2)
        await stream.retire(await stream.seal(RECIPE))
        stream = opened().stream(STREAM)

        assert stream.fall_back(9, "id-70")
        assert await stream.freeze(page(70))

        spool = opened()
        assert (spool.breaks, spool.stream(STREAM).cursor) == ([], "id-71")


class TestDamage:
    async def test_an_open_file_without_a_page_is_taken_away(self, opened, root):
        opened().stream(STREAM)
        (root / STREAM / "0000000008.open").write_bytes(b"")

        stream = opened().stream(STREAM)

        assert files(root) == []
        stream.fall_back(77, "id-5")
        await stream.freeze(page(5))
        assert (await stream.seal(RECIPE)).seq == 78

    async def test_a_torn_tail_is_kept_aside_told_and_cut_off(self, opened, root, said):
        stream = await filled(opened(), 1, 2)
        path = root / STREAM / "0000000001.open"
        torn = encode_page(page(3))[:90]
        path.write_bytes(path.read_bytes() + torn)

        spool = opened()
        stream = spool.stream(STREAM)

        copies = list((root / "bad").iterdir())
        assert [each.name for each in copies] == [f"river-pc-0000000001-{2 * PAGE_BYTES}-{NOW_MS}.bin"]
        assert copies[0].read_bytes() == torn
        assert said() == [{"subject": STREAM, "kept_pages": 2, "bad_bytes": 90, "path": str(root / "bad")}]
        assert (path.stat().st_size, stream.cursor, spool.breaks) == (2 * PAGE_BYTES, "id-3", [])
        assert await stream.freeze(page(3))

    async def test_copies_of_bad_bytes_go_with_the_retired(self, opened, root, clock):
        await filled(opened(), 1, 1)
        path = root / STREAM / "0000000001.open"
        path.write_bytes(path.read_bytes() + b"torn")
        stream = opened().stream(STREAM)
        assert len(list((root / "bad").iterdir())) == 1
        clock.jump(RETAIN_S + 1)

        await filled_on(stream, 2, 2)

        assert list((root / "bad").iterdir()) == []

    async def test_a_flipped_byte_in_the_open_segment_costs_its_page_and_is_a_gap(self, opened, root, said):
        await filled(opened(), 1, 3)
        flip(root / STREAM / "0000000001.open", PAGE_BYTES + 60)

        for _ in range(2):
            spool = opened()
            assert spool.breaks == [(STREAM, "id-2", "id-3")]

        stream = spool.stream(STREAM)
        assert (stream.open_pages, stream.cursor, len(said())) == (2, "id-4", 1)
        await stream.freeze(page(4))
        batch = await stream.seal(RECIPE)
        assert numbers(await stream.pages(batch)) == [1, 3, 4]
        assert (batch.damaged, batch.pages) == (False, 3)
        assert opened().stream(STREAM).sealed() == [batch]

    async def test_a_flipped_last_page_is_fetched_again(self, opened, root):
        await filled(opened(), 1, 3)
        flip(root / STREAM / "0000000001.open", 2 * PAGE_BYTES + 60)

        spool = opened()

        assert (spool.stream(STREAM).cursor, spool.breaks) == ("id-3", [])
        assert await spool.stream(STREAM).freeze(page(3))

    @pytest.mark.parametrize("at", [5, 60, PAGE_BYTES + 60, 2 * PAGE_BYTES + 90])
    async def test_a_flipped_byte_in_a_sealed_page_keeps_the_batch_its_name(self, opened, said, at):
        stream = await filled(opened(), 1, 3)
        batch = await stream.seal(RECIPE)
        flip(batch.path, at)

        opened()
        stream = opened().stream(STREAM)

        (found,) = stream.sealed()
        assert (found.batch_id, found.token, found.recipe, found.pages) == (
            batch.batch_id, batch.token, batch.recipe, 3,
        )  # fmt: skip
        assert found.damaged
        assert len(await stream.pages(found)) == 2
        assert len(said()) == 1

    @pytest.mark.parametrize("copy", [0, 1])
    async def test_one_damaged_seal_of_two_takes_nothing_away(self, opened, copy):
        stream = await filled(opened(), 1, 2)
        batch = await stream.seal(RECIPE)
        seal_bytes = (batch.bytes - 2 * PAGE_BYTES) // 2
        flip(batch.path, 2 * PAGE_BYTES + copy * seal_bytes + 40)

        assert opened().stream(STREAM).sealed() == [batch]

    async def test_with_both_seals_lost_the_pages_stay_and_the_name_of_the_content_too(self, opened):
        stream = await filled(opened(), 1, 2)
        batch = await stream.seal(RECIPE)
        os.truncate(batch.path, 2 * PAGE_BYTES + 10)

        (found,) = opened().stream(STREAM).sealed()

        assert (found.batch_id, found.damaged, found.recipe) == (batch.batch_id, True, {})
        assert found.token != batch.token

    async def test_a_sealed_file_of_noise_is_an_empty_damaged_batch(self, opened, root):
        opened().stream(STREAM)
        (root / STREAM / "0000000004.sealed").write_bytes(b"noise" * 100)

        stream = opened().stream(STREAM)

        (found,) = stream.sealed()
        assert (found.pages, found.damaged, found.seq, found.cursor) == (0, True, 4, "")
        assert await stream.pages(found) == []
        await stream.retire(found)
        assert stream.cursor is None

    async def test_a_lost_batch_in_the_middle_is_a_gap(self, opened):
        stream = await filled(opened(), 1, 2)
        await stream.seal(RECIPE)
        await filled_on(stream, 3, 4)
        lost = await stream.seal(RECIPE)
        await filled_on(stream, 5, 5)
        lost.path.unlink()

        assert opened().breaks == [(STREAM, "id-3", "id-5")]

    async def test_a_gap_between_retired_and_waiting_pages_is_seen(self, opened):
        stream = await filled(opened(), 1, 2)
        await stream.retire(await stream.seal(RECIPE))
        await filled_on(stream, 3, 3)
        lost = await stream.seal(RECIPE)
        await filled_on(stream, 4, 4)
        lost.path.unlink()

        assert opened().breaks == [(STREAM, "id-3", "id-4")]

    async def test_a_retired_segment_put_back_for_replay_is_no_gap(self, opened, root):
        stream = opened().stream(STREAM)
        for number in range(1, 6):
            await filled_on(stream, number, number)
            await stream.retire(await stream.seal(RECIPE))
        name = "0000000003.sealed"
        (root / STREAM / "retired" / name).rename(root / STREAM / name)

        spool = opened()

        stream = spool.stream(STREAM)
        assert (spool.breaks, stream.cursor, [each.seq for each in stream.sealed()]) == ([], "id-6", [3])

    async def test_two_open_segments_lose_no_page(self, opened, root):
        await filled(opened(), 1, 2)
        (root / STREAM / "0000000002.open").write_bytes(encode_page(page(3)))

        stream = opened().stream(STREAM)

        assert ([each.pages for each in stream.sealed()], stream.open_pages, stream.cursor) == ([2], 1, "id-4")

    async def test_a_copied_file_hides_no_other(self, opened, root):
        stream = await filled(opened(), 1, 2)
        batch = await stream.seal(RECIPE)
        shutil.copy(batch.path, batch.path.with_name("0000000009.sealed"))

        again = opened().stream(STREAM)

        assert [each.token for each in again.sealed()] == [batch.token] * 2
        assert again._last_seq == 9

    async def test_pages_read_while_damaged_after_the_start_are_only_those_that_hold(self, opened):
        stream = await filled(opened(), 1, 3)
        batch = await stream.seal(RECIPE)
        flip(batch.path, 60)

        assert numbers(await stream.pages(batch)) == [2, 3]

    async def test_a_vanished_file_stops_the_process(self, opened):
        stream = await filled(opened(), 1, 1)
        batch = await stream.seal(RECIPE)
        batch.path.unlink()

        with pytest.raises(SpoolUnreadable, match="No such file"):
            await stream.pages(batch)

    async def test_an_open_segment_cut_short_by_others_is_not_written_on(self, opened, root):
        stream = await filled(opened(), 1, 2)
        os.truncate(root / STREAM / "0000000001.open", 10)

        with pytest.raises(SpoolUnreadable, match="it has 10 bytes"):
            await stream.freeze(page(3))

    async def test_a_seal_of_another_name_keeps_that_name(self, opened, root):
        opened().stream(STREAM)
        data = encode_page(page(1))
        content = segment.content_sha256([scan(data).records[0].digest])
        seal = encode_seal(Seal(55, "river-sony", 1, {}, content))
        (root / STREAM / "0000000001.sealed").write_bytes(data + seal)

        (found,) = opened().stream(STREAM).sealed()

        assert found.batch_id.startswith("river-sony-0000000055-")
