"""Content decoding: bounded, and every failure has a reason."""

import gzip
import random
import tracemalloc
import zlib

import pytest

from ledgerd.upstream.body import AT_ONCE_BYTES, UnreadableBody, decode

PLAIN = b'{"markets": []}'


@pytest.mark.parametrize("encoding", ["", "identity", "Identity "])
def test_a_plain_body_is_itself(encoding):
    assert decode(PLAIN, encoding, 100) == PLAIN


def test_gzip_of_several_members_is_one_body():
    expected = PLAIN + PLAIN

    assert decode(gzip.compress(PLAIN, mtime=0) + gzip.compress(PLAIN, mtime=0), "gzip", 100) == expected


@pytest.mark.parametrize("size", [0, 1, AT_ONCE_BYTES - 1, AT_ONCE_BYTES, AT_ONCE_BYTES + 1, 2 * AT_ONCE_BYTES])
def test_a_body_of_just_the_limit_is_decoded_and_one_byte_less_of_a_limit_refuses_it(size):
    plain = bytes(size)
    body = gzip.compress(plain, 1, mtime=0)

    assert decode(body, "gzip", size) == plain
    if size:
        with pytest.raises(UnreadableBody, match="larger"):
            decode(body, "gzip", size - 1)


@pytest.mark.parametrize(
    ("body", "encoding", "reason"),
    [
        (PLAIN, "br", "not one we asked for"),
        (PLAIN, "gzip", "damaged"),
        (gzip.compress(PLAIN, mtime=0)[:-6], "gzip", "in the middle"),
        (gzip.compress(PLAIN, mtime=0)[:-1] + b"x", "gzip", "damaged"),
        (gzip.compress(b"x" * 101, mtime=0), "gzip", "larger than 100"),
        (b"x" * 101, "", "larger than 100"),
    ],
)
def test_what_cannot_be_decoded_says_why(body, encoding, reason):
    with pytest.raises(UnreadableBody, match=reason):
        decode(body, encoding, 100)


def test_a_bomb_costs_no_more_memory_than_the_limit():
    limit_bytes = 4 << 20
    bomb = zlib.compress(bytes(64 << 20), 9, wbits=31)
    tracemalloc.start()
    with pytest.raises(UnreadableBody, match="larger"):
        decode(bomb, "gzip", limit_bytes)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak_bytes < 3 * limit_bytes


def test_five_hundred_damaged_bodies_are_decoded_or_refused_and_nothing_else():
    rng = random.Random(7)
    whole = gzip.compress(PLAIN * 50, mtime=0)
    for _ in range(500):
        hostile = bytearray(whole[: rng.randrange(len(whole) + 1)])
        for _ in range(rng.randrange(4)):
            if hostile:
                hostile[rng.randrange(len(hostile))] = rng.randrange(256)
        try:
            decode(bytes(hostile), "gzip", 10_000)
        except UnreadableBody as error:
            assert str(error)  # noqa: PT017  either way is fine; a refusal has a reason
