"""The routes that ask the real engine: what gold and the books hold is what the API answers."""

import time
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import datetime
from urllib.parse import quote

import pytest

from ledgerd.chaos_scale.reference import shipped
from ledgerd.clock import rfc3339
from ledgerd.etl.reference import load_reference
from ledgerd.ledger.ledger import Ledger
from ledgerd.status import EtlState, EtlStatus, LaneStatus, SourceState
from ledgerd.store.migrate import Migrator
from ledgerd.store.params import placeholders
from ledgerd.store.queries import load_queries
from ledgerd.web.item_listings import RATES
from tests.clocks import ManualClock
from tests.prices import STATUS, World, source
from tests.webclient import browsing, problem_of

NOW_S = int(ManualClock().now())
HOUR_S = 3600
DAY_S = 24 * HOUR_S
BELT = "unique|Headhunter|base=Leather Belt"
GONE = "unique|Gone|base=Nothing"
ODD = "Ünïcode '\\\t|\"Name#0001"
KINDS = ("items", "listed", "unconverted", "unpriced", "unpriced_share", "asked_chaos", "market_chaos")


def at(hours):
    """The beginning of an hour, ``hours`` before the one under way."""
    return NOW_S - hours * HOUR_S


def price(hours, chaos, *, key=BELT, as_of=None, **facts):
    return {
        "realm": "pc", "league": "Mirage", "hour": at(hours), "item_key": key, "key": 1, "category": "unique",
        "name": "Headhunter", "chaos_value": chaos, "divine_value": chaos / 150, "low": chaos * 0.9,
        "high": chaos * 1.1, "listings": 60 - hours, "units": 70, "sellers": 40, "rests_on_sellers": 30,
        "confidence": 0.9, "low_sample": hours % 2 == 1, "likely_sales_1h": hours % 5, "likely_sales_24h": 30,
        "rate_hour": at(hours + 1), "batch_id": f"river-{hours}", "as_of": as_of or at(hours) + 3500.5, **facts,
    }  # fmt: skip


def stash(stash_id, hours, market_chaos, *, account="Kortan#1234", items=10, **facts):
    return {
        "realm": "pc", "league": "Mirage", "hour": at(hours), "stash_id": stash_id, "account": account,
        "stash_name": f"tab {hours}", "stash_type": "PremiumStash", "public": True, "items": items, "listed": 7,
        "unconverted": 1, "unpriced": 3, "asked_chaos": market_chaos / 3, "market_chaos": market_chaos,
        "unpriced_share": 3 / items if items else 0, "changed_at": at(hours) + 60.25, "rate_hour": at(hours + 1),
        "batch_id": f"river-{hours}", "as_of": at(hours) + 120.5, **facts,
    }  # fmt: skip


def diff(stash_id, hours, added, *, account="Kortan#1234", **facts):
    return {
        "realm": "pc", "league": "Mirage", "hour": at(hours), "stash_id": stash_id, "account": account,
        "added": added, "removed": 1, "repriced": 2, "restacked": 3, "unconverted": 1, "added_chaos": added / 7,
        "removed_chaos": 1 / 3, "repriced_chaos": -4.5, "restacked_chaos": -0.1, "first_batch": f"a{hours}",
        "last_batch": f"b{hours}", "batch_id": "c", "as_of": at(hours) + 4000.0, **facts,
    }  # fmt: skip


PRICES = [
    *(price(hours, 9000.0 + hours) for hours in range(1, 31)),
    price(0, 8999.0, as_of=NOW_S - 60.0),
    price(3, 1.0, as_of=at(3) + 10.0),
    price(2, 5.0, league="Standard"),
    price(2, 5.0, realm="xbox"),
    price(40, 4.0, key=GONE),
]
STASHES = [
    stash("s1", 30, 10.0),
    stash("s1", 3, 700.1, rate_hour=None),
    stash("s1", 3, 1.0, as_of=at(3) + 60.0),
    stash("s2", 5, 0.2),
    stash("s3", 5, 0.1),
    stash("hidden", 9, 4000.0),
    stash("hidden", 2, 0.0, public=False, items=0),
    stash("moved", 9, 50.0),
    stash("moved", 2, 60.0, account=ODD),
    stash("s1", 2, 99_999.0, league="Standard"),
    stash("elsewhere", 2, 99_999.0, realm="xbox"),
    stash("bytes", 4, 0.5, account=b"Any\xff#0001", stash_name=b"\xfe\xed\xa0\x80"),
    stash(b"\xff", 4, 0.5),
    *(stash(f"o{n}", 4, float(n), account=f"Other#{n % 7:04d}") for n in range(60)),
]
DIFFS = [
    *(diff("s1", hours, hours) for hours in range(1, 12)),
    diff("s1", 4, 77, as_of=at(4) + 9000.0),
    *(diff("s2", hours, 100 + hours) for hours in (1, 5)),
    diff(b"\xff", 2, 3),
    diff("s1", 24 * 9, 9),
    diff("s1", 1, 1000, league="Standard"),
    diff("o1", 1, 5, account="Other#0001"),
]
GAPS = [
    ("exchange-pc", "pc", str(n), str(n + 1), at(n), at(n - 1), "gone", "b", 0, NOW_S - n * 100 + 0.125)
    for n in range(1, 8)
] + [
    ("exchange-pc", "pc", "same moment", "x", None, None, "lost", "b", 0, NOW_S - 100 + 0.125),
    ("river-pc", "pc", "5-6", "7-8", None, None, "lost", "b", 0, NOW_S - 100.0),
]  # fmt: skip
GAP_COLUMNS = (
    "source", "realm", "cursor_from", "cursor_to", "gap_from", "gap_to", "reason", "batch_id", "page_seq",
    "retrieved_at",
)  # fmt: skip
RUN_COLUMNS = (
    "step", "version", "source", "leagues", "seq", "batch_id", "rows", "seconds", "outcome", "error", "started_at",
    "finished_at",
)  # fmt: skip
KEPT_S = time.time()
"""The engine's own clock: by that it drops runs that finished long ago."""
RUNS = [
    *(("gold_x", 1, "exchange-pc", [], n, f"b{n}", n, 0.5, "ok", "", NOW_S - n * 60, KEPT_S) for n in range(1, 60)),
    ("gold_y", 1, "river-pc", ["Mirage"], 7, "r7", 0, 1.5, "failed", "no /var/lib/x", NOW_S - 30, KEPT_S),
]


MARK_COLUMNS = (
    "step",
    "version",
    "source",
    "league",
    "era",
    "seq",
    "batch_id",
    "retrieved_at",
    "seconds",
    "written_at",
)
MARKS = [
    *(("gold_stash_summary", 1, "river-pc", "Mirage", 0, n, "b", at(n) + 60.5, 0.1, NOW_S) for n in (3, 2)),
    ("gold_stash_summary", 1, "river-pc", "Standard", 0, 9, "b", NOW_S, 0.1, NOW_S),
    ("gold_stash_summary", 1, "river-xbox", "Mirage", 0, 9, "b", NOW_S, 0.1, NOW_S),
    ("gold_item_prices", 1, "river-pc", "Mirage", 0, 9, "b", NOW_S, 0.1, NOW_S),
    ("gold_stash_diffs", 1, "river-pc", "Mirage", 0, 1, "b", at(4) + 9.25, 0.1, NOW_S),
]


async def fill(engine, table, rows):
    """Insert rows told as dictionaries; what replaces another comes in a block of its own, so that both are stored."""
    blocks = defaultdict(list)
    seen = Counter()
    for row in rows:
        key = tuple(row.get(name) for name in ("realm", "league", "hour", "item_key", "stash_id"))
        blocks[seen[key]].append(tuple(row.values()))
        seen[key] += 1
    for n, block in blocks.items():
        await engine.insert(table, tuple(rows[0]), block, token=f"{table}{n}")


@pytest.fixture
async def gold(engine):
    await Migrator(engine, ManualClock()).apply()
    await fill(engine, "gold_item_prices", PRICES)
    await fill(engine, "gold_stash_summary", STASHES)
    await fill(engine, "gold_stash_diffs", DIFFS)
    await engine.insert("etl_watermarks", MARK_COLUMNS, MARKS, token="marks")
    await engine.insert("bronze_gaps", GAP_COLUMNS, GAPS, token="gaps")
    await engine.insert("etl_runs", RUN_COLUMNS, RUNS, token="runs")
    return engine


@pytest.fixture
async def world(gold):
    world = World()
    ledger = Ledger(gold, shipped(), load_queries())
    await ledger.reload("pc")
    world.real = world.deps(ledger=ledger, engine=gold, queries=load_queries(), status=lambda: world.status)
    return world


@pytest.fixture
async def client(world):
    async with browsing(world.real) as client:
        yield client


async def read(client, path, **params):
    response = await client.get(path, params=params)
    answer = await response.json()

    assert response.status == 200, answer
    return answer


def unix_s(text):
    return None if text is None else int(datetime.fromisoformat(text).timestamp())


async def test_an_items_history_by_the_hour_is_the_newest_row_of_each_hour(gold, client):
    path = f"/v1/pc/mirage/items/{quote(BELT, safe='')}/history"
    answer = await read(client, path)
    expected = await gold.rows(
        "SELECT toUnixTimestamp(hour), chaos_value, divine_value, low, high, listings, units, sellers,"
        " rests_on_sellers, confidence, low_sample, likely_sales_1h, batch_id, toUnixTimestamp(as_of) - 300"
        " FROM gold_item_prices FINAL WHERE realm = 'pc' AND league = 'Mirage' AND item_key = {key:String}"
        " AND hour < toDateTime({now:UInt32}, 'UTC') ORDER BY hour",
        {"key": BELT, "now": NOW_S},
    )
    names = "chaos divine low high listings units sellers rests_on_sellers confidence low_sample likely_sales batch_id"
    served = [
        (unix_s(point["begin"]), *(point[name] for name in names.split()), unix_s(point["as_of"]))
        for point in answer["points"]
    ]

    assert served == expected
    assert len(served) == 30
    assert [point["chaos"] for point in answer["points"] if unix_s(point["begin"]) == at(3)] == [9003.0]
    assert answer["as_of"] == answer["points"][-1]["as_of"]
    assert all(point["hours"] == 1 and point["open"] == point["chaos"] for point in answer["points"])


async def test_an_items_history_by_the_day_opens_closes_and_adds_up_its_hours(client):
    midnight_s = NOW_S // DAY_S * DAY_S
    answer = await read(client, f"/v1/pc/Mirage/items/{BELT}/history", step="day", to=NOW_S, **{"from": midnight_s})
    hours = list(range(1, (NOW_S - midnight_s) // HOUR_S + 1))
    [day] = answer["points"]

    assert day["hours"] == len(hours) == 9
    assert (day["open"], day["chaos"]) == (9000.0 + hours[-1], 9001.0)
    assert (day["low"], day["high"]) == (9001.0 * 0.9, (9000.0 + hours[-1]) * 1.1)
    assert (day["listings"], day["low_sample"], day["batch_id"]) == (59, True, "river-1")
    assert day["likely_sales"] == sum(each % 5 for each in hours)
    assert day["as_of"] == rfc3339(at(1) + 3500 - 300)


async def test_an_item_that_is_gone_has_its_past_and_one_nobody_listed_is_not_known(gold, client):
    keys = [(GONE, "unique", "Gone"), ("card|Elsewhere", "card", "Elsewhere")]
    for key in keys:
        await gold.execute(
            "INSERT INTO silver_item_keys (key, item_key, category, name) SELECT sipHash64({key:String}), {key:String},"
            " {category:String}, {name:String}",
            dict(zip(("key", "category", "name"), key, strict=True)),
        )
    gone = await read(client, f"/v1/pc/Mirage/items/{quote(GONE, safe='')}/history")
    elsewhere = await read(client, f"/v1/pc/Mirage/items/{quote('card|Elsewhere', safe='')}/history")
    unknown = await client.get("/v1/pc/Mirage/items/unique%7CHeadhuntr/history")

    assert [point["chaos"] for point in gone["points"]] == [4.0]
    assert (elsewhere["points"], elsewhere["as_of"]) == ([], None)
    assert (await problem_of(unknown, 404, "not-known"))["suggestions"] == [BELT]


async def test_a_stash_is_its_newest_row(gold, client):
    answer = await read(client, "/v1/pc/Mirage/stashes/s1")
    [expected] = await gold.rows(
        "SELECT stash_id, account, stash_name, stash_type, public, items, listed, unconverted, unpriced,"
        " unpriced_share, asked_chaos, market_chaos, toUnixTimestamp(changed_at), toUnixTimestamp(as_of) - 300,"
        " toUnixTimestamp(rate_hour), batch_id FROM gold_stash_summary FINAL"
        " WHERE realm = 'pc' AND league = 'Mirage' AND stash_id = 's1' ORDER BY hour DESC LIMIT 1"
    )
    times = ("changed_at", "valued_at", "rate_hour")
    served = tuple(unix_s(value) if name in times else value for name, value in answer["stash"].items())

    assert served == expected
    assert answer["stash"]["market_chaos"] == 700.1


async def test_stashes_are_as_old_as_what_their_own_steps_have_done_of_the_league(gold, client):
    paths = {path: f"/v1/pc/Mirage/{path}" for path in ("sellers", "sellers/Kortan%231234", "stashes/s1")}
    told = {path: (await read(client, address))["as_of"] for path, address in paths.items()}
    diffs = {path: (await read(client, f"{paths[path]}/diffs"))["as_of"] for path in list(paths)[1:]}
    again = [(*MARKS[0][:3], "", 1, -2, "", 0.0, 0.0, NOW_S)]
    await gold.insert("etl_watermarks", MARK_COLUMNS, again, token="again")

    assert set(told.values()) == {rfc3339(at(2) + 60 - 300)}
    assert set(diffs.values()) == {rfc3339(at(3) - 300)}
    await problem_of(await client.get(paths["stashes/s1"]), 503, "no-prices-yet")


async def test_texts_that_are_no_utf8_are_mended(client):
    answer = await read(client, "/v1/pc/Mirage/stashes/bytes")

    assert answer["stash"]["account"] == "Any\ufffd#0001"
    assert set(answer["stash"]["stash_name"]) == {"\ufffd"}


async def test_a_stash_that_became_private_says_so(client):
    answer = await read(client, "/v1/pc/Mirage/stashes/hidden")

    assert (answer["stash"]["public"], answer["stash"]["items"], answer["stash"]["market_chaos"]) == (False, 0, 0.0)


async def test_every_seller_of_the_ranking_is_a_row_of_the_summary_and_his_own_answer(gold, client):
    ranking = (await read(client, "/v1/pc/Mirage/sellers", limit=100))["sellers"]
    expected = await gold.rows(
        f"SELECT toValidUTF8(account), stashes, {', '.join(KINDS)} FROM gold_seller_summary"
        " WHERE realm = 'pc' AND league = 'Mirage' ORDER BY market_chaos DESC, account"
    )
    alone = [await read(client, f"/v1/pc/Mirage/sellers/{quote(each['account'], safe='')}") for each in ranking[:-1]]

    assert [(each["account"], each["stashes"], *(each[kind] for kind in KINDS)) for each in ranking] == expected
    assert [(each["account"], each["count"], *(each[kind] for kind in KINDS)) for each in alone] == expected[:-1]
    assert [(each["account"], each["stashes"]) for each in ranking[:2]] == [("Kortan#1234", 4), ("Other#0003", 9)]
    assert ODD in [each["account"] for each in ranking]
    assert ranking[-1]["account"] == "Any\ufffd#0001"


async def test_a_seller_has_the_newest_of_each_public_stash_that_is_still_his(client):
    kortan = await read(client, "/v1/pc/Mirage/sellers/Kortan%231234")
    odd = await read(client, f"/v1/pc/Mirage/sellers/{quote(ODD, safe='')}")

    assert [(each["stash"], each["market_chaos"]) for each in kortan["stashes"]] == [
        ("s1", 700.1),
        ("\ufffd", 0.5),
        ("s2", 0.2),
        ("s3", 0.1),
    ]
    assert [each["stash"] for each in odd["stashes"]] == ["moved"]
    await problem_of(await client.get("/v1/pc/Mirage/sellers/kortan%231234"), 404, "not-known")


@pytest.mark.parametrize(
    ("path", "chosen"), [("stashes/s1", "stash_id = 's1'"), ("sellers/Kortan%231234", "account = 'Kortan#1234'")]
)
async def test_diffs_are_the_newest_rows_of_their_hours_page_by_page(gold, client, path, chosen):
    served, asked = [], {"limit": 3}
    while True:
        answer = await read(client, f"/v1/pc/Mirage/{path}/diffs", **asked)
        served += [(unix_s(each["hour"]), *list(each.values())[1:]) for each in answer["diffs"]]
        if answer["next"] is None:
            break
        asked["cursor"] = answer["next"]
    expected = await gold.rows(
        "SELECT toUnixTimestamp(hour), stash_id, account, added, removed, repriced, restacked, unconverted,"
        " added_chaos, removed_chaos, repriced_chaos, restacked_chaos, first_batch, last_batch"
        f" FROM gold_stash_diffs FINAL WHERE realm = 'pc' AND league = 'Mirage' AND isValidUTF8(stash_id) AND {chosen}"
        " AND hour >= toDateTime({since:UInt32}, 'UTC') ORDER BY hour DESC, stash_id",
        {"since": NOW_S - 7 * DAY_S},
    )

    assert served == expected
    assert len(served) == {"stashes/s1": 11}.get(path, 13)
    assert [added for hour_s, stash_id, _, added, *_ in served if (hour_s, stash_id) == (at(4), "s1")] == [77]


async def test_diffs_of_an_earlier_span_are_found_by_from_and_to(client):
    answer = await read(client, "/v1/pc/Mirage/stashes/s1/diffs", to=NOW_S - 8 * DAY_S)
    whole = await read(client, "/v1/pc/Mirage/stashes/s1/diffs", **{"from": 0})

    assert [each["added"] for each in answer["diffs"]] == [9]
    assert len(whole["diffs"]) == 12


async def test_what_is_of_another_realm_or_nobodys_is_not_known(client):
    for path in ("stashes/elsewhere", "stashes/elsewhere/diffs", "sellers/nobody", "sellers/x/diffs"):
        await problem_of(await client.get(f"/v1/pc/Mirage/{path}"), 404, "not-known")


async def test_gaps_are_the_rows_of_the_table_newest_first_page_by_page(gold, client):
    served, asked = [], {"limit": 3}
    while True:
        answer = await read(client, "/v1/sources/exchange-pc/gaps", **asked)
        served += [
            (unix_s(each["from"]), unix_s(each["to"]), *list(each.values())[2:-1], unix_s(each["found_at"]))
            for each in answer["gaps"]
        ]
        if answer["next"] is None:
            break
        asked["cursor"] = answer["next"]
    expected = await gold.rows(
        "SELECT toUnixTimestamp(gap_from), toUnixTimestamp(gap_to), cursor_from, cursor_to, reason, batch_id,"
        " toUnixTimestamp(retrieved_at) FROM bronze_gaps WHERE source = 'exchange-pc'"
        " ORDER BY retrieved_at DESC, cursor_from"
    )

    assert served == expected
    assert len(served) == 8


async def test_runs_of_etl_are_the_rows_of_the_table_newest_first(client):
    newest = await read(client, "/v1/etl", limit=2)
    chosen = await read(client, "/v1/etl", step="gold_x", source="exchange-pc", limit=1000)

    assert [(each["step"], each["leagues"], each["error"]) for each in newest["runs"]] == [
        ("gold_y", ["Mirage"], "no …"),
        ("gold_x", [], None),
    ]
    assert [each["seq"] for each in chosen["runs"]] == list(range(1, 60))
    assert [each["started_at"] for each in chosen["runs"]][:2] == [rfc3339(NOW_S - 60), rfc3339(NOW_S - 120)]


async def test_how_far_a_backfill_is_is_read_from_what_is_committed(gold, world, client):
    columns = ("source", "realm", "seq", "batch_id", "cursor", "next_cursor", "retrieved_at", "committed_at")
    batches = [
        ("exchange-pc", "pc", n, f"b{n}", str(at(1000 - 60 * n)), str(at(940 - 60 * n)), 0, NOW_S - 1200 + 100 * n)
        for n in range(10)
    ]
    rivers = [("river-pc", "pc", 1, "r1", "1-2", "3-4", 0, NOW_S)]
    await gold.insert("bronze_ingest_checkpoints", columns, batches + rivers, token="batches")
    sources = [source(state=SourceState.CATCHING_UP), source(name="exchange-poe2", realm="poe2")]
    world.status = replace(STATUS, sources=[*sources, source(name="river-pc", kind="river")])
    told = {each["name"]: each for each in (await read(client, "/v1/sources"))["sources"]}
    hours_a_batch_s, batch_s = 60 * HOUR_S, 100

    assert {name: each["gaps"] for name, each in told.items()} == {"exchange-pc": 8, "exchange-poe2": 0, "river-pc": 1}
    assert told["exchange-poe2"]["backfill"] is None
    assert told["river-pc"]["backfill"] is None
    assert told["exchange-pc"]["backfill"] == {
        "from": rfc3339(at(1000)),
        "at": rfc3339(at(400)),
        "to": rfc3339(NOW_S),
        "share": 0.6,
        "left_s": round(400 * HOUR_S / (hours_a_batch_s / batch_s - 1), 1),
    }


async def test_the_layers_of_a_league_stand_where_their_slowest_step_does(gold, world, client):
    columns = ("source", "realm", "seq", "batch_id", "cursor", "next_cursor")
    batches = [("exchange-pc", "pc", n, f"b{n}", str(at(10 - n)), str(at(9 - n))) for n in range(9)]
    await gold.insert("bronze_ingest_checkpoints", columns, batches, token="batches")
    steps = [("silver_exchange_ticks", 8), ("silver_currency_norm", 7), ("gold_currency_snapshot", 6)]
    world.status = replace(
        STATUS,
        lanes=[LaneStatus("exchange-pc", "pc", "Mirage", stored=True, rows=1, newest_hour=rfc3339(at(1)))],
        etl=[
            EtlStatus(name, "exchange-pc", None, EtlState.OK, mark, 0, 0.0, rfc3339(NOW_S), 0.1, None)
            for name, mark in steps
        ],
    )
    answer = await read(client, "/v1/pc/Mirage/freshness")

    assert [answer["currency"][layer]["as_of"] for layer in ("bronze", "silver", "gold")] == [
        rfc3339(at(0)),
        rfc3339(at(2)),
        rfc3339(at(3)),
    ]
    assert [answer["items"][layer]["as_of"] for layer in ("bronze", "silver", "gold")] == [None, None, None]


async def test_every_query_runs_on_each_engine(each_engine):
    await Migrator(each_engine, ManualClock()).apply()
    usual = {"String": "x", "Array(String)": ["x"], "DateTime64(3, 'UTC')": NOW_S}
    usual |= {f"Array({number})": [1] for number in ("UInt32", "UInt64", "Float64")}
    found = {
        name: await each_engine.rows(sql, {param: usual.get(kind, 1) for param, kind in placeholders(sql).items()})
        for name, sql in load_queries("api.sql").items()
    }

    assert {name for name, rows in found.items() if rows} == set()


async def test_without_an_exchange_one_chaos_is_still_one_chaos(each_engine):
    await Migrator(each_engine, ManualClock()).apply()
    await load_reference(each_engine, shipped().rows)
    league = {"realm": "pc", "leagues": ["Mirage"], "at": NOW_S}

    assert await each_engine.rows(RATES, league) == [("Metadata/Items/Currency/CurrencyRerollRare", 1.0, 0)]
