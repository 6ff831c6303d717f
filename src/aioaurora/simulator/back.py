"""The engine's side of a relayed connection."""

from __future__ import annotations

import asyncio
from typing import Protocol

from aioaurora.simulator.wire import HEADER_BYTES, Command, packet


class Client(Protocol):
    """Who gets what the engine says."""

    engine_id: int

    def answered(self, data: bytes) -> None:
        """Take what the engine answers."""

    def engine_gone(self) -> None:
        """Hear that the engine has closed the session."""

    def pause_reading(self) -> None:
        """Stop reading what the client sends: the engine reads too slowly."""

    def resume_reading(self) -> None:
        """Read again."""


class Back(asyncio.Protocol):
    """The engine's side of one connection."""

    engine_id: int

    def __init__(self, front: Client) -> None:
        self.front: Client | None = front
        self.engine_id = front.engine_id
        self.transport: asyncio.Transport | None = None
        self._asked: asyncio.Future[bytes] | None = None
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The transport is there."""
        self.transport = transport  # type: ignore[assignment]  # a socket's transport is a Transport

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        if self._asked is not None:
            self._answered(data)
        elif self.front is not None:
            self.front.answered(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        if self._asked is not None and not self._asked.done():
            self._asked.set_exception(exc or ConnectionResetError("the engine closed the session"))
        if self.front is not None:
            self.front.engine_gone()

    def pause_writing(self) -> None:
        """The other side reads too slowly: read less."""
        if self.front is not None:
            self.front.pause_reading()

    def resume_writing(self) -> None:
        """The other side reads again."""
        if self.front is not None:
            self.front.resume_reading()

    def write(self, data: bytes) -> None:
        """Hand bytes to the engine."""
        if self.transport is not None:
            self.transport.write(data)

    async def ask(self, command: bytes) -> bytes:
        """Send a command of the simulator's own on an idle session; return the payload of its one-packet answer."""
        asked: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._asked = asked
        self.write(packet(0, command))
        try:
            return await asked
        finally:
            self._asked = None

    async def run(self, sql: str) -> bytes:
        """As `ask`, for a statement without rows."""
        return await self.ask(bytes([Command.QUERY]) + sql.encode())

    def abandon(self) -> None:
        """Drop the engine's session without a word: what it was doing has been dealt with."""
        self.front = None
        if self.transport is not None:
            self.transport.abort()

    def _answered(self, data: bytes) -> None:
        self._buffer += data
        size = HEADER_BYTES + int.from_bytes(self._buffer[:3], "little")
        if len(self._buffer) >= max(size, HEADER_BYTES + 1) and self._asked and not self._asked.done():
            answer, self._buffer = self._buffer[HEADER_BYTES:size], self._buffer[size:]
            self._asked.set_result(answer)
