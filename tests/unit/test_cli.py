"""The commands without a process: help that fits, errors that are one sentence and the exit code it belongs to."""

import io
import os
import re
import shlex
import socket
import sys
import tomllib
from dataclasses import fields
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ledgerd import cli, demo, offline, terminal
from ledgerd.config.load import load
from ledgerd.errors import CannotStart, NotKnown, SchemaNewer, SpoolUnreadable, StoreLocked, StoreUnavailable
from ledgerd.sim.server import SimOptions
from ledgerd.store.migration import split_statements
from tests.unit.config_files import write

ROOT = Path(__file__).resolve().parents[2]


def commands(group=cli.cli, path=()):
    yield path, group
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*path, name))


COMMANDS = dict(commands())


@pytest.fixture
def typed(monkeypatch, capsys):
    """Type a command; its exit code, and what it wrote to stdout and to stderr."""

    def type_(*words, entry=cli.main):
        monkeypatch.setattr(sys, "argv", ["ledgerd", *words])
        with pytest.raises(SystemExit) as end:
            entry()
        return end.value.code, *capsys.readouterr()

    for name in list(os.environ):
        if name.startswith(("POE_", "CH_")):
            monkeypatch.delenv(name)
    return type_


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_fits_a_hundred_columns_and_explains_every_option(path):
    answer = CliRunner().invoke(cli.cli, [*path, "--help"], terminal_width=100)

    assert answer.exit_code == 0
    assert max(map(len, answer.output.splitlines())) <= 100
    for option in COMMANDS[path].params:
        assert not isinstance(option, click.Option) or (option.opts[0] in answer.output and option.help), option.name


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["stauts"], "'status'"),
        (["run", "--confg", "x"], "--config"),
        (["price"], "NAME"),
        (["demo", "--port", "70000"], "0<=x<=65535"),
        (["demo", "--speed", "0"], "0<x"),
        (["sim", "--fault-rate", "3"], "expected 0 to 1. See: ledgerd sim --help"),
        (["sim", "--faults", "fire"], "unknown fault 'fire'"),
        (["sim", "--river-stashes", "5"], "river_stashes = 5: expected 100 to 10000000. See: ledgerd sim --help"),
        (["convert"], "AMOUNT FROM"),
        (["top", "--movers", "--by", "price"], "Try: ledgerd top --movers"),
        (["top", "--by", "luck"], "turnover"),
        (["export", "items"], "--out"),
        (["export", "stashes", "--out", "x"], "'items'"),
        (["harvest", "--source", "lake"], "exchange"),
        (["harvest", "--realm", "pc"], "add --once. To follow the source: ledgerd run"),
        (["harvest", "--realm", "pc", "--once", "--cursor", "5"], "--dry-run --cursor 5"),
        (["harvest", "--realm", "pc", "--once", "--league", "Hardcore Mirage"], "--dry-run --league 'Hardcore Mirage'"),
        (["migrate", "--apply", "--dry-run"], "Try: ledgerd migrate --apply"),
        (["etl", "run", "--step", "a", "--lane", "b"], "Give one: ledgerd etl run --help"),
        (["etl", "rebuild"], "--from"),
        (["etl", "rebuild", "--from", "gold"], "silver"),
        (["etl", "rebuild", "--from", "bronze", "--since", "yesterday"], "'yesterday' is no time. Give a time"),
        (["etl", "rebuild", "--from", "bronze", "--since", "oldest"], "'oldest' is no time. Give a time"),
    ],
)
def test_what_is_typed_wrong_is_64_and_says_what_is_right(typed, words, said):
    code, out, err = typed(*words)

    assert (code, out) == (64, "")
    assert said in err


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (["status"], 1, "Start it with: ledgerd run"),
        (["price", "divine"], 64, "There is no data in"),
        (["price", " "], 64, "Name something: ledgerd price divine"),
        (["convert", "3", "divine"], 64, "There is no data in"),
        (["convert", "some", "divine"], 64, "'some' is no amount. Write one up to"),
        (["top"], 64, "There is no data in"),
        (["export", "items", "--out", "-", "--format", "csv"], 64, "There is no data in"),
        (["sql", "SELECT 1"], 64, "Start with: ledgerd run"),
        (["sql", "SELECT 1", "--format", "CVS"], 64, "Did you mean CSV?"),
        (["sql", "SELECT 1;\nSELECT 2", "--format", "Parquet"], 64, "There are 2 statements, and Parquet holds"),
        (["etl", "status"], 64, "There is no data in"),
        (["etl", "run"], 64, "There is no data in"),
        (["etl", "rebuild", "--from", "silver"], 64, "There is no data in"),
        (["harvest", "--realm", "sony", "--once", "--dry-run"], 64, "there is pc, poe2. Add a [[realm]]"),
        (["harvest", "--realm", "pc", "--once", "--source", "river"], 64, "the exchange: ledgerd harvest --realm"),
        (["harvest", "--realm", "pc", "--once", "--dry-run", "--cursor", "now"], 64, "--cursor 1787119200"),
    ],
)  # fmt: skip
def test_without_a_daemon_and_without_data_a_sentence_ends_in_what_to_type(typed, tmp_path, command, code, said):
    answer = typed(*command, "--config", str(write(tmp_path)))

    assert answer[:2] == (code, "")
    assert answer[2].startswith("ledgerd: ")
    assert said in answer[2]
    assert not (tmp_path / "var").exists()


def test_before_there_is_data_migrations_are_listed_and_printed_all_the_same(typed, tmp_path):
    code, out, err = typed("migrate", "--status", "--dry-run", "--config", str(write(tmp_path)))

    assert code == 0
    assert ["0001", "bronze", "pending"] in [line.split() for line in out.splitlines()]
    assert "CREATE TABLE IF NOT EXISTS" in out
    assert "There is no data" in err


SERVER = '[clickhouse]\nengine = "server"\nurl = "clickhouse://127.0.0.1:1"\n'


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (["migrate", "--apply"], 75, "Start ClickHouse, or correct clickhouse.url; then: ledgerd check-config"),
        (["migrate", "--status"], 75, "Start ClickHouse, or correct clickhouse.url; then: ledgerd check-config"),
        (["etl", "status"], 75, "Start ClickHouse, or correct clickhouse.url; then: ledgerd check-config"),
        (["sql", "SELECT 1"], 64, "clickhouse-client --host 127.0.0.1 --database poe_trade --query 'SELECT 1'"),
        (["status"], 1, "Start it with: ledgerd run"),
    ],
)
def test_a_server_that_is_not_there_is_a_sentence_and_nothing_is_made(typed, tmp_path, command, code, said):
    answer = typed(*command, "--config", str(write(tmp_path, SERVER)))

    assert answer[:2] == (code, "")
    assert answer[2].strip().endswith(said)
    assert [path.name for path in tmp_path.iterdir()] == ["config.toml"]


def test_a_server_configuration_is_good_though_the_server_is_not_there(typed, tmp_path):
    assert typed("check-config", "--config", str(write(tmp_path, SERVER)))[0] == 0


def test_check_config_says_everything_that_is_wrong_at_once(typed, tmp_path):
    config = str(write(tmp_path, "[log]\nlevel = 7\n[throttle]\nrequest_per_s = 1\n"))
    code, _, err = typed("check-config", "--config", config)

    assert code == 78
    assert "log.level" in err
    assert "did you mean 'requests_per_s'" in err
    assert err.splitlines()[-1] == f"Correct it, then: ledgerd check-config --config {config}"


def test_check_config_says_what_is_good_and_what_is_worth_a_look(typed, tmp_path):
    config = write(tmp_path, "[throttle]\nrequests_per_s = 5.0\n")
    code, out, _ = typed("check-config", "--config", str(config))

    assert code == 0
    assert "note: throttle.requests_per_s" in out
    assert out.splitlines()[-1] == f"{config}: good"


def test_the_template_is_the_documented_default_and_good_once_it_has_a_contact(typed, tmp_path):
    code, out, _ = typed("check-config", "--template")
    config = tmp_path / "config.toml"
    config.write_text(out.replace('contact = ""', 'contact = "me@example.org"'))

    assert (code, out) == (0, (ROOT / "config.toml").read_text())
    assert typed("check-config", "--config", str(config))[0] == 0


def test_a_demo_keeps_out_of_a_folder_that_is_no_demos(typed, tmp_path):
    live = tmp_path / "live ledger"
    (live / "spool").mkdir(parents=True)
    code, out, err = typed("demo", "--port", "0", "--data-dir", str(live))

    assert (code, out) == (64, "")
    assert err.strip().endswith(f"ledgerd demo --data-dir '{live}-demo'")
    assert [path.name for path in live.rglob("*")] == ["spool"]


def test_a_demo_marks_a_new_or_empty_folder_and_knows_it_again(tmp_path):
    for folder in (tmp_path, tmp_path / "a" / "b"):
        demo._claim(folder)
        (folder / "spool").mkdir()
        demo._claim(folder)

        assert (folder / demo.MARKER).is_file()
        assert load(folder / demo.CONFIG, {}, harvesting=False).config.daemon.data_dir == folder


def test_the_sdist_holds_what_an_installation_by_the_book_reads():
    wanted = {"config.toml", "requirements.lock", "LICENSE", "README.md", "systemd", "schema"}
    with (ROOT / "pyproject.toml").open("rb") as file:
        build = tomllib.load(file)["tool"]["hatch"]["build"]["targets"]

    assert wanted <= set(build["sdist"]["include"])
    assert build["wheel"]["force-include"]["config.toml"] == "ledgerd/_schema/config.toml"


def test_each_of_several_statements_has_the_comment_right_above_it_and_no_other():
    text = "-- The file.\n\n-- One; good: 1.\nSELECT 1;\n-- SELECT 2\n-- Good: 2.\nSELECT 2;\n\nSELECT ';' -- three\n"
    headed = list(offline._headed(text, split_statements(text)))

    assert headed == [
        ("-- One; good: 1.", "SELECT 1"),
        ("-- SELECT 2\n-- Good: 2.", "SELECT 2"),
        ("", "SELECT ';' -- three"),
    ]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotKnown("There is no such thing", "ledgerd status"), 1),
        (StoreUnavailable("Gone", "ledgerd status"), 1),
        (SchemaNewer("Newer", "x"), 70),
        (StoreLocked("Locked", "x"), 73),
        (SpoolUnreadable("Torn", "x"), 74),
        (CannotStart("Taken", "x"), 75),
        (PermissionError(13, "Permission denied", "/data"), 1),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), 64),
        (KeyboardInterrupt(), 130),
    ],
)
def test_every_error_is_a_sentence_and_its_exit_code(typed, monkeypatch, error, code):
    def fail(*args, **options):
        raise error

    monkeypatch.setattr(cli.cli.commands["sim"], "callback", fail)
    answer, _, err = typed("sim")

    assert answer == code
    assert "Traceback" not in err
    assert code == 130 or err.startswith("ledgerd: ")


def test_a_reader_that_has_seen_enough_gets_no_complaint(typed, monkeypatch):
    def fail(*args, **options):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(cli.cli.commands["sim"], "callback", fail)

    assert typed("sim")[2] == ""


def test_the_names_of_older_deployments_are_the_same_commands(typed, tmp_path):
    config = str(write(tmp_path))

    assert "pending" in typed("--config", config, entry=cli.poe_migrate)[1]
    assert (
        "To follow the source: ledgerd run" in typed("--realm", "pc", "--config", config, entry=cli.market_harvester)[2]
    )


def test_a_taken_port_is_75_and_the_next_thing_to_type(typed):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, _, err = typed("sim", "--port", str(taken.getsockname()[1]))

    assert code == 75
    assert err.strip().endswith("ledgerd sim --port 0")


@pytest.mark.parametrize(
    ("words", "chosen"),
    [
        ([], {}),
        (
            ["--no-river", "--replay", ".", "--faults", "html, reset", "--mods-before", "5", "--limits", "bucketed"],
            {
                "river": False,
                "replay_dir": Path(),
                "faults": ("html", "reset"),
                "mods_before": 5,
                "limits": "bucketed",
            },
        ),
        (["--client-id", "me", "--client-secret", "s"], {"client_id": "me", "client_secret": "s"}),
    ],
)
def test_what_is_not_typed_of_a_stand_in_is_as_its_options_have_it(typed, monkeypatch, words, chosen):
    told = {}

    async def run_sim(**options):
        told.update(options)

    monkeypatch.setattr(demo, "run_sim", run_sim)

    assert typed("sim", *words)[0] == 0
    assert SimOptions(**told) == SimOptions(port=8011, **chosen)


def test_every_option_of_a_stand_in_can_be_typed():
    typeable = {option.name for option in cli.sim.params}
    tests_only = {"host", "slow_s", "ids_path", "codes_before"}

    assert {option.name for option in fields(SimOptions)} - typeable == tests_only


def test_what_a_stand_in_prints_for_its_river_is_configuration_a_daemon_takes(typed, tmp_path):
    options = SimOptions(client_id="me", client_secret="it's one")
    printed = demo._for_the_river("http://127.0.0.1:5", options)
    secret = re.search(r"export (.*), and in config.toml", printed)[1]
    name, _, value = shlex.split(secret)[0].partition("=")
    config = load(write(tmp_path, printed), {name: value}).config
    upstream = config.upstream

    assert (upstream.api_url, upstream.auth_url) == ("http://127.0.0.1:5", "http://127.0.0.1:5/oauth")
    assert upstream.exchange_url == "http://127.0.0.1:5/api/currency-exchange"
    assert (upstream.client_id, upstream.client_secret.reveal()) == ("me", "it's one")
    assert [(realm.name, realm.river) for realm in config.realms] == [("pc", True)]


class Screen(io.StringIO):
    def __init__(self, is_terminal):
        super().__init__()
        self.is_terminal = is_terminal

    def isatty(self):
        return self.is_terminal


@pytest.mark.parametrize("is_terminal", [True, False])
async def test_long_work_shows_on_a_terminal_that_it_goes_on_and_leaves_nothing_there(monkeypatch, is_terminal):
    import asyncio

    monkeypatch.setattr(terminal, "SILENT_S", 0.0)
    monkeypatch.setattr(terminal, "TICK_S", 0.0)
    screen = Screen(is_terminal)
    async with terminal.waiting(lambda: "7 tasks done", screen):
        for _ in range(5):
            await asyncio.sleep(0)
    shown = screen.getvalue()

    assert ("7 tasks done, 0 s" in shown) is is_terminal
    assert shown == "" or shown.endswith(terminal.WIPE)


async def test_short_work_shows_nothing_even_on_a_terminal():
    screen = Screen(is_terminal=True)
    async with terminal.waiting(lambda: "busy", screen):
        pass

    assert screen.getvalue() == ""
