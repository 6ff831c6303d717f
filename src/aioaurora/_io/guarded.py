"""A transaction whose silent end is noticed: the savepoint guard (case 52).

It begins with `START TRANSACTION; SAVEPOINT s`, the name drawn by lot, and ends with `RELEASE SAVEPOINT s; COMMIT`,
one packet each. If the server does not know the savepoint (1305), the transaction is not the one that was begun: it
was cancelled by patching or a swallowed deadlock, or ended by DDL or by a COMMIT of the function's own. COMMIT is not
run then.

A reader that forwards writes knows no savepoints: there the transaction goes without a guard.
"""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING

from aioaurora._core.traces import ENDED, MAY_HAVE_COMMITTED, READ, UNIT
from aioaurora._core.verdict import errno_of
from aioaurora._io.driver import Command, Error, InterfaceError
from aioaurora._io.leased import Leased
from aioaurora.errors import (
    AioauroraError,
    ConfigurationError,
    ConnectionLost,
    Outcome,
    OutcomeUnknown,
    TransactionLost,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

NO_SUCH_SAVEPOINT = 1305
_READ_ONLY = "START TRANSACTION READ ONLY"


class Guarded(Leased):
    """A session that can hold a guarded transaction.

    Attributes:
        has_committed: A part of this unit of work was committed.
    """

    instance: str
    epoch: int
    server_status: int
    has_committed: bool = False
    _loss: ConnectionLost | None
    _guard = ""  # Name of the savepoint; "" where no transaction is guarded.
    _knows_savepoints = True
    _opened_with: Sequence[str] = ()
    _closed_with = "COMMIT"
    _restored_with: Sequence[str] = ()
    _said_last: bytes | None = None

    async def begin_guarded(self, *, isolation: str | None, read_only: bool, is_reader: bool = False) -> None:
        """Begin a transaction that is committed only if it is still the one that was begun.

        Autocommit is off within it, so that nothing is committed by itself after its silent end.
        """
        level = [f"SET TRANSACTION ISOLATION LEVEL {isolation}"] if isolation else []
        self._opened_with = [*level, _READ_ONLY if read_only else "START TRANSACTION"]
        # Nothing to commit: then no answer can be lost that matters.
        self._closed_with = "ROLLBACK" if read_only else "COMMIT"
        is_on = self.get_autocommit()
        self._restored_with = ["SET AUTOCOMMIT = 1"] if is_on else []
        self.has_committed = False
        self.traces, self._knows_savepoints = (self.traces or READ) | UNIT, True
        said = [*(["SET AUTOCOMMIT = 0"] if is_on else []), *self._opening()]
        try:
            await self._said(*said)
        except Error:
            if not is_reader or self._writer is None or self._answered != len(said) - 1:
                raise
            self._guard, self._knows_savepoints = "", False

    async def end_guarded(self) -> None:
        """Commit what is open; nothing is guarded any more.

        Raises:
            TransactionLost: The transaction is not the one that was begun: it was rolled back.
        """
        if self.has_committed and self._statement is self._said_last:
            return  # The function has done it, and nothing since.
        if await self._commit(self._guard, *self._restored_with):
            self.traces, self._guard = (self.traces or READ) & ~UNIT, ""

    async def commit(self) -> None:
        """Commit the open transaction; a guarded one only if it is still the one that was begun, and begins anew.

        Raises:
            TransactionLost: It is not.
        """
        if self.is_in_unit:
            self._refuse()
            await self._commit(self._guard, *self._opening())
        else:
            await super().commit()

    async def rollback(self) -> None:
        """Roll the open transaction back; a guarded one begins anew, as empty as before."""
        if self.is_in_unit:
            self._refuse()
            await self._said("ROLLBACK", *self._opening())
        else:
            await super().rollback()

    async def begin(self) -> None:
        """Begin a transaction; commits one that is open."""
        if self.is_in_unit:
            raise ConfigurationError(
                "begin() within run() or attempts(): the transaction is open already, leave it out"
            )
        await super().begin()

    @property
    def may_run_again(self) -> bool:
        """Whether nothing that was done since the transaction was begun can have been committed."""
        return not (self.has_committed or (self.traces or READ) & (MAY_HAVE_COMMITTED | ENDED))

    async def tidy(self, reset: str) -> bool:
        """Undo what the last lease has left behind, an unfinished unit of work too."""
        self._guard, self.has_committed = "", False
        return await super().tidy(reset)

    # --- inside ------------------------------------------------------------------------------------------------

    @property
    def is_in_unit(self) -> bool:
        """Whether a unit of work was begun on it that has not ended."""
        return bool((self.traces or READ) & UNIT)

    def _opening(self) -> list[str]:
        if not self._knows_savepoints:
            return [*self._opened_with]
        self._guard = f"aioaurora_{secrets.token_hex(8)}"
        return [*self._opened_with, f"SAVEPOINT {self._guard}"]

    def _undoing(self) -> list[str]:
        return [*super()._undoing(), *(self._restored_with if self.is_in_unit else [])]

    def needs_tidying(self, reset: str) -> bool:
        """Tell whether the last lease has left anything behind, an unfinished unit of work too."""
        return self.is_in_unit or super().needs_tidying(reset)

    async def _commit(self, guard: str, *then: str) -> bool:
        """Commit if the transaction is still the one that was begun; tells whether `then` was done, too."""
        closing = [*([f"RELEASE SAVEPOINT {guard}"] if guard else []), self._closed_with]
        try:
            await self._said(*closing, *then)
        except Error as error:
            if self._statement is self._said_last and self._answered >= len(closing):
                self.has_committed = True  # What failed came after it.
                self._loss = error if isinstance(error, ConnectionLost) else None  # The next use tells.
                return False
            if errno_of(error) == NO_SUCH_SAVEPOINT:
                with contextlib.suppress(Error):  # It is lost: as good.
                    await self._said("ROLLBACK")
                self._said_last = None  # The last that was said of the unit committed nothing.
                raise self._lost_silently() from error
            self._said_last = None
            raise
        self.has_committed = True
        return True

    async def _said(self, *statements: str) -> None:
        """Run statements of ours in one packet; they count for nothing that the caller did."""
        traces, text = self.traces, "\n;".join(statements).encode()
        self._said_last = text
        try:
            await self._alone(lambda: self._sent(Command.QUERY, text, self.read_last_row))
        except InterfaceError as error:
            if self._writer is None and not isinstance(error, AioauroraError):
                raise self._lost_before() from error
            raise
        finally:
            self.traces = traces

    def _lost_silently(self) -> TransactionLost:
        may_be_done = not self._is_undone_by_rollback
        detail = (
            "a part of it was committed before, or may have been; what came after was rolled back"
            if may_be_done
            else "all of it was rolled back"
        )
        outcome = Outcome.UNKNOWN if may_be_done else Outcome.ROLLED_BACK
        return TransactionLost(self.instance, epoch=self.epoch, outcome=outcome, detail=detail)

    def _lost_before(self) -> ConnectionLost:
        is_undone = self._is_undone_by_rollback
        outcome, kind = (Outcome.ROLLED_BACK, ConnectionLost) if is_undone else (Outcome.UNKNOWN, OutcomeUnknown)
        return kind(self.instance, epoch=self.epoch, outcome=outcome, detail="it was lost before")

    @property
    def _is_undone_by_rollback(self) -> bool:
        return not (self.has_committed or (self.traces or READ) & MAY_HAVE_COMMITTED)
