import re
from dataclasses import replace

import pytest

from ledgerd.errors import ConfigError
from ledgerd.etl.plan import Batch, Step, ordered, parse_step, plan
from ledgerd.etl.runner import load_steps

HEADER = """\
-- step: silver_a
-- version: 2
-- reads: bronze_a, reference_a
-- writes: silver_a
-- watermark: exchange
-- columns: x, y
--
-- Prose: with a colon.
SELECT 1,
    2 -- the second
"""


def step(name, reads, version=1, kind="exchange"):
    return Step(name, version, tuple(reads.split()), name, kind, ("x",), "SELECT 1")


SILVER = step("silver_a", "bronze_a")
NORM = step("silver_b", "silver_a")
GOLD = step("gold_a", "silver_b silver_a")


def batch(seq, source="exchange-pc"):
    return Batch(source, source.partition("-")[2], seq, f"{source}-{seq}", seq * 3600, (seq + 1) * 3600)


def names(tasks):
    return [(task.step.name, task.batch.source, task.batch.seq) for task in tasks]


def test_a_step_is_read_from_its_header():
    expected = Step(
        "silver_a", 2, ("bronze_a", "reference_a"), "silver_a", "exchange", ("x", "y"), "SELECT 1,\n    2 -- the second"
    )

    assert parse_step(HEADER, "silver/10.sql") == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEADER.replace("-- reads: bronze_a, reference_a\n", ""), "silver/10.sql: the header lacks reads"),
        (HEADER.replace("version: 2", "version: two"), "version 'two' is not a whole number from 1"),
        (HEADER.replace("version: 2", "version: 0"), "version '0' is not a whole number from 1"),
        (HEADER.replace("-- columns", "-- python: eval\n-- columns"), "there is no Python function 'eval' for a step"),
        (HEADER.partition("SELECT")[0], "there is no SELECT below the header"),
        ("SELECT 1", "the header lacks step, version, reads, writes, watermark, columns"),
    ],
)
def test_a_broken_header_is_refused_by_file_and_reason(text, said):
    with pytest.raises(ConfigError, match="schema/etl is broken") as caught:
        parse_step(text, "silver/10.sql")

    assert said in str(caught.value)


def test_every_step_we_ship_is_ordered_and_readable():
    expected = ["silver_exchange_ticks", "silver_currency_norm", "silver_currency_price", "gold_currency_snapshot"]

    assert [step.name for step in load_steps()] == expected


@pytest.mark.parametrize("step", load_steps(), ids=lambda step: step.name)
def test_a_step_says_in_its_header_what_it_reads(step):
    named = set(re.findall(r"\b(?:bronze|silver|gold|reference)_\w+", step.sql))

    assert named == set(step.reads)


def test_a_step_stands_behind_what_it_reads_whatever_the_order_given():
    assert [step.name for step in ordered([GOLD, NORM, SILVER])] == ["silver_a", "silver_b", "gold_a"]


def test_a_step_that_reads_what_nobody_writes_is_refused():
    with pytest.raises(ConfigError, match="step silver_b reads silver_a, which no step writes"):
        ordered([NORM])


def test_steps_that_read_each_other_are_refused():
    with pytest.raises(ConfigError, match="in a ring: silver_a, silver_b"):
        ordered([step("silver_a", "silver_b"), NORM])


def test_a_step_that_reads_itself_is_refused():
    with pytest.raises(ConfigError, match="in a ring: gold_a"):
        ordered([step("gold_a", "gold_a")])


@pytest.mark.parametrize("twin", [replace(SILVER, writes="silver_z"), replace(SILVER, name="silver_z")])
def test_two_steps_of_one_name_or_table_are_refused(twin):
    with pytest.raises(ConfigError, match="silver_a belongs to two steps"):
        ordered([SILVER, twin])


def test_a_new_version_reaches_every_step_that_rests_on_it():
    expected = {"silver_a": 5, "silver_b": 6, "gold_a": 7}

    assert {step.name: step.version for step in ordered([replace(SILVER, version=5), NORM, GOLD])} == expected


def test_the_token_names_step_version_and_batch():
    (task, *_) = plan(ordered([SILVER]), [batch(4)], {})

    assert task.token == "silver_a@1:exchange-pc-4"


def test_the_oldest_batch_goes_through_all_steps_before_the_next():
    tasks = plan(ordered([SILVER, NORM, GOLD]), [batch(1), batch(0)], {})

    expected = [(name, "exchange-pc", seq) for seq in (0, 1) for name in ("silver_a", "silver_b", "gold_a")]

    assert names(tasks) == expected


def test_one_source_with_years_of_history_does_not_hold_up_another():
    backlog = [batch(seq) for seq in range(100)]

    tasks = plan(ordered([SILVER]), [*backlog, batch(7, "exchange-poe2")], {}, tasks_max=3)

    assert names(tasks) == [
        ("silver_a", "exchange-pc", 0),
        ("silver_a", "exchange-poe2", 7),
        ("silver_a", "exchange-pc", 1),
    ]


def test_what_is_done_is_not_planned_again():
    done = {("silver_a", "exchange-pc"): 1, ("silver_b", "exchange-pc"): 0}

    tasks = plan(ordered([SILVER, NORM, GOLD]), [batch(0), batch(1)], done)

    expected = [("gold_a", "exchange-pc", 0), ("silver_b", "exchange-pc", 1), ("gold_a", "exchange-pc", 1)]

    assert names(tasks) == expected


def test_no_step_runs_ahead_of_the_one_it_reads_from():
    steps = ordered([SILVER, NORM, GOLD])
    done = {("silver_a", "exchange-pc"): 3, ("silver_b", "exchange-pc"): 9, ("gold_a", "exchange-pc"): 1}
    above = {"silver_b": ["silver_a"], "gold_a": ["silver_b", "silver_a"], "silver_a": []}
    marks = dict(done)

    for task in plan(steps, [batch(seq) for seq in range(12)], done, tasks_max=1000):
        marks[task.step.name, "exchange-pc"] = task.batch.seq
        for parent in above[task.step.name]:
            assert marks.get((parent, "exchange-pc"), -1) >= task.batch.seq


def test_a_step_is_not_run_on_sources_of_another_kind():
    assert plan(ordered([SILVER]), [batch(0, "river-pc")], {}) == []


def test_a_number_missing_between_batches_is_passed_over():
    assert names(plan(ordered([SILVER]), [batch(0), batch(5)], {})) == [
        ("silver_a", "exchange-pc", 0),
        ("silver_a", "exchange-pc", 5),
    ]


def test_a_plan_is_never_longer_than_allowed():
    assert len(plan(ordered([SILVER, NORM, GOLD]), [batch(seq) for seq in range(50)], {}, tasks_max=7)) == 7
