"""Every command as an operator types it: beside a running daemon, on the data alone, and with things in its way."""

import asyncio
import json
import os
import sys
from collections import namedtuple
from signal import SIGINT

import pytest

from ledgerd.etl.plan import EXCHANGE
from ledgerd.etl.runner import load_steps
from tests.daemon import EDGE, HOUR_S, ROOT, daemon, upstream

pytest.importorskip("chdb")
pytestmark = pytest.mark.timeout(120)

SOURCE = "exchange-pc"
HOURS = 4
BRONZE = (ROOT / "schema" / "sanity" / "bronze.sql").read_bytes()
DRY = ["harvest", "--realm", "pc", "--once", "--dry-run"]
Typed = namedtuple("Typed", "code out err")
Case = namedtuple("Case", "words code said")


async def typed(ledgerd, *words, stdin=b"", interrupt_when=None):
    """Type a command about a data directory; what it answered. ``interrupt_when``: Ctrl-C once that has come."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ledgerd", *words, "--config", str(ledgerd.config),
        cwd=ROOT, env={name: value for name, value in os.environ.items() if not name.startswith(("POE_", "CH_"))},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    if interrupt_when:
        await interrupt_when()
        process.send_signal(SIGINT)
    async with asyncio.timeout(30):
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
    Case(["price", "divin orb"], 1, "Did you mean 'Divine Orb'"),
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
        interrupted = await typed(
            ledgerd, "sql", "SELECT count() FROM numbers(1000000000000)", interrupt_when=lambda: asyncio.sleep(1.5)
        )
        assert interrupted.code == 130
        assert (await typed(ledgerd, "status")).code == 1


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
