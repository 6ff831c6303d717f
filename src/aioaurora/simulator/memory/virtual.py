"""Tables of information_schema, made when they are read, and the SHOW statements."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aioaurora.simulator.memory.evaluation import is_like
from aioaurora.simulator.memory.locks import Row
from aioaurora.simulator.memory.orders import ColumnDefinition
from aioaurora.simulator.memory.tables import Table
from aioaurora.simulator.memory.values import BIGINT, VARCHAR, Value, as_text
from aioaurora.simulator.memory.wire import ColumnLabel, ResultSet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from aioaurora.simulator.memory.orders import Show
    from aioaurora.simulator.memory.state import Server, State

SCHEMA = "information_schema"
_NUMBERS = frozenset({"ID", "TIME", "TRX_MYSQL_THREAD_ID", "TRX_ROWS_LOCKED"})
_PROCESSES = ("ID", "USER", "HOST", "DB", "COMMAND", "TIME", "STATE", "INFO")
_TRANSACTIONS = ("TRX_MYSQL_THREAD_ID", "TRX_STATE", "TRX_ROWS_LOCKED")


def tables_of(server: Server) -> dict[tuple[str, str], Callable[[], Table]]:
    """Return what makes each virtual table."""
    return {
        (SCHEMA, "processlist"): lambda: _made("PROCESSLIST", _PROCESSES, _processes(server)),
        (SCHEMA, "innodb_trx"): lambda: _made("INNODB_TRX", _TRANSACTIONS, _transactions(server)),
        (SCHEMA, "schemata"): lambda: _made("SCHEMATA", ("SCHEMA_NAME",), ((name,) for name in _schemas(server))),
        (SCHEMA, "tables"): lambda: _made("TABLES", ("TABLE_SCHEMA", "TABLE_NAME"), _tables(server)),
    }


def shown(show: Show, state: State) -> ResultSet:
    """Answer SHOW."""
    rows: Iterable[Sequence[Value]]
    match show.what:
        case "PROCESSLIST":
            names, rows = tuple(name.capitalize() for name in _PROCESSES), _processes(state.server)
        case "VARIABLES":
            names, rows = ("Variable_name", "Value"), state.variables.shown()
        case "DATABASES":
            names, rows = ("Database",), [(name,) for name in _schemas(state.server)]
        case "TABLES":
            names = (f"Tables_in_{state.database}",)
            rows = [(name,) for name in sorted(state.server.catalog.schema(state.database or ""))]
        case _:
            # Nothing here makes warnings.
            names, rows = ("Level", "Code", "Message"), []
    labels = tuple(ColumnLabel(name, BIGINT if name.upper() in _NUMBERS else VARCHAR) for name in names)
    return ResultSet(labels, [row for row in rows if show.like is None or is_like(as_text(row[0]), show.like)])


def _processes(server: Server) -> list[tuple[Value, ...]]:
    now = server.now()
    return [
        (
            state.id,
            state.user,
            "localhost",
            state.database,
            "Query" if state.doing is not None else "Sleep",
            int((now - state.since).total_seconds()),
            "" if state.doing is None else "executing",
            state.doing,
        )
        for state in server.sessions()
    ]


def _transactions(server: Server) -> list[tuple[Value, ...]]:
    found: list[tuple[Value, ...]] = []
    for state in server.sessions():
        for transaction in {state.transaction, state.writing} - {None}:
            if transaction is not None:
                waits = transaction.waits_for is not None
                found.append((state.id, "LOCK WAIT" if waits else "RUNNING", len(transaction.locked)))
    return found


def _schemas(server: Server) -> list[str]:
    return sorted((SCHEMA, *server.catalog.schemas))


def _tables(server: Server) -> list[tuple[Value, ...]]:
    return [(schema, name) for schema, tables in server.catalog.schemas.items() for name in tables]


def _made(name: str, columns: Sequence[str], rows: Iterable[Sequence[Value]]) -> Table:
    definitions = {
        column.lower(): ColumnDefinition(name=column, type=BIGINT if column in _NUMBERS else VARCHAR)
        for column in columns
    }
    table = Table(SCHEMA, name, definitions, (), is_transactional=False)
    for number, values in enumerate(rows):
        table.rows[number] = Row(table, number, dict(zip(definitions, values, strict=True)))
    return table
