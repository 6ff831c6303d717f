"""Who asks a pool for a connection: at once, or in line."""

from __future__ import annotations

import asyncio
import heapq
import math
from typing import TYPE_CHECKING

from aioaurora._core.shares import LEASED
from aioaurora._core.silence import OUR_LATENESS_S
from aioaurora._io.later import Later

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator
    from contextlib import AbstractContextManager
    from typing import Any

    from aioaurora._core.shares import Slot
    from aioaurora.connection import Connection
    from aioaurora.errors import Role

_SPARE = 16


class Waiter:
    """One who stands in line for a slot, until a deadline."""

    __slots__ = ("asked_at", "deadline", "future", "instance", "role")

    role: Role | None
    instance: str | None
    asked_at: float
    deadline: float

    def __init__(self, role: Role | None, instance: str | None, *, asked_at: float, deadline: float) -> None:
        self.role, self.instance, self.asked_at, self.deadline = role, instance, asked_at, deadline
        self.future: asyncio.Future[Slot] = asyncio.get_running_loop().create_future()

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
        future = self.future
        if future.cancel() or future.cancelled() or future.exception() is not None:
            return None
        return future.result()


class Deadlines:
    """Ends each wait at its deadline, by one timer for them all: nearly every wait ends long before.

    Args:
        expire: Ends the wait of who still waits.
    """

    __slots__ = ("_expire", "_is_late", "_joined", "_loop", "_queue", "_rings_at", "_timer", "_waiting")

    def __init__(self, expire: Callable[[Waiter], None]) -> None:
        self._expire = expire
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at, self._is_late = math.inf, False
        self._joined = self._waiting = 0
        # A heap; has those whose wait is over, too, until they would be first or are too many.
        self._queue: list[tuple[float, int, Waiter]] = []

    def join(self, waiter: Waiter) -> None:
        """Look after one more."""
        self._joined, self._waiting = self._joined + 1, self._waiting + 1
        heapq.heappush(self._queue, (waiter.deadline, self._joined, waiter))
        if waiter.deadline < self._rings_at:
            self._arm(waiter.deadline)

    def leave(self) -> None:
        """Hear that a wait is over, however it ended."""
        self._waiting -= 1
        queue = self._queue
        while queue and not queue[0][2].still_wants():  # As a rule he himself: what is kept is work for the collector.
            heapq.heappop(queue)
        if not self._waiting:
            queue.clear()
            self._disarm()
        elif len(queue) > 2 * self._waiting + _SPARE:
            queue[:] = [entry for entry in queue if entry[2].still_wants()]
            heapq.heapify(queue)

    def _arm(self, when: float) -> None:
        self._disarm()
        self._timer, self._rings_at = self._loop.call_at(when, self._ring), when

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._rings_at, self._is_late = None, math.inf, False

    def _ring(self) -> None:
        queue, now = self._queue, max(self._loop.time(), self._rings_at)  # A timer may fire a moment early.
        if not self._is_late and now - self._rings_at > OUR_LATENESS_S:
            self._arm(now + OUR_LATENESS_S)  # Our loop stood still: what has arrived meanwhile comes first (case 36).
            self._is_late = True
            return
        self._disarm()
        while queue and (queue[0][0] <= now or not queue[0][2].still_wants()):
            _, _, waiter = heapq.heappop(queue)
            if waiter.still_wants():
                self._expire(waiter)
        if queue:
            self._arm(queue[0][0])


class Lender:
    """What requests and units of work need of a pool."""

    @property
    def closed(self) -> bool:
        """Whether new work is refused."""
        raise NotImplementedError

    def acquire(
        self, *, role: Role | str | None = None, instance: str | None = None, timeout: float | None = None
    ) -> Awaitable[Connection]:
        """Lease a connection."""
        raise NotImplementedError

    def release(self, connection: Connection) -> Awaitable[None]:
        """Give it back; awaiting it waits until it is clean, too."""
        raise NotImplementedError

    def at_once(self, role: Role | str | None, instance: str | None) -> Connection | None:
        """Lease an idle connection."""
        raise NotImplementedError

    async def in_line(self, role: Role | str | None, instance: str | None, timeout_s: float | None) -> Connection:
        """Wait for one."""
        raise NotImplementedError

    def take_back(self, connection: Connection) -> asyncio.Task[None] | None:
        """Take a connection back."""
        raise NotImplementedError

    def working(self) -> AbstractContextManager[None]:
        """Count a unit of work while it is under way, its pauses too."""
        raise NotImplementedError

    def deadline(self, timeout: float | None) -> float:
        """Say until when, on the loop's clock, that may take which is asked for now."""
        raise NotImplementedError

    def cause_of(self, error: Exception) -> Exception:
        """Give the driver's error where a layer between the driver and the unit has put its own in its place."""
        return error


class Acquiring(Later["Connection"]):
    """A connection of a pool to come: `await` it, or enter it with `async with`, which gives it back in the end.

    Like aiomysql's it is a coroutine too, for `asyncio.create_task` and its like.
    """

    __slots__ = ("_connection", "_instance", "_pool", "_role", "_timeout_s", "_uses")

    def __init__(self, pool: Lender, role: Role | str | None, instance: str | None, timeout_s: float | None) -> None:
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
