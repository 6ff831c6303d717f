"""The engine `dsn`: a MySQL-compatible server that is running already, as the service container of a CI."""

from __future__ import annotations

import asyncio
import socket
import urllib.parse

from aioaurora.simulator.engine import SimulatorError
from aioaurora.simulator.wire import Greeting, read_packet

_LOOKS_LIKE = "a dsn looks like mysql://root:password@127.0.0.1:3306, with a password that is percent-encoded"


class DsnEngine:
    """A server at `mysql://user:password@host:port`; the account may create schemas and kill sessions."""

    host: str
    is_mariadb: bool
    password: str
    port: int
    user: str

    name = "dsn"

    def __init__(self, dsn: str) -> None:
        try:
            parts = urllib.parse.urlsplit(dsn)
            host, port = parts.hostname, parts.port or 3306
        except ValueError:
            # Its sentence may hold a part of the password, if that has a slash in it.
            raise SimulatorError(_LOOKS_LIKE) from None
        if parts.scheme not in ("mysql", "mariadb") or not host:
            raise SimulatorError(_LOOKS_LIKE)
        self.host, self.port = host, port
        self.user = urllib.parse.unquote(parts.username or "root")
        self.password = urllib.parse.unquote(parts.password or "")
        self.is_mariadb = False

    def __repr__(self) -> str:
        return f"<DsnEngine {self.user}@{self.host}:{self.port}>"

    async def start(self) -> None:
        """See who answers there."""
        try:
            sock = await self.open()
            with sock:
                _, payload = await read_packet(sock)
        except OSError as error:
            raise SimulatorError(f"no server answers at {self.host}:{self.port}: {error}") from error
        self.is_mariadb = "mariadb" in Greeting.parse(payload).version.lower()

    async def stop(self) -> None:
        """Leave the server running: it is not ours."""

    async def open(self) -> socket.socket:
        """Connect to it."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)  # noqa: FBT003 - the library's signature
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(sock, address)
        except BaseException:
            sock.close()
            raise
        return sock
