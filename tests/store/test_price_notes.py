"""Price notes: every one in the table is read as a person reads it or refused with a reason, and none is read wrong."""

import csv
import gzip
import json
import math
import random
import re
from collections import Counter
from pathlib import Path

import pytest

from ledgerd.clock import SystemClock
from ledgerd.etl.reference import load_reference
from ledgerd.store.migrate import Migrator
from ledgerd.store.queries import schema_root
from tests.store.refining import REFERENCE

NOTED = (schema_root() / "etl" / "parts" / "noted.sql").read_text(encoding="utf-8")
TABLE = Path(__file__).with_name("price_notes.tsv")
DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
RECORDED = [
    path
    for folder in ("river", "river-diffs-2017", "account-stash-2023")
    for path in sorted((DATA / folder).glob("*.gz"))
]
RIGHT_SHARE = 0.986
"""What a simple grammar reads of a census of recorded notes."""
POE1 = sorted((row for row in REFERENCE.rows if row.game != "poe2"), key=lambda row: row.metadata_id)
IDS = {term: row.metadata_id for row in reversed(POE1) for term in (row.name, row.trade_tag) if term} | {
    row.trade_tag: row.metadata_id for row in reversed(POE1) if row.trade_tag
}


@pytest.fixture
async def db(each_engine):
    await Migrator(each_engine, SystemClock()).apply()
    await load_reference(each_engine, REFERENCE.rows)
    return each_engine


def over(notes, n):
    """``n`` items with a note each, told by an expression of ``number``, and the notes read; a SELECT is to follow."""
    item = "toString(number) AS name, map('tier', '16') AS parts, '' AS reason, number AS key, 7 AS stack"
    sighted = f"SELECT number AS at, {item}, {notes} AS note_text FROM numbers({n})"
    return f"WITH sighted AS ({sighted}), known AS (SELECT 1 AS price, 2 AS after), noted AS (\n{NOTED}\n)"


async def read(db, notes):
    """Note → (amount, currency, reason)."""
    told = over("{notes:Array(String)}[number + 1]", len(notes))
    rows = await db.rows(f"{told} SELECT at, amount, currency, note_reason FROM noted ORDER BY at", {"notes": notes})
    assert [row[0] for row in rows] == list(range(len(notes)))
    return {note: tuple(row[1:]) for note, row in zip(notes, rows, strict=True)}


def labels():
    """Note → (amount, currency, reason) as a person reads it; odd characters stand in the table as in JSON."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = [(*row, "", "", "")[:4] for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)][1:]
    assert len({row[0] for row in rows}) == len(rows)
    return {
        json.loads(f'"{note}"'): (number(amount), IDS.get(currency, currency), reason)
        for note, amount, currency, reason in rows
    }


def number(text):
    asked, _, items = text.partition("/")
    return float(asked or 0) / float(items or 1)


async def test_the_labelled_notes_are_read_right_and_none_is_read_wrong(db):
    wanted = labels()
    found = await read(db, list(wanted))
    missed = {note: (found[note], wanted[note]) for note in wanted if found[note] != wanted[note]}
    wrong = {note: both for note, both in missed.items() if both[0][0] > 0}
    share = 1 - len(missed) / len(wanted)

    assert wrong == {}, f"of {len(wanted)} notes {share:.1%} are read right; read wrong (found, wanted): {wrong}"
    assert share >= RIGHT_SHARE, f"of {len(wanted)} notes {share:.1%} are read right; not (found, wanted): {missed}"


@pytest.mark.skipif(not RECORDED, reason="../shared is not present: no recorded notes to look up")
def test_every_note_and_tab_name_of_the_recordings_is_labelled():
    seen = Counter()
    for path in RECORDED:
        seen.update(re.findall(r'"(?:note|stash|name|n)": ?"(\s*~[^"]*)"', gzip.decompress(path.read_bytes()).decode()))

    assert len(seen) > 100
    assert set(seen) - set(labels()) == set()


async def test_the_columns_are_those_of_the_items_and_three_more(db):
    columns = await db.rows(f"DESCRIBE ({over('toString(number)', 1)} SELECT * FROM noted)")

    assert [tuple(column[:2]) for column in columns] == [
        ("at", "UInt64"), ("name", "String"), ("parts", "Map(String, String)"), ("reason", "String"), ("key", "UInt64"),
        ("stack", "UInt8"), ("note_text", "String"),
        ("amount", "Float64"), ("currency", "String"), ("note_reason", "String"),
    ]  # fmt: skip


async def test_a_currency_is_known_by_tag_by_name_and_by_every_alias_of_the_reference_table(db):
    ambiguous = {term for term, n in Counter(row.name for row in POE1).items() if n > 1}
    said = {}
    for row in reversed(POE1):
        names = [row.name] if " " in row.name and "," not in row.name and row.name not in ambiguous else []
        for term in (*row.aliases, *names, *([row.trade_tag] if row.trade_tag != "offer" else [])):
            if term:
                said[f"~price 3 {term}"] = IDS.get(term, row.metadata_id)
    found = await read(db, list(said))
    wrong = {note: (found[note], id_) for note, id_ in said.items() if found[note] != (3.0, id_, "")}

    assert len(said) > 1000
    assert wrong == {}


async def test_figures_blanks_and_case_make_no_difference_to_what_is_asked(db):
    rng = random.Random(11)
    wanted = {}
    for _ in range(3000):
        asked, items = (rng.choice((rng.randrange(1, 10**6), round(rng.uniform(0.01, 99), 2))) for _ in range(2))
        ratio = rng.random() < 0.4
        slash = rng.choice(("/", " / ", "/ "))
        blank = [rng.choice((" ", "  ", "\u00a0", "\t ", "\u3000")) for _ in range(3)]
        tag, id_ = rng.choice((("exa", IDS["exalted"]), ("Chaos Orb", IDS["chaos"]), ("fuse", IDS["fusing"])))
        tag = rng.choice((tag.upper(), tag.lower(), tag))
        verb = rng.choice(("~price", "~b/o", "~B/O", "~c/o", "~gb/o"))
        tail = rng.choice(("", "", " ", " | 75+", " ok", "!", " (6l)"))
        wanted[f"{verb}{blank[0]}{asked}{f'{slash}{items}' if ratio else ''}{blank[1]}{tag}{tail}"] = (
            asked / items if ratio else float(asked), id_, "",
        )  # fmt: skip

    assert {note: row for note, row in (await read(db, list(wanted))).items() if row != wanted[note]} == {}


PIECES = (
    "~", "price", "b/o", "skip", " ", "  ", "5", "0", "1.5", "1,500", "/", ".", ",", "-", "+", "chaos", "exa", "c",
    "divine orb", "offer", "shard", "|", "\u00a0", "\ud55c", "\U0001f4b0", "'", "\\", "\n", "\x00", "1e400", "inf",
    "nan", "9" * 400, "x",
)  # fmt: skip


def garbage(rng):
    body = "".join(rng.choice(PIECES) for _ in range(rng.randrange(9)))
    return rng.choice(("", "~price ", "~b/o ", "~price 5", "~price 5 chaos", "~")) + body


async def test_whatever_a_note_says_it_has_a_price_or_a_reason_or_was_none(db):
    rng = random.Random(7)
    notes = sorted({garbage(rng) for _ in range(8000)})
    for note, (amount, currency, reason) in (await read(db, notes)).items():
        is_price = re.match(r"[\s\x00]*~[\s\x00]*(price|g?b/o|c/o)", note) is not None

        assert math.isfinite(amount), note
        assert 0 <= amount <= 1e9, note
        assert (amount > 0) == (currency != ""), note
        assert not (amount > 0 and reason), note
        if is_price:
            assert (amount > 0) != (reason != ""), note
        else:
            assert amount == 0, note
            assert reason in {"", "no price word"}, note


async def test_bytes_that_are_no_text_are_no_error(db):
    rng = random.Random(5)
    notes = [b"~price 5 ".hex() + rng.randbytes(rng.randrange(12)).hex() for _ in range(500)]
    told = over("unhex({notes:Array(String)}[number + 1])", len(notes))
    rows = await db.rows(f"{told} SELECT amount, currency, note_reason FROM noted", {"notes": notes})

    assert len(rows) == len(notes)
    assert all((amount > 0) == (reason == "") for amount, _, reason in rows)


async def test_notes_read_alike_for_any_number_of_threads_and_any_size_of_block(db):
    notes = list(labels())
    told = over("{notes:Array(String)}[number % length({notes:Array(String)}) + 1]", 20_000)
    hashes = set()
    for threads, block in ((1, 65_000), (4, 65_000), (4, 100)):
        settings = {"max_threads": threads, "max_block_size": block}
        hashes |= set(
            await db.rows(f"{told} SELECT groupBitXor(cityHash64(*)) FROM noted", {"notes": notes}, settings=settings)
        )

    assert len(hashes) == 1
