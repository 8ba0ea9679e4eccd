"""What the etl commands print while they work and when they are done."""

import io

import pytest

from ledgerd.errors import UsageError
from ledgerd.refine import Progress, _time
from ledgerd.terminal import steps, steps_at_length


def told(step, league, **facts):
    usual = {"source": "river-pc", "state": "ok", "watermark": 9, "behind": 0, "behind_s": 0.0,
             "done_until": "2026-11-22T17:00:00Z", "took_s": 0.1, "last_error": None}  # fmt: skip
    return {"step": step, "league": league, **usual, **facts}


def test_leagues_that_are_equally_far_share_a_line_and_one_that_fails_has_its_own():
    rows = [told("silver_a", league) for league in "ABC"]
    rows += [told("silver_a", "D", state="failing", behind=4, last_error="no memory")]
    rows += [told("silver_t", None, source="exchange-pc"), *(told("gold_a", league) for league in "AB")]

    assert steps(rows).splitlines() == [
        "step      source       league     state    watermark  behind  last error",
        "silver_a  river-pc     3 leagues  ok       9          0",
        "silver_a  river-pc     D          failing  9          4       no memory",
        "silver_t  exchange-pc             ok       9          0",
        "gold_a    river-pc     A, B       ok       9          0",
    ]


def test_the_long_list_says_of_when_the_data_are_and_what_they_took():
    rows = [told("silver_a", "A"), told("silver_a", "B", behind_s=None, done_until=None, took_s=None, behind=2)]

    assert steps_at_length(rows).splitlines() == [
        "step      source    league  state  watermark  behind  behind by  done until            took s  last error",
        "silver_a  river-pc  A       ok     9          0       0.0        2026-11-22T17:00:00Z  0.1",
        "silver_a  river-pc  B       ok     9          2",
    ]


def test_progress_says_how_many_are_done_how_fast_and_what_time_that_leaves(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("ledgerd.refine.time.monotonic", lambda: now[0])
    progress = Progress(began_s=0.0, said_s=0.0)
    progress.at(1200)
    first = progress.line()
    now[0] = 4.0
    progress.at(1000)

    assert first == "1,200 batches to refine"
    assert progress.line() == "200 of 1,200 batches, 50.0 a second, 0:00:20 left"


def test_where_nobody_watches_a_terminal_progress_is_a_line_now_and_then(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr("ledgerd.refine.time.monotonic", lambda: now[0])
    monkeypatch.setattr("ledgerd.refine.sys.stderr", io.StringIO())
    progress = Progress(began_s=0.0, said_s=0.0)
    for now[0] in (1.0, 11.0, 12.0):
        progress.at(100 - int(now[0]))

    from ledgerd import refine

    assert refine.sys.stderr.getvalue() == "10 of 99 batches, 0.9 a second, 0:01:38 left\n"


@pytest.mark.parametrize("text", ["yesterday", "oldest", "2026-10-01T00:00:00", ""])
def test_what_is_no_time_is_refused_with_what_is(text):
    with pytest.raises(UsageError, match=r"is no time\. Give a time with its zone"):
        _time(text)


def test_a_time_is_unix_seconds():
    assert _time("2025-10-01T00:00:00Z") == 1_759_276_800


def test_a_time_to_come_is_refused():
    with pytest.raises(UsageError, match=r"'2999-01-01T00:00:00Z' is still to come\. Give a time"):
        _time("2999-01-01T00:00:00Z")
