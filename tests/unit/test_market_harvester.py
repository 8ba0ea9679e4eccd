"""The exchange source against scripted answers: what it freezes, waits for, refuses and keeps for a person."""

import asyncio
import gzip
import random

import orjson
import pytest

from ledgerd.clock import HOUR_S, hour_of
from ledgerd.errors import SpoolFull, UpstreamRefused, UpstreamUnavailable
from ledgerd.harvest.exchange_landing import KIND_HOUR, KIND_NEVER, KIND_UNREADABLE
from ledgerd.harvest.market_harvester import UNREADABLE_PATIENCE_S, ExchangeSource, hour_url
from ledgerd.harvest.source import Settings
from ledgerd.spool.journal import Journal
from ledgerd.spool.spool import Spool
from ledgerd.status import SourceState
from ledgerd.supervise import Heart, Stop
from ledgerd.upstream.client import Answer
from tests.clocks import ORIGIN_S, ManualClock

FIRST = hour_of(ORIGIN_S) - 10 * HOUR_S


def digest(next_hour, markets=(), *, encoding=""):
    body = orjson.dumps({"next_change_id": next_hour, "markets": list(markets)})
    return 200, gzip.compress(body, mtime=0) if encoding else body, encoding


def edge(next_hour):
    return 404, orjson.dumps({"next_change_id": next_hour, "markets": []}), ""


class Upstream:
    """Gives the scripted answers in order and remembers what was asked."""

    def __init__(self, clock, answers):
        self.clock = clock
        self.answers = list(answers)
        self.asked = []

    async def get(self, url, **about):
        self.asked.append((url.rpartition("/")[2], about["backfill"]))
        given = self.answers.pop(0)
        if isinstance(given, Exception):
            raise given
        status, body, encoding, *headers = given
        return Answer(status, headers[0] if headers else {}, encoding, body, self.clock.now(), self.clock.now())


class Bench:
    """A source on a spool of its own, at ten hours behind the edge."""

    def __init__(self, folder, answers, *, start=FIRST):
        self.clock = ManualClock()
        self.spool = Spool(folder, bytes_max=1 << 20, retain_s=0, clock=self.clock)
        self.spool.open()
        self.upstream = Upstream(self.clock, answers)
        self.stream = self.spool.stream("exchange-pc")
        self.kept = self.spool.journal("quarantine")
        self.noted = asyncio.Event()
        self.source = ExchangeSource(
            "pc",
            exchange_url="http://127.0.0.1:1/x",
            start_hour=start,
            newest_end_s=None,
            settings=Settings(("*",), poll_s=60, maintenance_poll_s=30, decoded_bytes_max=10_000, stalled_after_s=7200),
            client=self.upstream,
            stream=self.stream,
            journal=Journal(self.kept, self.clock, self._noted),
            clock=self.clock,
            rng=random.Random(1),
            on_freeze=self._noted,
        )

    async def _noted(self):
        self.noted.set()

    async def pages(self):
        batch = await self.stream.seal({})
        return [(int(page.asked), int(page.next), page.kind) for page in await self.stream.pages(batch)]


@pytest.fixture
def bench(tmp_path):
    made = []

    def make(*answers, **more):
        made.append(Bench(tmp_path / "spool", answers, **more))
        return made[-1]

    yield make
    for each in made:
        each.spool.close()


async def test_hours_are_frozen_in_chain_order_as_they_came(bench):
    it = bench(digest(FIRST + HOUR_S, encoding="gzip"), digest(FIRST + 2 * HOUR_S))
    await it.source.step()
    await it.source.step()

    assert await it.pages() == [(FIRST, FIRST + HOUR_S, KIND_HOUR), (FIRST + HOUR_S, FIRST + 2 * HOUR_S, KIND_HOUR)]
    assert it.upstream.asked == [(str(FIRST), True), (str(FIRST + HOUR_S), True)]


async def test_without_a_start_the_oldest_hour_is_asked_and_recorded_under_its_own_name(bench):
    it = bench(digest(FIRST + HOUR_S), start=None)
    await it.source.step()

    assert it.upstream.asked == [("x", True)]
    assert await it.pages() == [(FIRST, FIRST + HOUR_S, KIND_HOUR)]


async def test_hours_that_never_were_are_jumped_and_the_jump_is_a_page(bench):
    it = bench(edge(FIRST + 4 * HOUR_S), digest(FIRST + 5 * HOUR_S))
    await it.source.step()
    await it.source.step()

    assert await it.pages() == [
        (FIRST, FIRST + 4 * HOUR_S, KIND_NEVER),
        (FIRST + 4 * HOUR_S, FIRST + 5 * HOUR_S, KIND_HOUR),
    ]


async def test_an_unpublished_hour_is_no_error_and_nothing_is_kept(bench):
    it = bench(edge(FIRST))
    await it.source.step()

    assert it.stream.open_pages == 0
    assert it.kept.open_pages == 0
    assert it.source.status(None).errors == 0


async def test_three_refusals_stop_the_source_and_a_success_between_them_does_not(bench):
    no = (403, b"<html>no</html>", "")
    it = bench(no, no, digest(FIRST + HOUR_S), no, no, no)
    for _ in range(2):
        with pytest.raises(UpstreamUnavailable):
            await it.source.step()
    await it.source.step()
    for _ in range(2):
        with pytest.raises(UpstreamUnavailable):
            await it.source.step()
    with pytest.raises(UpstreamRefused, match="refused 3 times in a row, last with 403") as caught:
        await it.source.step()

    assert caught.value.hint.endswith("systemctl reload ledgerd")


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_a_failing_upstream_is_never_a_refusal(bench, status):
    it = bench(*[(status, b"", "")] * 5)
    for _ in range(5):
        with pytest.raises(UpstreamUnavailable):
            await it.source.step()

    assert it.source.status(None).state is SourceState.DEGRADED


async def test_an_unreadable_hour_is_quarantined_once_and_asked_again(bench):
    bad = (200, b"<html>maintenance</html>", "")
    it = bench(bad, bad, digest(FIRST + HOUR_S))
    for _ in range(2):
        with pytest.raises(UpstreamUnavailable, match="unreadable"):
            await it.source.step()
    await it.source.step()

    assert it.kept.open_pages == 1
    assert await it.pages() == [(FIRST, FIRST + HOUR_S, KIND_HOUR)]


async def test_after_six_hours_the_chain_goes_on_without_an_unreadable_hour(bench):
    bad = (200, b"<html>maintenance</html>", "")
    it = bench(bad, bad, digest(FIRST + 2 * HOUR_S))
    with pytest.raises(UpstreamUnavailable):
        await it.source.step()
    it.clock.jump(UNREADABLE_PATIENCE_S)
    await it.source.step()
    await it.source.step()

    assert await it.pages() == [
        (FIRST, FIRST + HOUR_S, KIND_UNREADABLE),
        (FIRST + HOUR_S, FIRST + 2 * HOUR_S, KIND_HOUR),
    ]


async def test_a_cursor_that_turns_back_is_not_followed(bench):
    it = bench(digest(FIRST - HOUR_S))
    with pytest.raises(UpstreamUnavailable, match="behind the hour asked"):
        await it.source.step()

    assert it.source.next_hour == FIRST


async def test_a_cursor_far_in_the_future_is_not_followed(bench):
    it = bench(digest(FIRST + 1_000 * HOUR_S))
    with pytest.raises(UpstreamUnavailable, match="in the future"):
        await it.source.step()

    assert it.source.next_hour == FIRST


async def test_the_running_hour_is_waited_for_until_a_little_after_its_end(bench):
    now_hour = hour_of(ORIGIN_S)
    it = bench(digest(now_hour + HOUR_S), start=now_hour)
    stop = Stop()
    running = asyncio.create_task(it.source.run(stop, Heart(it.clock, it.clock.now)))
    await it.clock.advance(HOUR_S + 60)
    early = list(it.upstream.asked)
    await it.clock.advance(90)
    await it.noted.wait()
    stop.set("enough")
    await running

    assert early == []
    assert it.upstream.asked == [(str(now_hour), False)]


async def test_a_429_is_waited_out_as_long_as_it_says(bench):
    it = bench((429, b"", "", {"Retry-After": "120"}), digest(FIRST + HOUR_S))
    with pytest.raises(UpstreamUnavailable):
        await it.source.step()
    stop = Stop()
    running = asyncio.create_task(it.source.run(stop, Heart(it.clock, it.clock.now)))
    await it.clock.advance(119)
    early = len(it.upstream.asked)
    await it.clock.advance(2)
    await it.noted.wait()
    stop.set("enough")
    it.upstream.answers.append(edge(FIRST))
    await running

    assert early == 1


def test_the_address_of_an_hour_is_ggg_s():
    assert hour_url("https://h/api/currency-exchange/", "poe2", 3600) == "https://h/api/currency-exchange/poe2/3600"
    assert hour_url("https://h/api/currency-exchange", "pc", None) == "https://h/api/currency-exchange"


async def test_an_hour_passed_over_for_the_next_one_never_was_once_the_next_one_is_there(bench):
    it = bench(edge(FIRST + HOUR_S), digest(FIRST + 2 * HOUR_S))
    assert await it.source.step()

    assert [asked for asked, _ in it.upstream.asked] == [str(FIRST), str(FIRST + HOUR_S)]
    assert await it.pages() == [
        (FIRST, FIRST + HOUR_S, KIND_NEVER),
        (FIRST + HOUR_S, FIRST + 2 * HOUR_S, KIND_HOUR),
    ]


async def test_an_hour_passed_over_for_one_that_is_not_there_either_is_waited_for(bench):
    it = bench(edge(FIRST + HOUR_S), edge(FIRST + HOUR_S), digest(FIRST + HOUR_S))
    assert not await it.source.step()
    assert it.stream.open_pages == it.kept.open_pages == 0

    await it.source.step()
    assert await it.pages() == [(FIRST, FIRST + HOUR_S, KIND_HOUR)]


@pytest.mark.parametrize(("later", "kept"), [((500, b"", ""), 0), ((200, b"<html>", ""), 1)])
async def test_a_look_ahead_that_fails_is_an_error_like_any_other(bench, later, kept):
    it = bench(*(edge(FIRST + HOUR_S), later) * 2, digest(FIRST + HOUR_S))
    for _ in range(2):
        with pytest.raises(UpstreamUnavailable):
            await it.source.step()
    told = it.source.status(None)
    await it.source.step()

    assert (told.state, told.errors, it.kept.open_pages) == (SourceState.DEGRADED, 2, kept)
    assert await it.pages() == [(FIRST, FIRST + HOUR_S, KIND_HOUR)]


async def test_refused_look_aheads_stop_the_source_though_the_hour_itself_is_answered(bench):
    it = bench(*(edge(FIRST + HOUR_S), (403, b"no", "", {"Retry-After": "900"})) * 3)
    for _ in range(2):
        with pytest.raises(UpstreamUnavailable):
            await it.source.step()
    assert it.source._wait_s() == 900
    with pytest.raises(UpstreamRefused, match="refused 3 times"):
        await it.source.step()


async def test_strikes_are_minutes_apart(bench):
    it = bench(*[(403, b"no", "")] * 2)
    waits_s = []
    for _ in range(2):
        with pytest.raises(UpstreamUnavailable):
            await it.source.step()
        waits_s.append(it.source._wait_s())

    assert waits_s == [60, 300]


async def test_waiting_for_the_throttle_or_a_slow_answer_is_no_stall(bench):
    it = bench()
    asked = asyncio.Event()

    async def never(*_, **__):
        asked.set()
        await asyncio.Event().wait()

    it.upstream.get = never
    stop, heart = Stop(), Heart(it.clock, it.clock.now)
    running = asyncio.create_task(it.source.run(stop, heart))
    await asked.wait()
    await it.clock.advance(3_600)
    age_s = heart.age_s()
    stop.set("enough")
    await running

    assert age_s == 0


async def test_a_full_spool_keeps_the_answer_in_hand_and_asks_nothing_again(bench):
    big = [{"league": "Standard", "x": "y" * 2_000}]
    it = bench(digest(FIRST + HOUR_S, big))
    it.spool.limit(bytes_max=1_000, retain_s=0)
    stop, heart = Stop(), Heart(it.clock, it.clock.now)
    for _ in range(3):
        with pytest.raises(SpoolFull):
            await it.source.run(stop, heart)
    it.spool.limit(bytes_max=1 << 20, retain_s=0)
    with pytest.raises(IndexError):  # the script ends after the first hour
        await it.source.run(stop, heart)

    assert it.upstream.asked[0] == (str(FIRST), True)
    assert [asked for asked, _ in it.upstream.asked].count(str(FIRST)) == 1
    assert await it.pages() == [(FIRST, FIRST + HOUR_S, KIND_HOUR)]
