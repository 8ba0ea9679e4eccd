"""Recorded pages of the river, served again as they were received, one after another."""

import gzip
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from ledgerd.sim.river_page import Page, Piece
from ledgerd.sim.stash_market import StashMarket
from ledgerd.sim.timeline import parse_id, write_id

_ZERO = (0,) * 5


def recorded_pages(folder: Path) -> list[Path]:
    """The recorded pages in a folder, ``page-*.json.gz``."""
    return sorted(folder.glob("page-*.json.gz"))


class RiverReplay:
    """The pages of a folder, chained by their own next ids, as pc's river.

    They stand in the order of those ids; a page answers every id between the one before it and its own, so that its own
    next id asks for the page after it, and bisection works. The other realms are empty. ValueError for a folder without
    pages, for a page that is none and for two with one next id.
    """

    def __init__(self, folder: Path) -> None:
        paths = recorded_pages(folder)
        if not paths:
            raise ValueError(f"{folder}: no recorded pages, expected files named page-*.json.gz")
        self._pages = sorted((_next_of(path), path) for path in paths)
        if len({counters for counters, _ in self._pages}) != len(paths):
            raise ValueError(f"{folder}: two pages have the same next_change_id")

    def page(self, realm: str, counters: Sequence[int] | None, now_s: float, nonce: int) -> Page:
        """The page after an id, as it was recorded; empty at the end."""
        asked = None if counters is None else write_id(counters)
        for next_counters, path in self._pages if realm == "pc" else ():
            if counters is None or sum(next_counters) > sum(counters):
                body = gzip.decompress(path.read_bytes())
                pieces = tuple(_piece(stash) for stash in orjson.loads(body)["stashes"])
                return Page(asked, write_id(next_counters), pieces, body)
        return Page(asked, asked or self.head(realm, now_s), ())

    def beside(self, realm: str, counters: Sequence[int] | None, touches: int) -> str:
        """An id some way off; between two pages there is nothing to count."""
        return write_id([max(0, counter + touches) for counter in counters or _ZERO])

    def head(self, realm: str, now_s: float) -> str:
        """The last page's next id."""
        return write_id(self._pages[-1][0] if realm == "pc" else _ZERO)

    def market(self, realm: str) -> StashMarket:
        """Always ValueError."""
        raise ValueError(f"no true prices are known for recorded pages ({realm})")

    def sales(self, realm: str, since_s: float, until_s: float) -> Iterator[dict[str, Any]]:
        """Always ValueError."""
        raise ValueError(f"no sales are known for recorded pages ({realm}, {since_s:g} to {until_s:g})")


def _next_of(path: Path) -> tuple[int, ...]:
    """A recorded page's next id; ValueError where it has none."""
    counters = parse_id(orjson.loads(gzip.decompress(path.read_bytes()))["next_change_id"])
    if counters is None:
        raise ValueError(f"{path}: next_change_id is not five counters joined by -")
    return counters


def _piece(stash: dict[str, object]) -> Piece:
    """One recorded stash."""
    items, league = stash.get("items"), stash.get("league")
    return Piece(
        str(stash["id"]),
        stash.get("public") is True,
        league if isinstance(league, str) else None,
        len(items) if isinstance(items, list) else 0,
        orjson.dumps(stash),
    )
