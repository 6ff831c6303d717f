"""aiomysql's cursors, whose `executemany` has one outcome.

It sends a statement for each row, or for each batch of them. Under autocommit those before the one that failed are
committed: an error that speaks of the last statement alone would have the caller write them twice.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from aioaurora._core.verdict import Work, doubt_of
from aioaurora._io.driver import Connection, Cursor
from aioaurora.errors import ConnectionLost, Outcome, OutcomeUnknown, WriterDemoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aioaurora._io.driver import CursorContext

C = TypeVar("C", bound=Cursor)


class _Whole(Cursor):
    """A cursor that tells what became of all of an `executemany`."""

    _executed: str | bytes | None

    async def executemany(self, query: str, args: Sequence[Any]) -> int | None:
        """Run a statement with each of `args`; where some may be done and others not, the outcome is unknown."""
        if not args:
            return None
        connection = self._get_db()
        is_one = bool(connection.get_transaction_status()) or not connection.get_autocommit()
        self._executed = None
        try:
            return await super().executemany(query, args)
        except (ConnectionLost, WriterDemoted) as error:
            if is_one or self._executed is None or not _may_write(query):
                raise
            raise _partly(error) from error


class WithCursors(Connection):
    """A connection that gives such cursors."""

    @overload
    def cursor(self) -> CursorContext[Cursor]: ...

    @overload
    def cursor(self, *cursors: type[C]) -> CursorContext[C]: ...

    def cursor(self, *cursors: type[Any]) -> CursorContext[Any]:
        """Give a cursor: of the connection's class, or of one made of these."""
        return super().cursor(*map(whole, cursors))


def _may_write(query: str) -> bool:
    return doubt_of(Work(statement=query.encode(errors="replace"), in_transaction=False, autocommit=True)) is not None


def _partly(error: ConnectionLost | WriterDemoted) -> ConnectionLost | WriterDemoted:
    errno = int(error.args[0])
    if isinstance(error, WriterDemoted):
        return WriterDemoted(
            error.instance, epoch=error.epoch, outcome=Outcome.UNKNOWN, errno=errno, is_frozen=error.is_frozen
        )
    detail = "after some of the rows of an executemany"
    return OutcomeUnknown(error.instance, epoch=error.epoch, outcome=Outcome.UNKNOWN, errno=errno, detail=detail)


def whole(cls: type[C]) -> type[C]:
    """Give a cursor class whose `executemany` is one; its name stays."""
    return cast("type[C]", _made(cls))  # type: ignore[arg-type]  # Any class is hashable.


@functools.lru_cache(maxsize=64)
def _made(cls: type[Any]) -> type[Any]:
    if issubclass(cls, _Whole) or not issubclass(cls, Cursor):
        return cls
    return type(cls.__name__, (_Whole, cls), {"__doc__": cls.__doc__, "__module__": cls.__module__})
