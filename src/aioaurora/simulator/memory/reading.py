"""Carrying out a SELECT on what one session sees."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cmp_to_key
from typing import TYPE_CHECKING, TypeAlias

from aioaurora.simulator.memory.evaluation import Facts, Rows, Scope, unknown_column
from aioaurora.simulator.memory.syntax import (
    Aggregate,
    Call,
    ColumnName,
    Derived,
    Expression,
    Item,
    Join,
    Literal,
    Named,
    Operation,
    Order,
    Select,
    Source,
    Star,
    TableName,
    walked,
)
from aioaurora.simulator.memory.values import BIGINT, VARCHAR, SqlError, Type, Value, compared, folded, type_of
from aioaurora.simulator.memory.wire import ColumnLabel, ResultSet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from _typeshed import SupportsAllComparisons

    from aioaurora.simulator.memory.locks import Row, Transaction
    from aioaurora.simulator.memory.tables import Table


Columns: TypeAlias = dict[str, dict[str, ColumnLabel]]
_MOMENTS = ("now", "current_timestamp", "localtimestamp", "sysdate", "utc_timestamp")


@dataclass(frozen=True, slots=True)
class View:
    """What one session sees: how to find a table, and the transaction whose writes it sees too."""

    facts: Facts
    find: Callable[[TableName], Table]
    transaction: Transaction | None

    def select(self, select: Select) -> ResultSet:
        """Run a query."""
        columns = self._columns(select.source)
        items = _without_stars(select.items, columns)
        check((select.items, select.where, select.source), columns)
        check((select.group, select.order), columns, {item.label.lower() for item in items})
        scopes = [Scope(self.facts, row) for row in self._rows(select.source, select.where)]
        scopes = [scope for scope in scopes if scope.holds(select.where)]
        if select.group or any(isinstance(node, Aggregate) for node in walked(select.items, into_queries=False)):
            scopes = self._grouped(scopes, select.group)
        names = [item.label.lower() for item in items]
        found: list[tuple[Scope, tuple[Value, ...]]] = []
        for scope in scopes:
            values = tuple(scope.value(what) for what in _expressions(items))
            found.append((replace(scope, outputs=dict(zip(names, values, strict=True))), values))
        if select.order:
            key = _sort_key(_by_position(select.order, items))
            found.sort(key=lambda pair: key(pair[0]))
        rows = [values for _, values in found]
        return ResultSet(_labels(items, columns, rows), _cut(rows, select))

    def matching(self, table: Table, alias: str, where: Expression | None) -> Iterable[Row]:
        """Return rows of a table that may match: those of one key if the condition names it, else all."""
        for key in table.keys:
            wanted = dict(_equalities(where, alias))
            if all(column in wanted for column in key.columns):
                scope = Scope(self.facts)
                try:
                    values = [table.columns[name].type.stored(scope.value(wanted[name]), name) for name in key.columns]
                except SqlError:
                    continue  # No value of this column: comparing row by row tells.
                return table.having(key, values)
        return tuple(table.rows.values())

    def _columns(self, source: Source | None) -> Columns:
        match source:
            case None:
                return {}
            case Named(name, alias):
                table = self.find(name)
                labels = {
                    key: ColumnLabel(column.name, column.type, alias, table.schema)
                    for key, column in table.columns.items()
                }
                return {alias.lower(): labels}
            case Derived(select, alias):
                return {alias.lower(): {label.name.lower(): label for label in self.select(select).columns}}
            case _:
                return self._columns(source.left) | self._columns(source.right)

    def _rows(self, source: Source | None, where: Expression | None) -> list[Rows]:
        match source:
            case None:
                return [{}]
            case Named(name, alias):
                rows = self.matching(self.find(name), alias, where)
                images = (row.seen_by(self.transaction) for row in rows)
                return [{alias.lower(): image} for image in images if image is not None]
            case Derived(select, alias):
                result = self.select(select)
                names = [label.name.lower() for label in result.columns]
                return [{alias.lower(): dict(zip(names, row, strict=True))} for row in result.rows]
            case _:
                return self._joined(source)

    def _joined(self, source: Join) -> list[Rows]:
        right = self._rows(source.right, None)
        nothing = {alias: dict.fromkeys(columns) for alias, columns in self._columns(source.right).items()}
        found: list[Rows] = []
        for left in self._rows(source.left, None):
            pairs = [{**left, **other} for other in right]
            joined = [pair for pair in pairs if Scope(self.facts, pair).holds(source.condition)]
            found += joined or ([{**left, **nothing}] if source.keeps_left else [])
        return found

    def _grouped(self, scopes: Sequence[Scope], keys: tuple[Expression, ...]) -> list[Scope]:
        groups: dict[tuple[Value, ...], list[Scope]] = {} if keys else {(): []}
        for scope in scopes:
            groups.setdefault(tuple(folded(scope.value(key)) for key in keys), []).append(scope)
        return [
            Scope(self.facts, members[0].row if members else {}, [member.row for member in members])
            for members in groups.values()
        ]


def check(select: object, columns: Columns, outputs: Iterable[str] = ()) -> None:
    """Raise 1054 for a column that is in no source, whether or not there are rows."""
    known = set(outputs)
    for node in walked(select, into_queries=False):
        if not isinstance(node, ColumnName) or (node.table is None and node.name.lower() in known):
            continue
        sources = columns.values() if node.table is None else [columns.get(node.table.lower(), {})]
        if not any(node.name.lower() in source for source in sources):
            raise unknown_column(node)


def in_order(scopes: Iterable[Scope], order: tuple[Order, ...]) -> list[Scope]:
    """Sort by ORDER BY."""
    return sorted(scopes, key=_sort_key(order)) if order else list(scopes)


def _equalities(where: Expression | None, alias: str) -> Iterable[tuple[str, Expression]]:
    """Yield column and constant of each `column = constant` that must hold."""
    if not isinstance(where, Operation):
        return
    if where.operator == "AND":
        yield from _equalities(where.left, alias)
        yield from _equalities(where.right, alias)
    if where.operator != "=":
        return
    for column, other in ((where.left, where.right), (where.right, where.left)):
        is_ours = isinstance(column, ColumnName) and (column.table or alias).lower() == alias.lower()
        if is_ours and not any(isinstance(node, ColumnName) for node in walked(other)):
            yield column.name.lower(), other  # type: ignore[union-attr]  # A ColumnName, as `is_ours` says.


def _without_stars(items: tuple[Item, ...], columns: Columns) -> list[Item]:
    found: list[Item] = []
    for item in items:
        if not isinstance(item.what, Star):
            found.append(item)
            continue
        table = item.what.table
        if table is not None and table.lower() not in columns:
            raise SqlError(1051, f"Unknown table '{table}'", "42S02")
        for alias, labels in columns.items():
            if table is None or alias == table.lower():
                found += [Item(ColumnName(alias, name), label.name) for name, label in labels.items()]
    if not found:
        raise SqlError(1096, "No tables used")
    return found


def _expressions(items: list[Item]) -> list[Expression]:
    return [item.what for item in items if not isinstance(item.what, Star)]


def _by_position(order: tuple[Order, ...], items: list[Item]) -> tuple[Order, ...]:
    """Replace numbers in ORDER BY by the columns that they count."""
    found = []
    for term in order:
        number = term.key.value if isinstance(term.key, Literal) else None
        found.append(Order(_expressions(items)[number - 1], term.descending) if isinstance(number, int) else term)
    return tuple(found)


def _sort_key(order: tuple[Order, ...]) -> Callable[[Scope], SupportsAllComparisons]:
    def before(one: Scope, other: Scope) -> int:
        for term in order:
            left, right = one.value(term.key), other.value(term.key)
            # NULL comes first.
            sign = compared(left, right) if None not in (left, right) else (left is not None) - (right is not None)
            if sign:
                return -sign if term.descending else sign
        return 0

    return cmp_to_key(before)


def _cut(rows: list[tuple[Value, ...]], select: Select) -> list[tuple[Value, ...]]:
    if select.distinct:
        rows = list({tuple(map(folded, row)): row for row in reversed(rows)}.values())[::-1]
    end = None if select.limit is None else select.offset + select.limit
    return rows[select.offset : end]


def _labels(items: list[Item], columns: Columns, rows: Sequence[Sequence[Value]]) -> tuple[ColumnLabel, ...]:
    made = []
    for at, item in enumerate(items):
        label = _declared(item.what, columns) if not isinstance(item.what, Star) else None
        if label is None:
            sample = next((row[at] for row in rows if row[at] is not None), None)
            label = ColumnLabel(item.label, type_of(sample) if rows else VARCHAR)
        made.append(replace(label, name=item.label))
    return tuple(made)


def _declared(what: Expression, columns: Columns) -> ColumnLabel | None:
    """Return what is known of a column without looking at the rows."""
    match what:
        case ColumnName(table, name):
            sources = columns.values() if table is None else [columns[table.lower()]]
            return next((source[name.lower()] for source in sources if name.lower() in source), None)
        case Aggregate("COUNT"):
            return ColumnLabel("", BIGINT)
        case Aggregate("MIN" | "MAX", argument) if argument is not None:
            return _declared(argument, columns)
        case Call(name, arguments) if name in _MOMENTS:
            digits = arguments[0].value if arguments and isinstance(arguments[0], Literal) else 0
            return ColumnLabel("", Type("datetime", 26, digits if isinstance(digits, int) else 0))
    return None
