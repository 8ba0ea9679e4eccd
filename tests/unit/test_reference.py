"""What the reference table names, and what it makes of what people write."""

import gzip
import json
from pathlib import Path

import pytest

from ledgerd.chaos_scale.reference import Reference, load

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "schema" / "reference" / "currencies.tsv"
SHARED = ROOT.parent / "shared" / "data"
EXCHANGE = SHARED / "exchange"
TAGS = SHARED / "reference" / "currency-tags-poe1.json.gz"
M = "Metadata/Items/Currency/"


@pytest.fixture(scope="module")
def reference() -> Reference:
    return load(TABLE)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("divine", "Divine Orb"),
        ("DIV", "Divine Orb"),
        (f"{M}CurrencyModValues", "Divine Orb"),
        ("divine orb", "Divine Orb"),
        ("c", "Chaos Orb"),
        ("choas", "Chaos Orb"),
        ("exa", "Exalted Orb"),
        ("ex", "Exalted Orb"),
        (" exalted ", "Exalted Orb"),
        ("fuse", "Orb of Fusing"),
        ("fusing", "Orb of Fusing"),
        ("jew", "Jeweller's Orb"),
        ("alch", "Orb of Alchemy"),
        ("alt", "Orb of Alteration"),
        ("chance", "Orb of Chance"),
        ("regret", "Orb of Regret"),
        ("annul", "Orb of Annulment"),
        ("mirror", "Mirror of Kalandra"),
        ("ukatoas-ducat", "Ukatoa's Ducat"),
    ],
)
def test_every_vocabulary_of_price_notes_finds_its_currency(reference: Reference, text: str, name: str) -> None:
    found = reference.find(text)

    assert found is not None
    assert found.name == name


def test_a_stranger_is_not_found_and_keeps_its_id(reference: Reference) -> None:
    id_ = f"{M}CurrencyFooBar"

    assert reference.find(id_) is None
    assert reference.canonical(id_) == id_


@pytest.mark.parametrize(
    ("id_", "label"),
    [
        (f"{M}CurrencyFooBar", "Currency Foo Bar"),
        (f"{M}CurrencyRerollRare", "Chaos Orb"),
        ("Metadata/Items/SoulCores/RuneX2Foo3", "Rune X2 Foo 3"),
        ("foo-bar", "Foo Bar"),
        ("", ""),
        ("///", "///"),
    ],
)
def test_an_id_the_table_lacks_gets_a_label_from_its_path(reference: Reference, id_: str, label: str) -> None:
    assert reference.label(id_) == label


def test_a_near_spelling_is_suggested(reference: Reference) -> None:
    assert "divine" in reference.suggest("divnie", 3)
    assert reference.suggest("qqqqqqqqqqqq", 3) == []
    assert len(reference.suggest("essence", 2)) <= 2


def test_one_id_with_two_names_is_read_by_realm(reference: Reference) -> None:
    id_ = f"{M}CurrencyJewelleryQualitySpeed"

    assert (reference.label(id_), reference.label(id_, "poe2")) == ("Accelerating Catalyst", "Skittering Catalyst")


def test_one_name_with_two_ids_is_read_by_realm(reference: Reference) -> None:
    ids = [reference.canonical("Essence of Delirium", realm) for realm in ("pc", "poe2")]

    assert ids == [f"{M}CurrencyEssenceDelirium1", f"{M}CurrencyCorruptedEssenceDelirium"]


def test_the_orbs_are_known_by_id_and_tag(reference: Reference) -> None:
    assert reference.chaos_ids == {f"{M}CurrencyRerollRare", "chaos"}
    assert reference.divine_ids == {f"{M}CurrencyModValues", "divine"}


def test_no_alias_hides_another_currency(reference: Reference) -> None:
    hidden = [
        (alias, row.name)
        for row in reference.rows
        for alias in row.aliases
        for realm in ("pc", "poe2")
        if (found := reference.find(alias, realm)) is None or found.name != row.name
    ]

    assert hidden == []


def test_the_table_is_plain_enough_for_any_tsv_reader() -> None:
    lines = TABLE.read_text(encoding="utf-8").splitlines()

    assert all(line.count("\t") == 5 for line in lines)
    assert not any("\\" in line or '"' in line for line in lines)
    assert lines[1:] == sorted(lines[1:], key=lambda line: line.split("\t"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1"),
        ("id\tname\n", "line 1"),
        ("metadata_id\tname\ttrade_tag\tcategory\tgame\taliases\nx\ty\n", "line 2"),
    ],
)
def test_a_broken_table_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "broken.tsv"
    path.write_text(text)

    with pytest.raises(ValueError, match=message):
        load(path)


@pytest.mark.skipif(not EXCHANGE.is_dir(), reason="../shared/data/exchange not present")
def test_every_id_of_the_recorded_hours_has_a_name(reference: Reference) -> None:
    missing = []
    for path in sorted(EXCHANGE.glob("*.json.gz")):
        ids = {
            id_ for market in json.loads(gzip.decompress(path.read_bytes()))["markets"] for id_ in market["market_pair"]
        }
        missing += [id_ for id_ in ids if reference.find(id_, "poe2" if "poe2" in path.name else "pc") is None]

    assert missing == []


@pytest.mark.skipif(not TAGS.is_file(), reason="../shared/data/reference not present")
def test_every_trade_tag_leads_to_its_name(reference: Reference) -> None:
    tags = json.loads(gzip.decompress(TAGS.read_bytes()))
    wrong = [tag["tag"] for tag in tags if (found := reference.find(tag["tag"])) is None or found.name != tag["name"]]

    assert wrong == []
