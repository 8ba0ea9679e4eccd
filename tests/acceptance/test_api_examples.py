"""The examples of the documentation, typed as /docs shows them, do what it says."""

import shutil
import subprocess
import sys
import urllib.request
from contextlib import asynccontextmanager
from types import SimpleNamespace

import jsonschema_rs
import orjson
import pytest

from ledgerd.upstream import throttle
from ledgerd.web.app import ENDPOINTS, create_app
from ledgerd.web.openapi import document
from ledgerd.web.samples import HOME, KEY, STREAM
from tests.daemon import TEST_S
from tests.fuzzing import closed
from tests.served import serving
from tests.store import market

DOCUMENT = closed(document(ENDPOINTS, "0.1.0"))
OPERATIONS = {
    operation["operationId"]: operation for methods in DOCUMENT["paths"].values() for operation in methods.values()
}
ANSWER_S = 60
LEASE_S = 600
"""A minute, by the throttle's fast clock: as long may a program take that reports."""
SENT = {"ETag", "Cache-Control", "Retry-After", "Ledgerd-As-Of", "Ledgerd-Age-S", "Ledgerd-Stale"}
"""Headers that a client may want, so that the document must name them."""
pytestmark = pytest.mark.timeout(TEST_S)
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The whole API; every lease has the name that is in the example of a report."""

    @asynccontextmanager
    async def opening():
        async with market.market(tmp_path_factory.mktemp("examples"), speed=10.0) as deps:
            yield create_app(deps)

    lease = OPERATIONS["post_throttle_report"]["requestBody"]["content"]["application/json"]["example"]["lease"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(throttle, "uuid4", lambda: SimpleNamespace(hex=lease))
        patch.setattr(throttle, "LEASE_S", LEASE_S)
        with serving(opening) as address:
            yield address


def throttled(address, what, **body):
    """What the throttle answers to a job."""
    asked = urllib.request.Request(f"{address}/v1/throttle/{what}", orjson.dumps(body))
    asked.headers.update({"X-API-Key": market.KEY, "Content-Type": "application/json"})
    with urllib.request.urlopen(asked) as answer:
        return orjson.loads(answer.read())


def schema_of(operation):
    """What the example must answer; of a stream, what an event says."""
    [shape] = [each["schema"] for kind, each in operation["responses"]["200"]["content"].items() if "schema" in each]
    return {
        **shape.get("properties", {}).get("data", {}).get("contentSchema", shape),
        "components": DOCUMENT["components"],
    }


def source(operation, language, address):
    """A sample as the page shows it, which puts its own address there."""
    [found] = [sample["source"] for sample in operation["x-codeSamples"] if sample["lang"] == language]
    assert HOME in found
    return found.replace(HOME, address)


def output(*command, is_stream):
    """What a command writes; of one that goes on for ever, the first event."""
    env = {KEY: market.KEY, "PATH": "/usr/bin:/bin"}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        if not is_stream:
            written, complaint = process.communicate(timeout=ANSWER_S)
            assert (process.returncode, complaint) == (0, b"")
            return written
        event = next(line for line in process.stdout if line.startswith((b"data: ", b"{")))
        process.kill()
    return event.removeprefix(b"data: ")


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("language", [pytest.param("Shell", marks=needs_curl), "Python"])
def test_an_example_answers_in_the_declared_shape(address, name, language):
    operation = OPERATIONS[name]
    if name == "post_throttle_report":
        assert throttled(address, "acquire", endpoint="stash", wait_s=30)["lease"]
    command = ["sh", "-c"] if language == "Shell" else [sys.executable, "-c"]
    is_stream = STREAM in operation["responses"]["200"]["content"]
    written = output(*command, source(operation, language, address), is_stream=is_stream)
    answer = orjson.loads(written)
    if name == "post_throttle_acquire":
        throttled(address, "report", lease=answer["lease"])
    faults = [error.message for error in jsonschema_rs.Draft202012Validator(schema_of(operation)).iter_errors(answer)]

    assert faults == [], answer


@pytest.mark.parametrize(
    "name", [name for name, each in OPERATIONS.items() if not {"security", "requestBody"} & set(each)]
)
def test_the_headers_of_an_answer_are_those_of_the_document(address, name):
    operation = OPERATIONS[name]
    with urllib.request.urlopen(address + operation["x-example"]) as answer:
        sent = set(answer.headers) & SENT
    declared = set(operation["responses"]["200"]["headers"])

    assert sent <= declared
    assert ("ETag" in sent) == ("ETag" in declared) == ("304" in operation["responses"])
