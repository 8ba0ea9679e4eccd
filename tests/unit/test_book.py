"""What a source says of itself: live only when nothing due is missing, and each league as far as it came."""

from types import SimpleNamespace

import pytest

from ledgerd.clock import HOUR_S, rfc3339
from ledgerd.harvest.book import LANES_MAX, HourBook
from ledgerd.spool.writer import Committed
from tests.clocks import ORIGIN_S, ManualClock

EDGE = int(ORIGIN_S)


def book(newest_end_s=None, newest_hours=(), clock=None):
    made = HourBook(
        "exchange-pc",
        "exchange",
        "pc",
        clock or ManualClock(),
        newest_end_s=newest_end_s,
        newest_hours=dict(newest_hours),
    )
    made.well()
    return made


def commit(end_s, newest, skipped=()):
    batch = SimpleNamespace(next_cursor=str(end_s))
    return Committed("exchange-pc", batch, 1, dict.fromkeys(newest, 5), newest, dict(skipped))


@pytest.mark.parametrize(
    ("behind_s", "state"), [(0, "live"), (70 * 60, "live"), (80 * 60, "catching_up"), (2 * HOUR_S - 60, "catching_up")]
)
def test_it_is_live_only_while_the_newest_hour_that_is_due_is_stored(behind_s, state):
    told = book(EDGE - behind_s).status(str(EDGE), 7200, None)

    assert (told.state.value, told.lag_s) == (state, behind_s)


def lanes(made):
    return {lane.league: (lane.stored, lane.rows, lane.newest_hour) for lane in made.lanes()}


def test_each_league_shows_its_own_newest_hour_and_what_was_known_before_the_start():
    made = book(EDGE - 2 * HOUR_S, {"Old": EDGE - 30 * HOUR_S, "Mirage": EDGE - 3 * HOUR_S})
    made.committed(commit(EDGE, {"Mirage": EDGE - HOUR_S}))

    assert lanes(made) == {
        "Mirage": (True, 5, rfc3339(EDGE - HOUR_S)),
        "Old": (True, 0, rfc3339(EDGE - 30 * HOUR_S)),
    }


def test_leagues_nobody_asked_for_are_named_and_counted_until_they_are_stored():
    made = book(EDGE)
    made.committed(commit(EDGE, {}, {"Mine (PL1)": 7}))
    before = lanes(made)
    made.committed(commit(EDGE + HOUR_S, {"Mine (PL1)": EDGE}))

    assert before == {"Mine (PL1)": (False, 7, None)}
    assert lanes(made) == {"Mine (PL1)": (True, 5, rfc3339(EDGE))}


def test_a_flood_of_league_names_is_bounded():
    made = book(EDGE)
    made.committed(commit(EDGE, {}, {f"L{n} (PL{n})": 1 for n in range(10 * LANES_MAX)}))
    made.committed(commit(EDGE, {f"M{n}": EDGE for n in range(10 * LANES_MAX)}))

    assert len(made.lanes()) == LANES_MAX
    assert len(made._skipped) + len(made._newest_s) + len(made._rows) <= 3 * LANES_MAX
    assert len(made._lane_ingested_s) <= LANES_MAX
