"""A pool's hands: they open and close what its books say, and own every task that this takes.

Nothing is decided here. Whatever ends a connect, a cancellation too, is told to the books at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import math
import random
from typing import TYPE_CHECKING, assert_never

from pymysql import err

from aioaurora._core import pool_event as kinds
from aioaurora._core.commands import Close, Fail, Hand, Open
from aioaurora._core.endpoint import EndpointKind
from aioaurora._core.shares import GONE, IDLE
from aioaurora._core.sight import sight_of
from aioaurora._core.verdict import is_final
from aioaurora._io.limits import limited
from aioaurora._io.slices import Slices
from aioaurora._pool.keeping import Keeper
from aioaurora._pool.loops import is_ending
from aioaurora._pool.telling import Telling
from aioaurora._pool.withholding import Withholding
from aioaurora.errors import AioauroraError, NoReader, PoolClosed, PoolTimeout, Role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from aioaurora._core.commands import Command
    from aioaurora._core.failover import Phase
    from aioaurora._core.frozen import Event
    from aioaurora._core.shares import Slot
    from aioaurora._core.slots import Books
    from aioaurora._pool.counting import Counts
    from aioaurora.cluster import Cluster
    from aioaurora.connection import Connection
    from aioaurora.pool_config import PoolConfig

_LOOK_OVER_EVERY_S = 1.0


class Hands:
    """Carries out the commands of one pool's books.

    Attributes:
        failures: Why the last connect for each role failed; None: it did not.
        keeper: Looks after the connections between their leases.
        is_orphaned: The Cluster was closed before the pool.
    """

    def __init__(self, cluster: Cluster, config: PoolConfig, books: Books, counts: Counts) -> None:
        self.failures: dict[Role | None, BaseException | None] = dict.fromkeys(books.sides)
        self.is_orphaned = self._has_ended = False
        self._latest = -math.inf
        self._last_failure: BaseException = err.InternalError(0, "no connect has failed")
        self._cluster, self._config, self._books, self._counts = cluster, config, books, counts
        self._parts = cluster._begun()
        self._loop, self._slices = self._parts.loop, Slices()
        self.keeper = Keeper(config, books, counts, late_after=self._parts.monitor.late_after, carry_out=self.carry_out)
        name, emit = cluster.topology.cluster, cluster._events.emit
        self._withholding = Withholding(name, emit)
        self._telling = Telling(name, emit, is_patient=not config.wait_ready)
        self._group: asyncio.TaskGroup | None = None
        self._opening: dict[Slot, asyncio.Task[None]] = {}
        self._begun, self._stirred = asyncio.Event(), asyncio.Event()
        self._root = self._loop.create_task(self._run(), name=f"aioaurora pool of {cluster.topology.cluster}")

    @property
    def phase(self) -> Phase:
        """What is known of the writer."""
        return self._parts.monitor.state.phase

    @property
    def searching_for_s(self) -> float:
        """For how long the writer has been sought; 0 when it is not."""
        return self._parts.monitor.searching_for_s

    async def begin(self) -> None:
        """Follow the cluster; opens what `minsize` asks for."""
        await self._begun.wait()
        self._parts.monitor.followers.add(self.follow)
        self._parts.dependants.add(self._orphan)
        self.follow()
        self.carry_out(self._books.refreshed(self._loop.time()))

    async def ready(self, deadline: float) -> None:
        """Wait until `minsize` connections of the default role are open, or the writer stands in; raises why not.

        Raises:
            PoolTimeout: Not all of them were open in time.
        """
        side, books, asked_at = self._books.default_side, self._books, self._loop.time()
        try:
            async with limited(deadline):
                while not books.is_stood_in_for(side) and (side.opened < side.minsize or books.is_measuring):
                    failure = self.failures[side.role]
                    # A reader that is down is no reason while there are others: they are asked next.
                    if failure is not None and not (isinstance(failure, NoReader) and self._cluster.topology.readers):
                        raise failure
                    await self._stirred.wait()
        except TimeoutError as error:
            if isinstance(error, AioauroraError):
                raise
            what = f"{side.opened} of {side.minsize} connections of {self._cluster!r} are open"
            waited_s = self._loop.time() - asked_at
            raise PoolTimeout(f"{what} after {waited_s:.1f} s", waited_s=waited_s) from error

    async def emptied(self) -> None:
        """Wait until the pool holds nothing, and no unit of work is under way that may ask for a connection again."""
        while self._books.slots or self._counts.units:
            await self._stirred.wait()

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Count a unit of work while it is under way."""
        self._counts.units += 1
        try:
            yield
        finally:
            self._counts.units -= 1
            self._stir()

    async def end(self) -> None:
        """End all tasks."""
        self._parts.monitor.followers.discard(self.follow)
        self._parts.dependants.discard(self._orphan)
        self._has_ended = True
        self._slices.finish()
        self._root.cancel()
        await asyncio.wait({self._root})

    def close(self, what: str = "the pool") -> None:
        """Open nothing from now on; whoever waits is told what was closed."""
        commands, waiters = self._books.close()
        self.carry_out(commands)
        self._counts.refused += len(waiters)
        for waiter in waiters:
            waiter.fail(PoolClosed(f"{what} was closed while this waited for a connection"))

    def _orphan(self) -> None:
        """Hear that the Cluster was closed: nothing can be opened any more, and nothing is followed."""
        self.is_orphaned = True
        self.close("the Cluster of the pool")

    def follow(self) -> None:
        """Let the books follow what is believed of the cluster."""
        state, is_plain = self._parts.monitor.state, bool(self._parts.dialer.is_plain)
        if is_plain and self._cluster._config.role is None:
            self.carry_out(self._books.mean(None, self._loop.time()))
        is_custom = self._cluster._config.endpoint.kind is EndpointKind.CUSTOM  # DNS alone says who its members are.
        sight = sight_of(state, is_plain=is_plain, is_custom=is_custom)
        if self._cluster._config.follow == "observe":
            self._withholding.see(sight, self._books.slots)
            return
        if sight != self._books.sight:  # Each new connection is news of its instance, and all slots are looked at.
            self.carry_out(self._books.follow(sight, self._loop.time()))

    def carry_out(self, commands: Iterable[Command]) -> None:
        """Do what the books say, in order; connections end last."""
        ends: list[Callable[[], None]] = []
        for command in commands:
            match command:
                case Open(slot):
                    if self._group is not None:
                        self._begin_to_open(self._group, slot)
                case Hand(slot, waiter):
                    waiter.serve(slot)
                case Close(slot, why):
                    ends += self._closed(slot, why)
                case Fail(waiter):
                    waiter.fail(_copied(self._last_failure))
                case _:
                    assert_never(command)
        if ends:
            self._slices.add(ends)

    # --- opening -----------------------------------------------------------------------------------------------

    def _begin_to_open(self, group: asyncio.TaskGroup, slot: Slot) -> None:
        # Not anyio's group and a scope: they would be a twentieth of what a connection costs.
        task = group.create_task(self._open(slot), name="aioaurora opens a connection")
        if not task.done():  # An eager one may be.
            self._opening[slot] = task

    async def _open(self, slot: Slot) -> None:
        """Connect for a slot, and tell the books how it went."""
        connection: Connection | None = None
        error: BaseException | None = None
        try:
            connection = await self._connected(slot)
        except asyncio.CancelledError:
            if slot.where is GONE:  # By us: the books had dropped it.
                raise
            # A callback awaits what somebody else has cancelled: no reason for the whole pool to end.
            error = err.InternalError(0, "the connect was cancelled from within: by on_connect or the credentials")
        except Exception as failure:  # noqa: BLE001 - the outermost edge of a task: it is told below.
            error = failure
        finally:
            self._opening.pop(slot, None)
            self._arrived(slot, connection, error)

    def _arrived(self, slot: Slot, connection: Connection | None, error: BaseException | None) -> None:
        try:
            if connection is None:
                self._failed(slot, error)
            else:
                self._opened(slot, connection)
        except Exception as failure:  # noqa: BLE001 - as above: the other connects go on.
            self._tell(failure)
        self._stir()

    async def _connected(self, slot: Slot) -> Connection:
        role = slot.side.role
        config, instance = self._cluster._config, slot.instance
        timeout_s = config.connect_timeout if instance is not None else None
        connection = await self._cluster._connect(role, instance or config.instance, timeout_s, is_modest=True)
        try:
            await self.keeper.called(self._config.on_connect, connection)
        except BaseException:
            connection.abort()
            raise
        return connection

    def _opened(self, slot: Slot, connection: Connection) -> None:
        now, lifetime_s = self._loop.time(), self._config.max_lifetime
        self._counts.opened += 1
        self.failures[slot.side.role] = None
        connection.slot = slot
        connection.park()
        connection.when_ended(self._hung_up, slot)
        slot.connection, slot.instance = connection, connection.instance
        slot.epoch, slot.generation = connection.epoch, connection.generation
        if slot.side.role is Role.READER:
            self._books.measured(slot, connection.round_trip_s())
        if lifetime_s is not None:
            slot.expires_at = now + lifetime_s * (1 - random.random() / 10)  # noqa: S311 - no secret.
        self.carry_out(self._books.opened(slot, now))

    def _failed(self, slot: Slot, error: BaseException | None) -> None:
        if error is None:  # The pool is being closed.
            self.carry_out(self._books.failed(slot, self._now, is_final=False))
            return
        self._counts.failed += 1
        self.failures[slot.side.role] = self._last_failure = error
        is_stranger = slot.is_pinned and self._cluster.topology.get(slot.instance) is None
        is_followed = self._cluster._config.follow == "on"
        final = is_final(error, self.phase, is_stranger=is_stranger, is_followed=is_followed)
        self._telling.connect_failed(slot, error, is_final=final, has_reached=self._parts.seeker.has_reached)
        self.carry_out(self._books.failed(slot, self._now, is_final=final))
        if slot.side.waiting:
            side, share = slot.side, slot.share
            until = max(side.paused_until, share.paused_until) if slot.is_pinned else side.paused_until
            self._loop.call_at(until, self._go_on, until)

    def _go_on(self, paused_until: float) -> None:
        """Order what is lacking, now that a pause is over."""
        self._latest = max(self._latest, paused_until)
        if not self._root.done():
            self.carry_out(self._books.refreshed(self._now))

    @property
    def _now(self) -> float:
        """The loop's time, but no earlier than the books were told before: timers may fire a moment early.

        Else what fails in that moment would seem to be no news, and be tried again at once, for as long as it lasts.
        """
        self._latest = max(self._latest, self._loop.time())
        return self._latest

    def _hung_up(self, slot: Slot) -> None:
        """Drop an idle connection as soon as its server ends it; who leases one finds out by himself."""
        if slot.where is IDLE:
            self.carry_out(self._books.discard(slot, "its server hung up", self._loop.time()))

    # --- closing -----------------------------------------------------------------------------------------------

    def _closed(self, slot: Slot, why: str) -> list[Callable[[], None]]:
        """Let go of a connection; gives what is left to be done."""
        self._stir()
        if slot.connection is None:
            if slot in self._opening:
                self._opening[slot].cancel()
            return []
        self._counts.closed[why.partition(":")[0]] += 1
        slot.connection.when_ended(None)
        return [functools.partial(slot.connection.end, why)]

    def _stir(self) -> None:
        self._stirred.set()
        self._stirred = asyncio.Event()

    def _emit(self, event: Event) -> None:
        self._cluster._events.emit(event)

    async def _run(self) -> None:
        """Own every connect; look the books over once in a while."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                self._begun.set()
                try:
                    while True:
                        await asyncio.sleep(_LOOK_OVER_EVERY_S * (0.9 + random.random() / 5))  # noqa: S311 - no secret.
                        self._look_over()
                finally:  # Closed, or the loop ends.
                    self.close()
                    await self.keeper.end()
        except asyncio.CancelledError as error:
            if not self._has_ended and not is_ending():
                self._tell(error, "its task was cancelled from outside")
        except Exception as error:  # noqa: BLE001 - the outermost edge of a task; whoever asks next is told, too.
            self._tell(error.exceptions[0] if isinstance(error, ExceptionGroup) else error)

    def _look_over(self) -> None:
        try:
            self._measure()
            self.carry_out(self._books.look_over(self._loop.time()))
        except Exception as error:  # noqa: BLE001 - it must go on.
            self._tell(error)

    def _tell(self, error: BaseException, sentence: str = "") -> None:
        what = f"{type(error).__name__}: {sentence or error}"
        self._emit(kinds.PoolFailed(cluster=self._cluster.topology.cluster, error=what))

    def _measure(self) -> None:
        """Ask the kernel how far the readers are: one connection tells for its instance (case 62)."""
        for share in self._books.sides[Role.READER].shares.values():
            if share.idle:
                self._books.measured(share.idle[-1], share.idle[-1].connection.round_trip_s())


def _copied(error: BaseException) -> BaseException:
    """Give each who waits an error of his own, as each adds his own frames to it; where it can be copied."""
    try:
        return copy.copy(error)
    except Exception:  # noqa: BLE001 - it may be a user's, with a signature of its own.
        return error
