"""A session with a server: aiomysql's connection, made safe to be used, cancelled and broken.

What it adds, and why (each a fault that was seen):

- one task at a time: a second one is refused before a byte is written, as it would read the first one's answer;
- `abort` instead of `close` wherever something failed: `close` waits for the peer, under TLS for 30 seconds;
- whatever interrupts an answer ends the session, so that no later statement is answered with old rows;
- nothing is written to a session that is known to be over, and what was under way can be told afterwards (`work`);
- the status flags are those of the server's *last* word, in OK and EOF packets.

`query` is the only frame between a cursor and the stream. What goes wrong goes through `_failed`, which `Connection` refines.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import warnings
from typing import TYPE_CHECKING, TypeVar

from aioaurora._core import verdict
from aioaurora._core.statement import Kind, kinds_in
from aioaurora._core.verdict import Work
from aioaurora._io import pipe, wire
from aioaurora._io.driver import (
    CANNOT_CONNECT,
    MAX_PACKET,
    SERVER_LOST,
    Command,
    Error,
    InterfaceError,
    OperationalError,
    Status,
    encoding_of,
)
from aioaurora._io.kernel import KeepAlive, Signs
from aioaurora._io.login import Login, Secret, secret
from aioaurora.errors import AioauroraError, ConnectionBusy, ConnectTimeout

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Sequence
    from typing import Any

T = TypeVar("T")

_QUIT = b"\x01\x00\x00\x00\x01"
_CLOSE_S = 1.0  # How long a server may take to hang up after it was told goodbye.
_DEADLOCK = 1213


class Session(Login):
    """One session with one server.

    Args:
        host: Name of the endpoint: what TLS verifies and what errors say.
        address: What is dialled; None: `host`.
        tls: TLS is spoken with this context.
        require_tls: A server that does not offer TLS is refused; else it is spoken to in plain text.
        keepalive: Seconds idle, seconds between probes, probes.
        user_timeout_s: Seconds that sent bytes may stay unacknowledged (Linux).
        password: Text, or bytes that are sent as they are.
        keywords: aiomysql's own.
    """

    def __init__(
        self,
        host: str = "localhost",
        user: str | None = None,
        password: str | bytes | None = "",
        db: str | None = None,
        port: int = 3306,
        *,
        address: str | None = None,
        tls: ssl.SSLContext | None = None,
        require_tls: bool = True,
        keepalive: tuple[int, int, int] = (60, 10, 3),
        user_timeout_s: float = 30.0,
        **keywords: Any,
    ) -> None:
        self._writer = None  # First: whatever is refused below, the object can be collected.
        context = tls if tls is not None else keywords.pop("ssl", None)
        keywords = keywords | {"ssl": context}
        super().__init__(host=host, user=user, password=secret(password), db=db, port=port, **keywords)
        self._password = secret(self._password)  # An option file may have brought another.
        self._tls, self._require_tls = context, require_tls
        self._address = address
        idle_s, interval_s, count = keepalive
        self._keep_alive = KeepAlive(idle_s=idle_s, interval_s=interval_s, count=count, user_timeout_s=user_timeout_s)
        self._busy = False
        self._forget()

    def _forget(self) -> None:
        """Begin anew: nothing is known of a session that is not open."""
        self.server_status = 0
        self._secure = self._unix_socket is not None
        self._result = None
        self._close_reason = None
        self._pipe = None
        self._statement = b""
        self._answered = 0
        self._was_sent = False
        self._is_declared = False
        self.is_established = False

    # --- opening ----------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Dial, greet, encrypt, log in. Has no deadline of its own; on any failure the socket is gone."""
        self._forget()
        try:
            self.phase = "tcp"
            await self._dial()
            self.phase = "greeting"
            self._next_seq_id = 0
            await self._get_server_information()
            await self._request_authentication()
        except BaseException as error:
            self.abort()
            if isinstance(error, OSError) and not isinstance(error, Error):
                sentence = f"Can't connect to MySQL server on {self._host!r} ({self.phase}: {error})"
                raise OperationalError(CANNOT_CONNECT, sentence) from error
            raise
        self.is_established = True
        self.connected_time = self._loop.time()
        self.phase = "ready"

    async def _dial(self) -> None:
        if self._unix_socket:
            self._pipe = await pipe.dial_unix(self._unix_socket)
            self.host_info = f"Localhost via UNIX socket: {self._unix_socket}"
        else:
            self._pipe = await pipe.dial(self._address or self._host, self._port, self._keep_alive)
            self.host_info = f"socket {self._host}:{self._port}"
        self._reader, self._writer = self._pipe.reader, self._pipe.writer
        self.is_peeking = wire.has_buffer(self._pipe.reader)

    async def declare(self, role_query: str | None) -> tuple[Any, ...] | None:
        """Say in one packet what this session is to be, and ask what the server is.

        An error of the server's leaves the session open: an unknown variable in `role_query` may be asked for otherwise.

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
                self._is_declared = self._answered >= len(said) and not _has_many_answers(said)
                raise
        self._is_declared = True
        self.phase = "ready"
        return row if asked else None

    def _declaration(self) -> list[str]:
        statements: list[str] = []
        if self.sql_mode is not None:
            statements.append(f"SET sql_mode={self.sql_mode}")
        if self.init_command is not None:
            statements += [self.init_command.rstrip().rstrip(";"), "COMMIT"]
        if self.autocommit_mode is not None and self.autocommit_mode != self.get_autocommit():
            statements.append(f"SET AUTOCOMMIT = {int(self.autocommit_mode)}")
        return statements

    async def _ask_all(self, text: str) -> tuple[Any, ...] | None:
        async def read_all() -> tuple[Any, ...] | None:
            await self._read_query_result()
            while self._result is not None and self._result.has_next:
                await self._read_query_result()
            rows = self._result.rows if self._result is not None else None
            self._result = None
            return rows[0] if rows else None

        try:  # Not `_alone`: nobody else has this session yet, or `ping` is making it whole and has it alone.
            return await self._sent(Command.QUERY, text, read_all)
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

    # --- what a caller may ask --------------------------------------------------------------------------------------

    @property
    def is_busy(self) -> bool:
        """Whether a task waits for an answer."""
        return self._busy

    @property
    def is_in_transaction(self) -> bool:
        """Whether the server's last word was that a transaction is open."""
        return bool(self.server_status & Status.IN_TRANS)

    @property
    def has_ended(self) -> bool:
        """Whether the session is over: closed here, or hung up by the server."""
        return self._writer is None or self._pipe is None or self._pipe.stream.has_ended

    def signs(self) -> Signs | None:
        """Ask the kernel for signs of the peer's life; None where it cannot tell."""
        return self._pipe.signs() if self._pipe is not None and self._writer is not None else None

    def work(self) -> Work:
        """What is under way, as an outcome is judged by."""
        result = self._result
        has_more = result is not None and bool(result.has_next or result.unbuffered_active)
        is_outstanding = self._was_sent and (self._busy or has_more)
        return Work(
            statement=bytes(self._statement) if is_outstanding else None,
            in_transaction=self.is_in_transaction,
            autocommit=self.get_autocommit(),
            left_whole=self._pipe is None or self._pipe.is_sent,
            answered=self._answered,
            backslash_escapes=not self.server_status & Status.NO_BACKSLASH_ESCAPES,
        )

    # --- statements -------------------------------------------------------------------------------------------------

    async def query(self, sql: str | bytes, unbuffered: bool = False) -> int:
        """Run a statement and read its first result."""
        if self._busy:
            raise ConnectionBusy
        if isinstance(sql, str):
            sql = sql.encode(self._encoding, "surrogateescape")
        was = self.server_status
        self._busy = True
        try:
            if self._writer is None or self._result is not None:
                await self._prepare()
            self._send(Command.QUERY, sql)
            if unbuffered:
                await self._read_query_result(unbuffered=True)
            else:
                result = wire.Result(self)
                await result.read()
                self._result = result
                self._answered += 1
                self._affected_rows = result.affected_rows
                if result.server_status is not None:
                    self.server_status = result.server_status
            if was & Status.IN_TRANS and not self.server_status & Status.IN_TRANS:
                self._transaction_ended()
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
        if pipe_.stream.has_ended or (self.is_peeking and pipe_.reader._buffer):  # type: ignore[attr-defined]  # noqa: SLF001 - What comes unasked is the end.
            raise self._hung_up()
        self._statement = payload if command == Command.QUERY else b""
        self._answered = 0
        self._was_sent = True
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
            lost.__cause__ = wire.error_in_first(wire.unread(self._pipe.reader)) or self._pipe.stream.cause
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
        if not result.unbuffered_active:
            self._answered += 1
        self._affected_rows = result.affected_rows
        if result.server_status is not None:
            self.server_status = result.server_status

    async def _exchange(self, command: int, payload: str | bytes, read: Callable[[], Awaitable[T]]) -> T:
        """Send a command and read its answer, alone on this session."""
        return await self._alone(lambda: self._sent(command, payload, read))

    async def _sent(self, command: int, payload: str | bytes, read: Callable[[], Awaitable[T]]) -> T:
        data = payload.encode(self._encoding) if isinstance(payload, str) else payload
        await self._prepare()
        was = self.server_status
        self._send(command, data)
        answer = await read()
        if was & Status.IN_TRANS and not self.server_status & Status.IN_TRANS:
            self._transaction_ended()
        return answer

    async def _alone(self, work: Callable[[], Awaitable[T]]) -> T:
        if self._busy:
            raise ConnectionBusy
        self._busy = True
        try:
            return await work()
        except BaseException as error:
            await self._failed(error)
            raise
        finally:
            self._busy = False

    def _transaction_ended(self) -> None:
        """The flag fell: hook for who must know whether the statement meant it."""

    async def next_result(self) -> int:
        """Read the next result of a statement that has several."""

        async def read() -> int:
            self._ensure_alive()
            was = self.server_status
            await self._read_query_result()
            if was & Status.IN_TRANS and not self.server_status & Status.IN_TRANS:
                self._transaction_ended()
            return self._affected_rows

        return await self._alone(read)

    async def fetch_one(self, result: wire.Result) -> tuple[Any, ...] | None:
        """Read one row of an unbuffered result."""
        if self._busy:
            raise ConnectionBusy
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
        if self._busy:
            raise ConnectionBusy
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

    def escape(self, obj: Any) -> str:
        """Give `obj` as a literal of SQL."""
        # PyMySQL 1.2.3 took away what aiomysql does this with; bytearray was quoted as its repr before that, too.
        if isinstance(obj, bytes | bytearray):
            return f"_binary X'{obj.hex()}'"
        if type(obj) in (list, tuple):  # Exactly: time.struct_time is a tuple as well.
            return "(" + ",".join(map(self.escape, obj)) + ")"
        if type(obj) in (set, frozenset):
            return ",".join(map(self.escape, obj))
        return super().escape(obj)

    # --- the end ----------------------------------------------------------------------------------------------------

    def abort(self, error: BaseException | None = None) -> None:
        """Break the connection now, without a word to the server; a task that waits for an answer gets `error`."""
        reader, pipe_ = self._reader, self._pipe
        self._reader = self._writer = None
        if pipe_ is None:
            return
        if error is not None and reader is not None:
            reader.set_exception(error)  # type: ignore[arg-type]  # Any exception will do.
        pipe_.abort()

    def close(self) -> None:
        """Say goodbye if that needs no waiting, and hang up."""
        pipe_ = self._pipe
        if self._writer is not None and pipe_ is not None and self._may_say_goodbye():
            with contextlib.suppress(RuntimeError):  # The loop is closed already.
                self._writer.write(_QUIT)
        with contextlib.suppress(RuntimeError):
            self.abort()

    def _may_say_goodbye(self) -> bool:
        pipe_ = self._pipe
        return self.is_established and not self._busy and pipe_ is not None and pipe_.is_sent and not self.has_ended

    async def ensure_closed(self) -> None:
        """Say goodbye and wait, for a second at most, until the server has hung up."""
        if self._busy:
            raise ConnectionBusy
        if self._writer is None or self._reader is None:
            return
        try:
            if self._may_say_goodbye():
                self._busy = True
                self._writer.write(_QUIT)
                with contextlib.suppress(TimeoutError, OSError):
                    async with asyncio.timeout(_CLOSE_S):
                        while await self._reader.read(MAX_PACKET):
                            pass  # Rows that nobody wants.
        finally:
            self._busy = False
            self.abort()

    def discard_in_child(self) -> None:
        """Let go of a parent's session after a fork: close this process's copy of the socket, and send nothing."""
        if self._pipe is not None:
            self._pipe.discard_in_child()
        self._reader = self._writer = self._pipe = None

    def _close_on_cancel(self) -> None:
        self.abort()
        self._close_reason = "Cancelled during execution"

    async def _failed(self, error: BaseException) -> None:
        """Keep the session if the server merely said no; else it is out of step: abort it."""
        if isinstance(error, AioauroraError) or self._is_answer(error):
            return
        if not isinstance(error, Exception):
            self._close_on_cancel()
        elif self._writer is not None:
            self.abort()
            self._close_reason = f"closed after {type(error).__name__} while an answer was read"
        self._result = None

    def _is_answer(self, error: BaseException) -> bool:
        """Whether `error` is the server's answer, after which the session goes on."""
        errno = verdict.errno_of(error)
        if not isinstance(error, Error) or errno is None or isinstance(error, wire.ServerLost):
            return False
        if errno == _DEADLOCK:
            self.server_status &= ~Status.IN_TRANS  # It rolled the whole transaction back, and said so.
        return not verdict.ends_session(errno)

    def _ensure_alive(self) -> None:
        if self._writer is None:
            # SQLAlchemy looks for "not connected" to know a connection that is gone.
            why = f": {self._close_reason}" if self._close_reason else ""
            raise InterfaceError(0, f"Not connected{why}")

    def reset_to(
        self, *, host: str, port: int, address: str | None, password: str | bytes | None, user: str | None = None
    ) -> None:
        """Point this object at another server, for the next `open`."""
        self.abort()
        self._host, self._port, self._address = host, port, address
        self._password: Secret = secret(password)
        if user is not None:
            self._user = user


def _has_many_answers(statements: list[str]) -> bool:
    return any(Kind.ANY in (kinds := kinds_in(text)) or len(kinds) != 1 for text in statements)
