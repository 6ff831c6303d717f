"""What a statement's text leaves behind in its session, as far as text can tell.

It errs on one side only: what is not surely without a trace counts as having left one. What no text shows (a stored
function that sets a variable, or takes a lock) goes unseen: `reset="always"` is for those.
"""

from __future__ import annotations

import functools
import re

from aioaurora._core.statement import Kind, kinds_in, without_texts

# Bits. A session that is given back needs a reset if it was touched. A unit of work is not run again if part of it may
# have been committed, or if it ended its transaction.
READ, WROTE, TOUCHED, MAY_HAVE_COMMITTED, ENDED = 0, 1, 2, 4, 8
EVERYTHING = WROTE | TOUCHED | MAY_HAVE_COMMITTED | ENDED
# Bits that no text leaves. An ERR packet does not say if a transaction is open, and a statement that failed may have
# opened one. A unit of work may have switched autocommit off.
FAILED, UNIT = 16, 32

NO_BACKSLASH_ESCAPES = 0x0200  # Of a server's status.

_PLAIN = re.compile(r"(SELECT|INSERT|UPDATE|DELETE|REPLACE)\b", re.IGNORECASE)
_VERBS = frozenset({b"SELECT ", b"INSERT ", b"UPDATE ", b"DELETE ", b"REPLACE"})
# Nothing but plain words and quoted texts: neither a variable, nor a second statement, nor a comment.
_WORDS = rb"[^'\"`@;#/-]*+"
_TEXT = rb"'[^'\\]*+(?:\\.[^'\\]*+)*+'|\"[^\"\\]*+(?:\\.[^\"\\]*+)*+\"|`[^`]*+`|-(?!-)|/(?!\*)"
_SIMPLE = re.compile(_WORDS + rb"(?:(?:" + _TEXT + rb")" + _WORDS + rb")*+", re.DOTALL)
# What ends or begins a transaction, or asks about the session, and leaves nothing.
_PASSING = re.compile(
    r"(?:COMMIT|ROLLBACK|BEGIN|START\s+TRANSACTION(?:\s+READ\s+(?:ONLY|WRITE))?|ROLLBACK\s+TO\s+\S+|(?:RELEASE\s+)?SAVEPOINT\s+\S+"
    r"|SHOW\s.*|(?:EXPLAIN|DESCRIBE|DESC)\s.*)",
    re.IGNORECASE | re.DOTALL,
)
_WRITING = frozenset({Kind.WRITE, Kind.ANY})
_COMMITTING = frozenset({Kind.BEGIN, Kind.COMMIT, Kind.AUTOCOMMIT_ON, Kind.ANY})
_MARK = re.compile(r"(?<!@)(?:@@)*@(?!@)|LOCK", re.IGNORECASE)  # A system variable is not set that way.
_REMEMBERED = 4096
_LONG = 1 << 18  # Taking more apart would stall the event loop: some 10 ms a megabyte.
_S, _K, _AT, _SEMICOLON, _BACKSLASH = b"SK@;\\"


def traces_of(statement: bytes, status: int = 0) -> int:
    """Say what a packet of statements leaves behind, as bits; `status` is what the server's last word was."""
    text = statement.upper()
    is_plain = text[:7] in _VERBS
    # On the way of every statement of a pool: a number is found eight times as fast as the text of one byte.
    has_mark = _AT in text or _SEMICOLON in text
    has_lock = _K in text and b"LOCK" in text
    if is_plain and not has_lock and (not has_mark or _is_simple(statement, status)):
        return READ if text[0] == _S else WROTE
    if len(statement) <= _REMEMBERED:
        return _remembered(statement, not status & NO_BACKSLASH_ESCAPES)
    if len(statement) <= _LONG:
        return _traces(statement, not status & NO_BACKSLASH_ESCAPES)
    return WROTE | TOUCHED if is_plain and _SEMICOLON not in text else EVERYTHING


def _is_simple(statement: bytes, status: int) -> bool:
    is_certain = len(statement) <= _LONG and not (status & NO_BACKSLASH_ESCAPES and _BACKSLASH in statement)
    return is_certain and _SIMPLE.fullmatch(statement) is not None


def _traces(statement: bytes, backslash_escapes: bool) -> int:  # noqa: FBT001 - lru_cache tells keywords apart.
    traces = READ
    parts = without_texts(statement, backslash_escapes=backslash_escapes)
    kinds = kinds_in(statement, backslash_escapes=backslash_escapes)
    for part, kind in zip(parts, kinds, strict=False):
        is_untouching = (_PLAIN.match(part) or _PASSING.fullmatch(part)) and not _MARK.search(part)
        traces |= READ if is_untouching else TOUCHED
        traces |= WROTE if kind in _WRITING else READ
        traces |= MAY_HAVE_COMMITTED if kind in _COMMITTING else READ
        traces |= ENDED if kind.may_end_transaction else READ
    if b"/*!" in statement or b"/*M!" in statement:
        # Whether a server executes what stands in there is its version's affair, and so is what a quote in it hides.
        traces |= EVERYTHING if b";" in statement else WROTE | TOUCHED
    return traces


_remembered = functools.lru_cache(maxsize=64)(_traces)
