import tomllib
from functools import partial
from pathlib import Path

import config_files
import config_table
import pytest
from config_files import CONTACT, problems
from hypothesis import given
from hypothesis import strategies as st

import ledgerd.config.load as config_load
from ledgerd import __version__
from ledgerd.config import (
    Config,
    Daemon,
    Upstream,
    is_loopback,
    user_agent,
)
from ledgerd.config.draft import TABLES, keys_of, rule_of
from ledgerd.config.env import VARIABLES
from ledgerd.config.load import load
from ledgerd.errors import ConfigError

ROOT = Path(__file__).parents[2]
BAD = sorted((Path(__file__).parent / "bad_config").glob("*.toml"))


@pytest.fixture
def write(tmp_path):
    return partial(config_files.write, tmp_path)


def expected(path):
    return [line.removeprefix("# expect: ") for line in path.read_text().splitlines() if line.startswith("# expect: ")]


# Every rule and its message


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_bad_file_gets_its_message(path):
    lines = [f"{path}: {line}" for line in expected(path)]

    assert problems(path) == lines


def test_every_rule_has_a_bad_file():
    rules = {rule_of(info) for table in TABLES for info in keys_of(table).values()}

    shown = "\n".join(line for path in BAD for line in expected(path))
    assert [rule for rule in rules if f"must be {rule}" not in shown] == []


def test_error_ends_in_a_command_on_a_line_of_its_own(write):
    path = write("log.level = 1\n")

    with pytest.raises(ConfigError) as error:
        load(path, {})
    assert str(error.value).splitlines()[-1] == f"Correct it, then: ledgerd check-config --config {path}"
    assert error.value.exit_code == 78


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        (b"\xff\xfe", "line 1: is not UTF-8"),
        (b"a = 1\n# \xe9\n", "line 2: is not UTF-8"),
        (b"a = " + b"[" * 5000, "is nested too deep"),
        (b"#" * ((1 << 20) + 1), "is larger than 1048576 bytes"),
    ],
)
def test_unreadable_bytes_are_one_problem(tmp_path, raw, line):
    path = tmp_path / "config.toml"
    path.write_bytes(raw)

    assert problems(path) == [f"{path}: {line}"]


def test_byte_order_mark_is_no_problem(tmp_path):
    path = tmp_path / "config.toml"
    path.write_bytes(b"\xef\xbb\xbf" + CONTACT.encode())

    assert load(path, {}).config.daemon.contact == "me@example.org"


@given(
    st.dictionaries(
        st.sampled_from([*TABLES, "realms", "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from(["name", "url", "leagues", "listen", "dir", "x"]), inner, max_size=3)
            ),
            max_leaves=6,
        ),
        max_size=4,
    )
)
def test_any_shape_of_file_is_accepted_or_explained(tables):
    draft = config_load.Draft(Path("config.toml"), tables)
    config_load.apply_environment(draft, {"POE_LEAGUES": "Standard", "CH_HOST": "db"})
    config_load._place(draft, {})
    config_load._take_secrets(draft, {})

    config = draft.config()
    config_load._contradict(draft, config, harvesting=True)
    assert isinstance(config, Config)
    assert all("\n" not in line for line in draft.problems)


# Where the file is


def test_asked_file_that_is_missing_is_said(tmp_path):
    path = tmp_path / "no.toml"

    assert problems(path) == [f"{path}: cannot be read: No such file or directory."]


def test_without_a_path_the_working_directory_goes_first(write, monkeypatch):
    path = write()
    monkeypatch.chdir(path.parent)

    assert load(None, {}).path == Path("config.toml")


def test_without_any_file_the_error_says_what_to_type(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(config_load, "DEFAULT_PATHS", (Path("config.toml"), tmp_path / "etc.toml"))

    with pytest.raises(ConfigError, match="ledgerd run --config PATH"):
        load(None, {})


def test_second_default_is_taken_when_the_first_is_missing(tmp_path, monkeypatch):
    (tmp_path / "etc.toml").write_text(CONTACT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(config_load, "DEFAULT_PATHS", (Path("config.toml"), tmp_path / "etc.toml"))

    assert load(None, {}).path == tmp_path / "etc.toml"


# The shipped file and the document


def test_shipped_file_holds_every_key_with_its_default_and_no_other():
    shipped = tomllib.loads((ROOT / "config.toml").read_text())
    secrets = {}
    for table, key in config_load.SECRETS:
        secrets |= {table: {key}}
    defaults = Config().model_dump(mode="json", exclude=secrets)
    defaults["realm"] = defaults.pop("realms")

    assert shipped == defaults


def test_shipped_file_goes_live_by_its_contact_alone(tmp_path):
    text = (ROOT / "config.toml").read_text()
    path = tmp_path / "config.toml"
    path.write_text(text)
    refusal = [
        f'{path}: daemon.contact = "": must be your mail address or a URL, which GGG asks for; '
        'under [daemon] write: contact = "you@your.domain"'
    ]

    assert problems(path) == refusal

    path.write_text(text.replace('contact = ""', 'contact = "me@example.org"'))
    assert load(path, {}).notes == []


def test_document_holds_the_tables_of_the_models():
    text = config_table.DOC.read_text()

    assert text == config_table.rendered(text), "run: python tests/unit/config_table.py"


def test_document_names_every_variable_and_credential():
    text = config_table.DOC.read_text()

    missing = [name for name in (*VARIABLES, *config_load.SECRETS.values()) if f"`{name}`" not in text]
    assert missing == []


# Folders


def test_paths_start_at_the_folder_of_the_file(write):
    path = write('spool.dir = "pages"\ndaemon.data_dir = "here"\n')

    config = load(path, {}).config
    assert config.spool_dir == path.parent / "pages"
    assert config.daemon.data_dir == path.parent / "here"
    assert config.socket_path == path.parent / "here" / "ledgerd.sock"
    assert config.db_dir == path.parent / "here" / "clickhouse"


def test_data_dir_left_alone_is_beside_the_file(write):
    path = write('daemon.data_dir = "var/ledgerd"\n')

    assert load(path, {}).config.daemon.data_dir == path.parent / "var" / "ledgerd"
    assert load(path, {}).config.spool_dir == path.parent / "var" / "ledgerd" / "spool"


def test_data_dir_left_alone_is_systemds_under_systemd(write):
    env = {"STATE_DIRECTORY": "/var/lib/one:/var/lib/two"}

    assert load(write(), env).config.daemon.data_dir == Path("/var/lib/one")
    assert load(write('daemon.data_dir = "/srv/x"\n'), env).config.daemon.data_dir == Path("/srv/x")


def test_data_dir_left_alone_is_the_systems_for_a_file_under_etc():
    draft = config_load.Draft(Path("/etc/ledgerd/config.toml"), {})
    config_load._place(draft, {})

    assert draft.tables["daemon"]["data_dir"] == "/var/lib/ledgerd"


def test_folder_from_the_environment_starts_at_the_working_directory(write, monkeypatch, tmp_path):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")

    assert load(write(), {"POE_CURSOR_DIR": "cursors"}).config.spool_dir == tmp_path / "work" / "cursors"


# The contact


@pytest.mark.parametrize("text", ["a@b.org", "https://example.org/me", "http://example.org:8080"])
def test_contact_may_be_mail_or_url(write, text):
    assert load(write(f'daemon.contact = "{text}"\n', contact=""), {}).config.daemon.contact == text


@pytest.mark.parametrize("text", ["a@b", "a b@c.org", "me (at) home", "ftp://x.org", "https://x.org/(", "ü@b.org"])
def test_contact_that_cannot_be_reached_is_refused(write, text):
    assert "must be a mail address or an http(s) URL" in problems(write(f'daemon.contact = "{text}"\n', contact=""))[0]


def test_contact_is_needed_unless_every_upstream_is_on_this_machine(write):
    local = "".join(f'upstream.{key} = "http://127.0.0.1:1/x"\n' for key in ("api_url", "exchange_url"))

    assert len(problems(write(local, contact=""))) == 1

    local += 'upstream.auth_url = "http://localhost:1"\n'
    assert load(write(local, contact=""), {}).config.daemon.contact == ""


def test_contact_is_not_needed_by_those_who_do_not_ask_upstream(write):
    assert load(write(contact=""), {}, harvesting=False).config.roles.harvest
    assert load(write("roles.harvest = false\n", contact=""), {}).config.daemon.contact == ""


def test_contact_may_stand_in_the_user_agent_instead(write):
    agent = "OAuth mine/1 (contact: me@example.org)"

    config = load(write(contact=""), {"POE_USER_AGENT": agent}).config
    assert user_agent(config) == agent


def test_user_agent_names_client_version_contact_and_environment():
    config = Config(daemon=Daemon(contact="a@b.org", environment="home"), upstream=Upstream(client_id="mine"))

    assert user_agent(config) == f"OAuth mine/{__version__} (contact: a@b.org) PoETrade/home"


@pytest.mark.parametrize("url", ["http://127.0.0.1", "http://127.8.9.1:1", "http://[::1]:8010/x", "https://localhost"])
def test_loopback_is_recognised(url):
    assert is_loopback(url)


@pytest.mark.parametrize(
    "url", ["https://localhost.example.org", "http://127.0.0.1@evil.org", "http://10.0.0.1", "x", ""]
)
def test_anything_else_is_no_loopback(url):
    assert not is_loopback(url)


# Readers


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:80", "localhost:80"])
def test_sql_needs_no_token_on_this_machine_alone(write, listen):
    assert load(write(f'sql.enabled = true\nhttp.listen = "{listen}"\n'), {}).notes == []


@pytest.mark.parametrize("listen", ["0.0.0.0:80", "[::]:80", "ledger.lan:80"])
def test_sql_that_others_reach_needs_a_token(write, listen):
    path = write(f'sql.enabled = true\nhttp.listen = "{listen}"\n')

    assert "must have a token" in problems(path)[0]
    assert load(path, {"LEDGERD_SQL_TOKEN": "x"}).config.sql.enabled


# Notes


DECODED = "upstream.decoded_bytes_max = 40_000_000\n"


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("throttle.requests_per_s = 2\n", "throttle.requests_per_s = 2.0: more than 1 a second"),
        ("throttle.requests_per_s = 0.5\n", "the lower one holds"),
        ('upstream.client_id = "x"\n', "belong together"),
        ('clickhouse.user = "x"\n', 'ignored: engine is "embedded"'),
        ('http.listen = "0.0.0.0:80"\n', "other machines can read the ledger"),
        ("spool.bytes_max = 33_600_000\nupstream.body_bytes_max = 33_600_001\n" + DECODED, "would never fit"),
        ("[[realm]]\nname = 'pc'\nexchange_from = '2100-01-01T00:00:00Z'\n", "is still to come"),
        (f'daemon.data_dir = "/{"x" * 100}"\n', "too long for a unix socket"),
        ('sql.enabled = true\nclickhouse = {engine = "server", url = "clickhouse://db"}\n', "ask that server itself"),
        ("realm = []\n", "nothing will be fetched"),
        ("[[realm]]\nname = 'pc'\nriver = true\n", "realm.pc.river waits for upstream.client_id"),
        ("[[realm]]\nname = 'pc'\nexchange = false\n", "realm.pc: exchange and river are both off"),
    ],
)
def test_legal_but_odd_settings_get_one_note(write, text, note):
    notes = load(write(text), {}).notes

    assert len(notes) == 1
    assert note in notes[0]
