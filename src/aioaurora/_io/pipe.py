"""The way to a server: a TCP or Unix stream, TLS over it, and what became of the bytes that were given to it.

asyncio forgets the bytes that it could not send at the moment when a transport breaks. Here no layer may buffer a byte
without saying so: "pause writing" means exactly "bytes are waiting", and its flag outlives the transport.
Only public interfaces of asyncio are used, which uvloop has too.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aioaurora._io import kernel
from aioaurora._io.driver import StreamReader

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

_TLS_SHUTDOWN_S = 2.0  # asyncio would wait 30 s for the peer's close_notify.


class Stream(asyncio.StreamReaderProtocol):
    """A stream's protocol that remembers whether bytes wait, and whether the peer has ended."""

    def __init__(self, reader: StreamReader, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(reader, loop=loop)
        self.has_unsent = False
        self.has_ended = False
        self.cause: Exception | None = None
        self.on_end: tuple[Callable[..., None], *tuple[object, ...]] | None = None

    def pause_writing(self) -> None:
        self.has_unsent = True
        super().pause_writing()

    def resume_writing(self) -> None:
        self.has_unsent = False
        super().resume_writing()

    def eof_received(self) -> bool | None:
        self._end()
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self.cause = exc
        self._end()
        super().connection_lost(exc)

    def _end(self) -> None:
        self.has_ended = True
        due, self.on_end = self.on_end, None
        if due is not None:
            call, *arguments = due
            call(*arguments)


class _Layer(asyncio.BufferedProtocol):
    """Stands between a socket and the TLS above it, to see whether encrypted bytes wait."""

    def __init__(self, above: asyncio.BufferedProtocol) -> None:
        self.above = above
        self.has_unsent = False
        # Once per read of the socket: bound here, they cost one call.
        self.get_buffer = above.get_buffer  # type: ignore[method-assign]  # The same method of another.
        self.buffer_updated = above.buffer_updated  # type: ignore[method-assign]  # As above.

    def pause_writing(self) -> None:
        self.has_unsent = True
        self.above.pause_writing()

    def resume_writing(self) -> None:
        self.has_unsent = False
        self.above.resume_writing()

    def eof_received(self) -> bool | None:
        return self.above.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self.above.connection_lost(exc)


class Pipe:
    """One stream to a server, with or without TLS.

    Attributes:
        reader, writer: asyncio's, of the uppermost layer.
        transport: The uppermost one; `abort` breaks all layers at once.
    """

    __slots__ = (
        "_has_dropped",
        "_layer",
        "_plain_writer",
        "_socket_transport",
        "reader",
        "stream",
        "transport",
        "writer",
    )

    def __init__(self, transport: asyncio.Transport, stream: Stream, reader: StreamReader) -> None:
        self.transport = transport
        self.stream = stream
        self.reader = reader
        self.writer = asyncio.StreamWriter(transport, stream, reader, asyncio.get_running_loop())
        self._socket_transport = transport
        self._layer: _Layer | None = None
        self._plain_writer = self.writer  # A StreamWriter closes its transport when it is collected.
        self._has_dropped = False
        transport.set_write_buffer_limits(high=0)

    @property
    def is_sent(self) -> bool:
        """Whether the last byte that was written has left this process; true to the end, and beyond it."""
        below = self._layer is not None and self._layer.has_unsent
        return not (self.stream.has_unsent or below or self._has_dropped)

    def note_dropped(self) -> None:
        """The transport was found closing right after a write: it threw the bytes away."""
        self._has_dropped = True

    def abort(self) -> None:
        """Break it now. Nothing more is sent; a reader sees the end at once."""
        self.transport.abort()
        if self._socket_transport is not self.transport:
            self._socket_transport.abort()  # A TLS layer in its handshake or shutdown does not always pass it on.

    def signs(self) -> kernel.Signs | None:
        """What the kernel knows of the peer."""
        return kernel.signs_of(self._socket_transport)

    def discard_in_child(self) -> None:
        """Close this process's copy of the socket only."""
        kernel.forget_descriptor(self._socket_transport)

    async def encrypt(self, context: ssl.SSLContext, host: str) -> None:
        """Put TLS on top and verify that the peer is `host`.

        What arrived before the handshake is thrown away: a man in the middle could have put it there.
        """
        loop = asyncio.get_running_loop()
        reader = StreamReader(loop=loop)
        stream = Stream(reader, loop)
        below = self._socket_transport
        transport = await loop.start_tls(
            below, stream, context, server_hostname=host, ssl_shutdown_timeout=_TLS_SHUTDOWN_S
        )
        if transport is None:
            raise ConnectionResetError("the connection was lost in the TLS handshake")
        stream.connection_made(transport)
        self._layer = _Layer(below.get_protocol())  # type: ignore[arg-type]  # asyncio's TLS protocol is buffered.
        below.set_protocol(self._layer)
        below.set_write_buffer_limits(high=0)
        transport.set_write_buffer_limits(high=1, low=0)  # TLS pauses *at* its limit, sockets beyond.
        self.transport, self.stream, self.reader = transport, stream, reader
        self.writer = asyncio.StreamWriter(transport, stream, reader, loop)


async def dial(host: str, port: int, keep_alive: kernel.KeepAlive) -> Pipe:
    """Open a TCP stream. An IP address needs no thread; a name asks the system's resolver."""
    loop = asyncio.get_running_loop()
    reader = StreamReader(loop=loop)
    stream = Stream(reader, loop)
    transport, _ = await loop.create_connection(lambda: stream, host, port)
    try:
        kernel.set_options(transport, keep_alive)
        return Pipe(transport, stream, reader)
    except BaseException:
        transport.abort()
        raise


async def dial_unix(path: str) -> Pipe:
    """Open a Unix stream."""
    loop = asyncio.get_running_loop()
    reader = StreamReader(loop=loop)
    stream = Stream(reader, loop)
    transport, _ = await loop.create_unix_connection(lambda: stream, path)
    return Pipe(transport, stream, reader)
