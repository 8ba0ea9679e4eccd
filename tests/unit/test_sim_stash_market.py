"""The stash market: known true prices, honest and hostile sellers, real sales, items as upstream writes them."""

import re
from collections import Counter
from dataclasses import replace
from random import Random
from statistics import median

import numpy as np
import orjson
import pytest

from ledgerd.sim import hashes, noise
from ledgerd.sim.goods import catalogue
from ledgerd.sim.items import roll, template
from ledgerd.sim.notes import CURRENCIES, SKIP, amount, note
from ledgerd.sim.sellers import ABANDONED, BY_TAB, HONEST
from ledgerd.sim.stash_market import StashMarket
from ledgerd.sim.world import DIVINE

T = 1_787_088_600.0
HOUR_S = 3600.0


@pytest.fixture(scope="module")
def market():
    return StashMarket(7, "pc")


def stays(market, at_s, count=3000, first=0):
    numbers = np.arange(first, first + count, dtype=np.uint64)
    tabs = market.sellers.tabs(numbers, np.full(count, at_s))
    return tabs, market.listings(tabs)


def by_key(listings, keep):
    return {int(key): n for n, key in enumerate(listings.key) if keep[n]}


def test_columns_of_noise_are_the_noise_itself():
    keys = [noise.key_of(n) for n in range(50)]
    column = np.array(keys, dtype=np.uint64)

    assert hashes.mix(column, 9).tolist() == [noise.mix(key, 9) for key in keys]
    assert hashes.uniform(column, 9).tolist() == [noise.uniform(key, 9) for key in keys]
    assert hashes.normal(column, 9).tolist() == pytest.approx([noise.normal(key, 9) for key in keys])
    assert hashes.spread(column, column).tolist() == [noise.mix(key, key) for key in keys]


def test_a_market_is_its_seed():
    one, same, other = (stays(StashMarket(seed, "pc"), T, 200)[1] for seed in (7, 7, 8))

    assert one.key.tolist() == same.key.tolist()
    assert one.ask_chaos.tolist() == same.ask_chaos.tolist()
    assert one.key.tolist() != other.key.tolist()


def test_identities_cover_what_one_price_can_stand_for():
    kinds = catalogue()
    parts = Counter(part for kind in kinds for part in kind.identity)

    assert len({kind.key for kind in kinds}) == len(kinds) > 1000
    assert set(parts) >= {
        "links", "corrupted", "foulborn", "foil", "replica", "variant", "unidentified", "level", "quality", "tier",
        "blighted", "ravaged", "ilvl", "influences", "synthesised", "fractured", "enchant", "passives",
    }  # fmt: skip
    assert all((kind.price == 0) == (kind.identity["class"] in {"rare", "magic"}) for kind in kinds)


def test_every_item_is_compact_json_in_both_shapes():
    for n in range(len(catalogue())):
        for is_objects in (True, False):
            *parts, rest, last = template(n, 1, is_objects)
            filled = b"".join(
                part + text for part, text in zip(parts, (b'"L"', b"ab", b'"note":"x",', b'"x":1'), strict=True)
            )
            raw = filled + (rest if last is None else rest + b'"Prefix01"' + last)
            item = orjson.loads(raw)
            assert orjson.dumps(item) == raw
            kinds = {type(mod) for name in ("explicitMods", "implicitMods") for mod in item.get(name, ())}
            assert kinds <= {dict if is_objects else str}
            assert all(isinstance(mod, str) for mod in item.get("enchantMods", ()))
            assert ("frameTypeId" in item) == is_objects


def test_flagged_mods_are_flags_in_one_shape_and_lists_in_the_other():
    (n,) = [
        n for n, kind in enumerate(catalogue()) if kind.key == "unique|Foulborn Goldrim|base=Leather Cap|foulborn=true"
    ]
    now, before = (b"".join(part or b"" for part in template(n, 0, is_objects)) for is_objects in (True, False))

    assert b'"flags":{"mutated":true}' in now
    assert b'"mutatedMods":["' in before


def test_rolls_stay_in_their_ranges():
    rng = Random(1)

    assert {roll("+(3-5) to x", rng) for _ in range(99)} == {"+3 to x", "+4 to x", "+5 to x"}
    assert all(1.2 <= float(roll("(1.2-1.8)", rng)) <= 1.8 for _ in range(50))


def test_the_true_price_of_a_key_is_the_same_asked_alone_or_in_the_list(market):
    listed = {key: chaos for key, _, chaos in market.truths("Allflame", T)}
    key = "unique|Headhunter|base=Leather Belt"

    assert market.truth("Allflame", key, T) == listed[key]
    assert len(listed) == sum(kind.price > 0 for kind in catalogue())
    with pytest.raises(ValueError, match="unknown league 'Legion': expected one of Standard"):
        market.truths("Legion", T)
    with pytest.raises(ValueError, match="no true price is known for 'rare"):
        market.truth("Allflame", "rare|Vaal Axe", T)


def test_true_prices_differ_by_league_and_move_slowly(market):
    key = "unique|Tabula Rasa|base=Simple Robe"
    hours = [market.truth("Allflame", key, T + n * HOUR_S) for n in range(200)]

    assert abs(hours[0] / market.truth("Standard", key, T) - 1) > 0.01
    assert max(abs(np.diff(np.log(hours)))) < 0.01
    assert max(hours) > min(hours)


def test_divines_are_worth_what_the_exchange_says(market):
    exchange = market._market.truth("Allflame", int(T // 21_600) * 21_600)

    assert market.rates(1, T)["divine"] == exchange[DIVINE]
    assert set(market.rates(1, T)) == set(CURRENCIES)


def medians(market):
    _, found = stays(market, T, 40_000)
    keep = found.alive & found.noted
    off = {}
    for kind, ask, true in zip(found.kind[keep], found.ask_chaos[keep], found.true_chaos[keep], strict=True):
        off.setdefault(int(kind), []).append(ask / true)
    return sorted(abs(median(values) - 1) for kind, values in off.items() if len(values) >= 40)


def test_honest_sellers_ask_the_true_price_in_the_median():
    off = medians(StashMarket(7, "pc", hostile_share=0.0))

    assert median(off) < 0.015
    assert off[int(0.95 * len(off))] < 0.05


def test_hostile_sellers_are_their_share_and_far_off(market):
    tabs, found = stays(market, T, 20_000)
    sellers = dict(zip(tabs.seller.tolist(), tabs.temper.tolist(), strict=True))
    off = np.abs(np.log(found.ask_chaos / found.true_chaos)) > 0.5

    assert 0.16 < sum(temper != HONEST for temper in sellers.values()) / len(sellers) < 0.24
    assert 0.02 < off[found.noted].mean() < 0.12
    assert not found.sold[found.noted & (np.abs(np.log(found.ask_chaos / found.true_chaos)) > 0.7)].any()
    assert (found.ask_chaos / found.true_chaos)[found.alive].max() > 1000


def test_price_fixers_agree_on_a_few_kinds(market):
    tabs, found = stays(market, T, 40_000)
    ratio = found.ask_chaos / found.true_chaos
    low = found.noted & (ratio > 0.44) & (ratio < 0.66)
    counts = Counter(found.kind[low].tolist()).most_common()

    assert counts[0][1] > 20
    assert len({int(tabs.seller[tab]) for tab in found.tab[low & (found.kind == counts[0][0])]}) >= 3


def test_cheap_things_are_sold_sooner_and_overpriced_ones_never(market):
    _, found = stays(market, T, 40_000)
    over = np.log(found.ask_chaos / found.true_chaos)
    stood = found.end_s - found.start_s
    offered = found.sold & found.noted & (found.reprice == 0)

    assert np.median(stood[offered & (over < -0.05)]) < np.median(stood[offered & (over > 0.05)])
    assert stood[found.sold].min() > 100
    assert not found.sold[found.noted & (over > 0.3) & (found.reprice == 1)].any()
    assert 0.2 < found.sold.mean() < 0.7


def test_what_was_sold_stays_gone_and_what_stands_keeps_its_item(market):
    _, before = stays(market, T)
    _, after = stays(market, T + HOUR_S)
    listed, later = by_key(before, before.alive), by_key(after, after.alive)
    ended = {key for key, n in listed.items() if before.end_s[n] <= T + HOUR_S}
    moved = {key for key, n in listed.items() if key in later and before.place[n] != after.place[later[key]]}

    assert ended
    assert ended.isdisjoint(later)
    assert not moved
    assert len(set(listed) & set(later)) > 0.6 * len(listed)
    assert len(set(later) - set(listed)) > 0.05 * len(listed)


def test_some_prices_change_while_an_item_stands(market):
    _, before = stays(market, T)
    _, after = stays(market, T + 2 * HOUR_S)
    listed, later = by_key(before, before.alive & before.noted), by_key(after, after.alive)
    both = set(listed) & set(later)
    changed = sum(before.reprice[listed[key]] != after.reprice[later[key]] for key in both)

    assert 0.01 < changed / len(both) < 0.3


def test_tabs_are_renamed_and_moved_between_leagues_now_and_then(market):
    tabs, _ = stays(market, T, 20_000)
    later, _ = stays(market, T + 5 * 86_400, 20_000)
    by_tab = tabs.style == BY_TAB

    assert 0.02 < (tabs.tab_chaos != later.tab_chaos)[by_tab].mean() < 0.5
    assert 0.002 < (tabs.league != later.league).mean() < 0.03
    assert (tabs.seller == later.seller).all()
    assert (tabs.home == later.home).all()


def test_a_tab_that_is_priced_by_its_name_holds_things_worth_about_that(market):
    tabs, found = stays(market, T, 40_000)
    mine = (tabs.style[found.tab] == BY_TAB) & ~found.noted & found.alive
    ratio = found.true_chaos[mine] / tabs.tab_chaos[found.tab[mine]]

    assert mine.sum() > 1000
    assert np.quantile(ratio, [0.1, 0.9]).tolist() == pytest.approx([0.85, 1.15], abs=0.15)


def test_what_is_abandoned_is_large(market):
    tabs, _ = stays(market, T, 100, first=ABANDONED)

    assert tabs.places.min() >= 60


def test_notes_are_spelt_as_in_the_census(market):
    rates = market.rates(1, T)
    written = [note(10 ** (n % 50 / 10 - 1), rates, noise.key_of(n)) for n in range(20_000)]
    forms = Counter(text.split()[0] for text, _ in written)
    simple = sum(bool(re.match(r"~(price|b/o) \d+([.,]\d+)?(/\d+)? \w+$", text)) for text, _ in written)

    assert forms["~price"] > forms["~b/o"] > forms[SKIP] > 0
    assert {"~c/o", "~gb/o"} <= set(forms)
    assert 0.93 < simple / len(written) < 0.99
    assert any(re.fullmatch(r"~\S+ \d{1,3},\d{3} \w+", text) and not reads for text, reads in written)
    assert {"exa", "fuse", "jew", "div", "choas"} <= {text.split()[-1] for text, _ in written}
    assert all(reads or not re.fullmatch(r"~(price|b/o) \d+ (chaos|divine)", text) for text, reads in written)


def test_a_note_that_reads_asks_the_price():
    rates = StashMarket(7, "pc").rates(1, T)
    for n in range(5000):
        chaos = 10 ** (4 * noise.uniform(n, 1) - 0.5)
        text, reads = note(chaos, rates, noise.key_of("asks", n))
        match = re.match(r"~\S+ ([\d.]+)(?:/(\d+))? (chaos|divine)$", text)
        if reads and match:
            asked = float(match[1]) / float(match[2] or 1) * rates[match[3]]
            assert asked == pytest.approx(chaos, rel=0.36 if chaos < 3 or match[3] == "divine" else 0.15)


def test_amounts_are_whole_tenths_or_ratios():
    assert [amount(units, 0.5) for units in (0.005, 0.5, 2.53, 40.2, 1234.0)] == ["1/200", "5/10", "2.5", "40", "1234"]


def test_a_stay_does_not_depend_on_who_else_is_asked_for(market):
    tabs, whole = stays(market, T, 50)
    alone = market.sellers.tabs(np.array([30], dtype=np.uint64), np.array([T]))
    found = market.listings(replace(alone))

    assert found.key.tolist() == whole.key[whole.tab == 30].tolist()
    assert int(tabs.places[30]) == len(found.key)
