"""Where log lines go and what they look like: for people, for the journal, or one JSON object a line."""

import atexit
import copy
import logging
import os
import queue
import re
import select
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from logging.handlers import QueueHandler, QueueListener
from typing import Any, Literal, TextIO

import orjson

Format = Literal["auto", "text", "json"]

LINES_MAX = 10_000
"""Lines that may wait while nobody reads the log; those after are dropped, and how many is said as soon as one fits."""
FLUSH_S = 1.0
COLOURS = {"W": "\x1b[33m", "E": "\x1b[31m", "C": "\x1b[1;31m"}
SYSLOG_PRIORITIES = {"D": 7, "I": 6, "W": 4, "E": 3, "C": 2}

_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What can end a line, drive a terminal, turn text around, or not be written as UTF-8."""


def escaped(text: str) -> str:
    r"""``text`` on one line, harmless: control and direction characters become ``\n``, ``\x1b``, ``\u202e``.

    >>> print(escaped("a\n12:00:00 I forged"))
    a\n12:00:00 I forged
    """
    return _UNSAFE.sub(lambda unsafe: ascii(unsafe[0])[1:-1], text)


class TextFormatter(logging.Formatter):
    """``12:03:04 I message``, time in UTC, level D I W E or C; loggers other than our own are named.

    A traceback follows on lines of its own, each behind a bar, so that no text from outside can look like a log line.
    """

    def __init__(self, *, has_colour: bool = False, has_priority: bool = False) -> None:
        """``has_priority``: each line starts with ``<N>``, which the journal takes as its level (sd-daemon(3))."""
        super().__init__()
        self._has_colour = has_colour
        self._has_priority = has_priority

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line, or more if it carries a traceback."""
        letter = record.levelname[:1] if record.levelname in logging.getLevelNamesMapping() else "I"
        moment = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        source = "" if _is_ours(record) else f"{record.name}: "
        lines = [f"{moment} {self._coloured(letter)} {source}{escaped(record.getMessage())}"]
        lines += [f"    | {escaped(line)}" for line in _trace(record).split("\n") if line]
        prefix = f"<{SYSLOG_PRIORITIES.get(letter, 6)}>" if self._has_priority else ""
        return "\n".join(prefix + line for line in lines)

    def _coloured(self, letter: str) -> str:
        colour = COLOURS.get(letter) if self._has_colour else None
        return f"{colour}{letter}\x1b[0m" if colour else letter


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``ts`` (RFC 3339, UTC, ms), ``level``, ``event``, ``subject``, ``message``, ``fields``.

    ``event`` and ``subject`` are empty and ``logger`` names the source where the line is not one of our events;
    ``trace`` is there if there is one.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        fields: Mapping[str, Any] = getattr(record, "fields", {})
        line: dict[str, Any] = {
            "ts": _rfc3339_ms(record.created),
            "level": record.levelname.lower(),
            "event": getattr(record, "event", ""),
            "subject": fields.get("subject", ""),
            "message": record.getMessage(),
            "fields": {name: value for name, value in fields.items() if name != "subject"},
        }
        if not _is_ours(record):
            line["logger"] = record.name
        if trace := _trace(record):
            line["trace"] = trace
        return _UNSAFE.sub(lambda unsafe: f"\\u{ord(unsafe[0]):04x}", _json(line))


def _json(line: dict[str, Any]) -> str:
    """``line`` as JSON; a value JSON or UTF-8 cannot hold is written as the text Python has for it."""
    try:
        return orjson.dumps(line, default=str).decode()
    except TypeError:  # an integer beyond 64 bits, a key that is no string, a lone surrogate
        return orjson.dumps({name: _plain(value) for name, value in line.items()}).decode()


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {str(_plain(str(name))): _plain(inner) for name, inner in value.items()}
    return str(value).encode("utf-8", "backslashreplace").decode()


def _rfc3339_ms(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _is_ours(record: logging.LogRecord) -> bool:
    return record.name == "ledgerd"


def _trace(record: logging.LogRecord) -> str:
    if not record.exc_info or record.exc_info[1] is None:
        return ""
    return "".join(traceback.format_exception(record.exc_info[1]))


class _Queue(QueueHandler):
    """Formats in the caller's thread and queues the finished line; never waits."""

    queue: "queue.Queue[logging.LogRecord]"

    def __init__(self) -> None:
        super().__init__(queue.Queue(LINES_MAX))
        self._dropped = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """A record whose message is the finished line."""
        line = copy.copy(record)
        line.msg, line.args, line.exc_info, line.exc_text = self.format(record), None, None, None
        return line

    def enqueue(self, record: logging.LogRecord) -> None:
        """Queue ``record``; full: drop it and say later how many went the same way."""
        try:
            if self._dropped:
                note = logging.LogRecord(
                    "ledgerd", logging.WARNING, "", 0, f"{self._dropped} log lines dropped", None, None
                )
                self.queue.put_nowait(self.prepare(note))
                self._dropped = 0
            self.queue.put_nowait(record)
        except queue.Full:
            self._dropped += 1

    def flush_within(self, wait_s: float) -> bool:
        """Wait until every queued line is written; False if ``wait_s`` seconds were not enough."""
        with self.queue.all_tasks_done:
            return self.queue.all_tasks_done.wait_for(lambda: self.queue.unfinished_tasks == 0, wait_s)


class _Writer(logging.Handler):
    """Writes finished lines, past Python's buffers: a full pipe must not hold a lock that exit needs."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self.stream = stream
        try:
            self._fd: int | None = stream.fileno()
        except (OSError, ValueError):  # a StringIO, or a stream already closed
            self._fd = None

    def createLock(self) -> None:  # noqa: N802  the name is logging's
        """Have none: one thread writes, and `logging.shutdown` would wait for a lock held in a full pipe."""
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; where nobody listens any more, there is nobody to tell."""
        line = f"{record.msg}\n"
        try:
            if self._fd is None:
                self.stream.write(line)
            else:
                _write_all(self._fd, line.encode("utf-8", "backslashreplace"))
        except (OSError, ValueError):
            return


def _write_all(fd: int, body: bytes) -> None:
    while body:
        try:
            body = body[os.write(fd, body) :]
        except BlockingIOError:  # another program made the shared terminal non-blocking
            select.select([], [fd], [], 1)


class _Pipeline:
    """The queue, the thread that empties it, and what was set up around them."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.entry = _Queue()
        self._listener = QueueListener(self.entry.queue, _Writer(stream))
        self._listener.start()
        logging.getLogger().addHandler(self.entry)
        logging.captureWarnings(capture=True)
        atexit.register(self.close)

    def close(self) -> None:
        """Write what waits, for at most a second, and let go of the root logger."""
        atexit.unregister(self.close)
        logging.captureWarnings(capture=False)
        logging.getLogger().removeHandler(self.entry)
        if self.entry.flush_within(FLUSH_S):
            self._listener.stop()


_active: list[_Pipeline] = []


def configure(level: str, fmt: Format, stream: TextIO | None = None) -> None:
    """Send the log to ``stream`` (default: stderr); call again at any time to change any of the three.

    ``level``: debug, info, warning or error, for our own lines; other libraries' lines count from warning on. ``fmt``:
    ``text`` plain lines, ``json`` one object a line, ``auto`` text with colour on a terminal and with priorities when
    ``stream`` is the journal. Raises ValueError for an unknown level or format.
    """
    stream = stream if stream is not None else sys.stderr
    formatter = _formatter(fmt, stream)
    logging.getLogger("ledgerd").setLevel(level.upper())
    logging.getLogger().setLevel(max(logging.WARNING, logging.getLogger("ledgerd").level))
    if _active and _active[0].stream is not stream:
        close()
    if not _active:
        _active.append(_Pipeline(stream))
    _active[0].entry.setFormatter(formatter)


def flush(wait_s: float = FLUSH_S) -> bool:
    """Wait until every line so far is written; False if ``wait_s`` seconds were not enough."""
    return all(pipeline.entry.flush_within(wait_s) for pipeline in _active)


def close() -> None:
    """Undo `configure`: write what waits and let go of the loggers."""
    while _active:
        _active.pop().close()


def _formatter(fmt: Format, stream: TextIO) -> logging.Formatter:
    match fmt:
        case "json":
            return JsonFormatter()
        case "text":
            return TextFormatter()
        case "auto":
            has_colour = stream.isatty() and not os.environ.get("NO_COLOR")
            return TextFormatter(has_colour=has_colour, has_priority=is_journal(stream))
    raise ValueError(f"unknown log format {fmt!r}: auto, text or json")


def is_journal(stream: TextIO, env: Mapping[str, str] = os.environ) -> bool:
    """True if ``stream`` is the very socket systemd named in ``$JOURNAL_STREAM``, device:inode (systemd.exec(5))."""
    named = env.get("JOURNAL_STREAM", "")
    if not named:
        return False
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return named == f"{status.st_dev}:{status.st_ino}"
