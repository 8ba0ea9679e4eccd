"""What every engine must do, whichever answers: embedded, and the server engine against the native front.

With LEDGERD_TEST_CLICKHOUSE_URL=clickhouse://user:password@host:9000 also against that server, in databases of its own.
"""

import asyncio
import os
import time
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import pytest

from ledgerd.errors import QueryRefused, StoreUnavailable
from ledgerd.store.engine import INSERT_SETTINGS
from ledgerd.store.preflight import check_version
from tests.store.front_process import REAL, real_server

FOREVER = "SELECT count() FROM numbers(1000000000000) WHERE cityHash64(number) = 1"
SOON_S = 15
"""Far less than the limit of a statement that names none, and than FOREVER takes; more than a slow machine needs."""
DEDUP = "SETTINGS non_replicated_deduplication_window = 100"
HOSTILE = [
    "",
    "plain",
    "it's",
    '"double"',
    "back\\slash",
    "\\N",
    "NULL",
    "tab\tnew\nline\rreturn",
    "NUL\0inside",
    "\b\f\a\v",
    "émoji 🎉 \u202e right to left",
    "'; DROP TABLE t; --",
    "{name:String}",
    "[1]",
    "x" * 70_000,
]
BINARY = [b"\xff\xfe\x00", b"\x1f\x8b\x08gzip", bytes(range(256))]


@pytest.fixture
def engine(each_engine):
    return each_engine


async def landing(engine):
    """A Null table whose rows a view splits into one table and copies into another."""
    await engine.execute("CREATE TABLE landing (n UInt64, part UInt8, words Array(String)) ENGINE = Null")
    await engine.execute(
        f"CREATE TABLE seen (n UInt64, part UInt8) ENGINE = MergeTree PARTITION BY part ORDER BY n {DEDUP}"
    )
    await engine.execute(f"CREATE TABLE words (n UInt64, word String) ENGINE = MergeTree ORDER BY n {DEDUP}")
    await engine.execute("CREATE MATERIALIZED VIEW to_seen TO seen AS SELECT n, part FROM landing")
    await engine.execute(
        "CREATE MATERIALIZED VIEW to_words TO words AS SELECT n, arrayJoin(words) AS word FROM landing"
    )


async def stored(engine):
    """How many rows the two tables behind the landing hold."""
    return (await engine.rows("SELECT (SELECT count() FROM seen), (SELECT count() FROM words)"))[0]


async def running(engine):
    """How many queries run besides this one."""
    return (await engine.rows("SELECT count() - 1 FROM system.processes"))[0][0]


async def until_nothing_runs(engine):
    """Wait for the last of them to be over, SOON_S at most."""
    async with asyncio.timeout(SOON_S):
        while await running(engine):  # noqa: ASYNC110  the engine announces no end
            await asyncio.sleep(0.05)


async def test_every_type_comes_back_as_it_went_in(engine):
    columns = {
        "string": ("String", "é🎉"),
        "fixed": ("FixedString(3)", "abc"),
        "u8": ("UInt8", 255),
        "u64": ("UInt64", 2**64 - 1),
        "i8": ("Int8", -128),
        "i64": ("Int64", -(2**63)),
        "u128": ("UInt128", 2**128 - 1),
        "f32": ("Float32", 0.5),
        "f64": ("Float64", 0.1),
        "yes": ("Bool", True),
        "day": ("Date", date(2026, 11, 22)),
        "at": ("DateTime('UTC')", datetime(2026, 11, 22, 1, 2, 3, tzinfo=UTC)),
        "berlin": ("DateTime('Europe/Berlin')", datetime(2026, 7, 22, 1, 2, 3, tzinfo=UTC)),
        "at3": ("DateTime64(3, 'UTC')", datetime(2026, 11, 22, 1, 2, 3, 456000, tzinfo=UTC)),
        "at6": ("DateTime64(6)", datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
        "low": ("LowCardinality(String)", "chaos"),
        "low_null": ("LowCardinality(Nullable(String))", None),
        "maybe": ("Nullable(UInt32)", None),
        "surely": ("Nullable(UInt32)", 7),
        "array": ("Array(Array(Nullable(String)))", [["a", None], []]),
        "map": ("Map(String, UInt8)", {"a": 1, "b": 2}),
        "pair": ("Tuple(name String, n UInt8)", ("a", 1)),
        "d32": ("Decimal(9, 2)", Decimal("-1234567.89")),
        "d64": ("Decimal(18, 6)", Decimal("123456789012.345678")),
        "d128": ("Decimal(38, 10)", Decimal("-1234567890123456789012345678.0123456789")),
        "side": ("Enum8('sell' = 1, 'it\\'s' = -2)", "it's"),
        "id": ("UUID", UUID("00112233-4455-6677-8899-aabbccddeeff")),
    }
    spec = ", ".join(f"{name} {type_name}" for name, (type_name, _) in columns.items())
    await engine.execute(f"CREATE TABLE t ({spec}) ENGINE = MergeTree ORDER BY tuple()")
    row = tuple(value for _, value in columns.values())

    await engine.insert("t", list(columns), [row], token="one")

    assert await engine.rows("SELECT * FROM t") == [row]


async def test_hostile_strings_and_bytes_survive_an_insert(engine):
    await engine.execute("CREATE TABLE t (n UInt32, s String) ENGINE = MergeTree ORDER BY n")
    rows = list(enumerate([*HOSTILE, *BINARY]))

    await engine.insert("t", ["n", "s"], rows, token="hostile")

    assert await engine.rows("SELECT n, s FROM t ORDER BY n") == rows


@pytest.mark.parametrize("value", [*HOSTILE, *BINARY], ids=lambda value: repr(value[:12]))
async def test_hostile_strings_and_bytes_survive_as_parameters(engine, value):
    sql = "SELECT {s:String} AS s, {l:Array(String)} AS l, {m:Map(String, String)} AS m"
    expected = [(value, [value, ""], {"k": value})]

    found = await engine.rows(sql, {"s": value, "l": [value, ""], "m": {"k": value}})

    assert found == expected


@pytest.mark.parametrize(
    ("type_name", "value"),
    [
        ("UInt64", 2**64 - 1),
        ("Int8", -128),
        ("Float64", -0.1),
        ("Bool", True),
        ("Date", date(2026, 2, 3)),
        ("DateTime", datetime(1970, 1, 1, tzinfo=UTC)),
        ("DateTime('Asia/Tokyo')", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("DateTime64(3)", datetime(1970, 1, 1, 0, 0, 5, 125000, tzinfo=UTC)),
        ("DateTime64(6, 'UTC')", datetime(1969, 12, 31, 23, 59, 58, 500000, tzinfo=UTC)),
        ("Decimal(18, 4)", Decimal("-12345678.9012")),
        ("Nullable(String)", None),
        ("Nullable(String)", "NULL"),
        ("LowCardinality(String)", "a\tb"),
        ("FixedString(2)", "ab"),
        ("Array(UInt8)", []),
        ("Array(Nullable(Int32))", [1, None, -2]),
        ("Array(DateTime64(3, 'UTC'))", [datetime(2026, 1, 2, 3, 4, 5, 6000, tzinfo=UTC)]),
        ("Array(Date)", [date(2026, 1, 2)]),
        ("Array(Decimal(9, 2))", [Decimal("1.50")]),
        ("Array(Tuple(String, UInt8))", [("it's", 1), ("b", 2)]),
        ("Map(String, Float64)", {"a": 1.5}),
    ],
)
async def test_a_parameter_of_each_type_arrives_as_it_was(engine, type_name, value):
    assert await engine.rows(f"SELECT {{value:{type_name}}}", {"value": value}) == [(value,)]


async def test_a_parameter_that_is_too_large_is_refused_not_wrapped(engine):
    with pytest.raises(QueryRefused, match="parameter n: 300 does not fit UInt8"):
        await engine.rows("SELECT {n:UInt8}", {"n": 300})


async def test_a_missing_parameter_is_refused(engine):
    with pytest.raises(QueryRefused, match="is not set"):
        await engine.rows("SELECT {n:UInt8}", {"m": 3})


async def test_text_comes_in_the_format_asked_for_or_says_who_has_it(engine):
    asked = engine.text("SELECT {a:String} AS a, 1 AS b", "JSONEachRow", {"a": "é"})
    if engine.info.name == "server":
        with pytest.raises(QueryRefused, match="Type: clickhouse-client --host"):
            await asked
        return

    assert await asked == '{"a":"é","b":1}\n'.encode()


async def test_settings_hold_for_their_call_and_not_for_the_next(engine):
    sql = "SELECT getSetting('max_block_size')"

    first = await engine.rows(sql, settings={"max_block_size": 17})
    second = await engine.rows(sql)

    assert first == [(17,)]
    assert second != first


async def test_the_session_speaks_utc(engine):
    assert await engine.rows("SELECT toString(toDateTime(0)), timezone()") == [("1970-01-01 00:00:00", "UTC")]


async def test_reads_cannot_write(engine):
    await engine.execute("CREATE TABLE t (n UInt8) ENGINE = MergeTree ORDER BY n")
    for sql in (
        "INSERT INTO t VALUES (1)",
        "DROP TABLE t",
        "TRUNCATE TABLE t",
        "SELECT 1; DROP TABLE t",
        "CREATE TEMPORARY TABLE u (n UInt8)",
    ):
        for read in (engine.rows(sql), engine.text(sql, "TSV")):
            with pytest.raises(QueryRefused):
                await read

    assert await engine.rows("EXISTS t") == [(1,)]


async def test_two_statements_in_one_are_refused(engine):
    for call in (
        engine.rows("SELECT 1; SELECT 2"),
        engine.text("SELECT 1;\nSELECT 2", "TSV"),
        engine.execute("SELECT 1;SELECT 2"),
    ):
        with pytest.raises(QueryRefused, match=r"One statement at a time|come from that server"):
            await call

    assert await engine.rows("SELECT ';'; -- ;") == [(";",)]


async def test_every_insert_setting_is_one_the_engine_knows(engine):
    known = await engine.rows(
        "SELECT name FROM system.settings WHERE has({names:Array(String)}, name)", {"names": list(INSERT_SETTINGS)}
    )

    assert {name for (name,) in known} == set(INSERT_SETTINGS)


async def test_reads_cannot_lift_their_own_limits(engine):
    for sql in ("SELECT 1 SETTINGS max_execution_time = 0", "SET readonly = 0"):
        with pytest.raises(QueryRefused, match="readonly"):
            await engine.rows(sql)


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SELEC 1", 62),
        ("SELECT * FROM nowhere", 60),
        ("SELECT x", 47),
        ("SELECT throwIf(1, 'told you')", 395),
        ("SELECT 1 + 'a'", 43),
    ],
)
async def test_wrong_sql_is_refused_in_one_short_sentence(engine, sql, code):
    with pytest.raises(QueryRefused) as caught:
        await engine.rows(sql)

    assert caught.value.code == code
    assert len(str(caught.value)) < 500
    assert "Stack trace" not in str(caught.value)


async def test_a_slow_query_ends_at_its_timeout_and_the_engine_lives_on(engine):
    started_s = time.monotonic()
    with pytest.raises(StoreUnavailable) as caught:
        await engine.rows(FOREVER, timeout_s=0.2)

    assert caught.value.code == 159
    assert time.monotonic() - started_s < SOON_S
    await until_nothing_runs(engine)


async def test_a_cancelled_query_stops_and_frees_its_thread(engine):
    for _ in range(3):
        asked = [asyncio.create_task(engine.rows(FOREVER)) for _ in range(3)]
        await asyncio.sleep(0.1)
        for task in asked:
            task.cancel()
        ended = await asyncio.gather(*asked, return_exceptions=True)

        assert [type(one) for one in ended] == [asyncio.CancelledError] * 3
        await until_nothing_runs(engine)


async def test_a_cancelled_statement_stops(engine):
    await engine.execute("CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(
            engine.execute("INSERT INTO t SELECT number FROM numbers(100000000000) WHERE number % 7777777 = 1"), 0.2
        )

    await until_nothing_runs(engine)


async def test_a_query_that_needs_too_much_memory_is_told_to_come_back_and_the_engine_lives_on(engine):
    with pytest.raises(StoreUnavailable) as caught:
        await engine.rows("SELECT length(groupArray(number)) FROM numbers(1000000000)")

    assert caught.value.code == 241
    assert await engine.rows("SELECT 1") == [(1,)]


async def test_the_same_token_inserts_once_through_a_landing_table_and_its_views(engine):
    await landing(engine)
    rows = [(n, n % 3, ["a", "b"]) for n in range(5000)]

    for _ in range(3):
        await engine.insert("landing", ["n", "part", "words"], rows, token="batch-1")
    await engine.insert("landing", ["n", "part", "words"], rows, token="batch-2")

    assert await stored(engine) == (10_000, 20_000)


async def test_an_insert_cut_off_in_the_middle_is_completed_by_its_retry(engine):
    await landing(engine)
    rows = [(n, n % 3, ["a", "b", "c"]) for n in range(100_000)]
    for wait_s in (0.05, 0.1, 0.15, 0.2, 0.25):
        insert = engine.insert("landing", ["n", "part", "words"], rows, token=f"cut-{wait_s}")
        cut = asyncio.create_task(insert)
        await asyncio.wait({cut}, timeout=wait_s)
        cut.cancel()
        await asyncio.wait({cut})
        await engine.insert("landing", ["n", "part", "words"], rows, token=f"cut-{wait_s}")

    assert await stored(engine) == (500_000, 1_500_000)


async def test_an_insert_reports_what_a_view_throws(engine):
    await engine.execute("CREATE TABLE landing (n UInt64) ENGINE = Null")
    await engine.execute("CREATE TABLE t (n UInt64, bad UInt8) ENGINE = MergeTree ORDER BY n")
    await engine.execute("CREATE MATERIALIZED VIEW v TO t AS SELECT n, throwIf(n = 50) AS bad FROM landing")

    with pytest.raises(QueryRefused) as caught:
        await engine.insert("landing", ["n"], [(n,) for n in range(100)], token="bad")

    assert caught.value.code == 395


async def test_an_insert_reports_a_broken_constraint_and_too_many_partitions(engine):
    await engine.execute("CREATE TABLE c (n UInt64, CONSTRAINT c CHECK n != 5) ENGINE = MergeTree ORDER BY n")
    await engine.execute("CREATE TABLE p (n UInt64) ENGINE = MergeTree PARTITION BY n ORDER BY n")
    rows = [(n,) for n in range(500)]

    with pytest.raises(QueryRefused):
        await engine.insert("c", ["n"], rows, token="c")
    with pytest.raises(StoreUnavailable):
        await engine.insert("p", ["n"], rows, token="p")

    assert await engine.rows("SELECT (SELECT count() FROM c), (SELECT count() FROM p)") == [(0, 0)]


async def test_one_insert_is_one_block(engine):
    await engine.execute("CREATE TABLE t (n UInt64, s String) ENGINE = MergeTree ORDER BY n")

    await engine.insert("t", ["n", "s"], [(n, "x" * 100) for n in range(200_000)], token="one")

    assert await engine.rows(
        "SELECT max(level), count() FROM system.parts WHERE table = 't' AND database = currentDatabase()"
    ) == [(0, 1)]


async def test_no_rows_are_no_insert(engine):
    await engine.insert("nowhere", ["n"], [], token="none")
    await engine.insert("nowhere", ["n"], iter(()), token="none")


async def test_a_bad_value_is_refused_by_row_and_column_and_nothing_is_inserted(engine):
    await engine.execute("CREATE TABLE t (n UInt8, s String) ENGINE = MergeTree ORDER BY n")
    with pytest.raises(QueryRefused, match="row 2, column n: 256 does not fit UInt8"):
        await engine.insert("t", ["s", "n"], [("a", 1), ("b", 2), ("c", 256)], token="bad")
    await engine.insert("t", ["s", "n"], [("a", 1)], token="good")

    assert await engine.rows("SELECT n, s FROM t") == [(1, "a")]


async def test_an_insert_without_a_token_a_table_or_a_column_is_refused(engine):
    await engine.execute("CREATE TABLE t (n UInt8) ENGINE = MergeTree ORDER BY n")
    for table, column, token, said in (
        ("t", "n", "", "token"),
        ("nowhere", "n", "a", "nowhere"),
        ("t", "m", "a", r"\bm\b"),
    ):
        with pytest.raises(QueryRefused, match=said):
            await engine.insert(table, [column], [(1,)], token=token)


async def test_columns_left_out_take_their_defaults(engine):
    await engine.execute(
        "CREATE TABLE t (n UInt8, m UInt8 DEFAULT n + 1, late String MATERIALIZED 'x') ENGINE = MergeTree ORDER BY n"
    )

    await engine.insert("t", ["n"], [(1,)], token="a")

    assert await engine.rows("SELECT n, m, late FROM t") == [(1, 2, "x")]


async def test_a_changed_column_type_is_noticed_by_the_next_insert(engine):
    await engine.execute("CREATE TABLE t (k UInt8, n UInt8) ENGINE = MergeTree ORDER BY k")
    await engine.insert("t", ["k", "n"], [(1, 1)], token="a")
    await engine.execute("ALTER TABLE t MODIFY COLUMN n UInt32")

    await engine.insert("t", ["k", "n"], [(2, 70_000)], token="b")

    assert await engine.rows("SELECT n FROM t ORDER BY k") == [(1,), (70_000,)]


async def test_a_table_of_another_database_takes_rows(engine):
    [(here,)] = await engine.rows("SELECT currentDatabase()")
    other = f"{here}_other"
    await engine.execute(f"CREATE DATABASE {other}")
    await engine.execute(f"CREATE TABLE {other}.t (n UInt8) ENGINE = MergeTree ORDER BY n")

    await engine.insert(f"{other}.t", ["n"], [(1,)], token="a")
    found = await engine.rows(f"SELECT n FROM {other}.t")
    await engine.execute(f"DROP DATABASE {other}")

    assert found == [(1,)]


async def test_parallel_inserts_and_reads_do_not_disturb_each_other(engine):
    await landing(engine)

    async def insert(batch):
        rows = [(n, n % 2, ["w"]) for n in range(batch * 1000, batch * 1000 + 1000)]
        await engine.insert("landing", ["n", "part", "words"], rows, token=f"batch-{batch}")

    async def read(number):
        assert await engine.rows("SELECT {n:UInt32}, uniqExact(n) <= 20000 FROM seen", {"n": number}) == [(number, 1)]

    await asyncio.gather(*(insert(batch) for batch in range(20)), *(read(number) for number in range(50)))

    assert await engine.rows("SELECT count(), uniqExact(n) FROM seen") == [(20_000, 20_000)]


async def test_look_ups_answer_while_statements_run_long(engine):
    await engine.execute("CREATE TABLE t (n UInt64) ENGINE = Null")
    long = [asyncio.create_task(engine.execute(f"INSERT INTO t {FOREVER}")) for _ in range(2)]
    await asyncio.sleep(0.05)

    found = await asyncio.wait_for(engine.rows("SELECT 1"), SOON_S)
    for task in long:
        task.cancel()
    await asyncio.wait(long)

    assert found == [(1,)]


async def test_insert_select_with_a_token_runs_once(engine):
    await engine.execute(f"CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n {DEDUP}")
    for _ in range(2):
        await engine.execute(
            "INSERT INTO t SELECT number FROM numbers(10)", settings={"insert_deduplication_token": "step"}
        )

    assert await engine.rows("SELECT count() FROM t") == [(10,)]


async def test_closing_ends_what_runs_and_what_waits(engine):
    asked = [asyncio.create_task(engine.rows(FOREVER)) for _ in range(4)]
    await asyncio.sleep(0.1)
    await engine.close()
    ended = await asyncio.gather(*asked, return_exceptions=True)
    with pytest.raises(StoreUnavailable):
        await engine.rows("SELECT 1")

    assert all(isinstance(one, StoreUnavailable) for one in ended)


async def test_what_was_written_is_there_after_closing_and_opening(engine):
    await engine.execute("CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n")
    await engine.insert("t", ["n"], [(7,)], token="a")
    await engine.close()
    await engine.open()

    assert await engine.rows("SELECT n FROM t") == [(7,)]
    assert engine.info.version.count(".") >= 2


@pytest.mark.skipif(REAL not in os.environ, reason=f"{REAL} names no server; with it this whole file runs there, too")
async def test_a_real_server_is_new_enough():
    async with real_server() as opened:
        check_version(opened.info.version)
