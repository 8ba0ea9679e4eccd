"""The stand-in's server: it answers as the public exchange was seen to, and its book holds what it served."""

import asyncio
import gzip
import hashlib
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import orjson
import pytest

from ledgerd.sim import exchange
from ledgerd.sim.faults import FAULTS
from ledgerd.sim.replay import Replay
from ledgerd.sim.server import SimOptions, running, serve
from ledgerd.sim.source import MarketSource
from ledgerd.sim.world import builtin_ids
from tests.clocks import ManualClock
from tests.simriver import hanging

HOUR = 1_787_086_800
RECORDED = Path(__file__).parents[3] / "shared" / "data" / "exchange"


class Client:
    """Asks one stand-in; ``get`` gives status, decompressed body and headers."""

    def __init__(self, url, session, clock):
        self.url, self.session, self.clock = url, session, clock

    async def get(self, path, **kwargs):
        async with self.session.get(self.url + path, **kwargs) as response:
            body = await response.read()
            return SimpleNamespace(
                status=response.status, body=body, headers=response.headers, type=response.content_type
            )

    async def hour(self, tail="", **kwargs):
        return await self.get(f"/api/currency-exchange{tail}", **kwargs)

    async def json(self, tail):
        return orjson.loads((await self.hour(tail)).body)

    async def post(self, path, value):
        async with self.session.post(f"{self.url}/_sim/{path}", data=orjson.dumps(value)) as response:
            return response.status, orjson.loads(await response.read())

    async def ledger(self):
        return [orjson.loads(line) for line in (await self.get("/_sim/ledger")).body.splitlines()]


def few_currencies(folder):
    """A table of 25 currencies, so that an hour is made in no time."""
    table = folder / "few.tsv"
    table.write_text("metadata_id\tgame\n" + "".join(f"{c}\tboth\n" for c in builtin_ids("poe1")[:25]))
    return table


@asynccontextmanager
async def sim(**options):
    """A stand-in whose clock stands half an hour into ``HOUR``, and a client of it."""
    clock = ManualClock(HOUR + 1800)
    with tempfile.TemporaryDirectory() as folder:
        table = few_currencies(Path(folder))
        whole = SimOptions(**{"ids_path": table, **options})
        async with running(whole, clock) as url, aiohttp.ClientSession() as session:
            yield Client(url, session, clock)


async def answers(ask):
    """What ``ask`` gives once it gives anything."""
    for _ in range(2000):
        if found := await ask():
            return found
        await asyncio.sleep(0)
    raise AssertionError(f"{ask} had nothing to say")


async def test_an_hour_is_the_one_asked_for_and_names_the_next():
    async with sim() as client:
        page = await client.json(f"/poe2/{HOUR - 7200}")
        truth = await client.get(f"/_sim/hour/poe2/{HOUR - 7200}")

    assert page["next_change_id"] == HOUR - 3600
    assert page == orjson.loads(truth.body)


async def test_no_id_is_the_oldest_hour_not_the_newest():
    async with sim(history_hours=50) as client:
        assert (await client.json("/sony"))["next_change_id"] == HOUR - 49 * 3600
        assert (await client.json(""))["next_change_id"] == HOUR - 49 * 3600


async def test_no_realm_is_the_first_games_pc():
    async with sim() as client:
        bare, truth = await client.hour(f"/{HOUR - 3600}"), await client.get(f"/_sim/hour/pc/{HOUR - 3600}")

    assert bare.body == truth.body


@pytest.mark.parametrize("ahead", [0, 1, 30])
async def test_an_unpublished_hour_is_a_404_naming_the_first_unpublished_one(ahead):
    async with sim() as client:
        answer = await client.hour(f"/poe2/{HOUR + ahead * 3600}")

    assert (answer.status, answer.type) == (404, "application/json")
    assert orjson.loads(answer.body) == {"next_change_id": HOUR, "markets": []}


async def test_an_hour_is_published_a_while_after_it_ends():
    async with sim(publish_delay_s=120) as client:
        seen = []
        for wait_s in (1800 + 119, 1):
            await client.clock.advance(wait_s)
            seen.append((await client.hour(f"/poe2/{HOUR}")).status)

    assert seen == [404, 200]


async def test_an_hour_before_the_oldest_sends_the_client_to_the_oldest():
    async with sim(history_hours=10) as client:
        answer = await client.hour("/poe2/3600")

    assert (answer.status, orjson.loads(answer.body)["next_change_id"]) == (404, HOUR - 36_000)


@pytest.mark.parametrize(
    "tail", ["/123", "/poe2/1787086801", "/poe2/x", "/pc", f"/poe2/{HOUR}/1", "/-3600", "/" + "9" * 40]
)
async def test_an_id_that_is_no_hour_is_an_invalid_query(tail):
    async with sim() as client:
        answer = await client.hour(tail)

    assert answer.status == 400
    assert orjson.loads(answer.body)["error"]["code"] == 2


async def test_bodies_are_gzip_only_for_those_who_accept_it():
    async with sim() as client:
        packed = await client.hour(f"/{HOUR - 3600}")
        plain = await client.hour(f"/{HOUR - 3600}", headers={"Accept-Encoding": "identity"})

    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert packed.body == plain.body


async def test_there_are_no_rate_limit_headers_and_no_etag():
    async with sim() as client:
        names = {name.lower() for name in (await client.hour(f"/{HOUR - 3600}")).headers}

    assert not any(name.startswith("x-rate-limit") for name in names)
    assert "etag" not in names


async def test_head_is_answered_without_a_body_and_post_not_at_all():
    async with sim() as client:
        async with client.session.head(f"{client.url}/api/currency-exchange/{HOUR - 3600}") as head:
            body = await head.read()
        async with client.session.post(f"{client.url}/api/currency-exchange") as post:
            code = orjson.loads(await post.read())["error"]["code"]

    assert (head.status, body) == (200, b"")
    assert (post.status, code) == (405, 9)


async def test_gaps_are_never_there_and_their_404_jumps_over_them():
    source = MarketSource(1, gap_rate=0.4)
    hours = range(HOUR - 200 * 3600, HOUR, 3600)
    gap = next(h for h in hours if not source.exists("poe2", h) and not source.exists("poe2", h + 3600))
    after = next(h for h in range(gap, HOUR, 3600) if source.exists("poe2", h))
    async with sim(gap_rate=0.4) as client:
        answer = await client.hour(f"/poe2/{gap}")
        status = (await client.hour(f"/poe2/{after}")).status

    assert (answer.status, orjson.loads(answer.body)["next_change_id"]) == (404, after)
    assert status == 200


async def test_a_manual_edge_moves_when_told_and_not_with_the_clock():
    async with sim(edge="manual") as client:
        await client.clock.advance(7 * 3600)
        before = (await client.hour(f"/poe2/{HOUR}")).status
        moved = await client.post("edge", {"advance": 2})
        after = [(await client.hour(f"/poe2/{HOUR + n * 3600}")).status for n in range(3)]
        put = await client.post("edge", {"hour": HOUR - 3600})

    assert before == 404
    assert moved[1]["edge"]["poe2"] == HOUR + 7200
    assert after == [200, 200, 404]
    assert put[1]["edge"]["pc"] == HOUR - 3600


@pytest.mark.parametrize("order", [{}, {"hour": 5}, {"advance": "1"}, {"advance": 1, "hour": HOUR}, []])
async def test_a_wrong_edge_order_is_refused_in_words(order):
    async with sim(edge="manual") as client:
        status, body = await client.post("edge", order)

    assert status == 400
    assert "expected" in body["error"]


async def test_an_edge_that_follows_the_clock_cannot_be_moved():
    async with sim() as client:
        assert (await client.post("edge", {"advance": 1}))[0] == 400


async def test_the_truth_and_the_state_can_be_read():
    async with sim() as client:
        truth = await client.get(f"/_sim/truth/poe2/Runes of Aldur/{HOUR}")
        state = orjson.loads((await client.get("/_sim/state")).body)
        refused = await client.get(f"/_sim/truth/poe2/Legion/{HOUR}")

    assert orjson.loads(truth.body)["Metadata/Items/Currency/CurrencyRerollRare"] == 1.0
    assert state["edge"] == dict.fromkeys(("pc", "xbox", "sony", "poe2"), HOUR)
    assert "Allflame" in state["leagues"]["pc"]
    assert refused.status == 400


async def test_the_ledger_holds_what_was_served():
    async with sim() as client:
        good = await client.hour(f"/poe2/{HOUR - 3600}")
        await client.post("faults", ["html"])
        page = await client.hour(f"/{HOUR - 3600}")
        await client.hour(f"/xbox/{HOUR}")
        first, second, third = await client.ledger()

    assert first == {
        "n": 1,
        "at": HOUR + 1800.0,
        "method": "GET",
        "realm": "poe2",
        "hour": HOUR - 3600,
        "status": 200,
        "fault": None,
        "markets": len(orjson.loads(good.body)["markets"]),
        "sha256": hashlib.sha256(good.body).hexdigest(),
        "complete": True,
    }
    assert (second["fault"], second["realm"], second["sha256"]) == ("html", "pc", hashlib.sha256(page.body).hexdigest())
    assert (third["status"], third["markets"], third["hour"]) == (404, 0, HOUR)


async def test_a_ledger_file_holds_the_same_lines(tmp_path):
    path = tmp_path / "served.ndjson"
    async with sim(ledger_path=path) as client:
        await client.hour(f"/{HOUR}")
        lines = (await client.get("/_sim/ledger")).body

    assert lines == path.read_bytes()
    assert orjson.loads(lines)["n"] == 1


async def test_a_reset_breaks_off_and_the_ledger_says_so():
    async with sim() as client:
        await client.post("faults", ["reset"])
        with pytest.raises(aiohttp.ClientError):
            await client.hour(f"/poe2/{HOUR - 3600}")
        (entry,) = await answers(client.ledger)

    assert (entry["fault"], entry["status"], entry["complete"]) == ("reset", 200, False)


async def test_a_hanging_answer_ends_when_the_client_gives_up(monkeypatch):
    hangs = hanging(monkeypatch, exchange)
    async with sim() as client:
        await client.post("faults", ["hang"])
        asking = asyncio.create_task(client.hour(f"/{HOUR}"))
        await hangs.wait()
        asking.cancel()
        (entry,) = await answers(client.ledger)

    assert (entry["fault"], entry["complete"]) == ("hang", False)


async def test_a_hanging_answer_does_not_hold_up_the_shutdown(monkeypatch):
    hangs = hanging(monkeypatch, exchange)
    async with aiohttp.ClientSession() as session:
        async with asyncio.timeout(30), running(SimOptions(), ManualClock(HOUR)) as url:
            client = Client(url, session, None)
            await client.post("faults", ["hang"])
            asking = asyncio.create_task(client.hour(f"/{HOUR}"))
            await hangs.wait()
        with pytest.raises(aiohttp.ClientError):
            await asking


async def test_a_slow_answer_takes_its_time_by_the_clock_and_is_whole():
    async with sim(slow_s=20) as client:
        await client.post("faults", ["slow"])
        asked = asyncio.create_task(client.hour(f"/{HOUR - 3600}"))
        while not asked.done():
            if client.clock.sleepers:
                await client.clock.advance(1.25)
            await asyncio.sleep(0)
        true = await client.get(f"/_sim/hour/pc/{HOUR - 3600}")

    assert asked.result().body == true.body
    assert client.clock.now() == HOUR + 1800 + 20


async def test_an_order_for_an_hour_strikes_that_hour_alone():
    async with sim() as client:
        await client.post("faults", [{"fault": "http_500", "hour": HOUR - 3600}])
        statuses = [(await client.hour(f"/{hour}")).status for hour in (HOUR - 7200, HOUR - 3600, HOUR - 3600)]

    assert statuses == [200, 500, 200]


@pytest.mark.parametrize("fault", sorted(set(FAULTS) - {"hang", "reset", "slow", "gzip_bomb"}))
async def test_every_fault_comes_over_the_wire_and_is_gone_after(fault):
    async with sim() as client:
        await client.post("faults", [fault])
        struck = await client.hour(f"/sony/{HOUR - 3600}")
        healed = await client.hour(f"/sony/{HOUR - 3600}")
        true = await client.get(f"/_sim/hour/sony/{HOUR - 3600}")
        entries = await client.ledger()

    assert struck.body != true.body
    assert healed.body == true.body
    assert [entry["fault"] for entry in entries] == [fault, None]


async def test_unknown_faults_are_refused_with_the_list():
    async with sim() as client:
        status, body = await client.post("faults", ["htlm"])

    assert status == 400
    assert "expected one of http_500" in body["error"]


def recording(folder, name, hour):
    body = orjson.dumps({"next_change_id": hour + 3600, "markets": []})
    (folder / name).write_bytes(gzip.compress(body, mtime=0))
    return body


async def test_a_replay_serves_its_files_and_nothing_between(tmp_path):
    first = recording(tmp_path, f"poe2-{HOUR}.json.gz", HOUR)
    last = recording(tmp_path, f"poe2-{HOUR + 5 * 3600}-sample.json.gz", HOUR + 5 * 3600)
    async with sim(replay_dir=tmp_path) as client:
        bodies = [(await client.hour(tail)).body for tail in ("/poe2", f"/poe2/{HOUR}", f"/poe2/{HOUR + 5 * 3600}")]
        between = await client.json(f"/poe2/{HOUR + 3600}")
        beyond = await client.json(f"/poe2/{HOUR + 9 * 3600}")
        other = await client.hour("/xbox")

    assert bodies == [first, first, last]
    assert between == {"next_change_id": HOUR + 5 * 3600, "markets": []}
    assert beyond == {"next_change_id": HOUR + 6 * 3600, "markets": []}
    assert other.status == 404


@pytest.mark.skipif(not RECORDED.is_dir(), reason="no recorded hours here")
async def test_a_replay_of_recorded_hours_equals_the_files():
    async with sim(replay_dir=RECORDED) as client:
        for path in RECORDED.glob("poe2-*.json.gz"):
            served = await client.hour("/" + path.name.removesuffix(".json.gz").replace("-", "/"))
            assert served.body == gzip.decompress(path.read_bytes())
        pages = [await client.json(tail) for tail in ("", "/poe2")]

    assert [page["next_change_id"] for page in pages] == [1_787_122_800, 1_787_025_600]


def test_a_folder_without_recordings_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no recorded hours"):
        Replay(tmp_path)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"host": "0.0.0.0"}, "loopback address, 127.0.0.1 or ::1"),
        ({"port": 70_000}, "0 .any free one. to 65535"),
        ({"fault_rate": 2}, "fault_rate = 2: expected 0 to 1"),
        ({"gap_rate": 1}, "gap_rate"),
        ({"late_rate": -1}, "late_rate"),
        ({"history_hours": 0}, "at least 1"),
        ({"publish_delay_s": -1}, "publish_delay_s"),
        ({"speed": 0}, "more than 0"),
        ({"edge": "auto"}, "clock or manual"),
        ({"faults": ("x",)}, "unknown fault 'x': expected one of"),
    ],
)
def test_wrong_options_are_refused_with_what_is_allowed(wrong, says):
    with pytest.raises(ValueError, match=says):
        SimOptions(**wrong)


async def test_serve_tells_its_address_and_stops_when_cancelled():
    told = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(SimOptions(), ManualClock(HOUR), told.set_result))
    url = await told
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert url.startswith("http://127.0.0.1:")
