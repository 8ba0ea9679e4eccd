"""A ClickHouse server for tests: the native protocol in front of the embedded engine, as a process that can be killed.

``python -m tests.store.native_front --data DIR`` prints its port and then takes orders on stdin, one a line, each
answered by ``done``: they make the next queries go wrong in the ways servers do (see ``ORDERS``). Answers come from the
engine's own Native format, inserts go into it as they came, so that both directions are judged by ClickHouse itself.
A query has a session of its own: settings, ``USE`` and temporary tables do not outlive it.
"""

import argparse
import asyncio
import itertools
import json
import os
import re
import ssl
import struct
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from ledgerd.store.native import BLOCK_INFO, read_block
from ledgerd.store.rowbinary import varint
from ledgerd.store.sqltext import set_statement, string

REVISION = 54453
"""What asynch 0.4.0 speaks: the newest whose packets it knows."""
HELLO, DATA, EXCEPTION, PROGRESS, PONG, END, PROFILE, TABLE_COLUMNS, EVENTS = 0, 1, 2, 3, 4, 5, 6, 11, 14
C_HELLO, C_QUERY, C_DATA, C_CANCEL, C_PING = range(5)
THREADS = 16
ORDERS = ("well", "hang", "slow", "refuse", "garbage", "cut", "close", "deny", "late-error")
"""hang: no answer until another order. slow S: S seconds before each. refuse: new connections are closed at once.
garbage: an unknown packet. cut: half a block, then gone. close: gone when an insert's data has come. deny TEXT: queries
that hold TEXT lack a right. late-error: an insert reports progress, then fails, as servers do. well: none of these."""

_INSERT = re.compile(r"\s*INSERT\s+INTO\s+(\S+)\s*(\([^)]*\))\s*VALUES\s*", re.IGNORECASE)
_SELECTS = re.compile(r"(?:\s+|--[^\n]*\n|/\*.*?\*/)*(SELECT|WITH)\b", re.IGNORECASE | re.DOTALL)
"""Only these can be read block by block; what others answer comes whole."""
_EVENTS_SQL = (
    "SELECT 'front' AS host_name, toDateTime(0) AS current_time, toUInt64(0) AS thread_id, "
    "CAST('increment', 'Enum8(\\'increment\\' = 1, \\'gauge\\' = 2)') AS type, 'Query' AS name, toInt64(1) AS value"
)


class Gone(Exception):
    """The client is not there any more."""


class Tape:
    """What a client sends; the bytes since ``start`` are kept."""

    def __init__(self, reader):
        self._reader = reader
        self._buffer = bytearray()
        self._at = 0

    def start(self):
        del self._buffer[: self._at]
        self._at = 0

    def kept(self):
        return bytes(self._buffer[: self._at])

    async def read_bytes(self, length):
        while len(self._buffer) - self._at < length:
            try:
                data = await self._reader.read(1 << 20)
            except (ConnectionError, ssl.SSLError) as error:
                raise Gone from error
            if not data:
                raise Gone
            self._buffer += data
        self._at += length
        return bytes(memoryview(self._buffer)[self._at - length : self._at])

    async def read_varint(self):
        value = shift = 0
        while True:
            (byte,) = await self.read_bytes(1)
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    async def read_strs(self, n_items, *, as_bytes=True):
        return [await self.read_bytes(await self.read_varint()) for _ in range(n_items)]

    async def text(self):
        return (await self.read_strs(1))[0].decode()


def packed(text):
    """A text behind its length."""
    data = text if isinstance(text, bytes) else text.encode()
    return varint(len(data)) + data


class Front:
    """The engine, and what is ordered to go wrong with it."""

    def __init__(self, path, user, password):
        from chdb.session import Session

        self._session = Session
        self._path = path
        self._keeper = Session(str(path))
        self._login = (user, password)
        self._pool = ThreadPoolExecutor(THREADS)
        self._numbers = itertools.count(1)
        self.version = [int(part) for part in self._keeper.query("SELECT version()", "TSV").bytes().split(b".")[:3]]
        self.events = bytes(self._keeper.query(_EVENTS_SQL, "Native").bytes())
        self.mood, self.argument = "well", ""
        self.changed = asyncio.Event()

    async def order(self, line):
        self.mood, _, self.argument = line.strip().partition(" ")
        assert self.mood in ORDERS, line
        self.changed.set()

    async def in_thread(self, work, *args):
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *args)

    async def kill(self, marker):
        kill = f"KILL QUERY WHERE Settings['log_comment'] = {string(marker)} ASYNC"
        with suppress(RuntimeError):
            await self.in_thread(self._keeper.query, kill, "Null")

    async def serve(self, reader, writer):
        if self.mood == "refuse":
            writer.transport.abort()
            return
        try:
            await Conversation(self, Tape(reader), writer).run()
        except (Gone, ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.transport.abort()

    def judge(self, sql):
        if self.mood == "deny" and self.argument in sql:
            raise RuntimeError(
                f"Code: 497. DB::Exception: default: Not enough privileges. To execute this query, it's necessary "
                f"to have the grant {self.argument} ON poe.t. (ACCESS_DENIED)"
            )

    def lets_in(self, user, password):
        return (user, password) == self._login

    def session(self, database, settings):
        session = self._session(f"{self._path}?database={database or 'default'}")
        try:
            if settings:
                session.query(set_statement(settings))
        except BaseException:
            session.cleanup()
            raise
        return session

    def marker(self):
        return f"front-{next(self._numbers)}"


class Conversation:
    """One connection."""

    def __init__(self, front, tape, writer):
        self._front = front
        self._tape = tape
        self._writer = writer
        self._database = ""

    async def run(self):
        await self._hello()
        while True:
            match await self._tape.read_varint():
                case 4:
                    await self._send(varint(PONG))
                case 1:
                    await self._query()
                case 3:
                    pass  # it ended before it was cancelled
                case packet:
                    raise Gone(packet)

    async def _send(self, *parts):
        self._writer.write(b"".join(parts))
        await self._writer.drain()

    async def _hello(self):
        tape, front = self._tape, self._front
        assert await tape.read_varint() == C_HELLO
        await tape.text()
        for _ in range(3):
            await tape.read_varint()
        self._database, user, password = [await tape.text() for _ in range(3)]
        if front.mood == "hang":
            await self._while_hanging()
        if not front.lets_in(user, password):
            await self._fail(516, f"{user}: Authentication failed: password is incorrect, or there is no such user.")
            raise Gone
        major, minor, patch = front.version
        await self._send(
            varint(HELLO), packed("ClickHouse"), varint(major), varint(minor), varint(REVISION), packed("UTC"),
            packed("front"), varint(patch),
        )  # fmt: skip

    async def _while_hanging(self):
        while self._front.mood == "hang":
            self._front.changed.clear()
            await self._front.changed.wait()

    async def _query(self):
        self._tape.start()
        sql, settings = await self._read_query()
        await self._read_data()  # the end of the external tables
        front = self._front
        try:
            if front.mood == "hang":
                await self._while_hanging()
            if front.mood == "slow":
                await asyncio.sleep(float(front.argument))
            if front.mood == "garbage":
                await self._send(varint(99))
                raise Gone
            front.judge(sql)
            settings.setdefault("log_comment", front.marker())
            insert = _INSERT.fullmatch(sql)
            await (self._insert(insert, settings) if insert else self._answer(sql, settings))
            await self._send(varint(END))
        except RuntimeError as error:
            text = str(error)
            code = re.search(r"Code: (\d+)\. DB::", text)
            await self._fail(int(code[1]) if code else 1002, text[code.end() - len("DB::") :] if code else text)

    async def _read_query(self):
        tape = self._tape
        await tape.text()  # its id
        assert await tape.read_bytes(1) == b"\1"  # the first to ask, not another server
        for _ in range(3):
            await tape.text()
        await tape.read_bytes(8 + 1)  # its start; TCP
        for _ in range(3):
            await tape.text()
        for _ in range(3):
            await tape.read_varint()
        await tape.text()  # quota key
        await tape.read_varint()
        await tape.read_varint()
        assert await tape.read_bytes(1) == b"\0"  # no trace
        for _ in range(3):
            await tape.read_varint()
        settings = {}
        while name := await tape.text():
            assert await tape.read_bytes(1) == b"\1", "a setting that may be ignored"
            settings[name] = await tape.text()
        assert await tape.text() == ""  # no other server's secret
        assert await tape.read_varint() == 2  # complete
        assert await tape.read_varint() == 0  # not compressed
        return await tape.text(), settings

    async def _read_data(self):
        """One block's bytes without its information, and whether it has rows."""
        assert await self._tape.read_varint() == C_DATA
        assert await self._tape.text() == ""
        self._tape.start()
        columns, data = await read_block(self._tape)
        raw = self._tape.kept()
        assert raw.startswith(BLOCK_INFO)
        return raw[len(BLOCK_INFO) :], bool(columns and data)

    async def _insert(self, insert, settings):
        front, (target, names) = self._front, insert.groups()
        header = await front.in_thread(self._sample, target, names)
        await self._send(varint(TABLE_COLUMNS), packed(""), packed("columns format version: 1\n0 columns:\n"))
        await self._send(varint(DATA), packed(""), BLOCK_INFO, header)
        blocks = []
        while True:
            raw, has_rows = await self._read_data()
            if not has_rows:
                break
            blocks.append(raw)
        if front.mood == "close":
            raise Gone
        await self._watched(settings["log_comment"], self._store, target, names, blocks, settings)
        await self._progress(0, 0)
        if front.mood == "late-error":
            raise RuntimeError("Code: 395. DB::Exception: told to fail after \udcff all.")
        await self._send(varint(EVENTS), packed(""), BLOCK_INFO, front.events)

    def _sample(self, target, names):
        """The block without rows that tells a client the types."""
        session = self._front.session(self._database, {"print_pretty_type_names": 0})
        try:
            described = session.query(f"DESCRIBE (SELECT {names[1:-1]} FROM {target})", "JSONCompactEachRow").bytes()
        finally:
            session.cleanup()
        columns = [json.loads(line)[:2] for line in described.splitlines()]
        return b"".join([varint(len(columns)), varint(0), *(packed(text) for column in columns for text in column)])

    def _store(self, target, names, blocks, settings):
        memory_file = os.memfd_create("front-insert")
        session = self._front.session(self._database, settings)
        try:
            for block in blocks:
                os.write(memory_file, block) if len(block) < 1 << 30 else sys.exit("too much for a test")
            session.query(f"INSERT INTO {target} {names} FROM INFILE '/proc/self/fd/{memory_file}' FORMAT Native")
        finally:
            session.cleanup()
            os.close(memory_file)

    async def _answer(self, sql, settings):
        blocks, loop = asyncio.Queue(8), asyncio.get_running_loop()

        def put(block):
            asyncio.run_coroutine_threadsafe(blocks.put(block), loop).result()

        reading = asyncio.create_task(self._watched(settings["log_comment"], self._stream, sql, settings, put))
        try:
            while (block := await self._next_of(blocks, reading)) is not None:
                await self._progress(1, len(block))
                if self._front.mood == "cut":
                    await self._send(varint(DATA), packed(""), BLOCK_INFO, block[: len(block) // 2])
                    raise Gone
                await self._send(varint(DATA), packed(""), BLOCK_INFO, block)
        finally:
            while not reading.done():  # let its thread go
                with suppress(asyncio.QueueEmpty):
                    blocks.get_nowait()
                await asyncio.wait({reading}, timeout=0.01)
        await reading
        await self._send(varint(PROFILE), varint(1), varint(1), varint(1), b"\0", varint(0), b"\0")
        await self._send(varint(EVENTS), packed(""), BLOCK_INFO, self._front.events)

    @staticmethod
    async def _next_of(blocks, reading):
        """The next block; None when there is none to come."""
        get = asyncio.create_task(blocks.get())
        await asyncio.wait({get, reading}, return_when=asyncio.FIRST_COMPLETED)
        if get.done() or get.cancel() is False:
            return await get
        return blocks.get_nowait() if not blocks.empty() else None

    def _stream(self, sql, settings, put):
        session = self._front.session(self._database, settings)
        try:
            chunks = session.send_query(sql, "Native") if _SELECTS.match(sql) else [session.query(sql, "Native")]
            for chunk in chunks:
                if block := bytes(chunk.bytes()):
                    put(block)
        finally:
            session.cleanup()

    async def _watched(self, marker, work, *args):
        """``work`` in a thread; killed when the client asks for that or hangs up."""
        working = asyncio.create_task(self._front.in_thread(work, *args))
        watching = asyncio.create_task(self._tape.read_varint())
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not watching.done():
            watching.cancel()
            await asyncio.wait({watching})
            return await working
        is_gone = watching.exception() is not None
        while not working.done():
            await self._front.kill(marker)
            await asyncio.wait({working}, timeout=0.05)
        if is_gone:
            working.exception()
            raise Gone
        assert watching.result() == C_CANCEL
        return await working

    async def _progress(self, rows, size):
        await self._send(varint(PROGRESS), varint(rows), varint(size), varint(0), varint(0), varint(0))

    async def _fail(self, code, message):
        raw = message.encode(errors="surrogateescape")
        await self._send(
            varint(EXCEPTION),
            struct.pack("<i", code),
            packed("DB::Exception"),
            packed(raw),
            packed("0. a stack"),
            b"\0",
        )


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--user", default="default")
    parser.add_argument("--password", default="")
    parser.add_argument("--certificate", type=Path)
    options = parser.parse_args()
    context = None
    if options.certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(options.certificate)
    front, loop = Front(options.data, options.user, options.password), asyncio.get_running_loop()
    server = await asyncio.start_server(front.serve, "127.0.0.1", options.port, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)

    def take_orders():
        for line in sys.stdin:
            asyncio.run_coroutine_threadsafe(front.order(line), loop).result()
            print("done", flush=True)
        os._exit(0)  # whoever started us has gone

    threading.Thread(target=take_orders, daemon=True).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
