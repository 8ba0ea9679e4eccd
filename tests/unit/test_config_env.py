import json
from functools import partial

import config_files
import pytest
from config_files import problems
from hypothesis import given
from hypothesis import strategies as st

from ledgerd.config import ClickHouse, Config, Realm, Secret, Sql, Throttle, Upstream
from ledgerd.config.env import VARIABLES
from ledgerd.config.load import load


@pytest.fixture
def write(tmp_path):
    return partial(config_files.write, tmp_path)


# The environment

ENV = {
    "POE_CLICKHOUSE_DATABASE": ("trade", "clickhouse", "database", "trade"),
    "POE_CLICKHOUSE_USER": ("me", "clickhouse", "user", "me"),
    "POE_CLICKHOUSE_PASSWORD": ("pw", "clickhouse", "password", Secret("pw")),
    "POE_CLICKHOUSE_URL": ("http://db:8123", "clickhouse", "url", "clickhouse://db:9000"),
    "CH_HOST": ("db", "clickhouse", "url", "clickhouse://db:9000"),
    "CH_DATABASE": ("trade", "clickhouse", "database", "trade"),
    "CH_USER": ("me", "clickhouse", "user", "me"),
    "CH_PASSWORD": ("pw", "clickhouse", "password", Secret("pw")),
    "POE_CURSOR_DIR": ("/a", "spool", "dir", "/a"),
    "POE_CHECKPOINT_DIR": ("/a", "spool", "dir", "/a"),
    "POE_API_BASE_URL": ("http://x.org/", "upstream", "api_url", "http://x.org"),
    "POE_AUTH_BASE_URL": ("http://x.org/", "upstream", "auth_url", "http://x.org/oauth"),
    "POE_STASH_API_PATH": ("/public/", "upstream", "stash_api_path", "public"),
    "POE_USER_AGENT": ("OAuth a (contact: b)", "upstream", "user_agent", "OAuth a (contact: b)"),
    "POE_OAUTH_CLIENT_ID": ("me", "upstream", "client_id", "me"),
    "POE_OAUTH_CLIENT_SECRET": ("pw", "upstream", "client_secret", Secret("pw")),
    "POE_OAUTH_CLIENT_SECRET_FILE": ("/dev/null/x", None, "", "Not a directory"),
    "POE_OAUTH_SCOPE": ("service:a service:b", "upstream", "oauth_scope", "service:a service:b"),
    "POE_OAUTH_GRANT_TYPE": ("client_credentials", "upstream", "oauth_grant_type", "client_credentials"),
    "POE_RATE_LIMIT_REQUESTS_PER_S": ("0.9", "throttle", "requests_per_s", 0.9),
    "POE_RATE_LIMIT_REQUESTS_PER_SECOND": ("0.9", "throttle", "requests_per_s", 0.9),
    "POE_RATE_LIMIT_RPS": ("0.9", "throttle", "requests_per_s", 0.9),
    "POE_RATE_LIMIT_BACKFILL_REQUESTS_PER_S": ("0.1", "throttle", "backfill_requests_per_s", 0.1),
    "POE_RATE_LIMIT_BACKFILL_RPS": ("0.1", "throttle", "backfill_requests_per_s", 0.1),
    "THROTTLER_API_KEY": ("pw", "throttle", "api_key", Secret("pw")),
    "LEDGERD_SQL_TOKEN": ("pw", "sql", "token", Secret("pw")),
    "POE_REALMS": ("pc, sony,", "realms", "name", ["pc", "sony"]),
    "POE_LEAGUES": ("Standard,Hardcore", "realms", "leagues", [("Standard", "Hardcore")] * 2),
}


def test_every_variable_is_tried_here():
    assert ENV.keys() == VARIABLES.keys()


@pytest.mark.parametrize("variable", [name for name, (_, table, *_) in ENV.items() if table])
def test_variable_overrides_its_key(write, variable):
    text, table, key, value = ENV[variable]

    config = load(write('spool.dir = "/b"\nlog.level = "debug"\n'), {variable: text}).config
    found = getattr(config, table)
    assert ([getattr(realm, key) for realm in found] if table == "realms" else getattr(found, key)) == value
    assert config.log.level == "debug"


@pytest.mark.parametrize(
    ("variable", "text", "line"),
    [
        ("POE_RATE_LIMIT_RPS", "fast", 'POE_RATE_LIMIT_RPS = "fast": must be a number greater than 0'),
        ("POE_RATE_LIMIT_RPS", "-1", 'POE_RATE_LIMIT_RPS = "-1": must be a number greater than 0'),
        ("POE_REALMS", "pc,ps5", 'POE_REALMS = "pc,ps5": must be one of "pc", "xbox", "sony", "poe2"'),
        ("POE_REALMS", "pc,pc", 'POE_REALMS = "pc,pc": must stand once; write its settings into one [[realm]]'),
        (
            "POE_LEAGUES",
            ",",
            'POE_LEAGUES = ",": must be a list of different league names, or ["*"] for all public ones',
        ),
        (
            "POE_OAUTH_CLIENT_SECRET_FILE",
            "/dev/null/x",
            'POE_OAUTH_CLIENT_SECRET_FILE = "***": the file it names cannot be used: Not a directory',
        ),
        ("POE_USER_AGENT", "x", 'POE_USER_AGENT = "x": must be empty, or one line of ASCII that begins "OAuth "'),
        (
            "POE_CLICKHOUSE_URL",
            "redis://me:pw@db",
            'POE_CLICKHOUSE_URL = "***@db": '
            "must be clickhouse://host:9000, or clickhouses://host:9440 for TLS, without user or path",
        ),
    ],
)
def test_bad_variable_is_named_with_its_rule(write, variable, text, line):
    assert problems(write(), {variable: text}) == [f"environment: {line}"]


def test_problems_of_file_and_environment_come_together(write):
    lines = problems(write("log.level = 1\n"), {"POE_RATE_LIMIT_RPS": "0"})

    assert len(lines) == 2
    assert any("log.level = 1: " in line for line in lines)
    assert any("POE_RATE_LIMIT_RPS = " in line for line in lines)


def test_empty_variable_counts_as_not_set(write):
    assert load(write(), dict.fromkeys(VARIABLES, "")).config == load(write(), {}).config


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://db", "clickhouse://db:9000"),
        ("https://db:8443/", "clickhouses://db:9440"),
        ("https://db", "clickhouses://db:9440"),
        ("http://db:18123", "clickhouse://db:18123"),
        ("clickhouse://db:9001", "clickhouse://db:9001"),
        ("tcp://[::1]:9000", "clickhouse://[::1]:9000"),
        ("db:9001", "clickhouse://db:9001"),
    ],
)
def test_server_address_is_read_in_any_older_form(write, text, url):
    loaded = load(write(), {"POE_CLICKHOUSE_URL": text})

    assert loaded.config.clickhouse.url == url
    assert loaded.config.clickhouse.engine == "server"
    assert any('clickhouse.engine is "server"' in note for note in loaded.notes)


def test_server_address_may_hold_user_and_password(write):
    store = load(write(), {"POE_CLICKHOUSE_URL": "http://me:p%40ss@db:8123"}).config.clickhouse

    assert (store.user, store.password, store.url) == ("me", Secret("p@ss"), "clickhouse://db:9000")


def test_user_variable_goes_before_the_user_in_the_address(write):
    env = {"POE_CLICKHOUSE_URL": "http://me:pw@db", "POE_CLICKHOUSE_USER": "you", "CH_PASSWORD": "other"}

    store = load(write(), env).config.clickhouse
    assert (store.user, store.password) == ("you", Secret("other"))


def test_realms_named_by_the_environment_keep_what_the_file_says(write):
    text = "[[realm]]\nname = 'pc'\nleagues = ['Standard']\n[[realm]]\nname = 'poe2'\n"

    config = load(write(text), {"POE_REALMS": "sony,pc"}).config
    assert config.realms == (Realm(name="sony"), Realm(name="pc", leagues=("Standard",)))


@pytest.mark.parametrize(
    ("env", "note"),
    [
        ({"POE_THROTTLER_URL": "http://x"}, "the throttler is built in"),
        ({"POE_RATE_LIMIT_BURST": "5"}, "POE_RATE_LIMIT_BURST is ignored"),
        ({"POE_REALM": "pc"}, "did you mean POE_REALMS?"),
        ({"POE_CURSOR_DIR": "/a", "POE_CHECKPOINT_DIR": "/b"}, "POE_CHECKPOINT_DIR is ignored: POE_CURSOR_DIR sets"),
    ],
)
def test_variable_without_effect_gets_a_note(write, env, note):
    notes = load(write(), env).notes

    assert len(notes) == 1
    assert note in notes[0]


# Secrets


def test_secret_comes_from_environment_then_file_then_credential(write, tmp_path):
    for name, text in (("mine", "from file\n"), ("client_secret", "from systemd"), ("clickhouse_password", "pw\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    env = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    named = 'upstream.client_secret_file = "mine"\n'

    def secret(text, env):
        return load(write(text), env).config.upstream.client_secret.reveal()

    assert secret(named, env | {"POE_OAUTH_CLIENT_SECRET": "from environment"}) == "from environment"
    assert secret(named, env) == "from file"
    assert secret("", env) == "from systemd"
    assert secret("", {}) == ""
    assert load(write(), env).config.clickhouse.password == Secret("pw")


@pytest.mark.parametrize(
    ("table", "key", "credential"), [("throttle", "api_key", "throttler_api_key"), ("sql", "token", "sql_token")]
)
def test_keys_of_our_own_readers_come_from_a_file_or_a_credential(write, tmp_path, table, key, credential):
    for name, text in (("mine", "from file\n"), (credential, "from systemd")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    env = {"CREDENTIALS_DIRECTORY": str(tmp_path)}

    def secret(text):
        return getattr(getattr(load(write(text), env).config, table), key).reveal()

    assert secret(f'{table}.{key}_file = "mine"\n') == "from file"
    assert secret("") == "from systemd"


@pytest.mark.parametrize("raw", [b"", b"\n", b"two\nlines", b"\xff\xfe", b"a\0b", b"x" * 20_000])
def test_secret_that_is_not_one_line_is_a_problem(write, tmp_path, raw):
    (tmp_path / "mine").write_bytes(raw)
    lines = [
        f'{tmp_path / "config.toml"}: upstream.client_secret_file = "***": '
        "the file it names cannot be used: it must hold one line of text"
    ]

    assert problems(write('upstream.client_secret_file = "mine"\n')) == lines


def test_unusable_credential_is_a_problem(write, tmp_path):
    (tmp_path / "throttler_api_key").mkdir()

    assert problems(write(), {"CREDENTIALS_DIRECTORY": str(tmp_path)}) == [
        "systemd credential throttler_api_key: cannot be used: Is a directory"
    ]


def test_secret_file_everybody_may_read_gets_a_note(write, tmp_path):
    (tmp_path / "mine").write_text("x")
    (tmp_path / "mine").chmod(0o644)

    notes = load(write('upstream.client_id = "a"\nupstream.client_secret_file = "mine"\n'), {}).notes
    assert notes == [f"upstream.client_secret_file: everybody may read it; chmod 600 {tmp_path / 'mine'}"]


SECRET = st.text(st.characters(min_codepoint=0xE000, max_codepoint=0xE0FF), min_size=3, max_size=12)


@given(SECRET)
def test_secret_is_never_printed(text):
    config = Config(
        clickhouse=ClickHouse(password=Secret(text)),
        upstream=Upstream(client_secret=Secret(text)),
        throttle=Throttle(api_key=Secret(text)),
        sql=Sql(token=Secret(text)),
    )

    printed = [
        repr(config), str(config), f"{config}", str(config.model_dump()), config.model_dump_json(),
        json.dumps(config.model_dump(mode="json")), repr(Secret(text)), f"{Secret(text)!s}", str([Secret(text)]),
    ]  # fmt: skip
    assert all(text not in each and json.dumps(text)[1:-1] not in each for each in printed)
    assert config.model_dump(mode="json")["upstream"]["client_secret"] == "***"


@given(
    SECRET,
    st.sampled_from(
        [
            'clickhouse.password = "{}"',
            'upstream.client_secret_file = "{}"',
            'upstream.client_secrt = "{}"',
            'throttle.api_key = ["{}"]',
            'throttle.api_key_file = "{}"',
            'sql.token = "{}"',
            'freshness.route.convert.token = "{}"',
            'freshness.route.token = "{}"',
            'clickhouse.url = "clickhouse://me:{}@db:x"',
            'clickhouse.url = "clickhouse://me:a/b@{}@db:9000"',
            'api_token = "{}"',
            'password = {{ a = "{}" }}',
            'upstream = [{{ client_secret = "{}" }}]',
            'realm = [{{ key = "{}" }}]',
        ]
    ),
)
def test_secret_in_the_wrong_place_is_not_printed_in_the_problem(tmp_path_factory, text, line):
    path = tmp_path_factory.getbasetemp() / "secret.toml"
    path.write_text(line.format(text) + "\n", encoding="utf-8")
    env = {"POE_CLICKHOUSE_URL": f"http://me:{text}@db:x"}

    for error in ("\n".join(problems(path)), "\n".join(problems(path, env))):
        assert text not in error
        assert json.dumps(text)[1:-1] not in error
