"""Five hundred hostile answers: the daemon lives, each is taken or kept in quarantine, and the counts add up."""

import gzip
import json
import random
import re
from collections import Counter
from pathlib import Path

import orjson
import pytest

from ledgerd.clock import SystemClock
from ledgerd.errors import LedgerdError
from ledgerd.harvest.exchange_landing import ExchangeLanding
from ledgerd.harvest.lanes import PRIVATE_LEAGUE
from ledgerd.harvest.market_harvester import ExchangeSource
from ledgerd.harvest.source import Settings
from ledgerd.sim import faults
from ledgerd.sim.source import MarketSource
from ledgerd.spool.journal import Journal, quarantine_landing
from ledgerd.spool.spool import Spool
from ledgerd.spool.writer import MISMATCH, SealRules, Writer
from ledgerd.store.embedded import EmbeddedEngine
from ledgerd.store.migrate import Migrator
from ledgerd.supervise import Heart
from ledgerd.upstream.body import UnreadableBody, decode
from ledgerd.upstream.client import Answer
from tests.daemon import BRONZE, EDGE, HOUR_S, TEST_S, daemon, lost_and_doubled, upstream

pytest.importorskip("chdb")

HOSTILE = 500
WARM_UP = 200
"""Until then the engine fills caches of its own: 20 MiB more from the 100th body on, whatever they hold."""
GROWTH_KIB_MAX = 64 << 10
REALM, SOURCE = "xbox", "exchange-xbox"
FIRST = EDGE - (HOSTILE + 1) * HOUR_S
BODY_KINDS = [name for name in faults.FAULTS if name not in {"reset", "hang", "slow"}]
BOMBS_EVERY = 100
"""A gigabyte of blanks costs two seconds, so there are few of them."""


def spliced(body, rng):
    at, by = sorted((rng.randrange(len(body)), rng.randrange(len(body))))
    return body[:at] + body[by:] + body[at:by]


def with_flipped_bytes(body, rng):
    data = bytearray(body)
    for _ in range(rng.randint(1, 8)):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def with_another_value(body, rng):
    page = orjson.loads(body)
    market = rng.choice(page["markets"])
    values = [None, True, -1, 1.5, 2**64 - 1, "", "x", [], {}, [[]], "\u0000", "Ünïcode", "Mine (PL1)", {"a": 1}]
    market[rng.choice(list(market))] = rng.choice(values)
    return orjson.dumps(page)


def with_another_next(body, rng):
    page = orjson.loads(body)
    page["next_change_id"] = rng.choice([0, -1, None, "x", 2**32, 2**32 - 256, 10**30, page["next_change_id"] + 1, []])
    return json.dumps(page).encode()


def with_odd_markets(body, rng):
    page = orjson.loads(body)
    page["markets"] += rng.choice([[None], [[]], ["x"], [{}], [1, 2], [{"league": 5, "market_id": []}]])
    return orjson.dumps(page)


def torn(body, rng):
    return body[: rng.randrange(len(body))]


MUTATIONS = (spliced, with_flipped_bytes, with_another_value, with_another_next, with_odd_markets, torn)


def hostile_answer(n, body, rng):
    """The ``n``-th hostile answer, from a true body: every kind in turn, every other one a mutation."""
    if n % BOMBS_EVERY == 50:
        return faults.apply("gzip_bomb", faults.Answer(200, body), n)
    if n % 2:
        mutated = MUTATIONS[n // 2 % len(MUTATIONS)](body, rng)
        if n % 3:
            return faults.Answer(200, mutated)
        packed = gzip.compress(mutated, 1, mtime=0)
        return faults.Answer(200, with_flipped_bytes(packed, rng) if n % 9 == 0 else packed, encoding="gzip")
    kinds = [kind for kind in BODY_KINDS if kind != "gzip_bomb"]
    return faults.apply(kinds[n // 2 % len(kinds)], faults.Answer(200, body), n)


def markets_in(answer):
    """The leagues of every market in an answer that was taken, however badly it is written."""
    try:
        text = decode(answer.body, answer.encoding or "", 1 << 28).decode("utf-8-sig", "surrogateescape")
    except UnreadableBody:
        return []
    leagues = [m.get("league") if isinstance(m, dict) else None for m in json.loads(text, strict=False)["markets"]]
    return [league if isinstance(league, str) else "" for league in leagues]


def rss_kib():
    return int(re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())[1])


class Script:
    """In place of the HTTP client: gives the answers it was told to give."""

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
        self.spool = Spool(folder / "spool", bytes_max=1 << 30, retain_s=0, clock=clock)
        self.spool.open()
        self.stream, records = self.spool.stream(SOURCE), self.spool.journal("quarantine")
        landing = ExchangeLanding(SOURCE, REALM, lambda _: ("*",), 32 << 20)
        rules = SealRules(pages_max=8, bytes_max=32 << 20, after_s=1)
        self.writer = Writer(self.stream, landing, engine, rules=rules, clock=clock)
        self.keeper = Writer(records, quarantine_landing(), engine, rules=rules, clock=clock)
        self.source = ExchangeSource(
            REALM,
            exchange_url="http://127.0.0.1/api/currency-exchange",
            start_hour=FIRST,
            newest_end_s=None,
            settings=Settings(("*",), poll_s=0, maintenance_poll_s=0, decoded_bytes_max=32 << 20, stalled_after_s=1e9),
            client=self.script,
            stream=self.stream,
            journal=Journal(records, clock, self.keeper.frozen),
            clock=clock,
            rng=random.Random(1),
            on_freeze=self.writer.frozen,
        )

    async def give(self, answer):
        """Let the source ask and get ``answer``; True if it was taken as the page of its hour."""
        before, self.script.next = self.source.next_hour, answer
        try:
            await self.source.step()
        except LedgerdError:
            return False
        return self.source.next_hour != before

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


@pytest.mark.timeout(TEST_S)
async def test_each_of_500_is_taken_or_quarantined_the_counts_add_up_and_memory_stays(bench, tmp_path):
    rng = random.Random(7)
    ids = tmp_path / "few.tsv"
    ids.write_text("metadata_id\tgame\n" + "".join(f"{n}\tboth\n" for n in ("a", "b", "c", "d", "e")))
    market = MarketSource(1, ids_path=ids)
    leagues, seen, warm_kib = Counter(), Counter(), 0
    for n in range(HOSTILE):
        answer = hostile_answer(n, market.body(REALM, bench.source.next_hour), rng)
        is_taken = await bench.give(answer)
        seen["taken" if is_taken else "unusable" if answer.status == 200 else "refused or failed"] += 1
        if not is_taken:
            answer = faults.Answer(200, market.body(REALM, bench.source.next_hour))
            assert await bench.give(answer), "a good answer after a hostile one"
        leagues.update(markets_in(answer))
        if n % 20 == 0:
            await bench.store()
            warm_kib = rss_kib() if n == WARM_UP else warm_kib
    await bench.store()
    grown_kib = rss_kib() - warm_kib
    private = sum(count for league, count in leagues.items() if PRIVATE_LEAGUE.search(league))
    ask = bench.engine.rows
    ((stored,),) = await ask("SELECT count() FROM bronze_exchange_events")
    quarantined = dict(
        await ask(
            "SELECT multiIf(startsWith(batch_id, 'quarantine-'), 'answer', reason = {m:String}, 'page', 'market')"
            " AS what, count() FROM bronze_quarantine GROUP BY what",
            {"m": MISMATCH},
        )
    )
    ((booked, skipped, unfit),) = await ask(
        "SELECT sum(rows), sum(rows_skipped), sum(rows_quarantined) FROM bronze_ingest_checkpoints"
    )
    print(f"\n{dict(seen)}, stored {stored}, quarantined {quarantined}, private {skipped}, grown {grown_kib} KiB")

    assert min(seen["taken"], seen["unusable"], seen["refused or failed"]) > 30
    assert quarantined["answer"] == seen["unusable"]
    assert quarantined["market"] == unfit
    assert stored + unfit == booked
    assert booked + skipped == leagues.total()
    assert skipped == private
    assert grown_kib <= GROWTH_KIB_MAX


async def test_a_page_that_says_two_things_at_once_is_kept_whole_beside_its_rows(bench):
    body = MarketSource(1).body(REALM, FIRST)
    await bench.give(faults.Answer(200, body[:-1] + b',"markets":[]}'))
    await bench.store()

    assert await bench.engine.rows("SELECT reason, count() FROM bronze_quarantine GROUP BY reason") == [(MISMATCH, 1)]


ORDERED = ("html", "lone_surrogate", "missing_field", "reset", "bom", "huge_number", "gzip_bomb", "negative_number")
SPOILT = ("lone_surrogate", "missing_field", "huge_number", "negative_number")
"""Each of these costs one market, which is then in quarantine."""


@pytest.mark.timeout(TEST_S)
async def test_the_daemon_outlives_them_and_books_every_request():
    async with upstream(12) as exchange, daemon(exchange.url, realms=[{"name": REALM}]) as ledgerd:
        await exchange.post("faults", list(ORDERED))
        await ledgerd.start()
        await ledgerd.caught_up(SOURCE, EDGE)
        expected = await exchange.rows(REALM)
        stored = await ledgerd.sql(BRONZE.format(realm=REALM))
        lost, doubled = lost_and_doubled(expected, stored)
        kept = await ledgerd.sql("SELECT count(), countIf(startsWith(batch_id, 'exchange')) FROM bronze_quarantine")

        assert (len(lost), doubled) == (len(SPOILT), [])
        assert kept[0][1] == len(SPOILT)
        assert await ledgerd.stop() == 0
        await exchange.post("edge", {"advance": 1})
        await ledgerd.start()
        await ledgerd.caught_up(SOURCE, EDGE + HOUR_S)
        asked = [answer for answer in await exchange.answers() if answer["hour"] is not None and answer["hour"] < EDGE]
        told = f"SELECT count() FROM bronze_requests WHERE toUInt32OrZero(cursor) < {EDGE}"

        async def is_booked():
            return (await ledgerd.sql(told))[0][0] >= len(asked)

        await ledgerd.wait("every request to be booked", is_booked)
        assert await ledgerd.sql(told) == [(len(asked),)]
