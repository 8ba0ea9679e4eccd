"""A client of the web room's applications on loopback."""

from contextlib import asynccontextmanager

from aiohttp.test_utils import TestClient, TestServer

from ledgerd.web.app import create_app

PROBLEM_FIELDS = {"type", "title", "status", "detail", "instance", "suggestions", "hint"}


@asynccontextmanager
async def browsing(deps, create=create_app):
    """A client of ``create(deps)``."""
    async with TestClient(TestServer(create(deps))) as client:
        yield client


async def problem_of(response, status, kind):
    """The body of a problem answer, its shape checked."""
    body = await response.json(content_type="application/problem+json")

    assert response.status == status, body
    assert set(body) == PROBLEM_FIELDS
    assert (body["status"], body["type"]) == (status, f"urn:ledgerd:{kind}")
    assert body["detail"]
    return body
