"""A connection that is asked for: awaited, entered, or handed to a task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aioaurora._io.later import Later
from aioaurora.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType


class Connecting(Later[Connection]):
    """A connection to come: `await` it, or enter it with `async with`, which closes it in the end.

    Like aiomysql's it is a coroutine too, for `asyncio.create_task` and its like.
    """

    __slots__ = ("_connect", "_connection")

    def __init__(self, connect: Callable[[], Coroutine[Any, Any, Connection]]) -> None:
        self._connect, self._started = connect, None

    def _start(self) -> Coroutine[Any, Any, Connection]:
        return self._connect()

    async def __aenter__(self) -> Connection:
        self._connection = await self._begun()
        return self._connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            await self._connection.ensure_closed()
        else:
            self._connection.close()
