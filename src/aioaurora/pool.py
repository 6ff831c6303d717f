"""A pool of connections to a cluster: the right one, at once, or in the order of arrival.

The books (`_core.slots`) say who gets what; the hands (`hands`) open, clean and close. Here stands what applications
call: the names of aiomysql's pool, roles, and whole units of work.

    create_pool --entered--> open --drain--> draining --all back--> closed
                              |                                       ^
                              +------------- close -------------------+
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Self

from pymysql import err

from aioaurora._core.options import seconds
from aioaurora._core.shares import GONE, IDLE, LEASED
from aioaurora._io import kernel
from aioaurora._pool.counting import stats_of
from aioaurora._pool.leasing import Leases
from aioaurora._pool.loops import is_running
from aioaurora._pool.sticky import stuck
from aioaurora.connection import Connection
from aioaurora.errors import PoolClosed, Role, WrongLoop
from aioaurora.waiting import Acquiring, Ending

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from types import TracebackType

    from aioaurora.cluster import Cluster
    from aioaurora.stats import PoolStats

_CUT = "the pool was terminated"


class Pool(Leases):
    """Connections to a cluster's writer and readers; made by `create_pool`.

    The names are aiomysql's, and so is their meaning; roles, one-statement calls and units of work are ours.
    """

    # --- leases ------------------------------------------------------------------------------------------------

    def acquire(
        self, *, role: Role | str | None = None, instance: str | None = None, timeout: float | None = None
    ) -> Acquiring:
        """Lease a connection to an instance that holds `role` now: `async with pool.acquire() as connection`.

        Waits through a failover, in the order of arrival. Cancelling it leaves the pool as it was.

        Args:
            role: "writer" or "reader"; None: the pool's own.
            instance: Id of the only instance that will do.
            timeout: Seconds for everything, > 0. None: `acquire_timeout` once the cluster has been reached,
                `connect_timeout` before.

        Raises:
            PoolTimeout: Nothing was free in time; says what was waited for, and what the pool looked like.
            TooManyWaiting: `max_waiting` others wait already.
            WriterUnavailable: The search for the writer has lasted for longer than `give_up_waiting_after`.
            NoWriter: The cluster has none, and never had: a global database's secondary.
            PoolClosed: The pool is closed, or is being drained.
            ConfigurationError: The role is none, or the time-out: that one before anything is awaited.
        """
        if timeout is not None:
            seconds("timeout", timeout)
        return Acquiring(self, role, instance, timeout)

    def release(self, connection: Connection) -> Ending:
        """Give a connection back; awaiting it waits until it is clean, too, which it becomes without.

        Raises:
            InterfaceError: It is no connection, none of this pool's, or was given back before.
        """
        if self._process != kernel.process.id:
            return Ending()  # In a forked child: it is the parent's.
        if self._loop is not asyncio.get_running_loop():
            raise WrongLoop("the pool")
        if not isinstance(connection, Connection):
            raise err.InterfaceError(0, f"a {type(connection).__name__} was released: give back what acquire() gave")
        slot = connection.slot
        if slot is None or (slot not in self._books.slots and slot.where is not GONE):
            raise err.InterfaceError(0, f"{connection!r} is no connection of {self!r}")
        if slot.where is IDLE or self._keeper.is_tidying(slot):
            raise err.InterfaceError(0, f"{connection!r} was given back before")
        return Ending(self.take_back(connection))

    def sticky(self) -> AbstractContextManager[None]:
        """Read one's own writes: `with pool.sticky():`.

        Within it, also in tasks that it starts, requests for a reader go to the writer from when a lease that has
        written is given back until the readers' reported lag and 1 s have passed.
        """
        return stuck(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # --- what it looks like ------------------------------------------------------------------------------------

    @property
    def cluster(self) -> Cluster:
        """The Cluster that the connections belong to."""
        return self._cluster

    @property
    def minsize(self) -> int:
        """How many connections of the default role are kept open."""
        return self._config.minsize

    @property
    def maxsize(self) -> int | None:
        """How many connections of the default role there are at most; None if there is no limit."""
        return self._config.maxsize or None

    @property
    def size(self) -> int:
        """How many connections of the default role there are, those that are being opened too."""
        return self._books.default_side.size

    @property
    def freesize(self) -> int:
        """How many connections of the default role are idle."""
        return self._books.default_side.idle

    @property
    def echo(self) -> bool:
        """Whether its connections log their statements, as aiomysql has it."""
        return bool(self._cluster._config.session.get("echo"))

    @property
    def closed(self) -> bool:
        """Whether it hands out nothing any more: closed, being drained, or left without its Cluster."""
        return self._is_refusing or self._books.is_closing

    def stats(self) -> PoolStats:
        """Take the pool's numbers as they are now."""
        return stats_of(self._books, self._counts)

    def __repr__(self) -> str:
        topology, stats = self.topology, self.stats()
        who = f"writer={topology.writer.id if topology.writer else None} epoch={topology.epoch}"
        state = " closed" if self.closed else ""
        numbers = f"{stats.leased} leased, {stats.idle} idle, {stats.opening} opening, {stats.waiting} waiting"
        return f"<Pool{state} {who} | {numbers}>"

    # --- the end -----------------------------------------------------------------------------------------------

    async def clear(self) -> None:
        """Close all idle connections."""
        self._refuse_elsewhere()
        now = self._loop.time()
        for slot in self._books.idle_slots:
            self._hands.carry_out(self._books.discard(slot, "the pool was cleared", now))

    def close(self, timeout: float | None = None) -> Ending:
        """Hand out nothing more, and close each connection when it comes back; awaiting it waits for that.

        Args:
            timeout: Seconds until connections that are still leased are cut, 0 or more. None: `acquire_timeout`. Of
                two calls the one that ends sooner holds.
        """
        self._refuse_elsewhere()
        limit_s = self._cluster._config.acquire_timeout if timeout is None else timeout
        self._hasten(self._loop.time() + seconds("timeout", limit_s, may_be_zero=True))
        if self._finishing is None:
            self._is_refusing = True
            if is_running():
                self._hands.close()
            self._finishing = self._loop.create_task(self._finish(), name="aioaurora closes a pool")
        return Ending(self._finishing)

    def terminate(self) -> None:
        """Close now: connections that are leased are cut."""
        self.close(0)
        self._cut()

    async def wait_closed(self) -> None:
        """Wait until all connections are closed, after `close` or `terminate`.

        Raises:
            RuntimeError: Neither was called.
        """
        if self._finishing is None:
            raise PoolClosed("the pool is open: call close() or terminate() first")
        await Ending(self._finishing)

    async def drain(self, timeout: float = 20.0) -> None:
        """Let running units of work end, as on SIGTERM, and close.

        New leases and units are refused with PoolClosed; units that run may finish, lease what else they need for it,
        and retry once. Idle connections are closed at once, the others as they come back, or are cut.

        Args:
            timeout: Seconds until connections that are still leased are cut, 0 or more.
        """
        self._refuse_elsewhere()
        deadline = self._loop.time() + seconds("timeout", timeout, may_be_zero=True)
        self._is_refusing = True
        self._hands.carry_out(self._books.drain(self._loop.time()))
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    await self._hands.emptied()
        finally:
            ending = self.close(max(deadline - self._loop.time(), 0.0))
        await ending

    # --- inside ------------------------------------------------------------------------------------------------

    async def begin(self) -> None:
        """Reach the cluster and open what `minsize` asks for; `wait_ready` says whether that is waited for."""
        try:
            if self._config.wait_ready:
                await self._cluster.start()
            await self._hands.begin()
            if self._config.wait_ready:
                await self._hands.ready(self._seeker.deadline(None))
        except BaseException:
            self.terminate()
            await self.wait_closed()
            raise

    def _cut(self) -> None:
        """Cut what is leased still."""
        for slot in [each for each in self._books.slots if each.where is LEASED]:
            slot.connection.cut(_CUT)
            self._hands.carry_out(self._books.discard(slot, _CUT, self._loop.time()))

    def _hasten(self, cut_at: float) -> None:
        """Cut what is leased then, unless that is done sooner."""
        if cut_at < self._cut_at:
            self._cut_at = cut_at
            if self._limit is not None:
                self._limit.reschedule(cut_at)

    async def _finish(self) -> None:
        self._hands.close()  # Nothing is left to end, unless the loop did not run when the pool was closed.
        try:
            async with asyncio.timeout_at(self._cut_at) as self._limit:
                await self._hands.emptied()
        except TimeoutError:
            self._cut()
        finally:
            self._limit = None
            await self._hands.end()
            if self._owns_cluster:
                await self._cluster.close()
