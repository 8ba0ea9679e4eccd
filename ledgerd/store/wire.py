# mypy: allow-untyped-calls
"""One TCP connection to a ClickHouse server, and a few of them to share.

The connection is asynch's: hello, packets, settings, TLS, timeouts. Four things are ours, each for a fault of asynch
0.4.0: blocks (``native``: its codecs lose a dictionary inside a tuple), the end of an insert (it reads one packet and
takes that for the answer, whatever comes next), exceptions (one that quotes bytes that are not UTF-8 would look like a
broken connection and be tried for ever), and hanging up (it waits until a peer that no longer reads has read all). The
pool is ours, too: asynch's connects and pings under one lock, so that one connection that hangs stops all.
"""

import asyncio
import logging
import struct
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from asynch.errors import ClickHouseException, OperationalError, ServerException
from asynch.proto.block import ColumnOrientedBlock, RowOrientedBlock
from asynch.proto.connection import Connection
from asynch.proto.protocol import ClientPacket

from ledgerd.store.faults import refused
from ledgerd.store.native import encode_block, read_block

CHUNK_BYTES = 1 << 20
"""Sent before the server is waited for."""

BROKEN = (ClickHouseException, OSError, EOFError, LookupError, ValueError, TypeError, AttributeError, struct.error,
          RuntimeError)  # fmt: skip
"""What asynch raises when the other side hangs up, or says what no server says."""

logging.getLogger("asynch").setLevel(logging.ERROR)  # it warns at every try; an outage is one line of ours


class Wire(Connection):
    """A connection that connects when it is first asked, and again when its peer was lost."""

    reader: Any
    writer: Any
    connected: bool | None
    server_info: Any

    def get_block_reader(self) -> "_BlockReader":
        """What reads the blocks of an answer."""
        return _BlockReader(self.reader)

    async def query(self, sql: str, rows: Sequence[Sequence[Any]] | None, settings: Mapping[str, Any]) -> list[Any]:
        """The rows of an answer; ``rows`` are inserted. ServerException, QueryRefused, TimeoutError or BROKEN."""
        answer = await self.execute(sql, None if rows is None else [rows], settings=dict(settings))
        return answer if rows is None else []

    async def process_insert_query(  # type: ignore[override]  # asynch gives the rest by name
        self,
        query_without_data: str,
        data: Any,  # noqa: ANN401 -- rows, in a list of their own
        **_options: object,
    ) -> None:
        """Send the rows as one block of the types the server names, and read to the end of its answer."""
        await self.send_query(query_without_data)
        await self.send_external_tables(None)
        sample = await self.receive_sample_block()
        try:
            block = await asyncio.to_thread(encode_block, sample.columns_with_types, data[0])
        except ValueError as error:  # nothing is sent yet: hanging up now inserts nothing
            raise refused(str(error)) from error
        await self.writer.write_varint(ClientPacket.DATA)
        await self.writer.write_str("")
        for start in range(0, len(block), CHUNK_BYTES):
            await self.writer.write_bytes(memoryview(block)[start : start + CHUNK_BYTES])
        await self.send_block(RowOrientedBlock())
        packets: Any = self.packet_generator()
        async for _ in packets:
            pass

    async def read_exception(self, additional_message: str | None = None) -> ServerException:
        """The server's error, its texts decoded whatever they hold."""
        code = await self.reader.read_int32()
        _name, message, _trace = [raw.decode(errors="replace") for raw in await self.reader.read_strs(3, as_bytes=True)]
        nested = await self.read_exception() if await self.reader.read_uint8() else None
        return ServerException(message.removeprefix("DB::Exception: "), code, nested=nested)

    async def disconnect(self) -> None:
        """Hang up at once."""
        if self.connected:
            self.writer.writer.transport.abort()
        self.reset_state()


class _BlockReader:
    """``native.read_block`` in the place of asynch's reader."""

    def __init__(self, reader: Any) -> None:  # noqa: ANN401 -- asynch's BufferedReader
        self._reader = reader

    async def read(self) -> ColumnOrientedBlock:
        try:
            columns, data = await read_block(self)
        except (ValueError, OverflowError) as error:
            raise refused(str(error)) from error
        return ColumnOrientedBlock(columns_with_types=columns, data=data)

    async def read_varint(self) -> int:
        return int(await self._reader.read_varint())

    async def read_bytes(self, length: int) -> bytes:
        data = bytes(await self._reader.read_bytes(length))
        if len(data) != length:
            raise OperationalError("The answer ends inside a block.")
        return data

    async def read_strs(self, n_items: int, *, as_bytes: bool) -> list[bytes]:
        return list(await self._reader.read_strs(n_items, as_bytes=as_bytes))


class Pool:
    """At most ``size`` connections, each made when it is needed and kept while it is well."""

    __slots__ = ("_connect", "_free", "_idle")

    def __init__(self, size: int, connect: Callable[[], Wire]) -> None:
        """``connect`` makes a connection; it is opened when it is first asked."""
        self._connect = connect
        self._free = asyncio.Semaphore(size)
        self._idle: list[Wire] = []

    @asynccontextmanager
    async def wire(self) -> AsyncIterator[Wire]:
        """A connection of one's own. It is hung up after every error that is not the server's."""
        async with self._free:
            wire = self._idle.pop() if self._idle else self._connect()
            is_well = False
            try:
                yield wire
                is_well = True
            except ServerException:
                is_well = True
                raise
            finally:
                if is_well and wire.connected:
                    self._idle.append(wire)
                else:
                    await wire.disconnect()

    async def close(self) -> None:
        """Hang up what is idle."""
        while self._idle:
            await self._idle.pop().disconnect()
