"""The audit of the river finds what it is for: a row less, a row more, another value, a page that is missing."""

import hashlib
from dataclasses import replace

import pytest

from tests.riverbook import Answer, Change, Commit, Kept, answers, compared, river_lost_and_doubled, value_sha256


def sha(text):
    return hashlib.sha256(text.encode()).hexdigest()


def change(stash_id, league="Standard", value="a", *, is_public=True):
    return Change(stash_id, sha(value), league, 1, is_public)


def kept_of(answer, lanes=("*",)):
    """What a daemon that did all right has of an answer."""
    wanted = [each for each in answer.changes if "*" in lanes or each.league in {None, *lanes}]
    rows = [(each.stash_id, frozenset({each.sha256})) for each in wanted]
    return Kept(answer.asked, answer.following, rows, len(rows), len(answer.changes) - len(rows))


GONE = change("9", None, is_public=False)
BOOK = [
    Answer("1", "2", [change("a"), change("b"), GONE]),
    Answer("1", "2", [change("a", value="other"), change("b"), change("c")]),  # asked again, answered otherwise
    Answer("2", "3", [change("a", "Mirage")]),
    Answer("3", "4", [change("d")]),
]
COMMITS = [Commit("x-1", "1", "3", 2), Commit("x-2", "3", "4", 1)]


def kept():
    """A daemon that froze the second answer for the first id."""
    return {("x-1", 0): kept_of(BOOK[1]), ("x-1", 1): kept_of(BOOK[2]), ("x-2", 0): kept_of(BOOK[3])}


def judged(pages, commits=COMMITS, book=BOOK):
    return river_lost_and_doubled(commits, pages, book).findings


def test_one_answer_for_each_page_of_a_whole_chain_is_all_that_is_owed():
    verdict = river_lost_and_doubled(COMMITS, kept(), BOOK)

    assert (verdict.findings, verdict.pages, verdict.changes) == ({}, 3, 5)


def test_a_row_that_is_missing_is_lost():
    pages = kept()
    pages["x-1", 0].rows.pop()

    assert [len(judged(pages)[name]) for name in ("lost", "unexpected")] == [1, 1], "gone, and still counted"


def test_a_row_that_is_there_twice_is_doubled():
    pages = kept()
    pages["x-1", 0].rows.append(pages["x-1", 0].rows[0])
    pages["x-1", 0].stored += 1

    found = judged(pages)
    assert len(found["doubled"]) == 1
    assert "lost" not in found


def test_a_row_with_another_value_is_neither_the_one_owed_nor_expected():
    pages = kept()
    pages["x-2", 0].rows[0] = ("d", frozenset({sha("spoiled")}))

    assert {name: len(lines) for name, lines in judged(pages).items()} == {"lost": 1, "unexpected": 1}


def test_rows_of_two_answers_for_one_page_do_not_make_one():
    pages = kept()
    pages["x-1", 0].rows[2] = (GONE.stash_id, frozenset({GONE.sha256}))

    assert {name: len(lines) for name, lines in judged(pages).items()} == {"lost": 1, "unexpected": 1}


@pytest.mark.parametrize(
    ("commits", "said"),
    [
        ([COMMITS[0]._replace(pages=1, next_cursor="2"), COMMITS[1]], "begins at 3"),
        ([COMMITS[0]._replace(pages=1), COMMITS[1]], "ends at 2, its checkpoint says 3"),
        ([COMMITS[0]._replace(cursor="0"), COMMITS[1]], "was asked with 1, 0 was due"),
    ],
)
def test_a_page_missing_from_the_chain_is_told(commits, said):
    assert any(said in line for line in judged(kept(), commits)["broken"])


def test_a_page_the_book_knows_nothing_of_is_told():
    assert "no answer in the book leads to 4" in judged(kept(), book=BOOK[:3])["broken"][0]


def test_a_page_of_a_batch_without_its_checkpoint_is_unexpected():
    assert judged(kept(), COMMITS[:1]) == {"unexpected": ["x-2/0 is in no checkpoint"]}


def test_changes_of_other_lanes_are_counted_and_those_without_a_league_stored():
    answer = Answer("1", "2", [change("a"), change("b", "Mirage"), change("c", None), GONE])
    page = kept_of(answer, ["Mirage"])

    assert compared("p", page, ["Mirage"], answer).findings == {}
    page.skipped = 0
    assert [*compared("p", page, ["Mirage"], answer).findings] == ["lost", "unexpected"]
    assert [*compared("p", kept_of(answer), ["Mirage"], answer).findings] == ["unexpected"]


def test_pages_all_of_other_lanes_leave_no_row_and_the_chain_is_found_in_the_book():
    pages = {("x-1", 0): kept_of(BOOK[0]), ("x-1", 1): Kept(skipped=1), ("x-1", 2): Kept(skipped=1)}
    commits = [Commit("x-1", "1", "4", 3, ["Standard"])]
    moved = replace(BOOK[3], changes=[change("d", "Mirage")])

    assert judged(pages, commits, [*BOOK[:3], moved]) == {}
    assert "no answer in the book" in judged(pages, commits, BOOK[:3])["broken"][0]


def test_what_is_whole_in_quarantine_is_not_lost():
    page = Kept("1", "2", whole=b'{"id":"a"},{"id":"b"}')
    answer = Answer("1", "2", [change("a"), change("b")])

    assert compared("p", page, ["*"], answer).findings == {}
    assert [*compared("p", replace(page, whole=b'{"id":"a"}'), ["*"], answer).findings] == ["lost"]


def test_a_struck_change_may_be_stored_or_left_out_by_its_new_league_but_never_vanish():
    answer = Answer("1", "2", [change("a"), change("b")], struck="b")
    page = kept_of(answer)
    page.rows.pop()
    page.stored, page.skipped = 1, 1

    assert compared("p", page, ["Standard"], answer).findings == {}
    page.skipped = 0
    assert "lost" in compared("p", page, ["Standard"], answer).findings


def test_a_payload_counts_by_its_value_where_it_is_json_and_by_its_bytes_where_not():
    assert value_sha256(b'{"a": 1.50}') == sha('{"a":1.5}')
    assert value_sha256(b'{"a":1e400') == sha('{"a":1e400')


def test_a_book_gives_the_pages_that_could_be_read():
    line = {
        "realm": "pc",
        "asked": None,
        "next": "2",
        "status": 200,
        "struck": None,
        "stashes": [["a", "f", None, 0, True]],
    }
    others = [{**line, "status": 429}, {**line, "realm": "xbox"}, {**line, "next": None}]

    assert answers([line, *others]) == [Answer("", "2", [Change("a", "f", None, 0, True)])]
