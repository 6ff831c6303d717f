"""Statements other than queries as values: writing, defining, sessions and transactions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from aioaurora.simulator.memory.syntax import Select

if TYPE_CHECKING:
    from aioaurora.simulator.memory.syntax import Expression, Named, Order, TableName
    from aioaurora.simulator.memory.values import Type

# --- writing --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Assignment:
    """`name = value`."""

    name: str
    value: Expression


@dataclass(frozen=True, slots=True, kw_only=True)
class Insert:
    """INSERT or REPLACE; a value of None is DEFAULT."""

    table: TableName
    columns: tuple[str, ...]
    rows: tuple[tuple[Expression | None, ...], ...] | Select
    on_duplicate: tuple[Assignment, ...] = ()
    replaces: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """UPDATE of one table."""

    source: Named
    assignments: tuple[Assignment, ...]
    where: Expression | None
    order: tuple[Order, ...] = ()
    limit: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """DELETE from one table."""

    source: Named
    where: Expression | None
    order: tuple[Order, ...] = ()
    limit: int | None = None


# --- defining -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnDefinition:
    """A column of CREATE TABLE."""

    name: str
    type: Type
    is_nullable: bool = True
    default: Expression | None = None
    on_update: Expression | None = None
    is_automatic: bool = False


@dataclass(frozen=True, slots=True)
class KeyDefinition:
    """A primary or unique key."""

    name: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateTable:
    """CREATE TABLE; `is_transactional` is false for ENGINE=MEMORY."""

    table: TableName
    columns: tuple[ColumnDefinition, ...]
    keys: tuple[KeyDefinition, ...]
    if_not_exists: bool
    is_transactional: bool


@dataclass(frozen=True, slots=True)
class DropTables:
    """DROP TABLE."""

    tables: tuple[TableName, ...]
    if_exists: bool


@dataclass(frozen=True, slots=True)
class Truncate:
    """TRUNCATE TABLE."""

    table: TableName


@dataclass(frozen=True, slots=True)
class CreateSchema:
    """CREATE DATABASE."""

    name: str
    if_not_exists: bool


@dataclass(frozen=True, slots=True)
class DropSchema:
    """DROP DATABASE."""

    name: str
    if_exists: bool


# --- sessions and transactions --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Use:
    """USE."""

    schema: str


@dataclass(frozen=True, slots=True)
class SetVariable:
    """One assignment of SET; `scope` is "global", "session" or "user"."""

    scope: str
    name: str
    value: Expression | None


@dataclass(frozen=True, slots=True)
class SetVariables:
    """SET."""

    assignments: tuple[SetVariable, ...]


@dataclass(frozen=True, slots=True)
class Begin:
    """START TRANSACTION."""

    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Commit:
    """COMMIT."""


@dataclass(frozen=True, slots=True)
class Rollback:
    """ROLLBACK, to a savepoint when one is named."""

    savepoint: str | None = None


@dataclass(frozen=True, slots=True)
class Savepoint:
    """SAVEPOINT."""

    name: str


@dataclass(frozen=True, slots=True)
class Release:
    """RELEASE SAVEPOINT."""

    name: str


@dataclass(frozen=True, slots=True)
class Kill:
    """KILL of a connection, or of what it is doing."""

    target: Expression
    query_only: bool


@dataclass(frozen=True, slots=True)
class Show:
    """SHOW WARNINGS, PROCESSLIST, VARIABLES, DATABASES or TABLES; `like` filters by name."""

    what: str
    like: str | None = None


@dataclass(frozen=True, slots=True)
class Do:
    """DO: evaluate and forget."""

    expressions: tuple[Expression, ...]


Statement: TypeAlias = (
    Select
    | Insert
    | Update
    | Delete
    | CreateTable
    | DropTables
    | Truncate
    | CreateSchema
    | DropSchema
    | Use
    | SetVariables
    | Begin
    | Commit
    | Rollback
    | Savepoint
    | Release
    | Kill
    | Show
    | Do
)
