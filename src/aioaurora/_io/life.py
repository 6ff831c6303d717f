"""How a session begins and how it ends.

A connect has no deadline of its own: whoever dials holds one over everything, and `phase` says what it waits for.
An end never waits for the peer for long: under TLS asyncio's `close` takes 30 seconds to give up on a dead one.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING

from aioaurora._io import kernel, pipe, wire
from aioaurora._io.driver import (
    CANNOT_CONNECT,
    MAX_PACKET,
    Error,
    InterfaceError,
    OperationalError,
    Status,
    sentence_of,
)
from aioaurora._io.login import Login, secret
from aioaurora.errors import ConnectionBusy

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from typing import Any

_QUIT = b"\x01\x00\x00\x00\x01"
_CLOSE_S = 1.0  # How long a server may take to hang up after it was told goodbye.
_KEEP_ALIVE = kernel.KeepAlive()


class Life(Login):
    """A session from its dialling to its end.

    Args:
        host: Name of the endpoint: what TLS verifies and what errors say.
        address: What is dialled; None: `host`.
        tls: TLS is spoken with this context.
        require_tls: A server that does not offer TLS is refused; else it is spoken to in plain text.
        keep_alive: When the kernel probes an idle connection, and gives one up.
        password: Text, or bytes that are sent as they are.
        keywords: aiomysql's own.
    """

    autocommit_mode: bool | None
    connected_time: float
    host_info: str
    is_established: bool
    is_peeking: bool
    phase: str
    server_version: str

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
        keep_alive: kernel.KeepAlive = _KEEP_ALIVE,
        **keywords: Any,
    ) -> None:
        self._process = kernel.process.id
        self._writer = None  # First, as the above: whatever is refused below, the object can be collected.
        context = tls if tls is not None else keywords.pop("ssl", None)
        keywords = keywords | {"ssl": context}
        super().__init__(host=host, user=user, password=secret(password), db=db, port=port, **keywords)
        self._password = secret(self._password)  # An option file may have brought another.
        self._tls, self._require_tls = context, require_tls
        self._address = address
        self._keep_alive = keep_alive
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
        self.is_sending_file = False
        self._is_declared = False
        self.is_established = False

    # --- opening ----------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Dial, greet, encrypt, log in. Has no deadline of its own; on any failure the socket is gone."""
        self._forget()
        try:
            self.phase = "socket" if self._unix_socket else "tcp"
            await self._dial()
            self.phase = "greeting"
            self._next_seq_id = 0
            await self._get_server_information()
            await self._request_authentication()
        except BaseException as error:
            self.abort()
            if isinstance(error, OSError) and not isinstance(error, Error):
                where = self._unix_socket or self._host
                sentence = f"Can't connect to MySQL server on {where!r} ({self.phase}: {sentence_of(error)})"
                raise OperationalError(CANNOT_CONNECT, sentence) from error
            raise
        self.server_version = sys.intern(self.server_version)  # One text for thousands of sessions.
        self.host_info = sys.intern(self.host_info)
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

    def _declaration(self) -> list[str]:
        statements: list[str] = []
        if self.sql_mode is not None:
            statements.append(f"SET sql_mode={self.sql_mode}")
        if self.init_command is not None:
            statements += [self.init_command.rstrip().rstrip(";"), "COMMIT"]
        if self.autocommit_mode is not None and self.autocommit_mode != self.get_autocommit():
            statements.append(f"SET AUTOCOMMIT = {int(self.autocommit_mode)}")
        return statements

    # --- moving house -----------------------------------------------------------------------------------------------

    def imitate(self, other: Life) -> None:
        """Be opened as `other` would be now, with what its user has asked for since it was made."""
        self.autocommit_mode = other.autocommit_mode
        self._charset, self._encoding = other._charset, other._encoding

    def take_over(self, other: Life) -> None:
        """Make the session of `other` this object's own, in place of the one that it had.

        `other` is left as one that was never opened: its end ends nothing. Statements, results and losses of either
        stay behind; so does whatever of this object is configuration.
        """
        self.abort()
        self._forget()
        vars(self).update({name: value for name, value in vars(other).items() if name in _OF_A_SESSION})
        other._reader = other._writer = None
        other._forget()

    # --- while it lasts ---------------------------------------------------------------------------------------------

    @property
    def is_in_transaction(self) -> bool:
        """Whether the server's last word was that a transaction is open."""
        return bool(self.server_status & Status.IN_TRANS)

    def when_ended(self, call: Callable[..., None] | None, *arguments: object) -> None:
        """Have `call` called once, when the connection comes to an end, whoever ends it; None: nobody cares."""
        if self._pipe is not None:
            self._pipe.stream.on_end = None if call is None else (call, *arguments)

    def signs(self) -> kernel.Signs | None:
        """Ask the kernel for signs of the peer's life; None where it cannot tell."""
        return self._pipe.signs() if self._pipe is not None and self._writer is not None else None

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

    def _write_bytes(self, data: bytes) -> None:
        # aiomysql ends a LOAD DATA LOCAL with an empty packet, also when it was cancelled and is closed.
        if self._writer is None or self._pipe is None:
            return
        self._writer.write(data)
        if self._pipe.transport.is_closing():
            self._pipe.note_dropped()

    # --- the end ----------------------------------------------------------------------------------------------------

    def abort(self, error: BaseException | None = None) -> None:
        """Break the connection now, without a word to the server; a task that waits for an answer gets `error`."""
        if self._process != kernel.process.id:
            self.discard_in_child()
            return
        reader, pipe_ = self._reader, self._pipe
        self._reader = self._writer = None
        if pipe_ is None:
            return
        if error is not None and reader is not None:
            reader.set_exception(error)  # type: ignore[arg-type]  # Any exception will do.
        pipe_.abort()

    def close(self) -> None:
        """Say goodbye if that needs no waiting, and hang up."""
        with contextlib.suppress(RuntimeError):  # The loop is closed already.
            self._say_goodbye()
        with contextlib.suppress(RuntimeError):
            self.abort()

    async def ensure_closed(self) -> None:
        """Say goodbye and wait, for a second at most, until the server has hung up."""
        if self._process != kernel.process.id:
            self.discard_in_child()
            return
        if self._busy:
            raise ConnectionBusy
        reader = self._reader
        try:
            if self._say_goodbye() and reader is not None:
                # No longer ours: nothing is outstanding on it, and nothing that comes now is a loss.
                self._reader = self._writer = None
                with contextlib.suppress(TimeoutError, OSError):
                    async with asyncio.timeout(_CLOSE_S):
                        while await reader.read(MAX_PACKET):
                            pass  # Rows that nobody wants.
        finally:
            self.abort()

    def _say_goodbye(self) -> bool:
        """Tell the server that this is the end, unless that would have to wait, or is not for this process to say."""
        pipe_, writer = self._pipe, self._writer
        is_ours = self.is_established and not self._busy and self._process == kernel.process.id
        if writer is None or pipe_ is None or not is_ours or not pipe_.is_sent or pipe_.stream.has_ended:
            return False
        writer.write(_QUIT)
        return True

    def __del__(self) -> None:
        if self._process == kernel.process.id:
            super().__del__()
        else:
            self.discard_in_child()

    def discard_in_child(self) -> None:
        """Let go of a parent's session after a fork: close this process's copy of the socket, and send nothing."""
        if self._pipe is not None:
            self._pipe.discard_in_child()
        self._reader = self._writer = self._pipe = None

    def _close_on_cancel(self) -> None:
        self._close_reason = "Cancelled during execution"
        self.abort()

    def _ensure_alive(self) -> None:
        if self._writer is None:
            # SQLAlchemy looks for "not connected" to know a connection that is gone.
            why = f": {self._close_reason}" if self._close_reason else ""
            raise InterfaceError(0, f"Not connected{why}")


# What belongs to one session with one server, and goes with it.
_OF_A_SESSION = frozenset(
    """
    _reader _writer _pipe _next_seq_id is_peeking phase is_established _is_declared server_status
    _host _port _address _unix_socket _user _password _secure host_info connected_time autocommit_mode
    _charset _encoding client_flag server_capabilities protocol_version server_version server_thread_id server_charset
    server_language salt server_public_key _server_auth_plugin _auth_plugin_used
    """.split()
)
