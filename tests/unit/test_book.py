"""What a source says of itself: live only when nothing due is missing, and each league as far as it came."""

import weakref
from types import SimpleNamespace

import pytest

from ledgerd.clock import HOUR_S, rfc3339
from ledgerd.errors import SpoolFull, UpstreamUnavailable
from ledgerd.harvest.book import LANES_MAX, RATE_WINDOW_S, HourBook
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


def test_whoever_listens_is_told_when_it_begins_fails_otherwise_or_ceases_to_fail_and_at_no_other_time():
    made = book(EDGE)
    told = []
    made.on_turn = lambda: told.append(made.status(str(EDGE), 7200, None).state.value)
    reset, full = UpstreamUnavailable("reset"), SpoolFull("no room")
    made.well()
    for error in (reset, UpstreamUnavailable("timeout"), full, full, reset):
        made.failed(error)
    made.well()
    made.well()

    assert told == ["degraded", "waiting", "degraded", "live"]
    assert (made.status(str(EDGE), 7200, None).errors, made.status(str(EDGE), 7200, None).last_error) == (5, "reset")


def test_an_error_that_is_over_is_not_kept_alive_with_the_body_it_is_about():
    made = book(EDGE)
    error = UpstreamUnavailable("reset")
    alive = weakref.ref(error)
    made.failed(error)
    del error

    assert alive() is None


def test_what_upstream_demanded_is_shown_until_it_answers_again():
    made = book(EDGE)
    made.told_to_wait(120.0)
    waiting = made.status(str(EDGE), 7200, None).retry_after_s
    made.well()

    assert (waiting, made.status(str(EDGE), 7200, None).retry_after_s) == (120.0, None)


def test_the_rate_counts_the_requests_of_the_last_five_minutes():
    clock = ManualClock()
    made = book(EDGE, clock=clock)
    for _ in range(30):
        made.asked()
        clock.jump(20)

    assert made.status(str(EDGE), 7200, None).avg_req_per_sec == round(14 / RATE_WINDOW_S, 4)


def test_a_refusal_outweighs_all_else_and_says_why():
    made = book(EDGE - 30 * HOUR_S)
    made.failed(UpstreamUnavailable("reset"))
    told = made.status(str(EDGE), 7200, "refused 3 times in a row")

    assert (told.state.value, told.last_error) == ("refused", "refused 3 times in a row")
