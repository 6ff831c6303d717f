"""SQL text into tokens, and a text of several statements into one list of tokens for each."""

from __future__ import annotations

import decimal
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from aioaurora.simulator.memory.values import SqlError, unknown

if TYPE_CHECKING:
    from collections.abc import Callable

    from aioaurora.simulator.memory.values import Value

_TOKEN = re.compile(
    r"""(?P<space>\s+|--(?=\s|$)[^\n]*|\#[^\n]*|/\*(?![!M]).*?\*/)
    |(?P<hex>0x[0-9a-f]+|x'[0-9a-f]*')
    |(?P<number>\d+\.?\d*(?:e[+-]?\d+)?|\.\d+(?:e[+-]?\d+)?)
    |(?P<string>(?:_\w+\s*)?(?:'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"))
    |(?P<system>@@(?:\w+\.)?\w+)
    |(?P<user>@(?:[\w.$]+|`[^`]*`))
    |(?P<quoted>`(?:[^`]|``)*`)
    |(?P<word>[^\W\d][\w$]*)
    |(?P<op><=>|<>|!=|<=|>=|:=|&&|\|\||[-+*/%(),.;=<>!])""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(.)|''|\"\"", re.DOTALL)
_ESCAPED = {"0": "\0", "b": "\b", "n": "\n", "r": "\r", "t": "\t", "Z": "\x1a", "%": "\\%", "_": "\\_"}


class Kind(StrEnum):
    """What a token is."""

    LITERAL = "literal"
    SYSTEM = "system variable"
    USER = "user variable"
    QUOTED = "quoted name"
    WORD = "word"
    OP = "operator"
    END = "end"


@dataclass(frozen=True, slots=True)
class Token:
    """One token: `text` is upper case for words, `value` what a literal or a name means, `at` where it stands."""

    kind: Kind
    text: str
    value: Value
    at: int
    end: int


def statements(sql: str, codec: str) -> list[tuple[Token, ...]]:
    """Split a text at its semicolons; raises 1064 at what is no token, 1065 when nothing is left.

    `codec` is how the text was encoded: a string of bytes becomes those bytes again.
    """
    found: list[tuple[Token, ...]] = []
    current: list[Token] = []
    for token in _tokens(sql, codec):
        if token.text != ";" and token.kind is not Kind.END:
            current.append(token)
        elif current:
            found.append((*current, Token(Kind.END, "", None, token.at, token.at)))
            current = []
    if not found:
        raise SqlError(1065, "Query was empty", "42000")
    return found


def _tokens(sql: str, codec: str) -> list[Token]:
    tokens: list[Token] = []
    at = 0
    while at < len(sql):
        match = _TOKEN.match(sql, at)
        if match is None:
            raise unknown(repr(sql[at : at + 40]))
        if match.lastgroup != "space":
            tokens.append(_token(match, codec))
        at = match.end()
    return [*tokens, Token(Kind.END, "", None, len(sql), len(sql))]


def _token(match: re.Match[str], codec: str) -> Token:
    text, at, end = match.group(), match.start(), match.end()
    if match.lastgroup == "string":
        return Token(Kind.LITERAL, text, _string(text, codec), at, end)
    kind = _KINDS[match.lastgroup or "op"]
    make = _VALUES.get(match.lastgroup or "op")
    is_word = kind is Kind.WORD
    return Token(kind, text.upper() if is_word else text, make(text) if make else None, at, end)


def _number(text: str) -> Value:
    if text.isdigit():
        return int(text)
    return float(text) if "e" in text.lower() else decimal.Decimal(text)


def _string(text: str, codec: str) -> str | bytes:
    """Undo the quoting; an introducer `_binary` makes bytes, another one is ignored."""
    start = min(at for at in (text.find("'"), text.find('"')) if at >= 0)
    plain = _ESCAPE.sub(_unescaped, text[start + 1 : -1])
    return plain.encode(codec, "surrogateescape") if text[:start].strip().lower() == "_binary" else plain


def _unescaped(match: re.Match[str]) -> str:
    letter = match.group(1)
    return match.group()[0] if letter is None else _ESCAPED.get(letter, letter)


def _bytes(text: str) -> bytes:
    digits = text[2:].rstrip("'")
    return bytes.fromhex(digits.rjust(len(digits) + len(digits) % 2, "0"))


_KINDS = {
    "number": Kind.LITERAL,
    "hex": Kind.LITERAL,
    "system": Kind.SYSTEM,
    "user": Kind.USER,
    "quoted": Kind.QUOTED,
    "word": Kind.WORD,
    "op": Kind.OP,
}
_VALUES: dict[str, Callable[[str], Value]] = {
    "number": _number,
    "hex": _bytes,
    "system": lambda text: text[2:].lower(),
    "user": lambda text: text[1:].strip("`").lower(),
    "quoted": lambda text: text[1:-1].replace("``", "`"),
    "word": str,
}
