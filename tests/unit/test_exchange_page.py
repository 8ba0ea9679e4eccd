"""What answers of the exchange mean, edge and hostile ones too."""

import gzip
import json
from pathlib import Path

import orjson
import pytest

from ledgerd.harvest.exchange_page import (
    MARKETS_MAX,
    Digest,
    NeverWas,
    NotYet,
    UnreadablePage,
    landable,
    read_answer,
)

HOUR = 1_787_119_200
RECORDED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "exchange"


def page(next_hour=HOUR + 3600, markets=()):
    return orjson.dumps({"next_change_id": next_hour, "markets": list(markets)})


def market(league="Standard"):
    return {"league": league, "market_id": "chaos|divine", "market_pair": ["chaos", "divine"]}


def test_the_digest_belongs_to_the_hour_asked():
    assert read_answer(HOUR, 200, page()) == Digest(HOUR, HOUR + 3600)


def test_the_oldest_hour_is_the_one_before_the_next():
    assert read_answer(None, 200, page()) == Digest(HOUR, HOUR + 3600)


def test_a_digest_may_name_a_later_hour_and_the_gap_is_kept():
    assert read_answer(HOUR, 200, page(HOUR + 7200)) == Digest(HOUR, HOUR + 7200)


@pytest.mark.parametrize("status", [200, 404])
def test_an_unpublished_hour_is_waited_for(status):
    assert read_answer(HOUR, status, page(HOUR)) == NotYet(HOUR)


def test_a_404_one_hour_ahead_is_still_waited_for():
    assert read_answer(HOUR, 404, page(HOUR + 3600)) == NotYet(HOUR + 3600)


def test_a_404_further_ahead_says_the_hours_between_never_were():
    assert read_answer(HOUR, 404, page(HOUR + 7200)) == NeverWas(HOUR + 7200)


def test_a_404_behind_the_hour_asked_is_waited_for():
    assert read_answer(HOUR, 404, page(HOUR - 7200)) == NotYet(HOUR - 7200)


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (200, page(HOUR - 3600), "behind"),
        (200, page(HOUR + 1), "whole hour"),
        (200, b'{"next_change_id": 1e400, "markets": []}', "whole hour"),
        (200, b'{"next_change_id": 99999999999999999999, "markets": []}', "whole hour"),
        (200, b'{"next_change_id": true, "markets": []}', "whole hour"),
        (200, b'{"markets": []}', "whole hour"),
        (200, b'{"next_change_id": 1787122800}', "not a list"),
        (200, b"<html>", "not JSON"),
        (200, b"", "not JSON"),
        (200, b"[]", "not a JSON object"),
        (200, b"[" * 100_000 + b"]" * 100_000, "not JSON"),
        (404, page(HOUR, [market()]), "came with markets"),
        (404, b"<html>not found</html>", "not JSON"),
        (500, page(), "HTTP status 500"),
        (429, b"", "HTTP status 429"),
    ],
)
def test_anything_else_is_unreadable_and_says_why(status, body, reason):
    with pytest.raises(UnreadablePage, match=reason):
        read_answer(HOUR, status, body)


def test_a_byte_order_mark_and_a_number_as_text_are_read():
    assert read_answer(HOUR, 200, b"\xef\xbb\xbf" + page(str(HOUR + 3600))) == Digest(HOUR, HOUR + 3600)


def test_a_readable_page_lands_as_it_came():
    body = page(markets=[market(), market(), market("Mine (PL1)"), {"no": "league"}, 5])
    ready = landable(body)

    assert ready.body is body
    assert ready.leagues == {"Standard": 2, "Mine (PL1)": 1, "": 2}


@pytest.mark.parametrize("poison", [b"1e400", b'"\\ud800"', b"NaN"])
def test_one_poisoned_market_does_not_take_the_page_with_it(poison):
    good, bad = orjson.dumps(market()), b'{"league": "Standard", "x": ' + poison + b"}"
    ready = landable(b'{"next_change_id": 3600, "markets": [' + good + b"," + bad + b"]}")

    assert orjson.loads(ready.body) == {"markets": [market()]}
    assert ready.leagues == {"Standard": 1}
    assert len(ready.unreadable) == 1
    assert json.loads(ready.unreadable[0])["league"] == "Standard"


@pytest.mark.parametrize("read", [lambda body: read_answer(HOUR, 200, body), landable])
def test_an_hour_of_too_many_markets_is_unreadable(read):
    read(page(markets=[0] * MARKETS_MAX))
    with pytest.raises(UnreadablePage, match="50001 markets are more than 50000"):
        read(page(markets=[0] * (MARKETS_MAX + 1)))


@pytest.mark.skipif(not RECORDED.is_dir(), reason="../shared is not present: no recorded hours to read")
def test_recorded_hours_and_the_recorded_edge_are_read():
    digests = 0
    for path in RECORDED.glob("*-*.json.gz"):
        body = gzip.decompress(path.read_bytes())
        if path.name.startswith("not-published"):
            edge = json.loads(body)["next_change_id"]
            assert read_answer(edge, 404, body) == NotYet(edge)
            continue
        hour = int(path.name.split(".")[0].split("-")[1])
        assert read_answer(hour, 200, body) == Digest(hour, hour + 3600)
        assert landable(body).leagues.total() == len(json.loads(body)["markets"])
        digests += 1

    assert digests == 4
