"""A session that goes from hand to hand: parked while nobody has it, looked at before it is lent, made clean after.

    lent --park--> parked --tidy--> parked, clean --lend--> lent

What a lease has left behind is told by the texts of its statements (`traces`), so that a session which was not touched
costs nothing to clean.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from aioaurora._core.traces import FAILED, READ, TOUCHED
from aioaurora._io import wire
from aioaurora._io.driver import Command, InterfaceError, Status, collation_name_of
from aioaurora._io.session import Session
from aioaurora.errors import ConnectionBusy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

# After this long without a use the kernel is asked, too: our loop may have been stopped, and the peer be gone.
_LOOK_AFTER_S = 0.05
_IN_TRANS = Status.IN_TRANS


class Leased(Session):
    """A session that a pool may own.

    Attributes:
        slot: What its pool calls its own; None: it belongs to no pool.
    """

    autocommit_mode: bool | None
    server_status: int
    traces: int | None
    slot: Any = None
    _own: tuple[Any, ...] = ()

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._own = _same(self.autocommit_mode, self._charset, self._encoding)

    def is_fit(self, idle_s: float = 0.0) -> bool:
        """Tell, without a question to the server, whether it can be used after so long: no end, no unread byte."""
        pipe = self._pipe
        if self._writer is None or pipe is None or pipe.stream.has_ended:
            return False
        if wire.has_unread(pipe.reader) and not self.has_unread_results:
            return False
        if idle_s < _LOOK_AFTER_S:
            return True
        signs = pipe.signs()
        return signs is None or (signs.is_established and not signs.unread)

    @property
    def is_given_back(self) -> bool:
        """Whether nobody has it: it was given back to its pool."""
        return self._is_parked

    @property
    def is_in_use(self) -> bool:
        """Whether a task waits for an answer."""
        return self._busy

    @property
    def has_unread_rows(self) -> bool:
        """Whether an unbuffered result was not read to its end."""
        return self._result is not None and bool(self._result.unbuffered_active)

    def round_trip_s(self) -> float | None:
        """Give the kernel's least round trip to the server, in seconds; None where it cannot tell."""
        signs = self.signs()
        return None if signs is None else signs.least_round_trip_s

    def lend(self, idle_s: float = 0.0) -> bool:
        """Let it be used from now on, by who has it now; False: it is not fit."""
        pipe = self._pipe
        if self._writer is None or pipe is None or pipe.stream.has_ended or wire.has_unread(pipe.reader):
            return False
        if idle_s >= _LOOK_AFTER_S and not self.is_fit(idle_s):
            return False
        self._is_parked = False
        self.traces = READ
        return True

    def park(self) -> bool:
        """Let nobody use it from now on: whoever had it has given it back. Tells whether it is as clean as it was."""
        self._is_parked = True
        result, pipe = self._result, self._pipe
        return (
            self.traces == READ
            and not self._busy
            and not self.server_status & _IN_TRANS
            and self._writer is not None
            and pipe is not None
            and not pipe.stream.has_ended
            and (result is None or not (result.has_next or result.unbuffered_active))
        )

    @property
    def is_touched(self) -> bool:
        """Whether the last lease may have changed the session."""
        return self.traces is None or bool(self.traces & TOUCHED)

    def _refuse(self) -> None:
        super()._refuse()
        if self._is_parked:
            raise ConnectionBusy("this connection was given back to its pool: acquire one")

    # --- made clean --------------------------------------------------------------------------------------------

    def needs_tidying(self, reset: str) -> bool:
        """Tell whether the last lease has left anything behind that must be undone."""
        return self.has_unread_results or bool(self._undoing()) or self._needs_reset(reset)

    @property
    def has_unread_results(self) -> bool:
        """Whether results of the last statement are still to come."""
        result = self._result
        return result is not None and bool(result.has_next or result.unbuffered_active)

    def _needs_reset(self, reset: str) -> bool:
        return reset == "always" or (reset == "auto" and self.is_touched)

    def _undoing(self) -> list[str]:
        """List the statements that undo what is open; a reset needs none of them."""
        # An ERR packet has no flags: without autocommit the statement that failed may have opened a transaction.
        may_be_open = bool((self.traces or READ) & FAILED) and not self.get_autocommit()
        return ["ROLLBACK"] if self.is_in_transaction or may_be_open else []

    async def tidy(self, reset: str) -> bool:
        """Undo what the last lease has left behind; tells whether all was, and the session is as new.

        Has no deadline of its own; on any failure the socket is gone.

        Raises:
            Error: Of the server, or because rows were left unread: then a new connection is quicker.
        """
        if self.has_unread_rows:
            raise InterfaceError(0, "an unbuffered result was left unread")
        is_as_new = self._needs_reset(reset)
        if is_as_new:
            await self._parked(self._reset)
        elif undoing := self._undoing():
            text = "\n;".join(undoing).encode()
            await self._parked(lambda: self._sent(Command.QUERY, text, self.read_last_row))
        else:
            await self._parked(self._prepare)
        self._result = None
        self.traces = READ
        return is_as_new

    async def check(self) -> None:
        """Ask for a sign of life though it is parked; on any failure the socket is gone."""
        await self._parked(lambda: self._sent(Command.PING, b"", self._read_ok_packet))

    def end(self, why: str) -> None:
        """Close it, and say why."""
        self._close_reason = self._close_reason or why
        self.close()

    def cut(self, why: str) -> None:
        """Break it, and say why; a task that waits for an answer learns that it was lost."""
        self._close_reason = self._close_reason or why
        self.abort()

    async def _parked(self, work: Callable[[], Awaitable[object]]) -> None:
        self._busy = True
        try:
            await work()
        except BaseException as error:
            try:
                await self._failed(error)
            finally:
                self.abort()
            raise
        finally:
            self._busy = False

    async def _reset(self) -> None:
        """Make the session as new, and say again what it is to be: servers forget more than they say (case 54)."""
        self.server_status &= ~Status.IN_TRANS
        await self._sent(Command.RESET_CONNECTION, b"", self._read_ok_packet)
        self.autocommit_mode, self._charset, self._encoding = self._own
        characters = f"SET NAMES {self._charset} COLLATE {collation_name_of(self._charset)}"
        schema = [f"USE {_quoted(self._db)}"] if self._db else []  # First, as at the log-in: `init_command` runs in it.
        row = await self._ask_all("\n;".join([characters, *schema, *self._declaration(), "SELECT DATABASE()"]))
        if not self._db and row is not None and row[0] is not None:
            raise InterfaceError(0, "a default schema was chosen, which cannot be undone")


@functools.lru_cache(maxsize=64)
def _same(*own: Any) -> tuple[Any, ...]:
    """Give one tuple for all sessions that begin alike: there may be thousands."""
    return own


def _quoted(name: str | bytes) -> str:
    text = name.decode() if isinstance(name, bytes) else name
    return "`" + text.replace("`", "``") + "`"
