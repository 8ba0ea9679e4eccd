"""Odd rivers: ids met twice, what cannot be read, clocks that go back, realms alike, lanes that go apart and again."""

import json
import random

import pytest

from ledgerd.etl.plan import Task
from ledgerd.etl.runner import load_steps
from ledgerd.etl.tasks import run_task
from ledgerd.etl.watermarks import batches_above
from ledgerd.spool.spool import Page
from ledgerd.supervise import Heart
from tests.store.refining import SCALE
from tests.store.riverside import NOW_MS, SOURCE, flowing, item, stash, tombstone

STEPS = [step for step in load_steps() if step.kind == "river" and step.keeps and not step.every]
LEAGUES = ("Hardcore", "Standard")


@pytest.fixture
async def river(engine, tmp_path):
    async with flowing(engine, tmp_path) as river:
        yield river


async def events(river, *columns):
    return await river.engine.rows(
        f"SELECT event, {', '.join(columns)} FROM silver_listing_events FINAL"
        " ORDER BY batch_id, page_seq, league, item_id, event"
    )


async def states(river):
    return await river.engine.rows(
        "SELECT stash_id, league, public, length(item) FROM silver_canonical_stashes FINAL ORDER BY ALL"
    )


async def quarantined(river):
    return await river.engine.rows("SELECT stash_id, item_id, reason FROM silver_quarantine ORDER BY ALL")


async def test_items_with_one_id_are_one_listing(river):
    twice = item("a", "~price 5 chaos")
    await river.show([stash("s", twice, twice)])
    listed = await events(river, "item_id", "amount")
    await river.show([stash("s", twice)], at_s=60)

    assert listed == [("listed", "a", 5.0)]
    assert await events(river, "item_id", "amount") == listed


async def test_items_without_an_id_and_those_of_a_change_that_cannot_be_read_are_in_quarantine(river):
    nameless = item("", "~price 5 chaos")
    await river.show([stash("s", nameless, nameless), {**stash("t"), "items": [3, "x"]}])

    assert await quarantined(river) == [("s", "", "no id"), ("t", "", "the items of the change cannot be read")]


async def test_a_stash_met_twice_in_a_page_is_told_once(river):
    both = stash("s", item("a")), stash("s", item("b"))
    await river.show([*both, stash("t", item("c")), stash("t", item("d"), league="Hardcore")])

    assert await events(river, "item_id", "toString(league)") == [
        ("listed", "d", "Hardcore"),
        ("listed", "a", "Standard"),
        ("listed", "b", "Standard"),
        ("listed", "c", "Standard"),
    ]
    assert await states(river) == [("s", "Standard", True, 2), ("t", "Hardcore", True, 1), ("t", "Standard", True, 1)]


async def test_a_price_given_later_that_cannot_be_read_is_in_quarantine_once(river):
    await river.show([stash("s", item("a"))])
    for at_s in (60, 120):
        await river.show([stash("s", item("a", "~price 1,500 chaos"))], at_s=at_s)
    await river.show([tombstone("s")], at_s=180)

    assert await events(river, "amount", "reason") == [
        ("listed", 0.0, ""),
        ("repriced", 0.0, "ambiguous comma"),
        ("gone", 0.0, ""),
    ]
    assert await quarantined(river) == [("s", "a", "ambiguous comma")]


async def test_a_clock_that_goes_back_within_a_batch_leaves_the_last_page_standing(river):
    for n, (at_ms, shown) in enumerate(((NOW_MS, [item("a")]), (NOW_MS - 2000, []))):
        body = json.dumps({"next_change_id": "1-2-3-4-5", "stashes": [stash("s", *shown)]}).encode()
        await river.stream.freeze(Page(f"{n}", f"{n + 1}", at_ms, 200, "identity", body))
    await river.writer.flush(Heart(river.clock))
    [batch] = await batches_above(river.engine, SOURCE, -1, 9)
    for leagues in (("Standard",), LEAGUES):  # killed after the last step, and that again, in another group
        for step in STEPS if leagues != LEAGUES else STEPS[-1:]:
            await run_task(river.engine, Task(step, batch, leagues), SCALE)

    assert await events(river, "stood_s") == [("listed", 0), ("gone", 0)]
    assert await states(river) == [("s", "Standard", True, 0)]


async def test_realms_with_the_same_ids_have_nothing_in_common(river):
    await river.show([stash("s", item("a", "~price 5 chaos"))])
    for table in ("bronze_raw_stashes", "bronze_river_counts", "bronze_ingest_checkpoints"):
        source = ", 'river-xbox' AS source" if table == "bronze_ingest_checkpoints" else ""
        await river.engine.execute(
            f"INSERT INTO {table} SELECT * REPLACE ('xbox' AS realm, concat('xbox-', batch_id) AS batch_id{source})"
            f" FROM {table}"
        )
    await river.refine()
    await river.show([tombstone("s")], at_s=60)
    standing = await river.engine.rows("SELECT realm, item_id, amount FROM silver_priced_items")

    assert standing == [("xbox", "a", 5.0)]
    assert sorted(await events(river, "realm")) == [("gone", "pc"), ("listed", "pc"), ("listed", "xbox")]


def anything(rng):
    """A change as it comes of a few stashes, items, notes and leagues."""
    notes = ("", "~price 5 chaos", "~price 7 chaos", "~price 1,500 chaos")
    items = [item(rng.choice("abcde"), rng.choice(notes), stackSize=rng.randint(1, 2)) for _ in range(rng.randrange(5))]
    name = rng.choice("stu")
    return tombstone(name) if rng.random() < 0.2 else stash(name, *items, league=rng.choice(LEAGUES))


async def refined(river, batches, groups):
    """Silver after the steps that keep have gone through ``batches``, each in all ``groups`` of leagues one by one."""
    for step in STEPS:
        await river.engine.execute(f"TRUNCATE TABLE {step.writes}")
    for batch in batches:
        for step in STEPS:
            for leagues in groups:
                await run_task(river.engine, Task(step, batch, leagues, era=len(groups)), SCALE)
    return [
        await river.engine.text(f"SELECT * FROM {table} ORDER BY ALL", "TSV")
        for table in (*(f"{step.writes} FINAL" for step in STEPS), "silver_priced_items")
    ]


async def test_any_river_comes_out_alike_of_groups_that_change_and_its_history_is_its_state(river):
    rng = random.Random(3)
    for n in range(2):
        pages = [[anything(rng) for _ in range(5)] for _ in range(3)]
        bodies = [json.dumps({"next_change_id": "1-2-3-4-5", "stashes": page}).encode() for page in pages]
        await river.carry(*bodies, at_ms=NOW_MS + n * 60_000)
    batches = await batches_above(river.engine, SOURCE, -1, 9)
    together = await refined(river, batches, [LEAGUES])
    killed = await refined(river, batches, [("Standard",), LEAGUES])
    told = await river.engine.rows(
        "SELECT league, stash_id, item, sum(if(event = 'gone', -1, toInt8(event = 'listed'))) AS left"
        " FROM silver_listing_events FINAL GROUP BY ALL HAVING left != 0 ORDER BY ALL"
    )
    held = await river.engine.rows(
        "SELECT league, stash_id, arrayJoin(item) AS one, 1 FROM silver_canonical_stashes FINAL ORDER BY ALL"
    )

    assert killed == together
    assert (told, len(held) > 3) == (held, True)
