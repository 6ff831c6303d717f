"""The least that a client on asyncio's streams can do: bytes that were made before go out, bytes come in, unread.

Nothing is parsed but the lengths of packets, and those only once, to know how much an answer has.
"""

from __future__ import annotations

import asyncio
import struct
from typing import Self

# The capabilities that aiomysql announces as well, as far as answers depend on them; no CLIENT_DEPRECATE_EOF.
_CAPABILITIES = 1 | 8 | 512 | 8192 | 32768 | 1 << 19
_UTF8MB4, _LARGEST = 45, 1 << 24
_CHUNK = 1 << 16
_EOF, _ERROR = 0xFE, 0xFF
_SHORT = 9  # Of a packet that begins as EOF does: a longer one is a row.


def query(sql: str) -> bytes:
    """Give COM_QUERY, ready to be sent."""
    return _packet(0, b"\x03" + sql.encode())


def _packet(number: int, payload: bytes) -> bytes:
    return struct.pack("<I", len(payload))[:3] + bytes([number]) + payload


_LOGIN = _packet(
    1,
    struct.pack("<IIB23x", _CAPABILITIES, _LARGEST, _UTF8MB4) + b"root\0" + b"\0" + b"mysql\0mysql_native_password\0",
)


class Wire:
    """A connection to a server on which root has no password."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> Self:
        """Connect and log in; raises ConnectionError when the server says no."""
        opened = cls(*await asyncio.open_connection("127.0.0.1", port))
        await opened.packet()
        opened._writer.write(_LOGIN)
        if (await opened.packet())[:1] != b"\0":
            opened.close()
            raise ConnectionError("the server wants to know more than a name")
        return opened

    async def packet(self) -> bytes:
        """Read one packet's payload."""
        head = await self._reader.readexactly(4)
        return await self._reader.readexactly(head[0] | head[1] << 8 | head[2] << 16)

    async def size(self, question: bytes) -> int:
        """Ask, read a whole result set packet by packet, and give its size in bytes."""
        self._writer.write(question)
        size, ends = 0, 0
        while ends < 2:  # The columns end with one, the rows with another.
            payload = await self.packet()
            if payload[0] == _ERROR:
                raise ConnectionError(payload[9:].decode(errors="replace"))
            ends += payload[0] == _EOF and len(payload) < _SHORT
            size += 4 + len(payload)
        return size

    async def ask(self, question: bytes, size: int) -> None:
        """Ask, and read an answer of this size."""
        self._writer.write(question)
        left = size
        while left > 0:
            left -= len(await self._reader.read(_CHUNK))

    def close(self) -> None:
        """Hang up."""
        self._writer.close()

    async def ensure_closed(self) -> None:
        """Say goodbye, and hang up."""
        self._writer.write(_packet(0, b"\x01"))
        self._writer.close()
