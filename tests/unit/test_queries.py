"""Named SQL blocks: what is read, and what is said about a file that is wrong."""

from pathlib import Path

import pytest

from ledgerd.store.queries import Queries, load_queries, schema_root

TEXT = """-- What stands here before the first name is a preface.

-- name: first
-- Says one.
SELECT 1;

-- name: second_one
-- Says two; with a colon: and
-- a second line.
SELECT 2 -- two
"""


def test_blocks_are_found_by_name_with_their_purpose_and_without_the_semicolon():
    queries = Queries(TEXT)

    assert list(queries) == ["first", "second_one"]
    assert queries["first"] == "-- Says one.\nSELECT 1"
    assert queries["second_one"].endswith("SELECT 2 -- two")


def test_a_missing_name_is_answered_with_those_there_are():
    with pytest.raises(KeyError, match=r"no query 'third' in q\.sql; it has first, second_one"):
        Queries(TEXT, "q.sql")["third"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("-- name: a\n-- p\nSELECT 1;\n-- name: a\n-- p\nSELECT 2;", "two queries are called a"),
        ("-- name: a\nSELECT 1;", "query a has no line that says what it is for"),
        ("-- name: a\n-- p\n-- name: b\n-- p\nSELECT 1;", "query a is empty"),
        ("-- name:\n-- p\nSELECT 1;", "is no name"),
        ("-- name: Two Words\n-- p\nSELECT 1;", "'Two Words' is no name"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(text, said):
    with pytest.raises(ValueError, match=said) as caught:
        Queries(text, "q.sql")

    assert str(caught.value).startswith("q.sql: ")


def test_a_file_is_read_as_utf8(tmp_path):
    file = tmp_path / "q.sql"
    file.write_text("-- name: é\n".replace("é", "e") + "-- Émile\nSELECT 'é';", encoding="utf-8")

    assert load_queries(str(file))["e"] == "-- Émile\nSELECT 'é'"


def test_a_checkout_finds_the_schema_beside_the_package():
    root = schema_root()

    assert (root / "migrations").is_dir()
    assert Path(str(root)).name in {"schema", "_schema"}
