"""Rows as tables: what the engine writes of an answer's rows is what the answer's JSON says."""

import csv
import io
from contextlib import asynccontextmanager
from urllib.parse import quote

import orjson
import pytest

from ledgerd.store.queries import load_queries
from tests.prices import HEADHUNTER, ITEMS, MARKET, World, item
from tests.store.market import fill
from tests.webclient import browsing

PATHS = {
    "prices": "/v1/pc/Mirage/prices",
    "items": "/v1/pc/Mirage/items?limit=50000",
    "prices ": "/v1/pc/Mirage/currency",
}
ASKED = {
    "points": "/v1/pc/Mirage/currency/divine/history",
    "points ": f"/v1/pc/Mirage/items/{quote(HEADHUNTER, safe='')}/history?step=day",
    "liquidity": "/v1/pc/Mirage/liquidity",
}
"""What the engine is asked for, by what the rows are called."""


@pytest.fixture
async def client(each_engine):
    async with serving(each_engine) as client:
        yield client


@pytest.fixture
async def filled(each_engine):
    """A client of an engine that has gold."""
    await fill(each_engine)
    async with serving(each_engine) as client:
        yield client


@asynccontextmanager
async def serving(engine):
    many = [item(f"card|Card {n} of 'all' \\ \"that\"|level={n}", n / 7) for n in range(300)]
    world = World(MARKET, items=[*ITEMS, *many])
    await world.load()
    async with browsing(world.deps(engine=engine, queries=load_queries())) as client:
        yield client


def flat(row):
    """A row as a table has it: fields of objects are columns of their own."""
    facts = {}
    for name, value in row.items():
        if isinstance(value, dict) and name != "parts":
            facts |= {f"{name}_{inner}": each for inner, each in value.items()}
        else:
            facts[name] = value
    return facts


def formatted(path, form):
    return f"{path}{'&' if '?' in path else '?'}format={form}"


async def rows_of(client, path, name):
    answer = await (await client.get(path)).json()
    return [flat(row) for row in answer[name.strip()]]


@pytest.mark.parametrize(("name", "path"), PATHS.items())
async def test_csv_has_a_column_for_each_fact_and_the_same_values(client, name, path):
    await csv_is_json(client, name, path)


async def test_csv_of_what_the_engine_is_asked_for_has_the_same_values(filled):
    for name, path in ASKED.items():
        await csv_is_json(filled, name, path)


async def csv_is_json(client, name, path):
    expected = await rows_of(client, path, name)
    response = await client.get(formatted(path, "csv"))
    found = list(csv.DictReader(io.StringIO(await response.text())))

    assert response.status == 200, await response.text()
    assert response.content_type == "text/csv"
    assert list(found[0]) == list(expected[0])
    for row, facts in zip(found, expected, strict=True):
        for column, value in facts.items():
            if isinstance(value, bool):
                assert row[column] == str(value).lower()
            elif isinstance(value, int | float):
                assert float(row[column]) == value
            elif value is None:
                assert row[column] == "\\N"
            elif isinstance(value, str) and column in {"begin", "as_of"}:
                assert row[column] == f"{value[:10]} {value[11:19]}.000"


async def test_what_fields_names_is_all_there_is(client):
    response = await client.get("/v1/pc/Mirage/items?format=csv&fields=key,evidence&limit=1")
    head = (await response.text()).splitlines()[0]

    assert head.split(",")[:3] == ['"key"', '"evidence_listings"', '"evidence_units"']
    assert "chaos" not in head


@pytest.mark.parametrize(("form", "magic"), [("parquet", b"PAR1"), ("arrow", b"\xff\xff\xff\xff")])
async def test_arrow_and_parquet_are_what_they_say_where_the_engine_is_embedded(client, each_engine, form, magic):
    await is_table(client, each_engine, f"/v1/pc/Mirage/items?limit=50000&format={form}", magic, 10_000)


@pytest.mark.parametrize(("form", "magic"), [("parquet", b"PAR1"), ("arrow", b"\xff\xff\xff\xff")])
async def test_so_they_are_of_what_the_engine_is_asked_for(filled, each_engine, form, magic):
    for path in ASKED.values():
        await is_table(filled, each_engine, formatted(path, form), magic, 1_000)


async def is_table(client, engine, path, magic, bytes_min):
    response = await client.get(path)
    body = await response.read()
    if engine.info.name == "server":
        assert (response.status, orjson.loads(body)["type"]) == (400, "urn:ledgerd:bad-request")
        return

    assert response.status == 200, body
    assert body.startswith(magic)
    assert len(body) > bytes_min


async def test_no_rows_are_no_rows_in_every_format(client, each_engine):
    for form in ("csv", "ndjson", *(("parquet", "arrow") if each_engine.info.name == "embedded" else ())):
        response = await client.get(f"/v1/pc/Mirage/items?min_confidence=1&format={form}")
        body = await response.read()

        assert (response.status, response.headers["Ledgerd-Count"]) == (200, "0")
        if form == "csv":
            assert len(body.splitlines()) == 1
        elif form == "parquet":
            assert int.from_bytes(body[-8:-4], "little") > 0
            assert b"PAR1" in body[-4:]


async def test_a_past_without_points_is_a_line_of_names_and_has_no_age(filled):
    response = await filled.get("/v1/pc/Mirage/currency/mirror/history?format=csv")
    body = await response.text()

    assert (response.status, "Ledgerd-As-Of" in response.headers) == (200, False)
    assert body.splitlines() == [
        '"begin","as_of","chaos","divine","open","high","low","units","confidence","low_sample","hours"'
    ]
