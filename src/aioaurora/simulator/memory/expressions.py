"""The grammar of expressions: recursive descent, one function for each step of precedence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aioaurora.simulator.memory.lexer import Kind
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
    SystemVariable,
    UserVariable,
)
from aioaurora.simulator.memory.tokens import Tokens
from aioaurora.simulator.memory.values import BIGINT, Type

if TYPE_CHECKING:
    from aioaurora.simulator.memory.syntax import Select

AGGREGATES = frozenset({"COUNT", "SUM", "MIN", "MAX", "AVG"})
CONSTANTS: dict[str, int | None] = {"NULL": None, "TRUE": 1, "FALSE": 0}
BARE_CALLS = frozenset({"CURRENT_TIMESTAMP", "CURRENT_USER", "LOCALTIMESTAMP", "UTC_TIMESTAMP"})
_COMPARISONS = {"=": "=", "<=>": "<=>", "<>": "<>", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_CASTS = {
    "CHAR": Type("varchar"),
    "BINARY": Type("varbinary"),
    "SIGNED": BIGINT,
    "UNSIGNED": Type("bigint", 20, unsigned=True),
    "DATETIME": Type("datetime", 26, 6),
}


class Expressions(Tokens):
    """Reads expressions; a subquery is read by `select`, which the grammar of statements provides."""

    def select(self) -> Select:
        """Read a SELECT."""
        raise NotImplementedError

    def expression(self) -> Expression:
        """Read an expression."""
        if self.literal_stands_alone():
            return Literal(self.take().value)
        left = self._conjunction()
        while self.accept("OR") or self.accept("||"):
            left = Operation("OR", left, self._conjunction())
        return left

    def _conjunction(self) -> Expression:
        left = self._negation()
        while self.accept("AND") or self.accept("&&"):
            left = Operation("AND", left, self._negation())
        return left

    def _negation(self) -> Expression:
        if self.accept("NOT") or self.accept("!"):
            return Prefix("NOT", self._negation())
        return self._predicate()

    def _predicate(self) -> Expression:
        left = self._sum()
        while True:
            operator = self.accept_one(_COMPARISONS)
            if operator:
                left = Operation(_COMPARISONS[operator], left, self._sum())
            elif self.accept("IS"):
                left = self._is(left)
            elif self.sees("NOT") or self.sees("IN") or self.sees("LIKE") or self.sees("BETWEEN"):
                negated = self.accept("NOT")
                found = self._membership(left)
                left = Prefix("NOT", found) if negated else found
            else:
                return left

    def _is(self, left: Expression) -> Expression:
        negated = self.accept("NOT")
        word = self.accept_one(CONSTANTS)
        if word is None:
            raise self.refusal()
        test = Prefix("IS NULL" if word == "NULL" else f"IS {word}", left)
        return Prefix("NOT", test) if negated else test

    def _membership(self, left: Expression) -> Expression:
        if self.accept("IN"):
            if self.sees("(", "SELECT"):
                return Among(left, self._subquery())
            return Among(left, self.in_parentheses(self.expression))
        if self.accept("LIKE"):
            return Operation("LIKE", left, self._sum())
        self.expect("BETWEEN")
        low = self._sum()
        self.expect("AND")
        return Operation("AND", Operation(">=", left, low), Operation("<=", left, self._sum()))

    def _sum(self) -> Expression:
        left = self._product()
        while operator := self.accept_one(("+", "-")):
            left = Operation(operator, left, self._product())
        return left

    def _product(self) -> Expression:
        left = self._signed()
        while operator := self.accept_one(("*", "/", "%", "DIV", "MOD")):
            left = Operation("%" if operator == "MOD" else operator, left, self._signed())
        return left

    def _signed(self) -> Expression:
        if self.accept("-"):
            return Prefix("-", self._signed())
        self.accept("+")
        return self._primary()

    def _primary(self) -> Expression:
        token = self.current
        match token.kind:
            case Kind.LITERAL:
                return Literal(self.take().value)
            case Kind.SYSTEM:
                scope, _, name = str(self.take().value).rpartition(".")
                return SystemVariable(scope, name)
            case Kind.USER:
                name = str(self.take().value)
                return UserVariable(name, self.expression() if self.accept(":=") else None)
            case Kind.WORD | Kind.QUOTED:
                return self._worded()
            case _ if self.sees("(", "SELECT"):
                return Scalar(self._subquery())
            case _:
                self.expect("(")
                inner = self.expression()
                self.expect(")")
                return inner

    def _worded(self) -> Expression:
        token = self.current
        if token.kind is Kind.WORD:
            if token.text in CONSTANTS:
                return Literal(CONSTANTS[self.take().text])
            if token.text == "INTERVAL" and self.following.text != "(":
                self.take()
                return Interval(self.expression(), self.name().upper())
            if token.text == "CASE":
                return self._case()
            if self.following.text == "(":
                return self._call(self.name())
            if token.text in BARE_CALLS:
                return Call(self.name().lower(), ())
        return self._column()

    def _column(self) -> ColumnName:
        names = [self.name()]
        while self.accept("."):
            names.append(self.name())
        return ColumnName(names[-2] if len(names) > 1 else None, names[-1])

    def _call(self, name: str) -> Expression:
        self.expect("(")
        if name.upper() in AGGREGATES:
            return self._aggregate(name.upper())
        if name.upper() == "CAST":
            return self._cast()
        unit: tuple[Expression, ...] = ()
        if name.upper() == "TIMESTAMPDIFF":
            unit = (Literal(self.name().upper()),)
            self.expect(",")
        arguments = () if self.sees(")") else self.listed(self.expression)
        self.expect(")")
        return Call(name.lower(), (*unit, *arguments))

    def _aggregate(self, name: str) -> Aggregate:
        distinct = self.accept("DISTINCT")
        argument = None if name == "COUNT" and self.accept("*") else self.expression()
        self.expect(")")
        return Aggregate(name, argument, distinct)

    def _cast(self) -> Cast:
        operand = self.expression()
        self.expect("AS")
        word = self.name().upper()
        if word not in _CASTS:
            raise self.refusal()
        self.accept("INTEGER")
        if self.accept("("):
            self.number()
            self.expect(")")
        self.expect(")")
        return Cast(operand, _CASTS[word])

    def _case(self) -> Expression:
        """Read CASE WHEN ... END as nested IF calls."""
        self.expect("CASE")
        branches: list[tuple[Expression, Expression]] = []
        while self.accept("WHEN"):
            condition = self.expression()
            self.expect("THEN")
            branches.append((condition, self.expression()))
        result: Expression = self.expression() if self.accept("ELSE") else Literal(None)
        self.expect("END")
        for condition, value in reversed(branches):
            result = Call("if", (condition, value, result))
        return result

    def _subquery(self) -> Select:
        self.expect("(")
        select = self.select()
        self.expect(")")
        return select
