"""The document of the Ledger API: right by its own standard, whole, and its shape frozen."""

import copy
import re
import shlex

import jsonschema_rs
import orjson
import pytest
from aiohttp.test_utils import make_mocked_request
from schemathesis.specs.openapi.definitions import OPENAPI_31

from ledgerd.web import samples
from ledgerd.web.app import ENDPOINTS, create_app
from ledgerd.web.endpoint import Endpoint
from ledgerd.web.openapi import OTHERS, document, group, plain
from tests.prices import World
from tests.unit.api_changes import Changes, compare, operations, shape
from tests.unit.record_openapi import now, recorded, told
from tests.webclient import browsing

DOCUMENT = document(ENDPOINTS, "0.1.0")
OPERATIONS = dict(operations(DOCUMENT))


def places(thing, where=""):
    """Every object of a document with where it stands."""
    if isinstance(thing, dict):
        yield where, thing
    inside = thing.items() if isinstance(thing, dict) else enumerate(thing) if isinstance(thing, list) else ()
    for key, value in inside:
        yield from places(value, f"{where}/{key}")


def test_the_document_is_valid_by_the_official_schema_of_openapi():
    faults = [error.message for error in jsonschema_rs.Draft202012Validator(OPENAPI_31).iter_errors(DOCUMENT)]

    assert faults == []


@pytest.mark.parametrize("name", DOCUMENT["components"]["schemas"])
def test_a_schema_is_valid_json_schema_whose_references_lead_somewhere(name):
    schema = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    jsonschema_rs.meta.validate(DOCUMENT["components"]["schemas"][name])

    assert jsonschema_rs.Draft202012Validator(schema)


def test_no_title_is_made_from_a_name():
    titled = [
        where for where, each in places(DOCUMENT["components"]["schemas"])
        if isinstance(each.get("title"), str) and not where.endswith("/properties")
    ]  # fmt: skip

    assert titled == []


def test_operations_have_names_of_their_own_and_stand_in_a_group():
    names = [operation["operationId"] for operation in OPERATIONS.values()]

    assert sorted(set(names)) == sorted(names)
    assert [each.path for each in ENDPOINTS if group(each) == OTHERS] == []
    assert all(re.fullmatch(r"(GET|POST) /v1/\S+", name) for name in OPERATIONS)


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_says_what_it_answers_and_what_each_parameter_is(name):
    operation = OPERATIONS[name]

    assert operation["summary"]
    assert "\n" not in operation["summary"]
    assert all(each["description"] and each["schema"] for each in operation["parameters"])
    assert [sample["lang"] for sample in operation["x-codeSamples"]] == ["Shell", "Python"]


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda each: each.path)
async def test_an_example_leads_to_the_endpoint_it_is_of(endpoint):
    app = create_app(World().deps())
    found = await app.router.resolve(make_mocked_request(endpoint.method, endpoint.example))

    assert found.route.resource.canonical == plain(endpoint.path)


def test_parameters_show_what_they_are_in_the_example():
    shown = {
        each["name"]: each.get("example") for each in OPERATIONS["GET /v1/{realm}/{league}/currency"]["parameters"]
    }

    assert (shown["realm"], shown["league"], shown["limit"], shown["cursor"]) == ("pc", "Mirage", 3, None)


def test_a_quote_in_a_body_stays_one_word_of_a_shell():
    body = {"keys": ["unique|Watcher's Eye"]}
    endpoint = Endpoint(
        "/v1/prices", DOCUMENT.get, dict, method="POST", body=dict, example="/v1/prices", example_body=body
    )

    assert orjson.loads(shlex.split(samples.curl(endpoint))[-1]) == body
    assert compile(samples.python(endpoint), "sample", "exec")


def test_answers_may_grow_and_bodies_may_not():
    schemas = DOCUMENT["components"]["schemas"]

    assert "additionalProperties" not in schemas["CurrencyPrice"]
    assert schemas["Lookup"]["additionalProperties"] is False


def test_fields_a_type_has_from_another_keep_what_is_said_of_them():
    assert DOCUMENT["components"]["schemas"]["CurrencyList"]["properties"]["as_of"]["description"]


async def test_the_document_and_its_page_are_served_and_a_copy_is_good_until_it_changes():
    async with browsing(World().deps()) as client:
        answer = await client.get("/openapi.json")
        again = await client.get("/openapi.json", headers={"If-None-Match": answer.headers["ETag"]})
        pages = [await client.get(path) for path in ("/docs", "/docs.js", "/docs.css")]

        assert orjson.loads(await answer.read()) == DOCUMENT
        assert again.status == 304
        assert [(page.status, page.content_type) for page in pages] == [
            (200, "text/html"), (200, "text/javascript"), (200, "text/css"),
        ]  # fmt: skip
        assert all("default-src 'self'" in page.headers["Content-Security-Policy"] for page in pages)


async def test_without_the_api_role_there_is_no_document_of_it():
    async with browsing(World().deps(serves_prices=False)) as client:
        assert [(await client.get(path)).status for path in ("/openapi.json", "/docs")] == [404, 404]


async def test_the_page_asks_nobody_else():
    async with browsing(World().deps()) as client:
        texts = [await (await client.get(path)).text() for path in ("/docs", "/docs.js", "/docs.css")]

    assert [re.findall(r"https?://[^\"'\s]+", text) for text in texts] == [[], [], []]


def test_the_shape_of_v1_is_the_recorded_one():
    changes = compare(recorded(), now())

    assert changes == Changes([], []), told(changes)
    assert recorded() == now(), told(Changes([], ["an order, or a keyword no rule knows"]))


def changed(change):
    new = copy.deepcopy(SMALL)
    change(new)
    return compare(SMALL, new)


def at(document, *keys):
    for key in keys:
        document = document[key]
    return document


PRICE = ("components", "schemas", "Price")
GET = ("paths", "/v1/price", "get")
REFS = "#/components/schemas"
STEP = {"type": "string", "enum": ["hour", "day"], "default": "hour"}
TEXT = {"type": "string"}
SMALL = {
    "paths": {
        "/v1/price": {
            "get": {
                "operationId": "get_price",
                "parameters": [
                    {"name": "step", "in": "query", "schema": STEP},
                    {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 10}},
                ],
                "responses": {
                    "200": {"content": {"application/json": {"schema": {"$ref": f"{REFS}/Price"}}, "text/csv": {}}},
                    "404": {"content": {}},
                },
            },
            "post": {
                "operationId": "post_price",
                "parameters": [],
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Asked"}}}},
                "responses": {},
            },
        }
    },
    "components": {
        "schemas": {
            "Price": {
                "type": "object",
                "required": ["chaos", "state"],
                "properties": {
                    "chaos": {"type": "number"},
                    "state": {"type": "string", "enum": ["new", "old"]},
                    "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Price"}},
                    "title": {"type": "string"},
                },
            },
            "Asked": {"type": "object", "required": ["key"], "properties": {"key": TEXT, "more": TEXT}},
        }
    },
}  # fmt: skip
BREAKING = {
    "address GET /v1/price is gone": lambda new: at(new, "paths", "/v1/price").pop("get"),
    "field chaos is gone": lambda new: at(new, *PRICE, "properties").pop("chaos"),
    "answer.chaos may be string now": lambda new: at(new, *PRICE, "properties", "chaos").update(type="string"),
    "answer.chaos may be null now": lambda new: at(new, *PRICE, "properties").update(
        chaos={"anyOf": [{"type": "number"}, {"type": "null"}]}
    ),
    "answer.chaos is not always there": lambda new: at(new, *PRICE, "required").remove("chaos"),
    "answer.state: value old is gone": lambda new: at(new, *PRICE, "properties", "state", "enum").remove("old"),
    "format text/csv is gone": lambda new: at(new, *GET, "responses", "200", "content").pop("text/csv"),
    "parameter step: value day is gone": lambda new: at(new, *GET, "parameters", 0, "schema", "enum").remove("day"),
    "parameter step is 'day' unless given": lambda new: at(new, *GET, "parameters", 0, "schema").update(default="day"),
    "parameter step must be given now": lambda new: at(new, *GET, "parameters", 0).update(required=True),
    "parameter limit is gone": lambda new: at(new, *GET, "parameters").pop(),
    "parameter limit: maximum was 10, is 9": lambda new: at(new, *GET, "parameters", 1, "schema").update(maximum=9),
    "parameter limit is no integer": lambda new: at(new, *GET, "parameters", 1, "schema").update(type="boolean"),
    "parameter key is new and must be given": lambda new: at(new, *GET, "parameters").append(
        {"name": "key", "in": "query", "required": True, "schema": {"type": "string"}}
    ),
    "body.more must be given now": lambda new: at(new, "components", "schemas", "Asked", "required").append("more"),
    "asks for a key now": lambda new: at(new, *GET).update(security=[{"key": []}]),
    "operationId was get_price": lambda new: at(new, *GET).update(operationId="get_worth"),
}
ADDING = {
    "address GET /v1/other is new": lambda new: new["paths"].update({"/v1/other": {"get": at(new, *GET)}}),
    "field divine is new": lambda new: at(new, *PRICE, "properties").update(divine={"type": "number"}),
    "answer.state: value dead is new": lambda new: at(new, *PRICE, "properties", "state", "enum").append("dead"),
    "parameter step: value week is new": lambda new: at(new, *GET, "parameters", 0, "schema", "enum").append("week"),
    "parameter limit: maximum was 10, is 20": lambda new: at(new, *GET, "parameters", 1, "schema").update(maximum=20),
    "parameter key is new": lambda new: at(new, *GET, "parameters").append(
        {"name": "key", "in": "query", "schema": {"type": "string"}}
    ),
    "format text/tsv is new": lambda new: at(new, *GET, "responses", "200", "content").update({"text/tsv": {}}),
    "body: field less is new": lambda new: at(new, "components", "schemas", "Asked", "properties").update(
        less={"type": "string"}
    ),
}


@pytest.mark.parametrize("expected", BREAKING)
def test_what_breaks_a_client_is_told_as_broken(expected):
    broke, added = changed(BREAKING[expected])

    assert any(expected in each for each in broke), (broke, added)


@pytest.mark.parametrize("expected", ADDING)
def test_what_is_added_breaks_nobody(expected):
    broke, added = changed(ADDING[expected])

    assert broke == []
    assert any(expected in each for each in added), added


def test_prose_is_no_part_of_the_shape_but_a_field_of_that_name_is():
    with_prose = copy.deepcopy(SMALL)
    at(with_prose, *PRICE)["description"] = "What it costs."
    at(with_prose, *GET)["x-example"] = "/v1/price"

    assert shape(with_prose) == SMALL
