"""A price as it goes over the wire: the answer we write by hand is one that any client of HTTP understands."""

import asyncio
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import parse_headers
from io import BytesIO

import orjson
import pytest

PATHS = ("/v1/pc/Mirage/currency/divine", "/v1/pc/Mirage/items/unique%7CHeadhunter%7Cbase=Leather%20Belt")
FIXED = {
    "X-Content-Type-Options": "nosniff",
    "Server": "ledgerd",
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "*",
    "Content-Type": "application/json",
    "Cache-Control": "public, max-age=5",
}


async def said(client, text, until_closed=False):
    """What the server writes to one connection after ``text``, up to the body's end or its close."""
    reader, writer = await asyncio.open_connection(client.host, client.port)
    try:
        writer.write(text.encode())
        if until_closed:
            return await asyncio.wait_for(reader.read(), 30)
        head = await reader.readuntil(b"\r\n\r\n")
        return head + await reader.readexactly(int(split(head)[1]["Content-Length"]))
    finally:
        writer.close()
        await writer.wait_closed()


def split(answer):
    """The status line, the headers and the body."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status, _, fields = head.partition(b"\r\n")
    return status.decode(), parse_headers(BytesIO(fields + b"\r\n\r\n")), body


@pytest.mark.parametrize("path", PATHS)
async def test_it_has_every_header_once_and_a_body_of_the_length_it_tells(client, path):
    status, headers, body = split(await said(client, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))

    assert status == "HTTP/1.1 200 OK"
    assert sorted(headers) == sorted([*FIXED, "ETag", "Content-Length", "Date"])
    assert {name: headers[name] for name in FIXED} == FIXED
    assert orjson.loads(body)["realm"] == "pc"
    assert abs(datetime.now(UTC) - parsedate_to_datetime(headers["Date"])).total_seconds() < 60


@pytest.mark.parametrize(
    ("version", "asks", "told"),
    [
        ("1.1", "", None),
        ("1.1", "Connection: close\r\n", "close"),
        ("1.0", "", "close"),
        ("1.0", "Connection: keep-alive\r\n", "keep-alive"),
    ],
)
async def test_the_connection_stays_open_for_who_wants_it(client, version, asks, told):
    request = f"GET {PATHS[0]} HTTP/{version}\r\nHost: x\r\n{asks}\r\n"
    last = f"GET {PATHS[0]} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" if told != "close" else ""
    answers = (await said(client, request + last, until_closed=True)).split(b"HTTP/1.1 200 OK\r\n")[1:]
    _, headers, _ = split(b"HTTP/1.1 200 OK\r\n" + answers[0])

    assert headers["Connection"] == told
    assert len(answers) == (2 if last else 1)


async def test_head_gets_the_headers_of_get_and_no_body(client):
    last = "Connection: close\r\n\r\n"
    got = split(await said(client, f"GET {PATHS[1]} HTTP/1.1\r\nHost: x\r\n{last}", until_closed=True))
    asked = split(await said(client, f"HEAD {PATHS[1]} HTTP/1.1\r\nHost: x\r\n{last}", until_closed=True))

    assert asked[0] == got[0]
    assert {**asked[1], "Date": ""} == {**got[1], "Date": ""}
    assert (len(got[2]), asked[2]) == (int(got[1]["Content-Length"]), b"")


async def test_requests_sent_before_an_answer_is_read_are_answered_in_their_order(client):
    paths = [PATHS[number % 2] for number in range(200)]
    requests = "".join(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n" for path in paths)
    last = f"GET {PATHS[0]} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answers = (await said(client, requests + last, until_closed=True)).split(b"HTTP/1.1 200 OK\r\n")[1:]

    kinds = ["item" in orjson.loads(answer.partition(b"\r\n\r\n")[2]) for answer in answers]
    assert kinds == [path == PATHS[1] for path in paths] + [False]


@pytest.mark.parametrize("path", [PATHS[0], "/v1/realms", "/healthz", "/nowhere"])
async def test_who_expects_to_be_told_to_go_on_is_and_anything_else_is_refused_unrepeated(client, path):
    request = f"GET {path} HTTP/{{}}\r\nHost: x\r\nExpect: {{}}\r\nConnection: close\r\n\r\n"
    told = await said(client, request.format("1.1", "100-Continue"), until_closed=True)
    status, headers, body = split(await said(client, request.format("1.1", "secret"), until_closed=True))

    assert told.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 ")
    assert status.split()[1] == "417"
    assert (headers["Server"], headers["X-Content-Type-Options"]) == ("ledgerd", "nosniff")
    assert headers["Access-Control-Allow-Origin"] == ("*" if path.startswith("/v1") else None)
    assert orjson.loads(body)["type"] == "urn:ledgerd:http-error"
    assert b"secret" not in body


@pytest.mark.parametrize("expected", ["100-continue", "more"])
async def test_a_client_too_old_to_expect_anything_just_gets_its_answer(client, expected):
    request = f"GET {PATHS[0]} HTTP/1.0\r\nHost: x\r\nExpect: {expected}\r\n\r\n"
    status, _, body = split(await said(client, request, until_closed=True))

    assert status.split()[1] == "200"
    assert orjson.loads(body)["realm"] == "pc"


@pytest.mark.parametrize("path", [*PATHS, "/v1/pc/Mirage/prices"])
async def test_a_copy_is_known_by_its_tag_weak_or_strong_among_others_on_any_line(client, path):
    tag = (await client.get(path)).headers["ETag"]
    strong = tag.removeprefix("W/")
    for known in ([tag], [strong], [f'"a", {tag}'], ['W/"a"', tag], ["*"]):
        lines = "".join(f"If-None-Match: {each}\r\n" for each in known)
        answer = await said(
            client, f"GET {path} HTTP/1.1\r\nHost: x\r\n{lines}Connection: close\r\n\r\n", until_closed=True
        )
        assert answer.startswith(b"HTTP/1.1 304 "), known
