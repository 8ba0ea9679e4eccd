"""The OpenAPI 3.1 document of the Ledger API, made from the declarations and the types that serve it (pure)."""

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core import core_schema
from typing_extensions import TypedDict, is_typeddict

from ledgerd.web.answers import PROBLEM_TYPE, PROBLEMS, Problem
from ledgerd.web.endpoint import PATH_NAMES, Endpoint
from ledgerd.web.params import param_of, params_of
from ledgerd.web.rows import FORMATS
from ledgerd.web.samples import HOME, JSON, STREAM, samples

Json = dict[str, Any]

OPENAPI = "3.1.0"
ABOUT = (
    "Prices of Path of Exile's markets, each with its age, its evidence and its confidence. Every answer says as of "
    "when it is (`as_of`, `age_s`, `stale`); everything that goes wrong is a problem (RFC 9457) that says what to do. "
    "Under `/v1` fields, parameters and addresses are added, never taken away: pass over the fields you do not know."
)
GROUPS = {
    "Realms and leagues": ("realms", "freshness"),
    "Currency": ("currency", "convert"),
    "Items": ("items", "search", "prices"),
    "Markets": ("movers", "liquidity"),
    "Sellers": ("sellers", "stashes"),
    "Operations": ("events", "sources", "etl"),
    "Throttle": ("throttle",),
}
"""Endpoints that stand together, by the first fixed word of their path below the league, else below ``/v1``."""
OTHERS = "Other"
RETRY_STATUS = 503
KEYS: Json = {
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "bearer": {"type": "http", "scheme": "bearer", "description": "The same key"},
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """A status of problem answers: its name in the document, when it comes, and one that might come."""

    name: str
    kind: str
    when: str
    detail: str
    hint: str
    suggestions: Sequence[str] = ()


REFUSALS: Mapping[int, Refusal] = {
    400: Refusal(
        "BadRequest",
        "bad-request",
        "A parameter or the body makes no sense; `detail` and `hint` say which and what would",
        "step is 'hours'.",
        "Write one of: hour, day.",
        ("hour",),
    ),
    401: Refusal(
        "Unauthorized",
        "unauthorized",
        "The key is missing or wrong",
        "The key is missing.",
        "Send the key of THROTTLER_API_KEY as X-API-Key, or as Authorization: Bearer.",
    ),
    404: Refusal(
        "NotKnown",
        "not-known",
        "Nothing has that name; `suggestions` has near spellings",
        "There is no league named 'Mirrage' in realm pc.",
        "What there is: GET /v1/realms",
        ("Mirage",),
    ),
    413: Refusal("TooLarge", "too-large", "The body is too large", "The body is larger than 1 MiB.", ""),
    415: Refusal(
        "NotJson",
        "not-json",
        "The body is not JSON",
        "The body is text/plain.",
        "Send Content-Type: application/json.",
    ),
    503: Refusal(
        "Unavailable",
        "no-prices-yet",
        "No prices yet, too old to be served, or too busy; `Retry-After` says when to come back",
        "There are no prices yet.",
        "See the sources: ledgerd status",
    ),
}
HEADERS: Mapping[str, Json] = {
    "ETag": {"description": "What `If-None-Match` may send back", "schema": {"type": "string"}},
    "Cache-Control": {"description": "How long a copy is good", "schema": {"type": "string"}},
    "Retry-After": {"description": "Seconds to wait", "schema": {"type": "integer", "minimum": 1}},
    "Ledgerd-As-Of": {
        "description": "`as_of`, where the answer is not JSON",
        "schema": {"type": "string", "format": "date-time"},
    },
    "Ledgerd-Age-S": {"description": "`age_s`, where the answer is not JSON", "schema": {"type": "number"}},
    "Ledgerd-Stale": {"description": "`stale`, where the answer is not JSON", "schema": {"type": "boolean"}},
    "Ledgerd-Count": {"description": "`count`, where the answer is not JSON", "schema": {"type": "integer"}},
    "Ledgerd-Total": {"description": "`total`, where the answer is not JSON", "schema": {"type": "integer"}},
    "Ledgerd-Withheld": {"description": "`withheld`, where the answer is not JSON", "schema": {"type": "integer"}},
    "Ledgerd-Next": {"description": "`next`, where the answer is not JSON and goes on", "schema": {"type": "string"}},
}
COPY: Json = {
    "name": "If-None-Match",
    "in": "header",
    "description": "The `ETag` of a copy at hand: 304 if that is still right",
    "schema": {"type": "string"},
}


class _Shapes(GenerateJsonSchema):
    """Schemas without titles made from names; answers may have fields that are not named yet, bodies may not."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ANN401  pydantic's own signature, three kinds
        return False

    def typed_dict_schema(self, schema: core_schema.TypedDictSchema) -> JsonSchemaValue:
        made = super().typed_dict_schema(schema)
        for name, told in _inherited(schema.get("cls")).items():
            made["properties"][name].setdefault("description", told)
        for each in (made, *made["properties"].values()):
            if "description" in each:
                each["description"] = each["description"].replace("``", "`")
        if self.mode == "serialization":
            made.pop("additionalProperties", None)
        return made


def document(endpoints: Iterable[Endpoint], version: str) -> Json:
    """The whole document. Two endpoints of one path stand together; names of schemas are those of the types."""
    served = sorted(endpoints, key=lambda each: ([*GROUPS, OTHERS].index(group(each)), plain(each.path), each.method))
    refs, schemas = _schemas(served)
    paths: dict[str, Json] = {}
    for each in served:
        paths.setdefault(plain(each.path), {})[each.method.lower()] = _operation(each, refs)
    return {
        "openapi": OPENAPI,
        "info": {
            "title": "The Ledger API",
            "version": version,
            "description": ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [
            {"url": "/", "description": "This server"},
            {"url": HOME, "description": "Where ledgerd listens unless told otherwise, as in the samples"},
        ],
        "tags": [{"name": name} for name in dict.fromkeys(map(group, served))],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "headers": HEADERS,
            "responses": _shared(served, refs),
            "securitySchemes": KEYS,
        },
    }


def group(endpoint: Endpoint) -> str:
    """Which of `GROUPS` an endpoint belongs to."""
    fixed = [part for part in endpoint.path.split("/")[2:] if not part.startswith("{")]
    return next((name for name, words in GROUPS.items() if fixed and fixed[0] in words), OTHERS)


def about(endpoint: Endpoint) -> str:
    """What it answers: the first paragraph of its handler's docstring."""
    return " ".join((inspect.getdoc(endpoint.serve) or "").partition("\n\n")[0].split())


def plain(path: str) -> str:
    """The path without aiohttp's patterns.

    >>> plain("/v1/{realm}/currency/{currency:.+}/history")
    '/v1/{realm}/currency/{currency}/history'
    """
    return re.sub(r"\{(\w+):[^}]*\}", r"{\1}", path)


def _schemas(served: Sequence[Endpoint]) -> tuple[Mapping[int, Any], Json]:
    """Schemas of answers, bodies and problems by the ``id`` of their type, and the definitions they refer to."""
    modes: dict[int, tuple[Any, JsonSchemaMode]] = {id(Problem): (Problem, "serialization")}
    modes |= {id(each.answer): (each.answer, "serialization") for each in served}
    modes |= {id(each.body): (each.body, "validation") for each in served if each.body is not None}
    adapters: list[tuple[int, JsonSchemaMode, TypeAdapter[Any]]] = [
        (key, mode, TypeAdapter(kind)) for key, (kind, mode) in modes.items()
    ]
    found, defined = TypeAdapter.json_schemas(
        adapters, ref_template="#/components/schemas/{model}", schema_generator=_Shapes
    )
    named = {
        name: {key: value for key, value in schema.items() if key != "title"}  # the name once more
        for name, schema in sorted(defined.get("$defs", {}).items())
    }
    return {key: schema for (key, _), schema in found.items()}, named


def _inherited(kind: Any) -> dict[str, str]:  # noqa: ANN401  a TypedDict or None
    """What the types a TypedDict is made of say of its fields; pydantic reads the texts of the type itself alone."""
    told: dict[str, str] = {}
    for base in getattr(kind, "__orig_bases__", ()):
        if is_typeddict(base) and base is not TypedDict:
            fields = TypeAdapter(base).json_schema(mode="serialization")["properties"]
            told |= _inherited(base) | {
                name: each["description"] for name, each in fields.items() if "description" in each
            }
    return told


def _operation(endpoint: Endpoint, refs: Mapping[int, Any]) -> Json:
    told = about(endpoint)
    operation: Json = {
        "operationId": endpoint.serve.__name__,
        "tags": [group(endpoint)],
        "summary": re.split(r"(?<=\w)[.;](?= |$)", told, maxsplit=1)[0],
        "description": told,
        "parameters": _parameters(endpoint),
        "responses": _responses(endpoint, refs),
    }
    if endpoint.body is not None:
        content = {JSON: {"schema": refs[id(endpoint.body)], "example": endpoint.example_body}}
        operation["requestBody"] = {"required": True, "content": content}
    if endpoint.key:
        operation["security"] = [{name: []} for name in KEYS]
    if endpoint.example:
        operation["x-example"] = endpoint.example
        operation["x-codeSamples"] = samples(endpoint)
    return operation


def _parameters(endpoint: Endpoint) -> list[Json]:
    examples = _examples(endpoint)
    names = re.findall(r"\{(\w+)[:}]", endpoint.path)
    described: list[Json] = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": PATH_NAMES[name],
            "schema": {"type": "string", "minLength": 1},
        }
        for name in names
    ]
    for name, declared in params_of(endpoint.query).items():
        param = param_of(declared)
        schema = dict(param.schema)
        if declared.default not in {MISSING, None, (), ""}:
            schema["default"] = declared.default
        told: Json = {"name": name, "in": "query", "description": param.about, "schema": schema}
        if declared.default is MISSING:
            told["required"] = True
        if schema.get("type") == "array":
            told |= {"style": "form", "explode": False}
        described.append(told)
    for each in described:
        if each["name"] in examples:
            each["example"] = _typed(examples[each["name"]], each["schema"].get("type"))
    return [*described, COPY] if endpoint.has_copies else described


def _examples(endpoint: Endpoint) -> dict[str, str]:
    """What the parameters are in the endpoint's example."""
    asked = urlsplit(endpoint.example)
    pattern = re.sub(r"\{(\w+):([^}]*)\}", r"(?P<\1>\2)", endpoint.path)
    found = re.fullmatch(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern), asked.path)
    inside = {name: unquote(text) for name, text in found.groupdict().items()} if found else {}
    return inside | {name: texts[0] for name, texts in parse_qs(asked.query).items()}


def _typed(text: str, kind: str | None) -> Any:  # noqa: ANN401  any JSON value
    """``text`` as it stands in JSON where the schema is of the type ``kind``."""
    match kind:
        case "integer":
            return int(text)
        case "number":
            return float(text)
        case "array":
            return text.split(",")
    return text


def _responses(endpoint: Endpoint, refs: Mapping[int, Any]) -> Json:
    schema = refs[id(endpoint.answer)]
    content: Json = {endpoint.content_type: {"schema": _event(schema) if endpoint.content_type == STREAM else schema}}
    sent = ["Cache-Control", *(["ETag"] if endpoint.has_copies else [])]
    if endpoint.has_formats:
        content |= {form.content_type: {} for name, form in FORMATS.items() if name != "json"}
        sent += ["Ledgerd-As-Of", "Ledgerd-Age-S", "Ledgerd-Stale"]
    responses: Json = {
        "200": {"description": inspect.getdoc(endpoint.answer) or "", "headers": _named(sent), "content": content}
    }
    if endpoint.has_copies:
        responses["304"] = {"$ref": "#/components/responses/NotModified"}
    return responses | {
        str(status): {"$ref": f"#/components/responses/{REFUSALS[status].name}"} for status in endpoint.statuses
    }


def _event(data: Json) -> Json:
    """One of a stream's events, as a reader of server-sent events has it."""
    text: Json = {"type": "string"}
    fields = {"event": text, "id": text, "data": {**text, "contentMediaType": JSON, "contentSchema": data}}
    return {"type": "object", "required": ["event", "id", "data"], "properties": fields}


def _shared(served: Sequence[Endpoint], refs: Mapping[int, Any]) -> Json:
    """The answers that many endpoints have alike."""
    shared: Json = {
        "NotModified": {
            "description": "The copy at hand is still right; only its age has changed",
            "headers": _named(["ETag", "Cache-Control"]),
        }
    }
    for status in sorted({status for each in served for status in each.statuses}):
        refusal = REFUSALS[status]
        example = Problem(
            type=f"urn:ledgerd:{refusal.kind}",
            title=PROBLEMS[refusal.kind],
            status=status,
            detail=refusal.detail,
            instance="/v1/…",
            suggestions=list(refusal.suggestions),
            hint=refusal.hint,
        )
        sent = ["Cache-Control", *(["Retry-After"] if status == RETRY_STATUS else [])]
        content = {PROBLEM_TYPE: {"schema": refs[id(Problem)], "example": example}}
        shared[refusal.name] = {"description": refusal.when, "headers": _named(sent), "content": content}
    return shared


def _named(headers: Iterable[str]) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in headers}
