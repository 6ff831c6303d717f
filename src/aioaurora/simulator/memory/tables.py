"""Schemas and tables: columns, keys, rows."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aioaurora.simulator.memory.locks import Image, Row
from aioaurora.simulator.memory.values import SqlError, folded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from aioaurora.simulator.memory.orders import ColumnDefinition, CreateTable, KeyDefinition
    from aioaurora.simulator.memory.syntax import TableName
    from aioaurora.simulator.memory.values import Value

KeyValue = tuple[str, "tuple[Value, ...]"]


@dataclass(slots=True, eq=False)
class Table:
    """A table and its rows."""

    schema: str
    name: str
    columns: dict[str, ColumnDefinition]
    keys: tuple[KeyDefinition, ...]
    is_transactional: bool = True
    rows: dict[int, Row] = field(default_factory=dict)
    next_automatic: int = 1
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _index: dict[KeyValue, list[Row]] = field(default_factory=dict)

    def new_row(self) -> Row:
        """Return a row that does not exist yet for anybody."""
        row = Row(self, next(self._numbers))
        self.rows[row.number] = row
        return row

    def truncate(self) -> None:
        """Forget every row, and count from 1 again."""
        self.rows.clear()
        self._index.clear()
        self.next_automatic = 1

    def having(self, key: KeyDefinition, values: Iterable[Value]) -> tuple[Row, ...]:
        """Return the rows that have, had or may come to have these values in a key."""
        return tuple(self._index.get((key.name, tuple(map(folded, values))), ()))

    def index(self, row: Row) -> None:
        """Make a row findable under its newest image too."""
        for entry in self._entries(row.pending) - row.keys:
            self._index.setdefault(entry, []).append(row)
            row.keys.add(entry)

    def prune(self, row: Row) -> None:
        """Forget the keys that a row no longer has, and the row if it does not exist."""
        for entry in row.keys - self._entries(row.committed):
            rows = self._index.get(entry, [])
            if row in rows:  # Not there any more after TRUNCATE.
                rows.remove(row)
            if not rows:
                self._index.pop(entry, None)
            row.keys.discard(entry)
        if row.committed is None:
            self.rows.pop(row.number, None)

    def _entries(self, image: Image) -> set[KeyValue]:
        if image is None:
            return set()
        found = ((key.name, tuple(folded(image[column]) for column in key.columns)) for key in self.keys)
        return {entry for entry in found if None not in entry[1]}


class Catalog:
    """All schemas; names of schemas and tables are told apart by case, as on Linux.

    Attributes:
        virtual: Tables that are made anew each time they are read, by schema and name in lower case.
    """

    def __init__(self) -> None:
        """Start without schemas."""
        self.schemas: dict[str, dict[str, Table]] = {}
        self.virtual: dict[tuple[str, str], Callable[[], Table]] = {}

    def table(self, name: TableName, current: str | None) -> Table:
        """Find a table; raises 1046, 1049 and 1146."""
        schema = self.schema_of(name, current)
        virtual = self.virtual.get((schema.lower(), name.name.lower()))
        if virtual is not None:
            return virtual()
        table = self.schema(schema).get(name.name)
        if table is None:
            raise SqlError(1146, f"Table '{schema}.{name.name}' doesn't exist", "42S02")
        return table

    def schema_of(self, name: TableName, current: str | None) -> str:
        """Return the schema that a table's name means."""
        schema = name.schema or current
        if schema is None:
            raise SqlError(1046, "No database selected", "3D000")
        return schema

    def schema(self, name: str) -> dict[str, Table]:
        """Return a schema's tables; raises 1049."""
        if name not in self.schemas:
            raise SqlError(1049, f"Unknown database '{name}'", "42000")
        return self.schemas[name]

    def create_schema(self, name: str, *, if_not_exists: bool) -> None:
        """Make a schema; raises 1007."""
        if name in self.schemas and not if_not_exists:
            raise SqlError(1007, f"Can't create database '{name}'; database exists")
        self.schemas.setdefault(name, {})

    def drop_schema(self, name: str, *, if_exists: bool) -> None:
        """Remove a schema; raises 1008."""
        if self.schemas.pop(name, None) is None and not if_exists:
            raise SqlError(1008, f"Can't drop database '{name}'; database doesn't exist")

    def create_table(self, wanted: CreateTable, current: str | None) -> None:
        """Make a table; raises 1050, 1060 and 1072."""
        schema = self.schema_of(wanted.table, current)
        tables = self.schema(schema)
        if wanted.table.name in tables:
            if wanted.if_not_exists:
                return
            raise SqlError(1050, f"Table '{wanted.table.name}' already exists", "42S01")
        columns = {column.name.lower(): column for column in wanted.columns}
        if len(columns) < len(wanted.columns):
            raise SqlError(1060, "Duplicate column name", "42S21")
        missing = {column.lower() for key in wanted.keys for column in key.columns} - columns.keys()
        if missing:
            raise SqlError(1072, f"Key column '{missing.pop()}' doesn't exist in table", "42000")
        keys = tuple(type(key)(key.name, tuple(name.lower() for name in key.columns)) for key in wanted.keys)
        tables[wanted.table.name] = Table(schema, wanted.table.name, columns, keys, wanted.is_transactional)

    def drop_table(self, name: TableName, current: str | None, *, if_exists: bool) -> None:
        """Remove a table; raises 1051."""
        schema = self.schema_of(name, current)
        if self.schemas.get(schema, {}).pop(name.name, None) is None and not if_exists:
            raise SqlError(1051, f"Unknown table '{schema}.{name.name}'", "42S02")
