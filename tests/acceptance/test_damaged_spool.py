"""Torn and flipped bytes between two runs: the good part is kept, the bad part is told of, the daemon lives."""

import shutil

import orjson
import pytest

from ledgerd.clock import SystemClock
from ledgerd.harvest.exchange_landing import KIND_HOUR, TRANSFORM
from ledgerd.spool.spool import Page, Spool
from tests.daemon import BRONZE, EDGE, HOUR_S, PRIVATE, TEST_S, daemon, lost_and_doubled, upstream
from tests.spools import flip

pytest.importorskip("chdb")
pytestmark = pytest.mark.timeout(TEST_S)

REALM, SOURCE = "xbox", "exchange-xbox"
FIRST = EDGE - 8 * HOUR_S
GAPS = "SELECT toUInt32(cursor_from), toUInt32(cursor_to) FROM bronze_gaps ORDER BY 1"


async def frozen(exchange, ledgerd):
    """What a killed daemon may leave: eight hours frozen, three and three of them sealed, nothing stored."""
    spool = Spool(ledgerd.data_dir / "spool", bytes_max=1 << 30, retain_s=3600, clock=SystemClock())
    spool.open()
    stream = spool.stream(SOURCE)
    for n, hour in enumerate(range(FIRST, EDGE, HOUR_S)):
        body = orjson.dumps(await exchange.get(f"hour/{REALM}/{hour}"))
        now_ms = int(SystemClock().now() * 1000)
        await stream.freeze(Page(str(hour), str(hour + HOUR_S), now_ms, 200, "identity", body, KIND_HOUR))
        if n in {2, 5}:
            await stream.seal({"leagues": ["*", *PRIVATE], "transform": TRANSFORM})
    spool.close()


def offsets(path):
    """Where the records of a segment begin."""
    data, at = path.read_bytes(), []
    magic = data[:4]
    while (found := data.find(magic, at[-1] + 1 if at else 0)) >= 0:
        at.append(found)
    return at


def segments(ledgerd, kind):
    return sorted((ledgerd.data_dir / "spool" / SOURCE).glob(f"*.{kind}"))


def tear_the_tail(ledgerd):
    (path,) = segments(ledgerd, "open")
    path.write_bytes(path.read_bytes()[:-100])


def add_rubbish(ledgerd):
    (path,) = segments(ledgerd, "open")
    path.write_bytes(path.read_bytes() + b"\xff" * 1000)


def flip_the_second_page(ledgerd):
    path = segments(ledgerd, "sealed")[0]
    flip(path, offsets(path)[1] + 500)


def flip_the_seals(ledgerd):
    path = segments(ledgerd, "sealed")[0]
    for at in offsets(path)[-2:]:
        flip(path, at + 30)


def blank_a_batch(ledgerd):
    path = segments(ledgerd, "sealed")[1]
    path.write_bytes(bytes(path.stat().st_size))


DAMAGES = {
    tear_the_tail: [],
    add_rubbish: [],
    flip_the_second_page: [(FIRST + HOUR_S, FIRST + 2 * HOUR_S)],
    flip_the_seals: [],
    blank_a_batch: [(FIRST + 3 * HOUR_S, FIRST + 6 * HOUR_S)],
}
"""What is done to the files, and the gaps it must leave: none where upstream is asked again."""


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
async def test_the_good_part_is_kept_the_rest_is_fetched_again_or_booked_as_a_gap(damage):
    gaps = DAMAGES[damage]
    async with upstream() as exchange, daemon(exchange.url, realms=[{"name": REALM}]) as ledgerd:
        await frozen(exchange, ledgerd)
        damage(ledgerd)
        expected = [row for row in await exchange.rows(REALM) if not any(a <= row[1] < b for a, b in gaps)]
        for _ in range(2):  # the second time with the damaged files still lying there
            await ledgerd.start()
            await ledgerd.caught_up(SOURCE, EDGE)

            assert lost_and_doubled(expected, await ledgerd.sql(BRONZE.format(realm=REALM))) == ([], [])
            assert await ledgerd.sql(GAPS) == gaps
            await ledgerd.well()
            assert list((ledgerd.data_dir / "spool" / "bad").iterdir())
            assert await ledgerd.stop() == 0


async def test_without_its_spool_the_daemon_goes_on_behind_its_last_commit():
    async with upstream() as exchange, daemon(exchange.url, realms=[{"name": REALM}]) as ledgerd:
        await ledgerd.start()
        await ledgerd.caught_up(SOURCE, EDGE)
        assert await ledgerd.stop() == 0
        shutil.rmtree(ledgerd.data_dir / "spool")
        await exchange.post("edge", {"advance": 2})
        await ledgerd.start()
        await ledgerd.caught_up(SOURCE, EDGE + 2 * HOUR_S)

        assert lost_and_doubled(await exchange.rows(REALM), await ledgerd.sql(BRONZE.format(realm=REALM))) == ([], [])
