"""How the shapes of answers are written down: TypedDicts that say all there is, read by type checkers and by people."""

from typing import Annotated

from pydantic import ConfigDict, WithJsonSchema

SHAPE = ConfigDict(extra="forbid", use_attribute_docstrings=True)
"""For ``pydantic.with_config``: no field but those named, each described by the text below it."""

Moment = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
"""A time as RFC 3339 in UTC."""
