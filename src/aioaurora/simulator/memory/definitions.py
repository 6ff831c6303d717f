"""The grammar of CREATE, DROP and TRUNCATE."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aioaurora.simulator.memory.lexer import Kind
from aioaurora.simulator.memory.orders import (
    ColumnDefinition,
    CreateSchema,
    CreateTable,
    DropSchema,
    DropTables,
    KeyDefinition,
    Truncate,
)
from aioaurora.simulator.memory.queries import Queries
from aioaurora.simulator.memory.values import Type

if TYPE_CHECKING:
    from aioaurora.simulator.memory.syntax import Expression

_TYPES = {
    "INT": "int",
    "INTEGER": "int",
    "BIGINT": "bigint",
    "SMALLINT": "smallint",
    "MEDIUMINT": "mediumint",
    "TINYINT": "tinyint",
    "BOOL": "tinyint",
    "BOOLEAN": "tinyint",
    "DOUBLE": "double",
    "FLOAT": "float",
    "DECIMAL": "decimal",
    "NUMERIC": "decimal",
    "VARCHAR": "varchar",
    "CHAR": "char",
    "TEXT": "text",
    "LONGTEXT": "text",
    "MEDIUMTEXT": "text",
    "BLOB": "blob",
    "LONGBLOB": "blob",
    "VARBINARY": "varbinary",
    "BINARY": "binary",
    "DATETIME": "datetime",
    "TIMESTAMP": "timestamp",
}
_INTEGERS = frozenset({"int", "bigint", "smallint", "mediumint", "tinyint"})
_MOMENTS = frozenset({"datetime", "timestamp"})


class Definitions(Queries):
    """Reads the statements that make and remove schemas and tables."""

    def create(self) -> CreateTable | CreateSchema:
        """Read what follows CREATE."""
        if self.accept("DATABASE") or self.accept("SCHEMA"):
            if_not_exists = self.accept("IF", "NOT", "EXISTS")
            name = self.name()
            self._options()
            return CreateSchema(name, if_not_exists)
        self.expect("TABLE")
        if_not_exists = self.accept("IF", "NOT", "EXISTS")
        table = self.table_name()
        columns: list[ColumnDefinition] = []
        keys: list[KeyDefinition] = []
        self.in_parentheses(lambda: self._element(columns, keys))
        return CreateTable(
            table=table,
            columns=tuple(columns),
            keys=tuple(keys),
            if_not_exists=if_not_exists,
            is_transactional=self._options().get("ENGINE") != "MEMORY",
        )

    def drop(self) -> DropTables | DropSchema:
        """Read what follows DROP."""
        if self.accept("DATABASE") or self.accept("SCHEMA"):
            if_exists = self.accept("IF", "EXISTS")
            return DropSchema(self.name(), if_exists)
        self.expect("TABLE")
        if_exists = self.accept("IF", "EXISTS")
        return DropTables(self.listed(self.table_name), if_exists)

    def truncate(self) -> Truncate:
        """Read what follows TRUNCATE."""
        self.accept("TABLE")
        return Truncate(self.table_name())

    def _options(self) -> dict[str, str]:
        """Read `NAME [=] value` pairs to the end; only the engine's name matters here."""
        found: dict[str, str] = {}
        while self.current.kind is Kind.WORD:
            self.accept("DEFAULT")
            name = "CHARSET" if self.accept("CHARACTER", "SET") else self.name().upper()
            self.accept("=")
            found[name] = str(self.take().value).upper()
            self.accept(",")
        return found

    def _element(self, columns: list[ColumnDefinition], keys: list[KeyDefinition]) -> None:
        if self.accept("PRIMARY", "KEY"):
            keys.append(KeyDefinition("PRIMARY", self.in_parentheses(self.name)))
        elif self.accept("UNIQUE"):
            keys.append(self._key())
        elif self.sees("KEY") or self.sees("INDEX"):
            self._key()  # Needed by nobody here: a scan finds every row.
        else:
            columns.append(self._column_definition(keys))

    def _key(self) -> KeyDefinition:
        self.accept_one(("KEY", "INDEX"))
        name = "" if self.sees("(") else self.name()
        columns = self.in_parentheses(self.name)
        return KeyDefinition(name or columns[0], columns)

    def _column_definition(self, keys: list[KeyDefinition]) -> ColumnDefinition:
        name, kind = self.name(), self._type()
        is_nullable, is_automatic = True, False
        default: Expression | None = None
        on_update: Expression | None = None
        while not (self.sees(",") or self.sees(")")):
            if self.accept("NOT", "NULL"):
                is_nullable = False
            elif self.accept("AUTO_INCREMENT"):
                is_automatic = True
            elif self.accept("PRIMARY", "KEY"):
                is_nullable = False
                keys.append(KeyDefinition("PRIMARY", (name,)))
            elif self.accept("UNIQUE"):
                self.accept("KEY")
                keys.append(KeyDefinition(name, (name,)))
            elif self.accept("DEFAULT"):
                default = self.expression()
            elif self.accept("ON", "UPDATE"):
                on_update = self.expression()
            else:
                self._ignored_option()
        return ColumnDefinition(
            name=name,
            type=kind,
            is_nullable=is_nullable,
            default=default,
            on_update=on_update,
            is_automatic=is_automatic,
        )

    def _ignored_option(self) -> None:
        if self.accept("NULL"):
            return
        if not (self.accept("COMMENT") or self.accept("COLLATE") or self.accept("CHARACTER", "SET")):
            raise self.refusal()
        self.take()

    def _type(self) -> Type:
        name = _TYPES.get(self.current.text)
        if name is None:
            raise self.refusal()
        self.take()
        self.accept("PRECISION")
        numbers = self.in_parentheses(self.number) if self.sees("(") else ()
        unsigned = self.accept("UNSIGNED")
        first = numbers[0] if numbers else None
        if name in _MOMENTS:
            return Type(name, 26, first or 0)
        if name == "decimal":
            return Type(name, first or 10, numbers[1] if len(numbers) > 1 else 0)
        if name in _INTEGERS:
            return Type(name, 20, 0, unsigned)
        return Type(name, first)
