"""The log as people, the journal and machines see it."""

import asyncio
import io
import logging
import os
import re
import subprocess
import sys
import textwrap
import threading
import time
import warnings

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgerd import logs
from ledgerd.events import BatchCommitted, Noted, ServiceCrashed, emit


@pytest.fixture
def stream():
    stream = io.StringIO()
    yield stream
    logs.close()


def written(stream):
    assert logs.flush()
    return stream.getvalue().splitlines()


def failure(error):
    """What `exc_info` holds when ``error`` is raised."""
    with pytest.raises(type(error)) as raised:
        raise error
    return raised.value.__class__, raised.value, raised.value.__traceback__


def record(message="fine", level=logging.INFO, name="ledgerd", **extra):
    made = logging.LogRecord(name, level, "", 0, message, None, None)
    made.__dict__.update(extra)
    return made


class Terminal(io.StringIO):
    def isatty(self):
        return True


class TestText:
    def test_a_line_has_time_level_and_message(self, stream):
        logs.configure("info", "text", stream)
        emit(BatchCommitted("exchange-pc", batch_id="b", pages=8, rows=900, up_to="1760000400"))
        (line,) = written(stream)

        assert re.fullmatch(r"\d\d:\d\d:\d\d I exchange-pc: committed 8 pages, 900 rows, up to 1760000400", line)

    def test_the_time_is_utc(self):
        line = logs.TextFormatter().format(record(created=1_760_000_400.0))

        assert line.startswith("09:00:00 I ")

    @pytest.mark.parametrize(
        "hostile",
        [
            "\n12:00:00 E all is lost",
            "\r12:00:00 E forged",
            "\x1b[2J",
            "\x9b2J",
            "\u2028x",
            "\x85x",
            "\u202etxet",
            "\ud800",
        ],
    )
    def test_text_from_upstream_cannot_forge_a_line_or_drive_a_terminal(self, hostile):
        line = logs.TextFormatter().format(record(f"river-pc: {hostile}"))

        assert len(line.splitlines()) == 1
        assert line.isprintable()

    @given(st.text())
    def test_escaped_text_is_one_printable_line(self, text):
        line = logs.escaped(text)

        assert len(line.splitlines()) <= 1
        assert bool(line) == bool(text)
        assert line.encode().decode() == line

    def test_ordinary_text_of_any_language_is_left_alone(self):
        assert logs.escaped("Зеркало → 鏡 ‘ß’ 1 000") == "Зеркало → 鏡 ‘ß’ 1 000"

    def test_a_traceback_stands_behind_bars(self):
        info = failure(ValueError("x\n12:00:00 E forged"))
        first, *rest = logs.TextFormatter().format(record("failed", exc_info=info)).splitlines()

        assert first.endswith("failed")
        assert all(line.startswith("    | ") for line in rest)
        assert "    | 12:00:00 E forged" in rest

    def test_lines_of_other_libraries_are_named(self, stream):
        logs.configure("info", "text", stream)
        logging.getLogger("aiohttp.server").warning("odd")
        (line,) = written(stream)

        assert line.endswith(" W aiohttp.server: odd")

    def test_there_is_colour_on_a_terminal_and_nowhere_else(self, monkeypatch, stream):
        monkeypatch.delenv("NO_COLOR", raising=False)
        terminal = Terminal()
        for target in (terminal, stream):
            logs.configure("info", "auto", target)
            emit(Noted("x", note="odd"))
        logs.close()

        assert ("\x1b[33mW\x1b[0m" in terminal.getvalue(), "\x1b" in stream.getvalue()) == (True, False)

    def test_no_color_is_respected(self, monkeypatch):
        monkeypatch.setenv("NO_COLOR", "1")
        terminal = Terminal()
        logs.configure("info", "auto", terminal)
        emit(Noted("x", note="odd"))
        logs.close()

        assert "\x1b" not in terminal.getvalue()


class TestJournal:
    @pytest.mark.parametrize(("level", "prefix"), [(10, "<7>"), (20, "<6>"), (30, "<4>"), (40, "<3>"), (50, "<2>")])
    def test_each_level_has_its_priority(self, level, prefix):
        line = logs.TextFormatter(has_priority=True).format(record(level=level))

        assert line.startswith(prefix)

    def test_the_stream_systemd_named_is_the_journal_and_no_other(self, tmp_path):
        with (tmp_path / "a").open("w") as named, (tmp_path / "b").open("w") as other:
            status = os.fstat(named.fileno())
            env = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
            found = [logs.is_journal(named, env), logs.is_journal(other, env), logs.is_journal(io.StringIO(), env)]

        assert found == [True, False, False]

    def test_auto_writes_priorities_to_the_journal_on_every_line(self, tmp_path, monkeypatch):
        with (tmp_path / "journal").open("w") as journal:
            status = os.fstat(journal.fileno())
            monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
            logs.configure("info", "auto", journal)
            logging.getLogger("ledgerd").error("failed", exc_info=failure(KeyError("x")))
            logs.close()

        assert {line[:3] for line in (tmp_path / "journal").read_text().splitlines()} == {"<3>"}


class TestJson:
    def test_a_line_holds_the_event_with_its_fields(self, stream):
        logs.configure("info", "json", stream)
        emit(BatchCommitted("exchange-pc", batch_id="b7", pages=8, rows=900, up_to="x"))
        line = orjson.loads(written(stream)[0])

        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("ts"))
        assert line == {
            "level": "info",
            "event": "BatchCommitted",
            "subject": "exchange-pc",
            "message": "exchange-pc: committed 8 pages, 900 rows, up to x",
            "fields": {"batch_id": "b7", "pages": 8, "rows": 900, "up_to": "x"},
        }

    def test_a_line_of_another_library_names_it_and_keeps_its_trace(self):
        info = failure(ValueError("odd"))
        line = orjson.loads(logs.JsonFormatter().format(record("failed", name="asyncio", exc_info=info)))

        assert (line["logger"], line["event"], line["trace"].splitlines()[-1]) == ("asyncio", "", "ValueError: odd")

    @pytest.mark.parametrize("value", ["\ud800", 2**70, float("nan"), {1: 2}, b"\xff", object, "a\nb\u2028\x9b"])
    def test_any_value_makes_one_readable_line(self, value):
        line = logs.JsonFormatter().format(record("odd", event="Noted", fields={"subject": "x", "value": value}))

        assert len(line.splitlines()) == 1
        assert orjson.loads(line)["fields"].keys() == {"value"}

    def test_hostile_text_comes_back_as_it_was(self):
        hostile = "a\nb\u2028c\x9bd\x7f\u202e"
        line = logs.JsonFormatter().format(record(hostile))

        assert (orjson.loads(line)["message"], line.isprintable()) == (hostile, True)


class TestConfigure:
    def test_level_and_format_change_live(self, stream):
        logs.configure("warning", "text", stream)
        logging.getLogger("ledgerd").info("unseen")
        logs.configure("debug", "json", stream)
        logging.getLogger("ledgerd").debug("seen")
        (line,) = written(stream)

        assert orjson.loads(line)["message"] == "seen"

    def test_other_libraries_speak_from_warning_on_even_at_debug(self, stream):
        logs.configure("debug", "text", stream)
        logging.getLogger("aiohttp.access").info("GET /")

        assert written(stream) == []

    @pytest.mark.parametrize(("level", "fmt"), [("loud", "text"), ("info", "xml")])
    def test_an_unknown_level_or_format_changes_nothing(self, stream, level, fmt):
        logs.configure("info", "text", stream)
        with pytest.raises(ValueError, match=r"LOUD|xml"):
            logs.configure(level, fmt, stream)
        logging.getLogger("ledgerd").info("still here")

        assert written(stream)[0].endswith("I still here")

    def test_warnings_are_log_lines(self, stream):
        logs.configure("info", "text", stream)
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            logging.captureWarnings(capture=False)
            logging.captureWarnings(capture=True)
            warnings.warn("old\nkey", UserWarning, stacklevel=1)
        logging.captureWarnings(capture=False)
        (line,) = written(stream)

        assert "W py.warnings: " in line
        assert "UserWarning: old\\nkey" in line

    def test_closing_twice_is_no_error_and_leaves_no_handler(self, stream):
        before = list(logging.getLogger().handlers)
        logs.configure("info", "text", stream)
        logs.close()
        logs.close()

        assert logging.getLogger().handlers == before

    def test_the_service_crash_of_a_hostile_page_is_one_line(self, stream):
        logs.configure("info", "text", stream)
        emit(ServiceCrashed("river-pc", error="ValueError: \n12:00:00 I all is well {x}", wait_s=1))

        assert len(written(stream)) == 1


FULL_PIPE = """
    import asyncio, logging, sys, time
    from ledgerd import logs

    async def main():
        logs.configure("info", "text")
        worst_s = 0.0
        for n in range(12_000):
            began_s = time.monotonic()
            logging.getLogger("ledgerd").info("line %d %s", n, "x" * 100)
            worst_s = max(worst_s, time.monotonic() - began_s)
            if n % 100 == 0:
                await asyncio.sleep(0)
        print(worst_s, flush=True)

    asyncio.run(main())
"""


def test_a_full_pipe_holds_up_neither_the_loop_nor_the_exit():
    command = [sys.executable, "-c", textwrap.dedent(FULL_PIPE)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as daemon:
        worst_s = float(daemon.stdout.readline())
        began_s = time.monotonic()
        code = daemon.wait(timeout=30)
        took_s = time.monotonic() - began_s

    assert (code, worst_s < 5, took_s < 15) == (0, True, True), "nobody reads: what waits for the pipe waits for ever"


class Gate(io.StringIO):
    """A stream that takes nothing until it is opened."""

    def __init__(self):
        super().__init__()
        self.is_open = threading.Event()

    def write(self, text):
        self.is_open.wait(30)
        return super().write(text)


def test_lines_that_found_no_room_are_counted_aloud(monkeypatch):
    monkeypatch.setattr(logs, "LINES_MAX", 10)
    gate = Gate()
    logs.configure("info", "text", gate)
    for n in range(100):
        logging.getLogger("ledgerd").info("line %d", n)
    gate.is_open.set()
    assert logs.flush()
    logging.getLogger("ledgerd").info("room again")
    logs.close()
    lines = gate.getvalue().splitlines()
    kept = [line for line in lines if " I line " in line]
    dropped = [int(line.split()[2]) for line in lines if line.endswith(" log lines dropped")]

    assert (len(kept) + sum(dropped), lines[-1][9:]) == (100, "I room again")
    assert sum(dropped) >= 80


def test_every_line_is_written_before_a_plain_exit():
    script = """
        import logging
        from ledgerd import logs
        logs.configure("info", "text")
        for n in range(5000):
            logging.getLogger("ledgerd").info("line %d", n)
    """
    ran = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True)

    assert len(ran.stderr.splitlines()) == 5000


def test_a_reader_that_goes_away_does_not_disturb_the_daemon(stream):
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as broken:
        os.close(reader)
        logs.configure("info", "text", broken)
        logging.getLogger("ledgerd").info("to nobody")

        assert logs.flush()
        logs.close()


def test_lines_from_threads_arrive_whole(stream):
    logs.configure("info", "text", stream)

    async def shout():
        await asyncio.gather(*(asyncio.to_thread(logging.getLogger("ledgerd").info, "y" * 500) for _ in range(200)))

    asyncio.run(shout())

    assert {len(line) for line in written(stream)} == {len("00:00:00 I ") + 500}
