"""Connections and pools that time what they do: classes for those that are watched, and for no others."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from aioaurora._io.driver import Command
from aioaurora.connection import Connection
from aioaurora.otel._recorder import CLUSTER, INSTANCE, ROLE
from aioaurora.pool import Pool

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from aioaurora._io import wire
    from aioaurora.errors import Role
    from aioaurora.otel._recorder import Labels, Recorder

T = TypeVar("T")

_COMMANDS = {Command.INIT_DB: "USE", Command.PING: "PING", Command.PROCESS_KILL: "KILL"}
_ENDS_OR_BEGINS = ("COMMIT", "ROLLBACK", "START TRANSACTION")


class WatchedConnection(Connection):
    """A connection of a watched cluster; each cluster has a class of its own, which says what it belongs to.

    Attributes:
        recorder: What is told of all that it does.
        cluster_name: Its cluster's.
        shared_labels: Of all connections of its cluster, by where they lead.
        pool_labels: Under which the time that its making took is recorded.
    """

    recorder: ClassVar[Recorder]
    cluster_name: ClassVar[str]
    pool_labels: ClassVar[Labels]
    shared_labels: ClassVar[dict[tuple[str, int, str, Role | None], Labels]]

    labels: Labels
    leased_at: float | None = None
    _made_at: float | None = None
    _counted: weakref.ref[BaseException] | None = None

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._made_at = self._loop.time()

    def bind(self, *, instance: str, role: Role | None, epoch: int, generation: int) -> None:
        """Note what the role check has shown, and how long it took to get there."""
        super().bind(instance=instance, role=role, epoch=epoch, generation=generation)
        self.adopt()
        if self._made_at is not None and self.is_established:
            self.recorder.creations.record(max(self._loop.time() - self._made_at, 0.0), self.pool_labels)
            self._made_at = None

    def adopt(self) -> None:
        """Note what it leads to."""
        key = (self._host, self._port, self.instance, self.role)
        labels = self.shared_labels.get(key)
        if labels is None:
            labels = {
                "db.system.name": "mysql",
                "server.address": self._host,
                "server.port": self._port,
                CLUSTER: self.cluster_name,
                INSTANCE: self.instance,
            }
            if self.role is not None:
                labels[ROLE] = str(self.role)
            self.shared_labels[key] = labels
        self.labels = labels

    async def query(self, sql: str | bytes, unbuffered: bool = False) -> int:
        """Run a statement and read its first result."""
        return await self._timed(sql, super().query(sql, unbuffered))

    async def _exchange(self, command: int, payload: str | bytes, read: Callable[[], Awaitable[T]]) -> T:
        said = payload if command == Command.QUERY else _COMMANDS.get(command, "")
        return await self._timed(said, super()._exchange(command, payload, read))

    async def _said(self, *statements: str) -> None:
        main = next((text for text in _ENDS_OR_BEGINS if text in statements), statements[0])
        await self._timed(main, super()._said(*statements))

    async def _timed(self, said: str | bytes, work: Awaitable[T]) -> T:
        span = self.recorder.begun(said, self.labels, self.db)
        begun_at, failure = self._loop.time(), None
        try:
            return await work
        except BaseException as error:
            failure = error
            self._note(error)
            raise
        finally:
            self.recorder.ended(span, max(self._loop.time() - begun_at, 0.0), self.labels, failure)

    # --- what became of the work -------------------------------------------------------------------------------

    async def next_result(self) -> int:
        """Read the next result of a statement that has several."""
        try:
            return await super().next_result()
        except BaseException as error:
            self._note(error)
            raise

    async def fetch_one(self, result: wire.Result) -> tuple[Any, ...] | None:
        """Read one row of an unbuffered result."""
        try:
            return await super().fetch_one(result)
        except BaseException as error:
            self._note(error)
            raise

    async def ping(self, reconnect: bool = True) -> None:
        """Ask for a sign of life; with `reconnect`, make a lost connection whole again."""
        try:
            await super().ping(reconnect)
        except BaseException as error:
            self._note(error)
            raise

    async def _commit(self, guard: str, *then: str) -> bool:
        try:
            return await super()._commit(guard, *then)
        except BaseException as error:
            self._note(error)
            raise

    def _note(self, error: BaseException) -> None:
        """Count an outcome, once, however many calls it comes through."""
        outcome = getattr(error, "outcome", None)
        if outcome is None or (self._counted is not None and self._counted() is error):
            return
        self._counted = weakref.ref(error)
        self.recorder.became(outcome, self.cluster_name, self.instance, self.role)


class WatchedPool(Pool):
    """A watched pool; each has a class of its own.

    Attributes:
        recorder: What is told of all that it does.
        pool_labels: Its name, and its cluster's.
    """

    recorder: ClassVar[Recorder]
    pool_labels: ClassVar[Labels]

    def at_once(self, role: Role | str | None, instance: str | None) -> Connection | None:
        """Lease an idle connection that needs no look; None: there is none."""
        connection = super().at_once(role, instance)
        if connection is not None:
            self._lent_out(connection)
            self.recorder.waits.record(0.0, self.pool_labels)
        return connection

    async def in_line(self, role: Role | str | None, instance: str | None, timeout_s: float | None) -> Connection:
        """Lease a connection, waiting for it if need be."""
        span, failure = self.recorder.waiting(self.pool_labels), None
        begun_at = self._loop.time()
        try:
            connection = await super().in_line(role, instance, timeout_s)
        except BaseException as error:
            failure = error
            raise
        finally:
            self.recorder.waited(span, max(self._loop.time() - begun_at, 0.0), self.pool_labels, failure)
        self._lent_out(connection)
        return connection

    def take_back(self, connection: Connection) -> asyncio.Task[None] | None:
        """Take a connection back; gives the task that makes it clean, where that is needed."""
        if isinstance(connection, WatchedConnection) and connection.leased_at is not None:
            self.recorder.uses.record(max(self._loop.time() - connection.leased_at, 0.0), self.pool_labels)
            connection.leased_at = None
        return super().take_back(connection)

    def _lent_out(self, connection: Connection) -> None:
        if isinstance(connection, WatchedConnection):
            connection.leased_at = self._loop.time()
