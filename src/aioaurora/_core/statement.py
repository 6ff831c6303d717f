"""What a statement's text can do to a transaction, as far as text can tell.

The answer errs on one side only: what is not surely harmless counts as able to do anything.
"""

from __future__ import annotations

import enum
import functools
import re

from aioaurora._core.functions import is_built_in


class Kind(enum.StrEnum):
    """What one statement can do to the transaction that it runs in."""

    READ = "read"  # Nothing that outlives the session.
    WRITE = "write"  # Part of the transaction; commits by itself under autocommit.
    BEGIN = "begin"  # Commits what is open, then opens.
    COMMIT = "commit"  # Commits what is open; by itself changes nothing.
    ROLLBACK = "rollback"
    AUTOCOMMIT_ON = "autocommit on"  # Commits what is open.
    AUTOCOMMIT_OFF = "autocommit off"
    ANY = "any"  # DDL, CALL, EXECUTE and what we do not know: commits what is open and changes things by itself.

    @property
    def may_end_transaction(self) -> bool:
        """Whether a transaction may be over after it, as the caller must expect."""
        return self not in (Kind.READ, Kind.WRITE, Kind.AUTOCOMMIT_OFF)


# Texts, which `re` compiles when they are first used and keeps: most programs never need them.
# The order matters: quoted text first, so that what looks like a comment in it is none. A doubled quote in a text
# makes it two texts, side by side: blanked both. Possessive, as a statement may be of megabytes.
_QUOTED = r"""(?s)'[^'\\]*+(?:\\.[^'\\]*+)*+'|"[^"\\]*+(?:\\.[^"\\]*+)*+\"|`[^`]*+`"""
_QUOTED_PLAIN = r"""(?s)'[^']*+'|"[^"]*+"|`[^`]*+`"""  # NO_BACKSLASH_ESCAPES
_REST = r"""|/\*M?!\d*|/\*.*?(?:\*/|\Z)|\*/|--(?=[\s\x00-\x1f]|\Z)[^\n]*|\#[^\n]*"""
_TOKEN = _QUOTED + _REST
_TOKEN_PLAIN = _QUOTED_PLAIN + _REST

_WORD = r"[\s(]*([A-Za-z]+)"
_CALL = r"([\w$.`@]+)\s*\("
_COMMON_TABLE = r"(?i)(?:\bWITH(?:\s+RECURSIVE)?|,)\s*([\w$`]+)\s*(?:\([^()]*\)\s*)?AS\s*\("
_ALIAS = r"(?i)\bAS\s+([\w$`]+)\s*\("
_AUTOCOMMIT = r"(?i)(?:(?<![@\w.])|@@(?:SESSION\s*\.\s*|LOCAL\s*\.\s*)?)autocommit\s*:?=\s*(\w*)"
_LASTING_SET = (
    r"(?i)(?:^SET\s+|,\s*)(?:GLOBAL|PERSIST|PERSIST_ONLY|PASSWORD|DEFAULT\s+ROLE)\b"
    r"|@@(?:GLOBAL|PERSIST|PERSIST_ONLY)\s*\."
)
_ROUTINE = (
    r"(?is)CREATE\b(?:(?!\b(?:TABLE|VIEW|INDEX|DATABASE|SCHEMA)\b).)*?"
    r"\b(?:PROCEDURE|FUNCTION|TRIGGER|EVENT|PACKAGE)\b"
)
_EXPLAIN_ANALYZE = r"(?is)(?:EXPLAIN|DESCRIBE|DESC)\s+ANALYZE\b(?:\s+FORMAT\s*=\s*\w+)?(.*)"

_KINDS: dict[str, Kind] = dict.fromkeys(
    "SHOW DESCRIBE DESC EXPLAIN USE HELP HANDLER SAVEPOINT RELEASE KILL PREPARE DEALLOCATE CHECKSUM".split(), Kind.READ
)
_KINDS |= dict.fromkeys(["INSERT", "UPDATE", "DELETE", "REPLACE"], Kind.WRITE)
# Statements of administration commit what is open; whether they themselves were done matters to no transaction.
_KINDS |= dict.fromkeys("COMMIT LOCK UNLOCK CHECK OPTIMIZE REPAIR FLUSH CACHE".split(), Kind.COMMIT)


_LONG = 4096


def kinds_in(text: str | bytes, *, backslash_escapes: bool = True) -> tuple[Kind, ...]:
    """One kind per statement of a packet, in order; nothing for a text without one."""
    if isinstance(text, str):
        text = text.encode("utf-8", "replace")
    if len(text) > _LONG and b";" not in text:
        # A bulk INSERT: its first words tell all, and taking megabytes apart would stall the event loop.
        beginning = _parts(text[:_LONG], backslash_escapes=backslash_escapes)
        if len(beginning) == 1 and (kind := _KINDS.get(_verb(beginning[0]))) is not None:
            return (kind,)
    return (_all_kinds if len(text) > _LONG else _known_kinds)(text, backslash_escapes)


def _all_kinds(text: bytes, backslash_escapes: bool) -> tuple[Kind, ...]:  # noqa: FBT001 - lru_cache tells keywords apart.
    return tuple(_kind_of(part) for part in _parts(text, backslash_escapes=backslash_escapes))


# When an instance goes, hundreds of connections ask this of the same few statements.
_known_kinds = functools.lru_cache(maxsize=64)(_all_kinds)


def without_texts(text: bytes, *, backslash_escapes: bool = True) -> list[str]:
    """List the statements of a packet, comments and the content of quoted texts left out."""
    return _parts(text, backslash_escapes=backslash_escapes)


def _parts(text: bytes, *, backslash_escapes: bool) -> list[str]:
    token = _TOKEN if backslash_escapes else _TOKEN_PLAIN
    # Keywords are ASCII in every character set that a client may use.
    plain = re.sub(token, _blanked, text.decode("latin-1"))
    if re.match(_ROUTINE, plain.lstrip()):
        return [plain.strip()]  # Its body's semicolons are its own.
    return [part for piece in plain.split(";") if (part := piece.strip())]


def _blanked(found: re.Match[str]) -> str:
    token = found[0]
    match token[0]:
        case "'" | '"':
            return "''"
        case "`":
            return f"`{re.sub(r'[^0-9A-Za-z_$]', '_', token[1:-1])}`"
        case _:
            return " "  # A comment; or only the brackets of one that the server executes.


def _kind_of(part: str) -> Kind:
    word = _verb(part)
    special = _SPECIAL.get(word)
    if special is not None:
        return special(part)
    return _KINDS.get(word, Kind.ANY)


def _verb(part: str) -> str:
    found = re.match(_WORD, part)
    return found[1].upper() if found else ""


def _second(part: str) -> str:
    words = re.findall(r"[A-Za-z_]+", part[:200])
    return words[1].upper() if len(words) > 1 else ""


def _select(part: str) -> Kind:
    if re.search(r"\bINTO\s+(?:OUTFILE|DUMPFILE)\b|\bNEXT\s+VALUE\s+FOR\b", part, re.IGNORECASE):
        return Kind.WRITE
    own = {name.strip("`").lower() for name in (*re.findall(_COMMON_TABLE, part), *re.findall(_ALIAS, part))}
    calls = (name.strip("`").lower() for name in re.findall(_CALL, part))
    return Kind.READ if all(name in own or is_built_in(name) for name in calls) else Kind.WRITE


def _with(part: str) -> Kind:
    depth = 0
    for found in re.finditer(r"[()]|\b(?:SELECT|TABLE|VALUES|INSERT|UPDATE|DELETE|REPLACE)\b", part, re.IGNORECASE):
        if found[0] in "()":
            depth += 1 if found[0] == "(" else -1
        elif depth == 0:
            return _select(part) if found[0].upper() in ("SELECT", "TABLE", "VALUES") else Kind.WRITE
    return Kind.WRITE


def _set(part: str) -> Kind:
    if _second(part) == "STATEMENT":  # MariaDB: SET STATEMENT max_statement_time=1 FOR SELECT ...
        found = re.search(r"\bFOR\b(.*)", part, re.IGNORECASE | re.DOTALL)
        return _kind_of(found[1].strip()) if found else Kind.ANY
    if re.search(_LASTING_SET, part):
        return Kind.ANY
    values = [value.lower() for value in re.findall(_AUTOCOMMIT, part)]
    if values:
        return Kind.AUTOCOMMIT_OFF if all(value in ("0", "off", "false") for value in values) else Kind.AUTOCOMMIT_ON
    return _select(part)


def _start(part: str) -> Kind:
    return Kind.BEGIN if _second(part) == "TRANSACTION" else Kind.ANY


def _begin(part: str) -> Kind:
    return Kind.BEGIN if _second(part) in ("", "WORK") else Kind.ANY  # BEGIN NOT ATOMIC is a program.


def _rollback(part: str) -> Kind:
    back_to_savepoint = re.match(r"ROLLBACK(?:\s+WORK)?\s+TO\b", part, re.IGNORECASE)
    return Kind.READ if back_to_savepoint else Kind.ROLLBACK


def _create_or_drop(part: str) -> Kind:
    temporary = re.match(r"(?:CREATE(?:\s+OR\s+REPLACE)?|DROP)\s+TEMPORARY\b", part, re.IGNORECASE)
    return Kind.READ if temporary else Kind.ANY  # A temporary table goes with its session and commits nothing.


def _analyze(part: str) -> Kind:
    rest = re.sub(r"^ANALYZE(?:\s+FORMAT\s*=\s*\w+)?\s*", "", part, flags=re.IGNORECASE)
    runs = _verb(rest) in ("SELECT", "WITH", "INSERT", "UPDATE", "DELETE", "REPLACE")  # MariaDB runs what it analyzes.
    return _kind_of(rest) if runs else Kind.COMMIT


def _explain(part: str) -> Kind:
    found = re.match(_EXPLAIN_ANALYZE, part)  # MySQL runs what it analyzes.
    return _kind_of(found[1].strip()) if found else Kind.READ


def _load(part: str) -> Kind:
    return Kind.WRITE if _second(part) in ("DATA", "XML") else Kind.COMMIT


def _xa(part: str) -> Kind:
    return Kind.READ if _second(part) in ("RECOVER", "START", "BEGIN", "END") else Kind.ANY


_SPECIAL = {
    "SELECT": _select,
    "TABLE": _select,
    "VALUES": _select,
    "DO": _select,
    "WITH": _with,
    "SET": _set,
    "START": _start,
    "BEGIN": _begin,
    "ROLLBACK": _rollback,
    "CREATE": _create_or_drop,
    "DROP": _create_or_drop,
    "ANALYZE": _analyze,
    "EXPLAIN": _explain,
    "DESCRIBE": _explain,
    "DESC": _explain,
    "LOAD": _load,
    "XA": _xa,
}


def ends_transaction(text: bytes, *, at: int = 0, backslash_escapes: bool = True) -> bool:
    """Whether a transaction may be over after the statement number `at` of a packet because that one says so."""
    if len(text) > _LONG:
        return _ends(text, at, backslash_escapes)  # Not remembered: it may be of megabytes.
    return _remembered(text, at, backslash_escapes)


def _ends(text: bytes, at: int, backslash_escapes: bool) -> bool:  # noqa: FBT001 - lru_cache tells keywords apart.
    kinds = kinds_in(text, backslash_escapes=backslash_escapes)
    if Kind.ANY in kinds[: at + 1]:
        return True  # A CALL has any number of answers: from there on nobody knows which statement this was.
    return bool(kinds) and (at >= len(kinds) or kinds[at].may_end_transaction)


_remembered = functools.lru_cache(maxsize=64)(_ends)


def has_many_answers(texts: list[str]) -> bool:
    """Whether one of `texts` may be answered with other than one result."""
    return any(len(kinds := kinds_in(text)) != 1 or Kind.ANY in kinds for text in texts)
