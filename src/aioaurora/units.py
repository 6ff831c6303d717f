"""What a pool does as a whole: one statement, or a unit of work, with a connection of its own."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from aioaurora._core.traces import ENDED, MAY_HAVE_COMMITTED, READ, WROTE, traces_of
from aioaurora._io.attempting import Attempting
from aioaurora.errors import AioauroraError, ConnectionLost, Outcome, Role, TransactionLost, WriterDemoted
from aioaurora.retrying import Attempts, GoingOn, Options, run_unit, transactional_on
from aioaurora.waiting import Lender

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aioaurora.connection import Connection

P = ParamSpec("P")
T = TypeVar("T")

_NOT_DONE = frozenset({Outcome.NOTHING_SENT, Outcome.REFUSED})


class Units(Lender):
    """One-statement calls and units of work of a pool."""

    # --- one statement -----------------------------------------------------------------------------------------

    async def execute(
        self,
        sql: str,
        args: Any = None,
        *,
        role: Role | str | None = None,
        timeout: float | None = None,
        idempotent: bool = False,
    ) -> int:
        """Run one statement as a unit of its own, committed when this returns; gives the number of affected rows.

        It is run again only where that is provably safe: it was never sent, it was refused, or it only read
        and was meant for a reader.

        Args:
            sql: The statement, with `%s` or `%(name)s` for the arguments.
            args: A sequence, a mapping, or None.
            role: "writer" or "reader"; None: the pool's own.
            timeout: Seconds for all the waiting and trying, > 0; None: `acquire_timeout`.
            idempotent: Doing it twice does no harm: then it is also run again when it was lost.

        Raises:
            OutcomeUnknown: The connection was lost, and it may or may not have been done.
        """
        return await self._one(sql, args, _affected, role=role, timeout=timeout, idempotent=idempotent)

    async def fetch_all(
        self,
        sql: str,
        args: Any = None,
        *,
        role: Role | str | None = None,
        timeout: float | None = None,
        idempotent: bool = False,
    ) -> list[Any]:
        """Run one statement as `execute` does; gives all its rows, as the pool's `cursorclass` makes them."""
        return await self._one(sql, args, _all, role=role, timeout=timeout, idempotent=idempotent)

    async def fetch_one(
        self,
        sql: str,
        args: Any = None,
        *,
        role: Role | str | None = None,
        timeout: float | None = None,
        idempotent: bool = False,
    ) -> Any:
        """Run one statement as `execute` does; gives its first row, or None."""
        return await self._one(sql, args, _first, role=role, timeout=timeout, idempotent=idempotent)

    async def fetch_value(
        self,
        sql: str,
        args: Any = None,
        *,
        role: Role | str | None = None,
        timeout: float | None = None,
        idempotent: bool = False,
    ) -> Any:
        """Run one statement as `execute` does; gives the first value of its first row, or None."""
        row = await self._one(sql, args, _first, role=role, timeout=timeout, idempotent=idempotent)
        if row is None:
            return None
        return next(iter(row.values())) if isinstance(row, dict) else row[0]

    # --- units of work -----------------------------------------------------------------------------------------

    async def run(
        self,
        function: Callable[Concatenate[Connection, P], Awaitable[T]],
        /,
        *args: Any,
        **options: Any,
    ) -> T:
        """Run `function(connection, *args)` as one transaction, and give its result.

        It is begun, committed when the function returns, rolled back when it raises; and run again, on a new
        connection, while it is certain that nothing of it was done and the deadline allows. Whatever ended the
        transaction without a word is noticed before COMMIT.

        Args:
            function: A coroutine function; it may be called several times.
            args: For it, after the connection.
            options: As for `attempts`.

        Raises:
            CommitOutcomeUnknown: The connection was lost in COMMIT: it may or may not have been done.
            TransactionLost: The transaction was ended by a statement of the function's own, such as DDL.
        """
        return await run_unit(self, Options.said(options), function, args)

    def attempts(self, **options: Any) -> Attempts:
        """Give attempts at one unit of work: `async for attempt in pool.attempts(): async with attempt as connection`.

        Args:
            timeout: Seconds until no further attempt is begun, > 0. None: `acquire_timeout`.
            role: "writer" or "reader"; None: the pool's own.
            isolation: "read committed", "repeatable read" and so on, for this transaction. None: the session's.
            read_only: Begin it READ ONLY.
            retry_lock_waits: Also run it again after a lock wait timed out (1205).
            stop: tenacity's, in addition to the deadline.
            wait: tenacity's, in place of ours.
            before_sleep: tenacity's, called before each pause.
        """
        return Attempts(self, Options.said(options))

    def transactional(
        self, **options: Any
    ) -> Callable[[Callable[Concatenate[Connection, P], Awaitable[T]]], Callable[P, Awaitable[T]]]:
        """Decorate a coroutine function so that each call is one `run`, which gives it the connection first."""
        return transactional_on(self, Options.said(options))

    # --- inside ------------------------------------------------------------------------------------------------

    async def _one(
        self,
        sql: str,
        args: Any,
        take: Callable[[Any], Awaitable[T]],
        *,
        role: Role | str | None,
        timeout: float | None,
        idempotent: bool,
    ) -> T:
        statement = _Statement(self, sql, args, role=role, deadline=self.deadline(timeout), idempotent=idempotent)
        with self.working():
            return await Attempting(deadline=statement.deadline).run(
                functools.partial(statement.done, take), statement.is_safe_again
            )


class _Statement:
    """One statement as a unit of its own."""

    def __init__(
        self, lender: Lender, sql: str, args: Any, *, role: Role | str | None, deadline: float, idempotent: bool
    ) -> None:
        self.deadline = deadline
        self._lender, self._sql, self._args, self._role = lender, sql, args, role
        self._idempotent = idempotent
        self._loop = asyncio.get_running_loop()
        self._attempts, self._only_read, self._has_begun = 0, False, False

    async def done(self, take: Callable[[Any], Awaitable[T]]) -> T:
        """Run it, and commit it; gives what `take` takes of it."""
        self._attempts, self._only_read, self._has_begun = self._attempts + 1, False, False
        left_s = max(self.deadline - self._loop.time(), 0.001)
        with GoingOn(self._lender) if self._attempts > 1 else contextlib.nullcontext():
            connection = await self._lender.acquire(role=self._role, timeout=left_s)
        # The writer may stand in for a reader, on which nothing could have been written either.
        is_for_reading = connection.role is Role.READER or self._role == Role.READER
        is_guarded = not is_for_reading and not connection.get_autocommit() and _only_writes(self._sql)
        try:
            if is_guarded:
                await connection.begin_guarded(isolation=None, read_only=False)
            self._has_begun = True
            cursor: Any
            async with connection.cursor() as cursor:
                await cursor.execute(self._sql, self._args)
                result = await take(cursor)
                while await cursor.nextset():
                    pass  # One of several statements in it may have failed.
            if is_guarded:
                await connection.end_guarded()
            elif connection.is_in_transaction and not (is_for_reading and _has_only_read(connection)):
                await connection.commit()  # On a reader, too: it may have forwarded a write.
        finally:
            self._only_read = is_for_reading and _has_only_read(connection)
            self._lender.release(connection)
        return result

    def is_safe_again(self, error: BaseException) -> bool:
        """Tell whether doing it again cannot do it twice."""
        if not isinstance(error, AioauroraError) or not hasattr(error, "outcome"):
            return False
        if isinstance(error, ConnectionLost) and (self._only_read or self._idempotent):
            return True
        is_undone = error.outcome in _NOT_DONE or isinstance(error, TransactionLost | WriterDemoted)
        return error.retryable and (is_undone or not self._has_begun)


def _only_writes(sql: str) -> bool:
    """Tell whether a text surely ends no transaction, and writes: patching must not undo it before its COMMIT."""
    return traces_of(sql.encode(errors="replace")) & (WROTE | MAY_HAVE_COMMITTED | ENDED) == WROTE


def _has_only_read(connection: Connection) -> bool:
    return not (connection.traces or READ) & (WROTE | MAY_HAVE_COMMITTED)


async def _affected(cursor: Any) -> int:
    return int(cursor.rowcount)


async def _all(cursor: Any) -> list[Any]:
    return list(await cursor.fetchall())


async def _first(cursor: Any) -> Any:
    return await cursor.fetchone()
