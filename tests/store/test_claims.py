"""Two harvesters on one server: the first to claim a source has it, until it leaves or is not seen any more."""

from types import SimpleNamespace

import pytest

from ledgerd.clock import SystemClock
from ledgerd.errors import CannotStart
from ledgerd.harvest.claims import ALIVE_S, FILE, PATIENCE_S, RENEW_S, Claims, holder_of
from ledgerd.store.migrate import Migrator

RIVER, EXCHANGE = "river-pc", "exchange-pc"
AGE = """
INSERT INTO harvest_claims
SELECT source, holder, host, holds, since - {s}, seen_at - {s}, now64(3) FROM harvest_claims FINAL
"""


@pytest.fixture
async def db(engine):
    await Migrator(engine, SystemClock()).apply()
    return engine


async def test_the_first_to_claim_has_it_and_the_second_is_told_who_that_is(db):
    first, second = Claims(db, "b"), Claims(db, "a")

    assert await first.renew([RIVER, EXCHANGE]) == {}
    rivals = await second.renew([RIVER])
    assert list(rivals) == [RIVER]
    assert "process" in rivals[RIVER]
    assert await first.renew([RIVER, EXCHANGE]) == {}
    assert await second.renew(["river-xbox"]) == {}


async def test_what_the_first_leaves_the_second_takes_and_the_first_then_stands_by(db):
    first, second = Claims(db, "a"), Claims(db, "b")
    await first.renew([RIVER])
    await second.renew([RIVER])
    await first.leave([RIVER])

    assert await second.renew([RIVER]) == {}
    assert list(await first.renew([RIVER])) == [RIVER]


async def test_a_harvester_not_seen_for_long_has_lost_its_claim_and_a_short_absence_costs_nothing(db):
    first, second = Claims(db, "a"), Claims(db, "b")
    await first.renew([RIVER])
    await db.execute(AGE.format(s=ALIVE_S - 5))
    assert list(await second.renew([RIVER])) == [RIVER]
    assert await Claims(db, "a").renew([RIVER]) == {}  # its next process goes on with its claim

    await db.execute(AGE.format(s=ALIVE_S + 5))
    assert await second.renew([RIVER]) == {}
    assert list(await first.renew([RIVER])) == [RIVER]


async def test_after_an_outage_of_the_server_who_held_a_source_has_it_still_whoever_comes_first(db):
    steady = SimpleNamespace(s=0.0)
    first, second = Claims(db, "a", lambda: steady.s), Claims(db, "b", lambda: steady.s)
    await first.renew([RIVER])
    await second.renew([RIVER])
    await db.execute(AGE.format(s=ALIVE_S + 5))
    steady.s += ALIVE_S + 5

    assert list(await second.renew([RIVER])) == [RIVER]  # it was away, too, and is patient
    assert await first.renew([RIVER]) == {}
    assert list(await second.renew([RIVER])) == [RIVER]
    await db.execute(AGE.format(s=ALIVE_S + 5))
    for _ in range(int(PATIENCE_S // RENEW_S) + 1):
        steady.s += RENEW_S
        rivals = await second.renew([RIVER])
    assert rivals == {}  # the first did not come back


async def test_nothing_wanted_asks_nothing(db):
    assert await Claims(db, "a").renew([]) == {}
    await Claims(db, "a").leave([])


def test_a_harvester_keeps_its_name_and_says_when_it_cannot(tmp_path):
    name = holder_of(tmp_path / "data")

    assert holder_of(tmp_path / "data") == name != holder_of(tmp_path / "other")
    (tmp_path / "data" / FILE).write_bytes(b"\xff\xfe")
    with pytest.raises(CannotStart, match="Remove it: rm"):
        holder_of(tmp_path / "data")
