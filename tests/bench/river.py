"""What a page of the river costs on its way into bronze, beside the engine's own work: `python -m tests.bench.river`.

Takes a number of pages (200) of the stand-in's backlog, about 3 MB and 1,000 to 1,300 changes each, gzip level 6. They
go first through our writer alone, as in the daemon, for pace, memory, the event loop's lag and what bronze takes on
disk; then in batches of eight three ways in turn, each batch by all three, so that noise hits all, for the CPU. That is
the whole process's, user and system, all threads; merges wait meanwhile, for they cost every way the same.

ours            the writer from frozen pages to the commit row: read the spool, gunzip, insert by the door, count,
                verify, commit, retire.
engine only     one ``INSERT INTO … SELECT arrayJoin(JSONExtractArrayRaw(body, 'stashes'))`` into a table as bronze is,
                every column filled, from a RowBinary memory file of the pages, already gunzipped and written when the
                clock starts; our insert settings, but neither token nor views nor count.
plain Python    gunzip, ``json.loads``, a row a change, ``INSERT … FORMAT JSONEachRow`` into a table as bronze is; no
                token, no views, no count.

Prints; no judgement.
"""

import asyncio
import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from ledgerd.clock import SystemClock
from ledgerd.harvest.river_landing import RiverLanding
from ledgerd.spool.record import Page
from ledgerd.spool.spool import Spool, Stream
from ledgerd.spool.writer import SealRules, Writer
from ledgerd.store.embedded import EmbeddedEngine
from ledgerd.store.engine import INSERT_SETTINGS
from ledgerd.store.migrate import Migrator
from ledgerd.store.rowbinary import encode_rows
from ledgerd.supervise import Heart

BATCH_PAGES = 8
DECODED_BYTES_MAX = 32 << 20
ENGINE_BYTES_MAX = 1_500_000_000
SEED = 2026
TICK_S = 0.005
COLUMNS = (
    "realm", "league", "stash_id", "change_id", "next_change_id", "public", "account", "stash_name", "stash_type",
    "item_count", "payload", "content_hash", "batch_id", "page_seq", "retrieved_at",
)  # fmt: skip
SETTINGS = INSERT_SETTINGS | {"insert_deduplicate": 0}
TABLES = ("bronze_raw_stashes", "engine_only", "plain_python")
INPUT = (("seq", "UInt32"), ("asked", "String"), ("next", "String"), ("at", "DateTime64(3, 'UTC')"), ("body", "String"))
FIELDS = (
    "Tuple(id Nullable(String), public Nullable(Bool), accountName Nullable(String), stash Nullable(String), "
    "stashType Nullable(String), league Nullable(String))"
)
ENGINE_ONLY = f"""
INSERT INTO engine_only ({", ".join(COLUMNS)})
SELECT
    'pc', ifNull(fields.league, ''), ifNull(fields.id, ''), asked, next, ifNull(fields.public, false),
    fields.accountName, fields.stash, ifNull(fields.stashType, ''), toUInt32(JSONLength(payload, 'items')), payload,
    sipHash64(payload), {{batch:String}}, seq, at
FROM
(
    SELECT seq, asked, next, at, payload, JSONExtract(payload, '{FIELDS}') AS fields
    FROM
    (
        SELECT seq, asked, next, at, arrayJoin(JSONExtractArrayRaw(body, 'stashes')) AS payload
        FROM file({{path:String}}, 'RowBinary', {{input:String}})
    )
)
"""
ON_DISK = (
    "SELECT sum(rows), count(), sum(bytes_on_disk) FROM system.parts WHERE active AND table = 'bronze_raw_stashes'"
)
PLAIN_PYTHON = f"INSERT INTO plain_python ({', '.join(COLUMNS)}) SELECT * FROM file({{path:String}}, 'JSONEachRow')"


def make(made: str, count: int) -> None:
    """Write ``count`` pages of a seeded market's backlog, from the river's beginning: the id after each beside it."""
    from ledgerd.sim.river_source import MadeRivers
    from ledgerd.sim.timeline import parse_id

    folder = Path(made)
    river = MadeRivers(SEED, per_s=38.0, stashes=24_000, hostile_share=0.2, rates_seed=SEED).river("pc")
    page_id, now_s = None, time.time()
    for number in range(count):
        page = river.page(page_id, now_s, nonce=number)
        (folder / f"{number:05d}.id").write_text(page.next_id)
        (folder / f"{number:05d}.gz").write_bytes(gzip.compress(page.written(), 6, mtime=0))
        page_id = parse_id(page.next_id)


def frozen_pages(folder: Path, first: int) -> list[Page]:
    """The pages of one batch, as the harvester would freeze them now."""
    ids = {n: (folder / f"{n:05d}.id").read_text() for n in range(max(0, first - 1), first + BATCH_PAGES)}
    at_ms = int(time.time() * 1000)
    return [
        Page(ids.get(n - 1, ""), ids[n], at_ms, 200, "gzip", (folder / f"{n:05d}.gz").read_bytes())
        for n in range(first, first + BATCH_PAGES)
    ]


@contextmanager
def memory_file(chunks: Sequence[bytes] | Iterator[bytes]) -> Iterator[str]:
    """The path of an anonymous file that holds ``chunks``."""
    number = os.memfd_create("bench")
    try:
        with os.fdopen(number, "wb", closefd=False) as out:
            out.writelines(chunks)
        yield f"/proc/self/fd/{number}"
    finally:
        os.close(number)


class Bench:
    """One engine, one spool, and what each way has cost so far, in seconds of CPU a batch."""

    def __init__(self, engine: EmbeddedEngine, writer: Writer, stream: Stream) -> None:
        self.engine, self.writer, self.stream = engine, writer, stream
        self.cpu_s: dict[str, list[float]] = defaultdict(list)
        self.wall_s: list[float] = []
        self.lag_s: list[float] = []

    @contextmanager
    def spent(self, way: str) -> Iterator[None]:
        began_s = time.process_time()
        yield
        self.cpu_s[way].append(time.process_time() - began_s)

    async def ours(self, pages: list[Page]) -> None:
        for page in pages:
            await self.stream.freeze(page, resume=True)  # the same pages come again
        pages.clear()
        began_s = time.perf_counter()
        with self.spent("ours"):
            await self.writer.flush(Heart(SystemClock()))
        self.wall_s.append(time.perf_counter() - began_s)

    async def engine_only(self, pages: list[Page]) -> None:
        rows = [
            (n, page.asked, page.next, page.retrieved_at_ms / 1000, gzip.decompress(page.body))
            for n, page in enumerate(pages)
        ]
        with memory_file(encode_rows(INPUT, rows)) as path:
            del rows
            params = {"path": path, "input": ", ".join(map(" ".join, INPUT)), "batch": f"engine-{len(self.wall_s)}"}
            with self.spent("engine only"):
                await self.engine.execute(ENGINE_ONLY, params, settings=SETTINGS)

    async def plain_python(self, pages: list[Page]) -> None:
        with self.spent("plain Python"):
            lines = (line for n, page in enumerate(pages) for line in json_rows(page, n, f"plain-{len(self.wall_s)}"))
            with memory_file(lines) as path:
                await self.engine.execute(PLAIN_PYTHON, {"path": path}, settings=SETTINGS)

    async def alone(self, made: Path, count: int) -> None:
        """Carry every page by the writer and nothing else; print how that went."""
        async with self.watched():
            for first in range(0, count, BATCH_PAGES):
                await self.ours(frozen_pages(made, first))
        print(f"pages a second, one writer  {count / sum(self.wall_s):8.1f}")
        print(f"resident memory, most       {memory_kib('VmHWM') / 1024:8.0f} MiB  (asked: <= 800)")
        cuts = statistics.quantiles(self.lag_s, n=100)
        print(f"event loop lag, p50 / p99   {1000 * cuts[49]:8.1f} / {1000 * cuts[98]:.1f} ms  (asked: <= 50)")
        while (await self.engine.rows("SELECT count() FROM system.merges"))[0][0]:  # noqa: ASYNC110  the engine tells nobody
            await asyncio.sleep(TICK_S)
        rows, parts, disk_bytes = (await self.engine.rows(ON_DISK))[0]
        raw_bytes, gzip_bytes = sizes(made)
        print(f"a page, decoded / gzip      {raw_bytes / count / 1e6:8.2f} / {gzip_bytes / count / 1e6:.2f} MB")
        print(f"bronze on disk / decoded    {disk_bytes / raw_bytes:8.3f}      ({rows} changes in {parts} parts)")
        print(f"bronze on disk / gzip       {disk_bytes / gzip_bytes:8.2f}")

    async def in_turn(self, made: Path, count: int) -> None:
        """Carry every batch three ways; the first warms everything and is not counted."""
        for table in TABLES:
            await self.engine.execute(f"SYSTEM STOP MERGES {table}")
        ways = [self.ours, self.engine_only, self.plain_python]
        for turn, first in enumerate([0, *range(0, count, BATCH_PAGES)]):
            for way in ways[turn % 3 :] + ways[: turn % 3]:
                await way(frozen_pages(made, first))
            if turn == 0:
                self.cpu_s.clear()
        ms = {way: 1000 * sum(spent) / count for way, spent in self.cpu_s.items()}
        for way in ("ours", "engine only", "plain Python"):
            print(f"CPU a page, {way:16}{ms[way]:8.1f} ms")
        print(f"ours / engine only          {ms['ours'] / ms['engine only']:8.2f}      (asked: <= 1.6)")
        print(f"plain Python / ours         {ms['plain Python'] / ms['ours']:8.2f}      (asked: >= 2.5)")

    @asynccontextmanager
    async def watched(self):
        """Measure how late the event loop wakes who sleeps."""

        async def tick() -> None:
            while True:
                due_s = time.perf_counter() + TICK_S
                await asyncio.sleep(TICK_S)
                self.lag_s.append(max(0.0, time.perf_counter() - due_s))

        task = asyncio.create_task(tick())
        yield
        task.cancel()


def json_rows(page: Page, seq: int, batch: str) -> Iterator[bytes]:
    """A change a line, its columns as bronze has them; the hash is one Python has."""
    for stash in json.loads(gzip.decompress(page.body))["stashes"]:
        payload = json.dumps(stash, ensure_ascii=False, separators=(",", ":"))
        values = (
            "pc", stash.get("league") or "", stash["id"], page.asked, page.next, stash["public"],
            stash.get("accountName"), stash.get("stash"), stash.get("stashType") or "", len(stash.get("items", ())),
            payload, zlib.crc32(payload.encode()), batch, seq, page.retrieved_at_ms / 1000,
        )  # fmt: skip
        yield json.dumps(dict(zip(COLUMNS, values, strict=True)), ensure_ascii=False).encode() + b"\n"


def sizes(made: Path) -> tuple[int, int]:
    """Bytes of all pages, decoded and gzip."""
    pages = [path.read_bytes() for path in made.glob("*.gz")]
    return sum(len(gzip.decompress(page)) for page in pages), sum(map(len, pages))


def memory_kib(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name + ":")).split()[1])


@asynccontextmanager
async def opened(folder: Path):
    """A bench on an empty store and an empty spool."""
    clock = SystemClock()
    engine = EmbeddedEngine(folder / "store", database="bench", memory_bytes_max=ENGINE_BYTES_MAX)
    spool = Spool(folder / "spool", bytes_max=1 << 30, retain_s=0, clock=clock)
    spool.open()
    await engine.open()
    await Migrator(engine, clock).apply()
    for table in TABLES[1:]:
        await engine.execute(f"CREATE TABLE {table} AS bronze_raw_stashes")
    stream = spool.stream("river-pc")
    landing = RiverLanding(stream.name, "pc", lambda _: ("*",), DECODED_BYTES_MAX)
    writer = Writer(stream, landing, engine, rules=SealRules(BATCH_PAGES, 1 << 30, 1), clock=clock)
    yield Bench(engine, writer, stream)
    await engine.close()
    spool.close()


async def main(folder: Path, made: Path, count: int) -> None:
    async with opened(folder) as bench:
        await bench.alone(made, count)
        await bench.in_turn(made, count)


if __name__ == "__main__":
    batches = -(-int(sys.argv[1] if len(sys.argv) > 1 else 200) // BATCH_PAGES)
    with tempfile.TemporaryDirectory(prefix="river-") as name:
        pages = Path(name) / "pages"
        pages.mkdir()
        making = f"from tests.bench.river import make; make({str(pages)!r}, {batches * BATCH_PAGES})"
        subprocess.run([sys.executable, "-c", making], check=True)  # its memory is not ours
        asyncio.run(main(Path(name), pages, batches * BATCH_PAGES))
