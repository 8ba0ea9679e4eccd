"""The spool's record format, both ways, and the identity of a batch; pure.

A segment file is a run of page records, closed by one seal record written twice. Every record is::

    magic 8 | header length 4 | body length 4 | crc32 of header and body 4 | crc32 of these 20 bytes 4 | header | body

Integers are big-endian; the header is JSON. The magic holds 0xff and 0xfe, which no UTF-8 text contains, so that
nothing a player writes into a stash can look like the start of a record.
"""

import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple, TypeAlias
from zlib import crc32

import orjson

from ledgerd.errors import Refused

JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"

MAGIC = b"\xffLEDGR\xfe\x01"
HEADER_BYTES_MAX = 64 * 1024
BODY_BYTES_MAX = 256 * 1024 * 1024
FALSE_STARTS_MAX = 8
"""How many times the length of the data ``scan`` will checksum in vain before it gives the rest up."""

_LENGTHS = struct.Struct(">8sIII")
_CRC = struct.Struct(">I")
PRELUDE_BYTES = _LENGTHS.size + _CRC.size
_NEXT_MAGIC = re.compile(re.escape(MAGIC))


@dataclass(frozen=True, slots=True)
class Page:
    """One upstream answer as received, or one entry of a journal.

    ``asked`` is the cursor it answers and ``next`` the one it names; ``body`` is still in its content ``encoding``.
    ``kind`` is the caller's own word. ``jump`` says that this page was not meant to follow the one before it.
    """

    asked: str
    next: str
    retrieved_at_ms: int
    status: int
    encoding: str
    body: bytes
    kind: str = "page"
    jump: bool = False


@dataclass(frozen=True, slots=True)
class Seal:
    """The last record of a batch: what it holds and what its rows depend on besides the pages."""

    seq: int
    stream: str
    pages: int
    recipe: Mapping[str, JSON]
    content_sha256: str


@dataclass(frozen=True, slots=True)
class Found:
    """A whole page record; ``digest`` is the SHA-256 of its bytes, ``length`` from magic to end of body."""

    offset: int
    length: int
    digest: bytes
    page: Page


class Bad(NamedTuple):
    """Bytes that are no record, and the reason the first of them is not."""

    offset: int
    length: int
    reason: str


@dataclass(frozen=True, slots=True)
class Scan:
    """What lies in a segment: ``good_bytes`` counts whole records from the start up to the first bad byte."""

    records: list[Found]
    good_bytes: int
    bad: list[Bad]
    sealed: Seal | None


class Link(NamedTuple):
    """A page's place in its chain."""

    asked: str
    next: str
    jump: bool


class Break(NamedTuple):
    """Where the page after ``after_next`` is missing: the chain goes on at ``found_asked``."""

    after_next: str
    found_asked: str


def encode_page(page: Page) -> bytes:
    """``page`` as a record; Refused when its header, its body or its text cannot be one."""
    header = {
        "kind": "page",
        "asked": page.asked,
        "next": page.next,
        "at_ms": page.retrieved_at_ms,
        "status": page.status,
        "encoding": page.encoding,
        "label": page.kind,
        "jump": page.jump,
    }
    return _encode(header, page.body)


def page_bytes_most(page: Page) -> int:
    """An upper bound of the length of ``page``'s record, without building it."""
    text_bytes = 6 * (len(page.asked) + len(page.next) + len(page.encoding) + len(page.kind))  # \u00xx is the longest
    return PRELUDE_BYTES + 200 + text_bytes + len(page.body)


def encode_seal(seal: Seal) -> bytes:
    """``seal`` as a record; the recipe is its body, with sorted keys."""
    header = {
        "kind": "seal",
        "seq": seal.seq,
        "stream": seal.stream,
        "pages": seal.pages,
        "sha256": seal.content_sha256,
    }
    return _encode(header, encode_recipe(seal.recipe))


def encode_recipe(recipe: Mapping[str, JSON]) -> bytes:
    """``recipe`` as JSON with sorted keys: equal recipes give equal bytes. TypeError when it is not JSON."""
    return orjson.dumps(dict(recipe), option=orjson.OPT_SORT_KEYS)


def content_sha256(digests: Iterable[bytes]) -> str:
    """The content hash of a batch, hex, from the SHA-256 of each of its page records in order."""
    return sha256(b"".join(digests)).hexdigest()


def batch_id_of(stream: str, seq: int, content: str) -> str:
    """The name of a batch: its stream, its number in it, and the start of its content hash.

    >>> batch_id_of("exchange-pc", 7, "0123456789abcdef")
    'exchange-pc-0000000007-0123456789ab'
    """
    return f"{stream}-{seq:010d}-{content[:12]}"


def token_of(batch_id: str, recipe: Mapping[str, JSON]) -> str:
    """The deduplication token of a batch: its name and the start of its recipe's hash."""
    return f"{batch_id}-{sha256(encode_recipe(recipe)).hexdigest()[:12]}"


def chain_breaks(links: Iterable[Link | None]) -> list[Break]:
    """Every place where a page does not ask for what the page before it named; None stands for pages not looked at."""
    breaks = []
    last: Link | None = None
    for link in links:
        if last and link and not link.jump and link.asked != last.next:
            breaks.append(Break(last.next, link.asked))
        last = link
    return breaks


def scan(data: bytes | memoryview) -> Scan:
    """Every whole page of ``data``, its seal, and the bytes that are neither.

    Never raises and never holds more than ``data`` once over. Damage costs the records it touches: reading goes on at
    the next record whose checksum holds.
    """
    view = memoryview(data)
    records: list[Found] = []
    bad: list[Bad] = []
    sealed: Seal | None = None
    at, patience = 0, FALSE_STARTS_MAX * len(view)
    while at < len(view):
        item, length = _decode(view, at)
        if isinstance(item, Page) and sealed is not None:
            item = "a page after the seal"
        if isinstance(item, str):
            patience -= length
            end = _resume_at(view, at) if patience > 0 else len(view)
            _mark(bad, Bad(at, end - at, item))
            at = end
            continue
        if isinstance(item, Page):
            records.append(Found(at, length, sha256(view[at : at + length]).digest(), item))
        else:
            sealed = sealed or item
        at += length
    return Scan(records, bad[0].offset if bad else len(view), bad, sealed)


def _mark(bad: list[Bad], more: Bad) -> None:
    """Add ``more`` to ``bad``, as one span when it continues the last."""
    if bad and bad[-1].offset + bad[-1].length == more.offset:
        more = Bad(bad[-1].offset, bad[-1].length + more.length, bad.pop().reason)
    bad.append(more)


def _encode(header: Mapping[str, object], body: bytes) -> bytes:
    """One record of ``header`` and ``body``."""
    try:
        head = orjson.dumps(header)
    except TypeError as error:  # a lone surrogate or an integer past 64 bits
        raise Refused(f"A page cannot be kept: {error}.", "Look at it in: ledgerd status") from error
    if len(head) > HEADER_BYTES_MAX or len(body) > BODY_BYTES_MAX:
        raise Refused(
            f"A page cannot be kept: {len(head)} bytes of header (at most {HEADER_BYTES_MAX}) "
            f"and {len(body)} of body (at most {BODY_BYTES_MAX}).",
            "Look at its source in: ledgerd status",
        )
    lengths = _LENGTHS.pack(MAGIC, len(head), len(body), crc32(body, crc32(head)))
    return b"".join((lengths, _CRC.pack(crc32(lengths)), head, body))


def _claimed(view: memoryview, at: int) -> tuple[int, int, int] | str:
    """(header length, body length, crc) of the record at ``at``, or the reason its prelude is not one."""
    prelude = view[at : at + PRELUDE_BYTES]
    if len(prelude) < PRELUDE_BYTES:
        return "torn in its first bytes"
    magic, head_bytes, body_bytes, crc = _LENGTHS.unpack_from(prelude)
    if magic != MAGIC:
        return "no record begins here"
    if _CRC.unpack_from(prelude, _LENGTHS.size) != (crc32(prelude[: _LENGTHS.size]),):
        return "its lengths are damaged"
    if head_bytes > HEADER_BYTES_MAX or body_bytes > BODY_BYTES_MAX:
        return "its lengths are out of bounds"
    return head_bytes, body_bytes, crc


def _decode(view: memoryview, at: int) -> tuple[Page | Seal | str, int]:
    """The record at ``at`` and its length, or the reason there is none and the bytes checksummed to find that out."""
    claimed = _claimed(view, at)
    if isinstance(claimed, str):
        return claimed, 0
    head_bytes, body_bytes, crc = claimed
    length = PRELUDE_BYTES + head_bytes + body_bytes
    if at + length > len(view):
        return "torn: the record ends past the file", 0
    payload = view[at + PRELUDE_BYTES : at + length]
    if crc32(payload) != crc:
        return "its checksum does not hold", length
    return _item(payload[:head_bytes], payload[head_bytes:]), length


def _resume_at(view: memoryview, at: int) -> int:
    """Where to look on after the bad record at ``at``: its own end if that can be trusted, else the next magic."""
    claimed = _claimed(view, at)
    if not isinstance(claimed, str):
        end = at + PRELUDE_BYTES + claimed[0] + claimed[1]
        if end == len(view) or view[end : end + len(MAGIC)] == MAGIC:
            return end
    found = _NEXT_MAGIC.search(view, at + 1)
    return found.start() if found else len(view)


def _item(head: memoryview, body: memoryview) -> Page | Seal | str:
    """What a checksummed header and body say, or the reason they say nothing we know."""
    try:
        header = orjson.loads(head)
        recipe = orjson.loads(body) if isinstance(header, dict) and header.get("kind") == "seal" else None
    except orjson.JSONDecodeError:
        return "its header is not JSON"
    match header:
        case {
            "kind": "page",
            "asked": str(asked),
            "next": str(following),
            "at_ms": int(at_ms),
            "status": int(status),
            "encoding": str(encoding),
            "label": str(kind),
            "jump": bool(jump),
        }:
            return Page(asked, following, at_ms, status, encoding, bytes(body), kind, jump)
        case {"kind": "seal", "seq": int(seq), "stream": str(stream), "pages": int(pages), "sha256": str(content)}:
            if isinstance(recipe, dict):
                return Seal(seq, stream, pages, recipe, content)
    return "its header is of no kind we know"
