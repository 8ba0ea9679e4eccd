"""OAuth: one grant for all who ask, a token that outlives restarts, and secrets nobody ever reads."""

import asyncio
import gzip
import json
import logging
import random
import stat

import orjson
import pytest
from aioresponses import CallbackResult, aioresponses

from ledgerd import events
from ledgerd.clock import SystemClock
from ledgerd.config import Secret
from ledgerd.errors import LedgerdError, UpstreamRefused, UpstreamUnavailable
from ledgerd.upstream.client import Client, Limits
from ledgerd.upstream.oauth import BODY_BYTES_MAX, Credentials, OAuth
from ledgerd.upstream.throttle import Throttle
from tests.clocks import ORIGIN_S, ManualClock
from tests.simriver import AGENT, SMALL, river

BASE = "http://127.0.0.1:1"
TOKEN_URL, PAGE_URL = f"{BASE}/oauth/token", f"{BASE}/public-stash-tabs"
HIDDEN = "s3cret+phrase/é"
GRANTED = {"access_token": "tokenA1", "expires_in": None, "token_type": "bearer", "scope": "service:psapi"}
DEAD = b'{"error":"invalid_token"}'


class Told(list):
    """Every event, as said."""

    def notes(self):
        return [event.note for event in self if isinstance(event, events.Noted)]


@pytest.fixture
def said(monkeypatch):
    found = Told()
    monkeypatch.setattr("ledgerd.upstream.oauth.emit", found.append)
    return found


@pytest.fixture
async def client():
    records = []

    async def remember(record):
        records.append(record)

    throttle = Throttle(100_000, 100_000)
    async with Client(user_agent=AGENT, limits=Limits(timeout_s=5, body_bytes_max=1 << 24), throttle=throttle,
                      clock=SystemClock(), remember=remember) as made:  # fmt: skip
        made.records = records
        yield made


@pytest.fixture
def path(tmp_path):
    return tmp_path / "token.json"


@pytest.fixture
def upstream():
    with aioresponses() as made:
        yield made


def oauth_for(client, path, *, clock=None, base=BASE, **other):
    credentials = {"token_url": f"{base}/oauth/token", "client_id": "ledgerd", "client_secret": Secret("stand-in"),
                   "scope": "service:psapi", "grant_type": "client_credentials"}  # fmt: skip
    return OAuth(client, Credentials(**{**credentials, **other}), clock=clock or SystemClock(), path=path)


def page(oauth, base=BASE, realm="pc", **more):
    return oauth.get(f"{base}/public-stash-tabs", source=f"river-{realm}", realm=realm, cursor="", **more)


def grants(client):
    return [record for record in client.records if record.source == "oauth-token"]


def answering(tokens):
    """What the river says to each bearer: 401 to all but ``tokens``; the bearers heard are its ``heard``."""

    def answer(url, *, headers, **kwargs):
        answer.heard.append(headers["Authorization"].removeprefix("Bearer "))
        is_good = answer.heard[-1] in tokens
        return CallbackResult(status=200 if is_good else 401, body=b"{}" if is_good else DEAD)

    answer.heard = []
    return answer


async def issued(server):
    return (await server.sim("state"))["river"]["tokens"]["issued"]


class TestAgainstTheStandIn:
    async def test_a_token_is_granted_once_and_a_restart_reads_it(self, client, path):
        async with river(granted=False, **SMALL) as server:
            first = oauth_for(client, path, base=server.url)
            statuses = [(await page(first, server.url, realm)).status for realm in ("pc", "xbox")]
            again = oauth_for(client, path, base=server.url)
            server.clock.jump(60)
            statuses.append((await page(again, server.url, "sony")).status)

            assert statuses == [200, 200, 200]
            assert await issued(server) == 1
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    async def test_two_requests_with_a_dead_token_bring_one_grant(self, client, path):
        async with river(granted=False, **SMALL) as server:
            oauth = oauth_for(client, path, base=server.url)
            await page(oauth, server.url)
            await server.sim("tokens", {})
            server.clock.jump(60)
            answers = await asyncio.gather(*(page(oauth, server.url, realm) for realm in ("xbox", "sony")))

            assert [answer.status for answer in answers] == [200, 200]
            assert await issued(server) == 2
        assert [record.status for record in client.records if record.source == "river-xbox"] == [401, 200]

    async def test_two_requests_without_a_token_bring_one_grant(self, client, path):
        async with river(granted=False, **SMALL) as server:
            oauth = oauth_for(client, path, base=server.url)
            await asyncio.gather(*(page(oauth, server.url, realm) for realm in ("pc", "xbox", "sony")))

            assert await issued(server) == 1

    async def test_another_client_id_or_scope_ignores_the_file(self, client, path, said):
        async with river(granted=False, **SMALL) as server:
            await page(oauth_for(client, path, base=server.url), server.url)
            other = oauth_for(client, path, base=server.url, scope="service:psapi service:leagues")
            await page(other, server.url, "xbox")
            with pytest.raises(UpstreamRefused):
                await page(oauth_for(client, path, base=server.url, client_id="other"), server.url)

            assert await issued(server) == 2
        assert said == []

    async def test_a_wrong_secret_is_refused_with_what_to_do_and_asked_about_once(self, client, path):
        async with river(granted=False, **SMALL) as server:
            oauth = oauth_for(client, path, base=server.url, client_secret=Secret("wrong"))
            for _ in range(3):
                with pytest.raises(UpstreamRefused, match="401: invalid_client: The client cred") as caught:
                    await page(oauth, server.url)

            assert (await server.sim("state"))["river"]["invalid_requests"] == {"total": 1, "oauth": 1}
        assert "upstream.client_secret_file" in caught.value.hint
        assert caught.value.hint.endswith("systemctl restart ledgerd")

    async def test_headers_are_told_once_and_never_of_the_repeated_401(self, client, path):
        async with river(granted=False, **SMALL) as server:
            oauth = oauth_for(client, path, base=server.url)
            await page(oauth, server.url, "xbox")
            await server.sim("tokens", {})
            told = []
            answer = await page(oauth, server.url, on_headers=lambda status, headers: told.append((status, headers)))

        assert told == [(200, answer.headers)]
        assert answer.headers["X-Next-Change-Id"]


async def test_a_second_401_is_returned_and_the_next_request_begins_with_a_grant(client, path, upstream):
    river_says = answering([])
    upstream.get(PAGE_URL, callback=river_says, repeat=True)
    for name in ("tokenA1", "tokenB2", "tokenC3"):
        upstream.post(TOKEN_URL, payload={**GRANTED, "access_token": name})
    oauth = oauth_for(client, path)
    answers = [await page(oauth), await page(oauth)]

    assert [answer.status for answer in answers] == [401, 401]
    assert river_says.heard == ["tokenA1", "tokenB2", "tokenB2", "tokenC3"]


async def test_a_dead_token_is_not_sent_again_while_no_other_is_to_be_had(client, path, upstream):
    river_says = answering(["tokenB2"])
    upstream.get(PAGE_URL, callback=river_says, repeat=True)
    upstream.post(TOKEN_URL, payload=GRANTED)
    upstream.post(TOKEN_URL, status=503)
    upstream.post(TOKEN_URL, payload={**GRANTED, "access_token": "tokenB2"})
    oauth = oauth_for(client, path)
    with pytest.raises(UpstreamUnavailable, match="answered 503"):
        await page(oauth)
    answer = await page(oauth)

    assert answer.status == 200
    assert river_says.heard == ["tokenA1", "tokenB2"]


@pytest.mark.parametrize(
    ("status", "body", "encoding", "asked"),
    [
        (401, DEAD, "", 2),
        (401, b"\xef\xbb\xbf" + DEAD, "", 2),
        (401, gzip.compress(DEAD, mtime=0), "gzip", 2),
        (401, gzip.compress(DEAD, mtime=0)[:9], "gzip", 1),
        (401, b'{"error":{"code":8,"message":"Unauthorized"}}', "", 1),
        (401, b"[]", "", 1),
        (401, b"<html>", "", 1),
        (403, DEAD, "", 1),
    ],
)
async def test_only_a_401_that_says_so_calls_a_token_dead(client, path, status, body, encoding, asked):  # noqa: PLR0917
    with aioresponses() as upstream:
        upstream.post(TOKEN_URL, payload=GRANTED, repeat=True)
        upstream.get(PAGE_URL, status=status, body=body, headers={"Content-Encoding": encoding}, repeat=True)
        answer = await page(oauth_for(client, path))

    assert (answer.status, answer.body) == (status, body)
    assert len([record for record in client.records if record.source == "river-pc"]) == asked


async def test_a_token_that_ends_is_renewed_a_minute_before(client, path, upstream, monkeypatch):
    clock = ManualClock()
    monkeypatch.setattr(client, "_clock", clock)
    upstream.post(TOKEN_URL, payload={**GRANTED, "expires_in": 600}, repeat=True)
    upstream.get(PAGE_URL, body=b"{}", repeat=True)
    oauth = oauth_for(client, path, clock=clock)
    counts = []
    for wait_s in (0, 539, 1):
        clock.jump(wait_s)
        await page(oauth)
        counts.append(len(grants(client)))
    await page(oauth_for(client, path, clock=clock))

    assert counts == [1, 1, 2]
    assert len(grants(client)) == 2
    assert json.loads(path.read_text())["renew_at_s"] == ORIGIN_S + 540 + 540


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (b"<html>", "not JSON"),
        (b"[" * 9999, "not JSON"),
        (b"[]", "not a JSON object"),
        ({**GRANTED, "access_token": None}, "access_token"),
        ({**GRANTED, "access_token": ""}, "access_token"),
        ({**GRANTED, "access_token": "a\r\nX-Evil: 1"}, "access_token"),
        ({**GRANTED, "access_token": "a\n"}, "access_token"),
        ({**GRANTED, "access_token": "é"}, "access_token"),
        ({**GRANTED, "access_token": "a" * 5000}, "access_token"),
        ({**GRANTED, "token_type": "mac"}, "token_type"),
        ({**GRANTED, "token_type": None}, "token_type"),
        ({**GRANTED, "scope": "service:cxapi"}, "service:psapi"),
        ({**GRANTED, "scope": ["service:psapi"]}, "service:psapi"),
        (b" " * (BODY_BYTES_MAX + 1), "larger than"),
    ],
)
async def test_a_reply_without_a_token_for_us_is_an_outage_that_says_why(client, path, upstream, reply, why):
    upstream.post(TOKEN_URL, body=reply if isinstance(reply, bytes) else orjson.dumps(reply))
    with pytest.raises(UpstreamUnavailable, match=why) as caught:
        await page(oauth_for(client, path))

    assert caught.value.hint.endswith("ledgerd status")
    assert not path.exists()


@pytest.mark.parametrize(
    "reply",
    [
        {"token_type": "Bearer"},
        {"scope": None},
        {"scope": "service:leagues service:psapi"},
        {"expires_in": "soon"},
        {"more": [1]},
    ],
)
async def test_a_reply_may_be_said_otherwise(client, path, upstream, reply):
    upstream.post(TOKEN_URL, payload={**GRANTED, **reply})
    upstream.get(PAGE_URL, body=b"{}", repeat=True)
    oauth = oauth_for(client, path)
    statuses = [(await page(oauth)).status for _ in range(2)]

    assert statuses == [200, 200]


@pytest.mark.parametrize("status", [301, 204, 429, 500, 503])
async def test_what_passes_by_itself_is_an_outage(client, path, upstream, status):
    upstream.post(TOKEN_URL, status=status, body=orjson.dumps(GRANTED))
    with pytest.raises(UpstreamUnavailable, match=f"answered {status}"):
        await page(oauth_for(client, path))


async def test_a_4xx_that_names_no_oauth_error_is_asked_again_minutes_later_and_the_third_is_a_refusal(
    client, path, upstream
):
    upstream.post(TOKEN_URL, status=403, body=b"<html>no</html>", repeat=True)
    clock = ManualClock(ORIGIN_S)
    oauth = oauth_for(client, path, clock=clock)
    for wait_s in (60, 300):
        for _ in range(2):
            with pytest.raises(UpstreamUnavailable, match="answered 403: it is not JSON"):
                await page(oauth)
        clock.jump(wait_s + 1)
    with pytest.raises(UpstreamRefused, match="answered 403"):
        await page(oauth)

    assert len(grants(client)) == 3


async def test_what_a_proxy_refused_for_a_moment_is_had_a_minute_later(client, path, upstream):
    upstream.post(TOKEN_URL, status=404)
    upstream.post(TOKEN_URL, payload=GRANTED)
    upstream.get(PAGE_URL, body=b"{}")
    clock = ManualClock(ORIGIN_S)
    oauth = oauth_for(client, path, clock=clock)
    with pytest.raises(UpstreamUnavailable):
        await page(oauth)
    clock.jump(61)

    assert (await page(oauth)).status == 200


def hostile(rng):
    """A reply somebody made to break us: a good one spoiled in places, or bytes of any kind; perhaps packed."""
    odd = [None, True, 0, -1, 1e308, -1e308, 2**63, "", "bearer", "\x00\n", "é", "\u202e", [], {}, [[]], "x" * 9000]
    value = GRANTED | {name: rng.choice(odd) for name in rng.sample(sorted(GRANTED), rng.randrange(3))}
    value |= {"error": rng.choice(["invalid_client", *odd]), "error_description": rng.choice(odd)}
    other = orjson.dumps(rng.choice(odd)), rng.randbytes(rng.randrange(200))
    body = rng.choice([*[orjson.dumps(value)] * 4, *other])
    packed = rng.choice(["", "", "gzip", "br", "ÿ"])
    body = gzip.compress(body, mtime=0) if packed == "gzip" and rng.random() < 0.8 else body
    return rng.choice([200, 200, 200, 400, 401, 403, 429, 500, 302]), body[: rng.choice([None, None, 7])], packed


async def test_no_answer_of_the_token_endpoint_breaks_more_than_itself(client, path, upstream):
    rng, outcomes, texts = random.Random(7), set(), []
    upstream.get(PAGE_URL, body=b"{}", repeat=True)
    for _ in range(300):
        status, body, packed = hostile(rng)
        upstream.post(TOKEN_URL, status=status, body=body, headers={"Content-Encoding": packed})
        client._throttle = Throttle(100_000, 100_000)  # one that no 429 has silenced
        path.unlink(missing_ok=True)
        try:
            outcomes.add((await page(oauth_for(client, path))).status)
        except LedgerdError as error:
            outcomes.add(type(error))
            texts.append(str(error))

    assert [text for text in texts if not (text.isascii() and text.isprintable() and len(text) < 600)] == []
    assert outcomes == {200, UpstreamRefused, UpstreamUnavailable}


@pytest.mark.parametrize("kept", [b"", b"\x00\xff", b"[]", b"{", "odd", "large", "folder"])
async def test_a_file_that_cannot_be_read_is_said_once_and_granted_anew(client, path, upstream, said, kept):
    upstream.post(TOKEN_URL, payload=GRANTED, repeat=True)
    upstream.get(PAGE_URL, body=b"{}", repeat=True)
    if kept == "folder":
        path.mkdir()
    else:
        await page(oauth_for(client, path))
        whole = json.loads(path.read_text())
        spoiled = {"odd": {**whole, "access_token": "a\nb"}, "large": {**whole, "more": "x" * BODY_BYTES_MAX}}
        path.write_bytes(orjson.dumps(spoiled[kept]) if kept in spoiled else kept)
    oauth = oauth_for(client, path)
    await page(oauth)
    before = len(grants(client))
    await page(oauth)

    assert len(grants(client)) == before
    assert len([note for note in said.notes() if "is ignored" in note]) == 1


async def test_a_disk_that_takes_no_token_is_said_once_and_the_token_is_kept_in_memory(
    client, tmp_path, upstream, said
):
    river_says = answering(["tokenB2"])
    upstream.post(TOKEN_URL, payload=GRANTED)
    upstream.post(TOKEN_URL, payload={**GRANTED, "access_token": "tokenB2"})
    upstream.get(PAGE_URL, callback=river_says, repeat=True)
    oauth = oauth_for(client, tmp_path / "gone" / "token.json")
    for _ in range(3):
        await page(oauth)
    [note] = said.notes()

    assert "cannot be written" in note
    assert river_says.heard == ["tokenA1", "tokenB2", "tokenB2", "tokenB2"]


async def test_the_file_is_ours_alone_even_where_a_readable_one_was_left_behind(client, path, upstream):
    left = path.with_name("token.json.new")
    left.write_text("left")
    left.chmod(0o644)
    upstream.post(TOKEN_URL, payload=GRANTED)
    upstream.get(PAGE_URL, body=b"{}")
    await page(oauth_for(client, path))

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not left.exists()


async def echo(reader, writer):
    """An upstream that tells everything it heard: in headers, in bodies, and sometimes in what is no HTTP at all."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
    form = await reader.readexactly(length)
    heard = b"tokenA1" if b"tokenA1" in head else HIDDEN.encode()
    body = orjson.dumps({"error": "invalid_client", "error_description": f"{HIDDEN} {form.decode()}"})
    match echo.mode:
        case "grant" if form:
            echo.mode = "page"
            body = orjson.dumps(GRANTED)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        case "no HTTP":
            writer.write(b"HTTP/1.1 200 OK\r\nX %b\r\n\r\n" % heard)
        case "chunks":
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%b\r\n" % heard)
        case "cut":
            writer.write(b"HTTP/1.1 200 OK\r\nX-Limit: %b\r\n" % heard)
        case _:
            limits = b"X-Rate-Limit-Policy: %b\r\nX-Rate-Limit-Rules: %b\r\nX-Rate-Limit-%b: %b" % ((heard,) * 4)
            limits = limits.replace(b"/\xc3\xa9:", b":")  # a header's name is ASCII, and no path
            cookies = b"Set-Cookie: %b,=1" % heard  # a comma makes it an odd one
            writer.write(b"HTTP/1.1 401 No\r\n%b\r\n%b\r\nRetry-After: 1\r\nContent-Length: %d\r\n\r\n%b"
                         % (limits, cookies, len(body), body))  # fmt: skip
    await writer.drain()
    writer.close()


@pytest.mark.parametrize("first", ["grant", "refuse"])
@pytest.mark.parametrize("then", ["no HTTP", "chunks", "cut", "headers"])
async def test_no_text_of_ours_holds_a_token_or_a_secret(client, path, caplog, first, then):
    caplog.set_level(logging.DEBUG)
    texts = []
    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        echo.mode = "grant" if first == "grant" else then
        path.write_text('{"access_token": "tokenA1"')
        oauth = oauth_for(client, path, base=base, client_secret=Secret(HIDDEN))
        for _ in range(2):
            client._throttle = Throttle(100_000, 100_000)
            try:
                texts.append(repr(await page(oauth, base)))
            except LedgerdError as error:
                texts += [repr(error), str(error), error.hint]
            echo.mode = then
            texts += map(repr, (oauth, oauth._token, oauth._credentials, client._throttle.remaining()))
    texts += [repr(record) for record in client.records] + [str(record.__dict__) for record in caplog.records]
    texts += [caplog.text, repr(events.tally), repr(client)]
    found = [text for text in texts if any(word in text for word in ("tokenA1", "s3cret", "phrase"))]

    assert client.records
    assert found == []
