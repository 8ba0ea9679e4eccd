"""What a page of stashes is without parsing it, and what is left when the engine cannot read it."""

import gzip
import json
from pathlib import Path

import pytest

from ledgerd.harvest.river_page import UnreadableRiverPage, changes, gist

RECORDED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "river"
ID = "3278697332-3203624673-3129327201-3479175554-3367790506"


def page(*stashes, next_id=ID):
    return b'{"next_change_id":"' + next_id.encode() + b'","stashes":[' + b",".join(stashes) + b"]}"


def stash(number, more=b""):
    return b'{"id":"' + str(number).encode() + b'","public":true' + more + b"}"


def test_the_gist_of_a_page_is_read_off_its_bytes():
    got = gist(page(stash(1), stash(2, b',"stash":"~b/o 1 \\"public\\": chaos"')))

    assert (got.next_change_id, got.is_empty, got.stashes) == (ID, False, 2)


def test_an_empty_page_is_the_end_of_the_stream():
    assert gist(page()).is_empty


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html>", "no next_change_id"),
        (b'{"next_change_id":"1"}', "no stashes"),
        (page(next_id="../../etc"), "is not one"),
        (page(next_id="1" * 30), "is not one"),
        (b'{"next_change_id":5,"stashes":[]}', "no next_change_id"),
    ],
)
def test_what_is_no_page_says_why(body, reason):
    with pytest.raises(UnreadableRiverPage, match=reason):
        gist(body)


@pytest.mark.parametrize(
    "poison", [b'"\\ud800"', b"1e400", b"123456789012345678901234567890", b'"\\u0000"', b'"\xff"', b"NaN"]
)
def test_a_poisoned_change_keeps_its_own_text_and_leaves_the_others_alone(poison):
    bad = stash(2, b',"items":[],"x":' + poison)
    got = changes(b"\xef\xbb\xbf" + page(stash(1), bad, stash(3)))

    assert [each.stash["id"] for each in got] == ["1", "2", "3"]
    assert got[1].text.encode("utf-8", "surrogateescape") == bad


@pytest.mark.parametrize("body", [page(b"[" * 100_000), page(stash(1))[:-5], page(b"nonsense"), b"{}", b""])
def test_what_nobody_can_read_is_refused_and_no_crash(body):
    with pytest.raises(UnreadableRiverPage):
        changes(body)


@pytest.mark.skipif(not RECORDED.is_dir(), reason="../shared is not present: no recorded pages to read")
def test_every_recorded_change_and_item_is_found_and_equal():
    stashes = items = 0
    for path in sorted(RECORDED.glob("page-*.json.gz")):
        body = gzip.decompress(path.read_bytes())
        true = json.loads(body)
        got = changes(body)
        assert gist(body).stashes == len(true["stashes"])
        assert [each.stash for each in got] == true["stashes"]
        assert [json.loads(each.text) for each in got] == true["stashes"]
        stashes += len(got)
        items += sum(len(each.stash["items"]) for each in got)

    assert (stashes, items) == (2316, 2804)
