"""The house rules of the code base, held by a test: who imports whom, how long things are, what is documented."""

import ast
import re
import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest

from ledgerd import errors, events
from ledgerd.errors import LedgerdError
from ledgerd.events import Event
from ledgerd.failpoint import POINTS

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "ledgerd"
LAYERS = (
    {"__main__"},
    {"cli"},
    {"ask", "demo", "move", "offline", "one_page", "options", "refine"},
    {"reach", "terminal"},
    {"unattended"},
    {"app"},
    {"doors", "report", "sim"},
    {"web"},
    {"ledger", "sql"},
    {"harvest", "etl"},
    {"spool", "chaos_scale"},
    {"store", "upstream"},
    {"supervise", "lifecycle"},
    {"config", "errors", "events", "clock", "failpoint", "outage", "spelling", "status", "logs", "__init__"},
)
"""Top to bottom; an import points downward, to another line. The last line's modules may know each other."""
LINES_MAX = 400
FUNCTION_LINES_MAX = 70
FUNCTION_LINES_MEDIAN = 10
MODULES = sorted(PACKAGE.rglob("*.py"))


def room(module):
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def depth(name):
    found = [n for n, layer in enumerate(LAYERS) if name in layer]
    assert found, f"{name} is in no layer of LAYERS; put it where it belongs"
    return found[0]


def imported_rooms(module):
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "ledgerd":
            parts = node.module.split(".")
            yield from [parts[1]] if parts[1:] else [alias.name for alias in node.names]


def functions(module):
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            is_doc = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
            doc_lines = first.end_lineno - first.lineno + 1 if is_doc else 0
            yield node.name, node.end_lineno - node.lineno + 1, doc_lines


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_downward(module):
    here = room(module)
    upward = {
        name
        for name in imported_rooms(module)
        if name not in {here, "__version__"} and depth(name) <= depth(here) and depth(here) != len(LAYERS) - 1
    }

    assert upward == set()


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_says_what_lives_in_it_and_stays_short(module):
    text = module.read_text()

    assert ast.get_docstring(ast.parse(text)), "no sentence at its top"
    assert len(text.splitlines()) <= LINES_MAX


def test_no_function_is_long_and_half_are_short():
    lengths = {f"{path.name}:{name}": lines for path in MODULES for name, lines, _ in functions(path)}

    assert [name for name, lines in lengths.items() if lines > FUNCTION_LINES_MAX] == []
    assert median(lengths.values()) <= FUNCTION_LINES_MEDIAN


def test_every_ignored_rule_has_its_reason():
    bare = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in MODULES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(r"# (noqa|type: ignore)(: ?[A-Z0-9, ]+|\[[a-z-]+\])?$", line.rstrip())
    ]

    assert bare == []


def test_any_exception_at_all_is_caught_in_one_place_only():
    places = [path.name for path in MODULES if re.search(r"except (Base)?Exception\b", path.read_text())]

    assert set(places) <= {"supervise.py", "edge.py", "embedded.py"}
    assert "supervise.py" in places


def test_pure_files_neither_wait_nor_log_nor_read_a_clock_nor_touch_a_disk():
    pure = ("spool/record.py", "etl/plan.py", "etl/standing.py", "ledger/freshness.py", "ledger/snapshot.py",
            "ledger/items.py", "ledger/search.py", "spelling.py", "sql/judge.py", "sql/tree.py",
            "web/params.py", "web/flat.py", "web/openapi.py", "web/samples.py",
            "upstream/body.py", "upstream/headers.py", "upstream/window.py", "upstream/budget.py",
            "harvest/river_page.py", "harvest/change_id.py", "harvest/tide.py", "store/cluster.py",
            "chaos_scale/normalise.py", "harvest/exchange_page.py", "store/rowbinary.py")  # fmt: skip
    for name in pure:
        text = (PACKAGE / name).read_text()
        nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import)]
        loaded = {alias.name for node in nodes for alias in node.names}
        assert "await " not in text, name
        assert not loaded & {"asyncio", "time", "logging", "os", "random"}, name
        assert "ledgerd.events" not in text, name


def test_every_event_and_every_error_is_documented():
    text = (ROOT / "docs" / "operating.md").read_text()
    kinds = [kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, Event)]
    missing = [kind.__name__ for kind in kinds if kind is not Event and f"`{kind.__name__}`" not in text]
    raised = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, LedgerdError)]
    codes = {kind.exit_code for kind in raised if hasattr(kind, "exit_code")} - {1}

    assert missing == []
    assert [code for code in sorted(codes) if f"| {code} |" not in text] == []


def test_every_error_stands_in_the_tree_of_its_module():
    tree = errors.__doc__
    raised = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, LedgerdError)]

    assert [kind.__name__ for kind in raised if kind.__name__ not in tree] == []


def test_every_failpoint_named_is_one_that_is_passed():
    text = "\n".join(path.read_text() for path in MODULES if path.name != "failpoint.py")

    assert [name for name in POINTS if f'("{name}")' not in text] == []


def test_every_command_is_in_the_readme():
    from ledgerd.cli import cli

    text = (ROOT / "README.md").read_text()

    assert [name for name in cli.commands if f"ledgerd {name}" not in text] == []


def test_nothing_shipped_names_an_index_or_a_path_of_a_machine():
    shipped = [path for pattern in ("*.md", "*.toml", "*.lock", "Makefile") for path in ROOT.glob(pattern)]
    shipped += [path for folder in ("docs", "ledgerd", "schema", "systemd") for path in (ROOT / folder).rglob("*.*")]
    host = "py" + "pi.org"
    found = [
        path.name
        for path in shipped
        if path.suffix != ".pyc" and re.search(rf"{host}|--(extra-)?index-url|/home/|/root/|/work/", path.read_text())
    ]

    assert found == []


def test_what_a_test_packs_is_the_same_whenever_it_is_packed():
    """gzip writes the time it packed at; in a parameter's id it makes two workers collect different tests."""
    packing = re.compile(r"gzip\.compress\([^\n]*")
    lines = [line for path in (ROOT / "tests").rglob("*.py") for line in packing.findall(path.read_text())]

    assert lines
    assert [line for line in lines if "mtime=0" not in line and "packing" not in line] == []


def test_the_package_imports_quickly():
    code = "import time; t = time.process_time(); import ledgerd.cli; print(time.process_time() - t)"
    took_s = min(
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(3)
    )

    assert took_s < 0.3 * 3, "import time; three times the target, for slow machines"
