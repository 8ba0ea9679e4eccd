import subprocess
import sys
from functools import partial
from pathlib import Path

import config_files
import config_table
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgerd.config import (
    ClickHouse,
    Config,
    Daemon,
    Freshness,
    Http,
    Limit,
    Realm,
    RouteFreshness,
    Secret,
    Spool,
    Sql,
    Throttle,
    Upstream,
    changes,
    parse_from,
    restart_needed,
)
from ledgerd.config.draft import keys_of
from ledgerd.config.load import load

ROOT = Path(__file__).parents[2]


@pytest.fixture
def write(tmp_path):
    return partial(config_files.write, tmp_path)


# Values


def test_listen_address_has_no_brackets():
    assert Http(listen="[::1]:0").address == ("::1", 0)
    assert Http(listen="localhost:8010").address == ("localhost", 8010)


def test_urls_lose_their_last_slash(write):
    assert load(write('upstream.api_url = "http://x.org/a/"\n'), {}).config.upstream.api_url == "http://x.org/a"


def test_exchange_from_may_be_a_bare_toml_time(write):
    config = load(write("[[realm]]\nname = 'pc'\nexchange_from = 2026-10-01T00:00:00Z\n"), {}).config

    assert parse_from(config.realms[0].exchange_from, 0) == 1790812800


@pytest.mark.parametrize(
    ("text", "unix_s"),
    [
        ("oldest", None),
        ("-0h", 1790809200),
        ("-24h", 1790809200 - 86400),
        ("-30d", 1790809200 - 30 * 86400),
        ("2026-09-30T23:59:59Z", 1790809200),
        ("2026-10-01T01:00:00+02:00", 1790809200),
        ("1970-01-01T00:00:00Z", 0),
        ("-99999d", 0),
    ],
)
def test_first_hour_is_a_whole_hour(text, unix_s):
    now_s = 1790809200 + 1799.5

    assert parse_from(text, now_s) == unix_s


@pytest.mark.parametrize("text", ["", "-h", "24h", "-2w", "--24h", "-１h", "now", "2026-10-01", "1969-12-31T23:00:00Z"])
def test_first_hour_in_other_words_is_refused(text):
    with pytest.raises(ValueError, match=r".*"):
        parse_from(text, 0)


@given(st.text(max_size=40))
def test_any_text_is_a_first_hour_or_a_value_error(text):
    try:
        first_s = parse_from(text, 1.8e9)
    except ValueError:
        return
    assert first_s is None or (first_s >= 0 and first_s % 3600 == 0)


def test_configuration_cannot_be_changed_in_place():
    with pytest.raises(ValueError, match="frozen"):
        Config().log.level = "debug"


# Freshness


def test_a_route_has_its_own_limits_and_takes_the_others_from_the_table(write):
    text = """
        [freshness]
        items_max_age_s = 700
        [freshness.route]
        search = { items_max_age_s = 900 }
        [freshness.route.convert]
        currency_max_age_s = 1800
        policy = "refuse"
    """

    freshness = load(write(text), {}).config.freshness
    assert freshness.limit("currency", "convert") == Limit(1800, "refuse")
    assert freshness.limit("items", "convert") == Limit(700, "refuse")
    assert freshness.limit("items", "search") == Limit(900, "serve")
    assert freshness.limit("currency", "search") == Limit(3900, "serve")


def test_an_operator_is_served_whatever_a_route_says():
    own = {"convert": RouteFreshness(policy="refuse", currency_max_age_s=1800)}

    freshness = Freshness(policy="refuse", route=own).serving()
    assert freshness.limit("currency", "convert") == Limit(1800, "serve")
    assert freshness.limit("items", "movers") == Limit(600, "serve")


# Reload


@pytest.mark.parametrize(
    ("new", "changed", "restart"),
    [
        ({}, [], []),
        ({"daemon": Daemon(data_dir=Path("/x"))}, ["daemon.data_dir"], ["daemon.data_dir"]),
        ({"http": Http(listen="[::1]:0")}, ["http.listen"], ["http.listen"]),
        ({"clickhouse": ClickHouse(password=Secret("x"))}, ["clickhouse.password"], ["clickhouse.password"]),
        (
            {"upstream": Upstream(api_url="http://x", timeout_s=1)},
            ["upstream.api_url", "upstream.timeout_s"],
            ["upstream.api_url"],
        ),
        ({"upstream": Upstream(late_poll_s=1)}, ["upstream.late_poll_s"], []),
        ({"upstream": Upstream(client_secret=Secret("x"))}, ["upstream.client_secret"], ["upstream.client_secret"]),
        ({"throttle": Throttle(requests_per_s=0.5)}, ["throttle.requests_per_s"], []),
        ({"throttle": Throttle(api_key=Secret("x"))}, ["throttle.api_key"], []),
        ({"sql": Sql(token=Secret("x"), enabled=True)}, ["sql.enabled", "sql.token"], []),
        ({"freshness": Freshness(route={"convert": RouteFreshness(policy="serve")})}, ["freshness.route"], []),
        ({"spool": Spool(dir="/x", bytes_max=9)}, ["spool.bytes_max", "spool.dir"], ["spool.dir"]),
        ({"realms": (Realm(name="pc", leagues=("A",)), Realm(name="poe2"))}, ["realm.pc.leagues"], []),
        ({"realms": (Realm(name="poe2"), Realm(name="pc"))}, [], []),
        ({"realms": (Realm(name="pc"), Realm(name="xbox"))}, ["realm.poe2", "realm.xbox"], []),
    ],
)  # fmt: skip
def test_reload_knows_what_changed_and_what_needs_a_restart(new, changed, restart):
    assert changes(Config(), Config(**new)) == changed
    assert restart_needed(Config(), Config(**new)) == restart


@pytest.mark.parametrize("table", ["throttle", "retention", "freshness", "sql", "log", "realm"])
def test_these_tables_change_live(table):
    assert not any(config_table.needs_restart(f"{table}.{key}") for key in keys_of(table))


def test_import_brings_no_event_loop_and_no_metrics():
    heavy = "{'asyncio', 'prometheus_client', 'aiohttp'} & set(sys.modules)"
    command = [sys.executable, "-c", f"import ledgerd.config, ledgerd.config.load, sys; print({heavy})"]

    assert subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout == "set()\n"
