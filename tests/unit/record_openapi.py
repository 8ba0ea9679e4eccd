"""The frozen shape of /v1; `PYTHONPATH=. python tests/unit/record_openapi.py` records what has been added to it.

What breaks those who use it is refused, with what it is; `--break` records it all the same.
"""

import sys
from pathlib import Path

import orjson

from ledgerd.web.app import ENDPOINTS
from ledgerd.web.openapi import document
from tests.unit.api_changes import Changes, compare, shape

FILE = Path(__file__).with_name("v1.openapi.json")
COMMAND = "PYTHONPATH=. python tests/unit/record_openapi.py"
RULE = "Under /v1 fields, parameters and values are only added: docs/decisions/0014-api-v1.md."


def now():
    return shape(document(ENDPOINTS, "0"))


def recorded():
    return orjson.loads(FILE.read_bytes())


def told(changes: Changes) -> str:
    parts = [(RULE, changes.broke, "This breaks clients:"), (f"Record it: {COMMAND}", changes.added, "This is new:")]
    return "\n".join("\n  ".join([title, *found]) + f"\n{hint}" for hint, found, title in parts if found)


def record(may_break: bool) -> str:
    """Write the file; why not, if that is refused."""
    changes = compare(recorded(), now()) if FILE.exists() else Changes([], [])
    if changes.broke and not may_break:
        return told(changes)
    FILE.write_bytes(orjson.dumps(now(), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE))
    return ""


if __name__ == "__main__":
    sys.exit(record("--break" in sys.argv) or None)
