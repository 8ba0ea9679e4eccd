"""The tide: the end of a river shows in its pages, and a page that is merely small does not look like it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgerd.harvest.tide import PAGES_SEEN, PROBE_PAGES, SHORT_PAGES, SHORT_SHARE, Tide


def told(sizes):
    tide = Tide()
    return [tide.told(size) for size in sizes]


@pytest.mark.parametrize(
    ("sizes", "ends"),
    [
        ([0], [True]),
        ([0, 0, 0], [True, True, True]),
        ([1], [False]),
        ([3, 3, 3], [False, False, False]),
        ([100, 50, 50], [False, False, True]),
        ([100, 51, 51], [False, False, False]),
        ([100, 10, 90, 10], [False, False, False, False]),
        ([100, 10, 10, 10], [False, False, True, True]),
        ([100, 10, 0], [False, False, True]),
        ([0, 5, 9], [True, False, False]),
    ],
)
def test_the_end_is_an_empty_page_or_two_short_ones_in_a_row(sizes, ends):
    assert told(sizes) == ends


def test_short_is_measured_against_the_ten_pages_before_and_no_others():
    assert told([1_000, *[300] * 10])[-1]
    assert not told([1_000, *[300] * 11])[-1]
    assert not told([1_000, *[900] * 10, 451, 451])[-1]
    assert told([1_000, *[900] * 10, 450, 450])[-1]


@given(st.lists(st.integers(0, 50), max_size=60))
def test_it_ends_where_a_full_reading_of_the_sizes_says_so(sizes):
    def is_short(at):
        before = sizes[max(0, at - PAGES_SEEN) : at]
        return sizes[at] <= SHORT_SHARE * max(before, default=0)

    ends = [
        size == 0 or (at >= SHORT_PAGES - 1 and all(is_short(each) for each in range(at - SHORT_PAGES + 1, at + 1)))
        for at, size in enumerate(sizes)
    ]

    assert told(sizes) == ends


def test_after_a_hundred_pages_alike_one_pause_is_due():
    tide = Tide()
    due = []
    for _ in range(2 * PROBE_PAGES + 2):
        tide.told(40)
        due.append(tide.is_due)

    assert [at for at, is_due in enumerate(due, 1) if is_due] == [PROBE_PAGES, 2 * PROBE_PAGES + 1]


def test_an_end_puts_the_pause_off():
    tide = Tide()
    for _ in range(PROBE_PAGES - 1):
        tide.told(40)
    tide.told(0)
    after = tide.is_due
    for _ in range(PROBE_PAGES - 1):
        tide.told(40)
    before = tide.is_due
    tide.told(40)

    assert (after, before, tide.is_due) == (False, False, True)


def test_after_the_pause_the_end_shows_where_pages_had_come_alike():
    tide = Tide()
    for _ in range(PROBE_PAGES):
        tide.told(40)
    assert tide.is_due

    assert [tide.told(size) for size in (400, 30, 30)] == [False, False, True]
