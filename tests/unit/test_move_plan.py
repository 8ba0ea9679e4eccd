"""What a move is made of, before any engine is asked."""

import doctest
from datetime import UTC, datetime, timedelta

import pytest

from ledgerd.config import Config
from ledgerd.errors import UsageError
from ledgerd.move import command, plan
from ledgerd.move.carry import SAY_EVERY_S, Progress
from ledgerd.move.plan import CHUNK_BYTES, CHUNK_ROWS, Partition, Span, Table, Total

KEEP_FROM = datetime(2026, 8, 18, tzinfo=UTC)
COLUMNS = (("source", "LowCardinality(String)"), ("at", "DateTime('UTC')"), ("seen", "Nullable(UInt8)"))


def a_table(name="a", **changed):
    given = {"columns": COLUMNS, "key": ("source", "at"), "partition": "toDate(at)", "ttl": "", "is_replacing": False}
    return Table(name, **{**given, **changed})


def test_examples_in_the_text_hold():
    assert doctest.testmod(plan).failed == 0


def test_what_says_how_far_things_are_goes_last():
    names = ["bronze_ingest_checkpoints", "bronze_gaps", "etl_watermarks", "etl_runs", "silver_exchange_ticks"]

    found = [table.name for table in plan.in_order([a_table(name) for name in names])]

    assert found == ["bronze_gaps", "silver_exchange_ticks", "etl_runs", "etl_watermarks", "bronze_ingest_checkpoints"]


def test_a_table_is_read_from_what_the_engine_says_of_it():
    full = "ReplacingMergeTree(at) ORDER BY (source, at) TTL at + toIntervalDay(60) SETTINGS ttl_only_drop_parts = 1"

    found = plan.table_of(("t", "ReplacingMergeTree", "", "source, at", full), COLUMNS)

    assert found == a_table("t", partition="''", ttl="at + toIntervalDay(60)", is_replacing=True)
    assert found.source == "`t` FINAL"


def test_a_span_is_a_partition_between_two_keys():
    after, until = ("pc", KEEP_FROM), ("xbox", KEEP_FROM + timedelta(hours=1))

    sql, params = plan.condition(a_table(), Span(Partition("2026-08-18", "Date"), after, until), KEEP_FROM)

    assert sql == (
        "toDate(at) = {partition:Date}"
        " AND (`source` > {after0:LowCardinality(String)} OR"
        " (`source` = {after0:LowCardinality(String)} AND `at` > {after1:DateTime('UTC')}))"
        " AND (`source` < {until0:LowCardinality(String)} OR"
        " (`source` = {until0:LowCardinality(String)} AND `at` <= {until1:DateTime('UTC')}))"
    )
    values = dict(zip(("after0", "after1", "until0", "until1"), after + until, strict=True))
    assert params == {"partition": "2026-08-18", "keep_from": KEEP_FROM, **values}


def test_rows_whose_ttl_ends_soon_are_in_no_span():
    table = a_table(ttl="at + toIntervalDay(60)")

    sql, _ = plan.condition(table, Span(Partition("2026-08-18", "Date")), KEEP_FROM)

    assert sql.endswith(" AND at + toIntervalDay(60) > {keep_from:DateTime('UTC')}")


@pytest.mark.parametrize(
    ("rows", "row_bytes", "expected"),
    [
        (10_000_000, 100, CHUNK_ROWS),
        (1_000_000, 5_000, 2048),
        (10, 100 * CHUNK_BYTES, 1),
        (0, 0, 1),
    ],
)
def test_a_chunk_has_as_many_rows_as_fit(rows, row_bytes, expected):
    assert plan.rows_at_once(Total(rows, 0, rows * row_bytes)) == expected


def test_totals_are_equal_by_rows_and_hash_and_add_up_within_64_bits():
    assert Total(1, 2, 3) == Total(1, 2, 4)
    assert Total(1, 2) != Total(1, 3)
    assert Total(1, 2**64 - 1, 10) + Total(2, 3, 20) == Total(3, 2)


def test_progress_says_pace_and_time_left(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("ledgerd.move.carry.time.monotonic", lambda: now[0])
    progress = Progress()
    progress.begin(1_000_000, 5)
    progress.what = "moving t"
    now[0] = 10.0
    progress.went(250_000)

    assert progress.line() == "moving t: 250,000 of 1,000,000 rows, 25,000 rows/s, 0:00:30 left"


def test_progress_is_a_line_now_and_then_where_nobody_sees_a_screen(capsys):
    progress = Progress()
    progress.begin(100, 0)
    progress.went(1)
    progress.said_s -= SAY_EVERY_S
    progress.went(1)
    progress.went(1)

    assert capsys.readouterr().err.count("\n") == 1


async def test_without_a_server_in_the_configuration_there_is_nowhere_to_move_to():
    with pytest.raises(UsageError, match=r"names no server to move to.*clickhouse\.url"):
        await command.move(Config(), data_dir=None, dry_run=False)
