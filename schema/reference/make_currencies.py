"""Make currencies.tsv: python make_currencies.py INPUTS > currencies.tsv.

INPUTS holds reference/exchange-ids-poe1.json.gz and -poe2 (id → name, class, category, trade_tag),
reference/currency-tags-poe1.json.gz (tag, name, metadata_ids) and exchange/*.json.gz (recorded digests). Kept: what the
exchange or the trade site lists under a heading of its own, what has a trade tag, and what a digest has shown.
"""

import gzip
import json
import re
import sys
from pathlib import Path
from typing import Any

COLUMNS = ("metadata_id", "name", "trade_tag", "category", "game", "aliases")
ALIASES = {  # by name: short and misspelt forms met in price notes
    "Chaos Orb": "c,chaoses,choas,chaso,chaos-orb",
    "Divine Orb": "div,divs,divines,devine,divine-orb",
    "Exalted Orb": "exa,ex,exalt,exalts,exalted-orb",
    "Orb of Alchemy": "alchemy,alchs,alc",
    "Orb of Alteration": "alts,alteration,alterations",
    "Orb of Fusing": "fuse,fuses,fus,fusings",
    "Jeweller's Orb": "jew,jews,jeweller,jeweler,jewelers",
    "Chromatic Orb": "chrome,chromes,chromatic,chroms",
    "Orb of Chance": "chances",
    "Orb of Regret": "regrets",
    "Orb of Annulment": "annulment,annuls",
    "Orb of Scouring": "scouring,scours",
    "Orb of Augmentation": "augmentation,augs",
    "Orb of Transmutation": "transmute,transmutation,transmutes",
    "Mirror of Kalandra": "mir,mirrors,kalandra",
    "Vaal Orb": "vaals",
    "Regal Orb": "regals",
    "Blessed Orb": "bless,blesseds",
    "Gemcutter's Prism": "gemcutter,gemcutters,gcps",
}


def load(path: Path) -> Any:  # noqa: ANN401 - JSON of several shapes
    """One gzip JSON file."""
    return json.loads(gzip.decompress(path.read_bytes()))


def seen(folder: Path) -> set[str]:
    """Every id of every recorded digest."""
    digests = [load(path) for path in sorted(folder.glob("*.json.gz"))]
    return {id_ for digest in digests for market in digest["markets"] for id_ in market["market_pair"]}


def is_own_heading(entry: dict[str, Any]) -> bool:
    """A category that only spells out the item class ("MapFragment", "Map Fragment") is no heading of the exchange."""
    return bool(entry["category"] != re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", entry["class"] or ""))


def rows_of(game: str, entries: dict[str, dict[str, Any]], tags: dict[str, str], met: set[str]) -> list[list[str]]:
    """The rows of one game."""
    rows = []
    for id_, entry in entries.items():
        tag = tags.get(id_) or entry["trade_tag"] or ""
        if tag or id_ in met or is_own_heading(entry):
            rows.append([id_, entry["name"], tag, entry["category"], game, ALIASES.get(entry["name"], "")])
    return rows


def merged(one: list[list[str]], two: list[list[str]]) -> list[list[str]]:
    """One row, game "both", where both games use an id for the same name and do not disagree on its tag."""
    rows = {row[0]: row for row in one}
    rest = []
    for row in two:
        twin = rows.get(row[0])
        if twin is None or twin[1] != row[1] or (twin[2] and row[2] and twin[2] != row[2]):
            rest.append(row)
        else:
            rows[row[0]] = [row[0], row[1], twin[2] or row[2], twin[3], "both", row[5]]
    return sorted([*rows.values(), *rest])


def main(inputs: Path) -> None:
    """Print the table."""
    ids = {game: load(inputs / "reference" / f"exchange-ids-{game}.json.gz") for game in ("poe1", "poe2")}
    met = seen(inputs / "exchange")
    by_name = {entry["name"]: id_ for id_, entry in ids["poe1"].items()}
    tags = {}
    for tag in load(inputs / "reference" / "currency-tags-poe1.json.gz"):
        for id_ in tag["metadata_ids"] or [by_name.get(tag["name"], tag["tag"])]:
            tags[id_] = tag["tag"]
            ids["poe1"].setdefault(id_, {"name": tag["name"], "class": None, "category": "Currency", "trade_tag": None})
    rows = merged(rows_of("poe1", ids["poe1"], tags, met), rows_of("poe2", ids["poe2"], {}, met))
    for row in [list(COLUMNS), *rows]:
        print("\t".join(row))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
