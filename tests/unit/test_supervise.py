"""The supervisor: how services are kept, restarted, refused, watched and stopped."""

import asyncio
import itertools
import logging
import random

import pytest

from ledgerd.errors import ChainBroken, SpoolUnreadable, UpstreamUnavailable
from ledgerd.supervise import Service, State, Stop, Supervisor
from tests.clocks import ManualClock, settle


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
async def supervisor(clock):
    supervisor = Supervisor(clock, random.Random(1), monotonic=clock.now)
    yield supervisor
    await supervisor.stop_all([], deadline_s=0.05)


@pytest.fixture
def said(caplog):
    """The names of the events emitted so far."""
    caplog.set_level(logging.DEBUG, "ledgerd")
    return lambda: [record.event for record in caplog.records if hasattr(record, "event")]


class Script:
    """A service that does one thing of a list each time it is run, then waits for its stop."""

    def __init__(self, *steps):
        self.steps = list(steps)
        self.runs = 0

    async def __call__(self, stop, heart):
        self.runs += 1
        heart.resting()
        if self.steps and (step := self.steps.pop(0)):
            raise step
        await stop.wait()


def cut():
    return UpstreamUnavailable("connection reset")


async def until_stopped(stop, heart):
    heart.resting()
    await stop.wait()


class TestSupervisor:
    async def test_a_service_that_returns_is_finished_and_not_run_again(self, supervisor, clock):
        async def once(stop, heart):
            pass

        supervisor.start(Service("backfill", once))
        await clock.advance(120)

        assert (supervisor.state("backfill"), supervisor.is_alive("backfill")) == (State.FINISHED, False)

    async def test_a_service_that_got_something_done_is_run_again_soon_after_its_next_failure(self, supervisor, clock):
        runs_s = []

        async def one_in_two(stop, heart):
            runs_s.append(clock.now())
            heart.beat()
            raise cut()

        supervisor.start(Service("exchange-pc", one_in_two))
        await clock.advance(60)

        assert max(later - earlier for earlier, later in itertools.pairwise(runs_s)) <= 1

    async def test_a_transient_failure_restarts_with_one_outage_until_the_next_beat(self, supervisor, clock, said):
        async def flaky(stop, heart):
            if clock.now() < began_s + 300:
                raise cut()
            heart.beat()
            await stop.wait()

        began_s = clock.now()
        supervisor.start(Service("exchange-pc", flaky))
        await settle()
        first = supervisor.state("exchange-pc")
        await clock.advance(400)

        assert (first, supervisor.state("exchange-pc")) == (State.WAITING, State.RUNNING)
        assert said() == ["OutageStarted", "OutageEnded"]

    async def test_a_crash_is_said_each_time_and_does_not_end_the_program(self, supervisor, clock, said, caplog):
        script = Script(KeyError("stash"), ZeroDivisionError())
        supervisor.start(Service("exchange-pc", script))
        await clock.advance(10)

        assert (script.runs, supervisor.state("exchange-pc")) == (3, State.RUNNING)
        assert said() == ["ServiceCrashed", "ServiceCrashed"]
        assert "KeyError: 'stash' (" in caplog.records[0].message
        assert "test_supervise.py:" in caplog.records[0].message

    async def test_restarts_slow_down_to_one_a_minute(self, supervisor, clock):
        script = Script(*[RuntimeError("again")] * 500)
        supervisor.start(Service("exchange-pc", script))
        await clock.advance(3600)

        assert 60 <= script.runs <= 135

    async def test_a_crash_after_a_good_hour_restarts_within_a_second(self, supervisor, clock):
        async def hourly(stop, heart):
            starts.append(clock.now())
            if len(starts) > 8:
                await heart.sleep(stop, 3600)
            raise RuntimeError("again")

        starts = []
        supervisor.start(Service("exchange-pc", hourly))
        await clock.advance(8000)

        assert 3600 < starts[9] - starts[8] <= 3601

    async def test_a_refused_service_stays_down_and_the_others_go_on(self, supervisor, clock, said):
        script = Script(ChainBroken("cursor runs backwards", "see ledgerd status"))
        supervisor.start(Service("river-pc", script))
        supervisor.start(Service("exchange-pc", until_stopped))
        await clock.advance(3600)

        assert (supervisor.state("river-pc"), supervisor.state("exchange-pc")) == (State.REFUSED, State.RUNNING)
        assert (script.runs, said()) == (1, ["SourceStopped"])
        assert supervisor.last_error("river-pc") == "cursor runs backwards. see ledgerd status"

    async def test_trouble_lasts_from_a_failure_to_the_next_beat_even_while_the_service_runs_again(
        self, supervisor, clock
    ):
        async def slow_to_recover(stop, heart):
            runs.append(clock.now())
            if len(runs) == 1:
                raise KeyError("stash")
            if not await heart.sleep(stop, 300):
                heart.beat()
            await stop.wait()

        runs = []
        supervisor.start(Service("writer", slow_to_recover))
        before = supervisor.trouble("writer")
        await clock.advance(60)
        state, meanwhile = supervisor.state("writer"), supervisor.trouble("writer")
        await clock.advance(300)

        assert (before, state, supervisor.trouble("writer")) == ("", State.RUNNING, "")
        assert meanwhile.startswith("KeyError: 'stash'")

    async def test_a_service_that_ends_by_itself_is_in_trouble_and_a_stopped_or_unknown_one_is_not(self, supervisor):
        async def once(stop, heart):
            pass

        supervisor.start(Service("backfill", once))
        supervisor.start(Service("river-pc", Script(ChainBroken("backwards"))))
        await settle()
        refused = supervisor.trouble("river-pc")
        await supervisor.stop("river-pc")

        assert supervisor.trouble("backfill") == "it ended though nobody had asked for it"
        assert (refused, supervisor.trouble("never started")) == ("backwards", "")

    async def test_a_reload_may_replace_a_refused_service(self, supervisor):
        supervisor.start(Service("river-pc", Script(ChainBroken("backwards"))))
        await settle()
        supervisor.start(Service("river-pc", until_stopped))

        assert (supervisor.state("river-pc"), supervisor.last_error("river-pc")) == (State.RUNNING, "")

    async def test_a_name_in_use_is_refused(self, supervisor):
        supervisor.start(Service("river-pc", until_stopped))

        with pytest.raises(ValueError, match="river-pc"):
            supervisor.start(Service("river-pc", until_stopped))

    async def test_a_fatal_error_ends_the_program(self, supervisor):
        fatal = SpoolUnreadable("spool gone")
        supervisor.start(Service("writer", Script(fatal)))

        with pytest.raises(SpoolUnreadable) as raised:
            await supervisor.until(Stop())
        assert raised.value is fatal
        assert supervisor.state("writer") is State.FATAL

    async def test_a_fatal_error_during_shutdown_is_not_lost(self, supervisor):
        async def sour(stop, heart):
            await stop.wait()
            raise SpoolUnreadable("spool gone")

        supervisor.start(Service("writer", sour))
        await settle()
        await supervisor.stop_all([], deadline_s=1)

        with pytest.raises(SpoolUnreadable):
            supervisor.raise_fatal()

    async def test_until_returns_when_the_stop_comes(self, supervisor):
        stop = Stop()
        waiting = asyncio.create_task(supervisor.until(stop))
        stop.set("SIGTERM")

        assert await waiting is None

    @pytest.mark.parametrize(
        ("inner", "state"),
        [
            ([cut(), cut()], State.WAITING),
            ([cut(), ChainBroken("backwards")], State.REFUSED),
            ([ChainBroken("backwards"), KeyError("x")], State.WAITING),
            ([KeyError("x"), ExceptionGroup("inner", [cut(), SpoolUnreadable("gone")])], State.FATAL),
        ],
    )
    async def test_the_gravest_error_of_a_task_group_decides(self, supervisor, inner, state):
        supervisor.start(Service("exchange-pc", Script(ExceptionGroup("tasks", inner))))
        await settle()

        assert supervisor.state("exchange-pc") is state

    async def test_an_inner_cancellation_is_a_crash_and_not_a_silent_death(self, supervisor, said):
        supervisor.start(Service("exchange-pc", Script(asyncio.CancelledError())))
        await settle()

        assert (supervisor.state("exchange-pc"), said()) == (State.WAITING, ["ServiceCrashed"])

    async def test_stop_ends_one_service_and_forget_removes_it(self, supervisor):
        supervisor.start(Service("river-pc", until_stopped))
        supervisor.start(Service("exchange-pc", until_stopped))
        was_enough = await supervisor.stop("river-pc")
        state = supervisor.state("river-pc")
        supervisor.forget("river-pc")

        assert (was_enough, state, supervisor.names()) == (True, State.STOPPED, ["exchange-pc"])

    async def test_a_living_service_is_not_forgotten(self, supervisor):
        supervisor.start(Service("exchange-pc", until_stopped))

        with pytest.raises(ValueError, match="still running"):
            supervisor.forget("exchange-pc")

    async def test_stop_reaches_a_service_that_waits_for_its_restart(self, supervisor, clock):
        supervisor.start(Service("exchange-pc", Script(RuntimeError("x"))))
        await settle()

        assert await supervisor.stop("exchange-pc", deadline_s=1)
        assert (supervisor.state("exchange-pc"), clock.sleepers) == (State.STOPPED, 0)

    async def test_stopping_what_was_never_started_is_no_error(self, supervisor):
        assert await supervisor.stop("river-pc")

    async def test_a_service_that_ignores_its_stop_is_cancelled_at_the_deadline(self, supervisor):
        async def deaf(stop, heart):
            await asyncio.Event().wait()

        supervisor.start(Service("exchange-pc", deaf))
        await settle()

        assert not await supervisor.stop("exchange-pc", deadline_s=0.02)
        assert supervisor.state("exchange-pc") is State.STOPPED

    async def test_an_unforeseen_error_while_stopping_is_noted_and_not_restarted(self, supervisor, said):
        async def clumsy(stop, heart):
            await stop.wait()
            raise KeyError("drain")

        supervisor.start(Service("exchange-pc", clumsy))
        await settle()
        await supervisor.stop("exchange-pc", deadline_s=1)

        assert (supervisor.state("exchange-pc"), said()) == (State.STOPPED, ["Noted"])

    async def test_stop_all_keeps_the_order_and_takes_the_unnamed_first(self, supervisor):
        def leaving(name):
            async def run(stop, heart):
                await stop.wait()
                await asyncio.sleep(0)
                left.append(name)

            return Service(name, run)

        left = []
        for name in ("web", "writer", "exchange-pc", "exchange-poe2", "journal"):
            supervisor.start(leaving(name))
        await settle()
        late = await supervisor.stop_all([("exchange-pc", "exchange-poe2"), ("writer",), ("web", "gone")], deadline_s=5)

        assert (left, late) == (["journal", "exchange-pc", "exchange-poe2", "writer", "web"], [])

    async def test_one_that_hangs_leaves_the_others_time_to_drain(self, supervisor):
        async def hung(stop, heart):
            await asyncio.Event().wait()

        async def drain(stop, heart):
            await stop.wait()
            await settle()
            drained.append("writer")

        drained = []
        supervisor.start(Service("exchange-pc", hung))
        supervisor.start(Service("writer", drain))
        await settle()
        late = await supervisor.stop_all([("exchange-pc",), ("writer",)], deadline_s=0.4)

        assert (late, drained) == (["exchange-pc"], ["writer"])

    async def test_a_service_without_progress_is_stalled_and_a_resting_one_is_not(self, supervisor, clock):
        async def stuck(stop, heart):
            heart.beat()
            await stop.wait()

        supervisor.start(Service("stuck", stuck))
        supervisor.start(Service("resting", until_stopped))
        await clock.advance(31)

        assert supervisor.pulse() == {"stuck": 31, "resting": 0}
        assert (supervisor.stalled(30), supervisor.stalled(31)) == (["stuck"], [])

    async def test_waiting_for_a_restart_and_being_finished_are_no_stall(self, supervisor, clock):
        async def once(stop, heart):
            pass

        supervisor.start(Service("failing", Script(*[RuntimeError("x")] * 99)))
        supervisor.start(Service("finished", once))
        await clock.advance(600)

        assert supervisor.stalled(1) == []

    async def test_services_come_and_go_while_others_run(self, supervisor, clock):
        keeper = Script()
        supervisor.start(Service("keeper", keeper))
        for n in range(50):
            supervisor.start(Service(f"source-{n}", until_stopped))
        await clock.advance(1)
        for n in range(50):
            await supervisor.stop(f"source-{n}", deadline_s=1)
            supervisor.forget(f"source-{n}")

        assert (supervisor.names(), keeper.runs) == (["keeper"], 1)
