"""What a price look-up costs beside an empty handler, while the river is eaten: `python -m tests.bench.lookup`.

The server is a process of its own, on uvloop, as the daemon is: the real application over a ledger of 5,000 items and
500 currencies, a bare aiohttp application with an empty handler on a port beside it, the embedded engine, writer and
ETL. The load comes from here, by plain sockets, a few requests under way at any time, all cases in turn in rounds so
short that noise hits them alike. Pace, p50 and p99 are those of all rounds together, `best` is the best round's pace;
`loop µs` is what the thread of the server's loop was on a CPU for, a request: noise has no part in it, ingest has.

quiet           nothing else happens.
under ingest    pages of the stand-in's backlog, frozen before, are written to bronze and refined through gold as fast
                as the engine takes them. Prints how many were, and whether any were left.
bulk            a whole league, over one connection, quiet: first byte, total, bytes; the same again, kept by then.

Prints; no judgement. `python -m tests.bench.lookup serve FOLDER` is the server alone.
"""

import asyncio
import gc
import json
import random
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from urllib.parse import quote

import uvloop
from aiohttp import web

from ledgerd import logs
from ledgerd.chaos_scale.reference import shipped
from ledgerd.clock import UPSTREAM_DELAY_S, SystemClock, hour_of
from ledgerd.config import Freshness
from ledgerd.etl.runner import Runner, load_steps
from ledgerd.harvest.river_landing import RiverLanding
from ledgerd.ledger.ledger import Ledger
from ledgerd.spool.record import Page
from ledgerd.spool.spool import Spool
from ledgerd.spool.writer import SealRules, Writer
from ledgerd.store.embedded import EmbeddedEngine
from ledgerd.store.migrate import Migrator
from ledgerd.store.queries import load_queries
from ledgerd.supervise import Heart, Stop
from ledgerd.web.app import create_app
from ledgerd.web.deps import Deps
from ledgerd.web.unreadable import ServerLog, count_unreadable
from tests.prices import CHAOS, DIVINE, EXALTED, STATUS
from tests.store.market import currency

ITEMS, CURRENCIES = 5_000, 500
KEYS = 500
"""So many of the items are asked for, one after another."""
PAGES, TIMES = 100, 8
"""So many pages are made, and frozen so many times one after another."""
BATCH_PAGES = 8
DATA_S = 2.0
"""Between two pages, in data time."""
CONNECTIONS = 8
ROUNDS, OTHER_ROUNDS, ROUND_S = 99, 11, 0.12
BULK_ROUNDS = 3
LAST_CHUNK = b"0\r\n\r\n"
KEPT_S = 5.1
"""When a bulk answer is made anew."""
PRICES = """
INSERT INTO gold_item_prices
(
    realm, league, hour, item_key, category, name, chaos_value, divine_value, low, high, listings, units, sellers,
    rests_on_sellers, confidence, likely_sales_24h, sparkline, last_seen, judged_until, rate_hour, batch_id, as_of
)
WITH sipHash64(number) AS h, exp(h % 100 / 12) AS chaos, concat('Name', hex(number), ' of ', hex(h % 999)) AS named
SELECT
    'pc', 'Mirage', {hour:UInt32}, concat('unique|', named, '|base=Leather Belt|links=6'), 'unique', named, chaos,
    chaos / 150, chaos * 0.9, chaos * 1.1, h % 200, h % 400, h % 150, h % 100, 0.93, h % 40,
    arrayMap(n -> toFloat32(chaos * (1 + n / 1000)), range(28)), {hour:UInt32}, {hour:UInt32}, {hour:UInt32} - 3600,
    'river-pc-0000001234', {now:DateTime64(3, 'UTC')}
FROM numbers({items:UInt32})
"""
LIQUIDITY = """
INSERT INTO gold_liquidity
SELECT
    realm, league, hour, 'item', item_key, 1.5 * listings, 3, units, listings, 0.2, 0.25, 86400.5, 0.9, rate_hour,
    batch_id, as_of
FROM gold_item_prices
"""
BULK = ("/v1/pc/Mirage/prices", "/v1/pc/Mirage/items?limit=50000")


async def empty(_request):
    return web.Response()


class Server:
    """The ledger, its applications, and pages that wait until they are let in."""

    def __init__(self, folder):
        self.folder, self.clock, self.stop = folder, SystemClock(), Stop()
        self.engine = EmbeddedEngine(folder / "store", database="poe", memory_bytes_max=3_000_000_000)
        self.spool = Spool(folder / "spool", bytes_max=4 << 30, retain_s=0, clock=self.clock)
        self.reference = shipped()
        self.ledger = Ledger(self.engine, self.reference, load_queries())
        self.moved = asyncio.Event()
        self.eaten = {"pages": 0, "rows": 0, "gold": 0, "waiting": 0}
        self.tasks = []

    async def fill(self):
        """A league of made prices, up to now."""
        await self.engine.open()
        await Migrator(self.engine, self.clock).apply()
        hour = hour_of(self.clock.now())
        for sql in (PRICES, LIQUIDITY):
            now = datetime.fromtimestamp(self.clock.now() + UPSTREAM_DELAY_S, UTC)
            await self.engine.execute(sql, {"hour": hour, "now": now, "items": ITEMS})
        others = [f"Metadata/Items/Currency/Other{number}" for number in range(CURRENCIES - 3)]
        rows = [
            {**currency(thing, 0, chaos), "hour": hour - 3600, "retrieved_at": hour, "value_traded_24h": 1000.0 * chaos}
            for thing, chaos in [(DIVINE, 150.0), (CHAOS, 1.0), (EXALTED, 12.5), *((one, 3.0) for one in others)]
        ]
        await self.engine.insert(
            "gold_currency_snapshot", list(rows[0]), [tuple(row.values()) for row in rows], token="bench"
        )
        await self.ledger.reload("pc")

    async def freeze(self, made):
        """Put the pages in the spool, sealed, with a writer and a runner for them."""
        self.spool.open()
        stream = self.spool.stream("river-pc")
        landing = RiverLanding(stream.name, "pc", lambda _: ("*",), 32 << 20)
        rules = SealRules(BATCH_PAGES, 1 << 30, 1)
        self.writer = Writer(stream, landing, self.engine, rules=rules, clock=self.clock, on_commit=self.committed)
        self.etl = Runner(
            self.engine, load_steps(), self.reference, self.clock, rng=random.Random(1), on_gold=self.on_gold
        )
        bodies = [path.read_bytes() for path in sorted(made.glob("*.gz"))]
        total = len(bodies) * TIMES
        first_s = self.clock.now() - DATA_S * total
        for n in range(total):
            at_ms = int((first_s + DATA_S * n) * 1000)
            page = Page(str(n), str(n + 1), at_ms, 200, "gzip", bodies[n % len(bodies)])
            await stream.freeze(page, durable=False)
            await self.writer.frozen()
        self.eaten["waiting"] = total

    def committed(self, done):
        self.eaten["pages"] += done.batch.pages
        self.eaten["waiting"] -= done.batch.pages
        self.eaten["rows"] += done.rows
        self.etl.notify()

    def on_gold(self, _source, _realm, _leagues):
        self.eaten["gold"] += 1
        self.moved.set()

    async def follow_gold(self):
        while True:
            await self.moved.wait()
            self.moved.clear()
            await self.ledger.reload("pc")

    async def eat(self, _request):
        """Let the pages in."""
        for work in (self.writer.run, self.etl.run):
            self.tasks.append(asyncio.create_task(work(self.stop, Heart(self.clock))))
        self.tasks.append(asyncio.create_task(self.follow_gold()))
        return web.Response()

    async def tell(self, _request):
        failed = [repr(task.exception()) for task in self.tasks if task.done()]
        errors = [status.last_error for status in self.etl.status() if status.last_error]
        return web.json_response({**self.eaten, "errors": failed + errors})

    async def serve(self):
        """The ports of the bare application and of the real one, and some keys, as a line on stdout; then for ever."""
        count_unreadable(asyncio.get_running_loop())
        bare = web.Application()
        bare.router.add_get("/", empty)
        bare.router.add_post("/eat", self.eat)
        bare.router.add_get("/eaten", self.tell)
        real = create_app(
            Deps(self.ledger, self.engine, load_queries(), lambda: STATUS, self.clock, lambda: freshness, "0.1.0")
        )
        freshness = Freshness()
        ports = []
        for app in (bare, real):
            runner = web.AppRunner(app, logger=ServerLog(), handler_cancellation=True)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            ports.append(runner.addresses[0][1])
        gc.freeze()  # as the daemon does
        keys = self.ledger.items("pc", "Mirage").columns.key
        print(json.dumps([*ports, keys[:: ITEMS // KEYS]]), flush=True)
        await asyncio.Event().wait()


async def serve(folder):
    logs.configure("warning", "text")
    server = Server(folder)
    await server.fill()
    await server.freeze(folder / "pages")
    await server.serve()


def asked(path, headers=""):
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\n{headers}\r\n".encode()


class Client:
    """One connection, at most one request under way."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.left, self.sent_s = 0, 0.0

    def send(self, request):
        self.sent_s = time.perf_counter()
        self.socket.send(request)

    def read(self):
        """Take what has come; True if that was the last of the answer."""
        data = self.socket.recv(1 << 20)
        self.left = left(data) if self.left == 0 else 0 if data.endswith(LAST_CHUNK) else self.left - len(data)
        return self.left == 0


class Case:
    """What is asked, and what came of it: requests a second of each round, and ms of each request."""

    def __init__(self, server, name, port, *requests, rounds=OTHER_ROUNDS):
        self.server, self.name, self.rounds = server, name, rounds
        self.requests = cycle(requests)
        self.clients = {client.socket.fileno(): client for client in (Client(port) for _ in range(CONNECTIONS))}
        self.poll = select.epoll()
        for number in self.clients:
            self.poll.register(number, select.EPOLLIN)
        self.paces, self.took_ms, self.spent_s, self.loop_us = [], [], 0.0, 0.0

    def load(self):
        """One round: every client asks again once it has its answer, until the time is over."""
        before_us = loop_us(self.server)
        began_s = now_s = time.perf_counter()
        for client in self.clients.values():
            client.send(next(self.requests))
        busy, done = len(self.clients), len(self.took_ms)
        while busy:
            for number, _ in self.poll.poll(10):
                client = self.clients[number]
                if client.read():
                    now_s = time.perf_counter()
                    self.took_ms.append((now_s - client.sent_s) * 1000)
                    if now_s < began_s + ROUND_S:
                        client.send(next(self.requests))
                    else:
                        busy -= 1
        self.spent_s += now_s - began_s
        self.loop_us += loop_us(self.server) - before_us
        self.paces.append((len(self.took_ms) - done) / (now_s - began_s))

    @property
    def pace(self):
        return len(self.took_ms) / self.spent_s

    @property
    def cuts_ms(self):
        """p50 and p99."""
        cuts = statistics.quantiles(self.took_ms, n=100)
        return cuts[49], cuts[98]


def loop_us(server):
    """How long the first thread of a process, which has the loop, has been on a CPU."""
    return int(Path(f"/proc/{server}/task/{server}/schedstat").read_text().split()[0]) / 1000


def left(data):
    """How many bytes of an answer are still to come once ``data`` has, below 0 of one in chunks; its head is whole."""
    head, found, body = data.partition(b"\r\n\r\n")
    assert found, data
    assert not head.startswith(b"HTTP/1.1 5"), head
    _, has_length, rest = head.partition(b"Content-Length: ")
    if has_length:
        return int(rest.partition(b"\r\n")[0]) - len(body)
    return -1 if b"Transfer-Encoding" in head and not body.endswith(LAST_CHUNK) else 0


def fetch(port, request):
    """First byte and all of it in ms, the status and header lines, and the bytes of the body as they came."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        began_s = time.perf_counter()
        client.send(request)
        data = client.recv(1 << 20)
        first_ms = (time.perf_counter() - began_s) * 1000
        head, _, body = data.partition(b"\r\n\r\n")
        chunks, size = [body], len(body)
        _, has_length, rest = head.partition(b"Content-Length: ")
        is_whole = head.startswith(b"HTTP/1.1 304")
        length = int(rest.partition(b"\r\n")[0]) if has_length else 0 if is_whole else None
        while size < length if length is not None else not b"".join(chunks[-2:]).endswith(LAST_CHUNK):
            chunks.append(client.recv(1 << 20))
            size += len(chunks[-1])
        return first_ms, (time.perf_counter() - began_s) * 1000, head, size


def cases(server, bare, real, keys):
    def of(name, *paths, rounds=OTHER_ROUNDS, headers=""):
        return Case(server, name, real, *(asked(path, headers) for path in paths), rounds=rounds)

    _, _, head, _ = fetch(real, asked("/v1/pc/Mirage/currency"))
    etag = next(line.split(b": ")[1].decode() for line in head.split(b"\r\n") if line.startswith(b"ETag"))
    return [
        Case(server, "empty handler", bare, asked("/"), rounds=ROUNDS),
        of("one currency by tag", "/v1/pc/Mirage/currency/divine", rounds=ROUNDS),
        of("one item by key", *(f"/v1/pc/Mirage/items/{quote(key, safe='')}" for key in keys), rounds=ROUNDS),
        of("one currency by id", f"/v1/pc/Mirage/currency/{DIVINE}"),
        of("misspelt currency, 404", "/v1/pc/Mirage/currency/divin"),
        of(f"{CURRENCIES} currencies", "/v1/pc/Mirage/currency"),
        of(f"{CURRENCIES} currencies, 304", "/v1/pc/Mirage/currency", headers=f"If-None-Match: {etag}\r\n"),
        of("status", "/status"),
        of("healthz", "/healthz"),
    ]


def measure(what, found):
    """Load every case in turn, each of the main ones first as often as the others, and print a line of each."""
    main = [case for case in found if case.rounds == ROUNDS]
    others = [case for case in found if case.rounds != ROUNDS]
    for turn in range(ROUNDS):
        first = turn % len(main)
        for case in [*main[first:], *main[:first], *(others if turn % (ROUNDS // OTHER_ROUNDS) == 0 else [])]:
            case.load()
    plain = found[0]
    numbers = ("requests/s", "ratio", "best", "ratio", "p50 ms", "p99 ms", "more p99", "loop µs")
    print(f"\n{what:24}{''.join(f'{name:>11}' for name in numbers)}")
    for case in found:
        (p50, p99), best, more = case.cuts_ms, max(case.paces), case.cuts_ms[1] - plain.cuts_ms[1]
        paces = f"{case.pace:11.0f}{case.pace / plain.pace:11.2f}{best:11.0f}{best / max(plain.paces):11.2f}"
        print(f"{case.name:24}{paces}{p50:11.2f}{p99:11.2f}{more:11.2f}{case.loop_us / len(case.took_ms):11.1f}")


def bulk(real):
    """A whole league, each way it is packed."""
    names = ("first byte", "total ms", "kept: first", "total ms", "bytes")
    print(f"\n{'bulk':44}{''.join(f'{name:>12}' for name in names)}")
    for path in BULK:
        for encoding in ("identity", "gzip", "zstd"):
            request = asked(path, f"Accept-Encoding: {encoding}\r\n")
            seen = []
            for turn in range(BULK_ROUNDS):
                time.sleep(KEPT_S if turn else 0)
                seen.append((fetch(real, request), fetch(real, request)))
            made, again = ([min(each[n][at] for each in seen) for at in (0, 1)] for n in (0, 1))
            size = seen[-1][1][3]
            times = "".join(f"{ms:12.1f}" for ms in (*made, *again))
            print(f"{path + ' ' + encoding:44}{times}{size:12}", flush=True)
        _, _, head, _ = fetch(real, asked(path))
        etag = next(line.split(b": ")[1].decode() for line in head.split(b"\r\n") if line.startswith(b"ETag"))
        times = []
        for _ in range(300):
            first_ms, _, head, _ = fetch(real, asked(path, f"If-None-Match: {etag}\r\n"))
            assert head.startswith(b"HTTP/1.1 304"), head
            times.append(first_ms)
        print(
            f"{path + ' 304':44}{statistics.median(times):9.2f} ms, with the way there and back (asked: <= 1)",
            flush=True,
        )


def main():
    with tempfile.TemporaryDirectory(prefix="lookup-") as name:
        pages = Path(name) / "pages"
        pages.mkdir()
        subprocess.run(
            [sys.executable, "-c", f"from tests.bench.river import make; make({str(pages)!r}, {PAGES})"], check=True
        )
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.lookup", "serve", name], stdout=subprocess.PIPE, text=True
        )
        try:
            bare, real, keys = json.loads(server.stdout.readline())
            measure("quiet", cases(server.pid, bare, real, keys))
            bulk(real)
            url = f"http://127.0.0.1:{bare}"
            urllib.request.urlopen(f"{url}/eat", b"").close()
            time.sleep(2)
            began_s = time.perf_counter()
            measure("under ingest", cases(server.pid, bare, real, keys))
            took_s = time.perf_counter() - began_s
            eaten = json.load(urllib.request.urlopen(f"{url}/eaten"))
            print(f"\neaten in {took_s:.0f} s: {eaten}")
        finally:
            server.kill()
            server.wait()


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        uvloop.run(serve(Path(sys.argv[2])))
    else:
        main()
