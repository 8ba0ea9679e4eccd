"""The made market: its shape is upstream's, its hours are a function of their names, its prices are near the truth."""

import math
import statistics
from functools import cache
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledgerd.sim.market import Market
from ledgerd.sim.world import CHAOS, DIVINE, EXALTED, REALMS, builtin_ids, load_codes, load_ids

HOUR = 1_787_086_800
BIG = {"pc": "Allflame", "poe2": "Runes of Aldur"}
TABLES = ("volume_traded", "lowest_stock", "highest_stock", "lowest_ratio", "highest_ratio")


@cache
def market(realm="poe2", seed=7):
    return Market(seed, realm)


@cache
def digest(realm="poe2", hour=HOUR):
    return market(realm).hour(hour)


def of_league(page, league):
    return [m for m in page["markets"] if m["league"] == league]


def traded(markets):
    return [m for m in markets if any(m["volume_traded"].values())]


def price(m, table):
    first, second = m["market_pair"]
    return m[table][first] / m[table][second]


@pytest.mark.parametrize("realm", REALMS)
def test_every_market_has_the_shape_upstream_gives_it(realm):
    page = digest(realm)

    assert list(page) == ["next_change_id", "markets"]
    assert page["next_change_id"] == HOUR + 3600
    for m in page["markets"]:
        assert list(m) == ["league", "market_id", "market_pair", *TABLES]
        assert m["market_id"] == "|".join(m["market_pair"])
        assert all(list(m[table]) == m["market_pair"] for table in TABLES)
        assert all(type(n) is int and n >= 0 for table in TABLES for n in m[table].values())


def test_the_same_arguments_give_the_same_bytes_whatever_was_asked_before():
    fresh = Market(7, "poe2")
    fresh.hour(HOUR - 5000 * 3600)

    assert orjson.dumps(fresh.hour(HOUR)) == orjson.dumps(digest())


def test_another_seed_realm_or_hour_is_another_market():
    bodies = {
        orjson.dumps(page)
        for page in (
            digest(),
            digest("pc"),
            digest("xbox"),
            digest("sony"),
            digest(hour=HOUR + 3600),
            market(seed=8).hour(HOUR),
        )
    }

    assert len(bodies) == 6


def test_markets_keep_one_order_and_leagues_stand_together():
    page, later = digest(), digest(hour=HOUR + 3600)
    runs = list(dict.fromkeys(m["league"] for m in page["markets"]))
    places = {(m["league"], m["market_id"]): n for n, m in enumerate(page["markets"])}
    shared = [places[key] for m in later["markets"] if (key := (m["league"], m["market_id"])) in places]

    assert runs == [m for m in market().leagues if m in runs]
    assert shared == sorted(shared)
    assert len(places) == len(page["markets"])


@pytest.mark.parametrize("realm", REALMS)
def test_a_pair_trades_on_one_market_only(realm):
    pairs = [(m["league"], frozenset(m["market_pair"])) for m in digest(realm)["markets"]]

    assert len(pairs) == len(set(pairs))


@pytest.mark.parametrize("realm", REALMS)
def test_volumes_lie_between_the_lowest_and_the_highest_ratio(realm):
    for m in traded(digest(realm)["markets"]):
        assert (
            price(m, "lowest_ratio") * (1 - 1e-9) <= price(m, "volume_traded") <= price(m, "highest_ratio") * (1 + 1e-9)
        )
        assert all(math.gcd(*m[table].values()) == 1 for table in ("lowest_ratio", "highest_ratio"))


@pytest.mark.parametrize("realm", REALMS)
def test_a_market_without_trades_has_zeros_for_ratios_and_usually_stock(realm):
    idle = [m for m in digest(realm)["markets"] if not any(m["volume_traded"].values())]

    assert all(n == 0 for m in idle for table in ("lowest_ratio", "highest_ratio") for n in m[table].values())
    assert statistics.mean(any(m["highest_stock"].values()) for m in idle) > 0.8
    assert all(m["lowest_stock"][c] <= m["highest_stock"][c] for m in idle for c in m["market_pair"])


def test_the_noise_is_that_of_the_recorded_hours():
    """The recorded figures are 0.20, 0.95, 0.39 and 0.65; the bounds leave room for the shorter list of currencies."""
    here, later = (of_league(digest(hour=hour), BIG["poe2"]) for hour in (HOUR, HOUR + 3600))
    moved = traded(here)
    ones = [min(m[table].values()) == 1 for m in moved for table in ("lowest_ratio", "highest_ratio")]
    ids, later_ids = ({m["market_id"] for m in page} for page in (here, later))

    assert 0.12 < 1 - len(moved) / len(here) < 0.3
    assert statistics.mean(ones) > 0.9
    assert 0.25 < statistics.mean(m["lowest_ratio"] == m["highest_ratio"] for m in moved) < 0.5
    assert 0.5 < len(ids & later_ids) / len(ids | later_ids) < 0.8


def test_noise_follows_the_value_traded_and_not_the_units():
    """Recorded medians of how far two markets of one thing disagree: 0.37, 0.14 and 0.05, at any number of units."""
    off = {(decade, many): [] for decade in (1, 2, 3) for many in (True, False)}
    for seed in (7, 8):
        truth = market(seed=seed).truth(BIG["poe2"], HOUR)
        for m in traded(of_league(market(seed=seed).hour(HOUR), BIG["poe2"])):
            first, second = m["market_pair"]
            error = abs(math.log(price(m, "volume_traded") * truth[first] / truth[second]))
            decade = int(math.log10(max(1.0, min(m["volume_traded"][c] * truth[c] for c in (first, second)))))
            off.get((decade, min(m["volume_traded"].values()) >= 20), []).append(error)
    middle = {key: statistics.median(errors) for key, errors in off.items()}

    for many in (True, False):
        assert middle[1, many] > 1.5 * middle[2, many] > 2.5 * middle[3, many]
    for decade in (1, 2, 3):
        assert 0.4 < middle[decade, True] / middle[decade, False] < 2.5


@pytest.mark.parametrize("realm", ["pc", "poe2"])
def test_deep_markets_are_near_the_truth_and_thin_ones_are_not(realm):
    truth = market(realm).truth(BIG[realm], HOUR)
    off = {True: [], False: []}
    for m in traded(of_league(digest(realm), BIG[realm])):
        first, second = m["market_pair"]
        error = abs(math.log(price(m, "volume_traded") * truth[first] / truth[second]))
        off[min(m["volume_traded"].values()) >= 100].append(error)

    assert statistics.median(off[True]) < 0.08
    assert statistics.median(off[False]) > 0.08
    assert max(off[False]) > 1.5


def test_the_truth_is_in_chaos_and_moves_slowly():
    now, soon = (market().truth(BIG["poe2"], hour) for hour in (HOUR, HOUR + 3600))
    steps = [abs(math.log(soon[c] / now[c])) for c in now]

    assert now[CHAOS] == soon[CHAOS] == 1.0
    assert 4 < now[DIVINE] < 25
    assert 0.01 < now[EXALTED] < 0.15
    assert min(now.values()) < 0.02
    assert max(now.values()) > 5000
    assert 0.001 < statistics.median(steps) < 0.04
    assert max(steps) < 0.5


def test_the_leagues_of_a_realm_differ_in_size_and_one_is_private():
    sizes = {league: len(of_league(digest("poe2"), league)) for league in market().leagues}

    assert len(sizes) >= 4
    assert max(sizes, key=sizes.get) == "Runes of Aldur"
    assert any("(PL" in league and 0 < sizes[league] < 100 for league in sizes)


def test_old_hours_are_written_in_trade_codes():
    both = Market(7, "pc", codes_before=HOUR, codes={DIVINE: "divine"})
    old, new = both.hour(HOUR - 3600), both.hour(HOUR)

    assert any(m["market_id"] == "chaos|divine" for m in old["markets"])
    assert any(m["market_id"] == f"{CHAOS}|{DIVINE}" for m in new["markets"])
    assert DIVINE in both.truth("Allflame", HOUR - 3600)


def test_given_currencies_are_traded_and_too_many_are_thinned():
    ids = [f"Metadata/Items/Currency/Made{n}" for n in range(2000)]
    thinned = Market(1, "poe2", ids).currencies

    assert {CHAOS, DIVINE, EXALTED} < set(thinned)
    assert len(thinned) == 660
    assert set(thinned) - {CHAOS, DIVINE, EXALTED} < set(ids)


def test_unknown_realms_and_leagues_are_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="expected one of pc, xbox, sony, poe2"):
        Market(1, "switch")
    with pytest.raises(ValueError, match="Runes of Aldur"):
        market().truth("Legion", HOUR)


def test_a_reference_table_gives_each_game_its_own_currencies(tmp_path: Path):
    table = tmp_path / "currencies.tsv"
    table.write_text("metadata_id\ttrade_tag\tgame\nM/A\ta\tpoe1\nM/C\tc\tboth\nM/D\t\tpoe2\n")

    assert load_ids(table, "poe1") == ("M/A", "M/C")
    assert load_ids(table, "poe2") == ("M/C", "M/D")
    assert load_codes(table) == {"M/A": "a", "M/C": "c"}


def test_a_table_without_the_columns_or_the_game_is_refused(tmp_path: Path):
    table = tmp_path / "currencies.tsv"
    table.write_text("id\tname\nM/A\tA\n")
    with pytest.raises(ValueError, match="metadata_id and game"):
        load_ids(table, "poe1")
    table.write_text("metadata_id\tgame\nM/A\tpoe1\n")
    with pytest.raises(ValueError, match="no currency of poe2"):
        load_ids(table, "poe2")


def test_there_are_several_hundred_currencies_without_a_table():
    assert all(len(set(builtin_ids(game))) > 200 for game in ("poe1", "poe2"))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**63), hour=st.integers(0, 1_200_000))
def test_any_hour_of_any_seed_can_be_asked_for(seed, hour):
    small = Market(seed, "sony", [CHAOS, "Metadata/Items/Currency/CurrencyCorrupt"])

    assert small.hour(hour * 3600)["next_change_id"] == (hour + 1) * 3600
    assert all(v > 0 for v in small.truth("Standard", hour * 3600).values())
