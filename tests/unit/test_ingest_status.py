"""The ingest log: a row when a source turned or moved, none when it did not, and none lost to an engine that fails."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from ledgerd.clock import rfc3339
from ledgerd.errors import StoreUnavailable
from ledgerd.harvest.ingest_status import COLUMNS, EVERY_S, IngestStatus
from ledgerd.status import SourceState, SourceStatus
from ledgerd.supervise import Heart, Stop
from tests.clocks import ORIGIN_S, ManualClock, settle

RIVER = SourceStatus(
    name="river-pc",
    kind="river",
    realm="pc",
    state=SourceState.LIVE,
    cursor="5-5",
    lag_s=312.5,
    last_ingest_time=rfc3339(ORIGIN_S - 12),
    avg_req_per_sec=0.5,
    stalled_since=None,
    errors=3,
    last_error="reset",
    retry_after_s=120.0,
)
OFF = SourceStatus("river-sony", "river", "sony", SourceState.OFF, None, None, None, 0.0, None, 0, None)


class Engine:
    """Remembers the rows inserted, as mappings; fails while it has an ``error``."""

    def __init__(self):
        self.rows = []
        self.tokens = []
        self.error = None

    async def insert(self, table, columns, rows, *, token):
        if self.error:
            raise self.error
        assert table == "poe_ingest_status"
        self.tokens.append(token)
        self.rows += [dict(zip(columns, row, strict=True)) for row in rows]


@pytest.fixture
def it():
    made = SimpleNamespace(clock=ManualClock(), engine=Engine(), sources=[RIVER, OFF], stop=Stop())
    made.status = IngestStatus(made.engine, lambda: made.sources, made.clock)
    made.run = lambda: asyncio.create_task(made.status.run(made.stop, Heart(made.clock, made.clock.now)))
    return made


def names(it):
    return [row["source"] for row in it.engine.rows]


async def test_a_row_holds_what_status_says(it):
    await it.status.write()
    river, off = it.engine.rows

    assert tuple(river) == COLUMNS
    assert river == {
        "source": "river-pc", "kind": "river", "realm": "pc", "state": "live", "last_cursor": "5-5",
        "request_rate": 0.5, "errors": 3, "last_error": "reset",
        "last_ingest_time": datetime.fromtimestamp(ORIGIN_S - 12, UTC), "stalled_since": None, "retry_after_s": 120.0,
        "lag_s": 312.5, "updated_at": ORIGIN_S,
    }  # fmt: skip
    assert [off[name] for name in ("state", "last_cursor", "last_error", "lag_s")] == ["off", "", "", None]


@pytest.mark.parametrize(
    "change",
    [
        {"state": SourceState.DEGRADED},
        {"cursor": "6-6"},
        {"errors": 4},
        {"last_ingest_time": rfc3339(ORIGIN_S)},
        {"stalled_since": rfc3339(ORIGIN_S)},
    ],
)
async def test_only_the_source_that_changed_is_written_and_once(it, change):
    await it.status.write()
    it.sources = [replace(RIVER, **change), OFF]
    for _ in range(3):
        it.clock.jump(1)
        await it.status.write()

    assert names(it) == ["river-pc", "river-sony", "river-pc"]
    assert len(set(it.engine.tokens)) == len(it.engine.tokens) == 2


@pytest.mark.parametrize("change", [{"lag_s": 313.5}, {"avg_req_per_sec": 0.6}, {"pages_behind": 4}])
async def test_what_moves_all_the_time_is_no_reason_for_a_row(it, change):
    await it.status.write()
    it.sources = [replace(RIVER, **change), OFF]
    await it.status.write()

    assert names(it) == ["river-pc", "river-sony"]


async def test_a_change_is_written_within_seconds_and_a_turn_at_once(it):
    running = it.run()
    await settle()
    it.sources = [replace(RIVER, cursor="6-6"), OFF]
    await it.clock.advance(EVERY_S - 1)
    early = len(it.engine.rows)
    await it.clock.advance(1)
    cursors = [row["last_cursor"] for row in it.engine.rows]
    it.sources = [replace(RIVER, cursor="6-6", state=SourceState.DEGRADED), OFF]
    it.clock.jump(0.5)
    it.status.wake()
    await settle()
    at_once = it.engine.rows[-1]
    it.stop.set("enough")
    await running

    assert (early, cursors) == (2, ["5-5", "", "6-6"])
    assert (at_once["state"], at_once["updated_at"]) == ("degraded", ORIGIN_S + EVERY_S + 0.5)
    assert len(it.engine.rows) == 4


async def test_a_turn_during_a_write_is_not_lost(it):
    running = it.run()
    written = it.engine.insert

    async def insert(*args, **options):
        await written(*args, **options)
        it.engine.insert = written
        it.sources = [replace(RIVER, state=SourceState.STALLED), OFF]
        it.status.wake()

    it.engine.insert = insert
    await settle()
    states = [row["state"] for row in it.engine.rows]
    it.stop.set("enough")
    await running

    assert states == ["live", "off", "stalled"]


async def test_the_last_word_is_written_at_the_stop(it):
    running = it.run()
    await settle()
    it.sources = [replace(RIVER, cursor="9-9"), OFF]
    it.stop.set("enough")
    await running

    assert it.engine.rows[-1]["last_cursor"] == "9-9"


async def test_a_failing_engine_is_the_supervisors_business_and_nothing_is_lost(it):
    it.engine.error = StoreUnavailable("down")
    with pytest.raises(StoreUnavailable):
        await it.run()
    it.engine.error = None
    running = it.run()
    await settle()
    it.stop.set("enough")
    await running

    assert names(it) == ["river-pc", "river-sony"]
