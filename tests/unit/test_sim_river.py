"""The stand-in's river: pages in upstream's shape and order, what its books say of them, and what its faults do."""

import gzip
from collections import Counter
from pathlib import Path
from statistics import mean, median

import orjson
import pytest

from ledgerd.sim.river_page import MadeRiver
from ledgerd.sim.river_source import MadeRivers
from ledgerd.sim.stash_market import StashMarket
from ledgerd.sim.timeline import DELAY_S, GONE, Timeline, parse_id, write_id
from tests.simriver import NOW_S

RECORDED = Path(__file__).parents[3] / "shared" / "data" / "river"


@pytest.fixture(scope="module")
def market():
    return StashMarket(3, "pc")


def made(market, *, per_s=38.0, stashes=24_000, **options):
    return MadeRiver(market, Timeline(3, "pc", per_s=per_s, stashes=stashes), 3, **options)


def walked(source, start, now_s, pages_max=2000):
    """Pages from touch ``start`` to the end of the stream."""
    counters, pages = source.timeline.counters(start), []
    for n in range(pages_max):
        page = source.page(counters, now_s, n)
        if not page.pieces:
            return pages
        pages.append(page)
        counters = parse_id(page.next_id)
    raise AssertionError("no end")


def decoded(page):
    return orjson.loads(page.written())


@pytest.fixture(scope="module")
def live(market):
    """Decoded live pages, thirty or so, up to the end of the stream."""
    source = made(market)
    return [decoded(page) for page in walked(source, source.timeline.head(NOW_S) - 2500, NOW_S)]


# -- order, delay, ends ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 1, 39, 40, 41, 12_345])
def test_a_change_id_names_the_touch_it_stands_before(at):
    line = Timeline(1, "pc", per_s=38, stashes=1000)

    assert min(line.starts(line.counters(at))) == at
    assert parse_id(write_id(line.counters(at))) == line.counters(at)


def test_counters_stand_where_they_were_seen_in_october_2026():
    line = Timeline(1, "pc", per_s=38, stashes=24_000)
    seen = (3278697332, 3203624673, 3129327201, 3479175554, 3367790506)

    assert line.counters(line.head(1_791_369_441 + DELAY_S)) == pytest.approx(seen, abs=20)


def test_the_last_touches_are_what_brute_force_finds():
    line = Timeline(5, "pc", per_s=10, stashes=300)
    head, start = 200_000, 200_000 - 3 * line._alive
    every = [
        t
        for block in line.scan((start,) * 5, head)
        for t in zip(*map(list, (block.n, block.cls, block.unit)), strict=True)
    ]
    last = {}
    for n in range(start, head):  # each touch alone, with a head right after it
        ((found,),) = [list(block.n) for block in line.scan((n,) * 5, n + 1)]
        (block,) = line.scan((n,) * 5, n + 1)
        assert found == n
        last[int(block.cls[0]), int(block.unit[0])] = n

    assert [n for n, _, _ in every] == sorted(last.values())
    assert {(cls, unit) for _, cls, unit in every} == set(last)
    assert sum(cls != GONE for cls, _ in last) == sum(line.units)


def test_a_walk_shows_every_stash_once_and_ends(market):
    source = made(market, per_s=5, stashes=300)
    head = source.timeline.head(NOW_S)
    pages = walked(source, head - source.timeline._alive, NOW_S)
    ids = [piece.stash_id for page in pages for piece in page.pieces]

    assert len(ids) == len(set(ids)) > 300
    assert pages[-1].next_id == source.timeline.last_id(NOW_S)
    assert source.page(parse_id(pages[-1].next_id), NOW_S, 1).pieces == ()
    assert source.page(parse_id(pages[-1].next_id), NOW_S, 1).next_id == pages[-1].next_id


def test_results_are_five_minutes_late(market):
    source = made(market)
    line = source.timeline

    assert line.touched_at(line.head(NOW_S) - 1) <= NOW_S - DELAY_S < line.touched_at(line.head(NOW_S))


def test_the_same_id_later_has_lost_the_stashes_touched_again(market):
    source = made(market)
    counters = source.timeline.counters(source.timeline.head(NOW_S) - 3000)
    first, soon, late = (source.page(counters, NOW_S + wait_s, n) for n, wait_s in enumerate((0, 5, 600)))
    ids, at_once, later = ({piece.stash_id: piece.sha256() for piece in page.pieces} for page in (first, soon, late))
    same = {stash for stash in ids if at_once.get(stash) == ids[stash]}

    assert 0.4 * len(ids) < len(same) < len(ids)
    assert len(set(ids) & set(later)) < 0.6 * len(ids)
    assert first.written() != source.page(counters, NOW_S, 99).written()


def test_between_two_answers_of_one_moment_only_veiled_mods_differ(market):
    source = made(market)
    counters = source.timeline.counters(source.timeline.head(NOW_S) - 3000)
    one, two = (decoded(source.page(counters, NOW_S, n)) for n in (1, 2))
    veiled = 0
    for page in (one, two):
        for item in (item for stash in page["stashes"] for item in stash.get("items", ())):
            veiled += item.pop("veiledMods", None) is not None

    assert veiled
    assert one == two


def test_the_same_seed_makes_the_same_pages(market):
    sources = [made(market), MadeRivers(3, per_s=38, stashes=24_000, hostile_share=0.2, rates_seed=3).river("pc")]
    counters = sources[0].timeline.counters(sources[0].timeline.head(NOW_S) - 5000)

    assert sources[0].page(counters, NOW_S, 7).written() == sources[1].page(counters, NOW_S, 7).written()


def test_five_equal_numbers_seek_and_bisection_finds_the_tail(market):
    source = made(market)
    low, high, requests = 3 << 30, 7 << 29, 0
    while high - low > 100_000:
        middle, requests = (low + high) // 2, requests + 1
        found = source.page((middle,) * 5, NOW_S, requests)
        low, high = (middle, high) if found.pieces else (low, middle)
    tail = parse_id(source.page((low,) * 5, NOW_S, 0).next_id)
    heads = source.timeline.counters(source.timeline.head(NOW_S))

    assert 9 <= requests <= 13
    assert source.page((high,) * 5, NOW_S, 0).next_id == write_id((high,) * 5), "an empty page repeats the id"
    assert sum(counter == top for counter, top in zip(tail, heads, strict=True)) == 4
    assert low <= max(tail) <= max(heads)


def test_no_id_is_the_beginning_of_history_and_a_backlog_page_is_mostly_tombstones(market):
    source = made(market)
    source.page(None, NOW_S, 0)
    page = source.page(None, NOW_S, 1)
    public = [piece for piece in page.pieces if piece.public]

    assert page.asked is None
    assert 1000 <= len(page.pieces) <= 1300
    assert 0.94 < 1 - len(public) / len(page.pieces) < 0.99
    assert 1_800_000 < len(page.written()) < 4_500_000


# -- the shape of what is in a page -----------------------------------------------------------------------------------


def statistics(pages):
    """What a page is like, on average."""
    stashes = [stash for page in pages for stash in page["stashes"]]
    public = [stash for stash in stashes if stash["public"]]
    items = [item for stash in public for item in stash["items"]]
    sizes = sorted(len(stash["items"]) for stash in public)
    frames = Counter(item["frameType"] for item in items)
    kinds = Counter(stash["stashType"] for stash in public)
    return {
        "changes": len(stashes) / len(pages),
        "items": len(items) / len(pages),
        "public": len(public) / len(stashes),
        "items a stash": mean(sizes),
        "empty": sizes.count(0) / len(sizes),
        "largest": sizes[-1],
        "accounts a stash": len({stash["accountName"] for stash in public}) / len(public),
        "map tabs": kinds["MapStash"] / len(public),
        "premium tabs": kinds["PremiumStash"] / len(public),
        "rares": frames[2] / len(items),
        "uniques": frames[3] / len(items),
        "gems": frames[4] / len(items),
        "normal": frames[0] / len(items),
        "noted": sum("note" in item for item in items) / len(items),
        "bytes an item": mean(len(orjson.dumps(item)) for item in items),
    }


def test_live_pages_have_the_measured_size(live):
    found = statistics(live[:-1])

    assert 60 <= found["changes"] <= 110
    assert 800 <= found["items"] <= 1150
    assert 700_000 < median(len(orjson.dumps(page)) for page in live[:-1]) < 1_700_000


@pytest.mark.skipif(not RECORDED.is_dir(), reason="no recorded pages here")
def test_made_pages_are_like_recorded_ones(market, live):
    source = made(market)
    recorded = [orjson.loads(gzip.decompress(path.read_bytes())) for path in sorted(RECORDED.glob("page-*.json.gz"))]
    bounds = [statistics([page]) for page in recorded]
    found = statistics(live[:-1])
    old = statistics([decoded(source.page(None, NOW_S, n)) for n in range(1)])
    for name in ("items a stash", "empty", "rares", "uniques", "gems", "normal", "noted", "bytes an item",
                 "accounts a stash", "map tabs", "premium tabs"):  # fmt: skip
        values = [bound[name] for bound in bounds]
        print(f"{name}: recorded {values}, made {found[name]:.3f}")
        assert 0.65 * min(values) < found[name] < 1.35 * max(values), name

    assert old["changes"] == pytest.approx(bounds[1]["changes"], rel=0.2)
    assert old["public"] == pytest.approx(bounds[1]["public"], abs=0.02)


def test_every_stash_is_written_as_its_value_is_written_again(market):
    source = made(market)
    for page in (
        source.page(source.timeline.counters(source.timeline.head(NOW_S) - 2000), NOW_S, 1),
        source.page(None, NOW_S, 1),
    ):
        body = decoded(page)
        assert body["next_change_id"] == page.next_id
        assert [orjson.dumps(stash) for stash in body["stashes"]] == [piece.raw for piece in page.pieces]
        for stash, piece in zip(body["stashes"], page.pieces, strict=True):
            about = (stash["id"], stash["public"], stash.get("league"), len(stash.get("items", ())))
            assert about == (piece.stash_id, piece.public, piece.league, piece.items)


def test_tombstones_know_no_league_and_live_stashes_become_some(market):
    source = made(market, per_s=5, stashes=300)
    head = source.timeline.head(NOW_S)
    stashes = [
        stash for page in walked(source, head - source.timeline._alive, NOW_S) for stash in decoded(page)["stashes"]
    ]
    tombs = [stash for stash in stashes if not stash["public"]]
    fields = {tuple(stash) for stash in tombs}

    assert all(
        value in (None, [])
        for stash in tombs
        for name, value in stash.items()
        if name not in {"id", "public", "stashType"}
    )
    assert fields == {("id", "public"), ("id", "public", "accountName", "stash", "stashType", "league", "items")}
    assert sum(stash["public"] and stash["league"] is None for stash in stashes) > 0


def test_leagues_are_several_and_one_is_private(live):
    stashes = [stash for page in live for stash in page["stashes"] if stash.get("league")]
    leagues = Counter(stash["league"] for stash in stashes)

    assert set(leagues) == {"Standard", "Allflame", "Hardcore Allflame", "Karui Tide Club (PL12345)"}
    assert leagues.most_common(1)[0][0] == "Allflame"
    assert all(item["league"] == stash["league"] for stash in stashes for item in stash["items"])


def test_mods_are_strings_before_their_time_and_objects_after(market):
    source = made(market)
    old_s = 1_780_000_000
    for now_s, kind in ((old_s, str), (NOW_S, dict)):
        page = decoded(source.page(source.timeline.counters(source.timeline.head(now_s) - 2000), now_s, 1))
        mods = {
            type(mod)
            for stash in page["stashes"]
            for item in stash.get("items", ())
            for mod in item.get("explicitMods", ())
        }
        assert mods == {kind}


def test_a_stash_keeps_its_items_from_touch_to_touch(market):
    source = made(market, per_s=5, stashes=300)
    seen = []
    for now_s in (NOW_S, NOW_S + 600):
        pages = walked(source, source.timeline.head(now_s) - source.timeline._alive, now_s)
        stashes = [stash for page in pages for stash in decoded(page)["stashes"] if stash.get("items")]
        seen.append({stash["id"]: {item["id"] for item in stash["items"]} for stash in stashes})
    both = set(seen[0]) & set(seen[1])
    kept = sum(len(seen[0][stash] & seen[1][stash]) for stash in both) / sum(len(seen[0][stash]) for stash in both)

    assert 0.8 < kept < 1


def test_sales_are_of_items_that_were_shown_and_then_not(market):
    source = made(market, per_s=5, stashes=300)
    walks = []
    for now_s in (NOW_S, NOW_S + 1200):
        pages = walked(source, source.timeline.head(now_s) - source.timeline._alive, now_s)
        walks.append(
            {item["id"] for page in pages for stash in decoded(page)["stashes"] for item in stash.get("items", ())}
        )
    sold = list(source.sales(NOW_S - DELAY_S, NOW_S + 600 - DELAY_S))
    shown = [sale for sale in sold if sale["item"] in walks[0]]

    assert len(shown) > 0.8 * len(sold) > 5
    assert not {sale["item"] for sale in sold} & walks[1]
    assert len({sale["item"] for sale in sold}) == len(sold)
    assert all(NOW_S - DELAY_S < sale["sold_at"] <= NOW_S + 600 - DELAY_S for sale in sold)
