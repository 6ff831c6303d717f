"""A MySQL server in the test's own loop that does as it is told: also what no real server would."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable
    from typing import Self

IN_TRANS, AUTOCOMMIT, MORE = 0x0001, 0x0002, 0x0008
SALT = b"12345678" + b"abcdefghijkl"
CAPABILITIES = 0x00FF_F7DF  # All that aiomysql knows of, but TLS.
TLS = 0x0800
QUERY, PING, QUIT, INIT_DB = b"\x03", b"\x0e", b"\x01", b"\x02"


def ok(status: int = AUTOCOMMIT, *, affected: int = 0) -> bytes:
    """Make the payload of an OK packet."""
    return b"\0" + bytes([affected]) + b"\0" + struct.pack("<HH", status, 0)


def err(errno: int, text: str = "scripted") -> bytes:
    """Make the payload of an ERR packet."""
    return b"\xff" + struct.pack("<H", errno) + b"#HY000" + text.encode()


def eof(status: int = AUTOCOMMIT) -> bytes:
    """Make the payload of an EOF packet."""
    return b"\xfe\0\0" + struct.pack("<H", status)


def column(name: str, kind: int = 253, charset: int = 45) -> bytes:
    """Make the payload that describes a column: text, unless said otherwise."""
    names = [b"def", b"", b"", b"", name.encode(), name.encode()]
    return b"".join(text(part) for part in names) + b"\x0c" + struct.pack("<HIBHBH", charset, 1024, kind, 0, 0, 0)


def text(value: bytes | None) -> bytes:
    """Make a length-encoded text."""
    if value is None:
        return b"\xfb"
    if len(value) < 251:
        return bytes([len(value)]) + value
    return b"\xfc" + struct.pack("<H", len(value)) + value


def rows(*values: tuple[str | None, ...], status: int = AUTOCOMMIT, kind: int = 253) -> list[bytes]:
    """Make the payloads of a result set of text."""
    width = len(values[0]) if values else 1
    columns = [column(f"c{number}", kind) for number in range(width)]
    lines = [b"".join(text(None if value is None else value.encode()) for value in row) for row in values]
    return [bytes([width]), *columns, eof(status), *lines, eof(status)]


@dataclass
class ScriptedServer:
    """Greets, logs in and answers by `answers`: a statement's text, or its beginning, to payloads or a coroutine."""

    answers: dict[str, Any] = field(default_factory=dict)
    greets: bool | bytes = True
    tls: ssl.SSLContext | None = None
    claims_tls: bool = False
    login: list[bytes] | Callable[[Guest], Awaitable[None]] = field(default_factory=lambda: [ok()])
    status: int = AUTOCOMMIT
    plugin: bytes = b"mysql_native_password"
    port: int = 0
    received: list[bytes] = field(default_factory=list)
    raw: bytearray = field(default_factory=bytearray)
    guests: list[Guest] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._welcome, "127.0.0.1", 0, limit=2**26)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for guest in self.guests:
            guest.writer.transport.abort()
            if guest.task:
                guest.task.cancel()
        await asyncio.gather(*(guest.task for guest in self.guests if guest.task), return_exceptions=True)

    @property
    def statements(self) -> list[str]:
        """The texts that have arrived."""
        return [payload[1:].decode() for payload in self.received if payload[:1] == QUERY]

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        guest = Guest(self, reader, writer)
        guest.task = asyncio.current_task()
        self.guests.append(guest)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            await guest.stay()
        if not guest.lingers:
            writer.transport.abort()

    def greeting(self) -> bytes:
        """Make the payload of the greeting."""
        capabilities = CAPABILITIES | (TLS if self.tls or self.claims_tls else 0)
        low, high = capabilities & 0xFFFF, capabilities >> 16
        facts = struct.pack("<HBHHB", low, 45, self.status, high, 21)
        head = b"\x0a8.0.39\0" + struct.pack("<I", 7) + SALT[:8] + b"\0" + facts
        return head + bytes(10) + SALT[8:] + b"\0" + self.plugin + b"\0"


class Guest:
    """One client's visit."""

    def __init__(self, server: ScriptedServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server, self.reader, self.writer = server, reader, writer
        self.task: asyncio.Task[Any] | None = None
        self.sequence = 0
        self.lingers = False

    async def stay(self) -> None:
        """Greet, log in, and answer until somebody has had enough."""
        server = self.server
        if server.greets is False:
            await self.silence()
        if isinstance(server.greets, bytes):
            self.writer.write(server.greets)
            return
        self.send(server.greeting())
        payload = await self.read()
        if server.tls is not None and len(payload) == 32:
            await self._encrypt(server.tls)
            payload = await self.read()
        server.received.append(payload)
        if callable(server.login):
            await server.login(self)
        else:
            self.send(*server.login)
        while True:
            await self._serve(await self.read())

    async def _serve(self, payload: bytes) -> None:
        self.server.received.append(payload)
        if payload[:1] == QUIT:
            raise ConnectionError
        answer = self._answer(payload)
        if callable(answer):
            await answer(self)
        else:
            self.send(*([answer] if isinstance(answer, bytes) else answer))

    def _answer(self, payload: bytes) -> Any:
        said = payload[1:].decode(errors="replace") if payload[:1] == QUERY else {PING: "ping"}.get(payload[:1], "")
        known = [start for start in self.server.answers if said.startswith(start)]
        return self.server.answers[max(known, key=len)] if known else ok(self.server.status)

    async def _encrypt(self, context: ssl.SSLContext) -> None:
        # The client's first words of TLS have arrived with its wish for it: asyncio would leave them where they are.
        early = bytes(self.reader._buffer)
        self.reader._buffer.clear()
        upgrade = asyncio.ensure_future(self.writer.start_tls(context))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if early:
            above = self.writer.transport.get_protocol()
            above.get_buffer(len(early))[: len(early)] = early
            above.buffer_updated(len(early))
        await upgrade

    async def read(self) -> bytes:
        """Read one packet's payload, put together."""
        header = await self.reader.readexactly(4)
        self.server.raw += header
        self.sequence = (header[3] + 1) & 0xFF
        payload = await self.reader.readexactly(int.from_bytes(header[:3], "little"))
        self.server.raw += payload
        if len(payload) == 0xFFFFFF:
            payload += await self.read()
        return payload

    def send(self, *payloads: bytes) -> None:
        """Send packets, numbered on."""
        for payload in payloads:
            self.writer.write(len(payload).to_bytes(3, "little") + bytes([self.sequence]) + payload)
            self.sequence = (self.sequence + 1) & 0xFF

    async def silence(self) -> None:
        """Say nothing more, and read nothing."""
        self.lingers = True
        await asyncio.get_running_loop().create_future()


async def silence(guest: Guest) -> None:
    """Answer nothing, and keep the connection."""
    await guest.silence()


async def hang_up(guest: Guest) -> None:
    """Close the connection in an orderly way (FIN)."""
    raise ConnectionError


async def reset(guest: Guest) -> None:
    """Break the connection (RST)."""
    sock = guest.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raise ConnectionError


def after(*payloads: bytes, then: Callable[[Guest], Awaitable[None]] = silence) -> Callable[[Guest], Awaitable[None]]:
    """Send some packets, then do something else."""

    async def answer(guest: Guest) -> None:
        guest.send(*payloads)
        await then(guest)

    return answer
