"""The budget: exact against servers that count by brute force, and never a shorter wait for odd headers."""

import json
import math

import pytest

from ledgerd.upstream.budget import BACKOFF_FIRST_S, KEEP_S, SPENT_MAX, Budget
from ledgerd.upstream.headers import NOTHING, parse
from tests.bench import throttle as bench
from tests.ratelimits import SHAPES

NOW_S = 1_000_000.0


def said(limits, state="", **more):
    headers = {"X-Rate-Limit-Policy": "p", "X-Rate-Limit-Rules": "Ip", "X-Rate-Limit-Ip": limits}
    return parse(headers | ({"X-Rate-Limit-Ip-State": state} if state else {}) | more)


def ask(budget, now_s, report=NOTHING, *, status=200, delay_s=0.1, jitter=0.0):
    """One request sent at ``now_s`` and answered; returns when the next may go."""
    ticket = budget.sent(now_s)
    budget.answered(ticket, now_s + delay_s, status=status, report=report, jitter=jitter)
    return budget.earliest(now_s + delay_s)


def told(limits="2:10:60", state=""):
    budget = Budget("p")
    ask(budget, NOW_S, said(limits, state))
    return budget


@pytest.mark.parametrize("first", range(0, 200, 50))
def test_random_schedules_never_overrun_what_answers_foretold(first):
    found = bench.overruns(range(first, first + 50))

    assert found["requests"] > 2_000
    assert found["overruns"] == 0
    assert found["surprises in quiet schedules"] == 0


def test_throughput_is_that_of_the_best_client_there_can_be():
    assert bench.throughput(range(30)) >= 0.95
    assert bench.throughput_of("2:1:60", range(3)) >= 0.75


@pytest.mark.parametrize("shape", SHAPES[1:])
def test_limits_seen_in_the_wild_are_used_up_to_the_padding(shape):
    assert bench.throughput_of(shape, range(1)) >= 0.95


def test_the_recorded_trace_is_followed_no_earlier_than_its_headers_allow_and_done_no_later():
    trace = bench.recorded()
    if trace is None:
        pytest.skip("the recording is not here")
    for records in trace.values():
        won_s, refused = bench.replay(records, is_bucketed=False)

        assert bench.follow(records) == 0
        assert (won_s >= 0, refused) == (True, 0)


def test_hostile_headers_never_shorten_a_wait():
    assert bench.endure(2_000) == 0


def test_before_limits_are_known_one_request_at_a_time():
    budget = Budget()
    ticket = budget.sent(NOW_S)

    assert budget.earliest(NOW_S + 5) == math.inf
    budget.answered(ticket, NOW_S + 6, status=200, report=NOTHING, jitter=0)
    assert budget.earliest(NOW_S + 6) == NOW_S + 6
    budget.sent(NOW_S + 6)
    assert budget.earliest(NOW_S + 7) == math.inf


@pytest.mark.parametrize(("limits", "hold_s"), [("1:1:9", 1.02), ("1:5:9", 5.02), ("1:10:9", 15), ("1:300:9", 360)])
def test_a_request_is_held_from_its_answer_for_its_period_and_a_bucket(limits, hold_s):
    assert told(limits).earliest(NOW_S) == pytest.approx(NOW_S + 0.1 + hold_s)


def test_the_strictest_of_all_windows_decides():
    budget = told("3:10:60,4:300:300")
    for _ in range(3):
        ask(budget, budget.earliest(NOW_S + 0.1))

    assert budget.earliest(NOW_S + 20) == pytest.approx(NOW_S + 360.1)


def test_what_others_spent_holds_the_window_until_it_can_have_expired():
    budget = told("5:10:60", "4:10:0")
    after_s = ask(budget, NOW_S + 1, said("5:10:60", "5:10:0"))

    assert after_s >= NOW_S + 11


def test_a_request_under_way_hangs_on_its_answer_and_a_lost_one_on_its_end():
    budget = told("2:10:60")
    ticket = budget.sent(NOW_S + 1)

    assert budget.earliest(NOW_S + 1) == pytest.approx(NOW_S + 15.1)
    second = budget.sent(NOW_S + 15.1)
    assert budget.earliest(NOW_S + 20) == math.inf
    budget.lost(ticket, NOW_S + 30)
    budget.lost(second, NOW_S + 30)
    assert budget.earliest(NOW_S + 30) == pytest.approx(NOW_S + 45)


def test_last_known_limits_hold_when_headers_vanish():
    budget = told("2:10:60")

    assert ask(budget, NOW_S + 1, NOTHING) == pytest.approx(NOW_S + 15.1)


def test_a_new_shape_replaces_the_old_one_but_not_the_wait_in_force():
    budget = told("1:10:60")

    assert ask(budget, NOW_S + 15.1, said("20:60:60")) == pytest.approx(NOW_S + 30.2)
    assert ask(budget, NOW_S + 30.2, said("20:60:60")) == pytest.approx(NOW_S + 30.3)


def test_limits_with_problems_only_tighten():
    budget = told("2:10:60,9:60:60")
    ask(budget, NOW_S + 1, said("50:10:60,junk"))
    limits = {row.period_s: row.remaining for row in budget.remaining(NOW_S + 1.1)}

    assert limits == {10: 0, 60: 7}


def test_after_a_429_the_longest_of_its_waits_counts():
    waits = {"Retry-After": "30"}
    cases = [
        (said("2:10:60", "3:10:200", **waits), NOW_S + 200),
        (said("2:10:60", "3:10:5", **waits), NOW_S + 30),
        (said("2:10:60", "3:10:5", **{"Retry-After": "0"}), NOW_S + BACKOFF_FIRST_S),
        (said("2:10:60", "3:10:0"), NOW_S + 60),
        (NOTHING, NOW_S + 60),
    ]

    for report, silent_until_s in cases:
        assert ask(told(), NOW_S, report, status=429, delay_s=0) >= silent_until_s


def test_repeated_429s_double_the_back_off_and_an_answer_resets_it():
    budget, now_s, waits = Budget("p"), NOW_S, []
    for status in (429, 429, 429, 200, 429):
        after_s = ask(budget, now_s, status=status, delay_s=0, jitter=0.5)
        waits.append(after_s - now_s)
        now_s = after_s

    assert waits == pytest.approx([13.5, 26, 51, 0, 13.5])


def test_silence_names_the_limits_that_caused_it():
    budget = told("2:10:60,5:60:120")
    ticket = budget.sent(NOW_S + 1)
    report = said("2:10:60,5:60:120", "3:10:60,3:60:0")
    silence = budget.answered(ticket, NOW_S + 1, status=429, report=report, jitter=0)

    assert (silence.rule, silence.reason) == ("Ip 2:10:60", "restriction")
    assert [row.remaining for row in budget.remaining(NOW_S + 2)] == [0, 0]
    assert {row.restricted_until_s for row in budget.remaining(NOW_S + 2)} == {silence.until_s}


def test_a_restriction_others_brought_about_is_kept():
    assert ask(told(), NOW_S + 1, said("2:10:60", "2:10:44")) >= NOW_S + 45


def test_limits_requests_and_silence_survive_a_restart():
    budget = told("2:10:60", "2:10:0")
    ask(budget, NOW_S + 16, said("2:10:60", "1:10:0"))
    again = Budget.from_json(json.loads(json.dumps(budget.to_json())), NOW_S + 17)

    assert again.to_json() == budget.to_json()
    assert again.earliest(NOW_S + 17) == budget.earliest(NOW_S + 17)


def test_a_request_under_way_when_killed_counts_as_answered_at_the_restart():
    budget = told("1:10:60")
    budget.sent(NOW_S + 20)
    again = Budget.from_json(budget.to_json(), NOW_S + 50)

    assert again.earliest(NOW_S + 50) == NOW_S + 65


@pytest.mark.parametrize("spoil", ["policy", "own", "windows", "wait_until_s", "strikes"])
@pytest.mark.parametrize("value", [None, "x", -1.5, [[]], {}, [[1, 2]], float("nan")])
def test_what_no_budget_wrote_is_refused(spoil, value):
    data = told().to_json() | {spoil: value}
    if (spoil, value) in (("policy", "x"), ("wait_until_s", -1.5)):
        return
    with pytest.raises(ValueError, match="no "):
        Budget.from_json(data, NOW_S)


def test_a_ledger_stays_bounded_and_never_forgets_too_early():
    budget = told("1400:86400:60")
    for number in range(1, 1_400):
        ask(budget, NOW_S + number)
    hits = sum(spent.hits for spent in budget._own)

    assert len(budget._own) <= SPENT_MAX
    assert hits == 1_400
    assert budget.earliest(NOW_S + 1_400) >= NOW_S + 86_400


def test_requests_are_forgotten_when_no_window_can_count_them():
    budget = Budget()
    for number in range(10):
        ask(budget, NOW_S + number)
    ask(budget, NOW_S + KEEP_S + 20)

    assert len(budget._own) == 1
