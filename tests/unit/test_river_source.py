"""The river's source against scripted answers: where it begins, how it reads ahead, what it follows and what not."""

import asyncio
import gc
import random

import orjson
import pytest
from multidict import CIMultiDict

from ledgerd.errors import SpoolFull, UpstreamRefused, UpstreamUnavailable
from ledgerd.harvest import tide
from ledgerd.harvest.change_id import SEEK_FROM, SEEK_WITHIN
from ledgerd.harvest.river_source import KIND, NEXT_HEADER, UNREADABLE_PATIENCE_S, RiverSource, river_url
from ledgerd.harvest.source import Settings
from ledgerd.spool.journal import Journal
from ledgerd.spool.record import Page
from ledgerd.spool.spool import Spool
from ledgerd.spool.writer import Committed
from ledgerd.status import SourceState
from ledgerd.supervise import Heart, Stop
from ledgerd.upstream.client import Answer
from tests.clocks import ManualClock, settle

GARBAGE = b"<html>maintenance</html>"


def at(number):
    return "-".join([str(number)] * 5)


A, B, C, D, E = map(at, (11, 12, 13, 14, 15))
BEHIND = at(7)


class Reply:
    """One scripted answer; a test may hold its headers or its body back."""

    def __init__(self, status=200, body=b"", *, named=None, error=None, **headers):
        self.status = status
        self.body = body
        self.headers = CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()})
        if named is not None:
            self.headers[NEXT_HEADER] = named
        self.error = error
        self.may_begin, self.may_end = asyncio.Event(), asyncio.Event()
        self.may_begin.set()
        self.may_end.set()
        self.is_over = False

    def held(self, *, headers=False):
        """Nothing of the body, or not even the headers, until a test sets ``may_end``, or ``may_begin``."""
        (self.may_begin if headers else self.may_end).clear()
        return self


def page(following, changes=3, **more):
    stashes = [{"id": f"{n:064x}", "public": True, "league": "Mirage", "items": []} for n in range(changes)]
    return Reply(body=orjson.dumps({"next_change_id": following, "stashes": stashes}), **more)


def end(following):
    return page(following, 0)


class Upstream:
    """Answers each id with its scripted replies in order, the last for ever, and with silence where it has none."""

    def __init__(self, clock, script):
        self.clock = clock
        self.script = script
        self.asked = []
        self.backfills = []
        self.cut_short = []
        self.under_way = self.most_under_way = 0

    def reply(self, cursor):
        if callable(self.script):
            return self.script(cursor)
        replies = self.script.get(cursor, [])
        return replies.pop(0) if len(replies) > 1 else replies[0] if replies else None

    async def get(self, url, *, source, realm, cursor, backfill, on_headers):
        assert (source, realm, url) == ("river-pc", "pc", river_url("http://127.0.0.1:1", "river", "pc", cursor))
        self.asked.append(cursor)
        self.backfills.append(backfill)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        asked_at_s = self.clock.now()
        reply = self.reply(cursor)
        try:
            if reply is None:
                await asyncio.Event().wait()
            await reply.may_begin.wait()
            on_headers(reply.status, reply.headers)
            await reply.may_end.wait()
            if reply.error:
                raise UpstreamUnavailable(reply.error)
            return Answer(reply.status, reply.headers, "", reply.body, asked_at_s, self.clock.now())
        except asyncio.CancelledError:
            self.cut_short.append(cursor)
            await settle(5)  # a connection takes its time to close
            if reply is not None and reply.error:
                raise UpstreamUnavailable(reply.error) from None
            raise
        finally:
            self.under_way -= 1
            if reply is not None:
                reply.is_over = True


class Bench:
    """A source on a spool of its own."""

    def __init__(self, folder, script, start):
        self.clock = ManualClock()
        self.spool = Spool(folder, bytes_max=1 << 20, retain_s=0, clock=self.clock)
        self.spool.open()
        self.upstream = Upstream(self.clock, script)
        self.stream = self.spool.stream("river-pc")
        self.kept = self.spool.journal("quarantine")
        self.frozen = 0
        self.stop = Stop()
        self.heart = Heart(self.clock, self.clock.now)
        self.turns = []
        self.source = RiverSource(
            "pc",
            url=lambda change_id: river_url("http://127.0.0.1:1", "river", "pc", change_id),
            start=start,
            settings=Settings(("*",), poll_s=5, maintenance_poll_s=30, decoded_bytes_max=10_000, stalled_after_s=7200),
            oauth=self.upstream,
            stream=self.stream,
            journal=Journal(self.kept, self.clock, settle),
            clock=self.clock,
            rng=random.Random(1),
            on_freeze=self._count,
        )
        self.source.on_turn(lambda: self.turns.append(self.source.status(None).state))

    async def _count(self):
        self.frozen += 1

    def run(self):
        """The service, as a task."""
        return asyncio.create_task(self.source.run(self.stop, self.heart))

    async def end(self, running):
        self.stop.set("enough")
        await running

    async def steps(self, number):
        return [await self.source.step() for _ in range(number)]

    async def fails(self, match, number=1):
        for _ in range(number):
            with pytest.raises(UpstreamUnavailable, match=match):
                await self.source.step()

    async def commit(self):
        batch = await self.stream.seal({})
        self.source.committed(Committed("river-pc", batch, 3, {"Mirage": 3}))
        await self.stream.retire(batch)

    async def pages(self):
        batch = await self.stream.seal({})
        return [(each.asked, each.next) for each in await self.stream.pages(batch)] if batch else []

    @property
    def told(self):
        return self.source.status(None)


async def until(holds):
    while not holds():  # noqa: ASYNC110  what happens in a thread sets no event
        await asyncio.sleep(0)


@pytest.fixture
def bench(tmp_path):
    made = []

    def make(script, *, start=A):
        made.append(Bench(tmp_path / "spool", script, start))
        return made[-1]

    yield make
    for each in made:
        each.spool.close()


@pytest.fixture
async def loose():
    """Errors nobody looked at, and tasks left behind; a test that ends with any has failed."""
    found = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: found.append(context["message"]))
    before = asyncio.all_tasks()
    yield
    await settle()
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    gc.collect(1)

    assert ([task.get_name() for task in left], found) == ([], [])


pytestmark = pytest.mark.usefixtures("loose")


class TestWhereItBegins:
    @pytest.mark.parametrize("head", [SEEK_FROM + 250_000_000, SEEK_FROM - 900_000_000, 60_000])
    async def test_the_live_end_is_searched_and_the_chain_begins_there(self, bench, head):
        def script(asked):
            number = int(asked.partition("-")[0])
            return page(at(number + 1), named=at(number + 1)) if number < head else end(asked)

        it = bench(script, start="head")
        running = it.run()
        await until(lambda: it.frozen)
        searched = list(it.upstream.asked)
        [first, *_] = await it.pages()
        await it.end(running)
        number = int(first[0].partition("-")[0])

        assert head - SEEK_WITHIN <= number <= head
        assert len(searched) < 45
        assert len(set(searched)) == len(searched), "a search reads nothing ahead"

    async def test_a_river_that_is_empty_is_followed_from_where_the_search_ended(self, bench):
        it = bench(end, start="head")

        assert await it.steps(1) == [False]
        assert (it.upstream.asked[-1], it.stream.cursor, it.kept.open_pages) == (at(0), None, 0)
        assert (it.told.state, it.told.lag_s) == (SourceState.LIVE, 300)

    async def test_an_empty_page_of_the_search_may_name_any_id(self, bench):
        def script(asked):
            number = int(asked.partition("-")[0])
            return page(at(number + 1)) if number < SEEK_FROM - 5 else end(at(9))

        it = bench(script, start="head")

        assert await it.steps(1) == [True]
        assert it.kept.open_pages == 0

    async def test_an_unreadable_page_of_the_search_is_never_part_of_the_chain(self, bench):
        it = bench(lambda asked: Reply(body=GARBAGE, named=at(SEEK_FROM + 1)), start="head")
        for _ in range(2):
            await it.fails("unreadable")
            it.clock.jump(UNREADABLE_PATIENCE_S)

        assert (it.stream.cursor, it.kept.open_pages, set(it.upstream.asked)) == (None, 1, {at(SEEK_FROM)})

    @pytest.mark.parametrize(("start", "asked"), [("oldest", ""), (A, A)])
    async def test_it_begins_where_it_is_told_to(self, bench, start, asked):
        it = bench({asked: [page(B)]}, start=start)

        assert await it.steps(1) == [True]
        assert await it.pages() == [(asked, B)]

    @pytest.mark.parametrize("start", ["head", "oldest", A])
    async def test_a_stream_that_has_a_cursor_goes_on_there(self, bench, start):
        it = bench({B: [page(C)]}, start=start)
        await it.stream.freeze(Page("", B, 0, 200, "", b"", KIND))

        assert it.source.status(None).cursor == B
        assert await it.steps(1) == [True]
        assert (it.upstream.asked[0], it.stream.cursor) == (B, C)

    async def test_a_restart_goes_on_behind_the_last_page_on_disk(self, bench):
        it = bench({"": [page(B)]}, start="oldest")
        await it.steps(1)
        it.spool.close()
        again = bench({B: [page(C)]}, start="oldest")

        assert await again.steps(1) == [True]
        assert await again.pages() == [("", B), (B, C)]


class TestReadingAhead:
    async def test_the_next_request_leaves_at_the_headers_and_there_is_never_a_third(self, bench):
        first, second = page(B, named=B).held(headers=True).held(), page(C, named=C).held()
        it = bench({A: [first], B: [second], C: [page(D)]})
        running = it.run()
        await settle()
        before = list(it.upstream.asked)
        first.may_begin.set()
        await until(lambda: it.upstream.under_way == 2)
        await settle()
        meanwhile, frozen = list(it.upstream.asked), it.frozen
        first.may_end.set()
        await until(lambda: C in it.upstream.asked)
        then_frozen = it.frozen
        second.may_end.set()
        await until(lambda: it.frozen == 3)
        await it.end(running)

        assert (before, meanwhile, frozen, then_frozen) == ([A], [A, B], 0, 1)
        assert it.upstream.asked == [A, B, C, D]
        assert it.upstream.most_under_way <= 2

    async def test_pages_freeze_in_the_order_of_the_chain_however_they_come(self, bench):
        first, third = page(B, named=B).held(), page(D, named=D).held()
        it = bench({A: [first], B: [page(C, named=C)], C: [third], D: [page(E)]})
        running = it.run()
        await until(lambda: B in it.upstream.asked)
        await settle()
        first.may_end.set()
        await until(lambda: D in it.upstream.asked)
        third.may_end.set()
        await until(lambda: it.frozen == 4)
        await it.end(running)

        assert await it.pages() == [(A, B), (B, C), (C, D), (D, E)]

    @pytest.mark.parametrize("named", [None, "", A, BEHIND, "7-7", "12-12-12-12-x", "-", "12-12-12-12-12&realm=x"])
    async def test_a_header_that_names_no_id_to_go_on_with_waits_for_the_body(self, bench, named):
        first = page(B, named=named).held()
        it = bench({A: [first], B: [page(C)]})
        await it.stream.freeze(Page("7-7", A, 0, 200, "", b"", KIND))
        running = it.run()
        await until(lambda: it.upstream.asked == [A])
        await settle()
        meanwhile = list(it.upstream.asked)
        first.may_end.set()
        await until(lambda: it.frozen == 2)
        await it.end(running)

        assert meanwhile == [A]
        assert await it.pages() == [("7-7", A), (A, B), (B, C)]

    @pytest.mark.parametrize("wrong", ["answers", "fails", "hangs", "fails when it is cut short"])
    async def test_where_the_header_lied_the_body_wins_and_the_wrong_request_harms_nothing(self, bench, wrong):
        first = page(B, named=D).held()
        aside = page(E, error="reset" if wrong.startswith("fails") else None)
        if wrong in {"hangs", "fails when it is cut short"}:
            aside.held()
        it = bench({A: [first], D: [aside], B: [page(C)]})
        running = it.run()
        await until(lambda: it.upstream.asked == [A, D])
        await until(lambda: aside.is_over or not aside.may_end.is_set())
        first.may_end.set()
        await until(lambda: it.frozen == 2)
        await it.end(running)

        assert await it.pages() == [(A, B), (B, C)]
        assert it.upstream.asked[:3] == [A, D, B]
        assert (D in it.upstream.cut_short) is (aside.may_end.is_set() is False)
        assert (it.told.errors, it.kept.open_pages) == (0, 0)

    async def test_a_failure_ahead_counts_when_it_is_its_turn_and_not_before(self, bench):
        first, second = page(B, named=B).held(), Reply(error="reset")
        it = bench({A: [first], B: [second]})
        running = it.run()
        await until(lambda: second.is_over)
        await settle()
        before = it.told.errors
        first.may_end.set()
        with pytest.raises(UpstreamUnavailable, match="reset"):
            await running

        assert (before, it.told.errors, it.frozen) == (0, 1, 1)
        assert it.stream.cursor == B

    async def test_a_failure_now_lets_the_request_ahead_go(self, bench):
        it = bench({A: [Reply(named=B, error="reset").held()], B: [page(C).held()]})
        running = it.run()
        await until(lambda: B in it.upstream.asked)
        it.upstream.script[A][0].may_end.set()
        with pytest.raises(UpstreamUnavailable, match="reset"):
            await running

        assert (it.upstream.under_way, it.upstream.cut_short, it.frozen) == (0, [B], 0)

    async def test_an_error_names_no_request_ahead(self, bench):
        it = bench({A: [Reply(503, named=B)]})
        await it.fails("503")

        assert it.upstream.asked == [A]

    async def test_a_stop_while_both_are_under_way_leaves_nothing_behind(self, bench):
        it = bench({A: [page(B, named=B).held()], B: [page(C).held()]})
        running = it.run()
        await until(lambda: it.upstream.under_way == 2)
        await it.end(running)

        assert (it.upstream.under_way, it.upstream.cut_short, it.told.errors) == (0, [A, B], 0)

    async def test_a_service_that_is_cancelled_leaves_nothing_behind_either(self, bench):
        it = bench({A: [page(B, named=B).held()], B: [page(C, error="reset").held()]})
        running = it.run()
        await until(lambda: it.upstream.under_way == 2)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

        assert it.upstream.under_way == 0


class TestAFullSpool:
    async def test_keeps_the_answer_in_hand_and_asks_nothing_again(self, bench):
        it = bench({A: [page(B, 40, named=B)], B: [page(C)]})
        it.spool.limit(bytes_max=1_000, retain_s=0)
        for _ in range(3):
            with pytest.raises(SpoolFull):
                await it.source.run(it.stop, it.heart)
        state = it.told.state
        it.spool.limit(bytes_max=1 << 20, retain_s=0)
        running = it.run()
        await until(lambda: it.frozen == 2)
        await it.end(running)

        assert state is SourceState.WAITING
        assert it.upstream.asked.count(A) == 1
        assert await it.pages() == [(A, B), (B, C)]

    async def test_does_not_begin_the_patience_with_an_unreadable_page_anew(self, bench):
        it = bench({A: [Reply(body=GARBAGE, named=B)], B: [page(C)]})
        await it.fails("unreadable")
        it.clock.jump(UNREADABLE_PATIENCE_S)
        it.spool.limit(bytes_max=1, retain_s=0)
        for _ in range(2):
            with pytest.raises(SpoolFull):
                await it.source.run(it.stop, it.heart)
        it.spool.limit(bytes_max=1 << 20, retain_s=0)
        running = it.run()
        await until(lambda: it.frozen == 2)
        await it.end(running)

        assert it.kept.open_pages == 1
        assert await it.pages() == [(A, B), (B, C)]


class TestWhatLeadsNowhere:
    @pytest.mark.parametrize("named", [B, None])
    async def test_an_unreadable_page_is_kept_once_and_asked_again(self, bench, named):
        bad = Reply(body=GARBAGE, named=named)
        it = bench({A: [bad, bad, bad, page(B)]})
        await it.fails("unreadable: ", 3)

        assert await it.steps(1) == [True]
        assert (it.kept.open_pages, await it.pages()) == (1, [(A, B)])

    async def test_after_ten_minutes_the_chain_goes_on_at_the_header_and_the_page_is_frozen_as_it_came(self, bench):
        it = bench({A: [Reply(body=GARBAGE, named=B)], B: [page(C)]})
        await it.fails("unreadable")
        it.clock.jump(UNREADABLE_PATIENCE_S - 1)
        await it.fails("unreadable")
        it.clock.jump(1)

        assert await it.steps(2) == [True, True]
        [first, second] = await it.stream.pages(await it.stream.seal({}))
        assert (first.asked, first.next, first.body, first.kind) == (A, B, GARBAGE, KIND)
        assert (second.asked, second.next, it.kept.open_pages) == (B, C, 1)

    @pytest.mark.parametrize("named", [None, "", A, BEHIND, "12-12-12-12-x"])
    async def test_it_never_goes_on_without_an_id_that_leads_on(self, bench, named):
        it = bench({A: [Reply(body=GARBAGE, named=named)]})
        for _ in range(3):
            await it.fails("unreadable")
            it.clock.jump(UNREADABLE_PATIENCE_S)

        assert (it.stream.cursor, it.frozen, it.kept.open_pages) == (None, 0, 1)

    async def test_each_page_has_patience_of_its_own(self, bench):
        it = bench({A: [Reply(body=GARBAGE), page(B)], B: [Reply(body=GARBAGE, named=C)]})
        await it.fails("unreadable")
        it.clock.jump(UNREADABLE_PATIENCE_S)
        await it.steps(1)
        await it.fails("unreadable")

        assert (it.stream.cursor, it.kept.open_pages) == (B, 2)

    @pytest.mark.parametrize("changes", [0, 3])
    @pytest.mark.parametrize("following", [BEHIND, "11-11-11-11-10", "7-7"])
    async def test_a_cursor_that_runs_back_is_raised_and_not_followed(self, bench, following, changes):
        it = bench({A: [page(following, changes, named=following)]})
        await it.stream.freeze(Page("7-7", A, 0, 200, "", b"", KIND))
        await it.fails(f"next_change_id {following} does not lead on", 2)

        assert (it.stream.cursor, set(it.upstream.asked), it.kept.open_pages) == (A, {A}, 1)
        assert it.told.state is SourceState.DEGRADED

    async def test_a_cursor_that_repeats_with_content_is_raised_and_not_followed(self, bench):
        it = bench({A: [page(A)]})
        await it.fails("does not lead on")

        assert (it.stream.cursor, it.kept.open_pages) == (None, 1)

    async def test_a_body_larger_than_allowed_is_unreadable(self, bench):
        it = bench({A: [page(B, 1_000)]})
        await it.fails("unreadable")

        assert it.kept.open_pages == 1


class TestTheEnd:
    async def test_an_empty_page_is_no_error_and_the_same_id_is_asked_again_at_a_civil_pace(self, bench):
        it = bench({A: [end(A), end(A), page(B)], B: [end(B)]})
        running = it.run()
        await until(lambda: it.clock.sleepers)
        await it.clock.advance(3.9)
        early = list(it.upstream.asked)
        await it.clock.advance(2.2)
        await until(lambda: it.clock.sleepers)
        later = list(it.upstream.asked)
        await it.clock.advance(6.1)
        await until(lambda: it.clock.sleepers)
        await it.end(running)

        assert (early, later) == ([A], [A, A])
        assert it.upstream.asked == [A, A, A, B]
        assert (it.told.errors, it.kept.open_pages, it.frozen) == (0, 0, 1)

    async def test_an_empty_page_that_names_another_id_moves_the_chain_and_is_an_end_all_the_same(self, bench):
        it = bench({A: [end(B)], B: [page(C)]})

        assert await it.steps(1) == [True]
        assert 4 <= it.source._wait_s() <= 6
        assert await it.steps(1) == [True]
        assert await it.pages() == [(A, B), (B, C)]

    async def test_before_the_end_nothing_but_the_throttle_sets_the_pace(self, bench):
        it = bench({A: [page(B, 10)], B: [page(C, 3)], C: [page(D, 3)], D: [page(E, 9)]})
        waits_s = []
        for _ in range(4):
            await it.source.step()
            waits_s.append(it.source._wait_s())

        assert [wait_s > 0 for wait_s in waits_s] == [False, False, True, False]

    async def test_where_pages_come_alike_for_long_one_pause_shows_whether_it_is_the_end(self, bench, monkeypatch):
        monkeypatch.setattr(tide, "PROBE_PAGES", 3)
        it = bench({A: [page(B)], B: [page(C)], C: [page(D)], D: [page(E)]})
        waits_s = []
        for _ in range(4):
            await it.source.step()
            waits_s.append(it.source._wait_s())

        assert [wait_s > 0 for wait_s in waits_s] == [False, False, True, False]

    async def test_there_is_a_lag_once_all_before_the_end_is_committed_and_none_while_catching_up(self, bench):
        it = bench({A: [page(B)], B: [end(B), page(C)], C: [end(C)]})
        told = [it.told]
        await it.steps(2)
        told.append(it.told)
        await it.commit()
        told.append(it.told)
        it.clock.jump(301)
        await it.steps(1)
        told.append(it.told)
        await it.commit()
        await it.steps(2)

        assert [(each.state.value, each.lag_s) for each in [*told, it.told]] == [
            ("starting", None),
            ("catching_up", None),
            ("live", 300.0),
            ("catching_up", None),
            ("live", 300.0),
        ]
        assert it.upstream.backfills == [True, True, True, True, False]

    async def test_the_end_is_as_old_as_the_request_that_met_it(self, bench):
        last = end(A).held()
        it = bench({A: [last]})
        stepping = asyncio.create_task(it.source.step())
        await until(lambda: it.upstream.under_way)
        it.clock.jump(20)
        last.may_end.set()
        await stepping

        assert it.told.lag_s == 320


class TestPatience:
    @pytest.mark.parametrize("status", [400, 401, 403, 404])
    async def test_three_refusals_minutes_apart_stop_it_with_a_hint(self, bench, status):
        it = bench({A: [Reply(status, b'{"error":{"code":6,"message":"tok3n"}}')]})
        waits_s = []
        for _ in range(2):
            await it.fails(f"{status} .forbidden.")
            waits_s.append(it.source._wait_s())
        with pytest.raises(UpstreamRefused, match=f"3 times in a row, last with {status} .forbidden") as caught:
            await it.source.step()

        await it.fails(str(status), 2)  # a reload gives it another chance, and not a single one

        assert waits_s == [60, 300]
        assert "upstream.client_id" in caught.value.hint
        assert caught.value.hint.endswith("systemctl restart ledgerd")
        assert "tok3n" not in str(caught.value)

    async def test_a_page_between_refusals_forgives_them(self, bench):
        no = Reply(403)
        it = bench({A: [no, no, page(B)], B: [no, no, page(C)]})
        await it.fails("403", 2)
        await it.steps(1)
        await it.fails("403", 2)

        assert await it.steps(1) == [True]

    @pytest.mark.parametrize(
        ("status", "least_s", "most_s"), [(429, 0, 0), (500, 0, 0), (502, 0, 0), (503, 24, 36), (302, 0, 0)]
    )
    async def test_what_passes_by_itself_is_never_a_refusal(self, bench, status, least_s, most_s):
        it = bench({A: [Reply(status)]})
        for _ in range(5):
            await it.fails(f"{status} .no reason given")
            assert least_s <= it.source._wait_s() <= most_s

        assert (it.told.state, it.told.errors, it.kept.open_pages) == (SourceState.DEGRADED, 5, 0)

    @pytest.mark.parametrize("status", [403, 429, 502, 503])
    @pytest.mark.parametrize(("demanded", "wait_s"), [("120", 120), ("86400", 3600)])
    async def test_retry_after_is_kept_to_and_shown_for_up_to_an_hour(self, bench, status, demanded, wait_s):
        it = bench({A: [Reply(status, Retry_After=demanded), page(B)]})
        await it.fails(str(status))
        shown = it.told.retry_after_s
        waits_s = it.source._wait_s()
        running = it.run()
        await it.clock.advance(wait_s - 1)
        early = len(it.upstream.asked)
        await it.clock.advance(2)
        await until(lambda: it.frozen)
        await it.end(running)

        assert (waits_s, early, shown, it.told.retry_after_s) == (wait_s, 1, float(demanded), None)

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            (b'{"error":{"code":3,"message":"x"}}', "rate limit"),
            (b'{"error":{"code":77}}', "code 77"),
            (b'{"error":"invalid_token"}', "invalid_token"),
            (b'{"error":"tok3n"}', "no reason given"),
            (b'{"error":{"code":"tok3n"}}', "no reason given"),
            (b"[]", "no reason given"),
            (b"\xff", "no reason given"),
            (b" " * (1 << 17), "no reason given"),
        ],
    )
    async def test_what_upstream_says_is_told_in_our_own_words(self, bench, body, said):
        it = bench({A: [Reply(500, body)]})
        await it.fails(rf"500 \({said}\)")

    async def test_who_listens_is_told_at_turns_only(self, bench):
        bad = Reply(body=GARBAGE)
        it = bench({A: [Reply(502), bad, Reply(503), page(B)], B: [page(C, 40)]})
        await it.fails("river-pc: ", 3)
        await it.steps(1)
        it.spool.limit(bytes_max=1_000, retain_s=0)
        with pytest.raises(SpoolFull):
            await it.source.step()

        assert it.turns == [SourceState.DEGRADED, SourceState.CATCHING_UP, SourceState.WAITING]


async def test_status_says_where_it_stands(bench):
    it = bench({A: [page(B)], B: [end(B)]})
    before = it.told
    await it.steps(2)
    await it.commit()
    now = it.told

    assert (before.name, before.kind, before.realm, before.cursor) == ("river-pc", "river", "pc", None)
    assert (before.state, before.avg_req_per_sec, before.pages_behind) == (SourceState.STARTING, 0.0, None)
    assert (now.cursor, now.pages_behind, now.avg_req_per_sec) == (B, 0, round(2 / 300, 4))
    assert now.last_ingest_time is not None
    assert [(lane.league, lane.rows) for lane in it.source.lanes()] == [("Mirage", 3)]


async def test_waiting_for_a_slow_answer_is_no_stall(bench):
    it = bench({})
    running = it.run()
    await until(lambda: it.upstream.under_way)
    await it.clock.advance(3_600)
    age_s = it.heart.age_s()
    await it.end(running)

    assert age_s == 0


async def test_a_writer_that_finds_no_room_after_the_page_is_on_disk_costs_no_page(bench):
    it = bench({A: [page(B)], B: [page(C)]})
    tries = []

    async def once_full():
        tries.append(it.stream.cursor)
        if len(tries) == 1:
            raise SpoolFull("no room to seal")

    it.source._on_freeze = once_full
    with pytest.raises(SpoolFull):
        await it.source.run(it.stop, it.heart)
    running = it.run()
    await until(lambda: len(tries) == 3)
    await it.end(running)

    assert it.upstream.asked[:2] == [A, B]
    assert await it.pages() == [(A, B), (B, C)]
