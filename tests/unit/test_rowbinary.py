"""RowBinary in pure Python: what goes in comes out, and what does not fit is said."""

import struct
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledgerd.store.chtype import ChType, enum_values, parse_type, tuple_fields
from ledgerd.store.rowbinary import EPOCH, decimal_width, encode_rows, encoder, varint
from ledgerd.store.rowdecode import decode_rows, decoder

LEAVES = {
    "UInt8": st.integers(0, 2**8 - 1),
    "UInt16": st.integers(0, 2**16 - 1),
    "UInt32": st.integers(0, 2**32 - 1),
    "UInt64": st.integers(0, 2**64 - 1),
    "UInt256": st.integers(0, 2**256 - 1),
    "Int8": st.integers(-(2**7), 2**7 - 1),
    "Int64": st.integers(-(2**63), 2**63 - 1),
    "Int128": st.integers(-(2**127), 2**127 - 1),
    "Float32": st.floats(width=32, allow_nan=False),
    "Float64": st.floats(allow_nan=False),
    "Bool": st.booleans(),
    "String": st.text(),
    "LowCardinality(String)": st.text(),
    "Date": st.dates(date(1970, 1, 1), date(2149, 6, 6)),
    "Date32": st.dates(date(1900, 1, 1), date(2299, 12, 31)),
    "DateTime('UTC')": st.integers(0, 2**32 - 1).map(lambda second: EPOCH + timedelta(seconds=second)),
    "DateTime64(6, 'Europe/Berlin')": st.integers(-(2 * 10**15), 10**16).map(
        lambda micro: EPOCH + timedelta(microseconds=micro)
    ),
    "Decimal(9, 2)": st.decimals(-9_999_999, 9_999_999, places=2),
    "Decimal(38, 10)": st.decimals(-(10**27), 10**27, places=10),
    "Enum8('a' = 1, 'it\\'s, (b)' = -2)": st.sampled_from(["a", "it's, (b)"]),
    "Enum16('z' = 300)": st.just("z"),
    "UUID": st.uuids(),
}


def _containers(inner):
    """A strategy of (type, values) one level above ``inner``."""
    return st.one_of(
        inner.map(lambda pair: (f"Array({pair[0]})", st.lists(pair[1], max_size=4))),
        inner.map(lambda pair: (f"Map(String, {pair[0]})", st.dictionaries(st.text(), pair[1], max_size=4))),
        st.tuples(inner, inner).map(
            lambda two: (f"Tuple(a {two[0][0]}, `b c` {two[1][0]})", st.tuples(two[0][1], two[1][1]))
        ),
        st.tuples(inner, inner).map(lambda two: (f"Tuple({two[0][0]}, {two[1][0]})", st.tuples(two[0][1], two[1][1]))),
    )


NULLABLES = st.sampled_from(
    [(f"Nullable({name})", st.none() | values) for name, values in LEAVES.items() if "Low" not in name]
)
TYPES = st.recursive(st.sampled_from(list(LEAVES.items())) | NULLABLES, _containers, max_leaves=4)


def framed(columns, rows):
    """``rows`` as the engine answers in RowBinaryWithNamesAndTypes."""
    texts = [name for name, _ in columns] + [type_name for _, type_name in columns]
    head = varint(len(columns)) + b"".join(varint(len(text.encode())) + text.encode() for text in texts)
    return head + b"".join(encode_rows(columns, rows))


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.data())
def test_any_value_of_any_type_comes_back(data):
    type_name, values = data.draw(TYPES)
    rows = [(value, 7) for value in data.draw(st.lists(values, max_size=3))]
    columns = [("value", type_name), ("after", "UInt8")]

    found = decode_rows(framed(columns, rows))

    assert found == (columns, rows)


@settings(derandomize=True, deadline=None)
@given(st.binary())
def test_any_bytes_come_back_as_the_same_bytes_or_their_text(raw):
    value, _ = decoder("String")(encoder("String")(raw), 0)

    assert (value.encode() if isinstance(value, str) else value) == raw


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_rubbish_is_a_value_error_or_rows_and_nothing_else(raw):
    try:
        decode_rows(raw)
    except ValueError:
        return


@pytest.mark.parametrize("cut", range(1, 12))
def test_an_answer_cut_short_is_an_error_at_every_byte(cut):
    whole = framed([("a", "String"), ("b", "UInt32")], [("hello", 1)])
    with pytest.raises(ValueError, match=r"whole|inside|type"):
        decode_rows(whole[:-cut] if cut < 10 else whole[: cut - 8])


def test_an_empty_answer_has_no_columns_and_no_rows():
    assert decode_rows(b"") == ([], [])


@pytest.mark.parametrize(
    ("type_name", "value"),
    [
        ("UInt8", 256),
        ("UInt8", -1),
        ("UInt8", 1.0),
        ("UInt8", "1"),
        ("UInt8", None),
        ("Int64", 2**63),
        ("UInt128", 2**128),
        ("Int256", 2**255),
        ("Float32", 1e300),
        ("Float64", "x"),
        ("Bool", 2),
        ("Bool", "yes"),
        ("String", 1),
        ("String", None),
        ("String", "\ud800"),
        ("FixedString(2)", "abc"),
        ("Date", datetime(2026, 1, 1, tzinfo=UTC)),
        ("Date", date(1969, 12, 31)),
        ("DateTime", datetime(2026, 1, 1)),  # noqa: DTZ001 -- a naive one is the subject
        ("DateTime", -1),
        ("DateTime", 2**32),
        ("DateTime", float("nan")),
        ("DateTime64(3)", float("inf")),
        ("DateTime64(9)", 2**60),
        ("Decimal(9, 2)", Decimal(10_000_000)),
        ("Decimal(9, 2)", "x"),
        ("Decimal(9, 2)", Decimal("NaN")),
        ("Decimal(9, 2)", float("inf")),
        ("Enum8('a' = 1)", "b"),
        ("Enum8('a' = 1)", 2),
        ("Array(UInt8)", "ab"),
        ("Array(UInt8)", [1, 300]),
        ("Map(String, UInt8)", [("a", 1)]),
        ("Tuple(UInt8, UInt8)", (1,)),
        ("Tuple(a UInt8)", {"b": 1}),
        ("UUID", "x"),
    ],
)
def test_a_value_that_does_not_fit_is_a_value_error_naming_row_and_column(type_name, value):
    columns = [("fine", "String"), ("bad", type_name)]
    with pytest.raises(ValueError, match=r"row 0, column bad: .* does not fit "):
        list(encode_rows(columns, [("a", value)]))


def test_the_bad_row_is_counted_from_the_first_row_not_from_its_chunk():
    rows = [(1,)] * 5000 + [(-1,)]
    with pytest.raises(ValueError, match="row 5000, column n: -1 does not fit UInt8"):
        list(encode_rows([("n", "UInt8")], rows))


def test_a_row_of_another_length_is_named():
    with pytest.raises(ValueError, match="row 1 has 3 values for 2 columns"):
        list(encode_rows([("a", "UInt8"), ("b", "UInt8")], [(1, 2), (1, 2, 3)]))


@pytest.mark.parametrize("type_name", ["JSON", "AggregateFunction(sum, UInt8)", "Variant(UInt8, String)", "Dynamic"])
def test_a_type_that_cannot_cross_is_refused_with_what_to_do(type_name):
    for make in (encoder, decoder):
        with pytest.raises(ValueError, match="cast it in SQL"):
            make(type_name)


@pytest.mark.parametrize("text", ["", "()", "Array(UInt8", "1a", "UInt8)x"])
def test_what_is_no_type_is_an_error(text):
    with pytest.raises(ValueError, match="not a ClickHouse type"):
        parse_type(text)


@pytest.mark.parametrize(
    ("type_name", "value", "expected"),
    [
        ("DateTime", 7.9, datetime(1970, 1, 1, 0, 0, 7, tzinfo=UTC)),
        ("DateTime64(3)", 1700000000.1239, datetime(2023, 11, 14, 22, 13, 20, 123000, tzinfo=UTC)),
        ("DateTime64(3)", -0.0001, datetime(1969, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)),
        ("DateTime", datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))), datetime(2026, 1, 1, tzinfo=UTC)),
        ("DateTime64(9)", 1, datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)),
        ("Date", 1, date(1970, 1, 2)),
        ("Decimal(9, 1)", 0.25, Decimal("0.2")),
        ("Decimal(9, 1)", "0.35", Decimal("0.4")),
        ("Decimal(9, 0)", 7, Decimal(7)),
        ("Enum8('a' = 1)", 1, "a"),
        ("FixedString(4)", "ab", "ab\0\0"),
        ("String", bytearray(b"ab"), "ab"),
        ("String", b"\xff", b"\xff"),
        ("Bool", 1, True),
        ("Array(UInt8)", (1, 2), [1, 2]),
        ("Tuple(a UInt8, b UInt8)", {"b": 2, "a": 1}, (1, 2)),
        ("UUID", "00112233-4455-6677-8899-aabbccddeeff", UUID("00112233-4455-6677-8899-aabbccddeeff")),
        ("SimpleAggregateFunction(sum, UInt64)", 5, 5),
        ("Nullable(UInt8)", None, None),
    ],
)
def test_other_spellings_of_a_value_are_taken(type_name, value, expected):
    assert decoder(type_name)(encoder(type_name)(value), 0)[0] == expected


def test_an_int_beyond_float_precision_keeps_every_digit():
    assert encoder("DateTime64(9)")(1_700_000_000) == struct.pack("<q", 1_700_000_000 * 10**9)


def test_decimals_take_the_width_of_their_digits():
    assert [decimal_width(digits) for digits in (1, 9, 10, 18, 19, 38, 39, 76)] == [4, 4, 8, 8, 16, 16, 32, 32]


def test_type_names_with_quotes_commas_and_brackets_come_apart():
    assert parse_type("Enum8('a,b' = 1, ')\\'' = 2)") == ChType("Enum8", ("'a,b' = 1", "')\\'' = 2"))
    assert enum_values(("'it''s' = 1", "'\\n' = 2")) == {"it's": 1, "\n": 2}
    assert tuple_fields(("`a b` Array(UInt8)", "DateTime64(3, 'UTC')")) == [
        ("a b", "Array(UInt8)"),
        ("", "DateTime64(3, 'UTC')"),
    ]
