"""Whole units of work with a session, run again as those of our pool are: by the same rules, and the same code.

A unit has one connection of the engine, on which a guarded transaction is begun, and a session that is bound to it.
The session's own commit ends it.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from pymysql import err
from sqlalchemy import event, exc
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from aioaurora._core.options import seconds
from aioaurora._io.driver import sentence_of
from aioaurora.errors import ConfigurationError, ConnectionLost, Outcome, PoolTimeout
from aioaurora.retrying import Options, run_unit
from aioaurora.sqlalchemy._dialect import AuroraDialect, driver_of
from aioaurora.sqlalchemy._followed import asked_until
from aioaurora.waiting import Ending, Lender

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy.engine import Connection as SyncConnection
    from sqlalchemy.ext.asyncio import AsyncConnection, async_sessionmaker

    from aioaurora.connection import Connection
    from aioaurora.errors import Role

_TIDY_S = 5.0  # As a pool's `callback_timeout`.
_LATER_S = 0.1

P = ParamSpec("P")
S = TypeVar("S", bound=AsyncSession)
T = TypeVar("T")


async def run_in_transaction(
    session_factory: async_sessionmaker[S],
    function: Callable[Concatenate[S, P], Awaitable[T]],
    /,
    *args: Any,
    engine: AsyncEngine | None = None,
    **options: Any,
) -> T:
    """Run `function(session, *args)` as one transaction, and give its result.

    It is committed when the function returns, rolled back when it raises; and run again, with a new session on a new
    connection, while it is certain that nothing of it was done and the deadline allows, by the rules of `Pool.run`.

    Args:
        session_factory: Makes the sessions; `bind=` is passed to it, and its own `binds=` are left out.
        function: A coroutine function; it may be called several times.
        args: For it, after the session.
        engine: Whose connection it gets, where the factory has several; None: the factory's own.
        options: As for `Pool.attempts`, but for `role`, which is the engine's.

    Raises:
        DBAPIError: SQLAlchemy's, around what the last attempt failed with; `orig` is ours. With `CommitOutcomeUnknown`
            the connection was lost in COMMIT, and it may or may not have been done.
        PoolTimeout: The engine's pool had no connection to hand out until the deadline.
        ConfigurationError: No engine, or none of `mysql+aioaurora`.
    """
    if options.get("role") is not None:
        raise ConfigurationError("role= is the engine's: pass engine= an engine of that role")
    lender, said = _Lender(engine or session_factory.kw.get("bind")), Options.said(options)

    async def once(connection: Connection, *arguments: Any) -> T:
        entry, use = connection.slot, connection.slot.uses
        async with session_factory(bind=lender.lent, binds=None) as session:
            try:
                result = await function(session, *arguments)  # type: ignore[call-arg]  # mypy asks for `**P` as well.
            finally:
                entry.is_ending = entry.uses == use  # Else it is another's by now.
            await session.commit()
        return result

    await lender.reach(said.timeout)
    try:
        return await run_unit(lender, said, once, args)
    finally:
        await lender.emptied()


class _Lender(Lender):
    """Lends the connections of an engine to one unit of work, one at a time."""

    def __init__(self, engine: object) -> None:
        if not isinstance(engine, AsyncEngine) or not isinstance(engine.dialect, AuroraDialect):
            raise ConfigurationError("run_in_transaction needs an engine of mysql+aioaurora: pass engine=")
        self.lent: AsyncConnection | None = None
        self._engine, self._clusters = engine, engine.dialect.clusters
        self._loop = asyncio.get_running_loop()
        self._giving_back: asyncio.Task[None] | None = None

    async def reach(self, timeout_s: float | None) -> None:
        """Have the engine's cluster be known: its options say how long anything may take."""
        if timeout_s is not None:
            seconds("timeout", timeout_s)
        if self._clusters.here() is None:
            await (await self._connected(timeout_s)).close()

    async def emptied(self) -> None:
        """Wait until what was lent is back; it comes back without."""
        if self._giving_back is not None:
            await Ending(self._giving_back)

    # --- what a unit of work asks ------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether new work is refused: an engine refuses none."""
        return False

    async def acquire(
        self, *, role: Role | str | None = None, instance: str | None = None, timeout: float | None = None
    ) -> Connection:
        """Check a connection out; gives the driver's. Its role is the engine's."""
        self.lent = lent = await self._connected(timeout)
        connection = driver_of(await lent.get_raw_connection())
        if connection is None or lent.sync_connection is None:
            self.lent = None
            await lent.close()
            raise ConfigurationError("run_in_transaction needs the engine's own connections: leave creators out")
        event.listen(lent.sync_connection, "begin", _refuse_another)
        return connection

    def release(self, connection: Connection) -> Ending:
        """Give it back, with nothing left open on it."""
        lent, self.lent = self.lent, None
        if lent is not None:
            self._giving_back = self._clusters.begun(_given_back(lent, connection))
        return Ending(self._giving_back)

    def working(self) -> contextlib.AbstractContextManager[None]:
        """Count nothing."""
        return contextlib.nullcontext()

    def deadline(self, timeout: float | None) -> float:
        """Say until when, on the loop's clock, that may take which is asked for now."""
        followed = self._clusters.here()
        if followed is None:  # The engine was disposed of meanwhile.
            raise err.InterfaceError(0, "the engine was disposed of")
        return followed.deadline(None if timeout is None else seconds("timeout", timeout))

    def cause_of(self, error: Exception) -> Exception:
        """Give the driver's error that SQLAlchemy has wrapped, or stands for."""
        if isinstance(error, exc.PendingRollbackError):
            return err.InterfaceError(0, str(error))  # What was lost has been passed over.
        cause = error.orig if isinstance(error, exc.DBAPIError) else None
        return cause if isinstance(cause, Exception) else error

    # --- inside ------------------------------------------------------------------------------------------------

    async def _connected(self, timeout_s: float | None) -> AsyncConnection:
        """Check a connection out; what the Cluster says of the same deadline is worth more, and comes first."""
        until = None if timeout_s is None else self._loop.time() + timeout_s
        asked_until.set(until)
        try:
            async with asyncio.timeout_at(None if until is None else until + _LATER_S) as limit:
                return await self._engine.connect()
        except TimeoutError as error:
            if timeout_s is None or not limit.expired():
                raise
            sentence = f"no connection within {timeout_s:.1f} s: {self._engine.pool.status()}"
            raise PoolTimeout(sentence, waited_s=timeout_s) from error
        except exc.InvalidRequestError as error:
            if type(error) is not exc.InvalidRequestError:
                raise
            raise self._given_up() from error
        finally:
            asked_until.set(None)

    def _given_up(self) -> ConnectionLost:
        """Say that SQLAlchemy's pool takes only so many connections in a row that are stale when they are there."""
        followed = self._clusters.here()
        topology = followed.cluster.topology if followed is not None else None
        instance, epoch = (topology.writer_id or topology.cluster, topology.epoch) if topology else ("the engine", 0)
        detail = "the writer changed again and again while it was connected to"
        return ConnectionLost(instance, epoch=epoch, outcome=Outcome.NOTHING_SENT, detail=detail)


async def _given_back(lent: AsyncConnection, connection: Connection) -> None:
    if not connection.closed and connection.needs_tidying("never"):
        try:
            async with asyncio.timeout(_TIDY_S):
                await connection.tidy("never")
        except (err.MySQLError, TimeoutError) as error:
            connection.cut(f"it could not be made clean: {sentence_of(error)}")
    connection.slot.is_ending = True  # SQLAlchemy need not roll back what is clean.
    await lent.close()


def _refuse_another(connection: SyncConnection) -> None:
    """Stay lost: SQLAlchemy would go on with a new connection, on which no unit was begun."""
    if connection.invalidated:
        raise err.InterfaceError(0, "Not connected: the connection was lost within its unit of work")
