"""The writer against an engine that will not take a page: nothing lost, nothing twice, nothing stuck."""

from dataclasses import replace

import orjson
import pytest

from ledgerd.clock import HOUR_S, hour_of
from ledgerd.errors import ChainBroken, QueryRefused, StoreUnavailable
from ledgerd.harvest.exchange_landing import ExchangeLanding
from ledgerd.spool.journal import Journal, requests_landing
from ledgerd.spool.patience import FAILURES_MAX, PATIENCE_S
from ledgerd.spool.record import Page
from ledgerd.spool.spool import Spool
from ledgerd.spool.writer import MISMATCH, Insert, Repaired, SealRules, Writer
from ledgerd.store.faults import fault
from ledgerd.supervise import Heart
from tests.clocks import ORIGIN_S, ManualClock

SOURCE = "exchange-pc"
FIRST = hour_of(ORIGIN_S) - 10 * HOUR_S
MEMORY = fault("Code: 241. DB::Exception: Memory limit exceeded.")
POISON = b"poison"


class Engine:
    """Takes each token once; refuses, whole, every insert that holds a poisoned row."""

    def __init__(self, error=MEMORY):
        self.error = error
        self.tables = {}
        self.tokens = set()
        self.sent = []
        self.probed = None

    async def insert(self, table, columns, rows, *, token):
        self.sent.append(token)
        if table != "bronze_quarantine" and any(POISON in bytes(str(row), "utf-8") for row in rows):
            raise self.error
        if rows and token not in self.tokens:
            self.tokens.add(token)
            self.tables.setdefault(table, []).extend(dict(zip(columns, row, strict=True)) for row in rows)

    async def rows(self, sql, params=None):
        if "LIMIT 0" in sql:
            if self.probed:
                raise self.probed
            return []
        if "bronze_ingest_checkpoints" in sql:
            rows = [row for row in self.tables.get("bronze_ingest_checkpoints", []) if row["seq"] == params["seq"]]
            own = sum(params["batch"] in {"", row["batch_id"]} for row in rows)
            return [(own, max((row["batch_id"] for row in rows), default=""))]
        landed = self.tables.get("landing_exchange_1", [])
        return [
            (row["page_seq"], "Standard", 1, 0, row["asked"]) for row in landed if row["batch_id"] == params["batch"]
        ]


class Bench:
    """A writer whose process may be killed and started again."""

    def __init__(self, folder, engine):
        self.folder, self.engine, self.clock = folder, engine, ManualClock()
        self.commits, self.spool = [], None
        self.start()

    def start(self):
        if self.spool:
            self.spool.close()
        self.spool = Spool(self.folder, bytes_max=1 << 20, retain_s=0, clock=self.clock)
        self.spool.open()
        self.stream = self.spool.stream(SOURCE)
        landing = ExchangeLanding(SOURCE, "pc", lambda _: ("*",), 10_000)
        rules = SealRules(100, 1 << 20, 1)
        self.writer = Writer(
            self.stream, landing, self.engine, rules=rules, clock=self.clock, on_commit=self.commits.append
        )

    async def freeze(self, *marks):
        for mark in marks:
            hour = int(self.stream.cursor or FIRST)
            body = orjson.dumps({"next_change_id": hour + HOUR_S, "markets": [{"league": "Standard", "x": mark}]})
            await self.stream.freeze(Page(str(hour), str(hour + HOUR_S), int(ORIGIN_S * 1000), 200, "", body))

    async def fail(self, times=FAILURES_MAX):
        for _ in range(times):
            with pytest.raises(StoreUnavailable):
                await self.writer.flush(Heart(self.clock))
        self.clock.jump(PATIENCE_S)

    async def flush(self):
        await self.writer.flush(Heart(self.clock))

    def stored(self):
        return [row["page_seq"] for row in self.engine.tables.get("landing_exchange_1", [])]

    def quarantined(self):
        return [(row["page_seq"], row["reason"]) for row in self.engine.tables.get("bronze_quarantine", [])]


@pytest.fixture
def bench(tmp_path):
    made = []

    def make(engine):
        made.append(Bench(tmp_path / "spool", engine))
        return made[-1]

    yield make
    for each in made:
        each.spool.close()


@pytest.mark.parametrize(
    "error", [MEMORY, fault("Code: 159. DB::Exception: Too slow."), QueryRefused("A value does not fit.")]
)
async def test_a_page_the_engine_never_takes_is_kept_whole_and_its_neighbours_are_stored(bench, error):
    it = bench(Engine(error))
    await it.freeze("a", "poison", "c")
    await it.fail()
    await it.flush()

    assert it.stored() == [0, 2]
    assert it.quarantined() == [(1, f"{MISMATCH}: {error.message}")]
    assert [commit.batch.pages for commit in it.commits] == [3]
    assert it.stream.sealed() == []


async def test_a_short_want_of_memory_is_waited_out(bench):
    it = bench(Engine())
    await it.freeze("poison")
    for _ in range(3 * FAILURES_MAX):
        with pytest.raises(StoreUnavailable):
            await it.flush()

    assert it.quarantined() == []


async def test_a_repair_the_engine_never_takes_leaves_its_page_to_the_quarantine(bench, monkeypatch):
    it = bench(Engine())
    slow = Insert("landing_slow", ("batch_id", "page_seq", "payload"), [("b", 0, POISON)], "-slow")
    landing = it.writer._landing
    whole = landing.land
    monkeypatch.setattr(landing, "land", lambda *about: replace(whole(*about), expected={0: 2}))
    monkeypatch.setattr(landing, "repair", lambda *_: Repaired([slow], {0: 2}))
    await it.freeze("a")
    await it.fail()
    await it.flush()

    assert it.quarantined() == [(0, MISMATCH)]
    assert (it.stored(), len(it.commits), it.stream.sealed()) == ([0], 1, [])


async def test_where_another_harvester_went_on_nothing_is_stored_and_nothing_let_go(bench):
    it = bench(Engine())
    it.engine.tables["bronze_ingest_checkpoints"] = [{"seq": 1, "batch_id": "exchange-pc-0000000001-another"}]
    await it.freeze("a")
    with pytest.raises(ChainBroken, match="another ledgerd went on from here with exchange-pc-0000000001-another"):
        await it.flush()

    assert it.stored() == []
    assert len(it.stream.sealed()) == 1


async def test_a_missing_table_is_no_fault_of_the_rows(bench):
    it = bench(Engine(QueryRefused("Table landing_exchange_1 has no column x.")))
    it.engine.probed = fault("Code: 60. DB::Exception: Unknown table.")
    await it.freeze("poison")
    with pytest.raises(QueryRefused, match="Unknown table"):
        await it.flush()


async def test_once_pages_go_alone_a_restart_never_sends_the_batch_whole_again(bench, monkeypatch):
    it = bench(Engine())
    await it.freeze("a", "poison", "c")
    await it.fail()
    (batch,) = it.stream.sealed()

    async def dies(*_):
        raise StoreUnavailable("gone")

    monkeypatch.setattr(it.writer, "_commit", dies)
    with pytest.raises(StoreUnavailable, match="gone"):
        await it.flush()
    it.engine.sent = []
    it.start()
    await it.flush()

    assert batch.token not in it.engine.sent
    assert it.stored() == [0, 2]
    assert len(it.commits) == 1
    assert list(it.folder.rglob("*.alone*")) == []


async def test_a_record_of_our_own_that_is_never_taken_is_let_go(bench, caplog):
    it = bench(Engine())
    stream = it.spool.journal("requests")
    record = dict.fromkeys(requests_landing()._columns, "x")
    writer = Writer(stream, requests_landing(), it.engine, rules=it.writer.rules, clock=it.clock)
    journal = Journal(stream, it.clock, writer.frozen)
    await journal.append(record | {"url": "poison"})
    await journal.append(record)
    it.writer = writer
    await it.fail()
    await it.flush()

    assert [row["url"] for row in it.engine.tables["bronze_requests"]] == ["x"]
    assert "a record was not stored" in caplog.text


async def test_a_record_that_is_no_json_is_noted_and_no_error(bench, caplog):
    it = bench(Engine())
    await Journal(it.spool.journal("requests"), it.clock, it.writer.frozen).append({"policy": "\udcff"})

    assert "a record was not kept" in caplog.text
    assert it.spool.journal("requests").open_pages == 0
