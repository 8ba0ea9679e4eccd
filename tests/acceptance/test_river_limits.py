"""The river at the pace upstream allows: no request too many, and on by itself after a storm or a dead token."""

import asyncio
import time
from contextlib import asynccontextmanager

import orjson
import pytest

from ledgerd.clock import ScaledClock
from ledgerd.harvest.harvest import THROTTLE_FILE
from ledgerd.sim.river import policy_of
from tests.acceptance.test_back_pressure import until
from tests.acceptance.test_river_back_pressure import PAGES, app_on_a_moody_engine
from tests.daemon import TEST_S, daemon, upstream

pytest.importorskip("chdb")
pytestmark = pytest.mark.timeout(TEST_S)

POLICY = policy_of("pc")
REALMS = [{"name": "pc", "exchange": False, "river": True}]
ANSWERS = 12
STORM = 3
FAST = 30.0
STRANGER_S = 1.3
"""How far apart others' requests are: never two in one second, which nobody who asks could foresee."""


async def river_state(stand_in):
    return (await stand_in.get("state"))["river"]


async def committed(ledgerd):
    """How many pages are."""
    return (await ledgerd.sql("SELECT sum(pages) FROM bronze_ingest_checkpoints WHERE source = 'river-pc'"))[0][0]


async def more_pages(ledgerd, count):
    """Wait until so many more pages are committed."""
    before = await committed(ledgerd)

    async def have_come():
        return await committed(ledgerd) >= before + count

    await ledgerd.wait(f"{count} more pages", have_come)


async def test_at_upstreams_own_limits_and_beside_others_nothing_is_refused():
    async with upstream(river_rate=30.0) as stand_in:
        await stand_in.post("limits", {"policy": POLICY, "rules": {"Ip": "3:1:60"}})  # room for who is not yet known
        realms = [{**REALMS[0], "river_from": (await river_state(stand_in))["head"]["pc"]}]
        pace = {"throttle__requests_per_s": 1.0, "throttle__backfill_requests_per_s": 0.8}  # as configured by default
        async with (
            daemon(stand_in.url, realms=realms, upstream__river_poll_s=0.05, **pace) as ledgerd,
            strangers(stand_in),
        ):
            await ledgerd.start()
            await ledgerd.wait("others to be noticed", lambda: leaves_room(ledgerd))
            await stand_in.post("limits", {"policy": POLICY, "rules": {"Ip": "2:1:60"}})  # as upstream's own are
            answers = (await river_state(stand_in))["answers"] + ANSWERS
            await ledgerd.wait("answers", lambda: has_answered(stand_in, answers))
            state = await river_state(stand_in)
            await ledgerd.still()

            assert (state["bans"], state["invalid_requests"]["total"], state["user_agents_wrong"]) == (0, 0, 0)
            assert (await ledgerd.river_verdict(stand_in)).findings == {}
            assert await ledgerd.stop() == 0


@asynccontextmanager
async def strangers(stand_in):
    """Others who send through the same address meanwhile."""

    async def come():
        while True:
            await asyncio.sleep(STRANGER_S)
            await stand_in.post("limits", {"policy": POLICY, "foreign": 1})

    task = asyncio.create_task(come())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def leaves_room(ledgerd):
    """Whether the throttle has seen that others come, and sets room aside for them."""
    budgets = orjson.loads((ledgerd.data_dir / THROTTLE_FILE).read_bytes())["budgets"]
    return any(window["reserve"][0] for budget in budgets for window in budget["windows"])


async def has_answered(stand_in, count):
    return (await river_state(stand_in))["answers"] >= count


async def test_after_a_storm_of_refusals_it_goes_on_by_itself(monkeypatch):
    clock = ScaledClock(time.time(), FAST)  # the silences it keeps add up to minutes
    async with (
        upstream(river_rate=2.0, speed=FAST) as stand_in,
        daemon(stand_in.url, realms=REALMS) as files,
    ):
        await stand_in.lift_limits()
        async with app_on_a_moody_engine(files, monkeypatch, clock) as (_, engine, has_pages):
            await stand_in.post("faults", [{"fault": "storm_429", "to": "river", "times": STORM}])
            await until("the storm to be over", lambda: is_over(stand_in))
            ((stored,),) = await engine.rows(PAGES)
            await until("more pages", lambda: has_pages(stored + 3))
            state = await river_state(stand_in)
        await files.start()
        await files.still()

        assert state["invalid_requests"]["total"] == STORM, "each refusal was met once"
        assert (await files.river_verdict(stand_in)).findings == {}
        assert await files.stop() == 0


async def is_over(stand_in):
    return not (await stand_in.get("state"))["faults_waiting"]


async def test_a_token_that_upstream_ends_is_renewed_at_the_price_of_one_refusal():
    async with (
        upstream(river_rate=30.0) as stand_in,
        daemon(stand_in.url, realms=REALMS, upstream__river_poll_s=0.05) as ledgerd,
    ):
        await stand_in.lift_limits()
        await ledgerd.start()
        await ledgerd.wait("the first pages", lambda: committed(ledgerd))
        await stand_in.post("tokens", {})
        await more_pages(ledgerd, 5)
        state = await river_state(stand_in)
        await ledgerd.still()

        assert state["tokens"]["issued"] == 2
        assert state["invalid_requests"]["total"] <= 2, "one, or one more that was under way"
        assert (await ledgerd.river_verdict(stand_in)).findings == {}
        assert await ledgerd.stop() == 0
