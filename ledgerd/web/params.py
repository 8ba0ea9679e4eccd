"""Query parameters: known by name, checked, and refused with what would have been right (pure)."""

import math
from collections.abc import Collection, Mapping
from datetime import UTC, datetime

from ledgerd.ledger.snapshot import nearest
from ledgerd.web.answers import BadRequest

UNIX_S_MAX = 2**32 - 1
"""The last second ClickHouse's DateTime knows."""


def only(query: Mapping[str, str], known: Collection[str]) -> None:
    """BadRequest if ``query`` has a parameter that is not in ``known``."""
    for name in query:
        if name not in known:
            takes = f"This address takes: {', '.join(sorted(known)) or 'no parameters'}."
            raise BadRequest(f"There is no parameter named {name[:50]!r} here.", takes, nearest(name, known))


def number(query: Mapping[str, str], name: str, default: float, least: float, most: float) -> float:
    """The number ``name`` between ``least`` and ``most``, ``default`` if it is not given."""
    text = query.get(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        raise BadRequest(f"{name} is {text[:50]!r}.", f"Write a number from {least:g} to {most:g}.")
    return value


def count(query: Mapping[str, str], name: str, default: int, most: int) -> int:
    """The whole number ``name`` from 1 to ``most``, ``default`` if it is not given."""
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and 1 <= int(text) <= most):
        raise BadRequest(f"{name} is {text[:50]!r}.", f"Write a whole number from 1 to {most}.")
    return int(text)


def choice(query: Mapping[str, str], name: str, choices: Collection[str], default: str) -> str:
    """The word ``name``, one of ``choices``."""
    text = query.get(name, default)
    if text not in choices:
        raise BadRequest(f"{name} is {text[:50]!r}.", f"Write one of: {', '.join(choices)}.", nearest(text, choices))
    return text


def moment(query: Mapping[str, str], name: str, default_s: int) -> int:
    """The time ``name`` as unix seconds: RFC 3339 with its zone, or unix seconds; ``default_s`` if it is not given."""
    text = query.get(name)
    if text is None:
        return default_s
    unix_s = _unix_s(text.replace(" ", "+"))
    if unix_s is None or not 0 <= unix_s <= UNIX_S_MAX:
        raise BadRequest(f"{name} is {text[:50]!r}.", "Write a time as 2026-10-09T12:00:00Z or as unix seconds.")
    return unix_s


def _unix_s(text: str) -> int | None:
    if text.isascii() and text.isdigit():
        return int(text) if len(text) <= len(str(UNIX_S_MAX)) else None
    try:
        parsed = datetime.fromisoformat(text)
        return int(parsed.astimezone(UTC).timestamp()) if parsed.tzinfo else None
    except (ValueError, OverflowError):  # at either end of the calendar another zone's time may lie beyond it
        return None
