"""The stand-in's river over HTTP: limits, realms, ends of the stream, and books that hold what was served."""

import gzip
import hashlib
from pathlib import Path

import orjson
import pytest

from ledgerd.sim.river_replay import RiverReplay
from ledgerd.sim.server import SimOptions
from tests.simriver import NOW_S, POLICY, SMALL, river

RECORDED = Path(__file__).parents[3] / "shared" / "data" / "river"


async def test_a_chain_is_followed_to_its_end_and_goes_on_when_time_does():
    async with river(**SMALL) as client:
        await client.unlimited()
        head = await client.head()
        end = await client.page(head, wait_s=0)
        later = await client.page(head, wait_s=30)

    assert orjson.loads(end.body) == {"next_change_id": head, "stashes": []}
    assert end.headers["X-Next-Change-Id"] == head
    assert 20 <= len(orjson.loads(later.body)["stashes"]) <= 170
    assert later.headers["X-Next-Change-Id"] == orjson.loads(later.body)["next_change_id"] != head


async def test_realms_are_pc_by_omission_the_consoles_and_not_the_second_game():
    async with river(**SMALL) as client:
        pages = [await client.page(realm=realm) for realm in ("", "xbox", "sony")]
        other = await client.page(realm="poe2")

    assert [page.status for page in pages] == [200] * 3
    assert len({page.body for page in pages}) == 3
    assert [page.headers["X-Rate-Limit-Policy"][-4:] for page in pages] == ["t-pc", "xbox", "sony"]
    assert (other.status, orjson.loads(other.body)["error"]["code"]) == (404, 1)


@pytest.mark.parametrize("change_id", ["1-2-3-4", "a-b-c-d-e", "-1-2-3-4-5", "1-2-3-4-5-6", "1-2-3-4-" + "9" * 30])
async def test_an_id_that_is_none_is_an_invalid_query(change_id):
    async with river(**SMALL) as client:
        answer = await client.page(change_id)
        state = await client.sim("state")

    assert (answer.status, orjson.loads(answer.body)["error"]["code"]) == (400, 2)
    assert state["river"]["invalid_requests"] == {"total": 1, "river": 1}


async def test_the_third_request_of_a_second_is_a_429_for_a_minute():
    async with river(**SMALL) as client:
        head = await client.head()
        answers = [await client.page(head, wait_s=w) for w in (0, 0.1, 0.1, 59, 2)]
        state = (await client.sim("state"))["river"]

    assert [answer.status for answer in answers] == [200, 200, 429, 429, 200]
    assert answers[2].headers["Retry-After"] == "60"
    assert answers[2].headers["X-Rate-Limit-Ip-State"] == "3:1:60"
    assert orjson.loads(answers[2].body)["error"]["code"] == 3
    assert (state["invalid_requests"]["total"], state["bans"]) == (2, 1)


async def test_limits_can_be_ordered():
    async with river(**SMALL) as client:
        changed = await client.sim("limits", {"policy": POLICY, "rules": {"Ip": "9:10:60"}, "headers": "lower"})
        await client.sim("limits", {"policy": POLICY, "foreign": 5})
        answer = await client.page(await client.head(), wait_s=0)
        await client.sim("limits", {"policy": POLICY, "ban_s": 30, "retry_after_s": 1})
        banned = await client.page(await client.head(), wait_s=0)
        refused = await client.sim("limits", {"policy": "nobody", "foreign": 1})

    assert changed[POLICY] == {"Ip": "9:10:60"}
    assert answer.headers["x-rate-limit-ip-state"] == "6:10:0"
    assert (banned.status, banned.headers["Retry-After"]) == (429, "1")
    assert "unknown policy 'nobody'" in refused["error"]


async def test_without_the_option_there_is_no_river():
    async with river(granted=False, river=False) as client:
        assert (await client.page()).status == 404
        assert (await client.grant()).status == 404


async def test_the_ledger_holds_every_stash_that_was_served():
    async with river(**SMALL) as client:
        await client.unlimited()
        start = await client.head()
        client.clock.jump(200)
        pages, end = await client.walk(start)
        lines = await client.lines("river-ledger")
        rest = await client.lines(f"river-ledger?skip={len(lines) - 1}")

    assert rest == lines[-1:]
    assert [line["asked"] for line in lines] == [start, *(page["next_change_id"] for page in pages)]
    assert lines[-1]["next"] == lines[-1]["header_next"] == end
    assert all(line["complete"] and line["status"] == 200 for line in lines)
    for page, line in zip(pages, lines, strict=False):
        wanted = [
            [
                s["id"],
                hashlib.sha256(orjson.dumps(s)).hexdigest(),
                s.get("league"),
                len(s.get("items", ())),
                s["public"],
            ]
            for s in page["stashes"]
        ]
        assert line["stashes"] == wanted


async def test_the_ledger_can_be_a_file(tmp_path):
    path = tmp_path / "river.ndjson"
    async with river(river_ledger_path=path, **SMALL) as client:
        await client.page()
        assert [line["n"] for line in await client.lines("river-ledger")] == [1]

    assert path.read_bytes().count(b"\n") == 1


async def test_true_prices_and_sales_can_be_asked_for():
    async with river(**SMALL) as client:
        truths = await client.lines("truth-items/pc/Allflame")
        alone = await client.sim(f"truth-items/pc/Allflame?key={truths[9]['key']}")
        sales = await client.lines(f"sales/pc?since={NOW_S - 600}&until={NOW_S}")
        wrong = await client.sim("truth-items/pc/Legion")

    assert alone == {"key": truths[9]["key"], "chaos": truths[9]["chaos"]}
    assert {sale["key"] for sale in sales} & {truth["key"] for truth in truths}
    assert "unknown league 'Legion'" in wrong["error"]


def record(folder, name, next_id, stashes):
    body = orjson.dumps({"next_change_id": next_id, "stashes": stashes})
    (folder / name).write_bytes(gzip.compress(body, mtime=0))
    return body


async def test_recorded_pages_are_chained_by_their_own_ids(tmp_path):
    stash = {"id": "ab" * 32, "public": False, "league": None, "items": []}
    last = record(tmp_path, "page-a.json.gz", "9-9-9-9-9", [stash])
    first = record(tmp_path, "page-b.json.gz", "5-5-5-5-5", [stash, stash])
    async with river(replay_dir=tmp_path) as client:
        bodies = [(await client.page(asked)).body for asked in (None, "5-5-5-5-5", "7-7-7-7-7", "9-9-9-9-9")]
        console = await client.page(realm="xbox")
        lines = await client.lines("river-ledger")
        hour = await client.send("GET", "/api/currency-exchange")

    assert bodies == [first, last, last, b'{"next_change_id":"9-9-9-9-9","stashes":[]}']
    assert orjson.loads(console.body)["stashes"] == []
    assert [len(line["stashes"]) for line in lines] == [2, 1, 1, 0, 0]
    assert hour.status == 200, "hours are made where none are recorded"


@pytest.mark.skipif(not RECORDED.is_dir(), reason="no recorded pages here")
async def test_recorded_pages_are_served_to_the_byte():
    async with river(replay_dir=RECORDED) as client:
        await client.unlimited()
        pages, _ = await client.walk(None)
        (first, *_) = await client.lines("river-ledger")

    assert [len(page["stashes"]) for page in pages] == [1041, 1275]
    assert sum(len(stash["items"]) for page in pages for stash in page["stashes"]) == 2804
    assert first["stashes"][0][1] == hashlib.sha256(orjson.dumps(pages[0]["stashes"][0])).hexdigest()


def test_a_folder_without_pages_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no recorded pages"):
        RiverReplay(tmp_path)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"river_rate": 0}, "river_rate = 0: expected more than 0"),
        ({"river_stashes": 5}, "river_stashes = 5: expected 100 to"),
        ({"hostile_share": 2}, "hostile_share"),
        ({"limits": "leaky"}, "sliding or bucketed"),
        ({"foreign_rate": -1}, "foreign_rate"),
        ({"client_secret": ""}, r"client_secret = '\*\*\*'"),
    ],
)
def test_wrong_options_are_refused_with_what_is_allowed(wrong, says):
    with pytest.raises(ValueError, match=says):
        SimOptions(**wrong)
