"""People's SQL on the real engine: what reads runs, what writes, reaches out or changes anything is refused."""

import pytest

from ledgerd.errors import QueryRefused
from ledgerd.sql.query import read, run_readonly
from ledgerd.store.migrate import Migrator
from ledgerd.store.migration import split_statements
from ledgerd.store.queries import schema_root
from ledgerd.web.app import create_control_app
from tests.clocks import ManualClock
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
    "SELECT sumIf(a, a > 0), countDistinct(a), count(DISTINCT a), quantilesExactIf(0.5)(a, 1) FROM kept",
    "SELECT uniqMerge(s) FROM (SELECT uniqState(a) AS s FROM kept)",
    "SELECT arrayMap(x -> x + 1, [1]), arrayMap(plus, [1], [2]), arraySort([2, 1]), arrayReduce('quantile(0.5)', [1])",
    "SELECT arraySum(r), arraySort(r) FROM (SELECT [a] AS r FROM kept)",
    "SELECT CASE a WHEN 1 THEN 'x' ELSE 'y' END, a::String, -a, [a][1], (a, 2).1, a BETWEEN 0 AND 2 FROM kept",
    "SELECT EXISTS(SELECT 1), 1 = ANY (SELECT 1), untuple((1, 2)), INTERVAL 1 DAY, toDate('2026-01-01') + 1",
    "SELECT a, rank() OVER w, sum(a) OVER w FROM kept WINDOW w AS (PARTITION BY a ORDER BY a ROWS 1 PRECEDING)",
    "SELECT COLUMNS('a') EXCEPT b, * REPLACE (a + 1 AS b) FROM (SELECT a, a AS b FROM kept)",
    "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t WHERE n < 3) SELECT * FROM t",
    "SELECT a, 1 AS n FROM kept ORDER BY a WITH FILL FROM 0 TO 3 INTERPOLATE (n AS n + 1)",
    "SELECT a FROM poe.kept AS k JOIN (SELECT 1 AS a) AS b USING (a) GROUP BY ROLLUP(a) QUALIFY 1 LIMIT 1 BY a",
    "SELECT 1 IN kept, 1 IN poe.kept, 1 IN (SELECT a FROM kept), (1, 2) IN ((1, 2))",
    "SELECT `a/b`, `it's` FROM (SELECT 1 AS `a/b`, 2 AS `it's`)",
    "SELECT displayName(), version(), revision(), timezone()",
    "SELECT currentUser(), currentDatabase(), VERSION(), getSetting('readonly') AS readonly, @@version",
    "SELECT name AS TABLE_NAME, engine AS TABLE_TYPE, * FROM system.tables WHERE database = 'poe'",
    "SELECT t.name FROM system.tables t JOIN system.databases d ON system.tables.database = system.databases.name",
    "SELECT name, value, readonly FROM system.settings LIMIT 10",
    "SELECT table_name FROM INFORMATION_SCHEMA.TABLES WHERE table_schema = 'poe'",
    "SELECT sum(bytes), sum(rows) FROM system.parts WHERE database = 'poe' AND table = 'kept'",
    "SELECT * FROM (SELECT a, sum(a) OVER (ORDER BY a) AS running FROM kept)",
    "SELECT * FROM kept WHERE a IN (SELECT a FROM kept)",
    "SELECT 'a;b', 'into outfile', '/etc/passwd', 'it''s', '\\\\'",
    "SELECT url FROM (SELECT 'x' AS url)",
    "SHOW TABLES",
    "SHOW DATABASES",
    "SHOW FULL TABLES FROM poe LIKE 'k%' LIMIT 3",
    "SHOW COLUMNS FROM kept FROM poe LIKE 'a'",
    "SHOW COLUMNS FROM one IN system",
    "SHOW INDEXES FROM kept",
    "SHOW FUNCTIONS LIKE 'sum'",
    "SHOW SETTINGS ILIKE 'max_threads'",
    "SHOW ENGINES",
    "SHOW CREATE TABLE kept",
    "SHOW CREATE DATABASE poe",
    "DESCRIBE kept",
    "DESCRIBE TABLE system.one",
    "EXISTS kept",
    "EXISTS DATABASE poe",
    "EXISTS kept FORMAT JSON",
    "EXPLAIN SELECT a FROM kept",
    "EXPLAIN indexes = 1 SELECT a FROM kept",
    "EXPLAIN AST SELECT 1",
    "EXPLAIN QUERY TREE SELECT a FROM kept",
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
    "EXPLAIN ANALYZE SELECT 1",
    "EXPLAIN SELECT 1 INTO OUTFILE '{secret}.out'",
    "SELECT 1 INTERSECT SELECT 1 INTO OUTFILE '{secret}.out' COMPRESSION 'gzip'",
    "DESCRIBE kept INTO OUTFILE '{secret}.out'",
    "SHOW COLUMNS FROM kept INTO OUTFILE '{secret}.out'",
    "EXISTS kept INTO OUTFILE '{secret}.out'",
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
    "SELECT 1 AS `a'`, arrayMap(file, ['{secret}']) AS `x\\n   Literal`, 2 AS `b'`",
    "SELECT * FROM (EXPLAIN AST SELECT file('{secret}'))",
    "SELECT * FROM (SELECT * FROM values('b String ALIAS file(\\'{secret}\\')', 'x'))",
    "SHOW TABLES WHERE name = file('{secret}')",
    "SHOW TABLES LIMIT length(file('{secret}'))",
    "SHOW COLUMNS FROM kept WHERE throwIf(length(file('{secret}')) > 0)",
    "SHOW COLUMNS FROM kept LIMIT length(file('{secret}'))",
    "SHOW INDEXES FROM kept WHERE file('{secret}') = ''",
    "SELECT b FROM values('a String, b String ALIAS file(\\'{secret}\\')', 'x')",
    "SELECT b FROM values('a Tuple(x UInt8), b String ALIAS file(\\'{secret}\\')', tuple(1))",
    "SELECT b FROM values('a Tuple (alias String), b String ALIAS file(\\'{secret}\\')' AS q, tuple('x'))",
    "SELECT b FROM values($$a String, b String ALIAS file('{secret}')$$, 'x')",
    "WITH 'b String ALIAS file(\\'{secret}\\')' AS s SELECT b FROM values(s, 'x')",
    "SELECT * FROM null('a String, b String ALIAS file(\\'{secret}\\')')",
    "DESCRIBE numbers(1)",
    "SELECT arrayMap(file AS toString, ['{secret}']), arrayMap(toString, ['{secret}'])",
    "WITH x -> file(x) AS f SELECT f('{secret}')",
    "SELECT arrayMap((x -> file(x)) AS toString, ['{secret}'])",
    "SELECT arraySort(file, ['{secret}'])",
    "SELECT arrayFold((acc, x) -> file(x), ['{secret}'], '')",
    "SELECT mapApply((k, v) -> (k, file(v)), map('a', '{secret}'))",
    "SELECT arrayReduce('groupFormat', ['{secret}'])",
    "SELECT arrayReduce(concat('flame', 'Graph'), [1])",
    "SELECT kept.* APPLY(x -> file('{secret}')) FROM kept",
    "SELECT COLUMNS('a') APPLY file FROM kept",
    "SELECT kept.COLUMNS('a') REPLACE (file('{secret}') AS a) FROM kept",
    "SELECT sum(a) OVER (ORDER BY file('{secret}')) FROM kept",
    "SELECT sum(a) OVER (ROWS length(file('{secret}')) PRECEDING) FROM kept",
    "SELECT sum(a) OVER w FROM kept WINDOW w AS (PARTITION BY file('{secret}'))",
    "SELECT a FROM kept ORDER BY a WITH FILL TO length(file('{secret}'))",
    "SELECT a, 1 AS n FROM kept ORDER BY a WITH FILL INTERPOLATE (n AS length(file('{secret}')))",
    "SELECT a FROM kept LIMIT length(file('{secret}')) BY a",
    "SELECT quantile(length(file('{secret}')))(a) FROM kept",
    "SELECT count() FROM kept GROUP BY GROUPING SETS ((file('{secret}')), (a))",
    "SELECT DISTINCT ON (file('{secret}')) a FROM kept",
    "SELECT formatRow('CSV', file('{secret}'))",
    "SELECT dictGet('d', 'x', 1)",
    "SELECT joinGet('kept', 'a', 1)",
    "SELECT * FROM dictionary('d')",
    "SELECT * FROM mergeTreeIndex('poe', 'kept')",
    "SELECT * FROM viewExplain('EXPLAIN', '', (SELECT 1))",
    "SELECT * FROM format(TSV, 'a')",
    "SHOW TABLES FROM default",
    "SHOW CREATE DATABASE default",
    "EXISTS DATABASE default",
]
SYSTEM = (
    "processes", "query_log", "user_processes", "user_query_log", "session_query_ids", "query_cache", "statements",
    "server_settings", "disks", "user_directories", "users", "grants", "storage_policies", "named_collections",
    "macros", "build_options", "warnings", "errors", "events", "metrics", "stack_trace", "clusters", "dictionaries",
    "backups", "remote_data_paths", "detached_parts", "certificates", "merges", "mutations", "settings_profiles",
)  # fmt: skip
OTHERS = [
    "SHOW PROCESSLIST",
    "SHOW GRANTS",
    "SHOW CREATE USER default",
    "SHOW CLUSTERS",
    "SHOW MERGES",
    "SHOW FILESYSTEM CACHES",
    *(f"SELECT * FROM system.{name}" for name in SYSTEM),
    "SELECT * FROM system.`processes`",
    "SELECT * FROM `system.processes`",
    "SELECT 1 IN system.processes",
    "SELECT 1 NOT IN `system`.`processes`",
    "DESCRIBE system.processes",
    "SELECT (SELECT count() FROM system.processes)",
    "SELECT hostName()",
    "SELECT FQDN()",
    "SELECT serverUUID()",
    "SELECT getMacro('x')",
    "SELECT getServerSetting('path')",
    "SELECT filesystemAvailable()",
    "SELECT getClientHTTPHeader('Authorization')",
    "SELECT sleep(3)",
    "SELECT sleepEachRow(3) FROM numbers(100)",
]
"""What tells of the machine, its configuration and who else asks, or only waits."""
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


async def test_nothing_of_the_machine_or_of_other_people_is_told(kept):
    for sql in OTHERS:
        with pytest.raises(QueryRefused) as caught:
            await read(kept, sql, "TSV", settings={}, timeout_s=5.0)
        assert "code" not in caught.value.message, f"it was the engine that refused {sql}: {caught.value}"


async def test_an_operator_sees_what_runs(kept):
    assert b"system.processes" in await run_readonly(kept, "SELECT query FROM system.processes", "TSV")


async def test_a_name_given_as_a_parameter_is_judged_as_if_it_were_written(kept):
    async def ask(sql, **params):
        return (await read(kept, sql, "TSV", params, settings={}, timeout_s=5.0)).body

    assert await ask("SELECT {column:Identifier} FROM {table:Identifier}", column="a", table="kept") == b"1\n"
    for table in ("system.processes", "default./etc/hostname", "kept\n  Literal", "`kept`"):
        with pytest.raises(QueryRefused):
            await ask("SELECT * FROM {table:Identifier}", table=table)
    with pytest.raises(QueryRefused, match="file"):
        await ask("SELECT arrayMap({f:Identifier}, ['/etc/hostname'])", f="file")


async def test_the_sanity_queries_pass(engine):
    await Migrator(engine, ManualClock()).apply()
    for layer in ("bronze", "silver", "gold"):
        text = (schema_root() / "sanity" / f"{layer}.sql").read_text()
        for sql in split_statements(text):
            await run_readonly(engine, sql, "TSV")


async def test_a_text_that_is_no_query_is_refused_in_words(kept):
    for sql in NONSENSE:
        assert (await refusal(kept, sql)).message, sql


async def test_a_query_may_name_its_own_format_and_only_a_plain_one(kept):
    own = await run_readonly(kept, "SELECT a FROM kept FORMAT JSONEachRow", "TSV")
    error = await refusal(kept, "SELECT a FROM kept FORMAT Template")

    assert own == b'{"a":1}\n'
    assert "JSONEachRow" in error.message


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
