"""The server engine where a server is lost, slow, half dead, unwilling or not what it must be."""

import asyncio
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from ledgerd import refine
from ledgerd.config import ClickHouse, Config, Daemon
from ledgerd.errors import CannotStart, QueryRefused, StoreUnavailable
from ledgerd.store import preflight
from ledgerd.store.engine import INSERT_SETTINGS
from ledgerd.store.faults import fault
from ledgerd.store.migrate import Migrator
from ledgerd.store.server import CONNECT_S, MARGIN_S, STOP_S
from tests.clocks import ManualClock
from tests.store.front_process import FrontProcess, server, server_engine

LATE_S = 4.0
"""How much later than a limit a slow machine may notice that it is over."""
TABLE = (
    "CREATE TABLE t (n UInt64, s String) ENGINE = MergeTree ORDER BY n "
    "SETTINGS non_replicated_deduplication_window = 100"
)


@pytest.fixture
async def engine(front):
    async with server(front.url()) as opened:
        yield opened
        front.order("well")


@pytest.fixture
def own_front(tmp_path):
    """A front to freeze and to kill."""
    pytest.importorskip("chdb")
    process = FrontProcess(tmp_path / "data")
    yield process
    process.thaw()
    process.kill()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A key and a certificate for localhost, in one file."""
    file = tmp_path_factory.mktemp("tls") / "localhost.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    try:
        made = subprocess.run([*command, "-addext", "subjectAltName=DNS:localhost", "-keyout", file, "-out", "-"],
                              capture_output=True, check=True)  # fmt: skip
    except FileNotFoundError:
        pytest.skip("there is no openssl to make a certificate with")
    file.write_bytes(file.read_bytes() + made.stdout)
    return file


@pytest.fixture(scope="module")
def locked_front(tmp_path_factory, certificate):
    """TLS, and a user with a password."""
    pytest.importorskip("chdb")
    login = ("--user", "ledger", "--password", "it's 🔑", "--certificate", certificate)
    process = FrontProcess(tmp_path_factory.mktemp("locked"), *login)
    yield process
    process.kill()


async def test_migrations_run_and_the_store_passes_its_check(engine):
    applied = await Migrator(engine, ManualClock()).apply()
    await preflight.check_store(engine)

    assert applied
    assert await engine.rows("SELECT name FROM system.tables WHERE name LIKE 'ledgerd_trial%'") == []


async def test_a_table_that_forgets_tokens_is_named_with_the_statement_that_mends_it(engine):
    await engine.execute("CREATE TABLE a (n UInt64) ENGINE = MergeTree ORDER BY n")
    with pytest.raises(CannotStart) as caught:
        await preflight.check_store(engine)
    await engine.execute(caught.value.hint.partition("type: ")[2])

    await preflight.check_store(engine)

    assert "a remembers 0 inserts (non_replicated_deduplication_window)" in str(caught.value)


@pytest.mark.parametrize("right", ["CREATE TABLE", "CREATE MATERIALIZED VIEW", "INSERT", "TRUNCATE", "ALTER TABLE"])
async def test_a_right_that_is_missing_is_named_with_the_grant_that_gives_it(engine, front, right):
    front.order(f"deny {right}")
    with pytest.raises(CannotStart, match=rf"GRANT {right} ON ledgerd_test_\w+\.\* TO default"):
        await preflight.check_store(engine)
    front.order("well")

    assert await engine.rows("SELECT name FROM system.tables WHERE database = currentDatabase()") == []


@pytest.mark.parametrize("version", ["23.8.1", "24.7.9", "18.16.1"])
def test_a_server_that_is_too_old_is_refused_with_the_reason(version):
    with pytest.raises(CannotStart, match=r"before 24\.8, an insert sent twice can double or lose rows"):
        preflight.check_version(version)


@pytest.mark.parametrize("version", ["24.8.1", "24.10.1", "25.1.3", "26.9.2"])
def test_a_server_that_is_new_enough_is_taken(version):
    preflight.check_version(version)


class StubbornEngine:
    """Answers the check of settings as a server would that does not do as it is told."""

    def __init__(self, zone="UTC", refuses=None, **values):
        self._zone = zone
        self._refuses = refuses
        self._values = {**{name: str(value) for name, value in INSERT_SETTINGS.items()}, **values}

    async def rows(self, sql, params=None, *, settings=None):
        if "timezone()" in sql:
            return [(self._zone,)]
        if self._refuses:
            raise QueryRefused(self._refuses)
        return list(self._values.items())


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        (StubbornEngine(zone="Europe/Berlin"), "zone Europe/Berlin although they ask for UTC.*CREATE SETTINGS .* TO u"),
        (StubbornEngine(async_insert="1"), "async_insert of an insert is 1, not 0.*async_insert = 0 WRITABLE TO u"),
        (
            StubbornEngine(refuses="Setting max_threads should not be changed"),
            "may not set.*SHOW CREATE USER u",
        ),
    ],
    ids=["zone", "insert setting", "constraint"],
)
async def test_settings_that_do_not_hold_are_named_with_what_to_change(engine, said):
    with pytest.raises(CannotStart, match=said):
        await preflight.check_settings(engine, "u")


async def test_settings_that_hold_pass():
    await preflight.check_settings(StubbornEngine(), "u")


async def test_a_password_that_is_changed_and_changed_back_is_waited_for(tmp_path):
    pytest.importorskip("chdb")
    process = FrontProcess(tmp_path / "data", "--password", "first-one")
    engine = server_engine(process.url(), password="first-one")
    await engine.open()
    process.restart("--password", "next-one")
    with suppress(StoreUnavailable):  # what was connected finds out that nobody is there
        await engine.rows("SELECT 1")
    with pytest.raises(StoreUnavailable, match=r"does not let user default in.*clickhouse\.password_file") as caught:
        await engine.rows("SELECT 1")
    process.restart("--password", "first-one")

    assert await engine.rows("SELECT 1") == [(1,)]
    assert "first-one" not in str(caught.value)
    await engine.close()
    process.kill()


@pytest.mark.parametrize(
    ("code", "said", "typed"),
    [
        (81, "has no database poe", "systemctl restart ledgerd"),
        (195, "does not let user ledger-1 in", "ledgerd check-config"),
        (497, "the right SELECT in", "GRANT SELECT ON poe.* TO `ledger-1`"),
    ],
)
def test_what_an_administrator_did_and_may_undo_is_waited_for(code, said, typed):
    message = "ledger-1: Not enough privileges. It's necessary to have the grant SELECT(n) ON poe.t. (ACCESS_DENIED)"
    told = preflight.shut_out(fault(message, code), "ledger-1", "poe")

    assert (type(told), told.code) == (StoreUnavailable, code)
    assert said in told.message
    assert told.hint.endswith(typed)


@pytest.mark.parametrize("where", ["system.parts", "*.*"])
def test_a_right_outside_the_database_is_granted_where_it_is_wanted(where):
    told = preflight.shut_out(fault(f"it's necessary to have the grant CLUSTER ON {where}.", 497), "ledger", "poe")

    assert told.hint.endswith(f"GRANT CLUSTER ON {where} TO ledger")


async def test_etl_status_of_a_database_without_tables_says_what_makes_them(front, tmp_path):
    store = ClickHouse(engine="server", url=front.url(), database="ledgerd_test_empty")

    with pytest.raises(StoreUnavailable, match=r"does not hold the tables of this version.*ledgerd migrate --apply"):
        await refine.status(Config(daemon=Daemon(data_dir=tmp_path), clickhouse=store))


async def test_a_server_that_is_not_there_cannot_be_opened(unused_tcp_port):
    engine = server_engine(f"clickhouse://127.0.0.1:{unused_tcp_port}")

    with pytest.raises(CannotStart, match=rf"127\.0\.0\.1:{unused_tcp_port} is not there: .*clickhouse\.url"):
        await engine.open()


async def test_tls_with_user_and_password(locked_front, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    async with server(locked_front.url("clickhouses"), user="ledger", password="it's 🔑") as engine:
        assert await engine.rows("SELECT 1") == [(1,)]


async def test_a_wrong_password_names_the_user_and_the_file_to_correct(locked_front, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    engine = server_engine(locked_front.url("clickhouses"), user="ledger", password="guess")

    with pytest.raises(CannotStart, match=r"does not let user ledger in.*clickhouse\.password_file"):
        await engine.open()


async def test_a_certificate_nobody_vouches_for_is_not_trusted(locked_front):
    engine = server_engine(locked_front.url("clickhouses"), user="ledger", password="it's 🔑")

    with pytest.raises(CannotStart, match="certificate verify failed"):
        await engine.open()


@pytest.mark.parametrize("order", ["garbage", "cut", "refuse", "hang", "slow 10"])
async def test_a_server_that_misbehaves_is_unavailable_for_a_while_only(engine, front, order):
    if order == "refuse":
        await engine.close()
        await engine.open()
    front.order(order)
    if order == "refuse":
        await asyncio.gather(*(hang_up(engine) for _ in range(2)))
    started_s = time.monotonic()
    with pytest.raises(StoreUnavailable):
        await engine.rows("SELECT number FROM numbers(100)", timeout_s=0.3)
    took_s = time.monotonic() - started_s
    front.order("well")

    assert took_s < 0.3 + MARGIN_S + STOP_S + LATE_S
    assert await engine.rows("SELECT count() FROM numbers(10)") == [(10,)]


async def hang_up(engine):
    """Lose the engine's idle connections."""
    await engine._readers.close()
    await engine._writers.close()


async def test_a_frozen_server_costs_bounded_time_and_is_used_again_when_it_thaws(own_front):
    engine = server_engine(own_front.url())
    await engine.open()
    own_front.freeze()
    started_s = time.monotonic()
    ended = await asyncio.gather(*(engine.rows("SELECT 1", timeout_s=0.5) for _ in range(8)), return_exceptions=True)
    took_s = time.monotonic() - started_s
    own_front.thaw()

    assert [type(one) for one in ended] == [StoreUnavailable] * 8
    assert took_s < 0.5 + MARGIN_S + STOP_S + LATE_S
    assert await engine.rows("SELECT 1") == [(1,)]
    await engine.close()


async def test_opening_a_frozen_server_gives_up(own_front):
    engine = server_engine(own_front.url())
    own_front.freeze()
    started_s = time.monotonic()
    with pytest.raises(CannotStart, match=f"no answer for {CONNECT_S:g} s"):
        await engine.open()

    assert time.monotonic() - started_s < CONNECT_S + LATE_S


async def test_a_server_killed_in_the_middle_of_inserts_loses_and_doubles_nothing(own_front):
    engine = server_engine(own_front.url())
    await engine.open()
    await engine.execute(TABLE)
    rows = [(n, "x" * 50) for n in range(40_000)]
    for attempt in range(3):
        insert = asyncio.create_task(engine.insert("t", ["n", "s"], rows, token=f"batch-{attempt}"))
        await asyncio.wait({insert}, timeout=0.05 * (attempt + 1))
        own_front.kill()
        await asyncio.wait({insert})
        with pytest.raises(StoreUnavailable):
            await engine.rows("SELECT 1")
        own_front.start()
        await engine.insert("t", ["n", "s"], rows, token=f"batch-{attempt}")

    assert await engine.rows("SELECT count(), uniqExact(n) FROM t") == [(120_000, 40_000)]
    await engine.close()


async def test_a_connection_lost_before_the_answer_leaves_a_retry_to_complete_the_insert(engine, front):
    await engine.execute(TABLE)
    front.order("close")
    with pytest.raises(StoreUnavailable):
        await engine.insert("t", ["n", "s"], [(1, "a")], token="one")
    front.order("well")
    for _ in range(2):
        await engine.insert("t", ["n", "s"], [(1, "a")], token="one")

    assert await engine.rows("SELECT n, s FROM t") == [(1, "a")]


async def test_an_insert_that_fails_after_it_reported_progress_has_failed(engine, front):
    await engine.execute(TABLE)
    front.order("late-error")

    with pytest.raises(QueryRefused, match="told to fail after \ufffd all") as caught:
        await engine.insert("t", ["n", "s"], [(1, "a")], token="one")

    assert caught.value.code == 395


async def test_an_insert_of_many_megabytes_of_bytes_arrives_whole(engine):
    await engine.execute(TABLE)
    bodies = [bytes([n]) * 3_000_000 for n in range(250, 256)]

    await engine.insert("t", ["n", "s"], list(enumerate(bodies)), token="one")

    assert await engine.rows("SELECT n, length(s), hex(substring(s, 1, 1)) FROM t ORDER BY n") == [
        (n, 3_000_000, f"{250 + n:X}") for n in range(6)
    ]


async def test_more_callers_than_connections_wait_their_turn_and_no_longer_than_their_limit(engine):
    long = [asyncio.create_task(engine.rows("SELECT sleep(0.3)")) for _ in range(9)]

    assert await asyncio.gather(*long) == [[(0,)]] * 9
    blocked = [asyncio.create_task(engine.rows("SELECT count() FROM numbers(1000000000000)")) for _ in range(4)]
    await asyncio.sleep(0.1)
    with pytest.raises(StoreUnavailable, match="The wait for a free connection took longer"):
        await engine.rows("SELECT 1", timeout_s=0.1)
    for task in blocked:
        task.cancel()
    await asyncio.wait(blocked)


async def test_a_long_parameter_raises_the_limit_of_the_statement(engine):
    assert await engine.rows("SELECT length({s:String})", {"s": "x" * 2_000_000}) == [(2_000_000,)]


async def test_a_setting_the_server_does_not_know_is_refused_not_ignored(engine):
    with pytest.raises(QueryRefused):
        await engine.rows("SELECT 1", settings={"no_such_setting": 1})


def test_a_server_deployment_never_loads_the_embedded_engine():
    code = (
        "import sys; from ledgerd.config import Config, ClickHouse; from ledgerd.store.engines import make_engine\n"
        "config = Config(clickhouse=ClickHouse(engine='server', url='clickhouse://localhost'))\n"
        "make_engine(config); assert not [name for name in sys.modules if name.startswith('chdb')]"
    )

    subprocess.run([sys.executable, "-c", code], check=True)
