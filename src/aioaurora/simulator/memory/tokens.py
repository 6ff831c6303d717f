"""A statement's tokens, read one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from aioaurora.simulator.memory.lexer import Kind, Token
from aioaurora.simulator.memory.values import unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T = TypeVar("T")
_WORDS = (Kind.WORD, Kind.OP)


class Tokens:
    """A statement's tokens and how far they have been read."""

    def __init__(self, sql: str, tokens: tuple[Token, ...]) -> None:
        """Start at the first token."""
        self.sql = sql
        self._tokens, self._next = tokens, 0

    @property
    def current(self) -> Token:
        """The token that comes next."""
        return self._tokens[self._next]

    @property
    def following(self) -> Token:
        """The token after the next one."""
        return self._tokens[min(self._next + 1, len(self._tokens) - 1)]

    @property
    def last_end(self) -> int:
        """Where the token that was read last ends in the text."""
        return self._tokens[self._next - 1].end if self._next else 0

    def take(self) -> Token:
        """Read one token."""
        token = self.current
        if token.kind is not Kind.END:
            self._next += 1
        return token

    def sees(self, *words: str) -> bool:
        """Say whether these words or operators come next."""
        for at, word in enumerate(words, self._next):  # A list that ends has an END, which is no word.
            token = self._tokens[at]
            if token.text != word or token.kind not in _WORDS:
                return False
        return True

    def literal_stands_alone(self) -> bool:
        """Say whether a literal comes next that no operator follows, as nearly all between VALUES and its end are."""
        return self.current.kind is Kind.LITERAL and self.following.text in {",", ")"}

    def star_follows(self) -> bool:
        """Say whether a name, a point and a star come next."""
        return [token.text for token in self._tokens[self._next + 1 : self._next + 3]] == [".", "*"]

    def accept(self, *words: str) -> bool:
        """Read these words if they come next."""
        found = self.sees(*words)
        if found:
            self._next += len(words)
        return found

    def accept_one(self, words: Iterable[str]) -> str | None:
        """Read one of these words if it comes next."""
        return next((word for word in words if self.accept(word)), None)

    def expect(self, *words: str) -> None:
        """Read these words; raises 1064 when something else comes."""
        if not self.accept(*words):
            raise self.refusal()

    def refusal(self) -> Exception:
        """Return the error that names what comes next."""
        rest = self.sql[self.current.at : self.current.at + 60].strip()
        return unknown(f"this: near '{rest}'" if rest else "this: it ends too early")

    def name(self) -> str:
        """Read an identifier."""
        if self.current.kind not in (Kind.WORD, Kind.QUOTED):
            raise self.refusal()
        return str(self.take().value)

    def number(self) -> int:
        """Read a whole number."""
        value = self.take().value
        if not isinstance(value, int):
            raise self.refusal()
        return value

    def listed(self, element: Callable[[], T]) -> tuple[T, ...]:
        """Read elements between commas."""
        found = [element()]
        while self.accept(","):
            found.append(element())
        return tuple(found)

    def in_parentheses(self, element: Callable[[], T]) -> tuple[T, ...]:
        """Read elements between commas, in parentheses."""
        self.expect("(")
        found = self.listed(element)
        self.expect(")")
        return found
