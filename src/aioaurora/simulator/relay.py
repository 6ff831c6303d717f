"""One client's connection to a simulated instance: bytes from the client to the engine and back.

A `Front` faces the client, a `Back` the engine. A command reaches the engine whole, and when the one before it has
been answered to the end. Result sets pass through as they come. What becomes of a command, and of the error that
answers it, is the instance's decision (`Desk`).

    client  <-- Front --  held, delayed, silenced  -- Back <-- engine
            -- Front -->  refused, rewritten, lost -- Back -->
"""

from __future__ import annotations

import asyncio
import enum
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

from aioaurora.simulator.answers import Answers
from aioaurora.simulator.frames import Frames, payload_of
from aioaurora.simulator.outbox import Outbox
from aioaurora.simulator.refusals import unknown_thread
from aioaurora.simulator.wire import ERR, HEADER_BYTES, Command, Status, command_packets, packet

if TYPE_CHECKING:
    from collections.abc import Callable

    from aioaurora.simulator.back import Back
    from aioaurora.simulator.decisions import Desk
    from aioaurora.simulator.refusals import Refusal

_NEWEST = 0xFFFFFFFF  # MariaDB's connectors execute the statement that they prepared last by this number.
RESET_LINGER = struct.pack("ii", 1, 0)


class Ending(enum.StrEnum):
    """How a connection comes to its end, as the client sees it."""

    FIN = "fin"
    RST = "rst"
    SILENCE = "silence"


class Front(asyncio.Protocol):
    """The client's side of one connection.

    Attributes:
        connection_id: Its id at this instance, as `CONNECTION_ID()` says it.
        engine_id: The id of the engine's session behind it.
        user: Who logged in.
        nonce: What the password was proven with.
        attributes: What the client said of itself ("program_name" and so on).
        is_writing: Whether what it asked last may write something.
        has_written: Whether its open transaction may have written something.
        on_answer: Called in the place of answering; nothing is answered any more then.
    """

    connection_id: int
    engine_id: int
    has_written: bool
    is_forgotten: bool
    is_lost: bool
    is_writing: bool
    nonce: bytes
    user: str

    def __init__(self, desk: Desk[Front], connection_id: int, engine_id: int) -> None:
        self.connection_id, self.engine_id = connection_id, engine_id
        self.user, self.nonce = "", b""
        self.attributes: dict[str, str] = {}
        self.is_writing = self.has_written = False
        self.back: Back | None = None
        self.transport: asyncio.Transport | None = None
        self.on_answer: Callable[[], None] | None = None
        self.is_forgotten = self.is_lost = False
        self._desk = desk
        self._packets: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue()
        self._frames = Frames()
        self._answers = Answers(status=Status.AUTOCOMMIT, ends_with_ok=False)
        self._refusal: Refusal | None = None
        self._preparing: bytes | None = None
        self._prepared: dict[int, bytes] = {}
        self._is_resetting = self._is_muted = False
        self._task: asyncio.Task[None] | None = None
        self._outbox = Outbox(self.write)

    @property
    def is_silent(self) -> bool:
        """Whether it neither reads nor writes for now."""
        return self._outbox.is_held

    @property
    def is_owed(self) -> bool:
        """Whether the engine has yet to answer what it was asked on this session."""
        return self.back is not None and not self._is_muted and (self._answers.is_owed or self._is_resetting)

    # --- asyncio's calls --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The transport is there."""
        self.transport = transport  # type: ignore[assignment]  # a socket's transport is a Transport

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """The connection has ended."""
        self.is_lost = True
        self._packets.put_nowait(None)
        self._outbox.clear()
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
        elif self._frames or self._is_busy or not _is_one_frame(data):
            self._frames.add(data)
            self._go_on()
        else:
            self._obey(data)  # By far the usual case.

    # --- logging in -------------------------------------------------------------------------------------------------

    def _collect(self, data: bytes) -> None:
        self._frames.add(data)
        while (frame := self._frames.frame()) is not None:
            self._packets.put_nowait((frame[3], frame[HEADER_BYTES:]))

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

    def join(self, back: Back, *, ends_with_ok: bool) -> None:
        """Be logged in; `ends_with_ok`: rows end with an OK packet (CLIENT_DEPRECATE_EOF)."""
        self.back = back
        self._answers = Answers(status=Status.AUTOCOMMIT, ends_with_ok=ends_with_ok)

    # --- the client's commands --------------------------------------------------------------------------------------

    @property
    def _is_busy(self) -> bool:
        return self._answers.is_owed or self._is_resetting or self._is_muted or self.is_silent

    def _go_on(self) -> None:
        """Take up what the client has sent meanwhile."""
        while self.back is not None and not self.is_silent:
            if self._answers.wants_file:
                if (frame := self._frames.frame()) is None:
                    return
                self._answers.wants_file = len(frame) > HEADER_BYTES  # An empty packet ends LOAD DATA LOCAL.
                self.back.write(frame)
            elif self._is_busy or (command := self._frames.command()) is None:
                return
            else:
                self._obey(command)

    def _obey(self, frames: bytes) -> None:
        self.is_writing, self._refusal, self._preparing = False, None, None
        command = frames[HEADER_BYTES] if len(frames) > HEADER_BYTES else None
        match command:
            case Command.QUERY | Command.STMT_PREPARE:
                self._order(frames, command, payload_of(frames)[1:])
            case Command.STMT_EXECUTE:
                self._order(frames, command, self._prepared.get(_number(frames), b""))
            case Command.RESET_CONNECTION | Command.CHANGE_USER:
                self._is_resetting = True
                self._task = asyncio.get_running_loop().create_task(self._reset(payload_of(frames)))
            case Command.PROCESS_KILL:
                self._process_kill(_number(frames))
            case _:
                if command == Command.STMT_CLOSE:
                    self._prepared.pop(_number(frames), None)
                self._to_engine(frames)

    def _to_engine(self, frames: bytes) -> None:
        if self.back is not None:
            self._answers.expect(frames[HEADER_BYTES] if len(frames) > HEADER_BYTES else -1)
            self.back.write(frames)

    def _order(self, frames: bytes, command: int, text: bytes) -> None:
        order = self._desk.order(self, command, text)
        if order is None:
            self._is_muted = True
            return
        self._refusal = order.refusal
        if command == Command.STMT_PREPARE:
            self._preparing = text
        if order.text is text:
            self._to_engine(frames)
        else:
            command = Command.QUERY if order.refusal else command
            self._to_engine(command_packets(bytes([command]) + order.text))

    def _process_kill(self, number: int) -> None:
        engine_id = self._desk.engine_id_of(number)
        if engine_id is None:
            self.send(unknown_thread(number).packet(1))
        else:
            self._to_engine(packet(0, struct.pack("<BI", Command.PROCESS_KILL, engine_id)))

    async def _reset(self, command: bytes) -> None:
        try:
            self.send(packet(1, await self._desk.reset(self, command)))
        except OSError:
            self.end(Ending.FIN)  # The engine's session has gone meanwhile.
        finally:
            self._is_resetting = False
        self._go_on()

    def was_reset(self) -> None:
        """Know that the session is as after log-in."""
        self.has_written = False
        self._answers.status = Status.AUTOCOMMIT
        self._prepared.clear()

    # --- the engine's answers ---------------------------------------------------------------------------------------

    def answered(self, data: bytes) -> None:
        """Take what the engine answers."""
        if self._is_muted:
            return
        if self.on_answer is not None:
            self._is_muted = True
            self.on_answer()
            return
        was_owed, before = self._answers.is_owed, self._answers.status
        passed, end = self._answers.taken(data)
        if was_owed and end:
            end = self._ended(end, before)
        if passed or end:
            self.send(passed + end)
        if not self._is_busy and self._frames:
            self._go_on()

    def _ended(self, end: bytes, before: int) -> bytes:
        """Learn from the packet that ends an answer; return what the client gets in its place."""
        is_error = end[HEADER_BYTES] == ERR
        is_open = bool((before if is_error else self._answers.status) & Status.IN_TRANSACTION)
        if is_error and not before & Status.AUTOCOMMIT:
            is_open = True  # What failed may have opened one; an error does not tell.
        self.has_written = is_open and (self.has_written or self.is_writing)
        if is_error:
            told = self._desk.error(self, end)
            self._is_muted = told is None
            return told or b""
        if self._refusal is not None:
            return self._refusal.packet(end[3])
        if self._preparing is not None:
            self._prepared[self._answers.statement_id] = self._prepared[_NEWEST] = self._preparing
        return end

    def send(self, data: bytes) -> None:
        """Give the client an answer: now, late, or when the instance speaks again."""
        self._outbox.put(data, self._desk.latency_s)

    def engine_gone(self) -> None:
        """End as MySQL does when a session is killed, unless this instance says nothing any more."""
        self.back = None
        if not self.is_silent:
            self.end(Ending.FIN)

    # --- faults -----------------------------------------------------------------------------------------------------

    def silence(self) -> None:
        """Neither read nor write any more."""
        self._outbox.is_held = True
        self.pause_reading()

    def speak(self) -> None:
        """Go on where it was silenced."""
        self._outbox.release()
        self.resume_reading()
        self._go_on()
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
        self.is_forgotten, self._outbox.is_held = True, False
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


def _is_one_frame(data: bytes) -> bool:
    return len(data) > HEADER_BYTES and len(data) == HEADER_BYTES + int.from_bytes(data[:3], "little")


def _number(frames: bytes) -> int:
    return int.from_bytes(frames[HEADER_BYTES + 1 : HEADER_BYTES + 5], "little")
