"""The routes of items that answer from memory: lists, one item, search, whole leagues, look-ups, movers."""

import asyncio
from io import BytesIO

import orjson
import pytest

from ledgerd.config import Freshness, RouteFreshness
from ledgerd.web.lookup import KEYS_MAX
from tests.prices import DIVINE, EXALTED, EYE, HEADHUNTER, HOUR_S, ITEMS, MARKET, gold, item
from tests.webclient import browsing, problem_of

LIST = "/v1/pc/Mirage/items"
AGE = {"as_of": "2025-10-09T08:55:00Z", "age_s": 300.0, "stale": False}
"""Upstream's own five minutes are in it."""
PLACE = {"realm": "pc", "league": "Mirage"}


def quoted(key):
    return key.replace("%", "%25").replace("|", "%7C").replace(" ", "%20").replace("+", "%2B").replace("#", "%23")


async def get(client, path):
    response = await client.get(path)

    assert response.status == 200, await response.text()
    return await response.json()


async def test_an_item_carries_its_values_its_age_and_its_evidence(client):
    answer = await get(client, f"{LIST}/{quoted(HEADHUNTER)}")
    (_, facts) = item(HEADHUNTER, 9000.0, 60, change_24h=0.12)

    assert answer == {**PLACE, **AGE, "item": {**facts, "age_s": 300.0, "stale": False}}


@pytest.mark.parametrize("key", [EYE, EYE.upper(), "base|Vaal Regalia|influences=elder+hunter|ilvl=86"])
async def test_a_key_may_hold_anything_and_be_written_in_any_case(client, key):
    answer = await get(client, f"{LIST}/{quoted(key)}")

    assert answer["item"]["key"].casefold() == key.casefold()


async def test_an_unknown_key_suggests_what_may_be_meant(client):
    body = await problem_of(await client.get(f"{LIST}/unique%7CHedhunter"), 404, "not-known")

    assert body["suggestions"][0] == HEADHUNTER
    assert "search?q=" in body["hint"]


async def test_the_list_is_ranked_by_turnover_and_says_how_many_there_are(client):
    answer = await get(client, f"{LIST}?limit=2")

    assert [each["name"] for each in answer["items"]] == ["Mageblood", "Headhunter"]
    assert (answer["count"], answer["total"], answer["withheld"]) == (2, 15, 0)
    assert {name: answer[name] for name in AGE} == AGE


@pytest.mark.parametrize("order", ["key", "turnover", "listings", "chaos", "gain_24h", "loss_7d"])
async def test_pages_of_any_order_give_every_item_once(client, order):
    whole = await get(client, f"{LIST}?order={order}")
    seen, asked = [], f"{LIST}?order={order}&limit=4"
    path = asked
    while path:
        answer = await get(client, path)
        seen += answer["items"]
        path = f"{asked}&cursor={answer['next']}" if answer["next"] else None

    assert [each["key"] for each in seen] == [each["key"] for each in whole["items"]]
    assert len(seen) == len(ITEMS)


async def test_the_list_takes_a_category_a_confidence_and_fields(client):
    answer = await get(client, f"{LIST}?category=base&min_confidence=0.5&order=chaos&fields=key,chaos")

    assert [list(each) for each in answer["items"]] == [["key", "chaos"]] * 2
    assert [each["chaos"] for each in answer["items"]] == [90.0, 25.0]


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("order=price", "order is 'price'"),
        ("fields=key,name,chaso", "fields is 'chaso'"),
        ("cursor=nonsense", "cursor is 'nonsense'"),
        ("cursor=", "cursor is ''"),
        ("cursor=WzEsMl0=", "cursor is"),
        ("format=xml", "format is 'xml'"),
        ("limit=0", "limit is '0'"),
        ("limit=1&limit=2", "limit is given 2 times"),
        ("categroy=base", "no parameter named 'categroy'"),
    ],
)
async def test_a_parameter_that_makes_no_sense_is_refused_with_what_would(client, query, detail):
    body = await problem_of(await client.get(f"{LIST}?{query}"), 400, "bad-request")

    assert detail in body["detail"]
    assert body["hint"]


async def test_ndjson_is_one_item_a_line_and_the_age_is_in_the_head(client):
    response = await client.get(f"{LIST}?format=ndjson&fields=key")
    lines = (await response.text()).splitlines()

    assert response.content_type == "application/x-ndjson"
    assert (response.headers["Ledgerd-As-Of"], response.headers["Ledgerd-Stale"]) == (AGE["as_of"], "false")
    assert sorted(orjson.loads(line)["key"] for line in lines) == sorted(facts["key"] for _, facts in ITEMS)


async def test_a_league_without_items_says_so_and_what_to_do(client, world):
    await world.load(rows=[*MARKET, *[("Standard", *row[1:]) for row in MARKET]])
    body = await problem_of(await client.get("/v1/pc/Standard/items"), 503, "no-prices-yet")

    assert "river = true" in body["hint"]


async def test_what_is_too_old_is_marked_or_refused_as_the_route_is_configured(client, world):
    await world.clock.advance(301)
    stale = await get(client, f"{LIST}/{quoted(HEADHUNTER)}")

    assert (stale["stale"], stale["item"]["stale"]) == (True, True)
    assert "more than the 10 min allowed" in stale["warning"]
    world.rules = Freshness(route={"item": RouteFreshness(policy="refuse")})
    await problem_of(await client.get(f"{LIST}/{quoted(HEADHUNTER)}"), 503, "stale")
    assert (await get(client, LIST))["stale"] is True


async def test_where_stale_prices_are_refused_a_list_leaves_out_the_old_ones_and_says_how_many(client, world):
    old = [item(f"card|Old {n}", as_of_s=int(world.clock.now()) - 4000) for n in range(3)]
    await world.load(items=[*ITEMS, *old])
    world.rules = Freshness(policy="refuse")
    answer = await get(client, LIST)

    assert (answer["count"], answer["withheld"], answer["total"]) == (15, 3, 18)


async def test_a_copy_is_good_until_the_prices_change(client, world):
    for path in (LIST, f"{LIST}/{quoted(HEADHUNTER)}", "/v1/pc/Mirage/prices"):
        tag = (await client.get(path)).headers["ETag"]
        again = await client.get(path, headers={"If-None-Match": tag})

        assert (again.status, again.headers["ETag"]) == (304, tag)
    await world.load(items=ITEMS[:5])
    assert (await client.get(path, headers={"If-None-Match": tag})).status == 200


async def changes(world):
    """One thing after another that ages, rules or prices can do; between the first two only time passes."""
    yield "begun"
    await world.clock.advance(60)
    yield "a minute later"
    await world.clock.advance(241)
    yield "items are stale"
    await world.load(rows=[*MARKET[:2], gold(EXALTED, HOUR_S - 7200, chaos=12.5, change_24h=-0.5, confidence=0.99)])
    yield "a currency is older than the others"
    world.rules = Freshness(currency_max_age_s=7300)
    yield "it is too old, and moved with them"
    world.rules = Freshness(currency_max_age_s=9000)
    yield "it need not be newer"
    world.rules = Freshness(policy="refuse", items_max_age_s=900)
    yield "it must be newer"
    await world.load(items=[*ITEMS[1:], item(HEADHUNTER, 9100.0, as_of_s=int(world.clock.now()) - 899)])
    yield "an item has another price and age"
    await world.clock.advance(2)
    yield "it is too old now"
    world.rules = Freshness()
    await world.clock.advance(3901)
    yield "all is stale"


@pytest.mark.parametrize(
    "path",
    [
        "/v1/pc/Mirage/search?q=e",
        "/v1/pc/Mirage/search?q=orb&kind=currency",
        "/v1/pc/Mirage/movers?span=24h",
        "/v1/pc/Mirage/movers?kind=item",
        "/v1/pc/Mirage/convert?from=divine&to=exa",
        "/v1/pc/Mirage/prices",
    ],
)
async def test_answers_of_one_etag_differ_in_their_ages_alone(client, world, path):
    told, tags = {}, []
    async for state in changes(world):
        response = await client.get(path)
        if response.status == 503:
            continue
        body, tag = await response.json(), response.headers["ETag"]
        again = await client.get(path, headers={"If-None-Match": tag})
        ageless = {name: fact for name, fact in body.items() if name not in {"age_s", "warning"}}
        tags.append(tag)

        assert (again.status, again.headers["ETag"], await again.read()) == (304, tag, b""), state
        assert again.headers["Cache-Control"] == response.headers["Cache-Control"] == "public, max-age=5"
        assert told.setdefault(tag, ageless) == ageless, state
    assert tags[0] == tags[1]
    assert len(set(tags)) >= 3


@pytest.mark.parametrize(
    ("words", "first"),
    [
        ("hedhunter", HEADHUNTER),
        ("divine", DIVINE),
        ("exalted+orb", "Metadata/Items/Currency/CurrencyAddModToRare"),
        ("6l+regalia", "base|Vaal Regalia|links=6|ilvl=86"),
        ("21/20c+spark", "gem|Spark|level=21|quality=20|corrupted=true"),
    ],
)
async def test_a_search_finds_currencies_and_items_typos_forgiven(client, words, first):
    answer = await get(client, f"/v1/pc/Mirage/search?q={words}")

    assert answer["results"][0]["price"]["id"] == first
    assert {name: answer[name] for name in AGE} == AGE


async def test_a_search_keeps_to_its_kind_and_to_its_limit(client):
    answer = await get(client, "/v1/pc/Mirage/search?q=orb&kind=item")

    assert all(each["price"]["kind"] == "item" for each in answer["results"])
    assert len((await get(client, "/v1/pc/Mirage/search?q=e&limit=2"))["results"]) <= 2


async def test_a_whole_league_is_every_price_in_a_few_fields(client):
    answer = await get(client, "/v1/pc/Mirage/prices")
    kinds = [each["kind"] for each in answer["prices"]]

    assert kinds == ["currency"] * 4 + ["item"] * 15
    assert answer["count"] == 19
    (one,) = [each for each in answer["prices"] if each["id"] == HEADHUNTER]
    assert {"name": "Headhunter", "chaos": 9000.0, "confidence": 0.9, "listings": 60}.items() <= one.items()


async def test_a_large_answer_is_streamed_packed_and_the_same_again_from_its_copy(world):
    many = [item(f"card|Number {n:04}", float(n + 1), 1 + n % 7) for n in range(1200)]
    await world.load(items=many)
    async with browsing(world.deps()) as client:
        bodies = []
        for encoding in ("gzip", "gzip", "zstd", "identity"):
            response = await client.get("/v1/pc/Mirage/prices", headers={"Accept-Encoding": encoding})
            bodies.append(await response.read())

            assert response.headers.get("Content-Encoding", "identity") == encoding
            assert response.headers["Vary"] == "Accept-Encoding"
            assert response.headers["Access-Control-Allow-Origin"] == "*"

    assert bodies[0] == bodies[1] == bodies[2] == bodies[3]
    assert len(orjson.loads(bodies[0])["prices"]) == 1204


async def test_up_to_a_thousand_keys_are_looked_up_in_the_order_asked(client):
    keys = [HEADHUNTER, "div", "nothing at all", DIVINE]
    response = await client.post("/v1/prices", json={"realm": "PC", "league": "mirage", "keys": keys})
    answer = await response.json()

    assert {name: answer[name] for name in (*PLACE, *AGE)} == {**PLACE, **AGE}
    assert [each["key"] for each in answer["prices"]] == keys
    assert [each["price"] and each["price"]["id"] for each in answer["prices"]] == [HEADHUNTER, DIVINE, None, DIVINE]
    assert answer["found"] == 3


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (b"", 400, "bad-request"),
        (b"{", 400, "bad-request"),
        (b"[]", 400, "bad-request"),
        (b'{"realm": "pc", "league": "Mirage"}', 400, "bad-request"),
        (b'{"realm": "pc", "league": "Mirage", "keys": [1]}', 400, "bad-request"),
        (b'{"realm": "pc", "league": "Mirage", "keys": [""]}', 400, "bad-request"),
        (b'{"realm": "pc", "league": "Mirage", "keys": [], "more": 1}', 400, "bad-request"),
        (b'{"realm": "pc", "league": "Mirage", "keys": ["\\ud800"]}', 400, "bad-request"),
        (b'{"realm": "pc", "league": "Mirrage", "keys": []}', 404, "not-known"),
        (orjson.dumps({**PLACE, "keys": ["a"] * (KEYS_MAX + 1)}), 400, "bad-request"),
        (b"\xff\xfe", 400, "bad-request"),
        (b"[" * 100_000, 400, "bad-request"),
        (b" " * (1 << 21), 413, "too-large"),
    ],
)
async def test_a_body_that_makes_no_sense_is_refused(client, body, status, kind):
    response = await client.post("/v1/prices", data=BytesIO(body), headers={"Content-Type": "application/json"})

    await problem_of(response, status, kind)


async def test_a_body_that_says_it_is_no_json_is_refused(client):
    await problem_of(await client.post("/v1/prices", data="realm=pc"), 415, "not-json")


async def test_a_body_that_is_not_packed_as_it_says_is_refused(client):
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    response = await client.post("/v1/prices", data=b"{}", headers=headers)

    await problem_of(response, 400, "bad-request")


async def test_movers_are_gains_and_losses_among_what_is_sure(client):
    answer = await get(client, "/v1/pc/Mirage/movers?span=24h&limit=2")

    assert [each["change"] for each in answer["up"]] == [0.12, 0.05]
    assert [(each["change"], each["price"]["name"]) for each in answer["down"]] == [(-0.08, "Mageblood")]
    poor = await get(client, "/v1/pc/Mirage/movers?min_turnover=100000&kind=item")
    assert [each["price"]["name"] for each in poor["up"] + poor["down"]] == ["Mageblood"]


async def test_an_amount_is_converted_at_both_prices(client):
    answer = await get(client, "/v1/pc/Mirage/convert?from=divine&to=exa&amount=3")

    assert (answer["rate"], answer["result"], answer["to_name"]) == (12.0, 36.0, "Exalted Orb")
    assert answer["confidence"] == pytest.approx(0.97 * 0.6)
    body = await problem_of(await client.get("/v1/pc/Mirage/convert?from=divin"), 404, "not-known")
    assert body["suggestions"][0] == "Divine Orb"
    await problem_of(await client.get("/v1/pc/Mirage/convert?to=chaos"), 400, "bad-request")
    await problem_of(await client.get("/v1/pc/Mirage/convert?from=mirror"), 404, "not-known")


async def test_listeners_are_told_what_stands_and_then_what_is_new(client, world):
    response = await client.get("/v1/events?layer=items")
    told = [await next_event(response)]
    await world.load(items=ITEMS[:3])
    told.append(await next_event(response))

    assert response.content_type == "text/event-stream"
    assert [each["count"] for each in told] == [15, 3]
    assert told[0] == {**PLACE, "layer": "items", "as_of": AGE["as_of"], "count": 15, "tag": told[0]["tag"]}
    response.close()


async def test_a_stop_ends_the_streams(world):
    async with browsing(world.deps()) as client:
        response = await client.get("/v1/events")
        await next_event(response)
        began_s = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - began_s < 10  # left to themselves they would be waited for a minute


async def test_a_browser_that_asks_first_may_post_prices(client):
    asked = {"Origin": "https://tool.example", "Access-Control-Request-Method": "POST"}
    response = await client.options("/v1/prices", headers=asked)

    assert response.status == 204
    assert "POST" in response.headers["Access-Control-Allow-Methods"]
    assert response.headers["Access-Control-Allow-Origin"] == "*"


async def next_event(response):
    """The data of the next event of a stream."""
    while True:
        line = await asyncio.wait_for(response.content.readline(), 30)
        if line.startswith(b"data: "):
            return orjson.loads(line.removeprefix(b"data: "))


async def test_a_head_request_gets_no_body_and_leaves_the_connection_good(world):
    await world.load(items=[item(f"card|Number {n:04}", float(n + 1)) for n in range(1200)])
    async with browsing(world.deps()) as client:
        for path in ("/v1/pc/Mirage/prices", "/v1/pc/Mirage/items?limit=1000", "/v1/events", LIST):
            response = await client.head(path)

            assert (response.status, await response.read()) == (200, b"")
            assert (await get(client, "/healthz")) == {"ok": True}


async def test_the_age_of_both_layers_together_is_that_of_the_older_one(client, world):
    await world.clock.advance(3600)
    await world.load(items=[item(HEADHUNTER, 9000.0, as_of_s=int(world.clock.now()) - 300)])
    for path in ("/v1/pc/Mirage/prices", "/v1/pc/Mirage/search?q=divine", "/v1/pc/Mirage/movers"):
        answer = await get(client, path)

        assert (answer["as_of"], answer["age_s"], answer["stale"]) == ("2025-10-09T09:00:00Z", 3600.0, False)
    await world.clock.advance(600)
    assert (await get(client, "/v1/pc/Mirage/prices"))["stale"] is True
    assert "15 min old" in (await get(client, "/v1/pc/Mirage/prices?kind=item"))["warning"]
    assert "70 min old" in (await get(client, "/v1/pc/Mirage/prices"))["warning"]


async def test_what_last_traded_days_ago_is_marked_and_has_not_moved_now(client, world):
    old = gold(EXALTED, HOUR_S - 6 * 24 * 3600, chaos=12.5, change_24h=3.0, confidence=0.99)
    await world.load(rows=[MARKET[0], MARKET[1], old])
    body = {**PLACE, "keys": [EXALTED]}
    (looked,) = (await (await client.post("/v1/prices", json=body)).json())["prices"]
    (listed,) = [each for each in (await get(client, "/v1/pc/Mirage/prices"))["prices"] if each["id"] == EXALTED]

    assert (looked["price"]["stale"], listed["stale"]) == (True, True)
    assert all(each["price"]["id"] != EXALTED for each in (await get(client, "/v1/pc/Mirage/movers"))["up"])
    world.rules = Freshness(policy="refuse")
    (looked,) = (await (await client.post("/v1/prices", json=body)).json())["prices"]
    answer = await get(client, "/v1/pc/Mirage/prices")
    assert looked["price"] is None
    assert (answer["withheld"], EXALTED in {each["id"] for each in answer["prices"]}) == (1, False)
    assert (await get(client, "/v1/pc/Mirage/search?q=exalted"))["results"] == []


async def test_a_cursor_of_another_list_is_refused(client):
    cursor = (await get(client, f"{LIST}?order=key&limit=1"))["next"]
    await problem_of(await client.get(f"/v1/pc/Mirage/currency?cursor={cursor}"), 400, "bad-request")


async def test_listening_to_a_league_that_is_none_is_a_404_that_suggests(client):
    body = await problem_of(await client.get("/v1/events?realm=pc&league=Mirrage"), 404, "not-known")

    assert body["suggestions"] == ["Mirage"]
