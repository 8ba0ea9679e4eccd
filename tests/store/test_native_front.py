"""The front does what a ClickHouse server does, as asynch itself sees it."""

import asyncio
import time

import pytest
from asynch.connection import Connection
from asynch.errors import ServerException

FOREVER = "SELECT count() FROM numbers(1000000000000) WHERE cityHash64(number) = 1"
SOON_S = 30


@pytest.fixture
async def client(front):
    opened = await connected(front)
    yield opened
    await opened.close()
    front.order("well")


async def connected(front):
    # what is not important a server may ignore, and the front wants to be told
    client = Connection(host="localhost", port=front.port, database="default", settings_is_important=True)
    await client.connect()
    return client


async def fetch(client, sql, **settings):
    async with client.cursor() as cursor:
        cursor.set_settings(settings)
        await cursor.execute(sql)
        return await cursor.fetchall()


async def until_nothing_runs(client):
    """True once no query but this one runs, within SOON_S."""
    until_s = time.monotonic() + SOON_S
    while time.monotonic() < until_s:
        if await fetch(client, "SELECT count() FROM system.processes") == [(1,)]:
            return True
        await asyncio.sleep(0.05)
    return False


async def test_a_long_answer_comes_in_many_blocks_and_whole(client):
    sql = "SELECT number, toString(number), [number] FROM numbers(300000) SETTINGS max_block_size = 65536"
    reading = await client._connection.execute_iter(sql)
    blocks = [packet.block.num_rows async for packet in reading.packet_generator]

    assert sum(blocks) == 300_000
    assert len(blocks) >= 4


async def test_an_error_has_its_number_and_leaves_the_connection_usable(client):
    for sql, code in (
        ("SELEC 1", 62),
        ("SELECT * FROM nowhere", 60),
        ("SELECT throwIf(number = 9) FROM numbers(10)", 395),
    ):
        with pytest.raises(ServerException) as caught:
            await fetch(client, sql)

        assert caught.value.code == code

    assert await fetch(client, "SELECT 1") == [(1,)]


async def test_an_error_behind_blocks_already_sent_is_still_an_error(client):
    with pytest.raises(ServerException) as caught:
        await fetch(client, "SELECT throwIf(number = 250000) FROM numbers(300000)", max_threads=1)

    assert caught.value.code == 395


async def test_progress_is_told_on_the_way(client):
    await fetch(client, "SELECT number FROM numbers(200000)")

    assert client.last_query.progress.bytes > 0


async def test_settings_hold_for_one_query(client):
    first = await fetch(client, "SELECT getSetting('max_block_size')", max_block_size=17)
    second = await fetch(client, "SELECT getSetting('max_block_size')")
    with pytest.raises(ServerException):
        await fetch(client, "CREATE TABLE t (n UInt8) ENGINE = Memory", readonly=1)

    assert first == [(17,)]
    assert second != first


async def test_an_insert_of_asynch_is_stored_and_its_token_counts(front, client):
    await fetch(client, "DROP TABLE IF EXISTS t")
    await fetch(
        client,
        "CREATE TABLE t (n UInt8, l LowCardinality(String)) ENGINE = MergeTree ORDER BY n "
        "SETTINGS non_replicated_deduplication_window = 10",
    )
    for _ in range(2):
        other = await connected(front)  # asynch leaves all but the first packet of an insert's answer unread
        async with other.cursor() as cursor:
            cursor.set_settings({"insert_deduplication_token": "one"})
            await cursor.execute("INSERT INTO t (n, l) VALUES", [(1, "a"), (2, "b")])
        await until_nothing_runs(client)
        await other.close()

    assert await fetch(client, "SELECT n, l FROM t ORDER BY n") == [(1, "a"), (2, "b")]


async def test_a_cancelled_query_stops_in_the_engine_and_its_connection_lives_on(front, client):
    asking = asyncio.create_task(fetch(client, FOREVER))
    await asyncio.sleep(0.2)
    await client.cancel()
    with pytest.raises(ServerException) as caught:
        await asyncio.wait_for(asking, SOON_S)

    assert caught.value.code == 394
    assert await until_nothing_runs(client)


async def test_a_query_whose_client_hangs_up_stops_in_the_engine(front, client):
    other = await connected(front)
    asking = asyncio.create_task(fetch(other, FOREVER))
    await asyncio.sleep(0.2)
    asking.cancel()
    await asyncio.wait({asking})

    assert await until_nothing_runs(client)


async def test_a_query_ends_at_its_own_limit(client):
    started_s = time.monotonic()
    with pytest.raises(ServerException) as caught:
        await fetch(client, FOREVER, max_execution_time=0.2)

    assert caught.value.code == 159
    assert time.monotonic() - started_s < SOON_S


async def test_several_clients_are_answered_side_by_side(front):
    clients = await asyncio.gather(*(connected(front) for _ in range(6)))
    blocked = [asyncio.create_task(fetch(client, FOREVER)) for client in clients[:2]]

    answers = await asyncio.gather(*(fetch(client, f"SELECT {n}") for n, client in enumerate(clients[2:])))
    for task in blocked:
        task.cancel()
    await asyncio.wait(blocked)
    await asyncio.gather(*(client.close() for client in clients))

    assert answers == [[(0,)], [(1,)], [(2,)], [(3,)]]


async def test_a_wrong_user_is_not_let_in(front):
    client = Connection(host="localhost", port=front.port, user="stranger")
    with pytest.raises(ServerException) as caught:
        await client.connect()

    assert caught.value.code == 516
