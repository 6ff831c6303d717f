"""The grammar of statements: what the memory engine understands; anything else is refused with 1064."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from aioaurora.simulator.memory.definitions import Definitions
from aioaurora.simulator.memory.lexer import Kind, statements
from aioaurora.simulator.memory.orders import (
    Assignment,
    Begin,
    Commit,
    Delete,
    Do,
    Insert,
    Kill,
    Release,
    Rollback,
    Savepoint,
    SetVariable,
    SetVariables,
    Show,
    Statement,
    Update,
    Use,
)
from aioaurora.simulator.memory.syntax import (
    Expression,
    Literal,
    Select,
)
from aioaurora.simulator.memory.values import SqlError

if TYPE_CHECKING:
    from collections.abc import Callable

    from aioaurora.simulator.memory.lexer import Token
_SCOPES = ("SESSION", "LOCAL", "GLOBAL")
_NAMES = ("character_set_client", "character_set_connection", "character_set_results")


@functools.lru_cache(maxsize=512)
def parsed(sql: str, codec: str) -> tuple[Statement | SqlError, ...]:
    """Return the statements of a text, each parsed, up to the first that is not understood: its error comes last."""
    found: list[Statement | SqlError] = []
    try:
        found.extend(_statement(sql, tokens) for tokens in statements(sql, codec))
    except SqlError as error:
        # Like a server, which parses the second statement only after the first has run.
        found.append(error)
    return tuple(found)


def understood(statement: Statement | SqlError) -> Statement:
    """Return a statement; raises the error that stands in place of one."""
    if isinstance(statement, SqlError):
        raise statement.with_traceback(None)  # Kept by `parsed`: it must not grow.
    return statement


def _statement(sql: str, tokens: tuple[Token, ...]) -> Statement:
    grammar = Grammar(sql, tokens)
    statement = grammar.statement()
    if grammar.current.kind is not Kind.END:
        raise grammar.refusal()
    return statement


class Grammar(Definitions):
    """Reads one statement."""

    def statement(self) -> Statement:
        """Read a whole statement."""
        if self.sees("SELECT"):
            return self.select()
        readers: dict[str, Callable[[], Statement]] = {
            "INSERT": self._insert,
            "REPLACE": self._replace,
            "UPDATE": self._update,
            "DELETE": self._delete,
            "CREATE": self.create,
            "DROP": self.drop,
            "TRUNCATE": self.truncate,
            "USE": lambda: Use(self.name()),
            "SET": self._set,
            "BEGIN": self._begin,
            "START": self._start,
            "COMMIT": self._commit,
            "ROLLBACK": self._rollback,
            "SAVEPOINT": lambda: Savepoint(self.name()),
            "RELEASE": self._release,
            "KILL": self._kill,
            "SHOW": self._show,
            "DO": lambda: Do(self.listed(self.expression)),
        }
        word = self.accept_one(readers)
        if word is None:
            raise self.refusal()
        return readers[word]()

    # --- writing ----------------------------------------------------------------------------------------------------

    def _insert(self) -> Insert:
        return self._inserted(replaces=False)

    def _replace(self) -> Insert:
        return self._inserted(replaces=True)

    def _inserted(self, *, replaces: bool) -> Insert:
        self.accept("INTO")
        table = self.table_name()
        if self.accept("SET"):
            pairs = self.listed(self._assignment)
            columns, rows = tuple(pair.name for pair in pairs), (tuple(pair.value for pair in pairs),)
            return Insert(table=table, columns=columns, rows=rows, on_duplicate=self._on_duplicate(), replaces=replaces)
        columns = self.in_parentheses(self.name) if self.sees("(") else ()
        source: tuple[tuple[Expression | None, ...], ...] | Select
        if self.sees("SELECT"):
            source = self.select()
        else:
            if not self.accept("VALUE"):
                self.expect("VALUES")
            source = self.listed(self._row)
        return Insert(table=table, columns=columns, rows=source, on_duplicate=self._on_duplicate(), replaces=replaces)

    def _row(self) -> tuple[Expression | None, ...]:
        if self.accept("(", ")"):
            return ()
        return self.in_parentheses(lambda: None if self.accept("DEFAULT") else self.expression())

    def _on_duplicate(self) -> tuple[Assignment, ...]:
        return self.listed(self._assignment) if self.accept("ON", "DUPLICATE", "KEY", "UPDATE") else ()

    def _assignment(self) -> Assignment:
        name = self.name()
        while self.accept("."):
            name = self.name()
        self.expect("=")
        return Assignment(name, self.expression())

    def _update(self) -> Update:
        source = self.named_table()
        self.expect("SET")
        assignments = self.listed(self._assignment)
        where, order, limit = self.condition(), self.order(), self.limit()
        return Update(source=source, assignments=assignments, where=where, order=order, limit=limit)

    def _delete(self) -> Delete:
        self.expect("FROM")
        source = self.named_table()
        return Delete(source=source, where=self.condition(), order=self.order(), limit=self.limit())

    # --- sessions and transactions ----------------------------------------------------------------------------------

    def _set(self) -> SetVariables:
        if self.accept("NAMES"):
            value = self._setting()
            names = tuple(SetVariable("session", name, value) for name in _NAMES)
            if self.accept("COLLATE"):
                names += (SetVariable("session", "collation_connection", self._setting()),)
            return SetVariables(names)
        for scope in ("", *_SCOPES):
            if self.accept(*([scope] if scope else []), "TRANSACTION"):
                return self._set_transaction(scope)
        return SetVariables(self.listed(self._set_one))

    def _set_transaction(self, scope: str) -> SetVariables:
        where = "global" if scope == "GLOBAL" else "session"
        if self.accept("ISOLATION", "LEVEL"):
            words = [self.name().upper()]
            while self.current.kind is Kind.WORD:
                words.append(self.name().upper())
            return SetVariables((SetVariable(where, "transaction_isolation", Literal("-".join(words))),))
        self.expect("READ")
        read_only = self.accept("ONLY")
        if not read_only:
            self.expect("WRITE")
        return SetVariables((SetVariable(where, "transaction_read_only", Literal(int(read_only))),))

    def _set_one(self) -> SetVariable:
        if self.current.kind is Kind.USER:
            scope, name = "user", str(self.take().value)
        elif self.current.kind is Kind.SYSTEM:
            scope, _, name = str(self.take().value).rpartition(".")
        else:
            scope = self.accept_one(_SCOPES) or ""
            name = self.name().lower()
        if not self.accept(":="):
            self.expect("=")
        value = self.expression() if scope == "user" else self._setting()
        return SetVariable(scope.lower() if scope.lower() in ("global", "user") else "session", name, value)

    def _setting(self) -> Expression | None:
        """Read a system variable's value: an expression or a bare word; DEFAULT is None."""
        if self.accept("DEFAULT"):
            return None
        is_bare = self.current.kind is Kind.WORD and self.following.text in ("", ",", "COLLATE")
        is_constant = self.current.text in ("NULL", "TRUE", "FALSE")
        return Literal(self.name()) if is_bare and not is_constant else self.expression()

    def _begin(self) -> Begin:
        self.accept("WORK")
        return Begin()

    def _start(self) -> Begin:
        self.expect("TRANSACTION")
        if self.accept("READ", "ONLY"):
            return Begin(read_only=True)
        if not self.accept("READ", "WRITE"):
            self.accept("WITH", "CONSISTENT", "SNAPSHOT")
        return Begin()

    def _commit(self) -> Commit:
        self.accept("WORK")
        return Commit()

    def _rollback(self) -> Rollback:
        self.accept("WORK")
        if not self.accept("TO"):
            return Rollback()
        self.accept("SAVEPOINT")
        return Rollback(self.name())

    def _release(self) -> Release:
        self.expect("SAVEPOINT")
        return Release(self.name())

    def _kill(self) -> Kill:
        query_only = self.accept("QUERY")
        if not query_only:
            self.accept("CONNECTION")
        return Kill(self.expression(), query_only)

    def _show(self) -> Show:
        self.accept_one((*_SCOPES, "FULL"))
        what = self.accept_one(("WARNINGS", "PROCESSLIST", "VARIABLES", "DATABASES", "SCHEMAS", "TABLES"))
        if what is None:
            raise self.refusal()
        like = None
        if self.accept("LIKE") or self.accept("WHERE", "VARIABLE_NAME", "="):
            like = str(self.take().value)
        return Show("DATABASES" if what == "SCHEMAS" else what, like)
