"""History with holes: every missing hour is booked, none stops the way, and a restart goes on at the edge."""

import pytest

from tests.daemon import BRONZE, EDGE, HOUR_S, TEST_S, daemon, lost_and_doubled, upstream

pytest.importorskip("chdb")
pytestmark = pytest.mark.timeout(TEST_S)

REALM, SOURCE = "xbox", "exchange-xbox"
GAPS = "SELECT toUInt32(gap_from), toUInt32(gap_to) FROM bronze_gaps ORDER BY gap_from"


async def missing_hours(exchange):
    state = await exchange.get("state")
    hours = range(state["oldest"][REALM], state["edge"][REALM], HOUR_S)
    return [hour for hour in hours if await exchange.get(f"hour/{REALM}/{hour}") is None]


async def all_ok(ledgerd):
    return {step["state"] for step in (await ledgerd.status())["etl"]} == {"ok"}


async def test_hours_that_never_were_are_booked_and_passed_single_ones_too():
    settings = {"realms": [{"name": REALM}], "spool__batch_pages_max": 1}  # so that a gap is a batch of its own
    async with upstream(20, seed=6, gap_rate=0.25) as exchange, daemon(exchange.url, **settings) as ledgerd:
        missing = await missing_hours(exchange)
        await ledgerd.start()
        await ledgerd.caught_up(SOURCE, EDGE)
        booked = [hour for begin, end in await ledgerd.sql(GAPS) for hour in range(begin, end, HOUR_S)]

        assert any(hour - HOUR_S not in missing and hour + HOUR_S not in missing for hour in missing)
        assert booked == missing
        assert lost_and_doubled(await exchange.rows(REALM), await ledgerd.sql(BRONZE.format(realm=REALM))) == ([], [])
        await ledgerd.wait("every step to be ok", lambda: all_ok(ledgerd))


async def test_a_start_before_the_oldest_hour_books_what_upstream_no_longer_keeps():
    first = EDGE - 100 * HOUR_S
    realm = {"name": REALM, "exchange_from": "2026-08-14T18:00:00Z"}
    async with upstream(6) as exchange, daemon(exchange.url, realms=[realm]) as ledgerd:
        await ledgerd.start()
        await ledgerd.caught_up(SOURCE, EDGE)

        assert await ledgerd.sql(GAPS) == [(first, EDGE - 6 * HOUR_S)]
        assert lost_and_doubled(await exchange.rows(REALM), await ledgerd.sql(BRONZE.format(realm=REALM))) == ([], [])


async def test_restarted_at_the_edge_it_waits_there_and_takes_the_next_hour_once():
    async with upstream(4) as exchange, daemon(exchange.url, realms=[{"name": REALM}]) as ledgerd:
        for hours in range(3):
            await ledgerd.start()
            await ledgerd.caught_up(SOURCE, EDGE + hours * HOUR_S)
            assert await ledgerd.stop() == 0
            await exchange.post("edge", {"advance": 1})
        await ledgerd.start()
        await ledgerd.caught_up(SOURCE, EDGE + 3 * HOUR_S)

        assert lost_and_doubled(await exchange.rows(REALM), await ledgerd.sql(BRONZE.format(realm=REALM))) == ([], [])
        assert await ledgerd.sql("SELECT count() FROM bronze_gaps") == [(0,)]
