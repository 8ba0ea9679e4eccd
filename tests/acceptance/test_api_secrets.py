"""What must stay inside: neither key, token nor secret is in an answer, a line of the log or a metric of the daemon."""

import asyncio
import base64
import re
from contextlib import asynccontextmanager
from signal import SIGHUP
from urllib.parse import quote

import aiohttp
import pytest

from ledgerd.sim.tokens import Tokens
from ledgerd.web.app import ENDPOINTS
from tests.daemon import TEST_S, WAIT_S, command, daemon, upstream

pytest.importorskip("chdb")
pytestmark = pytest.mark.timeout(TEST_S)

SECRETS = {
    "client_secret": "the-clients-secret-7c1f09",
    "api_key": "the-key-of-the-jobs-55d2aa",
    "sql_token": "the-token-of-the-tools-e30b17",
}
RIGHT = (("/v1/throttle", "X-API-Key", "api_key"), ("/sql?query=SELECT+1", "X-ClickHouse-Key", "sql_token"))
WRONG = "none-of-them-000000"
PATHS = (
    "/", "/page.js", "/docs", "/openapi.json", "/status", "/healthz", "/readyz", "/metrics", "/nothing", "/v1/nothing",
    "/sql", "/sql/", "/sql/ping", "/sql?query=SELECT+1", "/sql?query=SELEC", "/sql?query=SHOW+PROCESSLIST",
    "/sql?query=SELECT+*+FROM+system.processes+FORMAT+JSON", "/sql?query=SELECT+getSetting('max_threads')",
    "/sql?query=SELECT+*+FROM+system.settings", "/sql?query=SELECT+currentUser(),hostName()",
    "/sql?query=SELECT+*+FROM+file('secret')",
)  # fmt: skip

MANGLED = (
    "GET /v1/throttle\r\nX-API-Key: {}\r\n\r\n",
    "GET /v1/throttle HTTP/1.1\r\nX-API-Key {}\r\n\r\n",
    "GET /v1/throttle HTTP/1.1\r\nX-API-Key : {}\r\n\r\n",
    "GET /v1/throttle HTTP/1.{}\r\n\r\n",
    "{} /v1/throttle HTTP/1.1\r\n\r\n",
    "GET /v1/throttle HTTP/1.1\r\nHost: x\r\nExpect: {}\r\nConnection: close\r\n\r\n",
)
"""What is not quite HTTP, with a key in it."""


def shapes(secret):
    """The ways a text is written down: as it is, for an address, for a header."""
    text = secret.encode()
    packed = {base64.b64encode(before + text).rstrip(b"=")[-16:] for before in (b"", b"default:", b"ledgerd:")}
    return {text, quote(secret).encode(), text.hex().encode(), *packed}


def keyed(value):
    """The headers a secret may come in."""
    basic = base64.b64encode(f"default:{value}".encode()).decode()
    return (
        {"X-API-Key": value, "Authorization": f"Bearer {value}"},
        {"Authorization": f"Basic {basic}"},
        {"X-ClickHouse-Key": value, "X-ClickHouse-User": "default"},
    )


@asynccontextmanager
async def living(tmp_path, granted):
    """A daemon with all of them, at work, and where it can be reached."""
    files = {}
    for name, secret in SECRETS.items():
        path = tmp_path / name
        path.write_text(secret)
        path.chmod(0o600)
        files[name] = str(path)
    settings = {
        "upstream__client_secret_file": files["client_secret"],
        "throttle__api_key_file": files["api_key"],
        "sql__enabled": True,
        "sql__token_file": files["sql_token"],
        "log__level": "debug",
        "realms": [{"name": "pc", "river": True}],
    }
    async with (
        upstream(2, client_secret=SECRETS["client_secret"]) as stand_in,
        daemon(stand_in.url, **settings) as ledgerd,
    ):
        await ledgerd.start()
        url = await ledgerd.wait("an address", lambda: address(ledgerd))
        await ledgerd.wait("a token in use", lambda: is_at_work(ledgerd, granted))
        await stand_in.post("tokens", {})  # one refused, and another one asked for
        await ledgerd.wait("the next token", lambda: is_at_work(ledgerd, granted[1:]))
        yield ledgerd, url


async def address(ledgerd):
    """The public address, as the log tells it; empty before it does."""
    return "".join(re.findall(r"is ready: (http://[\d.:]+)/status", ledgerd.said(10_000))[:1])


async def is_at_work(ledgerd, granted):
    """True once prices are there and pages of the river were stored, which takes a token."""
    status = await ledgerd.status()
    return granted and any(lane["source"] == "river-pc" and lane["rows"] for lane in status["lanes"])


def questions(values):
    """All there is to be asked, rightly and wrongly, each value as the key; where there is one, in every header."""
    asked = [("GET", path, None) for path in PATHS]
    for each in ENDPOINTS:
        path = each.example.replace("/pc/Mirage/", "/pc/Allflame/")
        body = {name: fact for name, fact in (each.example_body or {}).items() if name != "wait_s"}
        asked.append((each.method, path, body or None))
        asked.append((each.method, f"{path.partition('?')[0]}?odd=1", each.example_body and {"lease": 7}))
    for method, path, body in asked:
        is_keyed = path.startswith(("/sql", "/v1/throttle"))
        headers = [header for value in values for header in keyed(value)[: None if is_keyed else 1]]
        yield from ((method, path, body, header) for header in ({}, *headers))


async def answered(client, method, path, body, header):
    """Head and body of an answer; of a stream its beginning."""
    async with client.request(method, path, json=body, headers=header) as answer:
        told = await answer.content.readany() if answer.content_type == "text/event-stream" else await answer.read()
        assert answer.status != 500 or path.startswith("/sql"), (path, told)
        return b"%d %b\n%b" % (answer.status, repr(answer.raw_headers).encode(), told)


async def raw(opening, text):
    """What is answered to what is not quite HTTP at the door that ``opening`` connects to."""
    reader, writer = await opening
    writer.write(text.encode())
    answer = await asyncio.wait_for(reader.read(4096), WAIT_S)
    writer.close()
    return answer


async def test_no_secret_is_in_an_answer_a_line_of_the_log_or_a_metric(tmp_path, monkeypatch):
    granted, issue = [], Tokens.issue

    def issued(self, *asked):
        reply = issue(self, *asked)
        granted.append(reply["access_token"])
        return reply

    monkeypatch.setattr(Tokens, "issue", issued)
    async with living(tmp_path, granted) as (ledgerd, url):
        secrets = [*SECRETS.values(), *granted]
        socket = aiohttp.UnixConnector(str(ledgerd.data_dir / "ledgerd.sock"))
        async with (
            aiohttp.ClientSession(url) as public,
            aiohttp.ClientSession("http://ledgerd", connector=socket) as own,
        ):
            asked = list(questions([*secrets, WRONG]))
            said = [await answered(client, *each) for client in (public, own) for each in asked]
            opened = [await answered(public, "GET", path, None, {name: SECRETS[key]}) for path, name, key in RIGHT]
        for text in (each.format(secret) for each in MANGLED for secret in secrets):
            said.append(await raw(asyncio.open_connection(*url.removeprefix("http://").split(":")), text))
            said.append(await raw(asyncio.open_unix_connection(ledgerd.data_dir / "ledgerd.sock"), text))
            assert b"text/plain" not in said[-2] + said[-1], text
        said += [(await command(ledgerd, *words))[1].encode() for words in (("status", "--json"), ("check-config",))]

        ledgerd.configure(throttle__requests_per_s=-1)  # a reload that is refused names what is wrong
        ledgerd.signal(SIGHUP)
        await ledgerd.wait("the refusal", lambda: is_refused(ledgerd))
        said.append(repr(await ledgerd.status()).encode())
        assert await ledgerd.stop() == 0
        lines = ledgerd.log.read_bytes().splitlines()

    assert granted
    assert {text[:3] for text in opened} == {b"200"}, opened
    assert {text[:3] for text in said} >= {b"200", b"400", b"401", b"404"}
    hidden = {shape for secret in secrets for shape in shapes(secret)}
    found = [(shape, text[:300]) for shape in hidden for text in [*said, *lines] if shape in text]
    print(f"{len(said)} answers and {len(lines)} lines of the log: {len(found)} secrets")
    assert found == []


async def is_refused(ledgerd):
    return (await ledgerd.status())["config"]["last_reload_error"]
