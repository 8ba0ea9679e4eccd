"""The spool as a whole: its room, its owner, its figures, and what a killed process leaves."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from ledgerd.errors import SpoolFull, SpoolUnreadable, StoreLocked
from tests.clocks import ManualClock
from tests.spools import (
    PAGE_BYTES,
    RECIPE,
    RETAIN_S,
    STREAM,
    files,
    filled,
    filled_on,
    page,
    refuse,
    repairs,
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


@pytest.fixture
def said(caplog):
    """The repairs told so far."""
    return lambda: repairs(caplog)


class TestUnreadable:
    def test_a_file_in_the_folders_place_stops_the_start(self, opened, root):
        root.write_text("in the way")

        with pytest.raises(SpoolUnreadable, match="cannot be used at"):
            opened()

    def test_a_folder_nobody_may_read_stops_the_start(self, opened, monkeypatch):
        opened().stream(STREAM)
        monkeypatch.setattr("ledgerd.spool.spool.recover", refuse)

        with pytest.raises(SpoolUnreadable, match="Permission denied"):
            opened()

    async def test_a_second_process_is_refused(self, opened, root):
        opened()

        code = (
            "from ledgerd.spool.spool import Spool; from ledgerd.clock import SystemClock; from pathlib import Path;"
            f"Spool(Path({str(root)!r}), bytes_max=1, retain_s=1, clock=SystemClock()).open()"
        )
        other = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", code], capture_output=True, text=True)

        assert StoreLocked.__name__ in other.stderr


class TestFull:
    async def test_no_room_refuses_the_page_and_holds_what_was_there(self, opened):
        spool = opened(bytes_max=4 * PAGE_BYTES)
        stream = await filled(spool, 1, 2)

        with pytest.raises(SpoolFull, match="no room"):
            await stream.freeze(page(3, b"y" * 2 * PAGE_BYTES))

        assert (spool.figures().state, spool.figures().bytes) == ("full", 2 * PAGE_BYTES)
        assert (stream.cursor, stream.open_pages) == ("id-3", 2)

    async def test_room_comes_back_with_retiring(self, opened):
        spool = opened(bytes_max=4 * PAGE_BYTES)
        stream = await filled(spool, 1, 2)
        with pytest.raises(SpoolFull):
            await stream.freeze(page(3, b"y" * 4 * PAGE_BYTES))

        await stream.retire(await stream.seal(RECIPE))

        assert await stream.freeze(page(3))
        assert spool.figures().state == "ok"

    async def test_it_is_full_until_the_page_that_was_refused_would_fit(self, opened):
        spool = opened(bytes_max=10 * PAGE_BYTES)
        stream, small = await filled(spool, 1, 4), await filled(spool, 1, 1, "requests")
        big = page(5, b"y" * 8 * PAGE_BYTES)
        with pytest.raises(SpoolFull):
            await stream.freeze(big)
        await small.retire(await small.seal({}))
        still = spool.figures().state
        await stream.retire(await stream.seal({}))

        assert (still, spool.figures().state) == ("full", "ok")
        assert await stream.freeze(big)

    async def test_a_page_that_can_never_fit_says_what_to_raise(self, opened):
        stream = opened(bytes_max=4 * PAGE_BYTES).stream(STREAM)

        with pytest.raises(SpoolFull, match=r"never fit .* Raise spool\.bytes_max"):
            await stream.freeze(page(1, b"y" * 5 * PAGE_BYTES))

    async def test_a_full_spool_can_still_be_sealed(self, opened):
        stream = await filled(opened(bytes_max=3 * PAGE_BYTES + 500), 1, 2)
        with pytest.raises(SpoolFull):
            await stream.freeze(page(3, b"y" * 1000))

        assert (await stream.seal({"lanes": ["x" * 2000]})).pages == 2

    async def test_streams_freezing_at_once_do_not_share_the_last_room(self, opened):
        spool = opened(bytes_max=3 * (PAGE_BYTES + 500))
        streams = [spool.stream(f"realm-{number}") for number in range(8)]

        done = await asyncio.gather(*(each.freeze(page(1)) for each in streams), return_exceptions=True)

        assert {type(each) for each in done} == {bool, SpoolFull}
        assert spool.figures().bytes <= 3 * (PAGE_BYTES + 500)

    async def test_figures_say_what_waits_and_for_how_long(self, opened, clock):
        spool = opened(bytes_max=10_000)
        stream = await filled(spool, 1, 2)
        await stream.seal(RECIPE)
        await filled_on(stream, 3, 3)
        clock.jump(60)

        figures = spool.figures()

        assert (figures.pages, figures.bytes, figures.bytes_max) == (3, stream.waiting_bytes, 10_000)
        assert figures.oldest_age_s == pytest.approx(59.999)
        assert (figures.state, figures.retired_bytes) == ("ok", 0)

    async def test_more_than_half_is_a_backlog(self, opened):
        spool = opened(bytes_max=PAGE_BYTES * 3 + 1000)
        await filled(spool, 1, 1)
        assert spool.figures().state == "ok"
        await spool.stream(STREAM).freeze(page(2, b"y" * (PAGE_BYTES + 500)))

        assert spool.figures().state == "backlogged"


class TestRetired:
    async def test_they_go_when_their_time_is_over_but_the_newest_holds_the_cursor(self, opened, root, clock):
        stream = opened().stream(STREAM)
        for number in range(1, 4):
            await filled_on(stream, number, number)
            await stream.retire(await stream.seal(RECIPE))
        clock.jump(RETAIN_S + 1)
        await filled_on(stream, 4, 4)

        assert files(root) == ["river-pc/0000000004.open", "river-pc/retired/0000000003.sealed"]
        await filled_on(stream, 5, 5)
        assert files(root) == ["river-pc/0000000004.open"]
        assert opened().stream(STREAM).cursor == "id-6"

    async def test_their_age_outlives_a_restart(self, opened, root, clock):
        stream = await filled(opened(), 1, 1)
        await stream.retire(await stream.seal(RECIPE))
        await filled_on(stream, 2, 2)
        clock.jump(RETAIN_S - 1)
        stream = opened().stream(STREAM)
        await filled_on(stream, 3, 3)
        assert len(files(root)) == 2

        clock.jump(2)
        await filled_on(stream, 4, 4)

        assert files(root) == ["river-pc/0000000002.open"]

    async def test_they_never_stand_in_the_way_of_a_page(self, opened):
        spool = opened(bytes_max=8_000)
        stream = spool.stream(STREAM)

        for number in range(1, 60):
            await filled_on(stream, number, number)
            if number % 3 == 0:
                await stream.retire(await stream.seal(RECIPE))
            figures = spool.figures()
            assert figures.bytes + figures.retired_bytes < 8_000 + 2_000

    async def test_one_that_cannot_be_deleted_is_tried_again(self, opened, clock, monkeypatch, root):
        stream = await filled(opened(), 1, 1)
        await stream.retire(await stream.seal(RECIPE))
        await filled_on(stream, 2, 2)
        clock.jump(RETAIN_S + 1)
        with monkeypatch.context() as patch:
            patch.setattr("pathlib.Path.unlink", refuse)
            await filled_on(stream, 3, 3)
        assert len(files(root)) == 2

        await filled_on(stream, 4, 4)

        assert len(files(root)) == 1


KILLED = """
    import asyncio, sys
    from pathlib import Path
    from ledgerd.clock import SystemClock
    from ledgerd.spool.spool import Page, Spool

    async def main():
        spool = Spool(Path(sys.argv[1]), bytes_max=1 << 20, retain_s=60, clock=SystemClock())
        spool.open()
        stream = spool.stream("river-pc")
        journal = spool.journal("requests")
        for number in range(1, 5):
            await journal.freeze(Page("", "", number, 0, "identity", b"{}"), durable=False)
            await stream.freeze(Page(f"id-{number}", f"id-{number + 1}", number, 200, "gzip", b"z" * 100))
        await journal.seal({})
        await stream.seal({"transform": "stash-3"})
        raise SystemExit("still alive")

    asyncio.run(main())
"""


async def killed_at(failpoint, root):
    """Run a process that freezes four pages and seals them, until it dies at ``failpoint``."""
    died = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", textwrap.dedent(KILLED), str(root)],
        env={**os.environ, "LEDGERD_FAILPOINT": failpoint},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert died.returncode == -signal.SIGKILL, died.stderr


@pytest.mark.timeout(150)
class TestKilled:
    async def test_in_the_middle_of_a_page_it_is_cut_off_and_fetched_again(self, opened, root, said):
        await killed_at("page_half_written:3", root)
        assert (root / STREAM / "0000000001.open").stat().st_size > 2 * (PAGE_BYTES - 20)

        spool = opened()

        stream = spool.stream(STREAM)
        assert (stream.open_pages, stream.cursor, spool.breaks) == (2, "id-3", [])
        assert [each["kept_pages"] for each in said()] == [2]
        assert await stream.freeze(page(3))

    async def test_in_the_first_page_of_a_segment_nothing_is_left_of_it(self, opened, root):
        await killed_at("page_half_written", root)

        stream = opened().stream(STREAM)

        assert (stream.cursor, stream.open_bytes, await stream.seal(RECIPE)) == (None, 0, None)
        assert await stream.freeze(page(1))

    async def test_after_a_page_was_frozen_it_is_there(self, opened, root, said):
        await killed_at("page_frozen:3", root)

        spool = opened()

        stream = spool.stream(STREAM)
        assert (stream.open_pages, stream.cursor, spool.breaks, said()) == (3, "id-4", [], [])
        assert spool.journal("requests").open_pages == 3
        assert await stream.freeze(page(3)) is False

    async def test_after_a_batch_was_sealed_it_is_the_same_batch_at_each_start(self, opened, root):
        await killed_at("batch_sealed", root)

        first = opened().stream(STREAM).sealed()
        second = opened().stream(STREAM).sealed()

        assert first == second
        assert [(each.pages, each.damaged, each.recipe) for each in first] == [(4, False, {"transform": "stash-3"})]
        assert opened().stream(STREAM).cursor == "id-5"
