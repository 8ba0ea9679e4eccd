"""Native blocks judged by the engine itself: what we write it reads, what it writes we read."""

import asyncio
import random
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from ledgerd.store.native import BLOCK_INFO, encode_block, read_block

CASES = {
    "String": ["", "é🎉", b"\xff\x00", "x" * 300],
    "FixedString(3)": ["abc", b"\xff\xfe\xfd"],
    "UInt64": [0, 2**64 - 1],
    "Int256": [-(2**255), 2**255 - 1],
    "Bool": [True, False],
    "Date32": [date(1900, 1, 1), date(2299, 12, 31)],
    "DateTime64(6)": [datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)],
    "Nullable(Decimal(9, 2))": [Decimal("-1.50"), None],
    "Enum8('sell' = 1, 'it\\'s' = -2)": ["sell", "it's"],
    "LowCardinality(String)": ["a", "b", "a", ""],
    "LowCardinality(Nullable(String))": ["a", None, "a", ""],
    "Array(LowCardinality(String))": [["a", "b", "a"], []],
    "Array(Array(Nullable(String)))": [[["a", None], []], []],
    "Tuple(a LowCardinality(String), b Array(UInt8))": [("x", [1]), ("y", [])],
    "Map(LowCardinality(String), Array(Nullable(UInt8)))": [{"a": [1, None], "b": []}, {}],
    "Map(String, Map(String, UInt8))": [{"a": {"b": 1}, "c": {}}, {}],
    "Array(Tuple(name String, n Nullable(UInt8)))": [[("a", 1), ("b", None)], []],
    "SimpleAggregateFunction(max, UInt32)": [7, 8],
}


class Bytes:
    """A source over bytes in memory."""

    def __init__(self, data):
        self._data = data
        self.at = 0

    async def read_bytes(self, length):
        self.at += length
        assert self.at <= len(self._data)
        return self._data[self.at - length : self.at]

    async def read_varint(self):
        value = shift = 0
        while True:
            (byte,) = await self.read_bytes(1)
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    async def read_strs(self, n_items, *, as_bytes):
        return [await self.read_bytes(await self.read_varint()) for _ in range(n_items)]


def read(data):
    source = Bytes(data)
    columns, values = asyncio.run(read_block(source))
    assert source.at == len(data), "the block is longer than what was read of it"
    return columns, [list(column) for column in values]


@pytest.fixture(scope="module")
def through_engine(tmp_path_factory):
    """Write a block into a table and have the engine write it back, as one block."""
    session = pytest.importorskip("chdb.session").Session(str(tmp_path_factory.mktemp("native")))
    file = tmp_path_factory.mktemp("block") / "block.native"
    session.query("SET max_block_size = 10000000, max_insert_block_size = 10000000, max_threads = 1")

    def store(type_name, block):
        file.write_bytes(block[len(BLOCK_INFO) :])
        session.query("DROP TABLE IF EXISTS t")
        session.query(f"CREATE TABLE t (v {type_name}) ENGINE = Memory SETTINGS compress = 0")
        session.query(f"INSERT INTO t FROM INFILE '{file}' FORMAT Native")
        return BLOCK_INFO + bytes(session.query("SELECT v FROM t", "Native").bytes())

    yield store
    session.cleanup()


@pytest.mark.parametrize(("type_name", "values"), CASES.items(), ids=CASES)
def test_the_engine_and_we_understand_each_other(through_engine, type_name, values):
    block = encode_block([("v", type_name)], [(value,) for value in values])

    assert read(block) == ([("v", type_name)], [values])
    assert read(through_engine(type_name, block))[1] == [values]


@pytest.mark.parametrize("distinct", [1, 255, 256, 257, 70_000])
def test_a_dictionary_of_any_size(through_engine, distinct):
    rng = random.Random(distinct)
    values = [f"v{n}" for n in range(distinct)] + [rng.choice([None, f"v{rng.randrange(distinct)}"]) for _ in range(9)]
    block = encode_block([("v", "LowCardinality(Nullable(String))")], [(value,) for value in values])

    assert read(through_engine("LowCardinality(Nullable(String))", block))[1] == [values]


@pytest.mark.parametrize("type_name", CASES)
def test_a_block_without_rows_has_its_types(type_name):
    assert read(BLOCK_INFO + b"\1\0" + packed("v") + packed(type_name)) == ([("v", type_name)], [])


def packed(text):
    return bytes([len(text)]) + text.encode()


@pytest.mark.parametrize(
    ("type_name", "value", "said"),
    [
        ("UInt8", 256, "row 1, column v: 256 does not fit UInt8"),
        ("Array(UInt8)", "12", "row 1, column v: '12' does not fit Array"),
        ("LowCardinality(String)", None, "row 1, column v: None does not fit"),
        ("Tuple(UInt8, UInt8)", (1,), r"row 1, column v: \(1,\) does not fit"),
        ("Map(String, UInt8)", [1], r"row 1, column v: \[1\] does not fit"),
        ("DateTime('UTC')", datetime(2026, 1, 1), "row 1, column v: datetime.* does not fit"),  # noqa: DTZ001 -- naive
    ],
)
def test_a_bad_value_is_named_by_row_and_column(type_name, value, said):
    good = {"UInt8": 1, "Array(UInt8)": [], "LowCardinality(String)": "", "Tuple(UInt8, UInt8)": (1, 1)}
    first = good.get(type_name, {} if type_name.startswith("Map") else 0)
    with pytest.raises(ValueError, match=said):
        encode_block([("v", type_name)], [(first,), (value,)])


def test_a_row_of_another_length_is_named():
    with pytest.raises(ValueError, match="row 1 has 1 values for 2 columns"):
        encode_block([("a", "UInt8"), ("b", "UInt8")], [(1, 2), (3,)])
