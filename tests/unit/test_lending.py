"""Turns for other jobs: one budget with our own, leases that end however they end, restarts that forget none."""

import asyncio
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgerd.errors import NotKnown, Refused
from ledgerd.upstream.lending import Lease, Lending, NotYet
from ledgerd.upstream.throttle import LEASE_S, LEASES_MAX, POLICIES_MAX, Throttle
from tests.clocks import ManualClock, settle

FAST = 100_000


def said(policy="p", limits="2:10:60", state=None, **more):
    headers = {"X-Rate-Limit-Policy": policy, "X-Rate-Limit-Rules": "Ip", "X-Rate-Limit-Ip": limits}
    return headers | ({"X-Rate-Limit-Ip-State": state} if state else {}) | more


@pytest.fixture
def clock():
    return ManualClock()


def make(clock, path=None, requests_per_s=FAST):
    throttle = Throttle(requests_per_s, FAST, clock=clock, rng=random.Random(1), state_path=path)
    throttle.restore()
    return throttle, Lending(throttle)


async def ask(throttle, endpoint="river", headers=None):
    async with throttle.slot(endpoint) as slot:
        slot.answered(200, said() if headers is None else headers)


async def paced():
    for _ in range(5):
        await asyncio.sleep(0.001)
        await settle()


async def lent(lending, **wanted):
    got = await lending.reserve(**wanted)

    assert isinstance(got, Lease), got
    return got


def left(throttle):
    return [row.remaining for row in throttle.remaining()]


async def test_a_lease_takes_room_from_our_own_requests_and_they_from_leases(clock):
    throttle, lending = make(clock)
    await ask(throttle)
    lease = await lent(lending, policy="p")

    assert left(throttle) == [0]
    lending.answered(lease.name, 200, said())
    got = await lending.reserve(policy="p")
    assert got == NotYet(clock.now() + 15)
    ours = asyncio.create_task(ask(throttle))
    await clock.advance(14.9)
    await paced()
    assert not ours.done()
    await clock.advance(0.2)
    await paced()
    assert ours.done()


async def test_nothing_is_taken_by_who_gets_no_lease(clock):
    throttle, lending = make(clock)
    for _ in range(2):
        await ask(throttle)
    for wait_s in (0, 0.01):
        assert isinstance(await lending.reserve(policy="p", wait_s=wait_s), NotYet)
    await clock.advance(15.1)

    assert left(throttle) == [2]
    assert lending.standing().leases == 0
    assert throttle._waiting == {}


async def test_who_waits_gets_his_turn_in_order(clock):
    throttle, lending = make(clock)
    for _ in range(2):
        await ask(throttle)
    job = asyncio.create_task(lending.reserve(endpoint="river", wait_s=30))
    await settle()
    ours = [asyncio.create_task(ask(throttle)) for _ in range(2)]
    await clock.advance(15.1)
    await paced()

    assert isinstance(job.result(), Lease)
    assert [task.done() for task in ours] == [True, False]
    ours[1].cancel()


async def test_our_own_pace_holds_for_leases_too(clock):
    _, lending = make(clock, requests_per_s=0.5)
    await lent(lending, endpoint="a")

    assert await lending.reserve(endpoint="b") == NotYet(clock.now() + 2)


async def test_an_unknown_endpoint_is_learnt_from_the_report(clock):
    _, lending = make(clock)
    first = await lent(lending, endpoint="stash")

    assert first.policy == ""
    assert isinstance(await lending.reserve(endpoint="stash"), NotYet)
    taken = lending.answered(first.name, 200, said("stash-policy"))
    assert (taken.policy, taken.problems, taken.next_s) == ("stash-policy", (), clock.now())
    second = await lent(lending, endpoint="stash")
    assert second.policy == "stash-policy"
    [row] = lending.standing().policies
    assert (row.policy, row.endpoints, row.under_way) == ("stash-policy", ("stash",), 1)


async def test_a_lease_of_a_policy_may_turn_out_to_be_of_another_and_changes_no_endpoint(clock):
    throttle, lending = make(clock)
    await ask(throttle)
    lease = await lent(lending, policy="p")
    taken = lending.answered(lease.name, 200, said("q"))

    assert taken.policy == "q"
    assert [(row.policy, row.endpoints) for row in lending.standing().policies] == [("p", ("river",)), ("q", ())]


async def test_a_429_reported_silences_our_own_requests(clock):
    throttle, lending = make(clock)
    await ask(throttle)
    lease = await lent(lending, policy="p")
    lending.answered(lease.name, 429, said(state="3:10:60", **{"Retry-After": "61"}))

    assert lending.standing().policies[0].next_s == clock.now() + 67
    assert lending.standing().policies[0].limits[0].restricted_until_s == clock.now() + 67


async def test_a_lease_never_reported_counts_as_sent_up_to_its_expiry(clock):
    throttle, lending = make(clock)
    await ask(throttle)
    lease = await lent(lending, policy="p")
    await clock.advance(LEASE_S + 14.9)

    assert left(throttle) == [1]
    assert lending.standing().leases_lost == 1
    with pytest.raises(NotKnown, match="expired"):
        lending.answered(lease.name, 200, said())
    await clock.advance(0.2)
    assert left(throttle) == [2]


async def test_who_waits_for_an_answer_that_never_comes_goes_on_at_the_expiry(clock):
    throttle, lending = make(clock)
    await lent(lending, endpoint="river")
    ours = asyncio.create_task(ask(throttle))
    await clock.advance(LEASE_S - 0.1)
    await paced()

    assert not ours.done()
    await clock.advance(0.2)
    await paced()
    assert ours.done()


async def test_a_request_that_ended_without_an_answer_is_held_from_then_on(clock):
    throttle, lending = make(clock)
    await ask(throttle)
    lease = await lent(lending, policy="p")
    await clock.advance(5)
    lending.unanswered(lease.name)
    await clock.advance(14.9)

    assert left(throttle) == [1]
    await clock.advance(0.2)
    assert left(throttle) == [2]


async def test_a_lease_is_reported_once(clock):
    _, lending = make(clock)
    lease = await lent(lending, endpoint="stash")
    lending.answered(lease.name, 200, {})
    for report in (lambda: lending.answered(lease.name, 200, {}), lambda: lending.unanswered(lease.name)):
        with pytest.raises(NotKnown, match="no such lease"):
            report()


async def test_open_leases_are_bounded(clock):
    throttle, lending = make(clock)
    await ask(throttle, headers=said(limits="999:10:60"))
    for _ in range(LEASES_MAX):
        await lent(lending, policy="p", wait_s=5)

    assert isinstance(await lending.reserve(policy="p", wait_s=5), NotYet)
    await clock.advance(LEASE_S)
    await lent(lending, policy="p")


async def test_endpoints_are_bounded_and_those_known_go_on(clock):
    _, lending = make(clock)
    for number in range(POLICIES_MAX):
        lease = await lent(lending, endpoint=f"e{number}", wait_s=5)
        lending.answered(lease.name, 200, said())
        await clock.advance(20)

    with pytest.raises(Refused, match="kept apart"):
        await lending.reserve(endpoint="one-more")
    await lent(lending, endpoint="e0")


async def test_a_policy_nobody_told_of_is_not_known_and_near_ones_are_named(clock):
    throttle, lending = make(clock)
    await ask(throttle, headers=said("stash-request-limit"))

    with pytest.raises(NotKnown) as error:
        await lending.reserve(policy="stash-limit")
    assert error.value.suggestions == ("stash-request-limit",)


async def test_a_restart_keeps_leases_and_counts_each_once(clock, tmp_path):
    path = tmp_path / "throttle.json"
    throttle, lending = make(clock, path)
    await ask(throttle, headers=said(limits="9:10:60"))
    known = await lent(lending, policy="p")
    unknown = await lent(lending, endpoint="stash")
    await clock.advance(20)
    again, lending = make(clock, path)

    assert left(again) == [8]
    assert lending.standing().leases == 2
    assert lending.answered(known.name, 200, said(limits="9:10:60")).policy == "p"
    assert isinstance(await lending.reserve(endpoint="stash"), NotYet)
    lending.answered(unknown.name, 200, said("q"))
    assert lending.standing().leases == 0


async def test_a_lease_that_expired_while_we_were_down_counts_to_its_expiry(clock, tmp_path):
    path = tmp_path / "throttle.json"
    throttle, lending = make(clock, path)
    await ask(throttle)
    await lent(lending, policy="p")
    await clock.advance(LEASE_S + 10)
    again, lending = make(clock, path)

    assert left(again) == [1]
    assert lending.standing().leases_lost == 1
    await clock.advance(5.1)
    assert left(again) == [2]


@pytest.mark.parametrize("leases", [None, {}, "x", [1], [["a", "b", "c", "d", "e"]], [["a", "b", "c", 1.0, None]]])
async def test_spoilt_leases_spoil_the_file_and_nothing_else(clock, tmp_path, monkeypatch, leases):
    path, seen = tmp_path / "throttle.json", []
    throttle, _ = make(clock, path)
    await ask(throttle)
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"leases": leases}))
    monkeypatch.setattr("ledgerd.upstream.throttle.emit", seen.append)
    again, _ = make(clock, path)

    assert ["is ignored" in event.note for event in seen] == [True]
    assert again.remaining() == []


async def test_a_file_from_before_there_were_leases_is_taken(clock, tmp_path):
    path = tmp_path / "throttle.json"
    throttle, _ = make(clock, path)
    await ask(throttle)
    kept = json.loads(path.read_bytes())
    del kept["leases"], kept["budgets"][0]["told_s"]
    path.write_text(json.dumps(kept))
    again, _ = make(clock, path)

    assert left(again) == [1]


async def test_limits_in_a_late_report_do_not_undo_newer_ones(clock):
    throttle, lending = make(clock)
    await ask(throttle, headers=said(limits="9:10:60"))
    early = await lent(lending, policy="p")
    await clock.advance(1)
    await ask(throttle, headers=said(limits="3:10:60"))
    lending.answered(early.name, 200, said(limits="9:10:60"))

    [row] = throttle.remaining()
    assert row.hits == 3


@given(st.integers(0, 2**32))
def test_whatever_jobs_do_the_ledger_holds_every_request_once(seed):
    async def run():
        rng, clock = random.Random(seed), ManualClock()
        throttle, lending = make(clock)
        await ask(throttle, headers=said(limits="40:300:60"))
        leases, sent = [], 1
        for _ in range(30):
            await clock.advance(rng.choice((0, 0.1, 5, 20)))
            act = rng.random()
            if act < 0.5:
                got = await lending.reserve(policy="p", wait_s=0)
                leases += [got.name] if isinstance(got, Lease) else []
                sent += isinstance(got, Lease)
            elif act < 0.7 and sent < 40:
                await ask(throttle, headers=said(limits="40:300:60"))
                sent += 1
            elif leases:
                lease = leases.pop(rng.randrange(len(leases)))
                try:
                    lending.unanswered(lease) if act < 0.8 else lending.answered(lease, 200, said(limits="40:300:60"))
                except NotKnown:
                    continue
            assert len(throttle.lent) <= LEASES_MAX
            assert sum(spent.hits for spent in throttle._budgets["p"]._own) == sent
            assert left(throttle) >= [40 - sent]

    asyncio.run(run())
