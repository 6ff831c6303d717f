"""The statements of a text, and what can be told of one from its words alone."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aioaurora.simulator.tokens import tokens_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aioaurora.simulator.tokens import Token

_CHANGES = frozenset(
    "insert update delete replace create alter drop truncate rename grant revoke load import optimize".split()
)
_COMMITTERS = frozenset(
    "commit begin start create alter drop truncate rename grant revoke optimize analyze check repair lock flush".split()
)
_ROUTINES = frozenset("procedure function trigger event".split())
_GLOBAL = frozenset("global persist persist_only".split())
_OFF = frozenset("0 off false".split())


@dataclass(slots=True)
class Statement:
    """One statement of a text.

    Attributes:
        tokens: All of it, to be put together again.
        significant: The tokens without spaces and comments.
    """

    tokens: list[Token] = field(default_factory=list)
    significant: list[Token] = field(default_factory=list)

    def append(self, token: Token) -> None:
        """Add the next token."""
        self.tokens.append(token)
        if token.kind != "space":
            self.significant.append(token)

    @property
    def text(self) -> str:
        """As it was written."""
        return "".join(token.text for token in self.tokens)

    @property
    def words(self) -> list[str]:
        """The significant tokens in lower case, without the semicolon."""
        return [token.low for token in self.significant if token.text != ";"]

    @property
    def verb(self) -> str:
        """Its first word; empty for an empty statement."""
        return next((token.low for token in self.significant if token.low not in ("(", ";")), "")

    @property
    def is_routine(self) -> bool:
        """Whether it makes a routine, whose body has statements and semicolons of its own."""
        return self.verb == "create" and any(token.low in _ROUTINES for token in self.significant[1:6])

    @property
    def is_change(self) -> bool:
        """Whether a read-only server refuses it, being a write or asking for the right to."""
        match self.verb:
            case "with":
                return any(word in ("update", "delete") for word in self._outer_words())
            case "create" | "drop" if "temporary" in self.words[1:2]:
                return False
            case "lock":
                return "write" in self.words
            case "start":
                return self.has_pair("read", "write")
            case verb:
                return verb in _CHANGES

    @property
    def is_locking_read(self) -> bool:
        """Whether it is a SELECT that locks the rows that it reads."""
        if self.verb not in ("select", "with", "table"):
            return False
        return self.has_pair("for", "update") or self.has_pair("for", "share") or self.has_pair("share", "mode")

    @property
    def locks_tables(self) -> bool:
        """Whether it locks tables against the writes of others."""
        return self.verb == "lock" or (self.verb == "flush" and not {"lock", "export"}.isdisjoint(self.words))

    @property
    def commits(self) -> bool:
        """Whether it ends an open transaction with a commit, by its name or by the way."""
        if self.verb == "set":
            return any(
                name.endswith("autocommit") and value not in _OFF
                for name, sign, value in zip(self.words, self.words[1:], self.words[2:], strict=False)
                if sign == "="
            )
        return self.verb in _COMMITTERS

    @property
    def rolls_back(self) -> bool:
        """Whether it undoes an open transaction, all of it."""
        return self.verb == "rollback" and "to" not in self.words

    @property
    def sets_globally(self) -> bool:
        """Whether it sets something for all sessions."""
        if self.verb != "set":
            return False
        words = self.words
        return any(
            (word in _GLOBAL and before in ("set", ","))
            or (before.startswith("@@") and before[2:].partition(".")[0] in _GLOBAL and word in ("=", ":"))
            for before, word in itertools.pairwise(words)
        )

    def has_pair(self, first: str, second: str) -> bool:
        """Say whether one word comes right after another."""
        words = (token.low for token in self.significant if token.kind == "word")
        return (first, second) in itertools.pairwise(words)

    def _outer_words(self) -> Iterator[str]:
        depth = 0
        for word in self.words:
            depth += (word == "(") - (word == ")")
            if depth == 0:
                yield word


def statements_of(sql: str) -> list[Statement]:
    """Split a text at its semicolons; each statement but the last ends with its semicolon."""
    found = [Statement()]
    for token in tokens_of(sql):
        current = found[-1]
        current.append(token)
        if token.text == ";" and not current.is_routine:
            found.append(Statement())
    return found
