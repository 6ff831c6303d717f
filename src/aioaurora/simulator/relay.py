"""One client's connection to a simulated instance: bytes from the client to the engine and back.

A `Front` faces the client, a `Back` the engine. Only the first bytes of a command and of its answer are looked at;
result sets pass through as they come. What becomes of a command is the instance's decision (`Desk`).

    client  <-- Front --  held, delayed, silenced  -- Back <-- engine
            -- Front -->  refused, rewritten, lost -- Back -->
"""

from __future__ import annotations

import asyncio
import enum
import socket
import struct
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from aioaurora.simulator.rewrite import READ_ONLY, READ_ONLY_ERRNO, Refused
from aioaurora.simulator.wire import ERR, HEADER_BYTES, LOCAL_FILE, Command, error_packet, packet

if TYPE_CHECKING:
    from collections.abc import Callable

    from aioaurora.simulator.back import Back

_STREAMED_BYTES = 1 << 16
RESET_LINGER = struct.pack("ii", 1, 0)
_REFUSED_BY_ENGINE = (1792).to_bytes(2, "little")  # Cannot execute statement in a READ ONLY transaction.
_FIRST_ERROR_BYTES = 7


class Ending(enum.StrEnum):
    """How a connection comes to its end, as the client sees it."""

    FIN = "fin"
    RST = "rst"
    SILENCE = "silence"


class Desk(Protocol):
    """What an instance decides about the commands that reach it."""

    @property
    def latency_s(self) -> float:
        """Seconds by which every answer is late."""
        ...

    @property
    def refuses_writes(self) -> bool:
        """Whether a write is answered with 1290."""
        ...

    def query(self, front: Front, text: bytes, *, is_prepared: bool) -> bytes | None:
        """Return what the engine is to run, None when it gets nothing; raises Refused."""
        ...

    def engine_id_of(self, connection_id: int) -> int | None:
        """Return the engine's id of one of the instance's sessions."""
        ...

    async def reset(self, front: Front, command: bytes) -> bytes:
        """Carry out COM_RESET_CONNECTION or COM_CHANGE_USER at the engine; return the final payload."""
        ...

    def gone(self, front: Front) -> None:
        """Take the connection out of the books."""


class Front(asyncio.Protocol):
    """The client's side of one connection.

    Attributes:
        connection_id: Its id at this instance, as `CONNECTION_ID()` says it.
        engine_id: The id of the engine's session behind it.
        user: Who logged in.
        nonce: What the password was proven with.
        attributes: What the client said of itself ("program_name" and so on).
        has_written: Whether its open transaction may have written something.
    """

    connection_id: int
    engine_id: int
    is_forgotten: bool
    is_lost: bool
    is_silent: bool
    nonce: bytes
    user: str

    def __init__(self, desk: Desk, connection_id: int, engine_id: int) -> None:
        self.connection_id, self.engine_id = connection_id, engine_id
        self.user, self.nonce = "", b""
        self.attributes: dict[str, str] = {}
        self.has_written = False
        self.back: Back | None = None
        self.transport: asyncio.Transport | None = None
        self.on_answer: Callable[[], None] | None = None
        self.is_silent = self.is_forgotten = self.is_lost = False
        self._desk = desk
        self._packets: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue()
        self._buffer = b""
        self._left = 0
        self._sends_file = False
        self._is_busy = False
        self._task: asyncio.Task[None] | None = None
        self._outbox: deque[tuple[float, bytes]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    # --- asyncio's calls --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The transport is there."""
        self.transport = transport  # type: ignore[assignment]  # a socket's transport is a Transport

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """The connection has ended."""
        self.is_lost = True
        self._packets.put_nowait(None)
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
        back, self.back = self.back, None
        if back is not None:
            back.front = None
            if back.transport is not None:
                back.transport.close()
        self._desk.gone(self)

    def pause_writing(self) -> None:
        """The other side reads too slowly: read less."""
        if self.back is not None and self.back.transport is not None:
            self.back.transport.pause_reading()

    def resume_writing(self) -> None:
        """The other side reads again."""
        if self.back is not None and self.back.transport is not None:
            self.back.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        if self.is_forgotten:
            self.end(Ending.RST)  # What a rebooted host's kernel answers to a connection that it does not know.
        elif self.back is None:
            self._collect(data)
        elif self._left or self._buffer or self._is_busy or self._sends_file:
            self._parse(data)
        elif len(data) > HEADER_BYTES and len(data) == HEADER_BYTES + int.from_bytes(data[:3], "little"):
            self._forward(data)  # By far the usual case: one whole command.
        else:
            self._parse(data)

    # --- logging in -------------------------------------------------------------------------------------------------

    def _collect(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= HEADER_BYTES:
            end = HEADER_BYTES + int.from_bytes(self._buffer[:3], "little")
            if len(self._buffer) < end:
                return
            self._packets.put_nowait((self._buffer[3], self._buffer[HEADER_BYTES:end]))
            self._buffer = self._buffer[end:]

    async def packet(self) -> tuple[int, bytes]:
        """Return the next packet of the log-in; raises ConnectionResetError when the client has gone."""
        found = await self._packets.get()
        if found is None:
            raise ConnectionResetError("the client closed the connection")
        return found

    def write(self, data: bytes) -> None:
        """Send at once, past all faults."""
        if self.transport is not None and not self.is_lost:
            self.transport.write(data)

    # --- the client's commands --------------------------------------------------------------------------------------

    def _parse(self, data: bytes) -> None:
        if self._left and not self._is_busy:
            head, data = data[: self._left], data[self._left :]
            self._left -= len(head)
            self._to_engine(head)
        data, self._buffer = self._buffer + data, b""
        while data and not self._is_busy and self.back is not None:
            size = HEADER_BYTES + int.from_bytes(data[:3], "little")
            if len(data) < HEADER_BYTES or (len(data) < size and not self._may_stream(data)):
                break
            if size == HEADER_BYTES:
                self._sends_file = False  # An empty packet ends LOAD DATA LOCAL.
            self._left = max(size - len(data), 0)
            frame, data = data[:size], data[size:]
            self._forward(frame)
        self._buffer = data

    def _may_stream(self, data: bytes) -> bool:
        return len(data) >= _STREAMED_BYTES and not self._desk.refuses_writes

    def _forward(self, frame: bytes) -> None:
        if frame[3] == 0 and not self._sends_file and len(frame) > HEADER_BYTES:
            frame = self._command(frame)
        if frame:
            self._to_engine(frame)

    def _to_engine(self, data: bytes) -> None:
        if self.back is not None:
            self.back.write(data)

    def _command(self, frame: bytes) -> bytes:
        self.on_answer = None
        if self.back is not None:
            self.back.is_first = True
        match frame[4]:
            case Command.QUERY | Command.STMT_PREPARE:
                return self._statement(frame)
            case Command.RESET_CONNECTION | Command.CHANGE_USER:
                self._is_busy = True
                self._task = asyncio.get_running_loop().create_task(self._reset(frame[HEADER_BYTES:]))
                return b""
            case Command.PROCESS_KILL:
                return self._process_kill(frame)
            case _:
                return frame

    def _statement(self, frame: bytes) -> bytes:
        text = frame[HEADER_BYTES + 1 :]
        try:
            wanted = self._desk.query(self, text, is_prepared=frame[4] == Command.STMT_PREPARE)
        except Refused as refused:
            self.send(error_packet(1, refused.errno, refused.sentence))
            return b""
        if wanted is None:
            return b""
        return frame if wanted is text else packet(0, frame[4:5] + wanted)

    def _process_kill(self, frame: bytes) -> bytes:
        (number,) = struct.unpack_from("<I", frame, HEADER_BYTES + 1)
        engine_id = self._desk.engine_id_of(number)
        if engine_id is None:
            self.send(error_packet(1, 1094, f"Unknown thread id: {number}"))
            return b""
        return packet(0, frame[4:5] + struct.pack("<I", engine_id))

    async def _reset(self, command: bytes) -> None:
        try:
            self.send(packet(1, await self._desk.reset(self, command)))
        except OSError:
            self.end(Ending.FIN)  # The engine's session has gone meanwhile.
        finally:
            self._is_busy = False
        self._parse(b"")

    # --- the engine's answers ---------------------------------------------------------------------------------------

    def first_answer(self, data: bytes) -> bytes | None:
        """Look at the first bytes that answer a command; return what the client gets, None for nothing."""
        if self.on_answer is not None:
            lose, self.on_answer = self.on_answer, None
            lose()
            return None
        if len(data) <= HEADER_BYTES:
            return data
        if data[4] == LOCAL_FILE:
            self._sends_file = True
        elif data[4] == ERR and data[5:_FIRST_ERROR_BYTES] == _REFUSED_BY_ENGINE and self._desk.refuses_writes:
            return error_packet(data[3], READ_ONLY_ERRNO, READ_ONLY)
        return data

    def send(self, data: bytes) -> None:
        """Give the client an answer: now, late, or when the instance speaks again."""
        latency_s = self._desk.latency_s
        if not latency_s and not self._outbox and not self.is_silent:
            self.write(data)
            return
        loop = asyncio.get_running_loop()
        self._outbox.append((loop.time() + latency_s, data))
        if self._timer is None and not self.is_silent:
            self._timer = loop.call_at(self._outbox[0][0], self._send_due)

    def _send_due(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        while self._outbox and not self.is_silent and self._outbox[0][0] <= loop.time():
            self.write(self._outbox.popleft()[1])
        if self._outbox and not self.is_silent:
            self._timer = loop.call_at(self._outbox[0][0], self._send_due)

    def engine_gone(self) -> None:
        """End as MySQL does when a session is killed, unless this instance says nothing any more."""
        self.back = None
        if not self.is_silent:
            self.end(Ending.FIN)

    # --- faults -----------------------------------------------------------------------------------------------------

    def silence(self) -> None:
        """Neither read nor write any more."""
        self.is_silent = True
        self.pause_reading()

    def speak(self) -> None:
        """Go on where it was silenced."""
        self.is_silent = False
        self._send_due()
        self.resume_reading()
        if self.back is None:
            self.end(Ending.FIN)

    def pause_reading(self) -> None:
        """Leave what the client sends in the kernel."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if self.transport is not None and not self.transport.is_closing() and not self.is_silent:
            self.transport.resume_reading()

    def detach(self) -> Back | None:
        """Part from the engine's session, which lives on until it is killed; nothing reaches it any more."""
        back, self.back = self.back, None
        if back is not None:
            back.front = None
        return back

    def forget(self) -> None:
        """Be a connection that the host has no memory of: silent until the client sends, then reset."""
        self.is_forgotten, self.is_silent = True, False
        self._outbox.clear()
        self.resume_reading()

    def end(self, ending: Ending) -> None:
        """Close towards the client, or stop speaking to it."""
        transport = self.transport
        if ending is Ending.SILENCE:
            self.silence()
        elif transport is not None and ending is Ending.RST:
            sock = transport.get_extra_info("socket")  # None under a TLS transport that has been closed.
            with suppress(OSError, AttributeError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_LINGER)
            transport.abort()
        elif transport is not None:
            transport.close()
