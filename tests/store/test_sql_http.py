"""``/sql`` as ClickHouse's own clients see it: the real engine behind the real application, on loopback."""

import asyncio
import base64
import gzip
import io
import logging
import re
import shutil
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import clickhouse_connect
import orjson
import pytest
from aiohttp import FormData
from clickhouse_connect.driver.exceptions import DatabaseError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledgerd.config import Secret, Sql
from ledgerd.errors import QueryRefused
from ledgerd.store.engine import EngineInfo
from ledgerd.store.migrate import Migrator
from ledgerd.store.native import read_block
from ledgerd.web import app as web_app
from ledgerd.web.clickhouse import turns
from ledgerd.web.clickhouse.guard import check_token
from tests.clocks import ManualClock
from tests.prices import World
from tests.store.conftest import embedded
from tests.store.test_readonly_sql import NONSENSE, OTHERS, REACHES, READS, WRITES
from tests.webclient import browsing, problem_of

DOCUMENT = (Path(__file__).parents[2] / "docs" / "sql.md").read_text()
TOKEN = "a-token-nobody-else-knows"
HOSTILE = [
    "SELECT 1; SELECT file('/etc/hostname')",
    "SELECT 1 /* */; -- \nDROP TABLE kept",
    "SELECT 1\n;\nSET readonly = 0",
    "SELECT * FROM url('http://127.0.0.1:9/x', CSV, 'a String')",
    "SELECT * FROM s3('http://127.0.0.1:9/x', 'key', 'secret', 'CSV')",
    "SELECT * FROM azureBlobStorage('http://127.0.0.1:9', 'c', 'b')",
    "SELECT * FROM icebergLocal('/tmp')",
    "SELECT * FROM redis('127.0.0.1:9', 'k', 'k String')",
    "SELECT * FROM mongodb('127.0.0.1:9', 'd', 'c', 'u', 'p', 'a String')",
    "SELECT * FROM jdbc('x', 'y')",
    "SELECT * FROM fileCluster('c', '/etc/hostname')",
    "SELECT * FROM clusterAllReplicas('c', system.one)",
    "SELECT * FROM eval('SELECT 1')",
    "SELECT * FROM viewIfPermitted(SELECT 1 ELSE null('a UInt8'))",
    "WITH f AS (SELECT * FROM url('http://127.0.0.1:9')) SELECT 1 FROM f",
    "SELECT arrayMap(x -> (SELECT * FROM file('/etc/hostname')), [1])",
    "CREATE VIEW v AS SELECT 1",
    "CREATE DICTIONARY d (a UInt8) PRIMARY KEY a SOURCE(FILE(PATH '/etc/hostname' FORMAT 'CSV')) LAYOUT(FLAT())",
    "CREATE USER other",
    "CREATE NAMED COLLECTION c AS a = 1",
    "DROP DATABASE poe",
    "RESTORE TABLE kept FROM File('/tmp/x')",
    "MOVE x TO y",
    "UNDROP TABLE kept",
    "EXCHANGE TABLES kept AND kept",
    "INSERT INTO kept FORMAT CSV 1",
    "WATCH kept",
    "EXPLAIN PLAN SELECT * FROM url('http://127.0.0.1:9')",
    "SELECT * FROM kept FORMAT Template SETTINGS format_template_row = '/etc/hostname'",
    "SELECT 1 FORMAT Null SETTINGS max_execution_time = 0",
    "SELECT " + "(" * 3000 + "1" + ")" * 3000,
    "SELECT " + "-" * 100_000 + "1",
    "SELECT sumIfIfIf" + "If" * 20_000 + "(1)",
    "SELECT 1 AS `" + "x" * 200_000 + "`, file('/etc/hostname')",
]
"""Beside those of test_readonly_sql."""
BOUNDED = {
    "SELECT sum(number) FROM numbers(1000000000000000000)": 159,
    "SELECT count() FROM system.numbers": 159,
    "SELECT count() FROM numbers(100000000) AS a, numbers(100000000) AS b": None,
    "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT count() FROM t": None,
    "SELECT number FROM system.numbers": 396,
    "SELECT number FROM numbers(1000)": 396,
    "SELECT repeat('a', 1000000) FROM numbers(5)": 396,
    "SELECT 1 AS " + "a" * 20_000 + " FROM numbers(90) FORMAT JSONEachRow": 396,
    "SELECT 1 AS " + "a" * 200_000 + " FROM numbers(90) FORMAT XML": None,
    "SELECT range(100000000)": 241,
    "SELECT groupArray(number) FROM numbers(100000000)": None,
    "SELECT uniqExact(number) FROM numbers(1000000000)": None,
    "SELECT arrayJoin(range(100000)) FROM numbers(100000)": None,
}
"""Endless or huge, and the number of the error; None where time or memory may run out first."""
NARROW = Sql(enabled=True, rows_max=100, bytes_max=1_000_000, timeout_s=1.0, memory_bytes_max=100_000_000)
PATIENT = NARROW.model_copy(update={"timeout_s": 30.0})
"""For what must meet another limit than that of its time, on a slow machine, too."""
CH = "X-ClickHouse-"


@dataclass
class Asking:
    """A client of the application, and what a test may turn."""

    client: object
    engine: object
    rules: Sql

    async def ask(self, sql="", status=200, **request):
        """The answer to ``sql`` in the body, its status checked."""
        answer = await self.client.post("/sql", data=sql.encode(errors="surrogateescape"), **request)
        text = await answer.text(errors="replace")
        assert answer.status == status, (sql[:200], answer.status, text[:500])
        return answer

    async def refused(self, status, code, sql="SELECT 1", **request):
        """The words of a refusal, its number checked."""
        answer = await self.ask(sql, status, **request)
        text = await answer.text()
        assert answer.headers[f"{CH}Exception-Code"] == str(code)
        assert text.startswith(f"Code: {code}. DB::Exception: ")
        assert answer.content_type == "text/plain"
        return text


@asynccontextmanager
async def asking(folder, rules=None):
    async with embedded(folder) as engine:
        await engine.execute("CREATE TABLE kept (a UInt8) ENGINE = MergeTree ORDER BY a")
        await engine.insert("kept", ["a"], [(1,), (2,)], token="one")
        await engine.execute(
            "CREATE TABLE typed (a UInt8, d DateTime, s LowCardinality(String)) ENGINE = MergeTree ORDER BY a"
        )
        await engine.insert("typed", ["a", "d", "s"], [(1, 0, "one"), (2, 1_000_000_000, "two")], token="two")
        found = Asking(None, engine, rules or Sql(enabled=True))
        async with browsing(World().deps(engine=engine, sql=lambda: found.rules), web_app.create_app) as found.client:
            yield found


@pytest.fixture
async def open_door(tmp_path):
    async with asking(tmp_path) as found:
        yield found


@pytest.fixture
async def narrow_door(tmp_path):
    async with asking(tmp_path, NARROW) as found:
        yield found


async def connected(door, work, **options):
    """What ``work(client)`` returns, in a thread; ``client`` is clickhouse-connect's."""

    def run():
        client = clickhouse_connect.get_client(
            host=door.client.host, port=door.client.port, proxy_path="/sql", dedicated_pool=True, **options
        )
        try:
            return work(client)
        finally:
            client.close()

    return await asyncio.to_thread(run)


async def test_clickhouse_connect_reads_types_parameters_and_frames_and_tells_errors(open_door):
    def work(client):
        assert client.ping()
        assert client.server_version == open_door.engine.info.version
        rows = client.query("SELECT a, d, s, [a], NULL FROM typed WHERE a > {least:UInt8}", parameters={"least": 1})
        texts = client.query("SELECT {s:String}, {l:Array(String)}", parameters={"s": "it's\t\\", "l": ["a'b", ""]})
        long = client.query("SELECT length({s:String})", parameters={"s": "x" * 50_000})
        frame = client.query_df("SELECT * FROM typed ORDER BY a")
        with pytest.raises(DatabaseError) as unknown:
            client.query("SELECT * FROM nowhere")
        with pytest.raises(DatabaseError) as written:
            client.command("DROP TABLE kept")
        return rows, texts, long, frame, unknown.value, written.value, client.command("SELECT count() FROM kept")

    rows, texts, long, frame, unknown, written, count = await connected(open_door, work)

    assert rows.result_rows == [(2, datetime(2001, 9, 9, 1, 46, 40), "two", [2], None)]  # noqa: DTZ001 -- as the client has it
    assert [kind.name for kind in rows.column_types][:3] == ["UInt8", "DateTime", "LowCardinality(String)"]
    assert texts.result_rows == [("it's\t\\", ["a'b", ""])]
    assert long.result_rows == [(50_000,)]
    assert (list(frame["a"]), list(frame["s"]), str(frame["d"].dtype)) == ([1, 2], ["one", "two"], "datetime64[s]")
    assert (unknown.code, unknown.name) == (60, "UNKNOWN_TABLE")
    assert (written.code, written.name) == (164, "READONLY")
    assert count == 2


async def test_clickhouse_connect_shows_a_token_as_its_password(open_door):
    open_door.rules = Sql(enabled=True, token=Secret(TOKEN))

    def count(client):
        return client.command("SELECT count() FROM kept")

    assert await connected(open_door, count, username="anybody", password=TOKEN) == 2
    assert await connected(open_door, count, access_token=TOKEN) == 2
    with pytest.raises(DatabaseError) as refused:
        await connected(open_door, count, username="anybody", password="another")
    assert refused.value.code == 516


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl")
async def test_curl_joins_address_and_body_and_sees_what_clickhouse_answers(open_door):
    async def curl(*arguments):
        url = str(open_door.client.make_url("/sql"))
        process = await asyncio.create_subprocess_exec(
            "curl", "-sS", *(argument.replace("@", url) for argument in arguments), stdout=asyncio.subprocess.PIPE
        )
        return (await process.communicate())[0].decode()

    assert await curl("@") == "Ok.\n"
    assert await curl("@/ping") == "Ok.\n"
    assert await curl("@", "--data", "SELECT a FROM kept ORDER BY a") == "1\n2\n"
    assert await curl("@?query=SELECT%20a", "--data-binary", "FROM kept ORDER BY a") == "1\n2\n"
    assert (
        await curl("@?query=SELECT%20%7Bx:UInt8%7D&param_x=7&default_format=JSONEachRow")
        == "{\"_CAST(7, 'UInt8')\":7}\n"
    )
    assert await curl("@/?default_format=CSV", "-d", "SELECT 'x' FORMAT TSV") == "x\n"
    assert await curl("@", "-H", f"{CH}Format: CSV", "-d", "SELECT 'x'") == '"x"\n'
    assert await curl("@", "-F", "query=SELECT {x:String}", "-F", "param_x=a\\tb") == "a\\tb\n"
    assert "(SYNTAX_ERROR) (version " in await curl("@", "-d", "SELEC 1")


async def test_the_queries_of_the_document_run(open_door):
    await Migrator(open_door.engine, ManualClock()).apply()
    queries = re.findall(r"""--data ["']([^"']+)["']|query_df\("([^"]+)\"""", DOCUMENT)

    assert len(queries) == 3
    for found in queries:
        await open_door.ask("".join(found), params={"param_league": "Mirage"})


async def test_an_answer_says_its_format_query_timezone_and_cost(open_door):
    answer = await open_door.ask("SELECT now()", params={"query_id": "mine", "session_timezone": "Asia/Tokyo"})
    plain = await open_door.ask("SELECT 1 FORMAT JSON")

    assert (answer.headers[f"{CH}Query-Id"], answer.headers[f"{CH}Timezone"]) == ("mine", "Asia/Tokyo")
    assert answer.headers[f"{CH}Server-Display-Name"] == "ledgerd"
    assert int(orjson.loads(answer.headers[f"{CH}Summary"])["elapsed_ns"]) > 0
    assert (plain.headers[f"{CH}Format"], plain.headers["Content-Type"]) == ("JSON", "application/json; charset=UTF-8")
    assert (plain.headers[f"{CH}Timezone"], plain.headers["Cache-Control"]) == ("UTC", "no-store")
    assert plain.headers[f"{CH}Query-Id"] != answer.headers[f"{CH}Query-Id"]


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
async def test_an_answer_of_some_size_is_compressed_for_who_takes_it(open_door, encoding):
    sql = "SELECT number FROM numbers(10000)"
    request = {"headers": {"Accept-Encoding": encoding}, "params": {"enable_http_compression": "1"}}
    packed = await open_door.ask(sql, **request)
    plain = await open_door.ask(sql, headers={"Accept-Encoding": "identity"})

    assert packed.headers["Content-Encoding"] == encoding
    assert int(packed.headers["Content-Length"]) < int(plain.headers["Content-Length"]) / 2
    assert await packed.read() == await plain.read()


async def test_every_statement_that_reads_what_is_stored_runs_over_http(open_door):
    for sql in READS:
        await open_door.ask(sql)


async def test_no_hostile_text_runs_and_the_engine_is_unharmed(open_door, tmp_path):
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n2\n")
    texts = [sql.format(secret=secret) for sql in (*WRITES, *REACHES, *OTHERS, *NONSENSE[3:])] + HOSTILE
    tables = await open_door.engine.rows("SHOW TABLES")

    for sql in texts:
        answer = await open_door.client.post("/sql", data=sql.encode())
        text = await answer.text()
        assert answer.status in {400, 403, 404}, (sql[:200], answer.status, text[:300])
        assert text.startswith("Code: "), sql[:200]
        assert text.split("DB::Exception: ")[1] != "", sql[:200]

    assert len(texts) > 40
    assert await open_door.engine.rows("SHOW TABLES") == tables
    assert await open_door.engine.rows("SELECT a FROM kept ORDER BY a") == [(1,), (2,)]
    assert await open_door.engine.rows("SELECT count() FROM system.processes") == [(1,)]
    assert [file.name for file in tmp_path.glob("secret*")] == ["secret.csv"]
    await open_door.engine.insert("kept", ["a"], [(3,)], token="two")
    assert await (await open_door.ask("SELECT count() FROM kept")).text() == "3\n"


@pytest.mark.parametrize("sql", BOUNDED)
async def test_what_is_endless_or_huge_is_bounded(narrow_door, sql):
    if BOUNDED[sql] in {241, 396}:
        narrow_door.rules = PATIENT
    answer = await narrow_door.client.post("/sql", data=sql)
    code = int(answer.headers[f"{CH}Exception-Code"])

    assert answer.status in {400, 408}
    assert code == BOUNDED[sql] or (BOUNDED[sql] is None and code in {159, 241, 306, 396})
    narrow_door.rules = PATIENT
    assert await (await narrow_door.ask("SELECT 1")).text() == "1\n"


async def test_a_client_may_narrow_the_limits_and_not_widen_them(narrow_door):
    narrow_door.rules = PATIENT
    await narrow_door.refused(400, 396, "SELECT number FROM numbers(50)", params={"max_result_rows": "5"})
    await narrow_door.refused(400, 396, "SELECT number FROM numbers(500)", params={"max_result_rows": "1000000"})
    await narrow_door.refused(400, 396, "SELECT number FROM numbers(500)", params={"max_result_rows": "0"})
    await narrow_door.refused(408, 159, "SELECT count() FROM system.numbers", params={"max_execution_time": "0.2"})
    await narrow_door.refused(400, 158, "SELECT count() FROM numbers(5000)", params={"max_rows_to_read": "10"})

    cut = {"max_result_rows": "5", "max_block_size": "1", "result_overflow_mode": "break"}
    rows = await (await narrow_door.ask("SELECT number FROM system.numbers LIMIT 80", params=cut)).text()
    assert 5 <= len(rows.split()) <= 80
    for uncut in ({}, {"max_result_rows": "1000"}, {"max_result_rows": "0"}):
        await narrow_door.refused(
            400, 396, "SELECT number FROM numbers(500)", params={"result_overflow_mode": "break", **uncut}
        )
    await narrow_door.refused(400, 396, "SELECT number FROM numbers(500)", params={"max_result_rows": "0.5"})


async def test_settings_of_drivers_are_taken_and_all_others_refused(open_door):
    harmless = {
        "session_id": "x", "session_timeout": "60", "wait_end_of_query": "1", "send_progress_in_http_headers": "1",
        "http_headers_progress_interval_ms": "10000", "cancel_http_readonly_queries_on_client_close": "1",
        "date_time_input_format": "best_effort", "readonly": "2", "compress": "0", "query_id": "", "database": "poe",
        "user": "default", "output_format_json_quote_64bit_integers": "1", "client_protocol_version": "54405",
    }  # fmt: skip
    quoted = await open_door.ask("SELECT toUInt64(7) AS x FORMAT JSONEachRow", params=harmless)
    assert await quoted.text() == '{"x":"7"}\n'

    assert "max_threads" in await open_door.refused(404, 115, params={"max_thread": "1"})
    for name in (
        "allow_introspection_functions",
        "format_schema",
        "log_queries",
        "param_",
        "param_a-b",
        "role",
        "stacktrace",
    ):
        answer = await open_door.client.post("/sql", params={name: "1"}, data="SELECT 1")
        assert answer.status in {400, 404}, name
    assert "compress=false" in await open_door.refused(400, 36, params={"compress": "1"})
    await open_door.refused(400, 36, params={"readonly": "0"})
    await open_door.refused(400, 36, params={"max_threads": "many"})
    await open_door.refused(400, 36, params={"query_id": "a b"})
    await open_door.refused(400, 36, params=[("max_threads", "1"), ("max_threads", "2")])
    await open_door.refused(404, 81, params={"database": "default"})
    await open_door.refused(404, 81, headers={f"{CH}Database": "system"})
    await open_door.refused(404, 73, params={"default_format": "Template"})
    await open_door.refused(400, 456, "SELECT {x:UInt8}")
    await open_door.refused(400, 457, "SELECT {x:UInt8}", params={"param_x": "seven"})


async def test_a_request_whose_body_is_no_query_is_refused(open_door):
    await open_door.refused(400, 62, "")
    assert "UTF-8" in await open_door.refused(400, 36, "SELECT '\udcff'")
    large = await open_door.client.post("/sql", data=io.BytesIO(b"SELECT '" + b"x" * (1 << 20) + b"'"))
    assert (large.status, "1 MiB" in await large.text()) == (400, True)
    for body in (b"--x\r\n", b"--x\r\nContent-Disposition: form-data\r\n\r\nSELECT 1\r\n--x--", b"\xff" * 100, b""):
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        answer = await open_door.client.post("/sql", data=body, headers=headers)
        assert answer.status == 400, (body, await answer.text())
    unbounded = await open_door.client.post("/sql", data=b"x", headers={"Content-Type": "multipart/form-data"})
    assert unbounded.status == 400
    packed = gzip.compress(b"SELECT 1" + b" " * 50_000_000, mtime=0)
    bomb = await open_door.client.post("/sql", data=packed, headers={"Content-Encoding": "gzip"})
    assert bomb.status in {400, 413}


async def test_external_tables_are_refused(open_door):
    form = FormData({"query": "SELECT * FROM t"})
    form.add_field("t", b"1", filename="t")
    answer = await open_door.client.post("/sql", data=form)

    assert (answer.status, "External tables" in await answer.text()) == (400, True)


async def test_while_all_turns_are_taken_the_next_is_told_to_come_again(open_door, monkeypatch):
    monkeypatch.setattr(turns, "WAIT_S", 0.05)
    open_door.rules = Sql(enabled=True, queries_max=1, timeout_s=20.0)
    slow = asyncio.create_task(
        open_door.client.post("/sql", data="SELECT count() FROM system.numbers", params={"max_execution_time": "5"})
    )
    await until_running(open_door.engine)

    busy = await open_door.ask("SELECT 1", 503)
    assert busy.headers[f"{CH}Exception-Code"] == "202"
    assert int(busy.headers["Retry-After"]) > 0
    open_door.rules = Sql(enabled=True, queries_max=2)
    assert await (await open_door.ask("SELECT 1")).text() == "1\n"
    assert (await slow).status == 408
    open_door.rules = Sql(enabled=True, queries_max=1)
    assert await (await open_door.ask("SELECT 1")).text() == "1\n"


async def test_a_turn_that_comes_free_goes_to_who_waits(open_door):
    open_door.rules = Sql(enabled=True, queries_max=1)
    answers = await asyncio.gather(*(open_door.client.post("/sql", data=f"SELECT {number}") for number in range(10)))

    assert [await answer.text() for answer in answers] == [f"{number}\n" for number in range(10)]


async def test_too_many_that_wait_are_sent_away_at_once(open_door, monkeypatch):
    monkeypatch.setattr(turns, "WAITING_MAX", 0)

    await open_door.refused(503, 202)


async def until_running(engine):
    """Wait for a query of somebody else to be under way."""
    count = "SELECT count() FROM system.processes WHERE query LIKE '%system.numbers%'"
    async with asyncio.timeout(30):
        while await engine.rows(count) <= [(1,)]:  # noqa: ASYNC110  the engine announces no beginning
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost:8010", "LOCALHOST", "[::1]:8010", "192.0.2.7", "ledger.lan:80"]
)
async def test_hosts_that_are_this_machine_are_served(open_door, host):
    open_door.rules = Sql(enabled=True, hosts=("ledger.lan",))

    await open_door.ask("SELECT 1", headers={"Host": host})
    await open_door.ask("SELECT 1", headers={"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"})


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "", "a@127.0.0.1", "127.1:x", "[::1"]
)
async def test_a_page_that_gave_its_name_our_address_is_refused(open_door, host):
    for path in ("/sql", "/sql/", "/sql/ping"):
        answer = await open_door.client.get(path, headers={"Host": host})
        assert (answer.status, answer.headers[f"{CH}Exception-Code"]) == (403, "497"), path


@pytest.mark.parametrize(
    "head",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_pages_of_other_origins_are_refused_and_none_may_read(open_door, head):
    answer = await open_door.ask("SELECT 1", 403, headers=head)
    preflight = await open_door.client.options("/sql", headers={"Access-Control-Request-Method": "POST", **head})

    assert not [name for name in (*answer.headers, *preflight.headers) if name.startswith("Access-Control")]
    assert preflight.status >= 400


def basic(token):
    return {"Authorization": "Basic " + base64.b64encode(f"who:{token}".encode()).decode()}


async def test_the_token_is_asked_for_in_the_ways_clients_have(open_door):
    open_door.rules = Sql(enabled=True, token=Secret(TOKEN))
    for head in (basic(TOKEN), {"Authorization": f"Bearer {TOKEN}"}, {f"{CH}User": "x", f"{CH}Key": TOKEN}):
        await open_door.ask("SELECT 1", headers=head)
    wrong = [{}, basic("x"), basic(""), {"Authorization": f"Bearer {TOKEN}x"}, {f"{CH}Key": TOKEN[:-1]}]
    wrong += [
        {"Authorization": "Basic %%%"},
        {"Authorization": "Basic /w=="},
        {"Authorization": TOKEN},
        {f"{CH}Key": "é"},
    ]
    for head in wrong:
        text = await open_door.refused(401, 516, headers=head)
        assert "(AUTHENTICATION_FAILED)" in text
    answer = await open_door.client.get("/sql", headers=wrong[1])
    assert answer.headers["WWW-Authenticate"].startswith("Basic")


async def test_a_password_in_an_address_is_refused_even_if_it_is_right(open_door):
    open_door.rules = Sql(enabled=True, token=Secret(TOKEN))

    text = await open_door.refused(401, 516, params={"password": TOKEN})
    assert f"{CH}Key" in text


def test_without_a_token_only_this_machine_is_let_in():
    for remote in ("127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"):
        check_token(SimpleNamespace(query={}, headers={}, remote=remote), Sql(enabled=True))
    for remote in ("192.0.2.7", "10.0.0.1", "::ffff:192.0.2.7", "2001:db8::1", "fe80::1%eth0", "", None, "nobody"):
        with pytest.raises(QueryRefused, match="token_file"):
            check_token(SimpleNamespace(query={}, headers={}, remote=remote), Sql(enabled=True))


async def test_the_token_is_in_no_answer_no_log_and_no_metric(open_door, caplog):
    caplog.set_level(logging.DEBUG)
    open_door.rules = Sql(enabled=True, token=Secret(TOKEN))
    told = []
    for head in (basic(TOKEN), {f"{CH}Key": TOKEN}, {"Authorization": f"Bearer {TOKEN}"}, {f"{CH}Key": TOKEN + "x"}):
        for sql in ("SELECT name, value FROM system.settings", "SELECT * FROM nowhere", "SELEC", "DROP TABLE kept"):
            answer = await open_door.client.post("/sql", data=sql, headers=head)
            told += [await answer.text(), str(answer.headers)]
    for path in ("/metrics", "/status", "/sql", "/sql/ping"):
        told.append(await (await open_door.client.get(path)).text())

    assert told
    assert TOKEN not in "".join(told) + caplog.text
    assert base64.b64encode(TOKEN.encode()).decode()[:-4] not in "".join(told) + caplog.text


async def test_off_it_is_not_found_like_any_unknown_address(open_door):
    open_door.rules = Sql()
    for path in ("/sql", "/sql/", "/sql/ping", "/nothing"):
        await problem_of(await open_door.client.get(path), 404, "not-found")
    await problem_of(await open_door.client.post("/sql", data="SELECT 1"), 404, "not-found")


async def test_on_a_server_of_ones_own_it_says_whom_to_ask():
    class Server:
        info = EngineInfo("server", "26.8")

    async with browsing(World().deps(engine=Server(), sql=lambda: Sql(enabled=True)), web_app.create_app) as client:
        answer = await client.post("/sql", data="SELECT 1")

        assert (answer.status, answer.headers[f"{CH}Exception-Code"]) == (501, "48")
        assert "clickhouse.url" in await answer.text()


class Tape:
    """Bytes as the blocks of a client of a later protocol: after each column's type stands a byte that says how."""

    def __init__(self, data):
        self.data, self.position, self.flags = data, 0, []

    async def read_bytes(self, length):
        self.position += length
        assert self.position <= len(self.data)
        return self.data[self.position - length : self.position]

    async def read_varint(self):
        number = shift = 0
        while (byte := (await self.read_bytes(1))[0]) & 0x80:
            number, shift = number | (byte & 0x7F) << shift, shift + 7
        return number | byte << shift

    async def read_strs(self, n_items, *, as_bytes):
        found = [bytes(await self.read_bytes(await self.read_varint())) for _ in range(n_items)]
        if n_items == 2:
            self.flags.append(await self.read_bytes(1))
        return found


READABLE = """
SELECT number AS n, toString(number) AS s, if(number = 1, NULL, s) AS o, [s, 'x', ''] AS l, map(s, [number]) AS m,
    (number, 'y')::Tuple(a UInt64, b String) AS t, s::LowCardinality(String) AS c, toFixedString('ab', 2) AS f,
    toDecimal64(1.5, 2) AS d, toDateTime64(number, 3) AS w, [(number, [s])] AS deep, CAST('a' AS Enum8('a' = 1)) AS e,
    generateUUIDv4() AS u, now() AS z, emptyArrayString() AS none,
    [NULL, s]::Array(LowCardinality(Nullable(String))) AS k
FROM numbers(5)
"""
"""Every layout that Python reads here."""
STRANGER = """
SELECT toIPv4('1.2.3.4'), toIPv6('::1'), toIntervalDay(1), toDate32('2026-01-01'), toInt256(1), toBFloat16(1), true,
    7 AS last
"""


async def test_a_client_of_a_later_protocol_gets_blocks_as_the_wire_has_them(open_door):
    request = {"params": {"client_protocol_version": "54460", "default_format": "Native"}}
    hello = await open_door.ask("SELECT displayName(), version(), revision(), timezone()", **request)
    many = await open_door.ask(READABLE, **request)
    strange = await open_door.ask(STRANGER, **request)

    tape = Tape(await hello.read())
    columns, [_, [version], _, [timezone]] = await read_block(tape)
    assert (version, timezone, tape.position) == (open_door.engine.info.version, "UTC", len(tape.data))
    assert [name for name, _ in columns] == ["displayName()", "version()", "revision()", "timezone()"]

    tape = Tape(await many.read())
    columns, values = await read_block(tape)
    found = dict(zip([name for name, _ in columns], values, strict=True))
    assert tape.position == len(tape.data)
    assert set(tape.flags) == {b"\0"}
    assert len(tape.flags) == len(columns)
    assert list(found["c"]) == ["0", "1", "2", "3", "4"]
    assert found["k"][3] == [None, "3"]
    assert list(found["n"]) == [0, 1, 2, 3, 4]
    assert list(found["o"]) == ["0", None, "2", "3", "4"]
    assert found["l"][4] == ["4", "x", ""]
    assert found["m"][3] == {"3": [3]}
    assert found["deep"][2] == [(2, ["2"])]
    assert (await strange.read()).endswith(b"\4last\5UInt8\0\7")


async def test_many_blocks_and_none_and_types_that_cannot_be_sent(open_door):
    request = {"params": {"client_protocol_version": "54460", "default_format": "Native"}}
    several = Tape(
        await (await open_door.ask("SELECT number, toString(number) FROM numbers(200000)", **request)).read()
    )
    rows = 0
    while several.position < len(several.data):
        rows += len((await read_block(several))[1][0])
    assert rows == 200_000

    empty = Tape(await (await open_door.ask("SELECT a, s FROM typed WHERE a > 9", **request)).read())
    while empty.position < len(empty.data):
        assert (await read_block(empty))[1] == []
    assert "JSON" in await open_door.refused(501, 48, "SELECT '{}'::JSON", **request)


WORDS = st.sampled_from(
    [
        *(
            set(" ".join(READS).split())
            | {"file", "system.processes", "SETTINGS", "max_threads=", "INTO", "OUTFILE", "{x:UInt8}"}
        ),
        *"()*,;'\"`\\[]:.-/$@\n\0é🙂",
        "{x:Identifier}",
    ]
)
GARBAGE = st.one_of(st.lists(WORDS, max_size=12).map(" ".join), st.text(max_size=40), st.sampled_from(READS))
PARAMS = st.dictionaries(
    st.sampled_from(
        ["param_x", "default_format", "database", "max_threads", "query", "query_id", "session_timezone", "nonsense"]
    )
    | st.text(max_size=8),
    st.text(max_size=12) | st.sampled_from(["1", "JSON", "kept", "UTC"]),
    max_size=3,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=150)
@given(sql=GARBAGE, params=PARAMS, is_form=st.booleans())
async def test_garbage_is_answered_and_never_as_a_fault_of_ours(open_door, sql, params, is_form):
    body = sql.encode(errors="replace")
    headers = {"Content-Type": "multipart/form-data; boundary=x"} if is_form else {}
    answer = await open_door.client.post("/sql", params=params, data=body, headers=headers)

    assert answer.status in {200, 400, 403, 404, 408, 501}, (sql, params, await answer.text(errors="replace"))
