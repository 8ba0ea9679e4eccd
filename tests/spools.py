"""Pages, starts and faults for tests of the spool."""

import errno
import os
from contextlib import contextmanager

from ledgerd.spool import segment
from ledgerd.spool.record import encode_page
from ledgerd.spool.spool import Page, Spool
from tests.clocks import ORIGIN_S

STREAM = "river-pc"
RECIPE = {"lanes": ["Mirage", "Standard"], "transform": "stash-3"}
RETAIN_S = 3600
NOW_MS = int(ORIGIN_S * 1000)


def page(number, body=b"z" * 100):
    return Page(f"id-{number}", f"id-{number + 1}", NOW_MS + number, 200, "gzip", body)


PAGE_BYTES = len(encode_page(page(1)))


async def filled(spool, first, last, name=STREAM):
    """``name`` with pages first..last frozen in it."""
    stream = spool.stream(name)
    for number in range(first, last + 1):
        assert await stream.freeze(page(number))
    return stream


async def filled_on(stream, first, last):
    for number in range(first, last + 1):
        assert await stream.freeze(page(number))


def files(root):
    """Segment files below ``root``, by path."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("0*.*") if path.parent.name != "bad")


def numbers(pages):
    return [int(each.asked.removeprefix("id-")) for each in pages]


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 0x40
    path.write_bytes(data)


def failing(monkeypatch, name, number, times=1_000):
    """Make ``os.<name>`` fail with errno ``number``, ``times`` times."""
    real, left = getattr(os, name), [times]

    def call(*args, **kwargs):
        if left[0] > 0:
            left[0] -= 1
            raise OSError(number, os.strerror(number))
        return real(*args, **kwargs)

    monkeypatch.setattr(segment.os, name, call)


def refuse(*_, **__):
    raise PermissionError(errno.EACCES, "Permission denied")


def state(stream):
    """All a stream shows."""
    return (
        stream.cursor,
        stream.sealed(),
        stream.open_pages,
        stream.open_bytes,
        stream.open_since_ms,
        stream.waiting_bytes,
        stream.oldest_at_ms,
        stream._last_seq,
    )


@contextmanager
def starts(root, clock):
    """A function that opens the spool as a start of the daemon does; each start, and the end, closes the one before."""
    started = []

    def start(bytes_max=1 << 20):
        if started:
            started[-1].close()
        started.append(Spool(root, bytes_max=bytes_max, retain_s=RETAIN_S, clock=clock))
        started[-1].open()
        return started[-1]

    yield start
    for spool in started:
        spool.close()


def repairs(caplog):
    """The fields of each SpoolRepaired so far."""
    return [each.fields for each in caplog.records if getattr(each, "event", "") == "SpoolRepaired"]
