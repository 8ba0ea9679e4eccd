"""One page of the river by hand: what is shown of it, and a sentence that ends in what to type where there is none."""

import shutil
from contextlib import asynccontextmanager
from types import SimpleNamespace

import orjson
import pytest

from ledgerd import one_page
from ledgerd.config.load import load
from ledgerd.errors import StoreLocked, UpstreamRefused, UpstreamUnavailable, UsageError
from ledgerd.harvest.river_page import Change, Gist
from ledgerd.upstream.throttle import Throttle
from tests.simriver import CLIENT, SMALL, river
from tests.unit.config_files import write

NOWHERE = "http://127.0.0.1:9"
UNKNOWN = "1-2-3-4-5"
EMPTY = "-".join(["9" * 12] * 5)
DRY = "ledgerd harvest --realm pc --source river --once --dry-run"


@pytest.fixture
def config(tmp_path):
    def make(url=NOWHERE, *, secret=CLIENT["client_secret"], realm="pc", **settings):
        lines = "".join(f"{name} = {orjson.dumps(value).decode()}\n" for name, value in settings.items())
        text = f"""
[upstream]
api_url = "{url}"
auth_url = "{url}/oauth"
exchange_url = "{url}/api/currency-exchange"
client_id = "{CLIENT["client_id"]}"
[throttle]
requests_per_s = 1000.0
backfill_requests_per_s = 1000.0
[[realm]]
name = "{realm}"
river = {"true" if realm != "poe2" else "false"}
{lines}"""
        folder = tmp_path / "data"
        folder.mkdir(exist_ok=True)
        path = write(tmp_path, f'daemon.data_dir = "{folder}"\n{text}')
        return load(path, {"POE_OAUTH_CLIENT_SECRET": secret} if secret else {}).config

    return make


def shown(config, cursor=None, *, realm="pc", league=None, dry_run=True):
    return one_page.harvest(config, realm=realm, kind="river", league=league, dry_run=dry_run, cursor=cursor)


def beside_a_daemon(monkeypatch, cursor):
    """As if a daemon ran that stands at ``cursor``."""

    async def get(path):
        assert path == "/status"
        return {"sources": [{"name": "exchange-pc", "cursor": "3600"}, {"name": "river-pc", "cursor": cursor}]}

    @asynccontextmanager
    async def daemon(_):
        yield SimpleNamespace(get=get)

    monkeypatch.setattr(one_page.reach, "daemon", daemon)


@pytest.mark.parametrize(
    ("settings", "asked", "said"),
    [
        ({}, {"realm": "sony"}, "'sony' is not configured; there is pc. .*ledgerd check-config"),
        ({"realm": "poe2"}, {"realm": "poe2"}, "no public stashes. Try: ledgerd harvest --realm poe2 --once --dry-run"),
        ({"secret": ""}, {}, "client_id and its secret.*there is the exchange: ledgerd harvest --realm pc --once"),
        ({}, {}, "no daemon stands anywhere.*: ledgerd harvest --realm pc --source river --once$"),
        ({}, {"cursor": "now"}, f"--cursor 'now' is not a change id. As in: {DRY} --cursor 1-2-3-4-5"),
        ({}, {"cursor": "1-2-3&realm=xbox"}, "is not a change id"),
    ],
)
async def test_what_cannot_be_asked_for_is_said_before_anybody_is_asked(config, settings, asked, said):
    with pytest.raises(UsageError, match="(?s)" + said.replace("'", ".")) as caught:
        await shown(config(**settings), **asked)

    assert caught.value.exit_code == 64


async def test_without_an_upstream_it_ends_in_the_same_command_for_later(config):
    with pytest.raises(UpstreamUnavailable) as caught:
        await shown(config(), UNKNOWN)

    assert caught.value.hint.endswith(DRY)


async def test_a_dry_run_shows_a_page_its_leagues_and_where_it_leads(config, capsys):
    async with river(granted=False, **SMALL) as server:
        await shown(config(server.url), UNKNOWN)
        (line,) = await server.lines("river-ledger")
    out = capsys.readouterr().out.splitlines()

    assert out[0] == f"asked   {UNKNOWN}"
    assert out[1].startswith("answer  200, ")
    assert out[2] == f"means   {len(line['stashes'])} changes; next {line['next']}"
    assert out[3].split() == ["league", "changes", "items"]
    counts = out[4 : out.index(next(each for each in out if each.startswith("shown")))]
    assert sum(int(each.split()[-2]) for each in counts) == len(line["stashes"])
    assert all(stash[0] in each for stash, each in zip(line["stashes"][:5], out[-5:], strict=True))


async def test_a_dry_run_shows_the_changes_of_one_league_where_one_is_named(config, capsys):
    async with river(granted=False, **SMALL) as server:
        await shown(config(server.url), UNKNOWN, league="Standard")
    out = capsys.readouterr().out

    assert "changes of Standard\n" in out
    assert ['"league":"Standard"' in each for each in out.splitlines() if each.startswith("{")] == [True] * 5


async def test_at_the_end_it_says_so(config, capsys):
    async with river(granted=False, **SMALL) as server:
        await shown(config(server.url), EMPTY)

    assert capsys.readouterr().out.splitlines()[-1] == (
        "means   the end of the river for now: the same id is asked again"
    )


@pytest.mark.parametrize(("river_from", "asked"), [("oldest", "the beginning of history"), ("5-5-5-5-5", "5-5-5-5-5")])
async def test_without_a_cursor_the_configuration_says_where(config, capsys, river_from, asked):
    async with river(granted=False, **SMALL) as server:
        await shown(config(server.url, river_from=river_from))

    assert capsys.readouterr().out.startswith(f"asked   {asked}\n")


async def test_beside_a_daemon_it_asks_where_that_stands(config, capsys, monkeypatch):
    beside_a_daemon(monkeypatch, "6-6-6-6-6")
    async with river(granted=False, **SMALL) as server:
        await shown(config(server.url, river_from="oldest"))

    assert capsys.readouterr().out.startswith("asked   6-6-6-6-6\n")


async def test_beside_a_daemon_a_page_is_not_kept(config, monkeypatch):
    beside_a_daemon(monkeypatch, "6-6-6-6-6")
    with pytest.raises(StoreLocked) as caught:
        await shown(config(), dry_run=False)

    assert caught.value.hint.endswith(DRY)


@pytest.mark.parametrize(
    ("fault", "status"),
    [("http_502", 502), ("http_403", 403), ("html", 200), ("garbage", 200), ("truncated_gzip", 200)],
)
async def test_an_answer_that_is_no_page_is_shown_by_its_status_and_refused(config, capsys, fault, status):
    async with river(granted=False, **SMALL) as server:
        await server.sim("faults", [{"fault": fault, "to": "river"}])
        with pytest.raises(UpstreamRefused, match=r"The answer cannot be used: .*ledgerd status"):
            await shown(config(server.url), UNKNOWN)

    assert f"answer  {status}, " in capsys.readouterr().out


async def test_credentials_that_are_refused_are_a_sentence_too(config):
    async with river(granted=False, **SMALL) as server:
        with pytest.raises(UpstreamRefused, match="invalid_client") as caught:
            await shown(config(server.url, secret="wrong"), UNKNOWN)

    assert "upstream.client_secret_file and upstream.oauth_scope" in caught.value.hint
    assert "wrong" not in str(caught.value)


async def test_looking_keeps_only_the_token_and_the_limits_and_where_there_is_no_data_not_even_those(config):
    async with river(granted=False, **SMALL) as server:
        made = config(server.url)
        await shown(made, UNKNOWN)
        kept = {path.name for path in made.daemon.data_dir.iterdir()}
        shutil.rmtree(made.daemon.data_dir)
        await shown(made, UNKNOWN)

    assert kept == {"oauth-token.json", "throttle.json"}
    assert not made.daemon.data_dir.exists()


async def test_looking_waits_as_long_as_the_daemon_would(config, monkeypatch):
    waits = []

    async def rest(_, wait_s):
        waits.append(wait_s)
        raise UpstreamUnavailable("waited", "See: ledgerd status")

    async with river(granted=False, **SMALL) as server:
        await server.sim("faults", [{"fault": "http_429", "to": "river"}])
        made = config(server.url)
        with pytest.raises(UpstreamRefused):
            await shown(made, UNKNOWN)
        monkeypatch.setattr(Throttle, "_rest", rest)
        with pytest.raises(UpstreamUnavailable, match="waited"):
            await shown(made, UNKNOWN)

    assert 50 < waits[0] < 100


@pytest.mark.parametrize("items", [None, 5, "five", {"0": None}, [1, 2]])
def test_a_change_of_another_shape_is_shown_all_the_same(items):
    change = Change(orjson.dumps({"league": 7, "items": items}).decode(), {"league": 7, "items": items})
    lines = list(one_page._shown_river(Gist("5-5", is_empty=False, stashes=1), [change], ["*"]))

    assert lines[0] == "means   1 changes; next 5-5"
    assert lines[1].splitlines()[1].split() == ["7", "1", "2" if isinstance(items, list) else "0"]
    assert lines[-1] == change.text
