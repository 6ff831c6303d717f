"""The grammar of SELECT and of the clauses that UPDATE and DELETE share with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aioaurora.simulator.memory.expressions import Expressions
from aioaurora.simulator.memory.lexer import Kind
from aioaurora.simulator.memory.syntax import (
    ColumnName,
    Derived,
    Item,
    Join,
    Literal,
    Named,
    Order,
    Select,
    Star,
    TableName,
)

if TYPE_CHECKING:
    from aioaurora.simulator.memory.syntax import Expression, Source

# What may follow a table or a column and is no alias of it.
_FOLLOWERS = frozenset(
    {"FROM", "WHERE", "GROUP", "HAVING", "ORDER", "LIMIT", "OFFSET", "FOR", "LOCK", "ON", "USING", "SET", "VALUES"}
    | {"INTO", "LEFT", "RIGHT", "INNER", "CROSS", "JOIN", "UNION", "AS", "AND", "OR", "NOT", "IN", "IS", "LIKE"}
    | {"BETWEEN"}
)


class Queries(Expressions):
    """Reads a SELECT."""

    def select(self) -> Select:
        """Read a SELECT."""
        self.expect("SELECT")
        distinct = self.accept("DISTINCT")
        self.accept("ALL")
        items = self.listed(self._item)
        source = self._source() if self.accept("FROM") and not self.accept("DUAL") else None
        where = self.condition()
        group = self.listed(self.expression) if self.accept("GROUP", "BY") else ()
        order = self.order()
        limit, offset = self._limit_and_offset()
        return Select(
            items=items,
            source=source,
            where=where,
            group=group,
            order=order,
            limit=limit,
            offset=offset,
            locks=self._locks(),
            distinct=distinct,
        )

    def table_name(self) -> TableName:
        """Read a table's name, with its schema's if that is given."""
        first = self.name()
        return TableName(first, self.name()) if self.accept(".") else TableName(None, first)

    def named_table(self) -> Named:
        """Read a table's name and alias."""
        table = self.table_name()
        return Named(table, self._alias() or table.name)

    def condition(self) -> Expression | None:
        """Read WHERE, if it is there."""
        return self.expression() if self.accept("WHERE") else None

    def order(self) -> tuple[Order, ...]:
        """Read ORDER BY, if it is there."""
        return self.listed(self._order) if self.accept("ORDER", "BY") else ()

    def limit(self) -> int | None:
        """Read LIMIT, if it is there."""
        return self.number() if self.accept("LIMIT") else None

    def _order(self) -> Order:
        key = self.expression()
        descending = self.accept("DESC")
        if not descending:
            self.accept("ASC")
        return Order(key, descending)

    def _limit_and_offset(self) -> tuple[int | None, int]:
        if not self.accept("LIMIT"):
            return None, 0
        first = self.number()
        if self.accept(","):
            return self.number(), first
        return first, self.number() if self.accept("OFFSET") else 0

    def _locks(self) -> bool:
        """Read FOR UPDATE and its kin; shared locks are taken as exclusive ones."""
        return self.accept("FOR", "UPDATE") or self.accept("FOR", "SHARE") or self.accept("LOCK", "IN", "SHARE", "MODE")

    def _item(self) -> Item:
        if self.accept("*"):
            return Item(Star(None), "*")
        if self.star_follows():
            table = self.name()
            self.expect(".", "*")
            return Item(Star(table), "*")
        start = self.current.at
        what = self.expression()
        text = self.sql[start : self.last_end]
        alias = self._alias()
        if alias is None and isinstance(what, ColumnName):
            alias = what.name
        if alias is None and isinstance(what, Literal) and isinstance(what.value, str):
            alias = what.value
        return Item(what, alias if alias is not None else text)

    def _alias(self) -> str | None:
        if self.accept("AS"):
            return str(self.take().value) if self.current.kind is Kind.LITERAL else self.name()
        token = self.current
        if token.kind is Kind.QUOTED or (token.kind is Kind.WORD and token.text not in _FOLLOWERS):
            return self.name()
        return None

    def _source(self) -> Source:
        left = self._single_source()
        while True:
            if self.accept(",") or self.accept("CROSS", "JOIN"):
                left = Join(left, self._single_source(), None, keeps_left=False)
                continue
            keeps_left = self.accept("LEFT")
            if keeps_left:
                self.accept("OUTER")
            else:
                self.accept("INNER")
            if not self.accept("JOIN"):
                return left
            right = self._single_source()
            left = Join(left, right, self.expression() if self.accept("ON") else None, keeps_left=keeps_left)

    def _single_source(self) -> Source:
        if not self.sees("("):
            return self.named_table()
        self.expect("(")
        select = self.select()
        self.expect(")")
        return Derived(select, self._alias() or "")
