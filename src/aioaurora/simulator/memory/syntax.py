"""Expressions and queries as values: what the parser makes and the session carries out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aioaurora.simulator.memory.values import Type, Value

# --- expressions ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant."""

    value: Value


@dataclass(frozen=True, slots=True)
class ColumnName:
    """A column, maybe with its table's name."""

    table: str | None
    name: str


@dataclass(frozen=True, slots=True)
class SystemVariable:
    """`@@name`; `scope` is "global", "session" or empty."""

    scope: str
    name: str


@dataclass(frozen=True, slots=True)
class UserVariable:
    """`@name`, or `@name := value`."""

    name: str
    value: Expression | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """A function's name in lower case and its arguments."""

    name: str
    arguments: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Aggregate:
    """COUNT, SUM, MIN, MAX or AVG over a group; no argument means COUNT(*)."""

    name: str
    argument: Expression | None
    distinct: bool


@dataclass(frozen=True, slots=True)
class Operation:
    """An operator between two expressions."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Prefix:
    """NOT or a sign before an expression."""

    operator: str
    operand: Expression


@dataclass(frozen=True, slots=True)
class Among:
    """`operand IN (...)`: a list or a subquery."""

    operand: Expression
    options: tuple[Expression, ...] | Select


@dataclass(frozen=True, slots=True)
class Interval:
    """`INTERVAL amount UNIT`, added to or taken from a moment."""

    amount: Expression
    unit: str


@dataclass(frozen=True, slots=True)
class Cast:
    """CAST to "char", "signed", "unsigned", "binary", "decimal" or "datetime"."""

    operand: Expression
    to: Type


@dataclass(frozen=True, slots=True)
class Scalar:
    """A subquery that gives one value."""

    select: Select


Expression: TypeAlias = (
    Literal
    | ColumnName
    | SystemVariable
    | UserVariable
    | Call
    | Aggregate
    | Operation
    | Prefix
    | Among
    | Interval
    | Cast
    | Scalar
)

# --- reading --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TableName:
    """A table, maybe with its schema's name."""

    schema: str | None
    name: str


@dataclass(frozen=True, slots=True)
class Named:
    """A table as a source of rows."""

    table: TableName
    alias: str


@dataclass(frozen=True, slots=True)
class Derived:
    """A subquery as a source of rows."""

    select: Select
    alias: str


@dataclass(frozen=True, slots=True)
class Join:
    """Two sources; `keeps_left`: LEFT JOIN."""

    left: Source
    right: Source
    condition: Expression | None
    keeps_left: bool


Source: TypeAlias = Named | Derived | Join


@dataclass(frozen=True, slots=True)
class Star:
    """`*` or `alias.*`."""

    table: str | None


@dataclass(frozen=True, slots=True)
class Item:
    """One column of a SELECT and the name that it gets."""

    what: Expression | Star
    label: str


@dataclass(frozen=True, slots=True)
class Order:
    """One term of ORDER BY."""

    key: Expression
    descending: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Select:
    """A query."""

    items: tuple[Item, ...]
    source: Source | None = None
    where: Expression | None = None
    group: tuple[Expression, ...] = ()
    order: tuple[Order, ...] = ()
    limit: int | None = None
    offset: int = 0
    locks: bool = False
    distinct: bool = False


def walked(node: object, *, into_queries: bool = True) -> Iterator[object]:
    """Yield a node and everything below it, outermost first; `into_queries`: what stands in subqueries too."""
    yield node
    # Of a dataclass, the names of its fields: dataclasses.fields() is ten times slower.
    names = getattr(node, "__dataclass_fields__", ())
    for child in node if isinstance(node, tuple) else [getattr(node, name) for name in names]:
        kind = type(child)
        if kind is tuple or (hasattr(kind, "__dataclass_fields__") and (into_queries or kind is not Select)):
            yield from walked(child, into_queries=into_queries)
