"""Every command as an operator types it: beside a running daemon, on the data alone, and with things in its way."""

import asyncio
import io
import json
import os
import sys
from collections import namedtuple
from signal import SIGINT

import pandas
import pyarrow.ipc
import pytest

from ledgerd.clock import SystemClock
from ledgerd.etl.plan import EXCHANGE
from ledgerd.etl.runner import load_steps
from ledgerd.store.embedded import EmbeddedEngine
from ledgerd.store.migrate import Migrator
from tests.daemon import EDGE, HOUR_S, ROOT, TEST_S, WAIT_S, daemon, upstream
from tests.prices import HEADHUNTER, ITEMS
from tests.store.market import TABLES

pytest.importorskip("chdb")
pytestmark = pytest.mark.timeout(2 * TEST_S)

SOURCE = "exchange-pc"
HOURS = 4
BRONZE = (ROOT / "schema" / "sanity" / "bronze.sql").read_bytes()
DRY = ["harvest", "--realm", "pc", "--once", "--dry-run"]
Typed = namedtuple("Typed", "code out err")
Case = namedtuple("Case", "words code said")


async def typed(ledgerd, *words, stdin=b"", interrupt_when=None):
    """Type a command about a data directory; what it answered. ``interrupt_when(process)``: Ctrl-C once it returns."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ledgerd", *words, "--config", str(ledgerd.config),
        cwd=ROOT, env={name: value for name, value in os.environ.items() if not name.startswith(("POE_", "CH_"))},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    if interrupt_when:
        await interrupt_when(process)
        process.send_signal(SIGINT)
    async with asyncio.timeout(WAIT_S):
        out, err = await process.communicate(stdin)
    answer = Typed(process.returncode, out, err.decode())
    assert "Traceback" not in answer.err, (words, answer.err)
    return answer


async def all_typed(ledgerd, cases):
    """Type each of ``cases``, two at a time, and hold its exit code and its words to what is expected."""
    turns = asyncio.Semaphore(2)

    async def one(case):
        async with turns:
            answer = await typed(ledgerd, *case.words)
        said = answer.out.decode(errors="replace") + answer.err
        assert (answer.code, case.said in said) == (case.code, True), (case, answer)
        assert case.code in {0, 130} or answer.out == b"", "errors go to stderr"

    async with asyncio.TaskGroup() as tasks:
        for case in cases:
            tasks.create_task(one(case))


ASKING = [
    Case(["migrate", "--status", "--dry-run"], 0, "-- nothing to run"),
    Case(["migrate"], 0, "0001     bronze             applied"),
    Case(["sql", "SELECT count() > 0 AS full FROM bronze_exchange_events", "--format", "CSVWithNames"], 0, '"full"\n1'),
    Case(["sql", "SELEC 1"], 1, "Only reading works: ledgerd sql"),
    Case(["sql", "DROP TABLE bronze_exchange_events"], 1, "Only reading works: ledgerd sql"),
    Case(["sql", "SELECT * FROM file('/etc/passwd')"], 1, "Only reading works: ledgerd sql"),
    Case(["sql", "SELECT 1", "--format", "Parket"], 64, "Did you mean Parquet?"),
    Case(["sql", "SELECT 1 AS x", "--format", "Parquet"], 0, "PAR1"),
    Case(["price", "divine orb"], 0, "Divine Orb in pc/Allflame"),
    Case(["price", "div", "--league", "standard"], 0, "Divine Orb in pc/Standard"),
    Case(["price", "divin orb"], 0, "Divine Orb in pc/Allflame"),
    Case(["price", "divne orb"], 1, "Did you mean 'Divine Orb'? Type: ledgerd price 'Divine Orb'"),
    Case(["convert", "3", "divine", "orb", "to", "chaos"], 0, "3 Divine Orb = "),
    Case(["top", "--limit", "3"], 0, "Divine Orb "),
    Case(["export", "currency", "--out", "-", "--format", "csv"], 0, '"Divine Orb"'),
    Case(["price", "div", "--league", "Standart"], 1, "Did you mean 'Standard'? What has prices: ledgerd sql"),
    Case(["price", "div", "--realm", "pcc"], 1, "Did you mean 'pc'"),
    Case(["etl", "status"], 0, "gold_currency_snapshot "),
]
"""What must answer alike beside a daemon and on the data alone."""


async def test_commands_beside_a_running_daemon():
    async with upstream(HOURS, currencies=None) as exchange, daemon(exchange.url) as ledgerd:
        await ledgerd.start()
        await ledgerd.caught_up(SOURCE, EDGE)
        await ledgerd.wait("prices", lambda: has_prices(ledgerd))
        await all_typed(ledgerd, [
            *ASKING,
            Case(["status"], 0, "exchange-pc  "),
            Case(["migrate", "--apply"], 73, "See: ledgerd migrate --status"),
            Case(["harvest", "--realm", "pc", "--once"], 73, "--once --dry-run"),
            Case(DRY, 0, "not published yet: the same hour"),
            Case([*DRY, "--cursor", str(EDGE - HOUR_S), "--league", "Standard"], 0, "markets of Standard"),
            Case(["etl", "run"], 73, "See how far it is: ledgerd etl status"),
            Case(["run"], 73, "See it with: ledgerd status"),
        ])  # fmt: skip
        await ledgerd.well()
        told = json.loads((await typed(ledgerd, "status", "--json")).out)
        lines = (await typed(ledgerd, "sql", "-", "--format", "JSONEachRow", stdin=b"SELECT 7 AS seven;\n")).out

        assert (await typed(ledgerd, "sql", "-", stdin=BRONZE)).out.startswith(b"-- Coverage and age.")
        assert (told["state"], told["reasons"]) == ("ok", [])
        assert json.loads(lines) == {"seven": 7}
        assert (await ledgerd.status())["sources"][0]["cursor"] == str(EDGE), "looking moves nothing"
        assert await ledgerd.stop() == 0


async def has_prices(ledgerd):
    return b"Divine Orb" in await ledgerd._ask("GET", "/v1/pc/Allflame/currency")


async def test_commands_on_the_data_alone_harvest_refine_and_ask_by_hand():
    async with upstream(HOURS, currencies=None) as exchange, daemon(exchange.url) as ledgerd:
        nothing = await typed(ledgerd, "etl", "run")
        dry = await typed(ledgerd, *DRY)
        assert (nothing.code, dry.code, ledgerd.data_dir.exists()) == (64, 0, False)
        assert b"shown   5 of" in dry.out

        made = await typed(ledgerd, "migrate", "--apply")
        again = await typed(ledgerd, "migrate", "--apply")
        files = len(list((ROOT / "schema" / "migrations").glob("*.sql")))
        assert (made.out.split()[1], again.out.split()[1]) == (str(files).encode(), b"0")

        kept = await typed(ledgerd, "harvest", "--realm", "pc", "--once")
        unpriced = await typed(ledgerd, "price", "divine")
        refined = await typed(ledgerd, "etl", "run")
        assert (kept.code, unpriced.code, refined.code) == (0, 1, 0)
        assert b"committed exchange-pc-" in kept.out
        assert unpriced.err.startswith("ledgerd: There are no prices yet")
        steps = len([step for step in load_steps() if step.kind == EXCHANGE])
        assert refined.out == f"{steps} tasks done; nothing waits\n".encode()

        sanity = await typed(ledgerd, "sql", "-", stdin=BRONZE)
        assert (sanity.code, sanity.err) == (0, "")
        assert sanity.out.count(b" Good: ") == BRONZE.count(b" Good: ")
        one_wrong = await typed(ledgerd, "sql", "-", "--format", "TSV", stdin=b"SELECT 1;\nSELEC 2;\nSELECT 3;\n")
        assert (one_wrong.code, one_wrong.out) == (1, b"1\n")
        assert one_wrong.err.startswith("ledgerd: Statement 2 of 3: ")

        for case in ASKING[::3]:  # one after another: the engine has one owner at a time
            await all_typed(ledgerd, [case])
        endless = "SELECT count() FROM numbers(1000000000000)"
        interrupted = await typed(ledgerd, "sql", endless, interrupt_when=lambda process: asks(ledgerd, process))
        assert interrupted.code == 130
        assert (await typed(ledgerd, "status")).code == 1


async def asks(ledgerd, process):
    """Wait until ``process`` has the engine, and for its query to be under way."""
    owner = ledgerd.data_dir / "clickhouse" / "status"
    async with asyncio.timeout(WAIT_S):
        while not owner.exists() or f"PID: {process.pid}\n" not in owner.read_text():  # noqa: ASYNC110  it is a file
            await asyncio.sleep(0.05)
    await asyncio.sleep(1.0)


PRICES = [
    Case(["price", "headhunter"], 0, f"Headhunter (unique) in pc/Mirage\n  {HEADHUNTER}\n  9,000 chaos   60 divine"),
    Case(["price", f"{HEADHUNTER}|corrupted=true", "--json"], 0, '"chaos": 7500,'),
    Case(["price", "vaal regalia"], 0, "One of them: ledgerd price 'base|Vaal Regalia|links=5|ilvl=86'"),
    Case(["price", "hedhunter"], 1, f"Type: ledgerd price '{HEADHUNTER}'"),
    Case(["price", "divine", "--league", "mirage"], 0, "150 chaos   1 divine   (24 h 135 to 165)"),
    Case(["convert", "3/2", "divine", "chaos"], 0, "1.5 Divine Orb = 225 Chaos Orb in pc/Mirage"),
    Case(["top", "--kind", "item", "--by", "price", "--limit", "1"], 0, "unique|Mageblood|base=Heavy Belt  30,000"),
    Case(["top", "--movers", "--kind", "currency"], 0, "gains: none"),
    Case(["export", "items", "--out", "-", "--format", "csv", "--fields", "key,chaos"], 0, f'"{HEADHUNTER}",9000\n'),
    Case(["export", "items", "--out", "prices"], 64, "Say it: ledgerd export items --out prices --format parquet"),
]
"""Of the market `fill` puts into a data directory."""


async def fill(ledgerd):
    """Leave a whole market in a data directory nobody owns."""
    engine = EmbeddedEngine(ledgerd.data_dir / "clickhouse", database="poe_trade", memory_bytes_max=1_000_000_000)
    await engine.open()
    await Migrator(engine, SystemClock()).apply()
    for table, rows in TABLES.items():
        await engine.insert(table, list(rows[0]), [tuple(row.values()) for row in rows], token=table)
    await engine.close()


async def exported(ledgerd, what, form):
    """A file of prices, and what was said of it."""
    file = ledgerd.folder / f"{what}.{form}"
    answer = await typed(ledgerd, "export", what, "--out", str(file), "--force")
    assert answer.code == 0, answer
    return file.read_bytes(), answer.out.decode()


async def test_prices_of_currencies_and_items_on_the_data_alone_and_beside_a_daemon():
    async with daemon("http://127.0.0.1:9") as ledgerd:
        await fill(ledgerd)
        for case in PRICES[::3]:  # one after another: the engine has one owner at a time
            await all_typed(ledgerd, [case])
        parquet, said = await exported(ledgerd, "items", "parquet")
        assert (parquet[:4], parquet[-4:]) == (b"PAR1", b"PAR1")
        assert f"items.parquet: pc/Mirage, {len(ITEMS)} rows, {len(parquet):,} bytes, as of 2025-10-09T" in said
        assert said.endswith("(stale)\n")
        table = pandas.read_parquet(io.BytesIO(parquet)).set_index("key")
        assert {key: table.chaos[key] for _, each in ITEMS if each["chaos"] for key in [each["key"]]} == {
            each["key"]: each["chaos"] for _, each in ITEMS if each["chaos"]
        }

        await ledgerd.start()
        await ledgerd.wait("prices", lambda: is_loaded(ledgerd))
        await all_typed(ledgerd, PRICES)
        arrow, _ = await exported(ledgerd, "currency", "arrow")
        assert sorted(pyarrow.ipc.open_stream(arrow).read_all()["chaos"].to_pylist()) == [1.0, 12.5, 150.0]
        assert await ledgerd.stop() == 0


async def is_loaded(ledgerd):
    [realm] = json.loads(await ledgerd._ask("GET", "/v1/realms"))["realms"]
    return all(league["currencies"] and league["items"] for league in realm["leagues"])


async def test_a_reader_that_leaves_early_gets_its_lines_and_no_complaint():
    async with upstream(1) as exchange, daemon(exchange.url) as ledgerd:
        assert (await typed(ledgerd, "migrate", "--apply")).code == 0
        sql = f"sql 'SELECT number FROM numbers(2000000)' --format TSV --config {ledgerd.config}"
        line = f"{sys.executable} -m ledgerd {sql} | head -n 2"
        process = await asyncio.create_subprocess_shell(
            line, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        out, err = await process.communicate()

        assert (out, err) == (b"0\n1\n", b"")


async def test_a_failing_upstream_is_a_sentence_by_hand_too():
    async with upstream(2, faults=("http_503",), fault_rate=1.0) as exchange, daemon(exchange.url) as ledgerd:
        shown = await typed(ledgerd, *DRY)
        kept = await typed(ledgerd, "harvest", "--realm", "pc", "--once")
    async with daemon("http://127.0.0.1:9") as ledgerd:
        silent = await typed(ledgerd, *DRY)

    assert (shown.code, kept.code, silent.code) == (1, 1, 1)
    assert "curl -i http" in shown.err
    for answer in (kept, silent):
        assert answer.err.strip().endswith("ledgerd harvest --realm pc --once --dry-run")
