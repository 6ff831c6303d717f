"""A MySQL client for the memory engine's tests: every packet as it came, status flags included."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aioaurora.simulator.memory import MemoryEngine

IN_TRANS, AUTOCOMMIT, MORE = 0x1, 0x2, 0x8
LARGEST = 0xFFFFFF


class Refused(Exception):
    """An ERR packet."""

    def __init__(self, packet: bytes) -> None:
        self.errno, self.sentence = struct.unpack_from("<H", packet, 1)[0], packet[9:].decode()
        super().__init__(self.errno, self.sentence)


@dataclass(frozen=True, slots=True)
class Result:
    """One result: rows as text, or counts; the status of its last packet."""

    rows: list[tuple[str | None, ...]]
    status: int
    affected: int = 0
    insert_id: int = 0

    @property
    def in_transaction(self) -> bool:
        """Whether the server says that a transaction is open."""
        return bool(self.status & IN_TRANS)


class Client:
    """One connection, logged in."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection_id: int) -> None:
        self.reader, self.writer, self.id = reader, writer, connection_id

    async def run(self, sql: str) -> Result:
        """Run one statement."""
        return (await self.run_all(sql))[-1]

    async def rows(self, sql: str) -> list[tuple[str | None, ...]]:
        """Run one statement for its rows."""
        return (await self.run(sql)).rows

    async def value(self, sql: str) -> str | None:
        """Run one statement for its only value."""
        return (await self.rows(sql))[0][0]

    async def run_all(self, sql: str) -> list[Result]:
        """Run a text of several statements."""
        self.send(3, sql.encode())
        results = [await self.result()]
        while results[-1].status & MORE:
            results.append(await self.result())
        return results

    async def command(self, code: int, argument: bytes = b"") -> Result:
        """Send another command than a query."""
        self.send(code, argument)
        return await self.result()

    def send(self, code: int, argument: bytes) -> None:
        """Send a command and wait for nothing."""
        payload = bytes([code]) + argument
        self.writer.write(len(payload).to_bytes(3, "little") + b"\0" + payload)

    async def result(self) -> Result:
        """Read one result."""
        packet = await self.packet()
        if packet[0] == 0:
            affected, at = _number(packet, 1)
            insert_id, at = _number(packet, at)
            return Result([], struct.unpack_from("<H", packet, at)[0], affected or 0, insert_id or 0)
        for _ in range(packet[0] + 1):
            await self.packet()
        rows = []
        while not ((packet := await self.packet())[0] == 0xFE and len(packet) < 9):
            rows.append(_texts(packet))
        return Result(rows, struct.unpack_from("<H", packet, 3)[0])

    async def packet(self) -> bytes:
        """Read one packet; raises Refused for an ERR."""
        head = await self.reader.readexactly(4)
        size = int.from_bytes(head[:3], "little")
        packet = await self.reader.readexactly(size)
        while size == LARGEST:
            size = int.from_bytes((await self.reader.readexactly(4))[:3], "little")
            packet += await self.reader.readexactly(size)
        if packet[:1] == b"\xff":
            raise Refused(packet)
        return packet

    async def gone(self) -> bool:
        """Wait until the server closes the connection."""
        return await self.reader.read() == b""

    async def close(self) -> None:
        """Close the socket without a word."""
        self.writer.close()
        await self.writer.wait_closed()


async def connected(
    engine: MemoryEngine, *, user: str = "root", database: str = "", flags: int = 0, collation: int = 45
) -> Client:
    """A client that is logged in."""
    reader, writer = await asyncio.open_unix_connection(sock=await engine.open())
    client = Client(reader, writer, 0)
    greeting = await client.packet()
    client.id = struct.unpack_from("<I", greeting, greeting.index(0, 1) + 1)[0]
    capabilities = 0x1 | 0x200 | 0x8000 | 0x10000 | 0x80000 | flags | (0x8 if database else 0)
    tail = database.encode() + b"\0" if database else b""
    payload = struct.pack("<IIB23x", capabilities, 1 << 24, collation) + user.encode() + b"\0\0" + tail
    writer.write(len(payload).to_bytes(3, "little") + b"\1" + payload)
    try:
        await client.packet()
    except Refused:
        await client.close()
        raise
    return client


@contextlib.asynccontextmanager
async def clients(engine: MemoryEngine, count: int = 1) -> AsyncIterator[list[Client]]:
    """Clients of a running engine; all end with the block."""
    made = [await connected(engine) for _ in range(count)]
    try:
        yield made
    finally:
        for client in made:
            await client.close()
        await engine.stop()


def _number(packet: bytes, at: int) -> tuple[int | None, int]:
    size = {0xFC: 2, 0xFD: 3, 0xFE: 8}.get(packet[at], 0)
    if packet[at] == 0xFB:
        return None, at + 1
    return int.from_bytes(packet[at + 1 : at + 1 + size], "little") if size else packet[at], at + 1 + size


def _texts(packet: bytes) -> tuple[str | None, ...]:
    at, values = 0, []
    while at < len(packet):
        length, at = _number(packet, at)
        values.append(None if length is None else packet[at : at + length].decode())
        at += length or 0
    return tuple(values)
