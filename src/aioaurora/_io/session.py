"""A session with a server: aiomysql's connection, made safe to be used, cancelled and broken.

What it adds, and why (each a fault that was seen):

- one task at a time: a second one is refused before a byte is written, as it would read the first one's answer;
- `abort` instead of `close` wherever something failed: `close` waits for the peer, under TLS for 30 seconds;
- whatever interrupts an answer ends the session, so that no later statement is answered with old rows;
- nothing is written to a session that is known to be over, and what was under way can be told afterwards (`work`);
- the status flags are those of the server's *last* word, in OK and EOF packets.

`query` is the only frame between a cursor and the stream. What goes wrong goes through `_failed`, for `Connection` to
refine.
"""

from __future__ import annotations

import asyncio
import struct
import warnings
from typing import TYPE_CHECKING, TypeVar

from aioaurora._core import verdict
from aioaurora._core.statement import has_many_answers
from aioaurora._core.traces import FAILED, READ, TOUCHED, traces_of
from aioaurora._core.verdict import Work
from aioaurora._io import kernel, wire
from aioaurora._io.driver import MAX_PACKET, SERVER_LOST, Command, Error, OperationalError, Status, encoding_of
from aioaurora._io.life import Life
from aioaurora._io.packets import error_in_first
from aioaurora.errors import AioauroraError, ConnectionBusy, ConnectTimeout, WrongProcess

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import Any

T = TypeVar("T")

_DEADLOCK = 1213
_TRACES = {Command.PING: READ, Command.PROCESS_KILL: READ}


class Session(Life):
    """One session with one server: statements, one at a time."""

    autocommit_mode: bool | None
    server_status: int
    _is_parked = False  # Given back to its pool.
    traces: int | None = None  # What its statements have left behind in it, where somebody wants to know.

    async def query(self, sql: str | bytes, unbuffered: bool = False) -> int:
        """Run a statement and read its first result."""
        if self._busy or self._is_parked or self._process != kernel.process.id:
            self._refuse()
        if type(sql) is not bytes:  # aiomysql's executemany builds a bytearray.
            sql = sql.encode(self._encoding, "surrogateescape") if isinstance(sql, str) else bytes(sql)
        self._busy = True
        try:
            last = self._result
            if self._writer is None or (last is not None and (last.has_next or last.unbuffered_active)):
                await self._prepare()
            self._result = None
            self._send(Command.QUERY, sql)
            if unbuffered:
                await self._read_query_result(unbuffered=True)
            else:
                result = wire.Result(self)
                await result.read()
                self._result = result
                self._affected_rows = result.affected_rows
                self.note_answer(result.server_status)
        except BaseException as error:
            await self._failed(error)
            raise
        finally:
            self._busy = False
        return self._affected_rows

    async def _prepare(self) -> None:
        """Read what the last statement left unread; nothing, as a rule."""
        self._ensure_alive()
        result = self._result
        if result is None:
            return
        if result.unbuffered_active:
            warnings.warn("Previous unbuffered result was left incomplete", stacklevel=4)
            await result.read_to_end()  # type: ignore[attr-defined]  # Ours, as all results here.
        while self._result is not None and self._result.has_next:
            await self._read_query_result()
        self._result = None

    def _send(self, command: int, payload: bytes) -> None:
        pipe_ = self._pipe
        writer = self._writer
        self._was_sent = False
        if writer is None or pipe_ is None:
            self._ensure_alive()
            return
        if pipe_.stream.has_ended or wire.has_unread(pipe_.reader):
            raise self._hung_up()  # What a server says unasked is that it ends the session.
        self._statement = payload if command == Command.QUERY else b""
        self._answered = 0
        self._was_sent = True
        if self.traces is not None:
            self.traces |= traces_of(payload, self.server_status) if self._statement else _TRACES.get(command, TOUCHED)
        size = len(payload) + 1
        self._next_seq_id = 1
        if size < MAX_PACKET:
            writer.write(struct.pack("<iB", size, command) + payload)
        else:
            self._send_long(bytes([command]) + payload)
        if pipe_.transport.is_closing():
            pipe_.note_dropped()

    def _send_long(self, data: bytes) -> None:
        view = memoryview(data)
        self._next_seq_id = 0
        for start in range(0, len(data) + 1, MAX_PACKET):  # A last packet that is full has an empty sequel.
            self.write_packet(bytes(view[start : start + MAX_PACKET]))

    def _hung_up(self) -> Error:
        lost = wire.ServerLost(SERVER_LOST, "Lost connection to MySQL server: it hung up while the connection was idle")
        if self._pipe is not None:
            lost.__cause__ = error_in_first(wire.unread(self._pipe.reader)) or self._pipe.stream.cause
        return lost

    async def _read_query_result(self, unbuffered: bool = False) -> None:
        self._result = None
        result = wire.Result(self)
        if unbuffered:
            try:
                await result.init_unbuffered_query()
            except BaseException:
                result.unbuffered_active = False
                result.connection = None
                raise
        else:
            await result.read()
        self._result = result
        self._affected_rows = result.affected_rows
        if not result.unbuffered_active:  # Else its last packet tells.
            self.note_answer(result.server_status)

    async def _read_ok_packet(self) -> bool:
        was = self.server_status
        await super()._read_ok_packet()
        status, self.server_status = self.server_status, was
        self.note_answer(status)
        return True

    async def _exchange(self, command: int, payload: str | bytes, read: Callable[[], Awaitable[T]]) -> T:
        """Send a command and read its answer, alone on this session."""
        data = payload.encode(self._encoding) if isinstance(payload, str) else payload
        return await self._alone(lambda: self._sent(command, data, read))

    async def _sent(self, command: int, payload: bytes, read: Callable[[], Awaitable[T]]) -> T:
        await self._prepare()
        self._send(command, payload)
        return await read()

    async def _alone(self, work: Callable[[], Awaitable[T]]) -> T:
        self._refuse()
        self._busy = True
        try:
            return await work()
        except BaseException as error:
            await self._failed(error)
            raise
        finally:
            self._busy = False

    def _refuse(self) -> None:
        """Refuse a use that must not reach the stream: another task's, or another process's."""
        if self._process != kernel.process.id:
            raise WrongProcess("the connection", made_in=self._process, used_in=kernel.process.id)
        if self._busy:
            raise ConnectionBusy

    async def next_result(self) -> int:
        """Read the next result of a statement that has several."""

        async def read() -> int:
            self._ensure_alive()
            await self._read_query_result()
            return self._affected_rows

        return await self._alone(read)

    async def fetch_one(self, result: wire.Result) -> tuple[Any, ...] | None:
        """Read one row of an unbuffered result."""
        self._refuse()
        self._ensure_alive()
        self._busy = True
        try:
            return await result.read_one()
        except BaseException as error:
            await self._failed(error)
            raise
        finally:
            self._busy = False

    async def drain_result(self, result: wire.Result) -> None:
        """Read an unbuffered result to its end; a session that is gone has none."""
        if self._writer is None:
            result.unbuffered_active = False
            result.connection = None
            return
        try:
            await self._alone(result.read_to_end)
        except OperationalError as error:
            if verdict.errno_of(error) not in (1969, 3024):  # The statement ran out of time: that is an end, too.
                raise
            result.unbuffered_active = False
            result.connection = None

    async def show_warnings(self) -> Sequence[tuple[Any, ...]] | None:
        """Fetch the warnings of the last statement."""

        async def read() -> Sequence[tuple[Any, ...]] | None:
            result = wire.Result(self)
            await result.read()
            self.note_answer(result.server_status)
            return result.rows

        return await self._exchange(Command.QUERY, "SHOW WARNINGS", read)

    async def commit(self) -> None:
        """Commit the open transaction."""
        await self._exchange(Command.QUERY, "COMMIT", self._read_ok_packet)

    async def rollback(self) -> None:
        """Roll the open transaction back."""
        await self._exchange(Command.QUERY, "ROLLBACK", self._read_ok_packet)

    async def begin(self) -> None:
        """Begin a transaction; commits one that is open."""
        await self._exchange(Command.QUERY, "BEGIN", self._read_ok_packet)

    async def autocommit(self, value: bool) -> None:
        """Switch autocommit; a packet is sent only if it changes."""
        self._refuse()
        self._ensure_alive()
        self.autocommit_mode = bool(value)
        if self.autocommit_mode != self.get_autocommit():
            await self._send_autocommit_mode()

    async def _send_autocommit_mode(self) -> None:
        text = f"SET AUTOCOMMIT = {int(bool(self.autocommit_mode))}"
        await self._exchange(Command.QUERY, text, self._read_ok_packet)

    async def select_db(self, db: str) -> None:
        """Make `db` the default schema."""
        await self._exchange(Command.INIT_DB, db, self._read_ok_packet)

    async def set_charset(self, charset: str) -> None:
        """Change the character set of this session."""
        encoding = encoding_of(charset)  # Is it one?
        await self._exchange(Command.QUERY, f"SET NAMES {self.escape(charset)}", self._read_ok_packet)
        self._charset, self._encoding = charset, encoding

    async def kill(self, thread_id: int) -> None:
        """End another session of this server."""
        await self._exchange(Command.PROCESS_KILL, struct.pack("<I", thread_id), self._read_ok_packet)

    async def ping(self, reconnect: bool = True) -> None:  # noqa: ARG002 - Connection knows how.
        """Ask for a sign of life."""
        await self._exchange(Command.PING, b"", self._read_ok_packet)

    # --- what goes wrong --------------------------------------------------------------------------------------------

    def work(self) -> Work:
        """What is under way, as an outcome is judged by."""
        result = self._result
        has_more = result is not None and bool(result.has_next or result.unbuffered_active)
        is_outstanding = self._was_sent and (self._busy or has_more)
        return Work(
            statement=bytes(self._statement) if is_outstanding else None,
            in_transaction=self.is_in_transaction,
            autocommit=self.get_autocommit(),
            left_whole=not self.is_sending_file and (self._pipe is None or self._pipe.is_sent),
            answered=self._answered,
            backslash_escapes=not self.server_status & Status.NO_BACKSLASH_ESCAPES,
        )

    async def _failed(self, error: BaseException) -> None:
        """Keep the session if the server merely said no; else it is out of step: abort it."""
        if isinstance(error, AioauroraError) or self._is_answer(error):
            return
        if not isinstance(error, Exception):
            self._close_on_cancel()
        elif self._writer is not None:
            self._close_reason = f"closed after {type(error).__name__} while an answer was read"
            self.abort()
        self._result = None
        self.server_status &= ~Status.IN_TRANS

    def _is_answer(self, error: BaseException) -> bool:
        """Whether `error` is the server's answer, after which the session goes on."""
        errno = verdict.errno_of(error)
        if not isinstance(error, Error) or errno is None or isinstance(error, wire.ServerLost):
            return False
        if errno == _DEADLOCK:
            self.server_status &= ~Status.IN_TRANS  # All of it was rolled back.
        self.traces = None if self.traces is None else self.traces | FAILED
        return not verdict.ends_session(errno)

    # --- opening ----------------------------------------------------------------------------------------------------

    async def declare(self, role_query: str | None) -> tuple[Any, ...] | None:
        """Say in one packet what this session is to be, and ask what the server is.

        An error of the server's leaves the session open: `role_query` may hold an unknown variable.

        Returns:
            The only row of `role_query`; None without one.
        """
        self.phase = "role check"
        said = [] if self._is_declared else self._declaration()
        asked = [role_query] if role_query else []
        row: tuple[Any, ...] | None = None
        if said or asked:
            try:
                row = await self._ask_all("\n;".join(said + asked))
            except Error:
                self._is_declared = self._answered >= len(said) and not has_many_answers(said)
                raise
        self._is_declared = True
        self._statement = b""  # It would be kept as long as the session is idle.
        self.phase: str = "ready"
        return row if asked else None

    async def _ask_all(self, text: str) -> tuple[Any, ...] | None:
        try:  # Not `_alone`: nobody else has this session yet, or `ping` is making it whole and has it alone.
            return await self._sent(Command.QUERY, text.encode(self._encoding), self.read_last_row)
        except BaseException as error:
            await self._failed(error)
            raise

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(self.connect_timeout):
                await self.open()
                await self.declare(None)
        except TimeoutError as error:
            self.abort()
            if isinstance(error, AioauroraError):
                raise
            raise ConnectTimeout(self._host, phase=self.phase, waited_s=self.connect_timeout or 0.0) from error
        except BaseException:
            self.abort()
            raise
