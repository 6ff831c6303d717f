"""Carrying out INSERT, REPLACE, UPDATE and DELETE in a transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aioaurora.simulator.memory.evaluation import INSERTED, Scope
from aioaurora.simulator.memory.reading import View, check, in_order
from aioaurora.simulator.memory.syntax import Select
from aioaurora.simulator.memory.values import SqlError, Value, as_text, folded
from aioaurora.simulator.memory.wire import ColumnLabel, Done

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from aioaurora.simulator.memory.locks import Row, Transaction
    from aioaurora.simulator.memory.orders import Assignment, ColumnDefinition, Delete, Insert, KeyDefinition, Update
    from aioaurora.simulator.memory.syntax import Expression, Named, Order
    from aioaurora.simulator.memory.tables import Table

    Image = Mapping[str, Value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pen:
    """Writes for one session in one transaction; `lock` waits for a row and notices that the session was killed."""

    view: View
    transaction: Transaction
    lock: Callable[[Transaction, Row], Awaitable[None]]
    counts_found: bool

    async def locked(
        self, source: Named, where: Expression | None, order: tuple[Order, ...], limit: int | None
    ) -> list[Row]:
        """Lock the rows that match, and return them as they are after the wait."""
        table = self.view.find(source.table)
        alias = source.alias.lower()
        check((where, order), {alias: _labels(table)})
        by_scope = []
        for row in self.view.matching(table, source.alias, where):
            scopes = [Scope(self.view.facts, {alias: image}) for image in (row.committed, row.pending) if image]
            if any(scope.holds(where) for scope in scopes):
                by_scope.append((scopes[-1], row))
        rows = {id(scope): row for scope, row in by_scope}
        found: list[Row] = []
        for scope in in_order([scope for scope, _ in by_scope], order):
            if limit is not None and len(found) >= limit:
                break
            row = rows[id(scope)]
            await self.lock(self.transaction, row)
            image = row.seen_by(self.transaction)
            if image is not None and Scope(self.view.facts, {alias: image}).holds(where):
                found.append(row)
        return found

    async def insert(self, insert: Insert) -> Done:
        """Insert or replace rows."""
        table = self.view.find(insert.table)
        names = [name.lower() for name in insert.columns] or list(table.columns)
        unknown = next((name for name in names if name not in table.columns), None)
        if unknown is not None:
            raise SqlError(1054, f"Unknown column '{unknown}' in 'field list'", "42S22")
        affected = first_id = 0
        for number, values in enumerate(self._values(insert, table), 1):
            if values and len(values) != len(names):
                raise SqlError(1136, f"Column count doesn't match value count at row {number}", "21S01")
            image, given = self._image(table, dict(zip(names, values, strict=False)))
            first_id = first_id or given
            affected += await self._place(insert, table, image)
        return Done(affected, first_id)

    async def update(self, update: Update) -> Done:
        """Change the rows that match."""
        table = self.view.find(update.source.table)
        for assignment in update.assignments:
            if assignment.name.lower() not in table.columns:
                raise SqlError(1054, f"Unknown column '{assignment.name}' in 'field list'", "42S22")
        rows = await self.locked(update.source, update.where, update.order, update.limit)
        changed = 0
        for row in rows:
            changed += await self._change(table, row, update.assignments, update.source.alias.lower(), {})
        message = f"Rows matched: {len(rows)}  Changed: {changed}  Warnings: 0"
        return Done(len(rows) if self.counts_found else changed, 0, message)

    async def delete(self, delete: Delete) -> Done:
        """Remove the rows that match."""
        rows = await self.locked(delete.source, delete.where, delete.order, delete.limit)
        for row in rows:
            self.transaction.write(row, None)
        return Done(len(rows))

    def _values(self, insert: Insert, table: Table) -> list[Sequence[Value | _Default]]:
        if isinstance(insert.rows, Select):
            return [tuple(row) for row in self.view.select(insert.rows).rows]
        scope = Scope(self.view.facts, {table.name.lower(): {}})
        return [tuple(DEFAULT if each is None else scope.value(each) for each in row) for row in insert.rows]

    def _image(self, table: Table, given: Mapping[str, Value | _Default]) -> tuple[Image, int]:
        """Return a whole row, and the number that AUTO_INCREMENT gave to it (0: none)."""
        image: dict[str, Value] = {}
        automatic = 0
        for name, column in table.columns.items():
            value = given.get(name, DEFAULT)
            if column.is_automatic and (isinstance(value, _Default) or value in (None, 0)):
                value = automatic = table.next_automatic
            elif isinstance(value, _Default):
                value = self._default(column)
            image[name] = _fitting(column, value)
            if column.is_automatic:
                table.next_automatic = max(table.next_automatic, int(as_text(image[name])) + 1)
        return image, automatic

    def _default(self, column: ColumnDefinition) -> Value:
        if column.default is None and not column.is_nullable:
            raise SqlError(1364, f"Field '{column.name}' doesn't have a default value")
        return None if column.default is None else Scope(self.view.facts).value(column.default)

    async def _place(self, insert: Insert, table: Table, image: Image) -> int:
        """Put a row in, or do what the statement says about one that is there; returns the affected rows."""
        removed = 0
        while conflict := await self._conflict(table, image, None):
            key, row = conflict
            if insert.on_duplicate:
                changed = await self._change(table, row, insert.on_duplicate, table.name.lower(), image)
                return 2 * changed or int(self.counts_found)
            if not insert.replaces:
                raise _duplicate(table, key, image)
            self.transaction.write(row, None)
            removed += 1
        row = table.new_row()
        self.transaction.take(row)
        self.transaction.write(row, image)
        return removed + 1

    async def _change(
        self, table: Table, row: Row, assignments: tuple[Assignment, ...], alias: str, inserted: Image
    ) -> int:
        """Carry out the assignments, left to right, on a row that is locked; returns 1 if it changed."""
        before = row.seen_by(self.transaction) or {}
        image = dict(before)
        for assignment in assignments:
            scope = Scope(self.view.facts, {alias: image, INSERTED: inserted})
            column = table.columns.get(assignment.name.lower())
            if column is None:
                raise SqlError(1054, f"Unknown column '{assignment.name}' in 'field list'", "42S22")
            image[assignment.name.lower()] = _fitting(column, scope.value(assignment.value))
        if image == before:
            return 0
        touched = {assignment.name.lower() for assignment in assignments}
        for name, column in table.columns.items():
            if column.on_update is not None and name not in touched:
                image[name] = _fitting(column, Scope(self.view.facts).value(column.on_update))
        conflict = await self._conflict(table, image, row)
        if conflict:
            raise _duplicate(table, conflict[0], image)
        self.transaction.write(row, image)
        return 1

    async def _conflict(self, table: Table, image: Image, itself: Row | None) -> tuple[KeyDefinition, Row] | None:
        """Find a row with the same key, waiting for those whose fate is open; what it finds is locked."""
        for key in table.keys:
            values = [image[column] for column in key.columns]
            if None in values:
                continue
            for row in table.having(key, values):
                if row is itself:
                    continue
                was_free = row.owner in (None, self.transaction)
                await self.lock(self.transaction, row)
                if not was_free:
                    return await self._conflict(table, image, itself)  # Anything may have changed meanwhile.
                seen = row.seen_by(self.transaction)
                if seen is not None and [folded(seen[name]) for name in key.columns] == [*map(folded, values)]:
                    return key, row
        return None


class _Default:
    """The mark for DEFAULT, which is no value."""


DEFAULT = _Default()


def _fitting(column: ColumnDefinition, value: Value | _Default) -> Value:
    if value is None and not column.is_nullable:
        raise SqlError(1048, f"Column '{column.name}' cannot be null", "23000")
    return None if isinstance(value, _Default) else column.type.stored(value, column.name)


def _duplicate(table: Table, key: KeyDefinition, image: Image) -> SqlError:
    entry = "-".join(as_text(image[column]) for column in key.columns)
    return SqlError(1062, f"Duplicate entry '{entry}' for key '{table.name}.{key.name}'", "23000")


def _labels(table: Table) -> dict[str, ColumnLabel]:
    return {name: ColumnLabel(column.name, column.type) for name, column in table.columns.items()}
