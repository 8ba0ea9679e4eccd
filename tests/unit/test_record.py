"""The record format: what goes in comes out, and no damage costs more than what it touches."""

import random
import struct
import time
import tracemalloc
from zlib import crc32

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledgerd.errors import Refused
from ledgerd.spool.record import (
    HEADER_BYTES_MAX,
    MAGIC,
    PRELUDE_BYTES,
    Break,
    Found,
    Link,
    Page,
    Scan,
    Seal,
    batch_id_of,
    chain_breaks,
    content_sha256,
    encode_page,
    encode_seal,
    page_bytes_most,
    scan,
    token_of,
)

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
int64 = st.integers(-(2**63), 2**63 - 1)
pages_of_any_kind = st.builds(Page, text, text, int64, int64, text, st.binary(max_size=400), text, st.booleans())
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
calmly = settings(derandomize=True, deadline=None, max_examples=150)


def page(number, body=None):
    return Page(f"id-{number}", f"id-{number + 1}", 1_000 + number, 200, "gzip", body or bytes([number % 256]) * 20)


def segment(count, sealed=True):
    """(bytes, pages) of a small segment."""
    pages = [page(number) for number in range(count)]
    records = [encode_page(each) for each in pages]
    data = b"".join(records)
    if sealed:
        content = content_sha256(each.digest for each in scan(data).records)
        data += encode_seal(Seal(3, "river-pc", count, {"transform": "v1"}, content)) * 2
    return data, pages


def raw(head, body=b"", lengths=None):
    """A record of our own making, with true checksums unless ``lengths`` lie."""
    head_bytes, body_bytes = lengths or (len(head), len(body))
    prelude = struct.pack(">8sIII", MAGIC, head_bytes, body_bytes, crc32(body, crc32(head)))
    return prelude + struct.pack(">I", crc32(prelude)) + head + body


def whole_records(data, offsets, mutated):
    """Pages of ``data`` whose bytes still stand somewhere in ``mutated``, in order."""
    return [data[start:end] for start, end in offsets if data[start:end] in mutated]


class TestRoundTrip:
    @calmly
    @given(st.lists(pages_of_any_kind, max_size=6))
    def test_pages_come_back_as_they_went_in(self, pages):
        data = b"".join(encode_page(each) for each in pages)

        found = scan(data)

        assert [each.page for each in found.records] == pages
        assert (found.good_bytes, found.bad, found.sealed) == (len(data), [], None)

    @calmly
    @given(st.dictionaries(text, json_values, max_size=5))
    def test_a_seal_comes_back_with_its_recipe(self, recipe):
        seal = Seal(7, "exchange-pc", 3, recipe, "ab" * 32)

        assert scan(encode_seal(seal)).sealed == seal

    @calmly
    @given(pages_of_any_kind)
    def test_no_record_is_longer_than_its_announced_bound(self, any_page):
        assert len(encode_page(any_page)) <= page_bytes_most(any_page)

    def test_offsets_and_lengths_tile_the_segment(self):
        data, _ = segment(5, sealed=False)

        found = scan(memoryview(data))

        ends = [each.offset + each.length for each in found.records]
        assert [each.offset for each in found.records] == [0, *ends[:-1]]
        assert ends[-1] == len(data)


class TestWhatCannotBeARecord:
    def test_a_header_over_its_limit_is_refused(self):
        with pytest.raises(Refused, match="bytes of header"):
            encode_page(Page("a", "b" * (HEADER_BYTES_MAX + 1), 0, 200, "gzip", b""))

    def test_a_body_over_its_limit_is_refused(self, monkeypatch):
        monkeypatch.setattr("ledgerd.spool.record.BODY_BYTES_MAX", 10)

        with pytest.raises(Refused, match="11 of body"):
            encode_page(page(1, b"x" * 11))

    @pytest.mark.parametrize("asked", ["\ud800", "ok\udfff"])
    def test_text_that_is_not_unicode_is_refused(self, asked):
        with pytest.raises(Refused, match="surrogates"):
            encode_page(Page(asked, "b", 0, 200, "gzip", b""))


class TestIdentity:
    def test_the_token_follows_content_and_recipe_and_nothing_else(self):
        one = batch_id_of("river-pc", 1, "aa" * 32)
        other = batch_id_of("river-pc", 1, "ab" * 32)

        assert token_of(one, {"a": 1, "b": [2]}) == token_of(one, {"b": [2], "a": 1})
        assert token_of(one, {"a": 1}) != token_of(one, {"a": 2})
        assert token_of(one, {"a": 1}) != token_of(other, {"a": 1})

    def test_the_content_hash_knows_order_and_every_byte(self):
        first, second = (scan(encode_page(page(number))).records[0].digest for number in (1, 2))

        hashes = {content_sha256(digests) for digests in ([first, second], [second, first], [first], [])}

        assert len(hashes) == 4


class TestChain:
    def test_a_page_that_does_not_follow_is_a_break_unless_it_was_meant(self):
        links = [Link("a", "b", False), Link("b", "c", False), Link("x", "y", False), Link("m", "n", True)]

        assert chain_breaks(links) == [Break("c", "x")]

    def test_pages_not_looked_at_are_not_a_break(self):
        assert chain_breaks([Link("a", "b", False), None, Link("x", "y", False)]) == []


class TestDamage:
    def test_a_segment_torn_at_any_byte_keeps_the_pages_before_it(self):
        data, pages = segment(4)
        ends = [each.offset + each.length for each in scan(data).records]

        for cut in range(len(data) + 1):
            found = scan(data[:cut])
            whole = sum(end <= cut for end in ends)
            assert [each.page for each in found.records] == pages[:whole]
            assert found.good_bytes + sum(each.length for each in found.bad) == cut

    def test_a_bit_flipped_at_any_byte_costs_one_record(self):
        data, pages = segment(4)
        found = scan(data)
        page_bytes = found.records[-1].offset + found.records[-1].length

        for at in range(len(data)):
            mutated = bytearray(data)
            mutated[at] ^= 0x10
            after = scan(bytes(mutated))
            hit = [each.page for each in found.records if each.offset <= at < each.offset + each.length]
            assert [each.page for each in after.records] == [each for each in pages if each not in hit]
            assert after.sealed == found.sealed
            assert len(after.bad) == 1
            assert (len(hit) == 1) == (at < page_bytes)

    def test_a_record_inside_a_damaged_body_does_not_rise_from_it(self):
        inner = encode_page(page(66))
        data = encode_page(page(1)) + encode_page(page(2, b"see: " + inner)) + encode_page(page(3))
        mutated = data.replace(b"see: ", b"sea: ")

        assert [each.page.asked for each in scan(mutated).records] == ["id-1", "id-3"]

    def test_bytes_cut_out_of_the_middle_cost_the_record_they_lay_in(self):
        data, _ = segment(4, sealed=False)
        second = scan(data).records[1]
        middle = second.offset + second.length // 2

        found = scan(data[:middle] + data[middle + 9 :])

        assert [each.page.asked for each in found.records] == ["id-0", "id-2", "id-3"]
        assert found.bad[0].offset == found.good_bytes == second.offset

    def test_a_page_after_the_seal_is_not_of_the_batch(self):
        data, pages = segment(2)

        found = scan(data + encode_page(page(9)))

        assert [each.page for each in found.records] == pages
        assert found.bad[0].reason == "a page after the seal"

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (raw(b"{}", lengths=(4_000_000_000, 4_000_000_000)), "its lengths are out of bounds"),
            (raw(b"{}", lengths=(2, 200_000_000)), "torn: the record ends past the file"),
            (raw(b"[1]"), "its header is of no kind we know"),
            (raw(b"{"), "its header is not JSON"),
            (raw(b"[" * 60_000), "its header is not JSON"),
            (raw(orjson.dumps({"kind": "page", "asked": 1})), "its header is of no kind we know"),
            (raw(encode_seal(Seal(1, "a", 1, {}, ""))[PRELUDE_BYTES:-2], b"[]"), "its header is of no kind we know"),
            (raw(encode_seal(Seal(1, "a", 1, {}, ""))[PRELUDE_BYTES:-2], b"\xff"), "its header is not JSON"),
            (MAGIC, "its lengths are damaged"),
            (b"\0" * 4096, "no record begins here"),
        ],
        ids=lambda value: value[:40] if isinstance(value, str) else "",
    )
    def test_what_is_no_record_is_told_why(self, data, reason):
        good = encode_page(page(5))

        found = scan(good + data + good)

        assert [each.offset for each in found.records] == [0, len(good) + len(data)]
        assert found.bad == [(len(good), len(data), reason)]


class TestHostileInput:
    def test_ten_thousand_mutations_raise_nothing_and_keep_every_whole_record(self):
        chance = random.Random(20_240_826)
        data, _ = segment(6)
        spans = [(each.offset, each.offset + each.length) for each in scan(data).records]
        started_s = time.process_time()

        for _ in range(10_000):
            mutated = mutate(chance, data)
            found = scan(mutated)
            assert isinstance(found, Scan)
            survivors = [mutated[each.offset : each.offset + each.length] for each in found.records]
            covered = sum(each.length for each in (*found.records, *found.bad))
            assert covered <= len(mutated)
            assert survivors == whole_records(data, spans, mutated)

        assert time.process_time() - started_s < 8

    def test_noise_full_of_magic_is_read_in_time_and_space_of_its_own_size(self):
        chance = random.Random(7)
        lie = raw(b"{}", lengths=(2, 1_000_000))
        noise = b"".join(lie if chance.random() < 0.5 else MAGIC for _ in range(100_000))
        tracemalloc.start()
        started_s = time.process_time()

        found = scan(noise)

        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert found.records == []
        assert found.good_bytes == 0
        assert sum(each.length for each in found.bad) == len(noise)
        assert peak_bytes < len(noise)
        assert time.process_time() - started_s < 5

    @calmly
    @given(st.binary(max_size=2_000))
    def test_any_bytes_are_accounted_for(self, data):
        found = scan(data)

        assert found.records == []
        assert sum(each.length for each in found.bad) == len(data)

    def test_found_records_are_plain_values(self):
        record = encode_page(page(1))

        assert isinstance(scan(record).records[0], Found)
        assert isinstance(scan(memoryview(record)).records[0].page.body, bytes)


def mutate(chance, data):
    """``data`` with one to four wounds that keep the seal's place: flips, cuts, noise, zeroes, magic, a torn tail."""
    mutated = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(mutated) + 1)
        length = chance.choice((1, 1, 2, 8, 50))
        match chance.randrange(6):
            case 0 if at < len(mutated):
                mutated[at] ^= 1 << chance.randrange(8)
            case 1:
                del mutated[at : at + length]
            case 2:
                mutated[at:at] = chance.randbytes(length)
            case 3:
                mutated[at : at + length] = bytes(len(mutated[at : at + length]))
            case 4:
                mutated[at:at] = MAGIC
            case _:
                if chance.random() < 0.3:
                    del mutated[at:]
    return bytes(mutated)
