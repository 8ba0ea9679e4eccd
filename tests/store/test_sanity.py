import pytest

from ledgerd.clock import SystemClock
from ledgerd.etl.plan import EXCHANGE
from ledgerd.etl.runner import load_steps
from ledgerd.store.migrate import Migrator
from ledgerd.store.migration import split_statements
from ledgerd.store.queries import schema_root
from tests.store.exchange_rows import CHAOS, DIVINE, body, commit, land, market
from tests.store.refining import runner

HOUR_S = 1_787_086_800
RIVER = (
    """
    INSERT INTO landing_river_stashes_1
    SELECT 'river-pc-000000', 0, 'pc', '1-1', '2-2', ['*'], now64(3), '{}',
        ('s', true, 'a', 'tab', 'PremiumStash', 'Mirage'), 7
    """,
    """
    INSERT INTO bronze_river_counts
    SELECT 'pc', 'Standard', 'river-pc-000001', 0, 3, 9, false, now64(3)
    """,
)
"""A batch of one change stored, and one of changes nobody asked for whose books do not say so."""


def text_of(layer):
    return (schema_root() / "sanity" / f"{layer}.sql").read_text(encoding="utf-8")


def sanity(layer):
    return split_statements(text_of(layer))


async def fill(engine):
    """Two good hours, refined, and one market nobody can read."""
    await Migrator(engine, SystemClock()).apply()
    for seq in range(2):
        hour_s = HOUR_S + seq * 3600
        await land(engine, seq, hour_s, body(market(DIVINE, CHAOS, (50, 5000)), market("new", CHAOS, (400, 800)), 7))
        await commit(engine, seq, hour_s, rows=3)
    await runner(engine).run_once()


@pytest.mark.parametrize("layer", ["bronze", "silver", "gold"])
def test_every_sanity_query_says_what_good_looks_like(layer):
    for query in text_of(layer).strip().split(";\n"):
        assert " Good: " in query.strip().split("\n\n")[-1].partition("SELECT")[0], query


async def test_sanity_queries_run_and_find_a_good_database_good(engine):
    await fill(engine)

    answers = {layer: [await engine.rows(query) for query in sanity(layer)] for layer in ("bronze", "silver", "gold")}

    _, differing, _, _, river_differing, chains, gaps, quarantine, *_ = answers["bronze"]
    assert (differing, river_differing, gaps) == ([], [], [])
    assert [row[4:6] for row in chains] == [(0, 0)]
    assert [row[:3] for row in quarantine] == [("exchange-poe2", "market is not an object", 2)]
    ticks, untouched, _, impossible, nameless, steps, *_ = answers["silver"]
    assert [row[2:4] for row in ticks] == [(4, 2)]
    assert (untouched, impossible) == ([], [(0, 0, 0, 0)])
    assert [row[1] for row in nameless] == ["new"]
    assert [row[3:6] for row in steps] == [(1, 0, 0)] * sum(step.kind == EXCHANGE for step in load_steps())
    coverage, missing, impossible, *_ = answers["gold"]
    assert [row[-1] == pytest.approx(100, rel=0.05) for row in coverage] == [True]
    assert (missing, impossible) == ([], [(0, 0, 0, 0)])


async def test_sanity_shows_a_batch_whose_rows_are_gone(engine):
    await fill(engine)
    await commit(engine, 2, HOUR_S + 7200, rows=9)

    assert [row[1:] for row in await engine.rows(sanity("bronze")[1])] == [(2, "exchange-poe2-000002", 9, 0, 0)]


async def test_sanity_shows_a_river_by_lane_and_a_batch_whose_rows_are_gone(engine):
    await Migrator(engine, SystemClock()).apply()
    for seq, sql in enumerate(RIVER):
        await engine.execute(sql)
        await commit(engine, seq, HOUR_S, rows=1, source="river-pc")
    _, _, lanes, left_out, differing, *_ = [await engine.rows(query) for query in sanity("bronze")]

    assert [row[:6] for row in lanes] == [("pc", "Mirage", 1, 1, 7, 0)]
    assert left_out == [("pc", "Standard", 3, 9)]
    assert [row[1:] for row in differing] == [(1, "river-pc-000001", 1, 0, 0, 0, 3)]
