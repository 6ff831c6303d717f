"""The server's side of the MySQL protocol, as far as the memory engine speaks it: packets in, packets out."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aioaurora.simulator.memory.values import UTF8MB4, Type, Value, as_text

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable, Sequence

    from aioaurora.simulator.memory.values import SqlError

LARGEST = 0xFFFFFF
FOUND_ROWS, WITH_DATABASE, PLUGIN_AUTH, LENENC_AUTH = 0x2, 0x8, 0x80000, 0x200000
# Long password, found rows, long flag, with database, local files off, protocol 4.1, transactions, secure connection,
# multi-statements, multi-results, plugin authentication, its length encoding.
CAPABILITIES = 0x1 | 0x2 | 0x4 | 0x8 | 0x200 | 0x2000 | 0x8000 | 0x10000 | 0x20000 | 0x80000 | 0x200000
IN_TRANSACTION, AUTOCOMMIT, MORE_RESULTS, READ_ONLY_TRANSACTION = 0x1, 0x2, 0x8, 0x2000
_PLUGIN = b"mysql_native_password\0"


@dataclass(frozen=True, slots=True)
class ColumnLabel:
    """One column of a result set, as its definition packet names it."""

    name: str
    type: Type
    table: str = ""
    schema: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """The outcome of a statement without rows."""

    affected_rows: int = 0
    insert_id: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True)
class ResultSet:
    """The outcome of a statement with rows."""

    columns: tuple[ColumnLabel, ...]
    rows: Sequence[Sequence[Value]]


@dataclass(frozen=True, slots=True)
class Login:
    """What the client said in its handshake response."""

    capabilities: int
    collation: int
    user: str
    database: str


class Packets:
    """Packets to and from one client; the sequence number starts anew with every command."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Speak over a pair of streams."""
        self._reader, self._writer = reader, writer
        self._sequence = 0

    async def read(self) -> bytes:
        """Return the next payload, however many packets it came in; raises IncompleteReadError at the end."""
        payload, length = b"", LARGEST
        while length == LARGEST:
            head = await self._reader.readexactly(4)
            length = int.from_bytes(head[:3], "little")
            payload += await self._reader.readexactly(length)
            self._sequence = (head[3] + 1) & 0xFF
        return payload

    def write(self, *payloads: bytes) -> None:
        """Send payloads at once, split where they are longer than a packet."""
        parts: list[bytes] = []
        for payload in payloads:
            for start in range(0, len(payload) + 1, LARGEST):
                part = payload[start : start + LARGEST]
                parts += (len(part).to_bytes(3, "little"), bytes([self._sequence]), part)
                self._sequence = (self._sequence + 1) & 0xFF
        self._writer.write(b"".join(parts))

    async def flush(self) -> None:
        """Wait until the client has taken most of what was written."""
        await self._writer.drain()


def greeting(version: str, connection_id: int, nonce: bytes, status: int) -> bytes:
    """Return the first packet; `nonce` has 20 bytes."""
    fixed = struct.pack("<HBHHB10x", CAPABILITIES & 0xFFFF, UTF8MB4, status, CAPABILITIES >> 16, 21)
    identity = b"\x0a" + version.encode() + b"\0" + struct.pack("<I", connection_id)
    return identity + nonce[:8] + b"\0" + fixed + nonce[8:] + b"\0" + _PLUGIN


def parsed_login(packet: bytes) -> Login:
    """Read a handshake response of protocol 4.1; the password is not looked at."""
    (capabilities,) = struct.unpack_from("<I", packet)
    capabilities &= CAPABILITIES
    end = packet.index(0, 32)
    user, at = packet[32:end].decode(), end + 1
    length, size = _lenenc_at(packet, at) if capabilities & LENENC_AUTH else (packet[at], 1)
    at += size + length
    database = ""
    if capabilities & WITH_DATABASE and at < len(packet):
        database = packet[at : packet.index(0, at)].decode()
    return Login(capabilities, packet[8], user, database)


def ok(done: Done, status: int) -> bytes:
    """Return an OK packet."""
    numbers = lenenc(done.affected_rows) + lenenc(done.insert_id)
    text = done.message.encode()
    return b"\0" + numbers + struct.pack("<HH", status, 0) + (lenenc(len(text)) + text if text else b"")


def eof(status: int) -> bytes:
    """Return an EOF packet, which carries the status flags too."""
    return b"\xfe" + struct.pack("<HH", 0, status)


def err(error: SqlError) -> bytes:
    """Return an ERR packet."""
    return b"\xff" + struct.pack("<H", error.errno) + b"#" + error.state.encode() + error.message.encode()


def result_set(result: ResultSet, status: int, codec: str) -> Iterable[bytes]:
    """Return every packet of a text result set, its texts encoded for the client."""
    yield lenenc(len(result.columns))
    yield from (_definition(column, codec) for column in result.columns)
    yield eof(status)
    types = [column.type for column in result.columns]
    for row in result.rows:
        yield b"".join(_cell(value, kind, codec) for value, kind in zip(row, types, strict=True))
    yield eof(status)


def lenenc(number: int) -> bytes:
    """Return a length-encoded integer."""
    if number < 0xFB:  # noqa: PLR2004 - the protocol's own borders.
        return bytes([number])
    for mark, size in ((b"\xfc", 2), (b"\xfd", 3)):
        if number < 1 << 8 * size:
            return mark + number.to_bytes(size, "little")
    return b"\xfe" + number.to_bytes(8, "little")


def _lenenc_at(packet: bytes, at: int) -> tuple[int, int]:
    """Return a length-encoded integer and how many bytes it took."""
    size = {0xFC: 2, 0xFD: 3, 0xFE: 8}.get(packet[at], 0)
    if not size:
        return packet[at], 1
    return int.from_bytes(packet[at + 1 : at + 1 + size], "little"), 1 + size


def _cell(value: Value, kind: Type, codec: str) -> bytes:
    if value is None:
        return b"\xfb"
    is_moment = kind.name in ("datetime", "timestamp")
    text = as_text(value, kind.scale if is_moment else None)
    data = value if isinstance(value, bytes) else text.encode(codec, "surrogateescape")
    return lenenc(len(data)) + data


def _definition(column: ColumnLabel, codec: str) -> bytes:
    kind = column.type
    texts = ("def", column.schema, column.table, column.table, column.name, column.name)
    names = [text.encode(codec, "surrogateescape") for text in texts]
    fixed = struct.pack("<HIBHB2x", kind.charset, kind.display_length, kind.code, kind.flags, kind.scale)
    return b"".join(lenenc(len(name)) + name for name in names) + b"\x0c" + fixed
