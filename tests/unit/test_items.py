"""Item prices in memory: how they are found, ranked and paged, when they are loaded, and who is told."""

import asyncio
import json
import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from ledgerd.clock import UPSTREAM_DELAY_S
from ledgerd.errors import NotKnown, NotPricedYet, StoreUnavailable
from ledgerd.ledger.items import Cursor, Item, ItemSnapshot, Order, Part, Rows
from ledgerd.ledger.ledger import ANNOUNCEMENTS_MAX, Announcement
from tests.clocks import ORIGIN_S
from tests.prices import EYE, HEADHUNTER, HOUR_S, ITEMS, MARKET, NO_STORE, World, gold, item

UNPRICED = "unique|Replica Farrul's Fur|base=Triumphant Lamellar"
AGED = b',"age_s":300.0,"stale":false}'


@pytest.fixture
async def items(world):
    return world.ledger.items("pc", "Mirage")


async def snapshot_of(*rows):
    world = World(items=rows)
    await world.load()
    return world.ledger.items("pc", "Mirage")


def keys(items, page):
    return [items.columns.key[place] for place in page.places]


def walked(items, order, n, keep=None):
    """All pages of an order, one after the other."""
    after, found = None, []
    while True:
        page = items.page(order, after, n, keep)
        found += keys(items, page)
        after = page.after
        if after is None:
            return found


def ranked(values):
    """A snapshot of items by key, each column of numbers ``values``."""
    rows = "\n".join(json.dumps({"key": key}) for key in values)
    texts, numbers = json.dumps(list(values)), json.dumps(list(values.values()))
    times = json.dumps([0] * len(values))
    return ItemSnapshot.of_parts("pc", "Mirage", 0, [Part.of(rows, texts, texts, texts, *[numbers] * 8, times)])


def valued(values):
    return {f"gem|{n:03}": value for n, value in enumerate(values)}


async def test_every_row_is_an_item_as_the_api_describes_it_once_its_age_is_put_to_it(items):
    shape = TypeAdapter(Item)
    for row in items.rows:
        shape.validate_python(json.loads(row + AGED), strict=True)


async def test_rows_are_in_the_order_of_their_keys_and_columns_tell_the_same(items):
    told = [json.loads(row + AGED) for row in items.rows]

    assert [each["key"] for each in told] == list(items.columns.key) == sorted(items.columns.key)
    for name in ("name", "category", "chaos", "confidence", "change_24h", "change_7d", "likely_sales_24h"):
        column = [
            value if isinstance(value, str) or np.isfinite(value) else None for value in getattr(items.columns, name)
        ]
        assert [each[name] for each in told] == column
    assert [each["liquidity"]["turnover_24h"] for each in told] == list(items.columns.turnover_24h)
    assert [each["evidence"]["listings"] for each in told] == list(items.columns.listings)


async def test_prices_stand_for_what_upstream_showed_five_minutes_late(items):
    assert items.as_of == ORIGIN_S - UPSTREAM_DELAY_S
    assert set(items.columns.as_of) == {ORIGIN_S - UPSTREAM_DELAY_S}


@pytest.mark.parametrize("key", [HEADHUNTER, HEADHUNTER.upper(), EYE, EYE.casefold(), UNPRICED])
async def test_an_item_is_found_by_its_key_in_any_case(items, key):
    assert items.columns.key[items.find(key)].casefold() == key.casefold()


@pytest.mark.parametrize("key", ["", "unique", f"{HEADHUNTER}|", "zzz", "\ud800", "\U0010ffff"])
async def test_what_is_no_key_is_not_found(items, key):
    assert items.find(key) is None


async def test_of_keys_that_differ_in_case_alone_each_means_itself_and_any_other_spelling_the_first():
    items = await snapshot_of(item("gem|SPARK"), item("gem|Spark"), item("gem|spark"))

    assert [items.columns.key[items.find(key)] for key in ("gem|SPARK", "gem|Spark", "gem|spark", "GEM|spArk")] == [
        "gem|SPARK", "gem|Spark", "gem|spark", "gem|SPARK",
    ]  # fmt: skip


async def test_an_unknown_key_is_met_with_keys_that_may_be_meant(world, items):
    with pytest.raises(NotKnown, match=r"no item 'unique\|Headhuntr") as caught:
        world.ledger.item(items, "unique|Headhuntr|base=Leather Belt")

    assert caught.value.suggestions[0] == HEADHUNTER
    assert world.ledger.item(items, HEADHUNTER) == items.find(HEADHUNTER)


@pytest.mark.parametrize("text", ["x" * 1000, "\ud800", "", "🙂"])
async def test_suggestions_for_nonsense_are_none(items, text):
    assert items.suggest(text) == ()


async def test_the_same_items_are_the_same_snapshot_and_another_value_is_not(items):
    same = await snapshot_of(*reversed(ITEMS))
    other = await snapshot_of(item(HEADHUNTER, 9000.5, 60, change_24h=0.12), *ITEMS[1:])

    assert same.tag == items.tag
    assert other.tag != items.tag


def test_lines_of_several_texts_are_one_sequence_without_braces():
    rows = Rows([b'{"a":1}\n{"b":2}', b"", b'{"c":3}'])

    assert list(rows) == [b'{"a":1', b'{"b":2', b'{"c":3']
    assert (len(rows), rows[1:], rows[:0], len(Rows([]))) == (3, [b'{"b":2', b'{"c":3'], [], 0)
    for out in (-1, 3):
        with pytest.raises(IndexError):
            rows[out]


async def test_what_is_turned_over_most_comes_first_and_what_nobody_can_say_last(items):
    by_turnover = walked(items, Order.TURNOVER, 4)
    by_price = walked(items, Order.CHAOS, 4)

    assert by_turnover[:2] == ["unique|Mageblood|base=Heavy Belt", HEADHUNTER]
    assert by_price[-1] == UNPRICED


async def test_movers_are_ranked_both_ways_and_those_without_a_change_come_last(items):
    gains, losses = walked(items, Order.GAIN_24H, 3), walked(items, Order.LOSS_24H, 3)

    assert gains[0] == HEADHUNTER
    assert losses[0] == "unique|Mageblood|base=Heavy Belt"
    assert gains[-1] == losses[-1] == UNPRICED


async def test_pages_of_what_is_kept_hold_nothing_else(items):
    keep = items.columns.confidence >= 0.5
    found = walked(items, Order.TURNOVER, 2, keep)

    assert len(found) == len(set(found)) == int(keep.sum())
    assert UNPRICED not in found


VALUES = st.one_of(st.none(), st.integers(-3, 3).map(float), st.floats(allow_nan=False, allow_infinity=False))


@given(st.lists(VALUES, max_size=30), st.sampled_from(Order), st.integers(1, 7), st.data())
def test_pages_hold_every_item_once_and_in_order_whatever_their_size(values, order, n, data):
    items = ranked(valued(values))
    everything = keys(items, items.page(order, None, len(values) + 1))
    keep = np.asarray(data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values))), np.bool_)

    assert walked(items, order, n) == everything
    assert sorted(everything) == list(items.columns.key)
    assert walked(items, order, n, keep) == [key for key in everything if keep[items.find(key)]]


@given(st.lists(VALUES, min_size=1, max_size=20), st.integers(1, 5), st.data())
def test_a_cursor_goes_on_in_a_later_snapshot_though_the_item_it_names_is_gone(values, n, data):
    before = valued(values)
    page = ranked(before).page(Order.TURNOVER, None, n)
    gone = data.draw(st.sets(st.sampled_from(list(before)), max_size=3))
    later = ranked({key: value for key, value in before.items() if key not in gone})
    everything = keys(ranked(before), ranked(before).page(Order.TURNOVER, None, len(values)))
    rest = [key for key in everything[len(page.places) :] if key not in gone]

    assert (page.after is None) == (n >= len(values))
    assert page.after is None or keys(later, later.page(Order.TURNOVER, page.after, 50)) == rest


@pytest.mark.parametrize("cursor", [Cursor(None, ""), Cursor(1e308, "zzz"), Cursor(-1e308, "\U0010ffff")])
async def test_any_cursor_at_all_is_a_place_in_the_order(items, cursor):
    for order in Order:
        assert len(items.page(order, cursor, 100).places) <= len(items)


async def test_a_league_without_items_says_where_they_come_from():
    world = World(MARKET)
    await world.load()
    with pytest.raises(NotPricedYet, match="no prices of items in pc/Mirage yet") as caught:
        world.ledger.items("pc", "mirage")

    assert "river-pc" in caught.value.hint


async def test_a_league_with_items_alone_is_known_and_says_that_currencies_are_missing():
    world = World(items=[item(HEADHUNTER)])
    await world.load()

    assert len(world.ledger.items("PC", "mirage")) == 1
    with pytest.raises(NotPricedYet, match="no prices of currencies in pc/Mirage yet"):
        world.ledger.snapshot("pc", "Mirage")


async def test_leagues_of_either_layer_are_known_and_misspelt_ones_suggested(world):
    await world.load(items=[*ITEMS, item(HEADHUNTER, league="Hardcore")])

    assert sorted(world.ledger.markets()["pc"]) == ["Hardcore", "Mirage"]
    with pytest.raises(NotKnown) as caught:
        world.ledger.items("pc", "Hardcor")
    assert caught.value.suggestions == ("Hardcore",)


async def test_where_nothing_moved_a_reload_is_one_query(world):
    asked_before = len(world.engine.asked)
    before = world.ledger.market("pc", "Mirage")
    await world.load()

    assert len(world.engine.asked) == asked_before + 1
    assert world.ledger.market("pc", "Mirage") is before


async def test_only_the_leagues_that_moved_are_loaded(world):
    await world.load(items=[*ITEMS, item(HEADHUNTER, league="Hardcore")])
    asked_before = len(world.engine.asked)
    moved = world.engine.answers["moved"]
    hardcore = [(*row[:3], row[3] + 1, row[4] + 1, 0) for row in moved({}) if row[1] == "Hardcore"]
    world.engine.answers["moved"] = [*(row for row in moved({}) if row[1] == "Mirage"), *hardcore]
    await world.load()

    asked = [params["league"] for sql, params, _ in world.engine.asked[asked_before:] if sql == "items"]
    assert asked == ["Hardcore"]


async def test_new_prices_wait_one_look_for_their_liquidity_and_no_longer(world):
    before = world.ledger.items("pc", "Mirage")
    [row] = [row for row in world.engine.answers["moved"]({}) if row[0] == "items"]
    late = (*row[:3], row[3] + 60_000, row[4], 0)
    world.engine.answers["moved"] = [late]
    await world.load()
    assert world.ledger.items("pc", "Mirage") is before

    await world.load()
    assert world.ledger.items("pc", "Mirage") is not before


async def test_a_load_that_fails_leaves_the_old_prices_in_place_and_is_made_up_for(world):
    before = world.ledger.items("pc", "Mirage")
    working, world.engine.answers["items"] = world.engine.answers["items"], lambda params: fails()

    def fails():
        raise NO_STORE

    with pytest.raises(StoreUnavailable):
        await world.load(rows=[gold(hour_s=HOUR_S + 3600)], items=[item(HEADHUNTER, 1.0)])
    assert world.ledger.items("pc", "Mirage") is before
    assert world.ledger.snapshot("pc", "Mirage").newest_hour_s == HOUR_S + 3600

    world.engine.answers["items"] = working
    await world.load()
    assert len(world.ledger.items("pc", "Mirage")) == 1


async def test_what_is_loaded_is_announced_once_by_league_and_layer(world):
    heard = world.ledger.subscribe()
    await world.load(rows=[gold(hour_s=HOUR_S + 3600)])
    await world.load()
    await world.load(items=[item(HEADHUNTER, as_of_s=int(ORIGIN_S))])
    here = world.ledger.market("pc", "Mirage")

    assert [heard.get_nowait() for _ in range(heard.qsize())] == [
        Announcement("pc", "Mirage", "currency", HOUR_S + 7200, 1, here.currency.tag),
        Announcement("pc", "Mirage", "items", int(ORIGIN_S), 1, here.items.tag),
    ]


async def test_who_does_not_listen_misses_the_oldest_and_who_left_hears_nothing(world):
    slow, gone = world.ledger.subscribe(), world.ledger.subscribe()
    world.ledger.unsubscribe(gone)
    world.ledger.unsubscribe(gone)
    for n in range(ANNOUNCEMENTS_MAX + 2):
        await world.load(items=[item(HEADHUNTER, as_of_s=int(ORIGIN_S) + n)])

    told = [slow.get_nowait().as_of - ORIGIN_S for _ in range(slow.qsize())]
    assert told == list(range(2, ANNOUNCEMENTS_MAX + 2))
    assert gone.empty()


async def test_a_load_of_items_is_in_the_log_for_who_wants_it(world, caplog):
    caplog.set_level(logging.DEBUG, "ledgerd")
    await world.load(items=[item(HEADHUNTER)])

    assert "pc/Mirage: 1 items priced as of 2025-10-09T08:55:00Z" in [record.message for record in caplog.records]


async def test_a_realm_that_is_let_go_of_while_it_loads_comes_back_whole_or_not_at_all(world):
    loading = asyncio.create_task(world.load(items=[item(HEADHUNTER)]))
    await asyncio.sleep(0)
    world.ledger.expect(["xbox"])
    await loading
    world.ledger.expect(["pc"])
    await world.load()

    assert world.ledger.market("pc", "Mirage").currency is not None
    assert len(world.ledger.items("pc", "Mirage")) == 1
