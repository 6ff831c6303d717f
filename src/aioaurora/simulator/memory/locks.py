"""Rows, and the transactions that hold them.

A row has a committed image and, while a transaction holds its lock, that transaction's image; others see the former.
Locks go first come, first served; a wait that would never end is refused with 1213, one that takes too long with 1205.
The locks are row locks only: there are no gap locks, no snapshots (reads see what is committed now) and no table locks.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias

from aioaurora.simulator.memory.values import SqlError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aioaurora.simulator.memory.values import Value

Image: TypeAlias = "Mapping[str, Value] | None"


class Rows(Protocol):
    """The table that a row is in, as far as a transaction must tell it something."""

    def index(self, row: Row) -> None:
        """Make a row findable under its newest image too."""

    def prune(self, row: Row) -> None:
        """Forget what a row no longer is."""


@dataclass(slots=True, eq=False)
class Row:
    """One row of a table; an image of None means that it does not exist."""

    table: Rows
    number: int
    committed: Image = None
    pending: Image = None
    owner: Transaction | None = None
    waiters: deque[tuple[Transaction, asyncio.Future[None]]] = field(default_factory=deque)
    keys: set[tuple[str, tuple[Value, ...]]] = field(default_factory=set)

    def seen_by(self, transaction: Transaction | None) -> Image:
        """Return the image that a transaction sees."""
        return self.pending if transaction is not None and self.owner is transaction else self.committed


@dataclass(slots=True, eq=False)
class Transaction:
    """What one session has locked and changed since it began.

    `wait_s` is innodb_lock_wait_timeout.
    """

    wait_s: float = 50.0
    read_only: bool = False
    locked: list[Row] = field(default_factory=list)
    undo: list[tuple[Row, Image]] = field(default_factory=list)
    savepoints: dict[str, int] = field(default_factory=dict)
    waits_for: Row | None = None

    async def lock(self, row: Row) -> None:
        """Hold the row until the end of the transaction; raises 1205 and 1213."""
        if row.owner is self:
            return
        if row.owner is None:
            self.take(row)
            return
        if self._would_wait_for_itself(row):
            message = "Deadlock found when trying to get lock; try restarting transaction"
            raise SqlError(1213, message, "40001")
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        place = (self, future)
        row.waiters.append(place)
        self.waits_for = row
        try:
            async with asyncio.timeout(self.wait_s):
                await future
        except TimeoutError:
            # The lock may have come in the same turn of the loop as the end of the wait.
            if row.owner is not self:
                raise SqlError(1205, "Lock wait timeout exceeded; try restarting transaction") from None
        finally:
            self.waits_for = None
            with contextlib.suppress(ValueError):  # Not there any more once the lock has come.
                row.waiters.remove(place)

    def interrupt(self, error: SqlError) -> None:
        """End the wait for a lock, if there is one, with an error."""
        for transaction, future in self.waits_for.waiters if self.waits_for else ():
            if transaction is self and not future.done():
                future.set_exception(error)

    def write(self, row: Row, image: Image) -> None:
        """Give a locked row a new image."""
        self.undo.append((row, row.pending))
        row.pending = image
        row.table.index(row)

    def commit(self) -> None:
        """Let everybody see what was written, and give the locks back."""
        for row in self.locked:
            row.committed = row.pending
        self._end()

    def rollback(self) -> None:
        """Undo everything and give the locks back."""
        self.rollback_to(0)
        self._end()

    def rollback_to(self, mark: int) -> None:
        """Undo what was written since `len(undo)` was `mark`; the locks stay."""
        while len(self.undo) > mark:
            row, image = self.undo.pop()
            row.pending = image

    def _end(self) -> None:
        rows, self.locked = self.locked, []
        self.undo.clear()
        self.savepoints.clear()
        for row in rows:
            row.owner, row.pending = None, None
            row.table.prune(row)
            _hand_over(row)

    def take(self, row: Row) -> None:
        """Hold a row that is free."""
        row.owner, row.pending = self, row.committed
        self.waits_for = None  # Before its task runs again: whoever asks meanwhile would follow it in a circle.
        self.locked.append(row)

    def _would_wait_for_itself(self, row: Row) -> bool:
        holder = row.owner
        while holder is not None and holder.waits_for is not None:
            holder = holder.waits_for.owner
            if holder is self:
                return True
        return False


def _hand_over(row: Row) -> None:
    while row.waiters:
        transaction, future = row.waiters.popleft()
        if not future.done():
            transaction.take(row)
            future.set_result(None)
            return
