"""What a service is given: a stop, a heart, an outage and a back-off."""

import asyncio
import logging
import random

import pytest

from ledgerd.errors import StoreUnavailable, UpstreamUnavailable
from ledgerd.outage import Backoff, Outage
from ledgerd.supervise import Heart, Stop
from tests.clocks import ManualClock, settle


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def said(caplog):
    """The names of the events emitted so far."""
    caplog.set_level(logging.DEBUG, "ledgerd")
    return lambda: [record.event for record in caplog.records if hasattr(record, "event")]


def cut():
    return UpstreamUnavailable("connection reset")


class TestStop:
    async def test_the_first_reason_stays(self):
        stop = Stop()
        stop.set("SIGTERM")
        stop.set("SIGINT")

        assert (stop.is_set, stop.why) == (True, "SIGTERM")

    async def test_sleep_ends_with_its_time(self, clock):
        sleep = asyncio.create_task(Stop().sleep(clock, 5))
        await clock.advance(4.9)
        early = sleep.done()
        await clock.advance(0.1)

        assert (early, await sleep) == (False, False)

    async def test_sleep_ends_with_the_stop_and_leaves_no_sleeper(self, clock):
        stop = Stop()
        sleep = asyncio.create_task(stop.sleep(clock, 3600))
        await settle()
        stop.set("SIGTERM")

        assert (await sleep, clock.sleepers) == (True, 0)

    async def test_sleep_after_the_stop_returns_at_once(self, clock):
        stop = Stop()
        stop.set("SIGTERM")

        assert await stop.sleep(clock, 3600)

    async def test_a_cancelled_sleep_leaves_no_sleeper(self, clock):
        sleep = asyncio.create_task(Stop().sleep(clock, 3600))
        await settle()
        sleep.cancel()
        await asyncio.gather(sleep, return_exceptions=True)

        assert (sleep.cancelled(), clock.sleepers) == (True, 0)

    async def test_an_error_of_what_was_waited_for_comes_through(self):
        async def fail():
            raise StoreUnavailable("gone")

        with pytest.raises(StoreUnavailable):
            await Stop().cuts_short(fail())


class TestBackoff:
    def test_waits_double_from_first_to_most_and_never_pass_it(self):
        backoff = Backoff(random.Random(7), first_s=1, most_s=60)
        waits = [backoff.next_s() for _ in range(1000)]
        ceilings = [1, 2, 4, 8, 16, 32] + [60] * 994

        assert all(ceiling / 2 <= wait <= ceiling for ceiling, wait in zip(ceilings, waits, strict=True))

    def test_no_two_keep_step(self):
        first, second = Backoff(random.Random(1)), Backoff(random.Random(2))

        assert [first.next_s() for _ in range(3)] != [second.next_s() for _ in range(3)]

    def test_reset_begins_again(self):
        backoff = Backoff(random.Random(1), first_s=1, most_s=60)
        [backoff.next_s() for _ in range(9)]
        backoff.reset()

        assert backoff.next_s() <= 1

    def test_limits_that_contradict_are_refused(self):
        with pytest.raises(ValueError, match="first_s 2"):
            Backoff(random.Random(1), first_s=2, most_s=1)


class TestOutage:
    def test_a_hundred_failures_are_one_line_and_their_end_another(self, clock, said, caplog):
        outage = Outage("exchange-pc", clock)
        for _ in range(100):
            outage.failed(cut())
            clock.jump(1)
        outage.succeeded()
        outage.succeeded()

        assert said() == ["OutageStarted", "OutageEnded"]
        assert caplog.records[-1].fields == {"subject": "exchange-pc", "failures": 100, "seconds": 100.0}

    def test_an_outage_shows_when_it_began_and_what_failed_last(self, clock):
        outage = Outage("exchange-pc", clock)
        began_s = clock.now()
        outage.failed(cut())
        clock.jump(60)
        outage.failed(StoreUnavailable("engine gone"))

        assert (outage.since, outage.failures, outage.last_error) == (began_s, 2, "engine gone")

    def test_after_the_end_the_last_error_is_still_known(self, clock):
        outage = Outage("exchange-pc", clock)
        outage.failed(cut())
        outage.succeeded()

        assert (outage.since, outage.failures, outage.last_error) == (None, 0, "connection reset")

    def test_an_error_without_words_is_named_by_its_type(self, clock):
        outage = Outage("exchange-pc", clock)
        outage.failed(TimeoutError())

        assert outage.last_error == "TimeoutError"


class TestHeart:
    def test_age_counts_from_the_last_beat(self, clock):
        heart = Heart(clock, clock.now)
        clock.jump(5)
        heart.beat()
        clock.jump(7)

        assert heart.age_s() == 7

    def test_a_rest_is_no_age_and_counting_begins_at_its_end(self, clock):
        heart = Heart(clock, clock.now)
        heart.rest_until(clock.now() + 3600)
        clock.jump(3600)
        at_the_end_s = heart.age_s()
        clock.jump(9)

        assert (at_the_end_s, heart.age_s()) == (0, 9)

    def test_a_beat_ends_the_rest(self, clock):
        heart = Heart(clock, clock.now)
        heart.resting(3600)
        heart.beat()
        clock.jump(10)

        assert heart.age_s() == 10

    def test_a_stepped_wall_clock_does_not_age_a_heart(self, clock):
        monotonic = ManualClock(0)
        heart = Heart(clock, monotonic.now)
        clock.jump(86_400)

        assert heart.age_s() == 0

    async def test_sleeping_is_resting_and_waking_is_no_success(self, clock, said):
        outage = Outage("exchange-pc", clock)
        outage.failed(cut())
        heart = Heart(clock, clock.now, outage)
        sleep = asyncio.create_task(heart.sleep(Stop(), 100))
        await settle()
        clock.jump(99)
        asleep_s = heart.age_s()
        await clock.advance(2)
        await sleep
        clock.jump(3)

        assert (asleep_s, heart.age_s(), said()) == (0, 4, ["OutageStarted"])
