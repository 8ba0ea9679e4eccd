"""What one hour of markets says about values, and how sure that is."""

import gzip
import json
import math
import random
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledgerd.chaos_scale.normalise import Norm, Tick, normalise
from ledgerd.sim.market import Market
from ledgerd.sim.world import CHAOS as CHAOS_ORB
from ledgerd.sim.world import DIVINE as DIVINE_ORB
from ledgerd.sim.world import load_ids

EXCHANGE = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "exchange"
CURRENCIES = Path(__file__).resolve().parents[2] / "schema" / "reference" / "currencies.tsv"
CHAOS, DIVINE = frozenset({"chaos", "M/Chaos"}), frozenset({"divine", "M/Divine"})
FIELDS = ("volume_traded", "lowest_stock", "highest_stock", "lowest_ratio", "highest_ratio")
steady = settings(derandomize=True, deadline=None, max_examples=60, database=None)


def tick(  # noqa: PLR0917 - the columns of a table
    a: str, b: str, volume_a: int, volume_b: int, low: tuple[int, int] = (0, 0), high: tuple[int, int] = (0, 0)
) -> Tick:
    """A market; its ratios are its volumes unless told."""
    low, high = (low, high) if any(low) or any(high) else ((volume_a, volume_b), (volume_a, volume_b))
    return Tick(a, b, volume_a, volume_b, 1, 1, 9, 9, *low, *high)


def price(ticks: Sequence[Tick]) -> dict[str, Norm]:
    return {norm.currency: norm for norm in normalise(ticks, chaos=CHAOS, divine=DIVINE)}


HUBS = [
    tick("chaos", "divine", 2_000_000, 10_000),
    tick("exalted", "divine", 500_000, 5_000),
    tick("exalted", "chaos", 90_000, 180_000),
]


def quotes(item: str, value: float, units: int) -> list[Tick]:
    """An item traded against all three numeraires at its value in chaos."""
    worth = {"chaos": 1.0, "exalted": 2.0, "divine": 200.0}
    return [tick(item, other, units, max(1, round(units * value / unit))) for other, unit in worth.items()]


def sample_market(seed: int, items: int = 150) -> tuple[list[Tick], dict[str, float]]:
    """A market with known values: rough where thin, integer lots, one quote in fifty wrong by 10 to 100 times."""
    rng = random.Random(seed)
    truth = {f"item-{n:03}": math.exp(rng.gauss(2.0, 2.0)) for n in range(items)}
    worth = {"chaos": 1.0, "exalted": 2.0, "divine": 200.0}
    ticks = list(HUBS)
    for item, value in truth.items():
        activity = math.exp(rng.gauss(6.0, 2.0))
        for unit, unit_value in worth.items():
            units = round(activity * math.exp(rng.gauss(0.0, 1.0)) / max(1.0, value / 10))
            fills = max(1, min(units, 20))
            off = rng.gauss(0.0, 0.02 + 0.25 / math.sqrt(fills)) + (
                rng.choice((-1, 1)) * rng.uniform(2.3, 4.6) if rng.random() < 0.02 else 0
            )
            rate = value / unit_value * math.exp(off)
            mine, other = (units, round(units * rate))
            if mine and other:
                ticks.append(
                    tick(
                        item, unit, mine, other, (mine, max(1, round(other / 1.1))), (mine, max(1, round(other * 1.1)))
                    )
                )
    return ticks, truth


def test_no_ticks_make_no_rows() -> None:
    assert normalise([], chaos=CHAOS, divine=DIVINE) == []


def test_a_chain_of_markets_prices_in_chaos_and_divine() -> None:
    norm = price([*HUBS, tick("scarab", "exalted", 1000, 3000)])["scarab"]

    assert norm.chaos_value == pytest.approx(6.0, rel=0.05)  # in cheaper money a thing reads cheap; that is made good
    assert norm.divine_value == pytest.approx(0.03, rel=0.05)
    assert (norm.units, norm.markets) == (1000, 1)
    assert norm.value_traded == pytest.approx(1000 * norm.chaos_value, rel=1e-5)


def test_the_orbs_are_worth_exactly_themselves() -> None:
    norms = price(HUBS)

    assert (norms["chaos"].chaos_value, norms["divine"].divine_value) == (1.0, 1.0)
    assert norms["chaos"].confidence == 1.0


def test_what_no_chain_joins_to_the_orbs_has_no_value_and_no_confidence() -> None:
    norm = price([*HUBS, tick("lonely", "island", 500, 500)])["lonely"]

    assert (norm.chaos_value, norm.divine_value, norm.value_traded) == (None, None, None)
    assert (norm.confidence, norm.low_sample, norm.units) == (0.0, True, 500)


def test_without_divine_everything_is_priced_in_chaos() -> None:
    norm = price([tick("fossil", "chaos", 4000, 20_000)])["fossil"]

    assert norm.chaos_value == pytest.approx(5.0, rel=0.02)
    assert norm.divine_value is None
    assert norm.confidence > 0.3


def test_chaos_and_divine_apart_price_their_own_sides() -> None:
    norms = price([tick("fossil", "chaos", 4000, 20_000), tick("card", "divine", 40, 80)])

    assert (norms["fossil"].divine_value, norms["card"].chaos_value) == (None, None)
    assert norms["card"].divine_value == pytest.approx(2.0, rel=0.05)
    assert norms["card"].confidence > 0.0


def test_tag_and_metadata_id_of_an_orb_are_one_currency() -> None:
    norms = price(
        [
            tick("chaos", "M/Divine", 2_000_000, 10_000),
            tick("fossil", "M/Chaos", 100, 500),
            tick("card", "divine", 40, 80),
        ]
    )

    assert set(norms) == {"M/Chaos", "M/Divine", "card", "fossil"}
    assert norms["fossil"].divine_value == pytest.approx(0.025, rel=0.12)


@pytest.mark.parametrize(
    "ticks",
    [
        [tick("a", "chaos", 0, 0)],
        [tick("chaos", "chaos", 5, 5)],
        [tick("chaos", "M/Chaos", 5, 5)],
        [tick("a", "chaos", 0, 7)],
    ],
)
def test_a_market_that_traded_nothing_or_against_itself_makes_no_row(ticks: list[Tick]) -> None:
    assert price(ticks) == {}


def test_lowest_and_highest_the_wrong_way_round_change_nothing() -> None:
    one = tick("scarab", "chaos", 100, 550, (1, 6), (1, 5))
    two = tick("scarab", "chaos", 100, 550, (1, 5), (1, 6))

    assert price([*HUBS, one]) == price([*HUBS, two])


def test_the_same_market_the_other_way_round_changes_nothing() -> None:
    assert price([*HUBS, tick("scarab", "chaos", 100, 550)]) == price([*HUBS, tick("chaos", "scarab", 550, 100)])


def test_a_tick_repeated_counts_once() -> None:
    assert price([*HUBS, *HUBS]) == price(HUBS)


def test_two_reports_of_one_pair_are_added_up() -> None:
    norm = price([*HUBS, tick("scarab", "chaos", 100, 500), tick("scarab", "chaos", 300, 1500)])["scarab"]

    assert (norm.units, norm.markets) == (400, 1)


def test_volume_without_a_ratio_still_prices_less_surely() -> None:
    whole = price([*HUBS, tick("scarab", "chaos", 900, 4500)])["scarab"]
    bare = price([*HUBS, Tick("scarab", "chaos", 900, 4500, 0, 0, 0, 0, 0, 0, 0, 0)])["scarab"]

    assert bare.chaos_value == pytest.approx(5.0, rel=0.1)
    assert bare.confidence < whole.confidence


@pytest.mark.parametrize("wrong_by", [1000, 100, 10, 0.1, 0.01, 0.001])
@pytest.mark.parametrize("unit", ["chaos", "exalted", "divine"])
def test_one_absurd_market_does_not_move_a_well_connected_currency(wrong_by: float, unit: str) -> None:
    honest = [one for one in quotes("scarab", 20.0, 2000) if one.b != unit]
    worth = {"chaos": 1.0, "exalted": 2.0, "divine": 200.0}[unit]
    absurd = tick("scarab", unit, 400, max(1, round(400 * 20.0 * wrong_by / worth)))
    norm = price([*HUBS, *honest, absurd])["scarab"]

    assert norm.chaos_value == pytest.approx(20.0, rel=0.05)


@pytest.mark.parametrize("wrong_by", [1000, 10, 0.1, 0.001])
def test_an_absurd_market_between_items_moves_neither_nor_the_hubs(wrong_by: float) -> None:
    absurd = tick("scarab", "essence", 3000, max(1, round(3000 * 20 / 5 * wrong_by)))
    norms = price([*HUBS, *quotes("scarab", 20.0, 2000), *quotes("essence", 5.0, 5000), absurd])

    assert norms["scarab"].chaos_value == pytest.approx(20.0, rel=0.05)
    assert norms["essence"].chaos_value == pytest.approx(5.0, rel=0.05)
    assert norms["divine"].chaos_value == pytest.approx(200.0, rel=0.01)


def test_a_hundred_thin_markets_do_not_move_the_rate_between_deep_ones() -> None:
    thin = [one for n in range(100) for one in (tick(f"i{n}", "exalted", 9, 45), tick(f"i{n}", "divine", 90, 1))]

    assert price([*HUBS, *thin])["exalted"].chaos_value == pytest.approx(2.0, rel=0.02)


def test_disagreement_between_markets_costs_confidence() -> None:
    agreed = price([*HUBS, *quotes("scarab", 20.0, 2000)])["scarab"]
    torn = price([*HUBS, quotes("scarab", 20.0, 2000)[0], tick("scarab", "divine", 2000, 400)])["scarab"]

    assert agreed.confidence > 0.9
    assert torn.confidence < 0.8


def test_confidence_rises_with_volume_and_falls_with_range() -> None:
    few, many = (price([*HUBS, tick("scarab", "chaos", n, 5 * n)])["scarab"].confidence for n in (10, 10_000))
    wide = price([*HUBS, tick("scarab", "chaos", 10_000, 50_000, (1, 1), (1, 20))])["scarab"].confidence

    assert few < 0.5 < many
    assert wide < many


def test_the_error_it_knows_of_falls_with_volume_is_none_without_a_value_and_nothing_for_chaos() -> None:
    few, many = (price([*HUBS, tick("scarab", "chaos", n, 5 * n)])["scarab"].log_sd for n in (10, 10_000))
    lonely = price([*HUBS, tick("lonely", "island", 500, 500)])["lonely"].log_sd

    assert 0.01 < many < few / 3
    assert (lonely, price(HUBS)["chaos"].log_sd) == (None, 0.0)


def test_spread_is_the_range_of_rates() -> None:
    assert price([*HUBS, tick("scarab", "chaos", 100, 550, (1, 6), (1, 5))])["scarab"].spread == pytest.approx(
        0.2, abs=0.001
    )
    assert price(HUBS)["chaos"].spread == 0.0


def test_a_low_sample_is_under_ten_units_or_five_divines() -> None:
    norms = price(
        [*HUBS, tick("mirror", "divine", 9, 9000), tick("scrap", "chaos", 900, 9), tick("card", "divine", 10, 10)]
    )

    assert [norms[item].low_sample for item in ("mirror", "scrap", "card")] == [True, True, False]


def test_the_order_of_ticks_changes_no_bit() -> None:
    ticks, _ = sample_market(7)
    expected = normalise(ticks, chaos=CHAOS, divine=DIVINE)
    for seed in range(5):
        random.Random(seed).shuffle(ticks)

        assert repr(normalise(ticks, chaos=CHAOS, divine=DIVINE)) == repr(expected)


def test_confidence_of_eight_tenths_keeps_its_word_on_a_market_with_known_values() -> None:
    sure, wide, right = 0, 0, 0
    for seed in range(6):
        ticks, truth = sample_market(seed)
        norms = price(ticks)
        busy = [norms[item] for item in truth if item in norms and norms[item].units >= 100]
        chosen = [norms[item] for item in truth if item in norms and norms[item].confidence >= 0.8]
        wide += len(busy)
        sure += sum(norm.confidence >= 0.8 for norm in busy)
        right += sum(abs(norm.chaos_value / truth[norm.currency] - 1) <= 0.15 for norm in chosen) / len(chosen) / 6

    assert right >= 0.95
    assert sure / wide >= 0.6


@cache
def stand_in(realm: str, league: str) -> tuple[tuple[Norm, bool], ...]:
    """What the biggest league of a realm is priced at, on seeds and hours nothing was fitted to; is it within 15 %?"""
    ids, found = load_ids(CURRENCIES, "poe2" if realm == "poe2" else "poe1"), []
    for seed in (4101, 4102, 4103):
        market, hour = Market(seed, realm, ids), 1_798_002_000 + 3600 * 31 * (seed % 100)
        truth = market.truth(league, hour)
        ticks = ticks_of(market.hour(hour)["markets"], league)
        norms = normalise(ticks, chaos=frozenset({CHAOS_ORB}), divine=frozenset({DIVINE_ORB}))
        found += [
            (norm, abs(norm.chaos_value / truth[norm.currency] - 1) <= 0.15)
            for norm in norms
            if norm.chaos_value and norm.currency not in {CHAOS_ORB, DIVINE_ORB}
        ]
    return tuple(found)


BIGGEST = {"pc": "Allflame", "poe2": "Runes of Aldur"}


def test_in_unseen_hours_of_the_stand_in_eight_tenths_means_nineteen_of_twenty_within_fifteen_percent() -> None:
    sure = {
        realm: [right for norm, right in stand_in(realm, league) if norm.confidence >= 0.8]
        for realm, league in BIGGEST.items()
    }
    all_sure = [right for some in sure.values() for right in some]

    assert len(all_sure) >= 600
    assert sum(all_sure) / len(all_sure) >= 0.95
    assert all(sum(some) / len(some) >= 0.93 for some in sure.values())


@pytest.mark.parametrize(("realm", "reach"), [("pc", 0.45), ("poe2", 0.36)])
def test_in_unseen_hours_of_the_stand_in_near_half_of_what_sells_a_hundred_units_is_sure(
    realm: str, reach: float
) -> None:
    """60 % is wanted. No order of them gives that at 95 % within 15 %: see docs/chaos-scale.md."""
    busy = [norm.confidence >= 0.8 for norm, _ in stand_in(realm, BIGGEST[realm]) if norm.units >= 100]

    assert sum(busy) / len(busy) >= reach


@pytest.mark.parametrize("realm", BIGGEST)
def test_confidence_is_what_happens(realm: str) -> None:
    rows = stand_in(realm, BIGGEST[realm])
    for low, high in ((0.0, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 1.01)):
        band = [(norm.confidence, right) for norm, right in rows if low <= norm.confidence < high]
        stated, true = sum(one for one, _ in band) / len(band), sum(right for _, right in band) / len(band)

        assert true == pytest.approx(stated, abs=0.08)


def test_confidence_sorts_at_least_as_well_as_value_traded() -> None:
    by_confidence, by_value = [], []
    for seed in range(6):
        ticks, truth = sample_market(seed)
        norms = [norm for norm in price(ticks).values() if norm.currency in truth and norm.chaos_value]
        half = len(norms) // 2
        for errors, key in (
            (by_confidence, lambda norm: -norm.confidence),
            (by_value, lambda norm: -(norm.value_traded or 0)),
        ):
            errors += [abs(math.log(norm.chaos_value / truth[norm.currency])) for norm in sorted(norms, key=key)[:half]]

    assert sum(error > 0.15 for error in by_confidence) <= sum(error > 0.15 for error in by_value)


names = st.sampled_from(["chaos", "divine", "M/Chaos", "exalted", "a", "b", "c", "", "Ω"])
amounts = st.one_of(st.integers(-3, 3), st.integers(0, 500), st.sampled_from([10**9, 10**18, 10**30]))
ticks_of_any_kind = st.lists(st.builds(Tick, names, names, *[amounts] * 10), max_size=25)


@steady
@given(ticks_of_any_kind, st.randoms(use_true_random=False))
def test_hostile_ticks_never_raise_and_never_make_nonsense(ticks: list[Tick], rng: random.Random) -> None:
    norms = normalise(ticks, chaos=CHAOS, divine=DIVINE)
    shuffled = list(ticks)
    rng.shuffle(shuffled)

    assert [norm.currency for norm in norms] == sorted({norm.currency for norm in norms})
    assert normalise(shuffled, chaos=CHAOS, divine=DIVINE) == norms
    for norm in norms:
        assert 0.0 <= norm.confidence <= 1.0
        assert norm.units > 0
        assert norm.markets > 0
        assert math.isfinite(norm.spread)
        assert norm.spread >= 0.0
        for value in (norm.chaos_value, norm.divine_value, norm.value_traded):
            assert value is None or (math.isfinite(value) and value > 0.0)
        is_valued = norm.chaos_value is not None or norm.divine_value is not None
        assert (norm.log_sd is not None) == is_valued
        assert norm.log_sd is None or 0.0 <= norm.log_sd < math.inf


@steady
@given(st.floats(0.01, 1e5), st.integers(100, 10**6))
def test_a_well_quoted_item_comes_out_at_its_value(value: float, units: int) -> None:
    worth = {"chaos": 1.0, "exalted": 2.0, "divine": 200.0}
    ticks = [
        tick("x", other, units * 1000, max(1, round(units * 1000 * value / unit))) for other, unit in worth.items()
    ]

    assert price([*HUBS, *ticks])["x"].chaos_value == pytest.approx(value, rel=0.03)


@pytest.mark.skipif(not EXCHANGE.is_dir(), reason="../shared/data/exchange not present")
def test_recorded_hours_agree_within_fifteen_percent_where_confidence_is_high() -> None:
    one, two = (recorded(hour, "Runes of Aldur") for hour in ("1787086800", "1787090400"))
    both = [(one[id_], two[id_]) for id_ in one if id_ in two and one[id_].confidence >= 0.8]
    near = sum(abs(a.divine_value / b.divine_value - 1) <= 0.15 for a, b in both)

    assert len(both) >= 80
    assert near / len(both) >= 0.95


def recorded(hour: str, league: str) -> dict[str, Norm]:
    """One league of a recorded hour, priced."""
    prefix = "Metadata/Items/Currency/"
    body = gzip.decompress((EXCHANGE / f"poe2-{hour}.json.gz").read_bytes())
    ticks = ticks_of(json.loads(body)["markets"], league)
    norms = normalise(
        ticks, chaos=frozenset({f"{prefix}CurrencyRerollRare"}), divine=frozenset({f"{prefix}CurrencyModValues"})
    )
    return {norm.currency: norm for norm in norms}


def ticks_of(markets: Iterable[dict], league: str) -> list[Tick]:
    """One league's markets of a digest."""
    found = []
    for market in markets:
        if market["league"] == league:
            a, b = market["market_pair"]
            found.append(Tick(a, b, *[market[field][id_] for field in FIELDS for id_ in (a, b)]))
    return found
