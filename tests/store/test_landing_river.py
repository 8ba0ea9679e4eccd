"""River pages through the writer into bronze: value for value, counted, and poison that takes nothing along."""

import gzip
import json
from pathlib import Path

import pytest

from ledgerd.spool.spool import Page
from tests.store.riverside import NOW_MS, flowing

RECORDED = Path(__file__).resolve().parents[3] / "shared" / "data" / "river"
HOSTILE = {
    "a lone surrogate": b'"\\ud800"',
    "an infinity": b"1e400",
    "an integer beyond 64 bits": b"123456789012345678901234567890",
    "an integer below 64 bits": b"-9223372036854775809",
    "a NUL": b'"a\\u0000b"',
    "bad UTF-8": b'"\xff\xfe"',
    "NaN": b"NaN",
    "long digits as text": b'"1234567890123456789012"',
    "the largest number that fits": b"18446744073709551615",
    "a duplicate key": b'1,"x":2',
    "a small float": b"6.557806773344055e-05",
}


@pytest.fixture
async def river(engine, tmp_path):
    async with flowing(engine, tmp_path) as river:
        yield river


def stash(number, league=b'"Standard"', more=b""):
    head = b'{"id":"%d","public":true,"accountName":"a","stash":"~b/o 1 chaos","stashType":"Premium",' % number
    return head + b'"league":' + league + b',"items":[{"x":1}]' + more + b"}"


TOMBSTONE = b'{"id":"9","public":false,"accountName":null,"stash":null,"stashType":"Q","league":null,"items":[]}'


def page(*stashes):
    return b'{"next_change_id":"1-2-3-4-5","stashes":[' + b",".join(stashes) + b"]}"


def as_bytes(payload):
    return payload if isinstance(payload, bytes) else payload.encode()


@pytest.mark.skipif(not RECORDED.is_dir(), reason="../shared is not present: no recorded pages to carry")
async def test_recorded_pages_are_in_bronze_change_by_change_and_value_for_value(river):
    bodies = [gzip.decompress(path.read_bytes()) for path in sorted(RECORDED.glob("page-*.json.gz"))]
    await river.carry(*bodies, encoding="gzip")
    true = [each for body in bodies for each in json.loads(body)["stashes"]]
    got = await river.engine.rows(
        "SELECT payload, public, item_count, account, stash_name FROM bronze_raw_stashes ORDER BY page_seq, stash_id"
    )
    expected = sorted((each["id"], json.dumps(each, sort_keys=True)) for each in true)
    items = sum(each["item_count"] for each in ({"item_count": row[2]} for row in got))

    assert (
        sorted((each["id"], json.dumps(each, sort_keys=True)) for each in map(json.loads, (r[0] for r in got)))
        == expected
    )
    assert (len(got), items) == (2316, 2804)
    assert await river.quarantined() == []


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_poisoned_change_is_stored_as_it_came_and_its_neighbours_too(river, name):
    bad = stash(2, more=b',"x":' + HOSTILE[name])
    await river.carry(page(stash(1), bad, stash(3)), page(stash(4)))
    got = {stash_id: as_bytes(payload) for stash_id, payload in await river.payloads()}

    assert sorted(got) == ["1", "2", "3", "4"]
    assert got["1"] == stash(1)
    assert got["2"] == bad or (json.loads(got["2"]) == json.loads(bad) and b"e-05" in bad)
    assert await river.quarantined() == []


@pytest.mark.parametrize(
    "body", [b'{"next_change_id":"1","stashes":[' + b"[" * 100_000, page(stash(1))[:-9], b"", b"<html>"]
)
async def test_what_nobody_can_read_is_quarantined_whole_and_the_rest_committed(river, body):
    await river.carry(page(stash(1)), body, page(stash(2)))

    assert [row[0] for row in await river.payloads()] == ["1", "2"]
    assert [as_bytes(payload) for _, payload in await river.quarantined()] == [body]
    assert len(river.commits) == 1


async def test_lanes_are_stored_others_counted_and_tombstones_always(river):
    river.lanes = ("Mirage",)
    leagues = (b'"Standard"', b'"Mirage"', b'"Mirage (PL1)"', b"null")
    await river.carry(page(*(stash(n, league) for n, league in enumerate(leagues, 1)), TOMBSTONE))
    [row] = await river.engine.rows("SELECT rows, rows_skipped FROM bronze_ingest_checkpoints")

    assert [row[0] for row in await river.payloads()] == ["2", "4", "9"]
    assert row == (3, 2)


async def test_private_leagues_share_a_lane_where_all_are_stored(river):
    await river.carry(page(stash(1), stash(2, b'"Mine (PL1)"'), stash(3, b'"Theirs (PL2)"'), TOMBSTONE))
    got = await river.engine.rows("SELECT league, count() FROM bronze_raw_stashes GROUP BY league ORDER BY league")

    assert got == [("", 1), ("(private)", 2), ("Standard", 1)]


async def test_the_token_of_a_batch_means_the_same_to_the_process_that_migrated_and_to_the_next(river):
    await river.carry(page(stash(1)))
    before = await river.payloads()
    [batch] = [commit.batch for commit in river.commits]
    landed = river.writer._landing.land(batch, batch.recipe, [Page("0", "1", NOW_MS, 200, "identity", page(stash(1)))])
    await river.engine.close()
    await river.engine.open()
    await river.writer._insert(batch, landed.inserts)

    assert await river.payloads() == before


async def test_a_batch_carried_twice_is_stored_once_slow_part_and_all(river):
    bad = stash(2, more=b',"x":1e400')
    await river.carry(page(stash(1), bad))
    before = await river.payloads()
    [batch] = [commit.batch for commit in river.commits]
    pages = [Page("0", "1", NOW_MS, 200, "identity", page(stash(1), bad))]
    landing = river.writer._landing
    landed = landing.land(batch, batch.recipe, pages)
    await river.writer._insert(batch, landed.inserts)
    counted = await river.writer._verified(batch, batch.recipe, pages, landed)

    assert await river.payloads() == before
    assert counted.pages[0].total == 2
