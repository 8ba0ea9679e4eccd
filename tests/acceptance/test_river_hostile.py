"""Hostile pages of the river: the source lives, each change is stored, counted or whole in quarantine, memory stays."""

import gzip
import json
import os
import random
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from ledgerd.clock import SystemClock
from ledgerd.errors import LedgerdError
from ledgerd.harvest.river_landing import RiverLanding
from ledgerd.harvest.river_source import RiverSource, river_url
from ledgerd.harvest.source import Settings
from ledgerd.sim import faults
from ledgerd.sim.river_faults import replaced, spoiled
from ledgerd.sim.river_source import MadeRivers
from ledgerd.sim.timeline import parse_id
from ledgerd.spool.journal import Journal, quarantine_landing
from ledgerd.spool.spool import Spool
from ledgerd.spool.writer import MISMATCH, SealRules, Writer
from ledgerd.store.embedded import EmbeddedEngine
from ledgerd.store.migrate import Migrator
from ledgerd.supervise import Heart
from ledgerd.upstream.body import UnreadableBody, decode
from ledgerd.upstream.client import Answer
from tests.daemon import EDGE, TEST_S

pytest.importorskip("chdb")

HOSTILE = int(os.environ.get("LEDGERD_HOSTILE", "200"))
WARM_UP = 100
GROWTH_KIB_MAX = 64 << 10
STASHES_A_PAGE = 6
START = "9000-9000-9000-9000-9000"
SOURCE = "river-pc"
BODY_BYTES_MAX = 32 << 20
KINDS = [kind for kind in faults.ALL if kind not in {"reset", "hang", "slow", "gzip_bomb", "limit_change"}]
BOMBS_EVERY = 150
"""A gigabyte of blanks costs two seconds, so there are few of them."""
ODD = (None, True, -1, 1.5, 2**64, "", "x", [], {}, [[]], "\u0000", "Mine (PL1)", {"a": 1}, "12345678901234567890123")
OUTCOMES = """
    SELECT c.seq, p.page_seq, p.counted, q.whole
    FROM (SELECT seq, batch_id, arrayJoin(range(pages)) AS page_seq FROM bronze_ingest_checkpoints) AS c
    LEFT JOIN (SELECT batch_id, page_seq, sum(stashes) AS counted FROM bronze_river_counts GROUP BY ALL) AS p
        ON p.batch_id = c.batch_id AND p.page_seq = c.page_seq
    LEFT JOIN (SELECT batch_id, page_seq, count() AS whole FROM bronze_quarantine WHERE startsWith(reason, {m:String})
        GROUP BY ALL) AS q ON q.batch_id = c.batch_id AND q.page_seq = c.page_seq
    ORDER BY c.seq, c.page_seq
"""


def with_flipped_bytes(body, rng):
    data = bytearray(body)
    for _ in range(rng.randint(1, 8)):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def torn(body, rng):
    return body[: rng.randrange(len(body))]


def rss_kib():
    return int(re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())[1])


def with_another_value(body, rng):
    page = orjson.loads(body)
    stash = rng.choice(page["stashes"])
    stash[rng.choice(list(stash))] = rng.choice(ODD)
    return json.dumps(page).encode()


def with_another_next(body, rng):
    page = orjson.loads(body)
    page["next_change_id"] = rng.choice([0, None, "", "x", "1-2", "1" * 30, [], page["next_change_id"] + "-1"])
    return orjson.dumps(page)


def with_odd_stashes(body, rng):
    page = orjson.loads(body)
    page["stashes"] += rng.choice([[None], [[]], ["x"], [{}], [1, 2], [{"id": 5, "public": "yes"}]])
    return orjson.dumps(page)


MUTATIONS = (with_flipped_bytes, with_another_value, with_another_next, with_odd_stashes, torn)


def hostile_answer(n, page, river, rng):
    """The ``n``-th hostile answer, from a true page: every kind in turn, every other one a mutation."""
    true = faults.Answer(200, page.written())
    if n % BOMBS_EVERY == 50:
        return faults.apply("gzip_bomb", true, n)
    if n % 2:
        mutated = MUTATIONS[n // 2 % len(MUTATIONS)](true.body, rng)
        if n % 3:
            return faults.Answer(200, mutated)
        packed = gzip.compress(mutated, 1, mtime=0)
        return faults.Answer(200, with_flipped_bytes(packed, rng) if n % 9 == 0 else packed, encoding="gzip")
    kind = KINDS[n // 2 % len(KINDS)]
    other = replaced(kind, true, n)
    return other or faults.Answer(200, spoiled(kind, page, "pc", river, n)[0].written())


def stashes_in(answer):
    """How many changes a lenient reader finds in an answer that was taken; None where it finds no page."""
    try:
        text = decode(answer.body, answer.encoding or "", BODY_BYTES_MAX).decode("utf-8-sig", "surrogateescape")
        return len(json.loads(text, strict=False)["stashes"])
    except (UnreadableBody, ValueError, KeyError, TypeError, RecursionError):
        return None


class Script:
    """In place of what asks with a token: gives the answers it was told to give."""

    def __init__(self):
        self.next = None

    async def get(self, url, **_):
        now_s, answer = SystemClock().now(), self.next
        return Answer(answer.status, dict(answer.headers), answer.encoding or "", answer.body, now_s, now_s)


class Bench:
    """A source, its writer and the quarantine's, on a spool and an engine of their own."""

    def __init__(self, folder, engine):
        clock = SystemClock()
        self.engine, self.script, self.heart = engine, Script(), Heart(clock)
        self.river = MadeRivers(1, per_s=5.0, stashes=600, hostile_share=0.2, rates_seed=1)
        self.place = self.river.beside("pc", parse_id(self.river.head("pc", EDGE)), -30_000_000)
        self.spool = Spool(folder / "spool", bytes_max=1 << 30, retain_s=0, clock=clock)
        self.spool.open()
        self.stream, records = self.spool.stream(SOURCE), self.spool.journal("quarantine")
        rules = SealRules(pages_max=8, bytes_max=BODY_BYTES_MAX, after_s=1)
        landing = RiverLanding(SOURCE, "pc", lambda _: ("*",), BODY_BYTES_MAX)
        self.writer = Writer(self.stream, landing, engine, rules=rules, clock=clock)
        self.keeper = Writer(records, quarantine_landing(), engine, rules=rules, clock=clock)
        self.source = RiverSource(
            "pc",
            url=lambda change_id: river_url("http://127.0.0.1", "public-stash-tabs", "pc", change_id),
            start=START,
            settings=Settings(
                ("*",), poll_s=0, maintenance_poll_s=0, decoded_bytes_max=BODY_BYTES_MAX, stalled_after_s=1e9
            ),
            oauth=self.script,
            stream=self.stream,
            journal=Journal(records, clock, self.keeper.frozen),
            clock=clock,
            rng=random.Random(1),
            on_freeze=self.writer.frozen,
        )

    def page(self, n):
        """A true page cut short, with items in it, and ids that go on where a hostile one may have led the chain."""
        whole = self.river.page("pc", parse_id(self.place), EDGE, n)
        self.place, asked = whole.next_id, self.stream.cursor or START
        following = "-".join(str(int(counter) + 1000) for counter in asked.split("-"))
        few = sorted(whole.pieces, key=lambda piece: -piece.items)[:STASHES_A_PAGE]
        return replace(whole, asked=asked, next_id=following, pieces=tuple(few))

    async def give(self, answer):
        """Let the source ask and get ``answer``; True if it froze it."""
        before, self.script.next = self.stream.cursor, answer
        try:
            await self.source.step()
        except LedgerdError:
            return False
        return self.stream.cursor != before

    async def store(self):
        for writer in (self.writer, self.keeper):
            await writer.flush(self.heart)


@pytest.fixture
async def bench(tmp_path):
    engine = EmbeddedEngine(tmp_path / "store", database="poe", memory_bytes_max=1_000_000_000)
    await engine.open()
    await Migrator(engine, SystemClock()).apply()
    made = Bench(tmp_path, engine)
    yield made
    made.spool.close()
    await engine.close()


@pytest.mark.timeout(TEST_S + HOSTILE)
async def test_each_change_of_a_hostile_page_is_counted_or_the_page_is_whole_in_quarantine(bench):
    rng = random.Random(7)
    seen, taken, warm_kib = Counter(), [], 0
    for n in range(HOSTILE):
        page = bench.page(n)
        answer = hostile_answer(n, page, bench.river, rng)
        is_taken = await bench.give(answer)
        seen["taken" if is_taken else "unusable" if answer.status == 200 else "refused or failed"] += 1
        if not is_taken:
            answer = faults.Answer(200, page.written())
            assert await bench.give(answer), "a good answer after a hostile one"
        taken.append(stashes_in(answer))
        if n % 20 == 0:
            await bench.store()
            warm_kib = rss_kib() if n == WARM_UP else warm_kib
    await bench.store()
    grown_kib = rss_kib() - warm_kib
    outcomes = await bench.engine.rows(OUTCOMES, {"m": MISMATCH})
    unusable = "SELECT count() FROM bronze_quarantine WHERE startsWith(batch_id, 'quarantine-')"
    vanished = [
        (n, expected, outcome)
        for n, (expected, outcome) in enumerate(zip(taken, outcomes, strict=True))
        if outcome[2] != expected and not outcome[3]
    ]
    whole = sum(outcome[3] > 0 for outcome in outcomes)
    print(f"\n{dict(seen)}, pages {len(outcomes)}, whole in quarantine {whole}, grown {grown_kib} KiB")

    assert vanished == []
    assert await bench.engine.rows(unusable) == [(seen["unusable"],)]
    assert min(seen["taken"], seen["unusable"], seen["refused or failed"], whole) > HOSTILE // 50
    assert grown_kib <= GROWTH_KIB_MAX


async def test_changes_behind_the_end_of_a_page_are_not_left_out_in_silence(bench):
    body = bench.page(0).written()
    assert await bench.give(faults.Answer(200, body + body[body.index(b'"stashes"') :]))
    await bench.store()
    ((_, _, counted, whole),) = await bench.engine.rows(OUTCOMES, {"m": MISMATCH})

    assert (counted, whole) == (0, 1)
