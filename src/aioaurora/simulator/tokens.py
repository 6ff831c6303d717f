"""SQL text as tokens, exact to the byte: what is not rewritten comes out as it went in."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

# A long list of literals is one token, and no repetition gives back what it took: the time is linear in the text.
_TOKEN = re.compile(
    r"""(?P<space>\s++|/\*(?!M?!)[^*]*+(?:\*(?!/)[^*]*+)*+\*/|--(?=\s|$)[^\n]*+|\#[^\n]*+)
    |(?P<table>`?information_schema`?\s*\.\s*`?replica_host_status`?(?![\w$]))
    |(?P<row>\((?:\s*+(?:[-+]?\d[\w.]*+|'[^'\\]*+(?:(?:\\.|'')[^'\\]*+)*+'|null)\s*+(?:,|(?=\))))++\))
    |(?P<text>'[^'\\]*+(?:(?:\\.|'')[^'\\]*+)*+'|"[^"\\]*+(?:(?:\\.|"")[^"\\]*+)*+")
    |(?P<quoted>`(?:[^`]|``)*+`)
    |(?P<variable>@@(?:\w+\.)?\w+)
    |(?P<user>@[\w.$]+)
    |(?P<function>(?<![\w$.@`])(?:(?:aurora_version|version|connection_id|user|session_user|system_user)\s*\(\s*\)
        |current_user(?:\s*\(\s*\))?(?![\w$])))
    |(?P<word>[\w$]++)
    |(?P<op>.)""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
_AS_WRITTEN = frozenset(("space", "row", "text", "quoted", "rest"))
_TOKENS_LOOKED_AT = 10_000  # Some 20 ms; nobody asks an instance's role at the end of a bulk insert.


class Token(NamedTuple):
    """One piece of the text.

    Attributes:
        kind: The name of its group above, or "rest" for what was not looked at any more.
        text: As it was written.
        low: In lower case, as words and operators compare; literals as they were written.
        at: Where in the text it begins.
    """

    kind: str
    text: str
    low: str
    at: int


def tokens_of(sql: str) -> Iterator[Token]:
    """Cut a text into pieces; what comes after very many is one piece."""
    for number, match in enumerate(_TOKEN.finditer(sql)):
        kind, text, at = match.lastgroup or "op", match.group(), match.start()
        if number == _TOKENS_LOOKED_AT:
            yield Token("rest", sql[at:], "", at)
            return
        yield Token(kind, text, text if kind in _AS_WRITTEN else text.lower(), at)
