"""Faults on order: each does what its name says, to what it may strike, and when it was ordered."""

import zlib

import orjson
import pytest

from ledgerd.sim import faults
from ledgerd.sim.faults import AT_RANDOM, FAULTS, Answer, FaultPlan, Order, apply, read_orders

HOUR = 1_787_086_800


def one(volume=7):
    pair = ["A", "B"]
    tables = {name: {"A": volume, "B": volume} for name in ("volume_traded", "lowest_stock", "highest_stock")}
    ratios = {name: {"A": 1, "B": 1} for name in ("lowest_ratio", "highest_ratio")}
    return {"league": "Standard", "market_id": "A|B", "market_pair": pair, **tables, **ratios}


TRUE = Answer(200, orjson.dumps({"next_change_id": HOUR + 3600, "markets": [one(), one(8), one(9)]}))


def struck(fault, pick=1):
    return apply(fault, TRUE, pick)


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [("http_500", 500, 4), ("http_401", 401, 8), ("http_403", 403, 6), ("http_429", 429, 3)],
)
def test_api_errors_carry_the_documented_code(fault, status, code):
    answer = struck(fault)

    assert answer.status == status
    assert orjson.loads(answer.body)["error"]["code"] == code


@pytest.mark.parametrize(
    ("fault", "status"), [("http_502", 502), ("http_503", 503), ("http_404_html", 404), ("html", 200)]
)
def test_pages_in_the_way_are_html(fault, status):
    answer = struck(fault)

    assert (answer.status, answer.content_type.split(";")[0]) == (status, "text/html")
    assert answer.body.startswith(b"<!DOCTYPE html>")


def test_a_429_says_how_long_to_wait():
    assert ("Retry-After", "60") in struck("http_429").headers


def test_a_truncated_gzip_opens_and_does_not_end():
    answer = struck("truncated_gzip")
    opener = zlib.decompressobj(31)

    assert answer.encoding == "gzip"
    assert TRUE.body.startswith(opener.decompress(answer.body))
    assert not opener.eof


def test_a_gzip_bomb_is_small_and_opens_to_a_gibibyte():
    answer = struck("gzip_bomb")
    opener, size, rest = zlib.decompressobj(31), 0, answer.body
    while rest:
        size += len(opener.decompress(rest, 1 << 24))
        rest = opener.unconsumed_tail

    assert answer.encoding == "gzip"
    assert len(answer.body) < 2 << 20
    assert size == faults.BOMB_BYTES == 1 << 30


@pytest.mark.parametrize("fault", ["garbage", "deep_json", "bad_utf8", "huge_number", "lone_surrogate", "bom"])
def test_bodies_no_parser_takes(fault):
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(struck(fault).body)


def test_deep_json_is_a_hundred_thousand_lists_deep():
    assert b"[" * 100_000 in struck("deep_json").body


def test_a_bom_stands_before_an_otherwise_true_body():
    assert struck("bom").body == b"\xef\xbb\xbf" + TRUE.body


@pytest.mark.parametrize(
    ("fault", "value"), [("negative_number", -7), ("float_number", 7.5), ("overflow_int64", 1 << 63)]
)
def test_one_number_of_one_market_is_changed(fault, value):
    page, true = orjson.loads(struck(fault, pick=1).body), orjson.loads(TRUE.body)
    true["markets"][1]["volume_traded"]["B"] = value

    assert page == true


def test_a_nul_byte_comes_through_a_parser():
    assert orjson.loads(struck("nul_byte").body)["markets"][1]["league"] == "Sta\0ndard"


def test_a_missing_field_is_missing_in_one_market():
    missing = [m for m in orjson.loads(struck("missing_field").body)["markets"] if "volume_traded" not in m]

    assert len(missing) == 1


def test_duplicate_keys_say_the_league_twice():
    assert struck("duplicate_keys").body.count(b'"league"') == 4


@pytest.mark.parametrize(("fault", "hour"), [("backwards_cursor", HOUR - 3600), ("repeated_cursor", HOUR)])
def test_a_wrong_cursor_leaves_the_markets_alone(fault, hour):
    page, true = orjson.loads(struck(fault).body), orjson.loads(TRUE.body)

    assert page == {**true, "next_change_id": hour}


@pytest.mark.parametrize("fault", ["reset", "hang", "slow"])
def test_faults_of_delivery_leave_the_answer_alone(fault):
    assert struck(fault) == TRUE


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_strikes_the_same_way_twice(fault):
    assert struck(fault, 12345) == struck(fault, 12345)


def test_orders_are_carried_out_in_order_and_once():
    plan = FaultPlan()
    plan.order([Order("html"), Order("reset")])

    assert [plan.take(n, HOUR, has_markets=True) for n in range(3)] == ["html", "reset", None]


def test_an_order_for_an_hour_waits_for_it():
    plan = FaultPlan()
    plan.order([Order("html", HOUR), Order("reset")])

    assert [plan.take(n, hour, has_markets=True) for n, hour in enumerate([HOUR - 3600, HOUR, HOUR])] == [
        "reset",
        "html",
        None,
    ]


def test_damage_waits_for_an_answer_with_markets():
    plan = FaultPlan()
    plan.order([Order("bom"), Order("html")])

    assert [plan.take(1, HOUR, has_markets=False), plan.take(2, HOUR, has_markets=True)] == ["html", "bom"]


def test_a_rate_strikes_its_share_and_the_same_answers_each_time():
    runs = [[FaultPlan(3, 0.2, ("html", "reset")).take(n, None, has_markets=True) for n in range(4000)] for _ in (1, 2)]

    assert runs[0] == runs[1]
    assert 0.17 < sum(fault is not None for fault in runs[0]) / 4000 < 0.23
    assert {*runs[0]} == {"html", "reset", None}


def test_a_rate_without_names_draws_neither_hang_nor_bomb():
    plan = FaultPlan(3, 1.0)

    assert {plan.take(n, None, has_markets=True) for n in range(3000)} == set(AT_RANDOM)
    assert {"hang", "gzip_bomb"} & set(AT_RANDOM) == set()


def test_an_unknown_fault_is_refused_with_the_list():
    with pytest.raises(ValueError, match=r"unknown fault 'htlm': expected one of http_500, .*float_number"):
        FaultPlan(faults=("htlm",))
    with pytest.raises(ValueError, match="expected 0 to 1"):
        FaultPlan(rate=1.5)


def test_orders_are_read_from_names_and_objects():
    read = read_orders(["html", {"fault": "reset", "hour": HOUR}])

    assert read == [Order("html"), Order("reset", HOUR)]


@pytest.mark.parametrize(
    "value", [{}, "html", [1], [{"fault": "html", "hours": 1}], [{"hour": 1}], [{"fault": "html", "hour": "x"}], ["x"]]
)
def test_orders_of_another_shape_are_refused(value):
    with pytest.raises(ValueError, match="expected"):
        read_orders(value)
