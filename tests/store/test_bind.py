"""Parameters written into SQL stay values, whatever they hold; what only looks like a placeholder stays as it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgerd.store.bind import bound, expression
from ledgerd.store.chtype import unquote


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT '{n:UInt8}'",
        "SELECT 'it\\'s {n:UInt8}'",
        'SELECT 1 AS "{n:UInt8}"',
        "SELECT 1 AS `a\\`{n:UInt8}`",
        "-- it's {n:UInt8}\nSELECT 1",
        "/* it's {n:UInt8} */ SELECT 1",
        "SELECT map('a', 1), {'a': 1}",
    ],
)
def test_what_stands_in_quotes_and_comments_is_no_placeholder(sql):
    assert bound(sql, {"n": 3}) == sql


def test_a_placeholder_behind_a_comment_with_an_apostrophe_is_filled():
    assert bound("-- it's\nSELECT { n : UInt8 }", {"n": 3}) == "-- it's\nSELECT _CAST('3', 'UInt8')"


def test_a_value_that_looks_like_a_placeholder_is_not_filled_again():
    assert bound("SELECT {a:String}, {b:String}", {"a": "{b:String}", "b": "x"}) == (
        "SELECT _CAST('{b:String}', 'String'), _CAST('x', 'String')"
    )


@given(st.text())
def test_any_text_is_one_literal(value):
    text = expression("String", value)
    inner = text.removeprefix("_CAST('").removesuffix("', 'String')")

    assert unquote(inner) == value
    assert "'" not in inner.replace("\\\\", "").replace("\\'", "")


def test_an_identifier_is_quoted():
    assert bound("SELECT * FROM {t:Identifier}", {"t": "a`; DROP TABLE b"}) == "SELECT * FROM `a\\`; DROP TABLE b`"


@pytest.mark.parametrize(
    ("sql", "params", "said"),
    [
        ("SELECT {n:UInt8}", None, "Substitution n is not set"),
        ("SELECT {n:UInt8}", {"n": "1); DROP TABLE t"}, "parameter n: .* does not fit UInt8"),
        ("SELECT {n:Array(UInt8)}", {"n": [1, "2"]}, "parameter n: .* does not fit Array"),
        ("SELECT {n:String}", {"n": "\ud800"}, "parameter n: .* does not fit String"),
    ],
)
def test_what_does_not_fit_is_named(sql, params, said):
    with pytest.raises(ValueError, match=said):
        bound(sql, params)
