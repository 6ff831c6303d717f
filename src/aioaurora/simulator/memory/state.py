"""What a session remembers, and what expressions may ask of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from aioaurora.simulator.memory.locks import Transaction
from aioaurora.simulator.memory.variables import VERSION, Variables

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Sequence

    from aioaurora.simulator.memory.tables import Catalog
    from aioaurora.simulator.memory.values import Value


class Server(Protocol):
    """What a session needs of the server that it belongs to."""

    user: str
    catalog: Catalog
    variables: dict[str, Value]

    def sessions(self) -> Sequence[State]:
        """Return the sessions that live now."""
        ...

    def kill(self, connection_id: int, *, query_only: bool) -> None:
        """End another session, or what it is doing; raises 1094."""

    def now(self) -> dt.datetime:
        """Return the time of day, which follows the loop's clock."""
        ...


class State:
    """A session without its statements.

    Attributes:
        id: Its connection id.
        doing: The statement under way, or None.
        since: When that began, or when the last one ended.
        transaction: The open transaction, or None.
        writing: The transaction that the statement under way writes in, or None.
        counts_found: Whether an UPDATE counts the rows that it found, not those that it changed.
    """

    id: int
    last_insert_id: int
    row_count: int
    since: dt.datetime
    started: dt.datetime
    user: str
    variables: Variables

    def __init__(self, server: Server, connection_id: int, user: str) -> None:
        """Start with the server's variables and without a schema."""
        self.server = server
        self.id, self.user = connection_id, user
        self.database: str | None = None
        self.variables = Variables(server.variables)
        self.user_variables: dict[str, Value] = {}
        self.last_insert_id = 0
        self.row_count = -1
        self.doing: str | None = None
        self.since = server.now()
        self.started = self.since
        self.transaction: Transaction | None = None
        self.writing: Transaction | None = None
        self.counts_found = False

    @property
    def autocommits(self) -> bool:
        """Whether a statement outside BEGIN is a transaction of its own."""
        return self.variables.is_on("autocommit")

    def variable(self, scope: str, name: str) -> Value:
        """Return a system variable; raises 1193."""
        return self.variables.get(scope, name)

    def function(self, name: str, arguments: Sequence[Value]) -> Value:
        """Return what a function says that depends on the session; raises KeyError for others."""
        return _FUNCTIONS[name](self, *arguments)

    def new_transaction(self, *, read_only: bool = False) -> Transaction:
        """Return a transaction with this session's settings."""
        is_read_only = read_only or self.variables.is_on("transaction_read_only")
        return Transaction(self.variables.number("innodb_lock_wait_timeout"), is_read_only)

    def forget(self) -> None:
        """Be as after log-in, but for the schema: COM_RESET_CONNECTION."""
        self.variables.reset()
        self.user_variables.clear()
        self.last_insert_id, self.row_count = 0, -1


def _now(state: State, digits: Value = 0) -> Value:
    moment, step = state.started, 10 ** (6 - int(str(digits)))
    return moment.replace(microsecond=moment.microsecond // step * step)


def _account(state: State) -> Value:
    return f"{state.user}@localhost"


_FUNCTIONS: dict[str, Callable[..., Value]] = {
    "connection_id": lambda state: state.id,
    "current_timestamp": _now,
    "current_user": _account,
    "database": lambda state: state.database,
    "last_insert_id": lambda state: state.last_insert_id,
    "localtimestamp": _now,
    "now": _now,
    "row_count": lambda state: state.row_count,
    "schema": lambda state: state.database,
    "session_user": _account,
    "sleep": lambda _, __: 0,  # The session has slept before it evaluates anything.
    "sysdate": _now,
    "user": _account,
    "utc_timestamp": _now,
    "version": lambda _: VERSION,
}
