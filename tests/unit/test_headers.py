"""Rate-limit headers: the documented grammar read exactly, anything else dropped and named."""

import random

import pytest

from ledgerd.upstream import headers
from ledgerd.upstream.headers import NOTHING, Limit, State, parse
from tests.bench.throttle import JUNK, NAMES, hostile

SOUND = {
    "X-Rate-Limit-Policy": "stash-request-limit",
    "X-Rate-Limit-Rules": "Account,Ip",
    "X-Rate-Limit-Account": "15:10:60,30:300:300",
    "X-Rate-Limit-Account-State": "4:300:0,1:10:7",
    "X-Rate-Limit-Ip": "2:1:60",
    "X-Rate-Limit-Ip-State": "2:1:0",
    "Retry-After": "61",
}


def test_limits_and_states_are_matched_by_period_whatever_their_order():
    report = parse(SOUND)

    assert report.policy == "stash-request-limit"
    assert report.limits == (Limit("Account", 10, 15, 60), Limit("Account", 300, 30, 300), Limit("Ip", 1, 2, 60))
    assert report.states == (State("Account", 300, 4, 0), State("Account", 10, 1, 7), State("Ip", 1, 2, 0))
    assert (report.retry_after_s, report.is_whole, report.problems) == (61, True, ())


@pytest.mark.parametrize("case", [str.upper, str.lower, str.title, str.swapcase])
def test_names_are_read_in_any_case(case):
    shouted = {case(name): case(value) if name.endswith("Rules") else value for name, value in SOUND.items()}

    assert parse(shouted) == parse(SOUND)
    assert parse(list(shouted.items())) == parse(SOUND)


def test_no_headers_say_nothing_and_are_no_problem():
    assert parse({}) == parse({"Content-Type": "application/json"}) == NOTHING


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"X-Rate-Limit-Policy": ""}, "policy '' is no name"),
        ({"X-Rate-Limit-Policy": "a b"}, "policy 'a b' is no name"),
        ({"X-Rate-Limit-Rules": ""}, "no rules are named"),
        ({"X-Rate-Limit-Rules": "Account,Ip,"}, None),
        ({"X-Rate-Limit-Rules": "Account,Ip,Client"}, "rule Client has no usable limits"),
        ({"X-Rate-Limit-Ip": "-2:1:60"}, "Ip: '-2:1:60' is no hits:period:restriction"),
        ({"X-Rate-Limit-Ip": "0:1:60"}, "Ip: '0:1:60' is no hits:period:restriction"),
        ({"X-Rate-Limit-Ip": "2:1:60:9"}, "Ip: '2:1:60:9' is no hits:period:restriction"),
        ({"X-Rate-Limit-Ip": "٢:1:60"}, r"Ip: '\u0662:1:60' is no hits:period:restriction"),
        ({"X-Rate-Limit-Ip": "2:1:999999"}, "Ip: 999999 s is cut to 86400"),
        ({"X-Rate-Limit-Ip": "2:1:60,9:1:60"}, "Ip: period 1 has two limits"),
        ({"X-Rate-Limit-Ip-State": "2:7:0"}, "Ip-State: '2:7:0' is no current:period:active of a known period"),
        ({"Retry-After": "soon"}, "Retry-After 'soon' is no number of seconds"),
        ({"Retry-After": "9" * 16}, f"Retry-After '{'9' * 16}' is no number of seconds"),
    ],
)
def test_what_cannot_be_used_is_named(changed, problem):
    report = parse(SOUND | changed)

    assert report.problems[:1] == (() if problem is None else (problem,))


def test_of_two_limits_for_a_period_the_stricter_counts_and_of_two_states_the_higher():
    report = parse([*SOUND.items(), ("x-rate-limit-ip", "9:1:600"), ("x-rate-limit-ip-state", "1:1:3")])

    assert report.limits[-1] == Limit("Ip", 1, 2, 600)
    assert report.states[-1] == State("Ip", 1, 2, 3)
    assert not report.is_whole


def test_a_policy_sent_twice_with_two_names_is_none():
    report = parse([*SOUND.items(), ("X-RATE-LIMIT-POLICY", "other")])

    assert report.policy is None
    assert "several policies are named" in report.problems


def test_ten_thousand_hostile_headers_raise_nothing_and_stay_bounded():
    rng = random.Random(1)
    reports = [parse(hostile(rng)) for _ in range(10_000)]
    most = headers.RULES_MAX * headers.ENTRIES_MAX

    assert max(len(report.limits) for report in reports) <= most
    assert max(len(report.states) for report in reports) <= most
    assert max(len(report.problems) for report in reports) == headers.PROBLEMS_MAX
    assert all(len(problem) < 200 and problem.isprintable() for report in reports for problem in report.problems)
    assert all(1 <= limit.hits <= headers.HITS_MAX for report in reports for limit in report.limits)
    assert all(1 <= limit.period_s <= headers.PERIOD_S_MAX for report in reports for limit in report.limits)


def test_thousands_of_lines_and_entries_are_cut():
    lines = [(f"X-Rate-Limit-R{number}", "1:1:1," * 600) for number in range(5000)]
    report = parse(lines)

    assert len(report.limits) == headers.RULES_MAX
    assert report.problems[0] == f"more than {headers.FIELDS_MAX} header lines"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("junk", JUNK)
def test_one_junk_value_leaves_the_other_rules_standing(name, junk):
    report = parse(SOUND | {name: junk})
    spared = {"X-Rate-Limit-Account": "Ip", "X-Rate-Limit-Ip": "Account"}.get(name, "Account")

    assert name == "X-Rate-Limit-Rules" or any(limit.rule == spared for limit in report.limits)
