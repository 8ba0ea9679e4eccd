"""Bodies of requests: JSON of a declared shape, or a refusal that says what is wrong and what to send."""

from collections.abc import Sequence
from typing import TypeVar

import orjson
from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from ledgerd.web.answers import BadRequest, NotJson

JSON = "application/json"
FAULTS_MAX = 3

T = TypeVar("T")


async def read_body(request: web.Request, shape: TypeAdapter[T], what: str) -> T:
    """The body as ``shape``; ``what`` tells who sent another what to send. BadRequest, NotJson, or 413 from aiohttp."""
    if request.content_type != JSON:
        raise NotJson(text=f"The body is {request.content_type[:50]}.")
    try:
        return shape.validate_python(orjson.loads(await request.read()))
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"The body is not JSON: {error}.", what) from error
    except ValidationError as error:
        raise BadRequest("The body makes no sense: " + "; ".join(_faults(error)), what) from error


def _faults(error: ValidationError) -> Sequence[str]:
    """The first things wrong, each by its place."""
    told = error.errors(include_url=False, include_input=False, include_context=False)[:FAULTS_MAX]
    return [f"{'.'.join(str(part)[:50] for part in each['loc']) or 'body'}: {each['msg']}" for each in told]
