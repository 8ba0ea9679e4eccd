import re
from dataclasses import replace

import pytest

from ledgerd.errors import ConfigError
from ledgerd.etl.plan import ROOTS, Batch, Queue, Step, Task, ordered, parse_step
from ledgerd.etl.plan import plan as plan_of
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


def batch(seq, source="exchange-pc", at_s=0.0, before_s=None):
    hours = (seq * 3600, (seq + 1) * 3600)
    return Batch(source, source.partition("-")[2], seq, f"{source}-{seq}", *hours, at_s, before_s)


def plan(steps, batches, done=None, leagues=("",), **options):
    """What is planned where every source has one queue."""
    sources = sorted({batch.source for batch in batches})
    queues = [
        Queue(source, leagues, sorted((each for each in batches if each.source == source), key=lambda each: each.seq))
        for source in sources
    ]
    return plan_of(steps, queues, {(*key, ""): seq for key, seq in (done or {}).items()}, **options)


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
        (HEADER.replace("-- columns", "-- python: eval\n-- columns"), "python is 'eval'; it can be normalise"),
        (HEADER.replace("-- columns", "-- keeps: no\n-- columns"), "keeps is 'no'; it can be yes"),
        (HEADER.replace("-- columns", "-- every: day\n-- columns"), "every is 'day'; it can be interval or hour"),
        (HEADER.replace("exchange", "ocean"), "watermark is 'ocean'; it can be exchange or river"),
        (HEADER.replace("-- columns", "-- kepes: yes\n-- columns"), "the header has kepes, which means nothing"),
        (
            HEADER.replace("-- columns", "-- uses: rates, rtaes\n-- columns"),
            "it uses rates, rtaes, and schema/etl/parts has",
        ),
        (HEADER.partition("SELECT")[0], "there is no SELECT below the comment"),
        ("SELECT 1", "the header lacks step, version, reads, writes, watermark, columns"),
    ],
)
def test_a_broken_header_is_refused_by_file_and_reason(text, said):
    with pytest.raises(ConfigError, match="schema/etl is broken") as caught:
        parse_step(text, "silver/10.sql")

    assert said in str(caught.value)


def test_parts_stand_before_the_select_as_one_with():
    parts = {"a": "-- What it is.\nSELECT 1 AS x", "b": "-- Prose.\n-- More of it.\nSELECT x FROM a"}
    plain = HEADER.replace("-- columns", "-- uses: a, b\n-- columns")
    headed = plain.replace("SELECT 1,", "WITH 7 AS y\nSELECT 1,")
    together = "WITH a AS\n(\nSELECT 1 AS x\n),\nb AS\n(\nSELECT x FROM a\n)"

    assert parse_step(plain, "", parts).sql == f"{together}\nSELECT 1,\n    2 -- the second"
    assert parse_step(headed, "", parts).sql == f"{together},\n7 AS y\nSELECT 1,\n    2 -- the second"


def test_what_runs_now_and_then_keeps_for_it_sees_what_is_so_now():
    header = HEADER.replace("-- columns", "-- recalls: silver_c\n-- every: hour\n-- columns")

    step = parse_step(header, "")

    assert (step.every, step.keeps, step.recalls) == ("hour", True, ("silver_c",))


def test_of_every_step_we_ship_the_exchange_comes_first_and_the_state_behind_what_compares_with_it():
    names = [step.name for step in load_steps()]
    expected = ["silver_exchange_ticks", "silver_currency_norm", "silver_currency_price", "gold_currency_snapshot"]
    river = ["silver_listing_events", "silver_listings", "silver_item_keys", "silver_canonical_stashes"]

    assert [name for name in names if name in expected] == expected
    assert [name for name in names if name in river] == river
    assert [name for name in names if name.startswith("gold_")] == names[
        -sum(name.startswith("gold_") for name in names) :
    ]


@pytest.mark.parametrize("step", load_steps(), ids=lambda step: step.name)
def test_a_step_says_in_its_header_what_it_reads(step):
    named = set(re.findall(r"\b(?:bronze|silver|gold|reference)_\w+", step.sql))
    refined = {table for table in named if not table.startswith(ROOTS)}
    said = {*step.reads, *step.recalls}

    assert {table for table in said if not table.startswith(ROOTS)} == refined - ({step.writes} - said)
    assert said <= named


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


def test_what_another_kind_writes_gives_a_step_neither_place_nor_version():
    river = step("silver_r", "silver_a", version=3, kind="river")
    shared = replace(step("silver_s", "silver_r", kind="river"), writes="silver_b")

    placed = ordered([shared, river, SILVER, replace(NORM, version=4)])

    assert [(one.name, one.version) for one in placed] == [
        ("silver_r", 3),
        ("silver_s", 4),
        ("silver_a", 1),
        ("silver_b", 5),
    ]


def test_what_keeps_takes_no_version_from_above_and_hands_none_on():
    keeper = replace(NORM, keeps=True, version=3)

    assert [one.version for one in ordered([replace(SILVER, version=5), keeper, GOLD])] == [5, 3, 6]


def test_what_is_recalled_gives_no_place_but_has_to_be_written():
    looks_back = replace(SILVER, recalls=("gold_a",))

    assert [one.name for one in ordered([looks_back, NORM, GOLD])] == ["silver_a", "silver_b", "gold_a"]
    with pytest.raises(ConfigError, match="step silver_a recalls gold_a, which no step writes"):
        ordered([looks_back])


def test_the_token_names_step_version_and_batch():
    (task, *_) = plan(ordered([SILVER]), [batch(4)], {})

    assert task.token == "silver_a@1:exchange-pc-4"
    assert replace(task, leagues=("A", "B"), era=2).token == "silver_a@1:exchange-pc-4:A|B:2"


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


RIVER = [
    step("silver_r", "bronze_r", kind="river"),
    replace(step("gold_r", "silver_r", kind="river"), every="interval"),
]


def river(seq, at_s, before_s=None):
    return batch(seq, "river-pc", at_s, before_s)


@pytest.mark.parametrize(
    ("every", "at_s", "before_s", "expected"),
    [
        ("interval", 599.0, 300.0, None),
        ("interval", 600.0, 599.9, (300.0, 600.0)),
        ("interval", 1900.0, 599.0, (300.0, 1800.0)),
        ("interval", 610.0, None, (300.0, 600.0)),
        ("interval", 100.0, 700.0, None),
        ("hour", 7199.0, 3600.0, None),
        ("hour", 7200.5, 3600.0, (3600.0, 7200.0)),
    ],
)
def test_a_step_runs_now_and_then_on_the_first_batch_of_a_new_interval(every, at_s, before_s, expected):
    task = Task(replace(RIVER[1], every=every), river(3, at_s, before_s), interval_s=300.0)

    assert (task.window_s if task.is_due else None) == expected


def test_what_is_not_due_is_passed_over_and_counts_for_nothing():
    batches = [river(0, 10.0), river(1, 20.0, 10.0), river(2, 301.0, 20.0), river(3, 302.0, 301.0)]

    tasks = plan(RIVER, batches, leagues=("A", "B"), tasks_max=5)

    assert [(task.step.name, task.batch.seq, task.is_due) for task in tasks] == [
        ("silver_r", 0, True),
        ("gold_r", 0, True),
        ("silver_r", 1, True),
        ("gold_r", 1, False),
        ("silver_r", 2, True),
        ("gold_r", 2, True),
    ]
    assert {task.leagues for task in tasks} == {("A", "B")}


def test_only_the_lanes_that_have_not_done_a_batch_are_asked_to():
    done = {("silver_r", "river-pc", "A"): 4}

    tasks = plan_of(RIVER[:1], [Queue("river-pc", ("A", "B"), [river(4, 0.0), river(5, 0.0)])], done)

    assert [(task.batch.seq, task.leagues) for task in tasks] == [(4, ("B",)), (5, ("A", "B"))]


def turns(exchange, rivers, **more):
    queues = [Queue("exchange-pc", ("",), exchange, **more)] if exchange is not None else []
    return [
        (t.batch.kind, t.batch.seq)
        for t in plan_of([SILVER, RIVER[0]], [*queues, Queue("river-pc", ("A",), rivers)], {})
    ]


def test_a_river_waits_for_what_its_exchange_was_given_five_minutes_before():
    exchange = [batch(0, at_s=1000.0), batch(1, at_s=2000.0)]
    rivers = [river(0, 1299.9), river(1, 1300.0), river(2, 2300.0)]

    found = turns(exchange, rivers)

    assert found.index(("river", 1)) > found.index(("exchange", 0))
    assert found.index(("river", 2)) > found.index(("exchange", 1))
    assert len(found) == 5


def test_a_river_does_not_pass_an_exchange_whose_end_is_not_in_sight():
    assert turns([batch(0, at_s=1000.0)], [river(0, 1299.0), river(1, 1300.0)], has_more=True) == [
        ("exchange", 0),
        ("river", 0),
    ]


def test_a_river_waits_for_no_exchange_that_has_no_turn_and_for_none_of_another_realm():
    elsewhere = [batch(0, "exchange-poe2", at_s=1000.0)]

    assert turns(None, [river(0, 9000.0)]) == [("river", 0)]
    assert names(
        plan_of(
            [RIVER[0]],
            [Queue("exchange-poe2", ("",), elsewhere, has_more=True), Queue("river-pc", ("A",), [river(0, 9000.0)])],
            {},
        )
    ) == [("silver_r", "river-pc", 0)]
