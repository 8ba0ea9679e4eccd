"""The lanes of a river: together while they stand alike, apart while one fails, and all through every batch once."""

from contextlib import suppress
from dataclasses import replace

import pytest

from ledgerd.clock import SystemClock
from ledgerd.errors import QueryRefused, StoreUnavailable
from ledgerd.etl.plan import Step
from ledgerd.store.migrate import Migrator
from ledgerd.store.migration import load_migrations
from ledgerd.store.queries import schema_root
from tests.store.lanes import GOLD, NOW_S, SILVER, SOURCE, STATE, STEPS, Lanes, newer
from tests.store.refining import PAGE, currency_runner, hour_of_pages
from tests.store.refining import TABLES as CURRENCY_TABLES
from tests.store.test_etl import Killed, Wire


@pytest.fixture
async def lanes(engine):
    await Migrator(engine, SystemClock()).apply()
    return await Lanes(engine).open()


async def test_lanes_go_together_and_also_through_batches_that_have_nothing_of_theirs(lanes):
    await lanes.commit("A", "B")
    await lanes.commit("", "A")
    await lanes.commit("")
    await lanes.refine()

    assert await lanes.seen() == {"A": [0, 1, 2], "B": [0, 1, 2]}
    assert lanes.asked() == [("b0", "A B"), ("b1", "A B"), ("b2", "A B")]
    assert lanes.states() == {"A": ("ok", None), "B": ("ok", None)}


async def test_a_lane_begins_with_the_first_batch_that_has_its_league_and_joins_the_others(lanes):
    await lanes.commit("A")
    await lanes.commit("A")
    await lanes.commit("B")
    await lanes.commit("A")
    await lanes.refine()

    assert await lanes.seen() == {"A": [0, 1, 2, 3], "B": [2, 3]}
    assert lanes.asked() == [("b0", "A"), ("b1", "A"), ("b2", "A B"), ("b3", "A B")]


async def test_private_leagues_are_lanes_by_name_only_and_what_has_no_league_is_none(lanes):
    await lanes.commit("", "A", "Ours (PL1)", "Theirs (PL2)", named=["Ours (PL1)"])
    await lanes.refine()

    assert (await lanes.seen()).keys() == {"A", "Ours (PL1)"}


async def test_a_river_without_a_public_change_waits_for_nothing(lanes):
    await lanes.commit("")
    await lanes.refine()
    await lanes.commit("A")
    await lanes.refine()

    assert await lanes.seen() == {"A": [1]}


async def test_a_lane_that_fails_waits_while_the_others_go_on_and_joins_them_when_it_has_caught_up(lanes):
    await lanes.commit("A", "B", "C")
    await lanes.refine()
    await lanes.breaks("B")
    await lanes.commit("A", "B", "C")
    await lanes.refine()
    await lanes.commit("A", "B")
    await lanes.refine()

    assert await lanes.seen() == {"A": [0, 1, 2], "B": [0], "C": [0, 1, 2]}
    assert {league: state for league, (state, _) in lanes.states().items()} == {"A": "ok", "B": "failing", "C": "ok"}
    assert "this league breaks silver_seen" in lanes.states()["B"][1]
    assert [(one.league, one.behind) for one in lanes.etl.status() if one.step == "silver_state"] == [
        ("A", 0),
        ("B", 2),
        ("C", 0),
    ]
    assert await lanes.db.rows("SELECT leagues, seq FROM etl_runs WHERE outcome = 'failed'") == [(["B"], 1)]

    await lanes.mend()
    await lanes.later()
    await lanes.commit("C")
    await lanes.refine()

    assert await lanes.seen() == {league: [0, 1, 2, 3] for league in "ABC"}
    assert lanes.asked()[-1] == ("b3", "A B C")
    assert {state for state, _ in lanes.states().values()} == {"ok"}


async def test_a_lane_that_fails_in_a_later_step_is_not_ahead_anywhere(lanes):
    await lanes.breaks("B", "silver_state")
    await lanes.commit("A", "B")
    await lanes.commit("A", "B")
    await lanes.refine()

    assert await lanes.seen("silver_seen") == {"A": [0, 1], "B": [0]}
    assert await lanes.seen("silver_state") == {"A": [0, 1]}


async def test_what_others_wrote_is_the_same_whether_or_not_a_lane_failed(lanes):
    await lanes.breaks("B")
    for leagues in ("AB", "ABC", "C", "AB"):
        await lanes.commit(*leagues)
        await lanes.refine()
    await lanes.mend()
    await lanes.later()

    assert await lanes.seen() == {"A": [0, 1, 2, 3], "B": [0, 1, 2, 3], "C": [1, 2, 3]}
    assert await lanes.seen("silver_seen") == await lanes.seen()


@pytest.mark.parametrize("fails", [True, False])
async def test_a_lane_that_failed_from_its_first_batch_is_not_forgotten_over_a_restart(lanes, fails):
    await lanes.commit("A")
    await lanes.refine()
    await lanes.breaks("B")
    await lanes.commit("A", "B")
    await lanes.commit("A")
    await lanes.refine()
    if not fails:
        await lanes.mend()
    lanes.start()
    await lanes.commit("A")
    await lanes.refine()
    assert (await lanes.seen())["A"] == [0, 1, 2, 3]
    await lanes.mend()
    await lanes.later()

    assert (await lanes.seen())["B"] == [1, 2, 3]


async def test_two_lanes_that_fail_each_wait_and_each_come_back(lanes):
    for league in "BC":
        await lanes.breaks(league)
    await lanes.commit("A", "B", "C")
    await lanes.refine()
    assert {league: state for league, (state, _) in lanes.states().items()} == {
        "A": "ok",
        "B": "failing",
        "C": "failing",
    }
    await lanes.mend()
    await lanes.breaks("C")
    await lanes.later()
    assert await lanes.seen() == {"A": [0], "B": [0]}
    await lanes.mend()
    await lanes.later()

    assert await lanes.seen() == {"A": [0], "B": [0], "C": [0]}


async def test_a_new_lane_is_met_though_all_others_fail(lanes):
    await lanes.breaks("A")
    await lanes.commit("A")
    await lanes.refine()
    await lanes.commit("A", "B")
    await lanes.refine()

    assert await lanes.seen() == {"B": [1]}


async def test_an_engine_that_is_away_is_nobodys_fault_and_all_go_on_together(lanes):
    away = [StoreUnavailable("gone")]
    wire = Wire(lanes.db, refuses=lambda what, _: away[0] if away and "silver_seen" in what else None)
    lanes.start(wire)
    await lanes.commit("A", "B")
    await lanes.refine()
    await lanes.later()
    tried = wire.writes

    assert lanes.states() == dict.fromkeys("AB", ("failing", "gone"))
    assert tried <= 4, "births and two tries, not lane by lane"
    await lanes.later()
    assert lanes.states() == dict.fromkeys("AB", ("failing", "gone"))
    away.clear()
    await lanes.later()
    assert lanes.asked() == [("b0", "A B")]
    assert await lanes.db.rows("SELECT count() FROM etl_runs WHERE outcome = 'failed'") == [(0,)]


async def test_a_lane_for_which_the_engine_always_runs_out_of_memory_is_found_at_last(lanes):
    def heavy(what, params):
        return StoreUnavailable("no memory") if "silver_seen" in what and "B" in params.get("leagues", ()) else None

    lanes.start(Wire(lanes.db, refuses=heavy))
    await lanes.commit("A", "B", "C")
    await lanes.refine()
    await lanes.later()
    assert await lanes.seen() == {}
    await lanes.later()

    assert await lanes.seen() == {"A": [0], "C": [0]}
    assert lanes.states()["B"] == ("failing", "no memory")


async def test_killed_between_any_two_writes_every_lane_goes_through_every_batch(lanes):
    await lanes.refine()
    n = 0
    while n < 40:
        lanes.start(Wire(lanes.db, last=n % 7))
        await lanes.commit("A", *("B" if n > 3 else ""), *("C" if n > 9 else ""))
        with suppress(Killed):
            await lanes.refine()
        n += 1
    lanes.start()
    await lanes.refine()

    assert await lanes.seen() == {"A": [*range(40)], "B": [*range(4, 40)], "C": [*range(10, 40)]}
    assert await lanes.seen("silver_seen") == await lanes.seen()


async def test_gold_runs_once_an_interval_and_not_again_after_a_restart(lanes):
    for n, at_s in enumerate((10, 20, 310, 320, 900)):
        await lanes.commit("A", "B", at_s=NOW_S + at_s)
        if n % 2:
            lanes.start()
        await lanes.refine()
    found = await lanes.db.rows(
        "SELECT league, batch_id, toFloat64(since) - {now:Float64}, toFloat64(until) - {now:Float64}, "
        "toFloat64(at) - {now:Float64} FROM gold_seen ORDER BY league, batch_id",
        {"now": NOW_S},
    )

    assert found == [
        (league, *row)
        for league in "AB"
        for row in (("b0", -300.0, 0.0, 10.0), ("b2", 0.0, 300.0, 310.0), ("b4", 300.0, 900.0, 900.0))
    ]
    assert {(one.step, one.behind) for one in lanes.etl.status()} == {(step.name, 0) for step in STEPS}


async def test_a_lane_that_comes_late_joins_at_once_after_a_restart_too(lanes):
    for _ in range(5):
        await lanes.commit("A")
    await lanes.refine()
    await lanes.commit("A", "B")
    lanes.start()
    await lanes.refine()

    assert lanes.asked()[-1] == ("b5", "A B")


async def test_a_new_version_of_what_keeps_goes_on_where_the_old_one_was(lanes):
    await lanes.commit("A")
    await lanes.refine()
    lanes.start(steps=newer("silver_seen", 2))
    await lanes.commit("A")
    await lanes.refine()

    assert lanes.asked() == [("b0", "A"), ("b1", "A")]


async def test_a_new_version_of_what_does_not_keep_is_done_for_every_batch_of_its_lane(lanes):
    loose = [SILVER, replace(STATE, keeps=False), GOLD]
    lanes.start(steps=loose)
    for _ in range(3):
        await lanes.commit("A")
    await lanes.refine()
    lanes.start(steps=[SILVER, replace(STATE, keeps=False, version=9), GOLD])
    await lanes.refine()

    assert lanes.asked("silver_state") == [(f"b{n}", "A") for n in range(3)] * 2
    assert lanes.asked() == [(f"b{n}", "A") for n in range(3)]


async def test_a_step_that_is_new_begins_with_what_comes(lanes):
    lanes.start(steps=[SILVER, STATE])
    for _ in range(3):
        await lanes.commit("A")
    await lanes.refine()
    lanes.start()
    await lanes.commit("A")
    await lanes.refine()

    assert lanes.asked("silver_seen") == [(f"b{n}", "A") for n in range(4)]


async def test_one_lane_alone_goes_ahead_and_the_others_follow(lanes):
    await lanes.commit("A", "B")
    lanes.start(only_lane="B")
    await lanes.refine()
    assert await lanes.seen() == {"B": [0]}
    assert lanes.etl.left == 0
    lanes.start()
    await lanes.commit("A", "B")
    await lanes.refine()

    assert await lanes.seen() == {"A": [0, 1], "B": [0, 1]}
    await lanes.commit("A", "B")
    await lanes.refine()
    assert lanes.asked()[-1] == ("b2", "A B")


async def test_a_round_asks_only_for_what_is_new(lanes):
    """What a round costs must not grow with what is stored: no question may be about everything."""
    asked = []

    class Listener:
        def __init__(self, engine):
            self._engine = engine
            self.execute, self.insert = engine.execute, engine.insert

        async def rows(self, sql, params=None, **options):
            asked.append((sql, params or {}))
            return await self._engine.rows(sql, params, **options)

    for _ in range(3):
        await lanes.commit("A")
    await lanes.refine()
    lanes.start(Listener(lanes.db))
    await lanes.refine()
    asked.clear()
    await lanes.commit("A")
    await lanes.refine()

    assert [params for sql, params in asked if "NOT IN {known" not in sql and "DESC" not in sql] == [
        {"source": SOURCE, "from": 2, "most": 1001},
        {"source": SOURCE, "realm": "pc", "batch_ids": ["b3"], "from": 3, "to": 3},
        {"source": SOURCE, "from": 2, "most": 61},
    ]


@pytest.mark.parametrize(("refuses", "expected"), [(True, ["b0"]), (False, ["e0", "e1", "b0"])])
async def test_a_river_waits_for_its_exchange_unless_that_fails(lanes, refuses, expected):
    table, sql = "silver_currency_rates", "SELECT {realm:String}, {batch_id:String}"
    rates = Step("rates", 1, ("bronze_requests",), table, "exchange", ("realm", "batch_id"), sql)
    for seq in range(2):
        await lanes.commit_hour(seq, at_s=NOW_S - 400)
    await lanes.commit("A")
    refusal = QueryRefused("no") if refuses else None
    lanes.start(
        Wire(lanes.db, refuses=lambda what, _: refusal if table in what else None),
        steps=[rates, *STEPS],
        tasks_max=1,
    )
    await lanes.refine()

    assert [name for written, name, _ in lanes.done if written in (table, "silver_seen")] == expected


async def test_what_was_refined_before_there_were_watermarks_is_not_refined_again(lanes):
    """The migration takes them from the log, which until then was asked."""
    seed = next(
        statement
        for migration in load_migrations(schema_root() / "migrations")
        for statement in migration.statements
        if statement.startswith("INSERT INTO etl_watermarks")
    )
    for seq in range(3):
        await hour_of_pages(lanes.db, seq, PAGE)
    await currency_runner(lanes.db).run_once()
    await lanes.db.execute("TRUNCATE TABLE etl_watermarks")
    for _ in range(2):
        await lanes.db.execute(seed)
    await hour_of_pages(lanes.db, 3, PAGE)

    assert await currency_runner(lanes.db).run_once() == len(CURRENCY_TABLES)


async def test_looking_says_how_far_lanes_are_and_changes_nothing(lanes):
    await lanes.commit("A", "B", at_s=NOW_S)
    await lanes.commit("A", "B", at_s=NOW_S + 10)
    await lanes.refine()
    await lanes.commit("A", "C", at_s=NOW_S + 30)
    lanes.start()
    marks = "SELECT count() FROM etl_watermarks"
    before = await lanes.db.rows(marks)
    found = await lanes.etl.look()

    assert [(one.step, one.league, one.watermark, one.behind, one.behind_s) for one in found] == [
        (step.name, league, 1, 1, 30.0 if step is GOLD else 20.0) for league in "AB" for step in STEPS
    ]
    assert await lanes.db.rows(marks) == before
