"""Query parameters, declared as fields of a dataclass: read, checked, described, refused with what is right (pure)."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from datetime import UTC, datetime
from functools import cache
from typing import Any, Protocol, TypeVar

from ledgerd.spelling import nearest
from ledgerd.web.answers import BadRequest

UNIX_S_MAX = 2**32 - 1
"""The last second ClickHouse's DateTime knows."""
SHOWN_MAX = 50
NAMES_MAX = 100

Q = TypeVar("Q")


class Given(Protocol):
    """A query string taken apart, as yarl and multidict have it."""

    def __len__(self) -> int:
        """How many parameters there are, repeated ones as often as they stand."""
        ...

    def keys(self) -> Collection[str]:
        """Their names."""
        ...

    def getall(self, key: str) -> list[str]:
        """Every value of one."""
        ...


@dataclass(frozen=True, slots=True)
class Param:
    """What one parameter may be: ``schema`` is JSON Schema, ``parse`` takes name and text and may raise BadRequest."""

    about: str
    schema: Mapping[str, Any]
    parse: Callable[[str, str], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """The parameters of an address that takes none."""


def params_of(kind: type) -> Mapping[str, Field[Any]]:
    """The fields of a dataclass of parameters by their name in a query: ``from_`` is ``from`` there."""
    return _fields(kind)


def param_of(each: Field[Any]) -> Param:
    """What a field of a dataclass of parameters was declared as."""
    param: Param = each.metadata["param"]
    return param


def read(kind: type[Q], query: Given) -> Q:
    """``kind`` filled from ``query``; BadRequest if a parameter is unknown, missing, given twice or makes no sense."""
    known = params_of(kind)
    values: dict[str, Any] = {}
    for name in query.keys() if len(query) else ():
        if name not in known:
            takes = f"This address takes: {', '.join(sorted(known)) or 'no parameters'}."
            raise BadRequest(f"There is no parameter named {name[:SHOWN_MAX]!r} here.", takes, nearest(name, known))
        texts = query.getall(name)
        if len(texts) > 1:
            raise BadRequest(f"{name} is given {len(texts)} times.", "Give it once.")
        values[known[name].name] = param_of(known[name]).parse(name, texts[0])
    for name, each in known.items():
        if each.default is MISSING and each.name not in values:
            raise BadRequest(f"{name} is missing.", f"Add ?{name}=: {param_of(each).about}.")
    return kind(**values)


def number(default: float, *, least: float, most: float, about: str) -> Any:  # noqa: ANN401  a field stands for its value
    """A number from ``least`` to ``most``."""

    def parse(name: str, text: str) -> float:
        try:
            value = float(text) if text.isascii() and "_" not in text and text == text.strip() else math.nan
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise _odd(name, text, f"Write a number from {least:g} to {most:g}.")
        return value

    return declared(default, Param(about, {"type": "number", "minimum": least, "maximum": most}, parse))


def count(default: int, *, most: int, about: str) -> Any:  # noqa: ANN401  as `number`
    """A whole number from 1 to ``most``."""

    def parse(name: str, text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and 1 <= int(text) <= most):
            raise _odd(name, text, f"Write a whole number from 1 to {most}.")
        return int(text)

    return declared(default, Param(about, {"type": "integer", "minimum": 1, "maximum": most}, parse))


def choice(default: str, choices: Sequence[str], *, about: str) -> Any:  # noqa: ANN401  as `number`
    """One word of ``choices``."""

    def parse(name: str, text: str) -> str:
        if text not in choices:
            raise _odd(name, text, f"Write one of: {', '.join(choices)}.", nearest(text, choices))
        return text

    return declared(default, Param(about, {"type": "string", "enum": list(choices)}, parse))


def moment(*, about: str) -> Any:  # noqa: ANN401  as `number`
    """A time as unix seconds, None if it is not given: RFC 3339 with its zone, or unix seconds."""

    def parse(name: str, text: str) -> int:
        unix_s = _unix_s(text.replace(" ", "+"))
        if unix_s is None or not 0 <= unix_s <= UNIX_S_MAX:
            raise _odd(name, text, "Write a time as 2026-10-09T12:00:00Z or as unix seconds.")
        return unix_s

    forms = [{"type": "string", "format": "date-time"}, {"type": "integer", "minimum": 0, "maximum": UNIX_S_MAX}]
    return declared(None, Param(about, {"anyOf": forms}, parse))


def words(default: str | None = None, *, chars_max: int, about: str) -> Any:  # noqa: ANN401  as `number`
    """A text of 1 to ``chars_max`` characters; must be given where there is no ``default``."""

    def parse(name: str, text: str) -> str:
        if not 1 <= len(text) <= chars_max:
            raise _odd(name, text, f"Write 1 to {chars_max} characters.")
        return text

    schema = {"type": "string", "minLength": 1, "maxLength": chars_max}
    return declared(MISSING if default is None else default, Param(about, schema, parse))


def names(known: Sequence[str], *, about: str) -> Any:  # noqa: ANN401  as `number`
    """Words of ``known``, commas between them, as a tuple; empty if it is not given."""

    def parse(name: str, text: str) -> tuple[str, ...]:
        given = text.split(",", NAMES_MAX)
        for each in given:
            if each not in known:
                raise _odd(name, each, f"Write some of: {','.join(known)}.", nearest(each, known))
        return tuple(dict.fromkeys(given))

    items = {"type": "array", "items": {"type": "string", "enum": list(known)}, "minItems": 1}
    return declared((), Param(about, items, parse))


@cache
def _fields(kind: type[Any]) -> dict[str, Field[Any]]:
    return {each.name.rstrip("_"): each for each in fields(kind)}


def declared(default: Any, param: Param) -> Any:  # noqa: ANN401  as `number`
    """A field of a dataclass of parameters; MISSING as default: it must be given."""
    return field(default=default, metadata={"param": param}, kw_only=True)


def _odd(name: str, text: str, hint: str, near: Sequence[str] = ()) -> BadRequest:
    return BadRequest(f"{name} is {text[:SHOWN_MAX]!r}.", hint, near)


def _unix_s(text: str) -> int | None:
    if text.isascii() and text.isdigit():
        return int(text) if len(text) <= len(str(UNIX_S_MAX)) else None
    try:
        parsed = datetime.fromisoformat(text)
        return int(parsed.astimezone(UTC).timestamp()) if parsed.tzinfo else None
    except (ValueError, OverflowError):  # at either end of the calendar another zone's time may lie beyond it
        return None
