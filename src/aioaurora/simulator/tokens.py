"""SQL text as tokens and statements, exact to the byte: what is not rewritten comes out as it went in."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"""(?P<space>\s+|/\*(?![!M]).*?\*/|--(?=\s|$)[^\n]*|\#[^\n]*)
    |(?P<table>`?information_schema`?\s*\.\s*`?replica_host_status`?(?![\w$]))
    |(?P<text>'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*")
    |(?P<quoted>`(?:[^`]|``)*`)
    |(?P<variable>@@(?:\w+\.)?\w+)
    |(?P<user>@[\w.$]+)
    |(?P<function>(?<![\w$.@`])(?:(?:aurora_version|version|connection_id|user|session_user|system_user)\s*\(\s*\)
        |current_user(?:\s*\(\s*\))?(?![\w$])))
    |(?P<word>[\w$]+)
    |(?P<op>.)""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
_CHANGES = frozenset(
    "insert update delete replace create alter drop truncate rename grant revoke load import optimize".split()
)
_ROUTINES = frozenset("procedure function trigger event".split())


@dataclass(frozen=True, slots=True)
class Token:
    """One piece of the text, `kind` being the name of its group above."""

    kind: str
    text: str
    at: int

    @property
    def low(self) -> str:
        """The text in lower case: words and operators compare so."""
        return self.text.lower()


@dataclass(slots=True)
class Statement:
    """One statement of a text: its tokens, and the significant ones' words in lower case."""

    tokens: list[Token] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    def append(self, token: Token) -> None:
        """Add the next token."""
        self.tokens.append(token)
        if token.kind != "space":
            self.words.append(token.low)

    @property
    def verb(self) -> str:
        """Its first word; empty for an empty statement."""
        return next((word for word in self.words if word != "("), "")

    @property
    def is_routine(self) -> bool:
        """Whether it makes a routine, whose body has statements and semicolons of its own."""
        return self.verb == "create" and not _ROUTINES.isdisjoint(self.words[1:6])

    @property
    def is_change(self) -> bool:
        """Whether a read-only server refuses it."""
        if self.verb == "with":
            return any(word in ("update", "delete") for word in self._outer_words())
        if self.words[:2] in (["create", "temporary"], ["drop", "temporary"]):
            return False
        return self.verb in _CHANGES or self._locks_tables() or self._starts_read_write()

    @property
    def is_locking_read(self) -> bool:
        """Whether it is a SELECT that locks the rows that it reads."""
        if self.verb not in ("select", "with", "table"):
            return False
        pairs = itertools.pairwise(self.words)
        return any(pair in (("for", "update"), ("for", "share"), ("share", "mode")) for pair in pairs)

    def _outer_words(self) -> list[str]:
        depth, found = 0, []
        for word in self.words:
            depth += (word == "(") - (word == ")")
            if depth == 0:
                found.append(word)
        return found

    def _locks_tables(self) -> bool:
        return self.words[:2] in (["lock", "tables"], ["lock", "table"]) and "write" in self.words

    def _starts_read_write(self) -> bool:
        return self.words[:2] == ["start", "transaction"] and self.words[-2:] == ["read", "write"]


def statements_of(sql: str) -> list[Statement]:
    """Split a text at its semicolons; each statement but the last ends with its semicolon."""
    found = [Statement()]
    for match in _TOKEN.finditer(sql):
        current = found[-1]
        token = Token(match.lastgroup or "op", match.group(), match.start())
        current.append(token)
        if token.text == ";" and not current.is_routine:
            found.append(Statement())
    return found
