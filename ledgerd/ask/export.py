"""``ledgerd export``: a league's prices as a file, whole or not at all."""

import os
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import aiohttp
import click

from ledgerd import reach
from ledgerd.ask.place import place_of, typed
from ledgerd.ask.tables import compact
from ledgerd.config import Config
from ledgerd.errors import Refused, UsageError
from ledgerd.reach import Reach
from ledgerd.terminal import waiting

STDOUT = "-"
FORMATS = ("parquet", "csv", "arrow", "ndjson", "json")
BINARY = ("parquet", "arrow")
JOINED = ("csv", "ndjson")
"""Formats in which the rows of several answers make one file."""
ASKED = {"currency": {"limit": "10000"}, "items": {"limit": "50000", "order": "key"}}
"""The most rows an answer takes, in an order that lasts from one answer to the next."""
PIECE_BYTES = 1 << 16


@dataclass(slots=True)
class Written:
    """What was written so far."""

    rows: int = 0
    bytes: int = 0
    as_of: str = ""
    """Of several answers the oldest."""
    is_stale: bool = False

    def __str__(self) -> str:
        """As a person reads it."""
        stale = "stale" if self.is_stale else "not stale"
        return f"{self.rows:,} rows, {self.bytes:,} bytes, as of {self.as_of} ({stale})"

    def take(self, response: aiohttp.ClientResponse) -> None:
        """Count an answer by what its head says."""
        as_of = response.headers["Ledgerd-As-Of"]
        self.rows += int(response.headers["Ledgerd-Count"])
        self.as_of = min(self.as_of or as_of, as_of)
        self.is_stale |= response.headers["Ledgerd-Stale"] == "true"


async def export(
    config: Config, what: str, out: str, fmt: str | None, *, force: bool, realm: str | None, league: str | None,
    fields: str | None, min_confidence: float | None,
) -> None:  # fmt: skip
    """Write the prices of ``what`` (currency or items) to the file ``out``, or to stdout, and say how many."""
    fmt = fmt or _format_of(what, out)
    if out == STDOUT and fmt in BINARY and sys.stdout.isatty():
        raise UsageError(f"{fmt} is nothing to read on a terminal.", f"Name a file: {_line(what, f'prices.{fmt}')}")
    params = {**ASKED[what], "format": fmt}
    params |= {"fields": fields} if fields else {}
    params |= {"min_confidence": repr(min_confidence)} if min_confidence else {}
    written = Written()
    with _stdout() if out == STDOUT else _whole(Path(out), force=force, line=_line(what, out)) as file:
        async with waiting(lambda: f"{compact(written.bytes)} bytes written"), reach.ledger(config) as found:
            place = await place_of(config, found, realm, league)
            async with aclosing(_pieces(found, place.path(what), params, written)) as pieces:
                async for piece in pieces:
                    file.write(piece)
                    written.bytes += len(piece)
    click.echo(f"{out}: {place}, {written}" if out != STDOUT else f"{place}, {written}", err=out == STDOUT)


async def _pieces(found: Reach, path: str, params: dict[str, str], written: Written) -> AsyncGenerator[bytes, None]:
    """Answer after answer, as it comes; all but the first without the line of heads a CSV begins with."""
    fmt, cursor = params["format"], ""
    while True:
        async with found.answer(path, params | ({"cursor": cursor} if cursor else {})) as response:
            following = response.headers.get("Ledgerd-Next", "")
            if following and fmt not in JOINED:
                raise Refused(
                    f"There are more than {params['limit']} rows, and {fmt} takes no more.",
                    "Take --format csv or ndjson, or leave what is unsure out: --min-confidence 0.5",
                )
            written.take(response)
            if cursor and fmt == "csv":
                await response.content.readline()
            async for piece in response.content.iter_chunked(PIECE_BYTES):
                yield piece
        if not following:
            return
        cursor = following


def _format_of(what: str, out: str) -> str:
    """The format a file's name ends in."""
    ending = Path(out).suffix.removeprefix(".")
    if ending not in FORMATS:
        raise UsageError(
            f"{out} does not say in which format to write.", f"Say it: {_line(what, out)} --format {FORMATS[0]}"
        )
    return ending


@contextmanager
def _stdout() -> Iterator[BinaryIO]:
    yield sys.stdout.buffer
    sys.stdout.buffer.flush()


@contextmanager
def _whole(path: Path, *, force: bool, line: str) -> Iterator[BinaryIO]:
    """A file that stands at ``path`` once it is whole; until then beside it, and never if anything goes wrong."""
    path = path.resolve()  # of a link what it leads to
    if path.exists() and not path.is_file():
        raise UsageError(f"{path} is no ordinary file.", "Write to stdout instead: --out -")
    if path.exists() and not force:
        raise UsageError(f"{path} is there already.", f"To write it anew: {line} --force")
    if not path.parent.is_dir():
        raise UsageError(f"There is no folder {path.parent}.", f"Make it: {typed('mkdir', '-p', str(path.parent))}")
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _line(what: str, out: str) -> str:
    return typed("ledgerd", "export", what, "--out", out)
