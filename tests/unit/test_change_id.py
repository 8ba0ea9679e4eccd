"""Change ids: which way they run, and that the search for the live end is short and finds it."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ledgerd.harvest.change_id import SEEK_FROM, SEEK_STEP, SEEK_WITHIN, Seek, runs_back
from ledgerd.harvest.river_page import CHANGE_ID

COUNTER = st.one_of(st.integers(0, 3), st.integers(0, 10**20 - 1))
COUNTERS = st.lists(COUNTER, min_size=1, max_size=10)


def written(counters):
    return "-".join(map(str, counters))


@pytest.mark.parametrize(
    ("asked", "following", "is_back"),
    [
        ("5-5-5", "5-5-6", False),
        ("5-5-5", "9-1-1", False),
        ("5-5-5", "5-5-5", True),
        ("5-5-5", "5-4-5", True),
        ("9-9", "10-1", False),
        ("05-5", "5-5", True),
        ("", "1-1", False),
        ("", "", True),
        ("5-5", "6-6-6", False),
        ("5-5", "7", False),
    ],
)
def test_an_id_runs_back_when_no_counter_of_it_is_larger(asked, following, is_back):
    assert runs_back(asked, following) is is_back


@given(COUNTERS, st.data())
def test_some_counter_larger_is_all_it_takes_and_nothing_less_will_do(before, data):
    after = data.draw(st.lists(COUNTER, min_size=len(before), max_size=len(before)))
    is_larger = False
    for old, new in zip(before, after, strict=True):
        is_larger = is_larger or new > old

    assert runs_back(written(before), written(after)) is not is_larger


@given(COUNTERS, COUNTERS)
def test_two_different_ids_never_both_run_back_unless_they_are_the_same_numbers(one, other):
    both = runs_back(written(one), written(other)) and runs_back(written(other), written(one))

    assert both is (one == other)


class Upstream:
    """A river that ends at ``head``; a page leads ``page`` on, and never beyond the end."""

    def __init__(self, head, page, growth=0):
        self.head = head
        self.page = page
        self.growth = growth
        self.asked = []

    def answer(self, change_id):
        assert CHANGE_ID.fullmatch(change_id)
        numbers = {int(part) for part in change_id.split("-")}
        assert len(numbers) == 1, "it seeks by five equal numbers"
        self.asked.append(change_id)
        self.head += self.growth
        number = numbers.pop()
        if number >= self.head:
            return change_id, True
        return written([min(number + self.page, self.head)] * 5), False


def found(upstream):
    seek = Seek()
    while True:
        following, is_empty = upstream.answer(seek.asking)
        if (head := seek.told(following, is_empty=is_empty)) is not None:
            return int(head.partition("-")[0])
        assert len(upstream.asked) < 45, "the search does not end"


HEADS = st.one_of(st.integers(0, 10**13), st.integers(SEEK_FROM - SEEK_STEP, SEEK_FROM + 30 * SEEK_STEP))


@given(HEADS, st.integers(1, 2_000))
@example(0, 1)
@example(1, 1)
@example(SEEK_WITHIN, 1)
@example(SEEK_FROM, 1_000)
@example(SEEK_FROM + 1, 1_000)
@example(SEEK_FROM + SEEK_STEP, 1_000)
@example(10**13, 2_000)
def test_the_search_is_short_and_ends_close_below_the_live_end(head, page):
    number = found(Upstream(head, page))

    assert head - SEEK_WITHIN <= number <= head


@given(st.integers(0, 10**11), st.integers(0, 20_000))
def test_a_river_that_grows_meanwhile_is_found_no_further_back_than_it_grew(head, growth):
    upstream = Upstream(head, 1_000, growth)
    number = found(upstream)

    assert upstream.head - SEEK_WITHIN - growth * len(upstream.asked) <= number <= upstream.head


def test_today_the_search_takes_a_dozen_requests():
    upstream = Upstream(3_479_175_554, 1_000)
    found(upstream)

    assert len(upstream.asked) <= 13


def test_an_empty_river_is_followed_from_its_beginning():
    upstream = Upstream(0, 1)

    assert found(upstream) == 0
    assert len(upstream.asked) <= 18
