from dataclasses import replace

from ledgerd.etl.plan import Batch, Step, Task
from ledgerd.etl.standing import EMPTY_FIRST, Mark, Standing


def step(name, kind="river", **more):
    return Step(name, 3, ("bronze_a",), name, kind, ("x",), "SELECT 1", **more)


FIRST, SECOND = step("silver_a", keeps=True), step("silver_b", keeps=True)
GOLD = step("gold_a", keeps=True, every="hour")
TICKS = step("silver_t", kind="exchange")
STEPS = [TICKS, FIRST, SECOND, GOLD]


def mark(step, seq, league="A", **more):
    source = "exchange-pc" if step is TICKS else "river-pc"
    return Mark(
        step.name, step.version, source, "" if step is TICKS else league, 0, seq, **{"retrieved_s": 9.0, **more}
    )


def done(standing, source="river-pc", lane="A"):
    return [standing.done.get((each.name, source, lane)) for each in standing.steps_of(source)]


def test_the_highest_batch_counts_whatever_the_order_of_rows():
    standing = Standing(STEPS, [mark(TICKS, 7), mark(TICKS, 5)])

    assert done(standing, "exchange-pc", "") == [7]
    assert standing.lanes("exchange-pc") == ("",)


def test_rows_of_another_version_count_for_what_keeps_alone():
    old = [replace(mark(each, 7), version=2) for each in (TICKS, FIRST, SECOND, GOLD)]
    standing = Standing(STEPS, old)

    assert done(standing, "exchange-pc", "") == [None]
    assert done(standing) == [7, 7, 7]


def test_rows_of_an_older_era_count_no_longer_and_their_lanes_are_forgotten():
    again = [replace(mark(each, 4, ""), era=1) for each in (FIRST, SECOND, GOLD)]
    standing = Standing(STEPS, [mark(FIRST, 9), mark(SECOND, 9), *again])

    assert standing.lanes("river-pc") == ()
    assert standing.looked == {"river-pc": 4}
    assert standing.eras_of("river-pc") == {"silver_a": 1, "silver_b": 1, "gold_a": 1}


def test_the_batch_before_the_one_under_way_is_done_in_every_step():
    standing = Standing(STEPS, [mark(FIRST, 9), mark(SECOND, 8), mark(GOLD, 2)])

    assert done(standing) == [9, 8, 8]
    assert done(Standing(STEPS, [mark(FIRST, 9), mark(SECOND, 9)])) == [9, 9, 8]


def test_a_step_that_does_not_keep_has_done_what_it_says_and_no_more():
    loose = replace(SECOND, keeps=False)
    standing = Standing([FIRST, loose], [mark(FIRST, 9), mark(loose, 3)])

    assert done(standing) == [9, 3]


def test_lanes_that_stand_alike_are_a_group_and_one_that_fails_is_alone():
    marks = [mark(each, 4, league) for each in (FIRST, SECOND, GOLD) for league in "ABC"]
    standing = Standing(STEPS, [*marks, mark(FIRST, 5, "C")])

    assert standing.groups("river-pc", ()) == [("A", "B"), ("C",)]
    assert standing.groups("river-pc", {"B"}) == [("A",), ("B",), ("C",)]


def test_a_lane_begins_behind_a_batch_and_moves_with_its_tasks():
    standing = Standing(STEPS, [])
    standing.born("river-pc", ["A", "B"], 4)
    task = Task(FIRST, Batch("river-pc", "pc", 5, "b5", 0, 0, 77.0), ("A", "B"))
    standing.moved(task, 0.5)
    standing.passed(replace(task, step=GOLD))

    assert done(standing, lane="B") == [5, 4, 5]
    assert standing.lowest("river-pc", "AB") == 4
    assert (standing.last(FIRST, "river-pc", "A").retrieved_s, standing.last(GOLD, "river-pc", "A")) == (77.0, None)


def test_a_river_is_to_be_emptied_until_it_is_written_where_it_begins():
    pending = [replace(mark(each, EMPTY_FIRST, ""), era=2) for each in (FIRST, SECOND, GOLD)]

    assert Standing(STEPS, pending).must_empty == ["river-pc"]
    assert Standing(STEPS, [*pending, *(replace(one, seq=-1) for one in pending)]).must_empty == []


def test_a_table_that_another_kind_writes_too_is_not_a_rivers_own():
    shared = replace(TICKS, name="other", writes="gold_a")

    assert Standing([*STEPS, shared], []).tables_of("river") == ["silver_a", "silver_b"]
