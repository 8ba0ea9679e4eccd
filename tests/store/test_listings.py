"""The life of listings: what silver makes of stashes that change, vanish, move and come late."""

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from ledgerd.etl.plan import Task
from ledgerd.etl.runner import load_steps
from ledgerd.etl.tasks import run_task
from ledgerd.etl.watermarks import batches_above
from tests.store.refining import SCALE
from tests.store.riverside import NOW_MS, SOURCE, flowing, item, stash, tombstone

RECORDED = Path(__file__).resolve().parents[3] / "shared" / "data" / "river-diffs-2017"
CHAOS = "Metadata/Items/Currency/CurrencyRerollRare"


@pytest.fixture
async def river(engine, tmp_path):
    async with flowing(engine, tmp_path) as river:
        yield river


async def events(river, *columns, where="1"):
    """What happened, in order: event, item and the columns asked for; a gone item is told by its hash alone."""
    sql = f"""
        SELECT event, known.name, {", ".join(columns) or "1"}
        FROM silver_listing_events AS happened FINAL
        LEFT JOIN (SELECT item, max(item_id) AS name FROM silver_listing_events GROUP BY item) AS known USING item
        WHERE {where}
        ORDER BY batch_id, page_seq, league, known.name, event DESC
    """
    return [row if columns else row[:2] for row in await river.engine.rows(sql)]


async def state(river, *columns):
    sql = (
        f"SELECT stash_id, league, public, {', '.join(columns) or '1'} FROM silver_canonical_stashes FINAL ORDER BY ALL"
    )
    return [row if columns else row[:3] for row in await river.engine.rows(sql)]


async def listings(river, *columns):
    return await river.engine.rows(f"SELECT item_id, {', '.join(columns)} FROM silver_priced_items ORDER BY ALL")


async def test_an_item_is_listed_repriced_split_and_gone(river):
    await river.show([stash("s", item("a", "~price 5 chaos"), item("b", "~b/o 2 chaos", stackSize=9), item("c"))])
    await river.show(
        [stash("s", item("a", "~price 6 chaos"), item("b", "~b/o 2 chaos", stackSize=4), item("c"))], at_s=60
    )
    await river.show([stash("s", item("b", "~b/o 2 chaos", stackSize=4), item("c"))], at_s=90)

    assert await events(river, "amount", "was_amount", "stack", "was_stack", "repriced", "stood_s") == [
        ("listed", "a", 5.0, 0.0, 1, 0, 0, 0),
        ("listed", "b", 2.0, 0.0, 9, 0, 0, 0),
        ("listed", "c", 0.0, 0.0, 1, 0, 0, 0),
        ("repriced", "a", 6.0, 5.0, 1, 1, 1, 0),
        ("stack", "b", 2.0, 2.0, 4, 9, 0, 0),
        ("gone", "a", 6.0, 0.0, 1, 0, 1, 90),
    ]
    assert await listings(river, "amount", "currency", "chaos_value", "stack", "repriced", "account", "note") == [
        ("b", 2.0, CHAOS, 2.0, 4, 0, "seller", "~b/o 2 chaos")
    ]
    assert await state(river, "item_count", "length(item)", "arraySum(amount)") == [("s", "Standard", True, 2, 2, 2.0)]


async def test_a_listing_remembers_since_when_it_stands_and_at_which_price(river):
    await river.show([stash("s", item("a", "~price 5 chaos"))])
    await river.show([stash("s", item("a", "~price 7 chaos"))], at_s=100)
    await river.show([stash("s", item("a", "~price 7 chaos", stackSize=3))], at_s=250)
    found = await listings(
        river,
        f"dateDiff('second', fromUnixTimestamp({NOW_MS // 1000}), first_seen)",
        f"dateDiff('second', fromUnixTimestamp({NOW_MS // 1000}), last_seen)",
        "repriced",
    )
    priced = await river.engine.rows(
        f"SELECT changed_at[1] - fromUnixTimestamp({NOW_MS // 1000}) FROM silver_canonical_stashes FINAL"
    )

    assert found == [("a", 0, 250, 1)]
    assert priced == [(100,)]


async def test_a_stash_that_is_private_ends_its_listings_and_may_come_back(river):
    await river.show([stash("s", item("a", "~price 5 chaos"))])
    await river.show([tombstone("s")], at_s=60)
    gone = await listings(river, "amount")
    await river.show([stash("s", item("a", "~price 5 chaos"))], at_s=120)

    assert await events(river, "account") == [
        ("listed", "a", "seller"),
        ("gone", "a", "seller"),
        ("listed", "a", "seller"),
    ]
    assert gone == []
    assert await listings(river, "amount") == [("a", 5.0)]
    assert await state(river, "account") == [("s", "Standard", True, "seller")]


async def test_a_stash_that_moves_ends_its_listings_where_it_was(river):
    await river.show([stash("s", item("a", "~price 5 chaos")), stash("t", item("z"), league="Hardcore")])
    await river.show([stash("s", item("a", "~price 5 chaos"), league="Hardcore")], at_s=60)

    assert await events(river, "toString(league)", where="known.name = 'a'") == [
        ("listed", "a", "Standard"),
        ("listed", "a", "Hardcore"),
        ("gone", "a", "Standard"),
    ]
    assert await state(river) == [("s", "Hardcore", True), ("s", "Standard", False), ("t", "Hardcore", True)]


async def test_a_stash_met_several_times_in_a_batch_is_told_page_by_page(river):
    await river.show(
        [stash("s", item("a", "~price 5 chaos"))],
        [stash("s", item("a", "~price 6 chaos"), item("b"))],
        [tombstone("s")],
        [stash("s", item("a", "~price 6 chaos"))],
        [stash("s", item("a", "~price 8 chaos"))],
    )

    assert await events(river, "page_seq", "amount", "repriced") == [
        ("listed", "a", 0, 5.0, 0),
        ("repriced", "a", 1, 6.0, 1),
        ("listed", "b", 1, 0.0, 0),
        ("gone", "a", 2, 6.0, 1),
        ("gone", "b", 2, 0.0, 0),
        ("listed", "a", 3, 6.0, 0),
        ("repriced", "a", 4, 8.0, 1),
    ]
    assert await listings(river, "amount", "repriced") == [("a", 8.0, 1)]


async def test_what_comes_late_or_again_overwrites_nothing(river):
    await river.show([stash("s", item("a", "~price 5 chaos"))], at_s=60)
    await river.show([stash("s", item("a", "~price 1 chaos"), item("old"))], at_s=0)
    await river.show([stash("s", item("a", "~price 5 chaos"))], at_s=60)

    assert await events(river) == [("listed", "a")]
    assert await listings(river, "amount") == [("a", 5.0)]


async def test_a_new_key_is_another_thing(river):
    await river.show([stash("s", item("a", "~price 5 chaos"))])
    await river.show([stash("s", item("a", "~price 5 chaos", typeLine="Divine Orb", baseType="Divine Orb"))], at_s=60)

    assert await events(river) == [("listed", "a"), ("gone", "a"), ("listed", "a")]
    assert len(await river.engine.rows("SELECT * FROM silver_item_keys FINAL")) == 2
    assert len(await listings(river, "item_key")) == 1


async def test_other_veiled_mods_are_no_change(river):
    rare = {"frameType": 2, "typeLine": "Sapphire Ring", "baseType": "Sapphire Ring", "veiled": True}
    await river.show([stash("s", item("a", "~price 5 chaos", **rare, veiledMods=["Suffix01"]))])
    await river.show([stash("s", item("a", "~price 5 chaos", **rare, veiledMods=["Suffix03"]))], at_s=60)

    assert await events(river) == [("listed", "a")]


async def test_a_tab_named_as_a_price_prices_what_has_none_of_its_own(river):
    await river.show([stash("s", item("a"), item("b", "~price 1 chaos"), item("c", "~skip"), tab="~b/o 3 chaos")])
    await river.show(
        [stash("s", item("a"), item("b", "~price 1 chaos"), item("c", "~skip"), tab="~b/o 4 chaos")], at_s=60
    )

    assert await events(river, "amount", where="event = 'repriced'") == [("repriced", "a", 4.0)]
    assert await listings(river, "amount") == [("a", 4.0), ("b", 1.0)]


async def test_what_cannot_be_read_is_in_quarantine_and_takes_nothing_along(river):
    await river.show(
        [stash("s", item("a", "~price 1,500 chaos"), item("b", "~price 1 chaos"), item("c", "~price 2 offer"))]
    )
    found = await river.engine.rows("SELECT item_id, note, notEmpty(reason) FROM silver_quarantine ORDER BY item_id")

    assert found == [("a", "~price 1,500 chaos", True), ("c", "~price 2 offer", True)]
    assert await listings(river, "amount") == [("b", 1.0)]


async def test_every_lane_goes_by_itself(river):
    """A league refined apart from the others has the rows it has among them, whichever goes first."""
    await river.show(
        [stash("s", item("a", "~price 5 chaos")), stash("t", item("b", "~price 1 chaos"), league="Hardcore")]
    )
    together = await events(river, "toString(league)"), await state(river), await listings(river, "amount")
    steps = [step for step in load_steps() if step.kind == "river" and step.keeps]
    for step in steps:
        await river.engine.execute(f"TRUNCATE TABLE {step.writes}")
    [batch] = await batches_above(river.engine, SOURCE, -1, 9)
    for lane in ("Standard", "Hardcore"):
        for step in steps:
            await run_task(river.engine, Task(step, batch, (lane,)), SCALE)

    assert (await events(river, "toString(league)"), await state(river), await listings(river, "amount")) == together


def recorded(name):
    """The stashes of a recording, under the league their items name: in 2017 a stash did not say its own."""
    stashes = json.loads(gzip.decompress((RECORDED / f"{name}.json.gz").read_bytes()))["stashes"]
    return {each["id"]: {"public": True, **each, "league": "Legacy"} for each in stashes}


@pytest.mark.skipif(not RECORDED.is_dir(), reason="../shared is not present: no recorded edits to follow")
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("before", "after-3-stashes-added"),
        ("before", "after-2-stashes-removed"),
        ("single-before", "single-after-3-items-added"),
        ("single-before", "single-after-3-items-removed"),
    ],
)
async def test_recorded_edits_are_told_exactly(river, before, after):
    old, new = recorded(before), recorded(after)
    await river.show(list(old.values()))
    await river.show([*new.values(), *(tombstone(gone) for gone in old.keys() - new.keys())], at_s=60)
    second = "batch_id = (SELECT max(batch_id) FROM bronze_ingest_checkpoints)"
    told = Counter((stash_id, event) for event, _, stash_id in await events(river, "stash_id", where=second))
    expected = Counter()
    for name in old.keys() | new.keys():
        had, has = ({each["id"] for each in side.get(name, {"items": []})["items"]} for side in (old, new))
        expected += Counter({(name, "listed"): len(has - had), (name, "gone"): len(had - has)})
    stashes = {row[0] for row in await state(river) if row[2]}

    assert {key: n for key, n in told.items() if key[1] in {"listed", "gone"}} == dict(expected)
    assert (stashes, len(expected) > 0) == (set(new), True)
