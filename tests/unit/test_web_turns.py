"""Turns at the engine: a few at a time, first come first served, and a query that cannot be stopped keeps its own."""

import asyncio

import pytest

from ledgerd.errors import QueryRefused, StoreUnavailable
from ledgerd.web.clickhouse import turns as room
from ledgerd.web.clickhouse.turns import Turns


class Engine:
    """Says of every query that it runs, until ``over`` is set."""

    def __init__(self):
        self.over = False
        self.asked = []

    async def rows(self, sql, params):
        self.asked.append(params["ticket"])
        if len(self.asked) == 1:
            raise StoreUnavailable("no reader is free")
        return [(0 if self.over else 1,)]


@pytest.fixture
def turns(monkeypatch):
    monkeypatch.setattr(room, "LOOK_S", 0.001)
    monkeypatch.setattr(room, "WAIT_S", 0.05)
    return Turns()


async def is_free(turns, engine):
    """True if somebody gets the only turn."""
    try:
        async with turns.turn(engine, lambda: 1):
            return True
    except QueryRefused:
        return False


async def fail(turns, engine, error):
    async with turns.turn(engine, lambda: 1) as ticket:
        assert isinstance(ticket, int)
        raise error


@pytest.mark.parametrize("error", [StoreUnavailable("too slow"), asyncio.CancelledError()])
async def test_a_query_that_may_run_on_keeps_its_turn_until_it_is_over(turns, error):
    engine = Engine()
    with pytest.raises(type(error)):
        await fail(turns, engine, error)

    assert not await is_free(turns, engine)
    assert len(engine.asked) > 2
    assert len(set(engine.asked)) == 1

    engine.over = True
    assert await is_free(turns, engine)


async def test_a_query_that_is_refused_or_done_gives_its_turn_back_at_once(turns):
    engine = Engine()
    with pytest.raises(QueryRefused):
        await fail(turns, engine, QueryRefused("no"))
    with pytest.raises(KeyError):
        await fail(turns, engine, KeyError("a fault of ours"))

    assert await is_free(turns, engine)
    assert await is_free(turns, engine)
    assert engine.asked == []


async def test_who_waits_is_let_in_one_after_the_other_and_too_many_are_sent_away(turns, monkeypatch):
    monkeypatch.setattr(room, "WAITING_MAX", 3)
    monkeypatch.setattr(room, "WAIT_S", 5.0)
    order, running = [], []

    async def ask(number):
        async with turns.turn(Engine(), lambda: 1):
            running.append(number)
            await asyncio.sleep(0)
            assert running == [number]
            order.append(running.pop())

    answers = await asyncio.gather(*(ask(number) for number in range(6)), return_exceptions=True)

    assert order == [0, 1, 2, 3][: len(order)]
    assert [type(answer) for answer in answers if answer] == [QueryRefused] * (6 - len(order))
    assert len(order) >= 3
