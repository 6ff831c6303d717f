"""Who asks a pool for a connection: at once, or in line."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from aioaurora._core.shares import LEASED
from aioaurora._core.silence import OUR_LATENESS_S
from aioaurora._io.later import Later

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any

    from aioaurora._core.shares import Slot
    from aioaurora.connection import Connection
    from aioaurora.errors import Role


class Waiter:
    """One who stands in line for a slot, until a deadline."""

    __slots__ = ("_is_late", "_timer", "asked_at", "deadline", "future", "instance", "role")

    role: Role | None
    instance: str | None
    asked_at: float
    deadline: float

    def __init__(
        self,
        role: Role | None,
        instance: str | None,
        *,
        asked_at: float,
        deadline: float,
        timed_out: Callable[[Waiter], None],
    ) -> None:
        self.role, self.instance, self.asked_at, self.deadline = role, instance, asked_at, deadline
        loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Slot] = loop.create_future()
        self._timer = loop.call_at(deadline, self._expire, timed_out)
        self._is_late = False

    def still_wants(self) -> bool:
        """Tell whether it would take a slot now."""
        return not self.future.done()

    def serve(self, slot: Slot) -> None:
        """Give it a slot."""
        self.future.set_result(slot)

    def fail(self, error: BaseException) -> None:
        """Tell it that there will be none."""
        if not self.future.done():
            self.future.set_exception(error)

    def leave(self) -> Slot | None:
        """Stop waiting; gives back the slot that it got and cannot use."""
        self._timer.cancel()
        future = self.future
        if future.cancel() or future.cancelled() or future.exception() is not None:
            return None
        return future.result()

    def settle(self) -> None:
        """Be served: no deadline any more."""
        self._timer.cancel()

    def _expire(self, timed_out: Callable[[Waiter], None]) -> None:
        loop = asyncio.get_running_loop()
        if not self._is_late and loop.time() - self.deadline > OUR_LATENESS_S:
            self._is_late = True  # Our loop stood still: what has arrived meanwhile comes first (case 36).
            self._timer = loop.call_later(OUR_LATENESS_S, self._expire, timed_out)
        elif not self.future.done():
            timed_out(self)


class Leasing(Protocol):
    """What a request needs of its pool."""

    def at_once(self, role: Role | str | None, instance: str | None) -> Connection | None:
        """Lease an idle connection."""

    async def in_line(self, role: Role | str | None, instance: str | None, timeout_s: float | None) -> Connection:
        """Wait for one."""

    def take_back(self, connection: Connection) -> asyncio.Task[None] | None:
        """Take a connection back."""


class Acquiring(Later["Connection"]):
    """A connection of a pool to come: `await` it, or enter it with `async with`, which gives it back in the end.

    Like aiomysql's it is a coroutine too, for `asyncio.create_task` and its like.
    """

    __slots__ = ("_connection", "_instance", "_pool", "_role", "_timeout_s", "_uses")

    def __init__(self, pool: Leasing, role: Role | str | None, instance: str | None, timeout_s: float | None) -> None:
        self._pool, self._role, self._instance, self._timeout_s = pool, role, instance, timeout_s
        self._started = None

    async def __aenter__(self) -> Connection:
        connection = self._pool.at_once(self._role, self._instance)
        if connection is None:
            connection = await self._pool.in_line(self._role, self._instance, self._timeout_s)
        self._connection, self._uses = connection, connection.slot.uses
        return connection

    async def __aexit__(self, *_: object) -> None:
        slot = self._connection.slot
        if slot.uses == self._uses and slot.where is LEASED:  # Else it was given back in the block.
            self._pool.take_back(self._connection)

    async def _start(self) -> Connection:
        connection = self._pool.at_once(self._role, self._instance)
        return connection or await self._pool.in_line(self._role, self._instance, self._timeout_s)


class Ending(Later[None]):
    """Something that has been done; awaiting it waits for what follows from it, too, which goes on without."""

    __slots__ = ("_rest",)

    def __init__(self, rest: asyncio.Task[None] | None = None) -> None:
        self._rest, self._started = rest, None

    def __await__(self) -> Generator[Any, None, None]:
        return self._start().__await__()  # Each time anew: it may be awaited again.

    async def _start(self) -> None:
        rest = self._rest
        if rest is None:
            return
        await asyncio.wait({rest})  # Cancelling this one leaves it alone.
        if not rest.cancelled():
            rest.result()
