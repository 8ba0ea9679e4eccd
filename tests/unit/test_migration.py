"""Files into statements and plans, without a database."""

import hashlib
import re
from pathlib import Path

import pytest

from ledgerd.errors import MigrationRefused, SchemaNewer
from ledgerd.store.migration import load_migrations, parse, plan, script, split_statements, states

ONE = parse("0001_one.sql", b"SELECT 1;\n")
TWO = parse("0002_two.sql", b"SELECT 2;\nSELECT 3;\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("-- only a comment;\n/* and\nanother; */\n", []),
        ("SELECT 1;", ["SELECT 1"]),
        ("SELECT 1", ["SELECT 1"]),
        ("SELECT 1;\r\nSELECT 2;\r\n", ["SELECT 1", "SELECT 2"]),
        ("SELECT 1; -- one\nSELECT 2;", ["SELECT 1", "SELECT 2"]),
        ("SELECT 1;;\n;\n", ["SELECT 1;"]),
        ("SELECT ';\n';\nSELECT 2;", ["SELECT ';\n'", "SELECT 2"]),
        ("SELECT 'it\\';\n';", ["SELECT 'it\\';\n'"]),
        ("SELECT '--', \"/*\", `;\n`;\nSELECT 2;", ["SELECT '--', \"/*\", `;\n`", "SELECT 2"]),
        ("SELECT 1 /* ;\n */ + 1;\n", ["SELECT 1 /* ;\n */ + 1"]),
        ("SELECT 1 -- it's;\n+ 1;\nSELECT 2;", ["SELECT 1 -- it's;\n+ 1", "SELECT 2"]),
        ("SELECT 4 / 2 - 1;", ["SELECT 4 / 2 - 1"]),
        ("a; b;\nc", ["a; b", "c"]),
    ],
)
def test_statements_end_where_a_semicolon_ends_a_line_outside_quotes_and_comments(text, expected):
    assert split_statements(text) == expected


def test_a_checksum_is_the_sha256_of_the_file():
    assert ONE.checksum == hashlib.sha256(b"SELECT 1;\n").hexdigest()


@pytest.mark.parametrize("name", ["1_one.sql", "0001-one.sql", "0001_One.sql", "one.sql", "0001_.sql"])
def test_a_file_with_another_name_is_an_error(name):
    with pytest.raises(ValueError, match="NNNN_name"):
        parse(name, b"SELECT 1;")


def test_a_file_without_a_statement_is_an_error():
    with pytest.raises(ValueError, match="no statement"):
        parse("0001_one.sql", b"-- later\n")


@pytest.mark.parametrize("names", [["0002_b.sql"], ["0001_a.sql", "0003_c.sql"], ["0001_a.sql", "0001_b.sql"]])
def test_a_missing_or_doubled_number_is_an_error(tmp_path, names):
    for name in names:
        (tmp_path / name).write_text("SELECT 1;")
    with pytest.raises(ValueError, match="is expected"):
        load_migrations(tmp_path)


def test_files_come_in_the_order_of_their_numbers(tmp_path):
    for name in ("0002_a.sql", "0001_b.sql", "README.md"):
        (tmp_path / name).write_text("SELECT 1;")

    assert [one.label for one in load_migrations(tmp_path)] == ["0001_b", "0002_a"]


def test_each_migration_is_applied_pending_or_changed():
    found = states([ONE, TWO], {1: "another"})

    assert [(one.version, one.name, one.state) for one in found] == [(1, "one", "changed"), (2, "two", "pending")]
    assert [one.state for one in states([ONE], {1: ONE.checksum})] == ["applied"]


def test_what_is_not_applied_is_planned_even_below_what_is():
    assert plan([ONE, TWO], {2: TWO.checksum}) == [ONE]


def test_an_edited_one_stops_the_plan():
    with pytest.raises(MigrationRefused, match="0001_one") as caught:
        plan([ONE, TWO], {1: "another"})

    assert caught.value.exit_code == 70


def test_an_unknown_one_stops_the_plan():
    with pytest.raises(SchemaNewer, match="0007"):
        plan([ONE], {1: ONE.checksum, 7: "x"})


def test_the_script_can_be_split_into_the_same_statements():
    assert split_statements(script([ONE, TWO])) == [*ONE.statements, *TWO.statements]
    assert script([]) == ""


def test_no_migration_modifies_a_view_for_tokens_would_change_their_meaning_until_the_next_start():
    folder = Path(__file__).resolve().parents[2] / "schema" / "migrations"

    modifying = re.compile(r"^ALTER.*MODIFY QUERY", re.MULTILINE)

    assert [path.name for path in folder.glob("*.sql") if modifying.search(path.read_text())] == []
