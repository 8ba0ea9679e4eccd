"""Rows as tables: what the engine writes of an answer's rows is what the answer's JSON says."""

import csv
import io

import orjson
import pytest

from tests.prices import ITEMS, MARKET, World, item
from tests.webclient import browsing

PATHS = {
    "prices": "/v1/pc/Mirage/prices",
    "items": "/v1/pc/Mirage/items?limit=50000",
    "prices ": "/v1/pc/Mirage/currency",
}


@pytest.fixture
async def client(each_engine):
    many = [item(f"card|Card {n} of 'all' \\ \"that\"|level={n}", n / 7) for n in range(300)]
    world = World(MARKET, items=[*ITEMS, *many])
    await world.load()
    async with browsing(world.deps(engine=each_engine)) as client:
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


async def rows_of(client, path, name):
    answer = await (await client.get(path)).json()
    return [flat(row) for row in answer[name.strip()]]


@pytest.mark.parametrize(("name", "path"), PATHS.items())
async def test_csv_has_a_column_for_each_fact_and_the_same_values(client, name, path):
    expected = await rows_of(client, path, name)
    response = await client.get(path + ("&" if "?" in path else "?") + "format=csv")
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


async def test_what_fields_names_is_all_there_is(client):
    response = await client.get("/v1/pc/Mirage/items?format=csv&fields=key,evidence&limit=1")
    head = (await response.text()).splitlines()[0]

    assert head.split(",")[:3] == ['"key"', '"evidence_listings"', '"evidence_units"']
    assert "chaos" not in head


@pytest.mark.parametrize(("form", "magic"), [("parquet", b"PAR1"), ("arrow", b"\xff\xff\xff\xff")])
async def test_arrow_and_parquet_are_what_they_say_where_the_engine_is_embedded(client, each_engine, form, magic):
    response = await client.get(f"/v1/pc/Mirage/items?limit=50000&format={form}")
    body = await response.read()
    if each_engine.info.name == "server":
        assert (response.status, orjson.loads(body)["type"]) == (400, "urn:ledgerd:bad-request")
        return

    assert response.status == 200, body
    assert body.startswith(magic)
    assert len(body) > 10_000


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
