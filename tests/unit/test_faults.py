"""What the engine says, as errors: transient or not, short, with the number kept."""

import re

import pytest

from ledgerd.cli import cli
from ledgerd.errors import QueryRefused, StoreUnavailable
from ledgerd.store.faults import HINTS, MESSAGE_CHARS_MAX, fault


@pytest.mark.parametrize("code", [159, 241, 243, 252, 394, 242, 999])
def test_what_passes_with_time_is_unavailable(code):
    error = fault(f"Code: {code}. DB::Exception: Something. (NAME)")

    assert isinstance(error, StoreUnavailable)
    assert error.code == code


@pytest.mark.parametrize("code", [47, 60, 62, 164, 395, 516])
def test_what_will_never_work_is_refused(code):
    error = fault(f"Code: {code}. DB::Exception: Something. (NAME)")

    assert isinstance(error, QueryRefused)
    assert error.code == code


def test_a_failure_without_a_number_may_pass():
    error = fault("connection reset")

    assert isinstance(error, StoreUnavailable)
    assert error.code == 0
    assert error.message == "connection reset"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Code: 164. DB::Exception: Code: 164. DB::Exception: Cannot modify 'a' in readonly mode. (READONLY) "
            "(version 26.9.2.1). (READONLY)",
            "Cannot modify 'a' in readonly mode. (code 164)",
        ),
        (
            "Code: 62. DB::Exception: Syntax error: failed at 7 (1): 1. Expected one of: token, OR. (SYNTAX_ERROR)",
            "Syntax error: failed at 7 (1): 1. (code 62)",
        ),
        (
            "Code: 1001. DB::Exception: std::exception, Stack trace (when copied):\n0. x",
            "std::exception (code 1001)",
        ),
        ("Code: 60. DB::Exception: Unknown table (A). (UNKNOWN_TABLE)", "Unknown table (A). (code 60)"),
    ],
)
def test_stacks_versions_and_parser_wishes_are_left_out(text, expected):
    assert fault(text).message == expected


def test_every_command_a_hint_names_exists():
    named = {command for hint in HINTS.values() for command in re.findall(r"`ledgerd ([a-z-]+)", hint)}

    assert named
    assert named <= set(cli.commands)


def test_a_long_message_is_cut():
    error = fault("Code: 60. DB::Exception: " + "x" * 5000)

    assert len(error.message) <= MESSAGE_CHARS_MAX + len(" (code 60)")


def test_a_number_that_came_apart_from_the_text_counts():
    assert fault("Something", code=241).code == 241
