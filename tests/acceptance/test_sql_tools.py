"""``/sql`` of a running daemon: a tool reads gold with its token, leaves in mid-query, and a reload shuts the door."""

import asyncio
import re
import signal

import aiohttp
import clickhouse_connect
import pytest

from tests.daemon import EDGE, TEST_S, daemon, upstream

pytest.importorskip("chdb")
pytestmark = pytest.mark.timeout(TEST_S)

TOKEN = "what-only-the-tool-knows"
GOLD = "SELECT currency, chaos_value, hour FROM gold_currency_snapshot WHERE realm = {realm:String} ORDER BY ALL"
ENDLESS = "SELECT count() FROM system.numbers"


def public_port(ledgerd):
    return int(re.findall(r"is ready: http://127\.0\.0\.1:(\d+)/", ledgerd.log.read_text())[-1])


def frame_of(port):
    client = clickhouse_connect.get_client(
        host="127.0.0.1", port=port, proxy_path="/sql", username="tool", password=TOKEN, dedicated_pool=True
    )
    try:
        return client.query_df(GOLD, parameters={"realm": "xbox"})
    finally:
        client.close()


async def test_a_tool_reads_leaves_in_mid_query_and_is_shut_out():
    async with upstream(4) as exchange, daemon(exchange.url, realms=[{"name": "xbox"}]) as ledgerd:
        (ledgerd.folder / "token").write_text(TOKEN)
        (ledgerd.folder / "token").chmod(0o600)
        ledgerd.configure(sql__enabled=True, sql__token_file=str(ledgerd.folder / "token"), sql__queries_max=1)
        await ledgerd.start()
        await ledgerd.caught_up("exchange-xbox", EDGE)
        url = f"http://127.0.0.1:{public_port(ledgerd)}/sql"
        headers = {"Authorization": f"Bearer {TOKEN}"}

        frame = await asyncio.to_thread(frame_of, public_port(ledgerd))
        stored = await ledgerd.sql(GOLD.replace("{realm:String}", "'xbox'"))
        assert list(frame["currency"]) == [currency for currency, *_ in stored]

        async with aiohttp.ClientSession() as session:
            asking = asyncio.create_task(session.post(url, data=ENDLESS, headers=headers))
            await ledgerd.wait("the query to run", lambda: runs(ledgerd))
            asking.cancel()
            async with session.post(url, data="SELECT 1", headers=headers) as answer:
                assert (answer.status, await answer.text()) == (200, "1\n")

            async with session.post(url, data="SELECT 1") as answer:
                assert (answer.status, answer.headers["X-ClickHouse-Exception-Code"]) == (401, "516")

            ledgerd.configure(sql__enabled=False)
            ledgerd.signal(signal.SIGHUP)
            await ledgerd.wait("the door to be shut", lambda: is_shut(session, url, headers))

        assert await ledgerd.stop() == 0
        assert TOKEN not in ledgerd.said()


async def runs(ledgerd):
    ((running,),) = await ledgerd.sql("SELECT count() FROM system.processes WHERE query LIKE '%FROM system.numbers'")
    return running


async def is_shut(session, url, headers):
    async with session.post(url, data="SELECT 1", headers=headers) as answer:
        return answer.status == 404
