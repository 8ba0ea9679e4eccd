"""People's SQL on the real engine: what reads runs, what writes, reaches out or changes anything is refused."""

import pytest

from ledgerd.errors import QueryRefused
from ledgerd.ledger.query import run_readonly
from ledgerd.web.app import create_control_app
from tests.prices import World
from tests.webclient import browsing, problem_of

READS = [
    "SELECT a FROM kept ORDER BY a",
    "select a from kept order by a;",
    "  -- a comment; with a semicolon\nselect a from kept /* ; drop table kept */ order by a",
    "(SELECT 1) UNION ALL (SELECT 1)",
    "SELECT 1 INTERSECT SELECT 1",
    "WITH file AS (SELECT 1 AS a) SELECT a FROM file",
    "SELECT sum(number) FROM numbers(10)",
    "SELECT * FROM generateSeries(1, 3)",
    "SELECT * FROM values('a UInt8', 1, 2)",
    "SELECT * FROM (SELECT a, sum(a) OVER (ORDER BY a) AS running FROM kept)",
    "SELECT * FROM kept WHERE a IN (SELECT a FROM kept)",
    "SELECT 'a;b', 'into outfile', '/etc/passwd', 'it''s', '\\\\'",
    "SELECT url FROM (SELECT 'x' AS url)",
    "SHOW TABLES",
    "SHOW DATABASES",
    "SHOW CREATE TABLE kept",
    "DESCRIBE kept",
    "DESCRIBE TABLE system.one",
    "EXISTS kept",
    "EXPLAIN SELECT a FROM kept",
    "EXPLAIN indexes = 1 SELECT a FROM kept",
    "EXPLAIN AST SELECT 1",
    "EXPLAIN QUERY TREE SELECT a FROM kept",
    "SHOW PROCESSLIST",
]
WRITES = [
    "DROP TABLE kept",
    "TRUNCATE TABLE kept",
    "INSERT INTO kept VALUES (2)",
    "INSERT INTO kept SELECT 2",
    "INSERT INTO FUNCTION file('{secret}.out', 'CSV') SELECT 1",
    "CREATE TABLE taken (a UInt8) ENGINE = Memory",
    "CREATE TEMPORARY TABLE taken AS SELECT 1",
    "CREATE FUNCTION twice AS (x) -> x * 2",
    "ALTER TABLE kept DELETE WHERE 1",
    "DELETE FROM kept WHERE 1",
    "OPTIMIZE TABLE kept",
    "RENAME TABLE kept TO lost",
    "ATTACH TABLE kept",
    "DETACH TABLE kept",
    "GRANT ALL ON *.* TO default",
    "BACKUP TABLE kept TO File('{secret}.zip')",
    "KILL QUERY WHERE 1",
    "KILL QUERY WHERE 1 SYNC",
    "SET readonly = 0",
    "SET max_threads = 1",
    "USE system",
    "SYSTEM FLUSH LOGS",
    "SYSTEM SHUTDOWN",
    "BEGIN TRANSACTION",
    "CHECK TABLE kept",
    "EXECUTE AS someone SELECT 1",
    "SELECT 1; DROP TABLE kept",
    "SELECT 1;\n\nSELECT 2",
    "SELECT 1 PARALLEL WITH DROP TABLE kept",
    "SELECT 1 SETTINGS readonly = 0",
    "SELECT 1 SETTINGS max_execution_time = 1000",
    "SELECT * FROM (SELECT 1 SETTINGS max_memory_usage = 0)",
    "SELECT 1 INTO OUTFILE '{secret}.out'",
    "SELECT 1 INTO OUTFILE '{secret}.out' TRUNCATE FORMAT CSV",
    "SHOW TABLES INTO OUTFILE '{secret}.out'",
    "EXPLAIN DROP TABLE kept",
    "EXPLAIN AST DROP TABLE kept",
    "EXPLAIN SYNTAX INSERT INTO kept SELECT 2",
    "EXPLAIN CURRENT TRANSACTION",
    "EXPLAIN TABLE OVERRIDE mysql('h', 'd', 't', 'u', 'p') COLUMNS (a UInt8)",
]
REACHES = [
    "SELECT file('{secret}')",
    "SELECT `file`('{secret}')",
    "SELECT arrayMap(file, ['{secret}'])",
    "SELECT arrayMap(x -> file(x), ['{secret}'])",
    "SELECT * APPLY (file) FROM (SELECT '{secret}')",
    "SELECT * APPLY file FROM (SELECT '{secret}')",
    "SELECT * REPLACE (file('{secret}') AS a) FROM kept",
    "SELECT 1 WHERE file('{secret}') = ''",
    "SELECT 1 IN file('{secret}')",
    "SELECT * FROM file('{secret}')",
    "SELECT * FROM `file`('{secret}', 'LineAsString')",
    "SELECT * FROM kept JOIN file('{secret}') AS f ON 1",
    "SELECT * FROM kept WHERE a IN (SELECT * FROM file('{secret}'))",
    "SELECT (SELECT * FROM file('{secret}', 'LineAsString'))",
    "WITH x AS (SELECT * FROM file('{secret}')) SELECT * FROM x",
    "SELECT * FROM view(SELECT * FROM file('{secret}'))",
    "SELECT * FROM '{secret}'",
    "SELECT * FROM `{secret}`",
    "SELECT * FROM default.`{secret}`",
    'SELECT * FROM default."{secret}"',
    "SELECT 2 IN default.`{secret}`",
    "SELECT 2 IN `{secret}`",
    "EXISTS default.`{secret}`",
    "DESCRIBE default.`{secret}`",
    "SHOW CREATE TABLE default.`{secret}`",
    "SELECT hasColumnInTable('default', '{secret}', 'a')",
    "SELECT * FROM url('http://127.0.0.1:9/x')",
    "SELECT * FROM s3('http://127.0.0.1:9/x')",
    "SELECT * FROM remote('127.0.0.1:9', system.one)",
    "SELECT * FROM remoteSecure('127.0.0.1:9', system.one)",
    "SELECT * FROM cluster('default', system.one)",
    "SELECT * FROM mysql('127.0.0.1:9', 'd', 't', 'u', 'p')",
    "SELECT * FROM postgresql('127.0.0.1:9', 'd', 't', 'u', 'p')",
    "SELECT * FROM sqlite('{secret}', 't')",
    "SELECT * FROM hdfs('hdfs://127.0.0.1:9/x', 'CSV')",
    "SELECT * FROM executable('id', 'TSV', 'a String')",
    "SELECT * FROM Python(secret)",
    "SELECT * FROM python(secret)",
    "SELECT * FROM filesystem('{secret}')",
    "SELECT * FROM merge('.*')",
    "SELECT * FROM loop(kept)",
    "SELECT * FROM input('a UInt8')",
    "DESCRIBE file('{secret}')",
    "DESCRIBE TABLE url('http://127.0.0.1:9/x')",
    "DESCRIBE s3('http://127.0.0.1:9/x')",
    "DESCRIBE (SELECT * FROM file('{secret}'))",
    "EXPLAIN SELECT * FROM file('{secret}')",
    "EXPLAIN QUERY TREE SELECT file('{secret}')",
    "SELECT aiGenerate('x', 'y')",
    "SELECT reverseDNSQuery('127.0.0.1')",
    "SELECT catboostEvaluate('{secret}', 1)",
    "SELECT a AS `x\\n    TableExpression` FROM kept",
]
NONSENSE = [
    "",
    "   ",
    "-- nothing",
    "SELEC 1",
    "SELECT",
    "SELECT * FROM nowhere",
    "SELECT {{a:String}}",
    "\x00",
    "SELECT 1 FORMAT Nonsense",
]


@pytest.fixture
async def kept(engine):
    await engine.execute("CREATE TABLE kept (a UInt8) ENGINE = MergeTree ORDER BY a")
    await engine.insert("kept", ["a"], [(1,)], token="one")
    return engine


@pytest.fixture
def secret(tmp_path):
    file = tmp_path / "secret.csv"
    file.write_text("a\n2\n")
    return file


async def refusal(engine, sql):
    with pytest.raises(QueryRefused) as caught:
        await run_readonly(engine, sql, "TSV")
    return caught.value


async def test_every_statement_that_reads_what_is_stored_runs(kept):
    answers = {sql: await run_readonly(kept, sql, "TSV") for sql in READS}

    assert all(answers.values()), [sql for sql, answer in answers.items() if not answer]
    assert answers[READS[0]] == answers[READS[1]] == answers[READS[2]] == b"1\n"


async def test_nothing_that_writes_or_changes_anything_runs(kept, secret):
    for sql in WRITES:
        error = await refusal(kept, sql.format(secret=secret))
        assert error.hint, sql

    assert await kept.rows("SELECT * FROM kept") == [(1,)]
    assert await kept.rows("SHOW TABLES") == [("kept",)]
    assert [file.name for file in secret.parent.glob("secret*")] == ["secret.csv"]


async def test_nothing_outside_the_database_is_read(kept, secret):
    for sql in REACHES:
        error = await refusal(kept, sql.format(secret=secret))
        assert "code" not in error.message, f"it was the engine that refused {sql}: {error}"


async def test_a_text_that_is_no_query_is_refused_in_words(kept):
    for sql in NONSENSE:
        assert (await refusal(kept, sql)).message, sql


async def test_a_query_may_name_its_own_format_and_only_a_plain_one(kept):
    own = await run_readonly(kept, "SELECT a FROM kept FORMAT JSONEachRow", "TSV")
    error = await refusal(kept, "SELECT a FROM kept FORMAT Template")

    assert own == b'{"a":1}\n'
    assert "JSONEachRow" in error.hint


async def test_the_socket_runs_what_reads_and_says_what_is_wrong_with_the_rest(kept):
    world = World()
    async with browsing(world.deps(engine=kept), create_control_app) as client:
        answer = await client.post("/sql?format=CSVWithNames", data="SELECT a FROM kept")
        assert (answer.status, await answer.text()) == (200, '"a"\n1\n')

        refused = await problem_of(await client.post("/sql", data="DROP TABLE kept"), 400, "query-refused")
        assert "ledgerd sql" in refused["hint"]

        wrong_format = await problem_of(await client.post("/sql?format=CVS", data="SELECT 1"), 400, "bad-request")
        assert "CSV" in wrong_format["suggestions"]

        await problem_of(await client.post("/sql", data=b"SELECT '\xff'"), 400, "bad-request")
