"""The whole daemon on a server of one's own: the same rows and prices; a server that comes and goes loses nothing."""

import asyncio
import os
import random
import time
from contextlib import asynccontextmanager

import orjson
import pytest

from ledgerd.errors import LedgerdError
from tests.daemon import BRONZE, EDGE, HOUR_S, NOT_DATA, REFINED, TEST_S, Daemon, daemon, lost_and_doubled, upstream
from tests.store.front_process import FrontProcess, server_engine

pytest.importorskip("chdb")
pytestmark = pytest.mark.timeout(TEST_S)

REALM, SOURCE = "pc", "exchange-pc"
DATABASE = "poe_trade"
ROUNDS = int(os.environ.get("LEDGERD_SERVER_ROUNDS", "1"))
"""Of each, two kills, one hang and two cut connections; 10 for the figures of the record."""
SEED = int(os.environ.get("LEDGERD_CRASH_SEED", "1"))
HOURS_A_ROUND = 3
LEVEL_S = 30.0
"""How soon after a short trouble all is as it was; a long one is waited out at intervals as long as itself."""
DONE = f"""
    SELECT
        (SELECT max(toUInt32OrZero(next_cursor)) FROM bronze_ingest_checkpoints WHERE source = '{SOURCE}'),
        (SELECT uniqExact(seq) FROM bronze_ingest_checkpoints WHERE source = '{SOURCE}'),
        (SELECT uniqExact(seq) FROM etl_runs WHERE source = '{SOURCE}' AND step = '{REFINED[-1]}' AND outcome = 'ok')
"""


async def kill(front, rng):
    front.kill()
    await asyncio.sleep(rng.uniform(0, 3))
    await asyncio.to_thread(front.start)


async def hang(front, rng):
    front.freeze()
    await asyncio.sleep(rng.uniform(1, 4))
    front.thaw()


async def cut(front, rng):
    front.order("close")
    await asyncio.sleep(rng.uniform(0.2, 2))
    front.order("well")


TROUBLES = {"kill": kill, "hang": hang, "cut": cut}


class OnServer(Daemon):
    """A daemon whose rows are read where they are: on the server, past the daemon."""

    engine = None

    async def sql(self, query):
        try:
            return await self.engine.rows(query)
        except LedgerdError as error:
            raise AssertionError(str(error)) from error


@asynccontextmanager
async def on_server(exchange, front, **settings):
    """A daemon on ``front``, and a second look at the same server."""
    where = {"clickhouse__engine": "server", "clickhouse__url": front.url()}
    async with daemon(exchange.url, kind=OnServer, **where, **settings) as ledgerd:
        ledgerd.engine = server_engine(front.url(), DATABASE)
        await ledgerd.engine.open()
        try:
            yield ledgerd
        finally:
            await ledgerd.engine.close()


@pytest.fixture
def front(tmp_path):
    made = FrontProcess(tmp_path / "front")
    yield made
    made.thaw()
    made.kill()


async def tables(ledgerd, realm=REALM):
    """Everything refined of a realm, without what differs from run to run."""
    queries = {name: f"SELECT * EXCEPT ({NOT_DATA}) FROM {name} FINAL WHERE realm = '{realm}'" for name in REFINED}
    queries["bronze"] = BRONZE.format(realm=realm)
    return {name: sorted(await ledgerd.sql(query), key=repr) for name, query in queries.items()}


async def test_a_server_ends_up_with_the_very_rows_of_the_embedded_engine(front):
    async with upstream(12, currencies=None) as exchange:
        async with daemon(exchange.url) as embedded:
            await embedded.start()
            await embedded.caught_up(SOURCE, EDGE)
            expected = await tables(embedded)
            assert await embedded.stop() == 0
        async with on_server(exchange, front) as ledgerd:
            await ledgerd.start()
            await ledgerd.caught_up(SOURCE, EDGE)
            status = await ledgerd.status()
            memory_mib = ledgerd.memory_kib("VmHWM") / 1024
            found = await tables(ledgerd)

            assert status["store"]["engine"] == "server"
            assert {name: len(rows) for name, rows in found.items()} == {n: len(r) for n, r in expected.items()}
            assert found == expected
            assert memory_mib <= 200
            assert await ledgerd.stop() == 0
    print(f"\n{sum(map(len, found.values()))} rows equal in {len(found)} tables; {memory_mib:.0f} MiB at most")


async def test_a_river_lands_on_a_server_exactly_once(front):
    async with upstream(2) as exchange:
        await exchange.lift_limits()
        async with on_server(exchange, front, realms=[{"name": "pc", "exchange": False, "river": True}]) as ledgerd:
            await ledgerd.start()

            async def has_pages():
                [(pages,)] = await ledgerd.sql("SELECT sum(pages) FROM bronze_ingest_checkpoints")
                return pages >= 20

            await ledgerd.wait("twenty pages", has_pages)
            await ledgerd.still()
            verdict = await ledgerd.river_verdict(exchange)

            assert verdict.findings == {}
            assert verdict.pages >= 20
            assert await ledgerd.stop() == 0


@pytest.mark.timeout(TEST_S + 300 * ROUNDS)
async def test_a_server_that_is_killed_hung_or_cut_off_under_ingest_loses_nothing(front, capsys):
    rng = random.Random(SEED)
    troubles = ["kill"] * 2 * ROUNDS + ["hang"] * ROUNDS + ["cut"] * 2 * ROUNDS
    rng.shuffle(troubles)
    async with upstream(2) as exchange, on_server(exchange, front) as ledgerd:
        await ledgerd.start()
        await ledgerd.caught_up(SOURCE, EDGE)
        edge, worst_s = EDGE, 0.0
        for trouble in troubles:
            await exchange.post("edge", {"advance": HOURS_A_ROUND})
            edge += HOURS_A_ROUND * HOUR_S
            await asyncio.sleep(rng.uniform(0, 0.5))
            began_s = time.monotonic()
            await TROUBLES[trouble](front, rng)
            over_s = time.monotonic()
            await ledgerd.caught_up(SOURCE, edge)
            took_s = time.monotonic() - over_s
            worst_s = max(worst_s, took_s)
            assert took_s <= max(LEVEL_S, 3 * (over_s - began_s)), trouble
        stored, expected = await ledgerd.sql(BRONZE.format(realm=REALM)), await exchange.rows(REALM)
        missing, extra = lost_and_doubled(expected, stored)
        with capsys.disabled():
            told = ", ".join(f"{troubles.count(each)} × {each}" for each in TROUBLES)
            print(f"\n{told}: lost {len(missing)}, doubled {len(extra)} of {len(expected)} rows; ", end="")
            print(f"caught up after at most {worst_s:.1f} s")

        assert (missing, extra) == ([], [])
        assert await ledgerd.stop() == 0


async def test_a_second_harvester_stands_by_and_takes_over_when_the_first_is_gone(front):
    async with upstream(2) as exchange, on_server(exchange, front) as first, on_server(exchange, front) as second:
        await first.start()
        await first.caught_up(SOURCE, EDGE)
        await second.start()

        async def stands_by():
            return (await second.source(SOURCE))["state"] == "standby"

        await second.wait("the second to stand by", stands_by)
        await exchange.post("edge", {"advance": 2})
        await first.caught_up(SOURCE, EDGE + 2 * HOUR_S)
        assert await first.stop() == 0
        await exchange.post("edge", {"advance": 2})
        await second.caught_up(SOURCE, EDGE + 4 * HOUR_S)
        stored, expected = await second.sql(BRONZE.format(realm=REALM)), await exchange.rows(REALM)

        assert lost_and_doubled(expected, stored) == ([], [])
        assert await second.sql("SELECT count() - uniqExact(source, seq) FROM bronze_ingest_checkpoints") == [(0,)]
        assert await second.stop() == 0


async def test_roles_apart_share_one_server(front):
    alone = {"roles__harvest": False, "roles__etl": False, "roles__api": False}
    async with (
        upstream(3) as exchange,
        on_server(exchange, front, **{**alone, "roles__harvest": True}) as harvester,
        on_server(exchange, front, **{**alone, "roles__etl": True}) as refiner,
        on_server(exchange, front, **{**alone, "roles__api": True}) as reader,
    ):
        for each in (harvester, refiner, reader):
            await each.start()
            await each.wait("it to be ready", lambda each=each: is_ready(each))  # the first one makes the tables
        await refiner.wait("the refined hours", lambda: is_refined(refiner))

        async def has_prices():
            return orjson.loads(await reader._ask("GET", "/v1/realms"))["realms"]

        await reader.wait("prices", has_prices)
        assert (await reader.status())["sources"] == []
        for each in (reader, refiner, harvester):
            assert await each.stop() == 0


async def is_ready(ledgerd):
    return (await ledgerd.status())["state"] != "starting"


async def is_refined(ledgerd):
    [(reached, committed, refined)] = await ledgerd.sql(DONE)
    return reached == EDGE and committed == refined
