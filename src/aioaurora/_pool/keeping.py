r"""What becomes of a pool's connections between two leases: looked at before they are lent, made clean after.

    given back --untouched--> idle --looked at, pinged--> lent
        \--touched--> tidied --/ \--no good--> closed

Nothing is decided here. Whatever ends a cleaning or a ping, a cancellation too, is told to the books at once.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

from pymysql import err

from aioaurora._io.driver import sentence_of
from aioaurora._io.limits import limited
from aioaurora.errors import ConnectTimeout

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from aioaurora._core.commands import Command
    from aioaurora._core.shares import Slot
    from aioaurora._core.slots import Books
    from aioaurora._pool.counting import Counts
    from aioaurora.connection import Connection
    from aioaurora.pool_config import PoolConfig


class Keeper:
    """Keeps the connections of one pool fit to be lent, and owns the tasks that this takes.

    Args:
        config: What the pool was told.
        late_after: Gives the seconds after which a sign of life of an instance, named by its id, is late.
        carry_out: Does what the books say.
    """

    def __init__(
        self,
        config: PoolConfig,
        books: Books,
        counts: Counts,
        *,
        late_after: Callable[[str], float],
        carry_out: Callable[[Iterable[Command]], None],
    ) -> None:
        self._config, self._books, self._counts = config, books, counts
        self._late_after, self._carry_out = late_after, carry_out
        self._loop = asyncio.get_running_loop()
        self._tidying: dict[Slot, asyncio.Task[None]] = {}
        self._has_ended = False

    def is_tidying(self, slot: Slot) -> bool:
        """Tell whether the connection was given back, and is being made clean."""
        return slot in self._tidying

    async def end(self) -> None:
        """Make nothing clean any more: what comes back from now on is closed."""
        self._has_ended = True
        tasks = list(self._tidying.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # --- before a lease ----------------------------------------------------------------------------------------

    async def made_ready(self, slot: Slot, instance: str | None, deadline: float) -> Connection | None:
        """Look at a connection before it is handed out, ping it where it was idle for long; None: another is needed.

        Cancelled, it closes the connection.

        Args:
            slot: What was leased.
            instance: The only one that will do; None: any that serves the role.
            deadline: Until when that may take.
        """
        connection: Connection = slot.connection
        idle_s = self._loop.time() - slot.idle_since
        is_old = 0 <= self._config.pool_recycle < idle_s
        why = "it was idle for long" if is_old else _flaw(slot, idle_s)
        is_good = False
        try:
            if not why and idle_s >= self._config.check_idle_after:
                why = "it did not answer"
                late_at = self._loop.time() + self._late_after(connection.instance)
                async with limited(min(deadline, late_at)):
                    await connection.check()
                why = ""
            if not why and not connection.lend():
                why = "its server hung up"
            if not why:
                why = "on_acquire failed"
                is_in_time = await self.called(self._config.on_acquire, connection, deadline)
                why = _flaw(slot) if is_in_time else "on_acquire took too long"  # It may have got one meanwhile.
            is_good = not why
        except (err.MySQLError, OSError):
            if why == "on_acquire failed":
                raise
        finally:
            if not is_good:
                connection.park()
                self._carry_out(self._books.discard(slot, why, self._loop.time()))
        if is_good and not self._books.serves(slot, instance):  # Its instance has come under suspicion meanwhile.
            connection.park()
            self.take_back(slot)
            is_good = False
        return connection if is_good else None

    async def called(
        self, callback: Callable[[Any], Awaitable[object]] | None, connection: Connection, deadline: float = math.inf
    ) -> bool:
        """Await a user's callback and end its transaction, for `callback_timeout` at most; False: the deadline came."""
        if callback is None:
            return True
        name = getattr(callback, "__name__", "a callback")
        until = self._loop.time() + self._config.callback_timeout
        try:
            async with limited(min(deadline, until)) as limit:
                await callback(connection)
                if connection.closed:  # A failure as any other: the next connection would fare no better.
                    raise err.InterfaceError(0, f"the connection was closed in {name}")
                if connection.is_in_transaction:
                    await connection.rollback()  # What it has read would be old for whoever leases it.
        except TimeoutError:
            if not limit.expired():
                raise
            if deadline < until:
                return False
            raise ConnectTimeout(connection.instance, phase=name, waited_s=self._config.callback_timeout) from None
        return True

    # --- after a lease -----------------------------------------------------------------------------------------

    def take_back(self, slot: Slot) -> asyncio.Task[None] | None:
        """Take back a leased connection that is parked; gives the task that makes it clean, where that is needed."""
        connection: Connection = slot.connection
        now = self._loop.time()
        if connection.is_in_use:
            self._carry_out(self._books.discard(slot, "it was given back while in use", now))
        elif connection.has_unread_rows:  # A new connection is quicker than reading them.
            self._carry_out(self._books.discard(slot, "rows were left unread", now))
        elif not connection.is_fit():
            self._carry_out(self._books.discard(slot, "it was lost", now))
        elif slot.stale or self._has_ended or not self._must_tidy(connection):
            self._carry_out(self._books.give_back(slot, now))
        else:
            slot.uses += 1  # The lease is over: the end of its block finds another one.
            task = self._loop.create_task(self._tidied(slot), name="aioaurora tidies a connection")
            if not task.done():  # An eager one may be.
                self._tidying[slot] = task
                task.add_done_callback(lambda task: self._given_up(slot, task))
            return task
        return None

    def _must_tidy(self, connection: Connection) -> bool:
        return self._config.on_release is not None or connection.needs_tidying(self._config.reset)

    def _given_up(self, slot: Slot, task: asyncio.Task[None]) -> None:
        """Close a connection whose cleaning was cancelled before it began."""
        if self._tidying.get(slot) is task:  # Else it has ended by itself; the next one may be under way.
            del self._tidying[slot]
            self._carry_out(self._books.discard(slot, "the pool was closed", self._loop.time()))

    async def _tidied(self, slot: Slot) -> None:
        connection: Connection = slot.connection
        is_clean, why = False, "the pool was closed"
        self._counts.tidied += 1
        try:
            async with limited(self._loop.time() + self._config.callback_timeout):
                await self._tidy(connection)
            is_clean, why = True, "it was lost"
        except TimeoutError:
            why = "it could not be made clean in time"
        except Exception as error:  # noqa: BLE001 - the outermost edge of a task; a callback may raise anything.
            why = f"it could not be made clean: {sentence_of(error)}"
        finally:
            self._tidying.pop(slot, None)
            now = self._loop.time()
            is_fit = is_clean and connection.is_fit()
            self._carry_out(self._books.give_back(slot, now) if is_fit else self._books.discard(slot, why, now))

    async def _tidy(self, connection: Connection) -> None:
        await self._undone(connection)
        if self._config.on_release is not None:
            await self._lent_to(self._config.on_release, connection)
            await self._undone(connection)

    async def _undone(self, connection: Connection) -> None:
        """Undo what was left behind; what `on_connect` has set is set anew where that was undone, too."""
        reset = self._config.reset
        if not connection.needs_tidying(reset):
            return
        was_reset = await connection.tidy(reset)
        if was_reset and self._config.on_connect is not None:
            await self._lent_to(self._config.on_connect, connection)
            if connection.is_in_transaction:
                await connection.tidy("never")

    async def _lent_to(self, callback: Callable[[Any], Awaitable[object]], connection: Connection) -> None:
        if not connection.lend():
            raise err.InterfaceError(0, "its server hung up")
        try:
            await callback(connection)
        finally:
            connection.park()


def _flaw(slot: Slot, idle_s: float = 0.0) -> str:
    """Say why a connection is not to be handed out; "" if it is."""
    return slot.stale or ("" if slot.connection.is_fit(idle_s) else "its server hung up")
