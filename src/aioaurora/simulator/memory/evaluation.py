"""What an expression is worth, for one row or for a group of rows."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from aioaurora.simulator.memory import functions
from aioaurora.simulator.memory.syntax import (
    Aggregate,
    Among,
    Call,
    Cast,
    ColumnName,
    Expression,
    Interval,
    Literal,
    Operation,
    Prefix,
    Scalar,
    Select,
    SystemVariable,
    UserVariable,
)
from aioaurora.simulator.memory.values import (
    SqlError,
    Value,
    as_number,
    as_text,
    compared,
    folded,
    truth,
    unknown,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Rows: TypeAlias = "Mapping[str, Mapping[str, Value]]"
# Under this name an INSERT's own values stand beside the row that it met: `VALUES(column)`.
INSERTED = "\0values"


class Facts(Protocol):
    """What an expression may ask of the session that it runs in."""

    user_variables: dict[str, Value]

    def variable(self, scope: str, name: str) -> Value:
        """Return a system variable; raises 1193."""
        ...

    def function(self, name: str, arguments: Sequence[Value]) -> Value:
        """Return what a function says that depends on the session; raises KeyError for others."""
        ...

    def subquery(self, select: Select) -> list[tuple[Value, ...]]:
        """Run a query inside an expression."""
        ...


@dataclass(frozen=True, slots=True)
class Scope:
    """Where an expression stands: its session, the row of each source, and the group if it is in one."""

    facts: Facts
    row: Rows = field(default_factory=dict)
    group: Sequence[Rows] | None = None
    outputs: Mapping[str, Value] = field(default_factory=dict)

    def value(self, expression: Expression) -> Value:
        """Evaluate."""
        return _EVALUATORS[type(expression)](self, expression)

    def holds(self, condition: Expression | None) -> bool:
        """Say whether a condition is true; no condition is."""
        return condition is None or truth(self.value(condition)) is True


def _column(scope: Scope, node: ColumnName) -> Value:
    name = node.name.lower()
    if node.table is not None:
        row = scope.row.get(node.table.lower())
        if row is None or name not in row:
            raise unknown_column(node)
        return row[name]
    if name in scope.outputs:
        return scope.outputs[name]
    found = [row[name] for alias, row in scope.row.items() if name in row and alias != INSERTED]
    if len(found) > 1:
        raise SqlError(1052, f"Column '{node.name}' is ambiguous", "23000")
    if not found:
        raise unknown_column(node)
    return found[0]


def unknown_column(node: ColumnName) -> SqlError:
    """Return 1054 for a column."""
    name = f"{node.table}.{node.name}" if node.table else node.name
    return SqlError(1054, f"Unknown column '{name}' in 'field list'", "42S22")


def _user_variable(scope: Scope, node: UserVariable) -> Value:
    if node.value is not None:
        scope.facts.user_variables[node.name] = scope.value(node.value)
    return scope.facts.user_variables.get(node.name)


def _call(scope: Scope, node: Call) -> Value:
    if node.name == "values" and node.arguments and isinstance(node.arguments[0], ColumnName):
        return scope.row.get(INSERTED, {}).get(node.arguments[0].name.lower())
    arguments = [scope.value(argument) for argument in node.arguments]
    plain = functions.PLAIN.get(node.name)
    if plain is not None:
        return plain(*arguments)
    try:
        return scope.facts.function(node.name, arguments)
    except KeyError:
        raise SqlError(
            1305, f"FUNCTION {node.name} does not exist: the memory engine has not got it", "42000"
        ) from None


def _aggregate(scope: Scope, node: Aggregate) -> Value:
    if scope.group is None:
        raise SqlError(1111, "Invalid use of group function")
    if node.argument is None:
        return len(scope.group)
    each = (replace(scope, row=row, group=None).value(node.argument) for row in scope.group)
    values = [value for value in each if value is not None]
    if node.distinct:
        values = list({folded(value): value for value in values}.values())
    if node.name == "COUNT":
        return len(values)
    if not values:
        return None
    if node.name in ("MIN", "MAX"):
        return functions.extreme(values, 1 if node.name == "MAX" else -1)
    return functions.total(values) if node.name == "SUM" else functions.average(values)


def _operation(scope: Scope, node: Operation) -> Value:
    operator = node.operator
    if operator in ("AND", "OR"):
        return _logical(scope, node)
    if isinstance(node.right, Interval) and operator in "+-":
        return _shifted(scope, node.left, node.right, 1 if operator == "+" else -1)
    left, right = scope.value(node.left), scope.value(node.right)
    if operator == "<=>":
        return int(left is right is None or compared(left, right) == 0)
    return _strict(operator, left, right)


def _strict(operator: str, left: Value, right: Value) -> Value:
    """Compare or reckon; NULL makes NULL."""
    if left is None or right is None:
        return None
    if operator == "LIKE":
        return int(is_like(as_text(left), as_text(right)))
    if operator in _ORDERINGS:
        return int(_ORDERINGS[operator](compared(left, right) or 0))
    return functions.computed(operator, as_number(left), as_number(right))


def _logical(scope: Scope, node: Operation) -> Value:
    decisive = node.operator == "OR"
    left = truth(scope.value(node.left))
    if left is decisive:
        return int(decisive)
    right = truth(scope.value(node.right))
    if right is decisive:
        return int(decisive)
    return None if left is None or right is None else int(not decisive)


def _shifted(scope: Scope, what: Expression, interval: Interval, sign: int) -> Value:
    moment, amount = scope.value(what), scope.value(interval.amount)
    if moment is None or amount is None:
        return None
    unit = functions.UNITS.get(interval.unit)
    if unit is None:
        refused = f"INTERVAL ... {interval.unit}"
        raise unknown(refused)
    moment = moment if isinstance(moment, dt.datetime) else dt.datetime.fromisoformat(as_text(moment))
    return moment + sign * float(as_number(amount)) * unit


def _prefix(scope: Scope, node: Prefix) -> Value:
    value = scope.value(node.operand)
    if node.operator == "IS NULL":
        return int(value is None)
    if node.operator.startswith("IS "):
        return int(truth(value) is (node.operator == "IS TRUE"))
    if value is None:
        return None
    return int(not truth(value)) if node.operator == "NOT" else -as_number(value)


def _among(scope: Scope, node: Among) -> Value:
    operand = scope.value(node.operand)
    if isinstance(node.options, Select):
        options = [row[0] for row in scope.facts.subquery(node.options)]
    else:
        options = [scope.value(option) for option in node.options]
    if operand is None:
        return None
    if any(compared(operand, option) == 0 for option in options):
        return 1
    return None if None in options else 0


def _cast(scope: Scope, node: Cast) -> Value:
    value = scope.value(node.operand)
    if value is None:
        return None
    if node.to.name == "bigint":
        return int(as_number(value))
    return node.to.stored(value, "")


def _scalar(scope: Scope, node: Scalar) -> Value:
    rows = scope.facts.subquery(node.select)
    if len(rows) > 1:
        raise SqlError(1242, "Subquery returns more than 1 row", "21000")
    return rows[0][0] if rows else None


def _interval(_: Scope, node: Interval) -> Value:
    what = f"INTERVAL ... {node.unit} by itself"
    raise unknown(what)


def is_like(text: str, pattern: str) -> bool:
    """Say whether text matches a LIKE pattern, without regard to case."""
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    wild = {"%": ".*", "_": "."}
    expression = "".join(wild.get(part) or re.escape(part[-1]) for part in parts)
    return re.fullmatch(expression, text, re.IGNORECASE | re.DOTALL) is not None


_ORDERINGS: dict[str, Callable[[int], bool]] = {
    "=": lambda order: order == 0,
    "<>": lambda order: order != 0,
    "<": lambda order: order < 0,
    "<=": lambda order: order <= 0,
    ">": lambda order: order > 0,
    ">=": lambda order: order >= 0,
}
_EVALUATORS: dict[type, Callable[[Scope, Any], Value]] = {
    Literal: lambda _, node: node.value,
    ColumnName: _column,
    SystemVariable: lambda scope, node: scope.facts.variable(node.scope, node.name),
    UserVariable: _user_variable,
    Call: _call,
    Aggregate: _aggregate,
    Operation: _operation,
    Prefix: _prefix,
    Among: _among,
    Interval: _interval,
    Cast: _cast,
    Scalar: _scalar,
}
