"""What the ledger holds, by which names it is found, and when it changes."""

import asyncio
import doctest
import logging

import orjson
import pytest

from ledgerd.errors import NotKnown, NotPricedYet, StoreUnavailable
from ledgerd.ledger import snapshot as snapshot_module
from ledgerd.ledger.snapshot import Snapshot, conversion
from ledgerd.spelling import nearest
from tests.prices import CHAOS, DIVINE, EXALTED, HOUR_S, MARKET, MIRROR, NO_STORE, REFERENCE, STRANGE, World, gold


def loaded(*rows, realm="pc"):
    return Snapshot.of_rows(realm, "Mirage", [row[1:] for row in rows], REFERENCE)


@pytest.fixture
async def world():
    world = World(MARKET)
    await world.load()
    return world


@pytest.mark.parametrize("text", [DIVINE, DIVINE.upper(), "divine", "DIVINE", "Divine Orb", "divine orb", "div"])
def test_a_currency_is_found_by_id_tag_name_and_alias_in_any_case(text):
    assert loaded(*MARKET).find(text).id == DIVINE


def test_prices_are_ordered_by_what_was_traded():
    expected = [DIVINE, CHAOS, EXALTED, STRANGE]

    assert [price.id for price in loaded(*reversed(MARKET)).prices] == expected


def test_an_id_the_reference_table_lacks_is_priced_under_a_readable_label():
    strange = loaded(*MARKET).find(STRANGE)

    assert (strange.name, strange.tag, strange.is_known, strange.chaos) == ("Currency Nobody Knows", None, False, 0.02)


@pytest.mark.parametrize(
    ("realm", "expected"), [("pc", "Metadata/One"), ("sony", "Metadata/One"), ("poe2", "Metadata/Two")]
)
def test_a_tag_two_games_share_means_the_currency_of_the_realms_game(realm, expected):
    both = loaded(gold("Metadata/One"), gold("Metadata/Two"), realm=realm)

    assert both.find("splinter").id == expected


def test_a_name_that_belongs_to_an_unpriced_currency_is_not_answered_with_another_ones_price():
    unknown = "Metadata/Items/Currency/ExaltedOrb"
    priced = loaded(gold(unknown))

    assert priced.find(unknown).name == "Exalted Orb"
    assert priced.find("Exalted Orb") is None


def test_the_same_rows_in_another_order_are_the_same_snapshot_and_another_value_is_not():
    expected = loaded(*MARKET).tag

    assert loaded(*reversed(MARKET)).tag == expected
    assert loaded(*MARKET[1:], gold(DIVINE, chaos=150.01)).tag != expected


def test_the_age_of_a_league_is_its_newest_hours_and_a_price_keeps_its_own():
    mixed = loaded(gold(DIVINE), gold(CHAOS, hour_s=HOUR_S - 7200))

    assert mixed.as_of == HOUR_S + 3600
    assert mixed.find("chaos").as_of == HOUR_S - 3600


@pytest.mark.parametrize(
    ("typed", "expected"), [("divin", "Divine Orb"), ("exlated", "Exalted Orb"), ("chaos ord", "Chaos Orb")]
)
def test_a_misspelt_currency_is_met_with_the_name_that_was_meant(typed, expected):
    assert loaded(*MARKET).suggest(typed)[0] == expected


def test_spellings_that_are_near_come_the_nearest_first_and_once_each():
    assert nearest("exalt", ["Exalted", "Exalter", "Exile", "Alteration", "exalt"])[0] == "exalt"
    assert nearest("standart", ["Standard", "STANDARD", "Hardcore"]) == ("STANDARD",)
    assert nearest("\ud800", ["Standard"]) == ()


def test_a_price_tells_how_liquid_its_currency_is():
    told = orjson.loads(loaded(*MARKET).find("divine").json_head + b"}")

    expected = {"turnover_24h": 135_000.0, "sell_through": 0.9, "time_to_sell_s": 9600.0, "spread": 0.01}
    assert told["liquidity"] == expected


def test_an_amount_is_converted_at_the_two_prices_and_is_as_old_as_the_older():
    market = loaded(*MARKET[:2], gold(EXALTED, HOUR_S - 3600, chaos=12.5, confidence=0.6))
    found = conversion(market, 3.0, market.find("divine"), market.find("exalted"))

    assert (found.rate, found.result) == (12.0, 36.0)
    assert found.confidence == pytest.approx(0.97 * 0.6)
    assert found.as_of == HOUR_S


def test_a_currency_is_worth_itself_for_sure():
    market = loaded(*MARKET, gold("Metadata/NoValue", chaos=None, confidence=0.0))
    for name in ("exalted", "Metadata/NoValue"):
        same = conversion(market, 2.5, market.find(name), market.find(name))
        assert (same.rate, same.result, same.confidence) == (1.0, 2.5, 1.0)


@pytest.mark.parametrize("value", [None, 0.0])
def test_what_has_no_value_cannot_be_converted(value):
    market = loaded(*MARKET, gold(MIRROR, chaos=value))
    for pair in (("mirror", "divine"), ("divine", "mirror")):
        with pytest.raises(NotKnown, match="what Mirror of Kalandra is worth in pc/Mirage"):
            conversion(market, 1.0, *map(market.find, pair))


def test_a_text_longer_than_any_name_is_not_compared_at_all():
    assert loaded(*MARKET).suggest("divine" * 100) == ()


async def test_before_the_first_rows_every_question_is_answered_with_not_yet():
    world = World()
    await world.load()

    assert not world.ledger.is_priced
    with pytest.raises(NotPricedYet):
        world.ledger.snapshot("pc", "Mirage")


async def test_realms_and_leagues_are_found_in_any_case(world):
    assert world.ledger.snapshot("PC", "mirage").league == "Mirage"


@pytest.mark.parametrize(("realm", "league", "expected"), [("cp", "Mirage", ("pc",)), ("pc", "Mirrage", ("Mirage",))])
async def test_a_misspelt_realm_or_league_is_met_with_the_near_one(world, realm, league, expected):
    with pytest.raises(NotKnown) as caught:
        world.ledger.snapshot(realm, league)

    assert caught.value.suggestions == expected


async def test_a_known_currency_without_a_price_is_told_apart_from_an_unknown_one(world):
    here = world.ledger.snapshot("pc", "Mirage")
    with pytest.raises(NotKnown, match="Mirror of Kalandra has had no price"):
        world.ledger.price(here, "mirror")
    with pytest.raises(NotKnown, match="no currency named 'divin'") as caught:
        world.ledger.price(here, "divin")

    assert caught.value.suggestions[0] == "Divine Orb"
    assert world.ledger.currency_id(here, "mirror") == MIRROR


async def test_a_reload_that_fails_leaves_the_old_prices_in_place(world):
    world.engine.error = NO_STORE
    with pytest.raises(StoreUnavailable):
        await world.load()

    assert world.ledger.snapshot("pc", "Mirage").find("divine").chaos == 150.0


async def test_a_reload_asks_only_for_the_last_days_and_keeps_leagues_without_news(world):
    await world.load(rows=[gold(DIVINE, HOUR_S + 3600, league="Standard")])
    (_, look, _), (_, load, _) = world.engine.asked[-2:]

    assert look == {"realm": "pc", "since": HOUR_S - 7 * 86400, "items_since": 0}
    assert load == {"realm": "pc", "since": HOUR_S + 3600, "leagues": ["Standard"]}
    assert sorted(world.ledger.markets()["pc"]) == ["Mirage", "Standard"]


async def test_a_reader_sees_a_realm_wholly_old_or_wholly_new(world):
    before = world.ledger.markets()["pc"]
    newer = [gold(DIVINE, HOUR_S + 3600), gold(DIVINE, HOUR_S + 3600, league="Standard")]
    await asyncio.gather(world.load(rows=newer), world.load(rows=newer))

    assert [market.currency.newest_hour_s for market in before.values()] == [HOUR_S]
    after = world.ledger.markets()["pc"].values()
    assert [market.currency.newest_hour_s for market in after] == [HOUR_S + 3600] * 2


async def test_priced_is_said_once_for_each_new_hour_of_a_league(world, caplog):
    caplog.set_level(logging.INFO, "ledgerd")
    await world.load()
    await world.load(rows=[gold(DIVINE, HOUR_S + 3600)])
    await world.load()

    expected = "pc/Mirage: 1 currencies priced as of 2025-10-09T10:00:00Z; 1 divine = 150 chaos"
    assert [record.message for record in caplog.records] == [expected]


async def test_a_realm_no_longer_expected_lets_go_of_its_prices_and_a_new_one_is_known_while_empty(world):
    world.ledger.expect(["xbox"])
    assert dict(world.ledger.markets()) == {"xbox": {}}

    world.ledger.expect(["pc", "xbox"])
    await world.load()
    with pytest.raises(NotPricedYet, match="realm xbox"):
        world.ledger.snapshot("xbox", "Mirage")


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(snapshot_module).failed == 0
