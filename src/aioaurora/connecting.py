"""A connection that is asked for: awaited, entered, or handed to a task."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from aioaurora.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import TracebackType


class Connecting(Coroutine[Any, Any, Connection]):
    """A connection to come: `await` it, or enter it with `async with`, which closes it in the end.

    Like aiomysql's it is a coroutine too, for `asyncio.create_task` and its like.
    """

    __slots__ = ("_connection", "_start", "_started")

    def __init__(self, start: Callable[[], Coroutine[Any, Any, Connection]]) -> None:
        self._start = start
        self._started: Coroutine[Any, Any, Connection] | None = None

    def _begun(self) -> Coroutine[Any, Any, Connection]:
        if self._started is None:
            self._started = self._start()
        return self._started

    def send(self, value: Any) -> Any:
        """Go on, as coroutines do."""
        return self._begun().send(value)

    def throw(self, *error: Any) -> Any:
        """Go on with an error."""
        return self._begun().throw(*error)

    def close(self) -> None:
        """Give up what was begun; not the connection."""
        if self._started is not None:
            self._started.close()

    def __await__(self) -> Generator[Any, None, Connection]:
        return self._begun().__await__()

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
