"""When an answer is too old, and what becomes of it."""

import doctest
from types import SimpleNamespace

import pytest

from ledgerd.config import Freshness
from ledgerd.ledger import freshness
from ledgerd.ledger.freshness import Verdict, age_s, as_of_s, is_stale, judge, warning

SERVE = SimpleNamespace(max_age_s=3900.0, policy="serve")
REFUSE = SimpleNamespace(max_age_s=3900.0, policy="refuse")


def test_a_price_stands_for_the_end_of_its_hour():
    assert as_of_s(1_760_000_400) == 1_760_004_000


def test_a_price_from_a_clock_ahead_of_ours_is_not_younger_than_now():
    assert age_s(as_of=2000, now_s=1000) == 0


@pytest.mark.parametrize(
    ("age", "rules", "expected"),
    [
        (0, SERVE, Verdict.FRESH),
        (3900, SERVE, Verdict.FRESH),
        (3900.1, SERVE, Verdict.STALE),
        (3900, REFUSE, Verdict.FRESH),
        (3900.1, REFUSE, Verdict.REFUSED),
    ],
)
def test_an_age_up_to_the_limit_is_fresh_and_beyond_it_follows_the_policy(age, rules, expected):
    assert judge(age, rules) is expected


@pytest.mark.parametrize("age", [0, 1, 3899.9, 3900, 3900.1, 1e9])
def test_the_policy_changes_what_becomes_of_a_stale_answer_but_not_what_is_stale(age):
    expected = is_stale(age, SERVE)

    assert is_stale(age, REFUSE) is expected
    assert (judge(age, SERVE) is not Verdict.FRESH) is expected
    assert (judge(age, REFUSE) is not Verdict.FRESH) is expected


def test_what_the_configuration_gives_is_a_limit_as_it_stands():
    currency, items = (Freshness().limit(layer, "convert") for layer in ("currency", "items"))

    assert (judge(3900, currency), judge(3901, currency)) == (Verdict.FRESH, Verdict.STALE)
    assert (judge(600, items), judge(601, items)) == (Verdict.FRESH, Verdict.STALE)
    assert "65 min allowed" in warning(7200, currency)


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(freshness).failed == 0
