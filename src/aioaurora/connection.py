"""What the application holds: aiomysql's connection, which says what became of the work when it breaks.

A connection never changes its server. When it is lost, it fails at once with `ConnectionLost`, whose `outcome` tells
whether the work may be done again. Only `ping(reconnect=True)`, which asks for it, makes the object whole again.

    idle, lost                 the next use raises ConnectionLost, once; from then on it is closed
    waiting, lost              the waiting task gets ConnectionLost, OutcomeUnknown or CommitOutcomeUnknown
    waiting, closed here       the same, and nobody is told that the instance may be failing
    cancelled while waiting    the socket is gone at once; the server is told through `abandon`
    refused as read-only       WriterDemoted, if the instance confirms that it is a reader; else the server's own error
    transaction gone           TransactionLost, if a statement that ends none finds that it has ended
    any other error            the server's own, untouched; the connection lives
    in a forked child          WrongProcess; closing it there ends nothing
"""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING

from aioaurora._core import verdict
from aioaurora._core.observation import Mode, mode_of
from aioaurora._core.statement import ends_transaction
from aioaurora._core.verdict import Doubt, Scope, Work
from aioaurora._io import wire
from aioaurora._io.cursors import WithCursors, whole
from aioaurora._io.driver import SERVER_LOST, Command, Error, InterfaceError, Status, sentence_of
from aioaurora._io.guarded import Guarded
from aioaurora.errors import (
    AioauroraError,
    CommitOutcomeUnknown,
    ConnectionLost,
    Outcome,
    OutcomeUnknown,
    Role,
    TransactionLost,
    WriterDemoted,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from aioaurora._io.driver import Cursor
    from aioaurora._io.life import Life

_ASK = b"SELECT @@innodb_read_only, @@read_only"


def _tell_nobody(connection: Connection, scope: Scope, error: BaseException) -> None:
    """Belong to no cluster."""


def _leave(connection: Connection) -> None:
    """Belong to no cluster: nobody can end the statement."""


def _end_quietly(connection: Connection, why: str) -> None:
    """Belong to no cluster."""


async def _dial_again(connection: Connection) -> None:
    """Belong to no cluster: go to the same server."""
    await connection.reopen()


class Connection(WithCursors, Guarded):
    """A connection to one instance of a cluster, with aiomysql's interface.

    Attributes:
        instance: Id of the instance; its host name while the id is not known.
        role: What the instance said it was when the connection was made; None where nobody asked.
        epoch: How often the cluster's writer had changed by then.
        generation: How often this instance had been written off by then.
    """

    instance: str
    role: Role | None
    epoch: int
    generation: int
    cursorclass: type[Cursor]
    server_status: int
    _is_bound = False  # Also before it is made: whatever is refused, the object can be collected.

    def __init__(
        self,
        *arguments: Any,
        report: Callable[[Connection, Scope, BaseException], None] = _tell_nobody,
        redial: Callable[[Connection], Awaitable[None]] = _dial_again,
        abandon: Callable[[Connection], None] = _leave,
        ended: Callable[[Connection, str], None] = _end_quietly,
        **keywords: Any,
    ) -> None:
        super().__init__(*arguments, **keywords)
        self.cursorclass = whole(self.cursorclass)
        self._report, self._redial, self._abandon, self._ended = report, redial, abandon, ended
        self._loss: ConnectionLost | None = None  # Not told yet.
        self._loss_detail = ""
        self._was_closed = False  # By its owner, since the ping under way began.
        self.bind(instance=self._host, role=None, epoch=0, generation=0)
        self._is_bound = False

    def bind(self, *, instance: str, role: Role | None, epoch: int, generation: int) -> None:
        """Note what the role check has shown: it is in use now, and its end will be told."""
        self.instance, self.role, self.epoch, self.generation = instance, role, epoch, generation
        self._is_bound = True

    def __repr__(self) -> str:
        role = f" {self.role}" if self.role else ""
        return f"<{type(self).__name__} {self.instance}{role} epoch={self.epoch} | {self._state()}>"

    def _state(self) -> str:
        if self._loss is not None:
            return "lost"
        if self._writer is None:
            return "closed"
        if self._busy:
            return "busy"
        return "in transaction" if self.is_in_transaction else "idle"

    @property
    def closed(self) -> bool:
        """Whether it can be used no more, as far as we know."""
        return self._writer is None or bool(self._loss_detail)

    def close(self) -> None:
        """Say goodbye if that needs no waiting, and hang up; a ping under way makes it whole no more."""
        self._was_closed = True
        super().close()

    # --- losing it --------------------------------------------------------------------------------------------------

    def lose(self, detail: str) -> None:
        """Give the connection up because its instance is gone or no longer what it was.

        A task that waits for an answer gets the error with its outcome; an idle connection raises it at its next use.
        Doing it twice is no harm. An answer that has arrived already is still read.
        """
        reader = self._reader
        if self._writer is None or reader is None or self._loss_detail:
            return
        if self._busy and wire.holds_packet(reader) and self._pipe is not None:
            self._loss_detail = detail
            self._pipe.abort()
            return
        loss = self._loss_of(self.work(), detail)
        self._loss = loss
        self._close_reason = str(loss)
        self.server_status &= ~Status.IN_TRANS
        self.abort(loss if self._busy else None)

    def abort(self, error: BaseException | None = None) -> None:
        """End it now; its cluster hears why, once."""
        super().abort(error)
        if self._is_bound:
            self._is_bound = False
            self._ended(self, self._close_reason or "closed")

    def _loss_of(
        self, work: Work, detail: str, errno: int = SERVER_LOST, *, outcome: Outcome | None = None
    ) -> ConnectionLost:
        outcome = outcome or verdict.outcome_of(work)
        kind = ConnectionLost
        if outcome is Outcome.UNKNOWN:
            kind = CommitOutcomeUnknown if verdict.doubt_of(work) is Doubt.COMMIT else OutcomeUnknown
        return kind(self.instance, epoch=self.epoch, outcome=outcome, errno=errno, detail=detail)

    def _ensure_alive(self) -> None:
        if self._writer is None and self._loss is not None:
            loss, self._loss = self._loss, None
            self._result = None
            raise loss
        super()._ensure_alive()

    # --- what went wrong --------------------------------------------------------------------------------------------

    async def _failed(self, error: BaseException) -> None:
        loss = self._loss
        if not isinstance(error, Exception):
            await self._cancelled(error)
        elif loss is not None:
            self._loss = self._result = None
            if error is not loss:
                raise loss from error
        elif isinstance(error, AioauroraError) or (isinstance(error, InterfaceError) and self._writer is None):
            return
        elif self._is_answer(error):
            await self._answered_with(error)
        elif isinstance(error, Error | OSError):
            self._lost(error)
        else:
            await super()._failed(error)

    async def _cancelled(self, error: BaseException) -> None:
        was_sent = self._writer is not None and self.work().statement is not None
        await super()._failed(error)
        if was_sent:
            self._abandon(self)

    def _lost(self, error: BaseException) -> None:
        told = error if not isinstance(error, wire.ServerLost) or error.__cause__ is None else error.__cause__
        errno = verdict.errno_of(told) if isinstance(told, Error) else None
        if isinstance(told, EOFError):
            told = error
        detail = self._loss_detail or ("it was closed here" if self._writer is None else "")
        work = self.work()
        if errno in _NEVER_READ:
            work = dataclasses.replace(work, statement=None)
        if told is error:  # The answer to the statement, if it came from the server at all.
            work = dataclasses.replace(work, has_failed=errno in _UNDONE)
        loss = self._loss_of(work, detail or sentence_of(told), errno or SERVER_LOST)
        self._end_with(loss)
        if not detail:  # Else whoever ended it knows.
            is_instance = errno is not None and verdict.scope_of(errno) is Scope.INSTANCE
            self._report(self, Scope.INSTANCE if is_instance else Scope.SESSION, loss)
        raise loss from error

    def _end_with(self, error: ConnectionLost | WriterDemoted) -> None:
        self._close_reason = str(error)
        self.abort()
        self._loss = self._result = None
        self.server_status &= ~Status.IN_TRANS

    async def _answered_with(self, error: BaseException) -> None:
        """See what an ERR packet leaves open: it says neither who the instance is, nor if a transaction is open."""
        work, errno = self.work(), verdict.errno_of(error) or 0
        may_be_demoted = self.role is Role.WRITER and verdict.scope_of(errno) is Scope.ROLE
        if not may_be_demoted and not self._may_have_ended(work):
            return
        outcome = verdict.refusal_of(work, errno)
        mode = await self._ask(error, work, outcome)
        if not may_be_demoted or mode is None or mode is Mode.WRITABLE:
            return  # The caller's own READ ONLY transaction, or a parameter.
        is_frozen = mode is Mode.FROZEN
        demoted = WriterDemoted(self.instance, epoch=self.epoch, outcome=outcome, errno=errno, is_frozen=is_frozen)
        self._end_with(demoted)
        self._report(self, Scope.ROLE, demoted)
        raise demoted from error

    def _may_have_ended(self, work: Work) -> bool:
        return work.in_transaction and ends_transaction(
            work.statement or b"", at=work.answered, backslash_escapes=work.backslash_escapes
        )

    async def _ask(self, refused: BaseException, work: Work, outcome: Outcome) -> Mode | None:
        """Ask the instance what it is; the status of its answer is the truth about the transaction."""
        result = wire.Result(self)
        try:
            self._send(Command.QUERY, _ASK)
            await result.read()
        except Error as error:
            ended_here = self._writer is None
            if not ended_here and self._is_answer(error):
                return None
            loss = self._loss_of(work, sentence_of(error), outcome=outcome)
            self._end_with(loss)
            if not ended_here:
                self._report(self, Scope.SESSION, loss)
            raise loss from refused
        except asyncio.CancelledError as error:
            await self._cancelled(error)
            raise
        finally:
            self._was_sent = False
        self.server_status = result.server_status
        return mode_of(*result.rows[0]) if result.rows else None

    def _transaction_ended(self) -> None:
        escapes = not self.server_status & Status.NO_BACKSLASH_ESCAPES
        text, at = bytes(self._statement), self._answered - 1
        if ends_transaction(text, at=at, backslash_escapes=escapes):
            return
        # It ran outside, after its transaction was gone: under autocommit a write has been committed by itself.
        ran = Work(
            statement=text,
            answered=at,
            in_transaction=False,
            autocommit=self.get_autocommit(),
            backslash_escapes=escapes,
        )
        outcome = Outcome.UNKNOWN if verdict.doubt_of(ran) else Outcome.ROLLED_BACK
        raise TransactionLost(self.instance, epoch=self.epoch, outcome=outcome)

    # --- asking for it again ----------------------------------------------------------------------------------------

    async def ping(self, reconnect: bool = True) -> None:
        """Ask for a sign of life; with `reconnect`, make a lost connection whole again.

        It is then connected to the present holder of its role. A transaction that was lost is never passed over:
        ConnectionLost is raised once, and only the next ping reconnects. A `close` while it is under way wins.
        Within a unit of work it stays lost: the transaction would not come back with it.
        """
        self._refuse()
        self._was_closed = False
        reconnect = reconnect and not self.is_in_unit
        if self._writer is None:
            self._tell_loss(reconnect=reconnect)
        else:
            try:
                await super().ping()
            except ConnectionLost as loss:
                if not reconnect or self._was_closed or loss.outcome is not Outcome.NOTHING_SENT:
                    raise
            else:
                return
        self._busy = True
        try:
            await self._redial(self)
        finally:
            self._busy = False

    def _tell_loss(self, *, reconnect: bool) -> None:
        loss, self._loss = self._loss, None
        if loss is not None and not (reconnect and loss.outcome is Outcome.NOTHING_SENT):
            raise loss
        if not reconnect:
            raise Error("Already closed")

    async def reopen(self) -> None:
        """Connect to the same server again, as `redial` does where there is no cluster."""
        await self._connect()
        self._refuse_life(self)

    def take_over(self, other: Life) -> None:
        """Make the session of `other` this object's own, unless its owner has closed it while that was dialled."""
        self._refuse_life(other)
        super().take_over(other)

    def _refuse_life(self, dialled: Life) -> None:
        if self._was_closed:
            dialled.close()
            raise InterfaceError(0, "Not connected: closed while it was being connected again")

    def _forget(self) -> None:
        super()._forget()
        self._loss = None
        self._loss_detail = ""


# 4031: the server gave the session up while it waited for us; what we sent since was never read.
_NEVER_READ = frozenset({4031})

# 1053, 1927: servers look for a shutdown or a KILL when a statement is worked off and before it is committed
# (mysql_execute_command, of MySQL and MariaDB). A write that is answered so was undone.
_UNDONE = frozenset({1053, 1927})
