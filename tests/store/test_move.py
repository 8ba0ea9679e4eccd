"""`ledgerd move` as a process: from an embedded database to the native front, interrupted, refused, resumed.

LEDGERD_MOVE_ROWS sets how many rows the interrupted move has, 200 000 by default.
"""

import asyncio
import os
import re
import secrets
import sys
import time
from collections import namedtuple
from contextlib import asynccontextmanager
from signal import SIGINT, SIGKILL

import pytest

from ledgerd.clock import SystemClock
from ledgerd.spool.checkpoint import last_checkpoint
from ledgerd.store.embedded import EmbeddedEngine
from ledgerd.store.migrate import Migrator
from tests.store.conftest import MEMORY_BYTES_MAX
from tests.store.front_process import ROOT, FrontProcess, server_engine

pytestmark = pytest.mark.timeout(900)

ROWS = int(os.environ.get("LEDGERD_MOVE_ROWS", "200000"))
Typed = namedtuple("Typed", "code out err")

EVENTS = """
INSERT INTO bronze_exchange_events SELECT
    ['pc', 'poe2'][1 + number % 2], ['Standard', 'Tide of Kitava'][1 + intDiv(number, 2) % 2],
    toDateTime(toUnixTimestamp(toStartOfHour(now('UTC'))) - intDiv(number, 1000) * 3600, 'UTC'),
    concat('Metadata/', toString(number % 1000), '|chaos'), concat('Metadata/', toString(number % 1000)), 'chaos',
    number, number * number, cityHash64(number), 4, 5, 6, 7, 18446744073709551615, 9, 10,
    concat('exchange-', toString(intDiv(number, 1000))), number % 7,
    now64(3) - toIntervalSecond(intDiv(number, 1000) * 3600), now64(3) - toIntervalSecond(5)
FROM numbers({rows:UInt64})
"""
STASHES = """
INSERT INTO bronze_raw_stashes SELECT
    'pc', ['', 'Standard', '(private)'][1 + number % 3], hex(cityHash64(number)),
    toString(number), toString(number + 1), number % 3 != 0, if(number % 3 = 0, NULL, concat('Åse#', toString(number))),
    if(number % 5 = 0, NULL, unhex('FFFE00')),
    'PremiumStash', number % 50, concat(unhex('80FF00C328'), repeat(toString(number), 40), '\\t\\\\\\'\\n'),
    cityHash64(number), concat('river-', toString(intDiv(number, 2000))), intDiv(number, 500) % 4,
    now64(3) - toIntervalSecond(intDiv(number, 2000) * 36000), now64(3)
FROM numbers({rows:UInt64})
"""
GOLD = """
INSERT INTO gold_currency_snapshot (realm, league, hour, currency, chaos_value, divine_value, open_24h, volatility_24h,
    spread, value_traded_24h, units, low_sample, batch_id, retrieved_at)
SELECT
    'pc', 'Standard', toDateTime(toUnixTimestamp(toStartOfHour(now('UTC'))) - intDiv(number, 500) * 3600, 'UTC'),
    concat('Metadata/', toString(number % 500)), if(number % 7 = 0, NULL, number / 3), {value:Float64}, NULL,
    if(number % 2 = 0, nan, -0.0), 1 / 0, 0.1 * number, number, number % 2, 'b', now64(3)
FROM numbers({rows:UInt64})
"""
REQUESTS = """
INSERT INTO bronze_requests SELECT
    'exchange-pc', 'pc', toDateTime64(now('UTC'), 3) - toIntervalMinute(intDiv(number, 10)), 'https://upstream/', '17',
    200, number, 3, 'ok', '', if(number % 2 = 0, NULL, 1.5), 'p', 'b', 0
FROM numbers({rows:UInt64})
"""
CHECKPOINTS = """
INSERT INTO bronze_ingest_checkpoints SELECT
    ['exchange-pc', 'river-pc'][1 + number % 2], 'pc', number, concat('b-', toString(number)), toString(number),
    toString(number + 2), 1, 1000, 0, 0, ['Standard', 'Tide\\tof'], 'exchange_1', 't', now64(3), now64(3)
FROM numbers({rows:UInt64})
"""
GONE_OVER = """
SELECT ifNull(sum(total_rows), 0) FROM system.tables
WHERE database = currentDatabase() AND name NOT LIKE 'poe_schema%' AND name NOT LIKE 'ledgerd_trial%'
"""
TTLS = """
SELECT name, extract(engine_full, 'TTL (.*?) SETTINGS') FROM system.tables
WHERE name IN ('bronze_requests', 'bronze_quarantine') AND database = currentDatabase() ORDER BY name
"""
MANY_PARTITIONS = {"max_partitions_per_insert_block": 100_000}
MOVED = [
    "bronze_exchange_events",
    "bronze_raw_stashes",
    "gold_currency_snapshot",
    "bronze_requests",
    "bronze_ingest_checkpoints",
]


class Place:
    """A data directory with an embedded database, and the configuration that names the server to move it to."""

    def __init__(self, folder, front):
        self.folder = folder
        self.url = front.url()
        self.database = f"ledgerd_test_{secrets.token_hex(4)}"
        self.config = folder / "config.toml"
        self.config.write_text(
            f'[daemon]\ndata_dir = "{folder}"\ncontact = "test@example.org"\n[http]\nlisten = "127.0.0.1:0"\n'
            f'[clickhouse]\nengine = "server"\nurl = "{self.url}"\n'
            f'database = "{self.database}"\n'
        )

    @asynccontextmanager
    async def embedded(self):
        engine = EmbeddedEngine(self.folder / "clickhouse", database=self.database, memory_bytes_max=MEMORY_BYTES_MAX)
        await engine.open()
        yield engine
        await engine.close()

    @asynccontextmanager
    async def server(self):
        engine = server_engine(self.url, self.database)
        await engine.open()
        yield engine
        await engine.close()

    async def start(self, *words, command="move"):
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "ledgerd", command, "--config", str(self.config), *words,
            cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env={name: value for name, value in os.environ.items() if not name.startswith(("POE_", "CH_"))},
        )  # fmt: skip

    async def typed(self, *words, command="move"):
        process = await self.start(*words, command=command)
        out, err = await process.communicate()
        return Typed(process.returncode, out.decode(), err.decode())


@pytest.fixture
async def place(tmp_path, front):
    """A migrated, empty database; that of the server is dropped in the end."""
    found = Place(tmp_path, front)
    async with found.embedded() as engine:
        await Migrator(engine, SystemClock()).apply()
    yield found
    async with found.server() as server:
        await server.execute(f"DROP DATABASE {found.database}")


async def fill(place, rows, *statements):
    async with place.embedded() as engine:
        for statement, share in statements:
            params = {"rows": int(rows * share), "value": 2.5}
            await engine.execute(statement, params, timeout_s=300, settings=MANY_PARTITIONS)


async def contents(engine, table):
    """Rows and a hash of ``table``, by another way than the command's."""
    final = "FINAL" if table.startswith(("gold", "silver")) else ""
    sql = f"SELECT count(), sum(sipHash64(formatRow('RowBinary', *))) FROM {table} {final}"
    return await engine.rows(sql, timeout_s=300)


async def both(place, tables=MOVED):
    """The contents of ``tables`` on either side."""
    async with place.embedded() as engine:
        here = {table: await contents(engine, table) for table in tables}
    async with place.server() as engine:
        there = {table: await contents(engine, table) for table in tables}
    return here, there


async def meddle(place, rows, how):
    """Start a move and, when ``rows`` have gone over, do ``how(process, server)``; what the move answered."""
    process = await place.start()
    async with place.server() as server:
        while (await server.rows(GONE_OVER))[0][0] < rows:
            assert process.returncode is None, await process.communicate()
            await asyncio.sleep(0.02)
        await how(process, server)
    out, err = await process.communicate()
    return Typed(process.returncode, out.decode(), err.decode())


def signal(sign):
    async def send(process, _server):
        process.send_signal(sign)

    return send


async def test_a_move_killed_in_the_middle_and_typed_again_leaves_both_sides_equal(place):
    await fill(
        place, ROWS, (EVENTS, 0.6), (STASHES, 0.15), (GOLD, 0.1), (GOLD, 0.1), (REQUESTS, 0.1), (CHECKPOINTS, 0.05)
    )

    killed = await meddle(place, ROWS * 0.4, signal(SIGKILL))
    began_s = time.monotonic()
    resumed = await place.typed()
    took_s = time.monotonic() - began_s
    here, there = await both(place)

    assert (killed.code, killed.out) == (-SIGKILL, "")
    assert resumed.code == 0, resumed.err
    assert here == there
    moved, kept = (
        int(text.replace(",", "")) for text in re.search(r"([\d,]+) rows moved.*; ([\d,]+) were", resumed.out).groups()
    )
    assert moved + kept == sum(rows for [(rows, _)] in here.values())
    assert kept >= ROWS * 0.4
    print(f"\n{killed.err}{resumed.err}{resumed.out}in {took_s:.1f} s with start and comparison")


async def test_what_ctrl_c_stops_goes_on_and_what_is_done_is_not_done_again(place):
    await fill(place, 60_000, (EVENTS, 1))

    stopped = await meddle(place, 1, signal(SIGINT))
    early = await place.typed(command="run")
    resumed = await place.typed()
    again = await place.typed()
    here, there = await both(place)

    assert (stopped.code, stopped.out, stopped.err.strip()) == (130, "", "")
    assert early.code == 75
    assert "The move to this server is not finished. Type: ledgerd move; or give it up: rm " in early.err
    assert (resumed.code, again.code) == (0, 0)
    assert not (place.folder / "move-unfinished").exists()
    assert here == there
    assert "\n0 rows moved" in again.out
    assert "60,000 were there" in again.out


async def test_a_source_stands_on_the_server_where_it_stood(place):
    await fill(place, 1000, (CHECKPOINTS, 1))
    async with place.embedded() as engine:
        stood = [await last_checkpoint(engine, source) for source in ("exchange-pc", "river-pc")]

    assert (await place.typed()).code == 0
    async with place.server() as server:
        stands = [await last_checkpoint(server, source) for source in ("exchange-pc", "river-pc")]

    assert stands == stood == [(998, "1000"), (999, "1001")]


async def test_a_dry_run_lists_both_sides_and_changes_nothing(place):
    await fill(place, 3000, (EVENTS, 1))

    answer = await place.typed("--dry-run")
    async with place.server() as server:
        tables = await server.rows("SELECT name FROM system.tables WHERE database = currentDatabase()")

    assert answer.code == 0
    assert re.search(r"^bronze_exchange_events +\d +3,000 +0$", answer.out, re.MULTILINE)
    assert tables == []


@pytest.mark.parametrize(
    "rows",
    [
        "SELECT 'pc', 'Standard', now(), 'z', now64(3), 1",
        "SELECT realm, league, hour, market_id, retrieved_at + toIntervalDay(70), 1 FROM bronze_exchange_events",
    ],
    ids=["a row in a partition that is here, too", "a row in a partition of its own"],
)
async def test_a_server_that_holds_other_rows_is_left_alone(place, rows):
    await fill(place, 3000, (EVENTS, 1), (REQUESTS, 1))
    assert (await place.typed()).code == 0
    columns = "realm, league, hour, market_id, retrieved_at, volume_a"
    async with place.server() as server:
        await server.execute("TRUNCATE TABLE bronze_requests")
        await server.execute(f"INSERT INTO bronze_exchange_events ({columns}) {rows}")

    answer = await place.typed()
    async with place.server() as server:
        requests = await server.rows("SELECT count() FROM bronze_requests")

    assert answer.code == 1
    assert re.search(
        r"bronze_exchange_events, partition .* rows that were not moved from here; nothing was", answer.err
    )
    assert requests == [(0,)]


async def test_a_row_that_somebody_writes_meanwhile_is_found_by_the_comparison(place):
    await fill(place, 60_000, (EVENTS, 1), (CHECKPOINTS, 0.1))

    async def write(_process, server):
        await server.execute("INSERT INTO bronze_exchange_events (realm, retrieved_at) VALUES ('sony', now64(3))")

    answer = await meddle(place, 1, write)

    assert answer.code == 1
    assert re.search(r"^bronze_exchange_events +\d +60,000 +\w+ +no$", answer.out, re.MULTILINE)
    assert re.search(r"^bronze_ingest_checkpoints +1 +6,000 +\w+ +yes$", answer.out, re.MULTILINE)
    assert "The two sides differ in bronze_exchange_events 20" in answer.err


async def test_a_ttl_goes_over_and_what_is_past_it_stays_behind(place):
    soon_past = "now64(3) - toIntervalHour(400 * 24 - 12) - toIntervalSecond(intDiv"
    async with place.embedded() as engine:
        await engine.execute("ALTER TABLE bronze_requests REMOVE TTL")
        await engine.execute("ALTER TABLE bronze_quarantine MODIFY TTL toDateTime(retrieved_at) + INTERVAL 800 DAY")
        await engine.execute(EVENTS.replace("now64(3) - toIntervalSecond(intDiv", soon_past), {"rows": 500})
        await engine.execute(EVENTS, {"rows": 700})
        here = await engine.rows(TTLS)

    answer = await place.typed()
    async with place.server() as server:
        there = await server.rows(TTLS)
        moved = await server.rows("SELECT count() FROM bronze_exchange_events")

    assert answer.code == 0, answer.err
    assert "500 rows of bronze_exchange_events are past their TTL and stay behind." in answer.out
    assert moved == [(700,)]
    assert (
        there
        == here
        == [("bronze_quarantine", "toDateTime(retrieved_at) + toIntervalDay(800)"), ("bronze_requests", "")]
    )


async def test_a_database_somebody_owns_is_not_moved(place):
    async with place.embedded():
        answer = await place.typed()

    assert answer.code == 73
    assert "is in use by process" in answer.err


async def test_a_folder_or_database_that_is_not_there_is_named(place, tmp_path):
    nowhere = await place.typed("--from", str(tmp_path / "nowhere"))
    place.config.write_text(place.config.read_text().replace(place.database, "ledgerd_test_other"))
    other = await place.typed()

    assert (nowhere.code, other.code) == (64, 64)
    assert "There is no embedded database in" in nowhere.err
    assert f"there is no database ledgerd_test_other, but {place.database}" in other.err


async def test_a_server_that_is_lost_meanwhile_keeps_what_went_over(tmp_path):
    front = FrontProcess(tmp_path / "server")
    place = Place(tmp_path, front)
    async with place.embedded() as engine:
        await Migrator(engine, SystemClock()).apply()
    await fill(place, 60_000, (EVENTS, 1))

    async def kill(_process, _server):
        front.kill()

    lost = await meddle(place, 1, kill)
    front.start()
    resumed = await place.typed()
    here, there = await both(place)
    front.kill()

    assert lost.code == 1
    assert lost.err.endswith("What went over stays there; go on with: ledgerd move\n")
    assert resumed.code == 0
    assert here == there
