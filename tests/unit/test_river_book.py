"""What a river says of itself: a lag only while everything up to an end it met is stored."""

from types import SimpleNamespace

import pytest

from ledgerd.clock import UPSTREAM_DELAY_S as DELAY_S
from ledgerd.clock import rfc3339
from ledgerd.harvest.river_book import ENDS_MAX, LIVE_WITHIN_S, RiverBook
from ledgerd.spool.writer import Committed
from ledgerd.status import SourceState
from tests.clocks import ORIGIN_S, ManualClock


class River:
    """A book and the spool it counts."""

    def __init__(self):
        self.clock = ManualClock()
        self.waiting = 0
        self.book = RiverBook("river-pc", "river", "pc", self.clock, waiting=lambda: self.waiting)
        self.book.well()

    def freeze(self, pages=1):
        self.waiting += pages

    def commit(self, pages, by_league=()):
        """As the writer does: tell, then retire."""
        self.tell(pages, by_league)
        self.waiting -= pages

    def tell(self, pages, by_league=()):
        batch = SimpleNamespace(next_cursor="5-5", pages=pages)
        self.book.committed(Committed("river-pc", batch, 1, dict(by_league)))

    def end(self):
        self.book.ended(self.clock.now())

    @property
    def told(self):
        return self.book.status("5-5", 7200, None)

    @property
    def lag_s(self):
        return self.told.lag_s


@pytest.fixture
def river():
    return River()


def test_before_an_end_was_met_there_is_no_lag_and_it_catches_up(river):
    river.freeze()
    river.commit(1)

    assert (river.lag_s, river.told.pages_behind, river.told.state) == (None, None, SourceState.CATCHING_UP)


def test_at_the_end_with_nothing_waiting_it_is_live_and_as_late_as_upstream(river):
    river.end()

    assert (river.lag_s, river.told.pages_behind, river.told.state) == (DELAY_S, 0, SourceState.LIVE)


def test_the_lag_grows_from_the_end_that_was_met_until_it_is_no_longer_known(river):
    river.end()
    river.clock.jump(12.34)
    soon = river.lag_s
    river.clock.jump(LIVE_WITHIN_S - 12.34)
    last = river.lag_s
    river.clock.jump(1)

    assert (soon, last) == (DELAY_S + 12.3, DELAY_S + LIVE_WITHIN_S)
    assert (river.lag_s, river.told.pages_behind, river.told.state) == (None, None, SourceState.CATCHING_UP)


def test_an_end_counts_only_once_every_page_before_it_is_committed(river):
    river.freeze(3)
    river.end()
    river.freeze(1)
    waiting = river.lag_s
    river.commit(2)
    some = river.lag_s
    river.clock.jump(20)
    river.commit(2)

    assert (waiting, some, river.lag_s) == (None, None, DELAY_S + 20)


def test_of_several_ends_the_last_one_that_is_covered_counts(river):
    for _ in range(3):
        river.freeze()
        river.end()
        river.clock.jump(10)
    river.commit(2)

    assert river.lag_s == DELAY_S + 20
    assert river.told.pages_behind == 1


def test_pages_an_earlier_run_left_are_waited_for_too(river):
    river.waiting = 5
    river.end()
    before = river.lag_s
    river.commit(5)

    assert (before, river.lag_s) == (None, DELAY_S)


def test_an_end_met_between_a_commit_and_its_retirement_does_not_hold_up_those_after_it(river):
    river.freeze(100)
    river.tell(100)
    river.end()
    doubled = river.lag_s
    river.waiting -= 100
    river.clock.jump(5)
    river.end()

    assert (doubled, river.lag_s) == (None, DELAY_S)


def test_pages_that_were_committed_before_the_start_and_only_retire_hold_up_nothing(river):
    river.waiting = 7
    river.end()
    river.waiting = 0
    river.clock.jump(5)
    river.end()

    assert river.lag_s == DELAY_S


def test_ends_that_wait_for_a_commit_are_bounded_and_the_newest_are_kept(river):
    river.freeze()
    for _ in range(ENDS_MAX + 10):
        river.end()
        river.clock.jump(5)
    bound = len(river.book._met)
    river.commit(1)

    assert bound == ENDS_MAX
    assert river.lag_s == DELAY_S + 5


def test_meeting_the_end_is_progress_even_where_nobody_lists_anything(river):
    river.clock.jump(7_000)
    river.end()
    river.clock.jump(7_000)
    quiet = river.told
    river.clock.jump(201)

    assert (quiet.state, quiet.stalled_since) == (SourceState.CATCHING_UP, None)
    assert (river.told.state, river.told.stalled_since) == (SourceState.STALLED, rfc3339(ORIGIN_S + 7_000))


def test_each_league_has_its_rows_and_when_the_last_came_but_no_hour(river):
    river.freeze(2)
    river.commit(1, {"Mirage": 5, "Standard": 2})
    river.clock.jump(60)
    river.commit(1, {"Mirage": 7})
    lanes = {lane.league: (lane.rows, lane.newest_hour, lane.last_ingest_time) for lane in river.book.lanes()}

    assert lanes == {"Mirage": (12, None, rfc3339(ORIGIN_S + 60)), "Standard": (2, None, rfc3339(ORIGIN_S))}
