"""The memory engine: a small MySQL-compatible server inside the event loop of whoever uses it.

It knows the statements that the drill, the simulator and their tests need, keeps transactions and row locks honestly
within small limits (see `locks`), and answers 1064 to everything else: it translates nothing and guesses nothing.
Each connection is a pair of sockets, so a client on virtual time finds its server on the same clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import itertools
import random
import socket
from typing import TYPE_CHECKING

from aioaurora.simulator.memory.service import Service
from aioaurora.simulator.memory.tables import Catalog
from aioaurora.simulator.memory.values import SqlError
from aioaurora.simulator.memory.variables import Variables
from aioaurora.simulator.memory.virtual import tables_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aioaurora.simulator.memory.session import Session
    from aioaurora.simulator.memory.values import Value


class MemoryEngine:
    """An engine without a process of its own; all connections share its tables.

    Attributes:
        catalog: Schemas and tables.
        variables: The global system variables.
    """

    catalog: Catalog
    password: str
    user: str
    variables: dict[str, Value]

    name = "memory"
    is_mariadb = False

    def __init__(self, user: str = "root", password: str = "", *, seed: int | None = None) -> None:
        """Let `user` log in, with whatever password: nobody else can reach it."""
        self.user, self.password = user, password
        self.catalog = Catalog()
        self.catalog.virtual = tables_of(self)
        self.variables = Variables.of_server()
        self._ids = itertools.count(1)
        self._random = random.Random(seed)  # noqa: S311 - the nonce protects nothing here.
        self._services: dict[int, Service] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        # Time of day when the loop's clock was 0.
        self._epoch: dt.datetime | None = None

    async def start(self) -> None:
        """Be ready; nothing has to be started."""

    async def stop(self) -> None:
        """End every session, its open transaction undone."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def open(self) -> socket.socket:
        """Connect; the greeting is on its way."""
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setblocking(False)  # noqa: FBT003 - the standard library's own signature.
        nonce = bytes(self._random.randrange(33, 126) for _ in range(20))
        service = Service(self, next(self._ids), nonce)
        task = asyncio.get_running_loop().create_task(self._serve(service, ours))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return theirs

    def now(self) -> dt.datetime:
        """Return the time of day, which follows the loop's clock."""
        elapsed = dt.timedelta(seconds=asyncio.get_running_loop().time())
        if self._epoch is None:
            self._epoch = dt.datetime.now(dt.UTC).replace(tzinfo=None) - elapsed
        return self._epoch + elapsed

    def sessions(self) -> Sequence[Session]:
        """Return the sessions that are logged in."""
        return [service.session for service in self._services.values() if service.session is not None]

    def kill(self, connection_id: int, *, query_only: bool) -> None:
        """End a session, or what it is doing; its transaction is undone when this returns."""
        service = self._services.get(connection_id)
        if service is None:
            raise SqlError(1094, f"Unknown thread id: {connection_id}")
        service.kill(query_only=query_only)

    async def _serve(self, service: Service, sock: socket.socket) -> None:
        reader, writer = await asyncio.open_unix_connection(sock=sock)
        self._services[service.id] = service
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):  # The client has gone.
                await service.serve(reader, writer)
        finally:
            service.end()
            self._services.pop(service.id, None)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
