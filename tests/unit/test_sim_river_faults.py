"""Faults of the river: each does what its name says to a page, and the book tells what a client can have read."""

import asyncio
import hashlib

import aiohttp
import orjson
import pytest

from ledgerd.sim import river as river_module
from ledgerd.sim.faults import AT_RANDOM, RIVER_AT_RANDOM, RIVER_ONLY, FaultPlan, Order, read_orders
from ledgerd.sim.river import LIMIT_CHANGES
from ledgerd.sim.timeline import parse_id
from tests.simriver import SMALL, hanging, river


async def struck(fault, **options):
    """The id asked, the answer with the fault, the next one, and the book's line on the first."""
    async with river(**SMALL, **options) as client:
        head = await client.head()
        client.clock.jump(60)
        await client.sim("faults", [{"fault": fault, "to": "river"}])
        answer = await client.page(head)
        after = await client.page(head)
        (line, *_) = await client.lines("river-ledger")
        return head, answer, after, line


@pytest.mark.parametrize(
    ("fault", "status"),
    [("http_500", 500), ("http_502", 502), ("http_503", 503), ("http_401", 401), ("http_403", 403), ("http_429", 429),
     ("html", 200), ("http_404_html", 404), ("garbage", 200), ("wrong_type_json", 200), ("invalid_token", 401)],
)  # fmt: skip
async def test_faults_that_leave_no_page_leave_no_stash_in_the_book(fault, status):
    _, answer, after, line = await struck(fault)

    assert answer.status == line["status"] == status
    assert line["stashes"] == []
    assert (line["fault"], line["next"]) == (fault, None)
    assert after.status == (401 if fault == "invalid_token" else 200)
    has_limits = "X-Rate-Limit-Policy" in answer.headers
    assert has_limits == (fault in {"http_403", "http_429", "garbage", "wrong_type_json"})


@pytest.mark.parametrize(
    ("fault", "text"),
    [("lone_surrogate", b"\\ud800"), ("huge_number", b":1e400"), ("nul_byte", b"\\u0000"), ("bad_utf8", b"\xff\xfe"),
     ("deep_json", b"[" * 100_000), ("overflow_int64", b":9223372036854775808"), ("float_number", b":84.5"),
     ("duplicate_keys", b'"league":"Duplicate","league"'), ("negative_number", b'"w":-7'), ("missing_field", b"")],
)  # fmt: skip
async def test_damage_strikes_one_stash_and_the_book_names_it(fault, text):
    _, answer, _, line = await struck(fault)
    (about,) = [stash for stash in line["stashes"] if stash[0] == line["struck"]]
    raw = answer.body[answer.body.index(b'{"id":"' + line["struck"].encode()) :]
    following = line["stashes"][line["stashes"].index(about) + 1 :]
    raw = raw[: raw.index(b',{"id":"' + following[0][0].encode())] if following else raw[:-2]

    assert text in answer.body
    assert about[1] == hashlib.sha256(raw).hexdigest()


@pytest.mark.parametrize("fault", ["backwards_cursor", "repeated_cursor"])
async def test_a_wrong_cursor_stands_in_body_and_header_alike(fault):
    head, answer, _, line = await struck(fault)
    page = orjson.loads(answer.body)
    numbers = parse_id(page["next_change_id"])

    assert page["stashes"]
    assert answer.headers["X-Next-Change-Id"] == page["next_change_id"] == line["next"]
    assert (sum(numbers) < sum(parse_id(head))) if fault == "backwards_cursor" else page["next_change_id"] == head


async def test_a_lying_header_names_another_id_than_the_body():
    _, answer, after, line = await struck("lying_next_id")

    assert answer.headers["X-Next-Change-Id"] == line["header_next"] != line["next"]
    assert orjson.loads(answer.body)["next_change_id"] == line["next"]
    assert after.headers["X-Next-Change-Id"] == orjson.loads(after.body)["next_change_id"]


async def test_limits_change_on_order_from_the_answer_struck_on():
    _, answer, after, _ = await struck("limit_change")

    assert answer.status == 200
    assert answer.headers["X-Rate-Limit-Ip"] == after.headers["X-Rate-Limit-Ip"] == LIMIT_CHANGES[0]


async def test_a_storm_refuses_several_with_a_wait_too_short():
    async with river(**SMALL) as client:
        await client.sim("faults", [{"fault": "storm_429", "times": 3}])
        answers = [await client.page() for _ in range(4)]

    assert [answer.status for answer in answers] == [429, 429, 429, 200]
    assert {answer.headers.get("Retry-After") for answer in answers[:3]} == {"1"}


async def test_a_bom_stands_before_a_page_that_is_whole():
    _, answer, _, line = await struck("bom")

    assert answer.body.startswith(b"\xef\xbb\xbf{")
    assert len(orjson.loads(answer.body[3:])["stashes"]) == len(line["stashes"])


async def test_a_gzip_that_breaks_off_is_in_the_book_as_not_read():
    _, answer, _, line = await struck("truncated_gzip")

    assert (line["fault"], line["stashes"], line["complete"]) == ("truncated_gzip", [], True)
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(answer.body)


async def test_a_reset_breaks_off_and_the_book_says_so():
    async with river(**SMALL) as client:
        await client.sim("faults", [{"fault": "reset", "to": "river"}])
        with pytest.raises(aiohttp.ClientError):
            await client.page()
        (line,) = await client.lines("river-ledger")

    assert (line["fault"], line["complete"]) == ("reset", False)


async def test_a_hanging_page_ends_when_the_client_gives_up(monkeypatch):
    hangs = hanging(monkeypatch, river_module)
    async with river(**SMALL) as client:
        await client.sim("faults", [{"fault": "hang", "to": "river"}])
        asking = asyncio.create_task(client.page())
        await hangs.wait()
        asking.cancel()
        while not (lines := await client.lines("river-ledger")):
            pass

    assert (lines[0]["fault"], lines[0]["complete"]) == ("hang", False)


async def test_orders_for_the_river_leave_the_exchange_alone():
    async with river(**SMALL) as client:
        await client.sim("faults", [{"fault": "html", "to": "river"}, "invalid_token"])
        exchange = await client.send("GET", "/api/currency-exchange/sony")
        page = await client.page()

    assert exchange.body.startswith(b"{")
    assert page.body.startswith(b"<!DOCTYPE")


def test_random_faults_of_the_river_are_all_but_the_slow_and_the_bomb():
    plan = FaultPlan(3, 1.0)
    drawn = {plan.take(n, None, has_markets=True, to="river") for n in range(6000)}

    assert drawn == set(RIVER_AT_RANDOM) == set(AT_RANDOM) | set(RIVER_ONLY)


def test_a_river_order_never_strikes_the_exchange():
    plan = FaultPlan()
    plan.order(read_orders([{"fault": "lying_next_id"}, {"fault": "html", "to": "river", "times": 2}]))

    assert plan.take(1, None, has_markets=True) is None
    assert [plan.take(n, None, has_markets=True, to="river") for n in range(4)] == [
        "lying_next_id",
        "html",
        "html",
        None,
    ]
    assert read_orders(["storm_429"]) == [Order("storm_429", times=8)]
    with pytest.raises(ValueError, match="expected to to be one of exchange, river"):
        read_orders([{"fault": "html", "to": "sea"}])
