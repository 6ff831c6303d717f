r"""Whole units of work: run again, on a new connection, while it is certain that they were not done.

    begun --function ends--> COMMIT --answered--> done
      |                        |  \--savepoint unknown--> rolled back: TransactionLost
      |                        +--lost--> CommitOutcomeUnknown: never run again
      +--refused, deadlock, lost--> rolled back --deadline allows--> begun, on a new connection

A unit is not run again if a part of it may have been committed: after a COMMIT or DDL of its own, whatever comes then.
Nor is one that could not begin, as nobody had a connection for it: that has been waited for already.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import inspect
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from pymysql import err

from aioaurora._core.options import choice, refuse_unknown
from aioaurora._core.value import dataclass
from aioaurora._core.verdict import errno_of
from aioaurora._io.attempting import Attempting
from aioaurora.errors import AioauroraError, ConfigurationError, Role

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from types import TracebackType
    from typing import Self

    import tenacity

    from aioaurora.connection import Connection
    from aioaurora.waiting import Lender

P = ParamSpec("P")
T = TypeVar("T")

_DEADLOCK, _LOCK_WAIT = 1213, 1205
_WAIT_LEAST_S = 0.05
_LEVELS = ("read uncommitted", "read committed", "repeatable read", "serializable")

_innermost: contextvars.ContextVar[GoingOn | None] = contextvars.ContextVar("aioaurora_going_on", default=None)


class GoingOn:
    """Whoever asks `pool` for a connection within this block does it to go on with a unit of work that has begun.

    It is one that was refused or lost, or its function needs another connection: a pool that is being drained grants
    it. Tasks that the block starts are within it until it ends.
    """

    __slots__ = ("is_over", "outer", "pool")

    def __init__(self, pool: object) -> None:
        self.pool: object = pool
        self.is_over: bool = False

    def __enter__(self) -> None:
        self.outer: GoingOn | None = _innermost.get()
        _innermost.set(self)

    def __exit__(self, *_: object) -> None:
        self.is_over = True
        if _innermost.get() is self:  # Else it ends in another context than it has begun in.
            _innermost.set(self.outer)


def is_going_on(pool: object) -> bool:
    """Tell whether this context asks for a connection to go on with a unit of work of this pool."""
    block = _innermost.get()
    while block is not None and (block.is_over or block.pool is not pool):
        block = block.outer
    return block is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a unit of work is run; see `Units.run`."""

    timeout: float | None = None
    role: Role | str | None = None
    isolation: str | None = None
    read_only: bool = False
    retry_lock_waits: bool = False
    stop: Any = None
    wait: Any = None
    before_sleep: Callable[[tenacity.RetryCallState], Any] | None = None

    def __post_init__(self) -> None:
        if self.isolation is None:
            return
        level = choice("isolation", self.isolation.replace("_", " "), _LEVELS)
        object.__setattr__(self, "isolation", level.upper())
        if self.role == Role.READER:
            self.refuse_on_readers()

    @classmethod
    def said(cls, said: Mapping[str, Any]) -> Self:
        """Take them as they were given by name.

        Raises:
            ConfigurationError: One is unknown; names the nearest one.
        """
        refuse_unknown(said, cls.__dataclass_fields__, instead={})
        return cls(**said)

    def refuse_on_readers(self) -> None:
        """Refuse what readers cannot do (case 63)."""
        if self.isolation not in (None, "REPEATABLE READ"):
            raise ConfigurationError(
                f"isolation={self.isolation.lower()!r}: readers run REPEATABLE READ only, leave it out"
            )


class Unit:
    """One unit of work, from its first attempt to its last."""

    def __init__(self, lender: Lender, options: Options) -> None:
        self.is_over: bool = False
        self.failure: Exception | None = None  # What the next attempt comes after.
        self._under_way = contextlib.ExitStack()
        self._lender, self._options = lender, options
        self._loop = asyncio.get_running_loop()
        self._deadline = lender.deadline(options.timeout)
        self.attempting: Attempting = Attempting(
            deadline=self._deadline, stop=options.stop, wait=options.wait, before_sleep=options.before_sleep
        )
        self._may_run_again = True
        self._is_lost = False  # The connection of the last attempt.
        self._attempts = self._uses = 0
        self._went_on = False  # The last attempt began while the pool was being drained, which grants no other.

    def going_on(self) -> GoingOn:
        """Let who works on it have further connections, within this block."""
        return GoingOn(self._lender)

    def start(self) -> None:
        """Be under way from now on, pauses between two attempts included."""
        self._under_way.enter_context(self._lender.working())

    def close(self) -> None:
        """Be over. Doing it twice is no harm."""
        self.is_over = True
        self._under_way.close()

    def __del__(self) -> None:
        self.close()  # Somebody has left the loop over its attempts between two of them.

    async def begin(self) -> Connection:
        """Lease a connection and begin a guarded transaction on it."""
        options, self._is_lost, self._went_on = self._options, False, self._lender.closed
        self._attempts += 1
        with GoingOn(self._lender) if self._attempts > 1 else contextlib.nullcontext():
            left_s = max(self._deadline - self._loop.time(), _WAIT_LEAST_S)
            connection = await self._lender.acquire(role=options.role, timeout=left_s)
        self._uses = connection.slot.uses
        try:
            is_reader = connection.role is Role.READER
            if is_reader:
                options.refuse_on_readers()
            await connection.begin_guarded(
                isolation=options.isolation, read_only=options.read_only, is_reader=is_reader
            )
        except BaseException:
            self._lender.release(connection)
            raise
        return connection

    async def finish(self, connection: Connection) -> None:
        """Commit."""
        if not self._has(connection):
            raise ConfigurationError("the connection was given back within its unit of work: leave that to the unit")
        await connection.end_guarded()

    async def end(self, connection: Connection, *, is_done: bool) -> None:
        """Give the connection back; unless it is done, wait until whatever is open on it has been rolled back."""
        if not self._has(connection):  # It may be another's by now.
            self._may_run_again = False
            return
        self._may_run_again = self._may_run_again and connection.may_run_again
        self._is_lost = connection.closed
        ending = self._lender.release(connection)
        if not is_done:
            await ending

    def _has(self, connection: Connection) -> bool:
        return bool(connection.slot.uses == self._uses) and not connection.is_given_back

    def is_worth_another(self, error: Exception) -> bool:
        """Tell whether it is certain that nothing was done, and the same again may succeed."""
        return self._may_run_again and not self._went_on and self._is_undone(self._lender.cause_of(error))

    def _is_undone(self, error: Exception) -> bool:
        errno = errno_of(error) if isinstance(error, err.MySQLError) else None
        if errno == _DEADLOCK or (errno == _LOCK_WAIT and self._options.retry_lock_waits):
            return True
        if isinstance(error, AioauroraError):
            return error.retryable and hasattr(error, "outcome")
        # The function has passed over the loss, and gone on with a connection that was closed.
        return self._is_lost and type(error) in (err.InterfaceError, err.Error)


class Attempt:
    """One attempt at a unit of work: `async with attempt as connection`.

    The transaction is committed when the block ends, and rolled back if it raises. A COMMIT that fails there raises and
    is not tried again, as the block may have returned already; `await connection.commit()` as its last line is.
    """

    def __init__(self, unit: Unit) -> None:
        self._unit = unit

    @property
    def number(self) -> int:
        """Which one it is, counted from 1; one that could not begin counts, too."""
        return self._unit.attempting.number

    async def __aenter__(self) -> Connection:
        unit = self._unit
        try:
            self._connection: Connection = await unit.attempting.run(unit.begin, unit.is_worth_another)
        except BaseException:
            unit.close()
            raise
        self._block = unit.going_on()
        self._block.__enter__()
        return self._connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        unit, is_done, is_next = self._unit, False, False
        self._block.__exit__()
        try:
            try:
                if error is None:
                    await unit.finish(self._connection)
                    is_done = True
            finally:
                await unit.end(self._connection, is_done=is_done)
            if isinstance(error, Exception) and unit.is_worth_another(error):
                unit.failure, is_next = error, True
        finally:
            if not is_next:
                unit.close()
        return is_next


class Attempts:
    """The attempts at one unit of work, until one is done or the next would be of no use: `async for` gives them."""

    def __init__(self, lender: Lender, options: Options) -> None:
        self._lender, self._options = lender, options

    def __aiter__(self) -> Self:
        """Begin anew."""
        self._unit = Unit(self._lender, self._options)
        self._unit.start()
        return self

    async def __anext__(self) -> Attempt:
        """Give the next attempt, after a pause; raises what the last one did if there is none."""
        unit = self._unit
        if unit.is_over:
            raise StopAsyncIteration
        failure, unit.failure = unit.failure, None
        if failure is not None:
            try:
                await unit.attempting.pause(failure)
            except BaseException:
                unit.close()
                raise
        return Attempt(unit)


async def run_unit(
    lender: Lender, options: Options, function: Callable[..., Awaitable[T]], arguments: tuple[Any, ...]
) -> T:
    """Begin, call, commit, give the result; again, while it is certain that nothing was done."""
    unit = Unit(lender, options)

    async def once() -> T:
        connection = await unit.begin()
        is_done = False
        try:
            with unit.going_on():
                result = await function(connection, *arguments)
            await unit.finish(connection)
            is_done = True
        finally:
            await unit.end(connection, is_done=is_done)
        return result

    with lender.working():
        return await unit.attempting.run(once, unit.is_worth_another)


def transactional_on(
    lender: Lender, options: Options
) -> Callable[[Callable[Concatenate[Connection, P], Awaitable[T]]], Callable[P, Awaitable[T]]]:
    """Make a decorator that runs a function as a unit of work."""

    def decorated(function: Callable[Concatenate[Connection, P], Awaitable[T]]) -> Callable[P, Awaitable[T]]:
        @functools.wraps(function)
        async def run(*args: P.args, **kwargs: P.kwargs) -> T:
            return await run_unit(lender, options, functools.partial(function, **kwargs), args)

        # Frameworks read it to know what to pass: the connection is ours to give.
        signature = inspect.signature(function)
        own = [*signature.parameters.values()][1:]
        run.__signature__ = signature.replace(parameters=own)  # type: ignore[attr-defined]  # As functools sets it.
        return run

    return decorated
