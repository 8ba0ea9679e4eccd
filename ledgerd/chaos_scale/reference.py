"""The reference table of currencies: trade tags, names, metadata ids and aliases, and how they meet.

Both games share some ids ("both"), and use some names and ids for different things; so every look-up takes a realm.
Realm "poe2" looks at the second game's rows first, any other realm at the first game's; then at the other game's.
"""

import csv
import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path

from ledgerd.store.queries import schema_root

COLUMNS = ("metadata_id", "name", "trade_tag", "category", "game", "aliases")
CHAOS_NAME, DIVINE_NAME = "Chaos Orb", "Divine Orb"


@dataclass(frozen=True, slots=True)
class Currency:
    """One row; `game` is poe1, poe2 or both; `trade_tag` is "" where the trade site has none."""

    metadata_id: str
    name: str
    trade_tag: str
    category: str
    game: str
    aliases: tuple[str, ...]

    @property
    def terms(self) -> tuple[str, ...]:
        """Everything this currency is found by, the surest first."""
        return tuple(term for term in (self.metadata_id, self.trade_tag, self.name, *self.aliases) if term)


class Reference:
    """The table in memory.

    Where rows of one game share a term, it means the one that has it as metadata id, else as tag, name, alias; among
    those the first id in sort order.
    """

    def __init__(self, rows: Iterable[Currency]) -> None:
        self.rows = tuple(rows)
        self._by_term = {
            game: _index(row for row in self.rows if row.game in (game, "both")) for game in ("poe1", "poe2")
        }

    def find(self, text: str, realm: str = "pc") -> Currency | None:
        """The currency a tag, name, metadata id or alias means; case does not matter."""
        term = text.strip().casefold()
        one, other = ("poe2", "poe1") if realm == "poe2" else ("poe1", "poe2")
        return self._by_term[one].get(term) or self._by_term[other].get(term)

    def suggest(self, text: str, n: int = 3, realm: str = "pc") -> list[str]:
        """Up to `n` tags or names spelt like `text`, the nearest first, no currency twice."""
        game = "poe2" if realm == "poe2" else "poe1"
        by_term = self._by_term[game]
        near = difflib.get_close_matches(text.strip().casefold(), list(by_term), n=3 * n, cutoff=0.6)
        found = dict.fromkeys(by_term[term] for term in near)
        return [row.trade_tag or row.name for row in found][:n]

    def label(self, id_: str, realm: str = "pc") -> str:
        """The name; for an id the table lacks, its last part in words: .../CurrencyFooBar → "Currency Foo Bar"."""
        known = self.find(id_, realm)
        return known.name if known else _words(id_)

    def canonical(self, id_or_tag: str, realm: str = "pc") -> str:
        """The metadata id where the text is known, else the text unchanged."""
        known = self.find(id_or_tag, realm)
        return known.metadata_id if known else id_or_tag

    @property
    def chaos_ids(self) -> frozenset[str]:
        """Metadata id and trade tag of the Chaos Orb, of both games."""
        return self._ids_of(CHAOS_NAME)

    @property
    def divine_ids(self) -> frozenset[str]:
        """Metadata id and trade tag of the Divine Orb, of both games."""
        return self._ids_of(DIVINE_NAME)

    def _ids_of(self, name: str) -> frozenset[str]:
        return frozenset(
            id_ for row in self.rows if row.name == name for id_ in (row.metadata_id, row.trade_tag) if id_
        )


def shipped() -> Reference:
    """The currencies this version knows by name."""
    return load(schema_root() / "reference" / "currencies.tsv")


def load(path: Path | Traversable) -> Reference:
    """Read a TSV with a header row; ValueError, naming the line, if it is not such a table."""
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = list(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    if not rows or tuple(rows[0]) != COLUMNS:
        raise ValueError(f"{path}: line 1 must be {' '.join(COLUMNS)}, separated by tabs")
    return Reference(_currency(path, number, row) for number, row in enumerate(rows[1:], start=2))


def _currency(path: Path | Traversable, number: int, row: list[str]) -> Currency:
    if len(row) != len(COLUMNS) or not row[0] or row[4] not in ("poe1", "poe2", "both"):
        raise ValueError(f"{path}: line {number} must be {' '.join(COLUMNS)}, with an id and game poe1, poe2 or both")
    metadata_id, name, trade_tag, category, game, aliases = row
    return Currency(metadata_id, name, trade_tag, category, game, tuple(filter(None, aliases.split(","))))


def _index(rows: Iterable[Currency]) -> dict[str, Currency]:
    """Term → row; surer kinds of term win, then the smaller id."""
    index: dict[str, Currency] = {}
    ordered = sorted(rows, key=lambda row: row.metadata_id)
    for kind in (
        lambda row: (row.metadata_id,),
        lambda row: (row.trade_tag,),
        lambda row: (row.name,),
        lambda row: row.aliases,
    ):
        for row in ordered:
            for term in filter(None, kind(row)):
                index.setdefault(term.casefold(), row)
    return index


def _words(id_: str) -> str:
    """The last part of an id in words; tags are split at their dashes."""
    last = id_.rstrip("/").rpartition("/")[2]
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z0-9])|(?<=[A-Z0-9])(?=[A-Z][a-z])|[-_]+", " ", last).strip()
    return " ".join(word[:1].upper() + word[1:] for word in spaced.split()) or id_
