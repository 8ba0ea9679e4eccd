"""The throttle: one gate, fair within a policy, taught by answers, remembering over restarts."""

import asyncio
import json
import random
import stat

import pytest

from ledgerd import events
from ledgerd.upstream.throttle import POLICIES_MAX, Throttle
from tests.clocks import ManualClock, settle
from tests.ratelimits import Rule, Server, limits

FAST = 100_000


def said(policy="p", limits="2:10:60", state=None, **more):
    headers = {"X-Rate-Limit-Policy": policy, "X-Rate-Limit-Rules": "Ip", "X-Rate-Limit-Ip": limits}
    return headers | ({"X-Rate-Limit-Ip-State": state} if state else {}) | more


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def seen(monkeypatch):
    found = []
    monkeypatch.setattr("ledgerd.upstream.throttle.emit", found.append)
    return found


def make(clock, path=None):
    return Throttle(FAST, FAST, clock=clock, rng=random.Random(1), state_path=path)


async def ask(throttle, endpoint="river", status=200, headers=None, *, backfill=False):
    async with throttle.slot(endpoint, backfill=backfill) as slot:
        slot.answered(status, said() if headers is None else headers)


async def spend(throttle, count, endpoint="river"):
    for _ in range(count):
        await ask(throttle, endpoint)


async def paced():
    """Let the pacer, which keeps the loop's own time, hand out its turns."""
    for _ in range(5):
        await asyncio.sleep(0.001)
        await settle()


async def test_a_full_window_holds_the_next_request_until_it_is_empty(clock):
    throttle = make(clock)
    await spend(throttle, 2)
    third = asyncio.create_task(ask(throttle))
    await clock.advance(14.9)

    assert not third.done()
    await clock.advance(0.2)
    await paced()
    assert third.done()


async def test_endpoints_of_one_policy_share_its_budget_and_others_do_not(clock):
    throttle = make(clock)
    await ask(throttle, "tab")
    await ask(throttle, "tab-list")
    held, free = asyncio.create_task(ask(throttle, "tab")), asyncio.create_task(ask(throttle, "leagues"))
    await paced()

    assert (held.done(), free.done()) == (False, True)
    held.cancel()


async def test_an_unknown_endpoint_gets_one_request_at_a_time(clock):
    throttle = make(clock)
    async with throttle.slot("river") as first:
        second = asyncio.create_task(ask(throttle))
        await paced()

        assert not second.done()
        first.answered(200, {})
        await paced()
        assert second.done()


async def test_waiters_leave_in_order_and_live_before_backfill(clock):
    throttle, order = make(clock), []
    await spend(throttle, 2)

    async def one(name, *, backfill):
        await ask(throttle, backfill=backfill)
        order.append(name)

    waiting = [("old 1", True), ("new 1", False), ("old 2", True), ("new 2", False)]
    tasks = [asyncio.create_task(one(name, backfill=backfill)) for name, backfill in waiting]
    for _ in range(4):
        await clock.advance(16)
        await paced()
    await asyncio.gather(*tasks)

    assert order == ["new 1", "new 2", "old 1", "old 2"]


async def test_a_waiter_that_gives_up_holds_nobody_back(clock):
    throttle = make(clock)
    await spend(throttle, 2)
    first, second = asyncio.create_task(ask(throttle)), asyncio.create_task(ask(throttle))
    await settle()
    first.cancel()
    await clock.advance(16)
    await paced()

    assert second.done()


async def test_a_request_without_an_answer_counts_from_its_end(clock):
    throttle = make(clock)
    await ask(throttle)
    async with throttle.slot("river"):
        await clock.advance(10)
    await clock.advance(14)

    assert [row.remaining for row in throttle.remaining()] == [1]


async def test_our_own_pace_spaces_requests_evenly():
    throttle = Throttle(50, 1000)
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    for _ in range(6):
        await ask(throttle, headers={})

    assert loop.time() - began_s >= 5 / 50 * 0.95


async def test_a_429_is_an_event_naming_the_rule_and_so_is_the_silence_it_brings(clock, seen):
    throttle = make(clock)
    await ask(throttle, status=429, headers=said(state="3:10:60", **{"Retry-After": "61"}))

    assert seen[0] == events.RateLimited("p", endpoint="river", rule="Ip 2:10:60")
    assert seen[1] == events.BackedOff("p", rule="Ip 2:10:60", reason="Retry-After", wait_s=67.0)
    held = asyncio.create_task(ask(throttle))
    await clock.advance(66.9)
    await paced()
    assert not held.done()
    await clock.advance(0.2)
    await paced()
    assert held.done()


async def test_odd_headers_are_said_once_until_they_are_well_again(clock, seen):
    throttle = make(clock)
    for text in ("junk", "junk", "50:10:60", "junk"):
        await ask(throttle, headers=said(limits=text))

    assert [type(event).__name__ for event in seen] == ["Noted", "Noted"]
    assert "no hits:period:restriction" in seen[0].note


async def test_another_policy_does_not_shorten_the_wait_in_force(clock):
    throttle = make(clock)
    await ask(throttle)
    await ask(throttle)
    held = asyncio.create_task(ask(throttle))
    await clock.advance(16)
    await paced()
    assert held.done()
    await ask(throttle)
    await clock.advance(16)
    await ask(throttle)
    await ask(throttle, headers=said(policy="q", limits="99:1:60"))
    held = asyncio.create_task(ask(throttle))
    await clock.advance(14)
    await paced()

    assert not held.done()
    held.cancel()


async def test_a_flood_of_policies_is_bounded_and_makes_way(clock):
    throttle = make(clock)
    for number in range(POLICIES_MAX * 3):
        await ask(throttle, headers=said(policy=f"p{number}", limits="99:1:60"))
        await clock.advance(2)

    assert len(throttle._budgets) <= POLICIES_MAX
    assert throttle._policy_of["river"] == f"p{POLICIES_MAX * 3 - 1}"


async def test_the_gauge_is_what_remains_at_the_moment_it_is_read(clock):
    throttle = make(clock)
    await ask(throttle, headers=said(policy="gauged"))
    gauge = events.RATE_LIMIT_REMAINING.labels("gauged", "Ip", "10")
    [metric] = gauge.collect()

    assert metric.samples[0].value == 1
    await clock.advance(16)
    [metric] = gauge.collect()
    assert metric.samples[0].value == 2


async def test_limits_and_requests_survive_a_restart(clock, tmp_path):
    path = tmp_path / "throttle.json"
    await spend(make(clock, path), 2)
    again = make(clock, path)
    again.restore()
    held = asyncio.create_task(ask(again))
    await clock.advance(14.9)
    await paced()

    assert not held.done()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    await clock.advance(0.2)
    await paced()
    assert held.done()


async def test_a_kill_while_a_request_is_under_way_forgets_nothing(clock, tmp_path):
    path = tmp_path / "throttle.json"
    throttle = make(clock, path)
    await ask(throttle)
    async with throttle.slot("river"):
        kept = json.loads(path.read_bytes())

    assert len(kept["budgets"][0]["own"]) == 2
    assert kept["budgets"][0]["own"][1][1] is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 1}', '{"version": 1, "budgets": [{}], "unnamed": {}, '
                                  '"policies": {}}', "\x00" * 100])  # fmt: skip
async def test_a_spoilt_state_file_is_ignored_with_an_event(clock, tmp_path, seen, text):
    path = tmp_path / "throttle.json"
    path.write_text(text)
    throttle = make(clock, path)
    throttle.restore()
    await ask(throttle)

    assert [event.note.partition(",")[0] for event in seen] == ["throttle.json is ignored"]
    assert len(throttle.remaining()) == 1


async def test_a_disk_that_takes_no_state_is_said_once_and_stops_nothing(clock, tmp_path, seen):
    throttle = make(clock, tmp_path / "missing" / "throttle.json")
    throttle.restore()
    await spend(throttle, 2)

    assert ["cannot be written" in event.note for event in seen] == [True]


@pytest.mark.parametrize("is_bucketed", [False, True])
async def test_many_tasks_at_one_gate_never_overrun_a_server_that_others_use_too(clock, is_bucketed):
    began_s, throttle = clock.now(), make(clock)
    strangers = [began_s + at_s for at_s in (0.1, 41.0, 77.0, 130.0)]
    server = Server([(0.0, [Rule("Ip", limits("6:10:60,20:60:300"))])], is_bucketed, strangers)
    statuses = []

    async def worker():
        while True:
            async with throttle.slot("river") as slot:
                await clock.sleep(0.2)
                status, headers = server.arrive(clock.now())
                await clock.sleep(0.2)
                slot.answered(status, headers)
                statuses.append(status)

    workers = [asyncio.create_task(worker()) for _ in range(3)]
    for _ in range(450):
        await clock.advance(0.4)
        await asyncio.sleep(0.0005)
    for task in workers:
        task.cancel()

    assert set(statuses) == {200}
    assert len(statuses) >= 30
