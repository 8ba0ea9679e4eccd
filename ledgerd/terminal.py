"""What the commands print: tables, a status, and on a terminal a sign of life while somebody waits."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TextIO

from ledgerd.clock import rfc3339

SILENT_S = 2.0
"""How long work may take before it says so."""
TICK_S = 0.5
NAMED_MAX = 2
WIPE = "\r\x1b[K"


@asynccontextmanager
async def waiting(what: Callable[[], str], screen: TextIO | None = None) -> AsyncIterator[None]:
    """Show ``what`` goes on and for how long, from the third second, on one line of stderr that is wiped at the end.

    Where stderr (or ``screen``) is no terminal nothing is shown.
    """
    screen = sys.stderr if screen is None else screen
    if not screen.isatty():
        yield
        return
    ticking = asyncio.create_task(_tick(what, screen))
    try:
        yield
    finally:
        ticking.cancel()
        await asyncio.gather(ticking, return_exceptions=True)


async def _tick(what: Callable[[], str], screen: TextIO) -> None:
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    await asyncio.sleep(SILENT_S)
    try:
        while True:
            screen.write(f"{WIPE}{what()}, {loop.time() - began_s:.0f} s (Ctrl-C stops it)")
            screen.flush()
            await asyncio.sleep(TICK_S)
    finally:
        screen.write(WIPE)
        screen.flush()


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Rows under their heads, columns aligned.

    >>> print(table(("name", "n"), [("a", 1)]))
    name  n
    a     1
    """
    lines = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def told(status: Mapping[str, Any]) -> Iterable[str]:
    """A status as a person reads it."""
    store, spool, refusal = status["store"], status["spool"], status["config"]["last_reload_error"]
    yield f"ledgerd {status['version']} is {status['state']}, up {status['uptime_s']:.0f} s"
    yield from (f"  {reason}" for reason in status["reasons"])
    yield f"store   {store['state']} ({store['engine']} {store['version']})"
    yield f"spool   {spool['state']}, {spool['pages']} pages, {spool['bytes']} of {spool['bytes_max']} bytes"
    yield f"config  generation {status['config']['generation']}" + (", the last reload was refused" if refusal else "")
    yield ""
    sources = (
        (each["name"], each["state"], when(each["cursor"]), _span(each["lag_s"]), each["errors"], each["gaps"])
        for each in status["sources"]
    )
    yield table(("source", "state", "next", "lag", "errors", "gaps"), sources)
    yield ""
    yield steps(status["etl"])


def steps(etl: Iterable[Mapping[str, Any]]) -> str:
    """How far the ETL steps are; leagues that are equally far in a line."""
    return _steps(etl, ("source", "state", "watermark", "behind", "last_error"))


def steps_at_length(etl: Iterable[Mapping[str, Any]]) -> str:
    """The same, with the age of what was done last, and how long that took."""
    return _steps(etl, ("source", "state", "watermark", "behind", "behind_s", "done_until", "took_s", "last_error"))


def _steps(etl: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    leagues: dict[tuple[Any, ...], list[str]] = {}
    for each in etl:
        alike = (each["step"], *("" if each[column] is None else each[column] for column in columns))
        leagues.setdefault(alike, []).append(each["league"] or "")
    rows = ((step, source, _named(names), *rest) for (step, source, *rest), names in leagues.items())
    heads = [{"behind_s": "behind by", "done_until": "done until"}.get(name, name) for name in columns]
    return table(("step", heads[0], "league", *(head.replace("_", " ") for head in heads[1:])), rows)


def _named(leagues: Sequence[str]) -> str:
    """Up to two leagues by name, more by number."""
    return ", ".join(leagues) if len(leagues) <= NAMED_MAX else f"{len(leagues)} leagues"


def when(cursor: str | None) -> str:
    """An hourly cursor as a time.

    >>> when("1787119200"), when(None)
    ('2026-08-19T08:00:00Z', '-')
    """
    return rfc3339(int(cursor)) if cursor and cursor.isdigit() else cursor or "-"


def _span(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds / 60:.0f} min"
