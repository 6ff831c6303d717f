"""How a pool leases its connections: at once if one is idle, else in line; and how it takes them back."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import random
from typing import TYPE_CHECKING

from pymysql import err

from aioaurora._core import pool_event as kinds
from aioaurora._core.options import seconds
from aioaurora._core.selection import careful
from aioaurora._core.shares import LEASED
from aioaurora._core.slots import Books
from aioaurora._core.traces import READ, WROTE
from aioaurora._io import kernel
from aioaurora._pool.counting import Counts, shortage
from aioaurora._pool.hands import Hands
from aioaurora._pool.loops import is_running
from aioaurora._pool.sticky import sticky_of
from aioaurora.errors import ConfigurationError, PoolClosed, PoolTimeout, Role, TooManyWaiting, WrongLoop, WrongProcess
from aioaurora.retrying import is_going_on
from aioaurora.units import Units
from aioaurora.waiting import Deadlines, Waiter

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from aioaurora._core.shares import Side, Slot
    from aioaurora._core.topology import Topology
    from aioaurora.cluster import Cluster
    from aioaurora.connection import Connection
    from aioaurora.pool_config import PoolConfig

_LATE_S = 1.0


class Leases(Units):
    """The leases of one pool."""

    def __init__(self, cluster: Cluster, config: PoolConfig, *, owns_cluster: bool) -> None:
        self._cluster, self._config, self._owns_cluster = cluster, config, owns_cluster
        self._counts = Counts()
        said = cluster._config
        self._books = Books(
            dataclasses.replace(config.limits, connecting=said.max_connecting),
            default=None if said.instance else said.role or said.endpoint.default_role,
            strategy=careful(config.strategy, self._strategy_failed),
            weights=config.reader_weights,
            chance=random.random,
        )
        self._hands = Hands(cluster, config, self._books, self._counts)
        self._keeper = self._hands.keeper
        self._seeker = cluster._begun().seeker
        self._loop, self._process = asyncio.get_running_loop(), kernel.process.id
        self._deadlines = Deadlines(self._timed_out)
        self._is_refusing = False
        self._asked_at = -math.inf
        self._finishing: asyncio.Task[None] | None = None
        self._cut_at = math.inf  # When what is leased still is cut, once the pool is closed.
        self._limit: asyncio.Timeout | None = None
        recycle = config.pool_recycle if config.pool_recycle >= 0 else math.inf
        self._always_tidies = config.reset == "always" or config.on_release is not None
        self._checks_after = -1.0 if config.on_acquire else min(config.check_idle_after, recycle)

    @property
    def topology(self) -> Topology:
        """What is believed of the cluster now; an immutable value."""
        return self._cluster.topology

    @property
    def default_role(self) -> Role | None:
        """The role of who asks for none; None: any."""
        return self._books.default

    @property
    def has_reached(self) -> bool:
        """Whether an instance of the cluster has answered once."""
        return self._seeker.has_reached

    @property
    def failure(self) -> BaseException | None:
        """Why the last connect of the default role failed; None: it did not."""
        return self._hands.failures[self._books.default_side.role]

    @property
    def searching_for_s(self) -> float:
        """For how many seconds the writer has been sought; 0 when it is not."""
        return self._hands.searching_for_s

    def deadline(self, timeout: float | None) -> float:
        """Say until when, on the loop's clock, that may take which is asked for now."""
        return self._seeker.deadline(None if timeout is None else seconds("timeout", timeout))

    def working(self) -> AbstractContextManager[None]:
        """Count a unit of work while it is under way: a pool that is being drained waits for it."""
        return self._hands.working()

    def at_once(self, role: Role | str | None, instance: str | None) -> Connection | None:
        """Lease an idle connection that needs no look; None: there is none."""
        if self._is_refusing or self._process != kernel.process.id or self._loop is not asyncio.get_running_loop():
            self._refuse(is_new=True)
        books = self._books
        side = books.default_side if role is None and instance is None else self._side(role, instance)
        slot = books.take(side, instance)
        if slot is None:
            return None
        connection = self._lent(slot)
        if connection is None:
            books.put_by(slot)
        else:
            self._counts.at_once += 1
        return connection

    async def in_line(self, role: Role | str | None, instance: str | None, timeout_s: float | None) -> Connection:
        """Lease a connection, waiting for it if need be."""
        # No two are the same: who comes back into the line, as his connection was no good, goes where he was.
        self._asked_at = asked_at = max(self._loop.time(), math.nextafter(self._asked_at, math.inf))
        deadline = self.deadline(timeout_s)
        self._counts.in_line += 1
        connection, has_waited = None, False
        while connection is None:
            if self._is_refusing or self._books.is_closing:
                self._refuse()
            side = self._side(role, instance)
            now = self._loop.time()
            slot = self._books.take(side, instance) if now < deadline else None
            if slot is None:
                if not has_waited:
                    self._refuse_to_wait(side, instance)
                has_waited = True
                wanted = None if role is None else side.role
                waiter = self._queued(side, Waiter(wanted, instance, asked_at=asked_at, deadline=deadline), now)
                try:
                    slot = await waiter.future
                except BaseException:
                    self._left(waiter)
                    raise
                finally:
                    self._deadlines.leave()
            is_fresh = not slot.stale and self._books.serves(slot, instance)
            connection = self._lent(slot) if is_fresh else None
            if connection is None:
                connection = await self._keeper.made_ready(slot, instance, deadline)
        self._served(connection, side, self._loop.time() - asked_at if has_waited else None)
        return connection

    def take_back(self, connection: Connection) -> asyncio.Task[None] | None:
        """Take a connection back; gives the task that makes it clean, where that is needed."""
        slot = connection.slot
        if self._process != kernel.process.id or slot.where is not LEASED:
            return None  # The parent's; or it was cut.
        if connection.park() and not self._always_tidies:
            commands = self._books.give_back(slot, self._loop.time())
            if commands:
                self._hands.carry_out(commands)
            return None
        if (connection.traces or READ) & WROTE and slot.side.role is not Role.READER:
            sticky = sticky_of(self)
            if sticky is not None:
                sticky.written_at = self._loop.time()
        return self._keeper.take_back(slot)

    # --- inside ------------------------------------------------------------------------------------------------

    def _lent(self, slot: Slot) -> Connection | None:
        """Let a leased connection be used that needs no more than a look; None: it needs more, or is no good."""
        connection: Connection = slot.connection
        idle_s = self._loop.time() - slot.idle_since
        return connection if idle_s < self._checks_after and connection.lend(idle_s) else None

    def _side(self, role: Role | str | None, instance: str | None) -> Side:
        """Give the side of the books that serves a request."""
        sides = self._books.sides
        if role is None:
            return self._books.default_side if instance is None else sides[self._books.role_of(instance)]
        try:
            wanted = Role(role)
        except ValueError:
            raise ConfigurationError(f'role={role!r}: write "writer" or "reader"') from None
        if wanted is Role.READER and instance is None:
            sticky = sticky_of(self)
            if sticky is not None and sticky.must_read_from_writer(self._loop.time(), self._books.lag_s):
                wanted = Role.WRITER
        return sides[wanted]

    def _refuse_to_wait(self, side: Side, instance: str | None) -> None:
        """Refuse who comes new into a line that is too long, has waited in vain for too long, or leads nowhere."""
        most = self._config.max_waiting
        try:
            if most is not None and (waiting := self._books.waiting) >= most:
                raise TooManyWaiting(f"{waiting} wait for a connection already: {self!r}", waiting=waiting)
            if side.role is not None:
                self._seeker.refuse_late_comer(side.role)
            if instance is not None:
                self._seeker.refuse_stranger(side.role, instance)
        except err.MySQLError:
            self._counts.refused += 1
            raise

    def _queued(self, side: Side, waiter: Waiter, now: float) -> Waiter:
        """Put somebody into line."""
        if now < waiter.deadline:  # Else there is nothing to open for him.
            self._hands.carry_out(self._books.wait(waiter, side, now))
        self._deadlines.join(waiter)
        return waiter

    def _left(self, waiter: Waiter) -> None:
        """See to it that nobody who has left keeps a place or a slot."""
        self._books.give_up(waiter)
        unused = waiter.leave()
        if unused is not None:
            self._hands.carry_out(self._books.give_back(unused, self._loop.time()))

    def _served(self, connection: Connection, side: Side, waited_s: float | None) -> None:
        self._counts.later += 1
        if waited_s is None:
            return
        self._counts.waited(waited_s)
        if waited_s >= _LATE_S:
            cluster, instance = self.topology.cluster, connection.instance
            self._emit(kinds.PoolServedLate(cluster=cluster, role=side.role, instance=instance, waited_s=waited_s))

    def _timed_out(self, waiter: Waiter) -> None:
        self._counts.timed_out += 1
        waited_s = self._loop.time() - waiter.asked_at
        role = waiter.role or (self._books.default if waiter.instance is None else None)
        self._emit(kinds.PoolTimedOut(cluster=self.topology.cluster, role=role, waited_s=waited_s))
        side, phase = self._books.side_of(waiter.role, waiter.instance), self._hands.phase
        failure = self._hands.failures[side.role]
        sentence = shortage(self._books, self.topology, waiter, waited_s=waited_s, phase=phase, failure=failure)
        error = PoolTimeout(sentence, waited_s=waited_s)
        error.__cause__ = failure
        self._books.give_up(waiter)
        waiter.fail(error)

    def _refuse(self, *, is_new: bool = False) -> None:
        self._refuse_elsewhere()
        if self._finishing is not None:
            state = "is closed: it takes no new work"
        elif self._hands.is_orphaned:
            state = "takes no new work: its Cluster was closed"
        elif self._books.is_closing:
            state = "has failed: make a new one"
        elif self._is_refusing and not is_going_on(self):
            state = "is being drained: it takes no new work"
        else:
            return
        self._counts.refused += 1
        self._counts.in_line += is_new
        raise PoolClosed(f"the pool of {self.topology.cluster!r} {state}")

    def _refuse_elsewhere(self) -> None:
        if self._process != kernel.process.id:
            raise WrongProcess("the pool", made_in=self._process, used_in=kernel.process.id)
        if is_running() and self._loop is not asyncio.get_running_loop():
            raise WrongLoop("the pool")  # Not while none runs: as aiomysql's, a pool can be closed between two runs.

    def _emit(self, event: kinds.PoolFailed | kinds.PoolServedLate | kinds.PoolTimedOut) -> None:
        self._cluster._events.emit(event)

    def _strategy_failed(self, error: Exception) -> None:
        what = f"reader_strategy: {type(error).__name__}: {error}"
        self._emit(kinds.PoolFailed(cluster=self.topology.cluster, error=what))
