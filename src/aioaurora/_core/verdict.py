"""What an error means, and what became of the work that it cut off.

Two questions, answered by plain functions. *How far does an error reach* (`scope_of`): one statement, its session, the
instance, the instance's role, or only this attempt to get in. *What became of the work* (`outcome_of`): a statement was

    not sent whole            the server never ran it: its transaction, if any, was rolled back with the session
    sent whole, unanswered    it may have run. What that means depends on what it was:

        read                                   nothing to undo
        write inside a transaction             rolled back with the session
        write under autocommit                 UNKNOWN
        COMMIT, and what commits by itself     UNKNOWN, if there was something to commit

A packet may hold several statements: those are played through in order, from the first unanswered one on.
"""

from __future__ import annotations

import enum

from pymysql.err import MySQLError

from aioaurora._core.failover import Phase, ReaderOnly, Unreached
from aioaurora._core.statement import Kind, kinds_in
from aioaurora._core.value import dataclass
from aioaurora.errors import ConnectTimeout, NoReader, NoWriter, Outcome


class Scope(enum.StrEnum):
    """How far an error reaches."""

    STATEMENT = "statement"  # The connection lives.
    SESSION = "session"  # This connection is gone; the instance may be well.
    INSTANCE = "instance"  # The server process is going or gone.
    ROLE = "role"  # The instance may have changed its role: ask it.
    ADMISSION = "admission"  # It is alive, but lets nobody in just now.
    LOGIN = "login"  # It is alive, but does not accept who we say we are.


_SCOPES: dict[int, Scope] = {
    # 2045 and 2055 as SQLAlchemy; 1080, 1152, 1184, 3169: the server's other words for a session that it ended.
    **dict.fromkeys((1080, 1152, 1156, 1157, 1158, 1159, 1160, 1161, 1184, 1835, 1927, 3169, 4031), Scope.SESSION),
    **dict.fromkeys((2006, 2013, 2014, 2027, 2045, 2055), Scope.SESSION),
    **dict.fromkeys((1053, 1077, 1079, 2002, 2003, 2005, 2012), Scope.INSTANCE),
    **dict.fromkeys((1290, 1792, 1836, 1874, 3161), Scope.ROLE),
    **dict.fromkeys((1040, 1129, 1203, 1226), Scope.ADMISSION),
    # 1524, 1698 and 4151 are MariaDB's and MySQL's further ways to refuse a log-in.
    **dict.fromkeys((1044, 1045, 1130, 1251, 1524, 1698, 1820, 1862, 2059, 2061, 3118, 3159, 4151), Scope.LOGIN),
}


def scope_of(errno: int) -> Scope:
    """How far the error with this number reaches; STATEMENT for all that we do not know."""
    return _SCOPES.get(errno, Scope.STATEMENT)


def ends_session(errno: int) -> bool:
    """Whether the session is over, when this is the answer to a statement."""
    return scope_of(errno) in (Scope.SESSION, Scope.INSTANCE)


def errno_of(error: BaseException | None) -> int | None:
    """The MySQL error number that `error` carries, as first argument, or None."""
    first = error.args[0] if error is not None and error.args else None
    return first if isinstance(first, int) else None


def is_final(error: BaseException, phase: Phase, *, is_stranger: bool, is_followed: bool) -> bool:
    """Whether a connect that failed will go on failing, so that nobody needs to wait for the next try.

    Args:
        error: Why it failed.
        phase: What is known of the writer.
        is_stranger: It was asked for an instance that the cluster does not have.
        is_followed: The cluster is followed: some connect of ours may find out that it is better.
    """
    match error:
        case ConnectTimeout():
            return isinstance(phase, Unreached) and is_followed
        case NoWriter():
            return is_stranger or isinstance(phase, ReaderOnly)
        case NoReader():
            return is_stranger
        case _:
            return not isinstance(error, MySQLError) or scope_of(errno_of(error) or 0) is not Scope.ADMISSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What was under way on a session when it failed.

    The instance's role is left out on purpose: a reader with write forwarding commits writes, a reader that has been
    promoted does, and no variable tells at connect whether a session is going to forward. Where a reader accepts no
    writes it says so at once: such an answer is hardly ever outstanding.

    Attributes:
        statement: Text of the packet whose answer was outstanding; None: no answer was. Empty: a ping and the like.
        answered: Statements of this packet that had been answered already.
        has_failed: The next one was answered with an error that undid it and ended the session. What commits may have
            been done all the same: servers look whether a session is to end after it, too.
        left_whole: The statement's last byte had left this process.
        in_transaction: As the server's last status said.
        autocommit: The same.
        backslash_escapes: False under the SQL mode NO_BACKSLASH_ESCAPES.
    """

    statement: bytes | None
    in_transaction: bool
    autocommit: bool
    left_whole: bool = True
    answered: int = 0
    has_failed: bool = False
    backslash_escapes: bool = True


class Doubt(enum.StrEnum):
    """Why nobody but the caller can know what became of the work."""

    WRITE = "write"  # It may have been committed by itself.
    COMMIT = "commit"  # The transaction may have been committed.


def doubt_of(work: Work) -> Doubt | None:
    """What may have happened without our knowing; None: nothing that lasts."""
    kinds = _outstanding(work)
    if work.has_failed and Kind.ANY not in kinds:
        kinds = tuple(kind for kind in kinds[:1] if kind is not Kind.WRITE)
    return _played(kinds, in_transaction=work.in_transaction, autocommit=work.autocommit)


def _outstanding(work: Work) -> tuple[Kind, ...]:
    """What the server has got whole and has not answered."""
    if not work.statement or not work.left_whole:
        return ()
    kinds = kinds_in(work.statement, backslash_escapes=work.backslash_escapes)
    return kinds if Kind.ANY in kinds else kinds[work.answered :]  # A CALL has any number of answers.


def _played(kinds: tuple[Kind, ...], *, in_transaction: bool, autocommit: bool) -> Doubt | None:
    is_open = has_changes = in_transaction
    doubts: set[Doubt] = set()
    for kind in kinds:
        if has_changes and kind in _COMMITS:
            doubts.add(Doubt.COMMIT)
        if kind is Kind.ANY or (kind is Kind.WRITE and autocommit and not is_open):
            doubts.add(Doubt.WRITE)
        if kind is Kind.WRITE:
            has_changes = is_open or not autocommit
            is_open = has_changes
        elif kind in _ENDS:
            is_open, has_changes = kind is Kind.BEGIN, False
        if kind in (Kind.AUTOCOMMIT_ON, Kind.AUTOCOMMIT_OFF):
            autocommit = kind is Kind.AUTOCOMMIT_ON
    return Doubt.COMMIT if Doubt.COMMIT in doubts else next(iter(doubts), None)


_COMMITS = frozenset({Kind.BEGIN, Kind.COMMIT, Kind.AUTOCOMMIT_ON, Kind.ANY})
_ENDS = _COMMITS | {Kind.ROLLBACK}


def outcome_of(work: Work) -> Outcome:
    """What became of the work of a session that is gone."""
    if doubt_of(work) is not None:
        return Outcome.UNKNOWN
    return Outcome.ROLLED_BACK if work.in_transaction or _outstanding(work) else Outcome.NOTHING_SENT


def refusal_of(work: Work, errno: int) -> Outcome:
    """What became of the work that an instance answered with "I am read-only" (1290 and its like).

    As the answer of what commits a transaction only 1290 says that nothing was committed: it comes before the work.
    """
    statement = work.statement or b""
    kinds = kinds_in(statement, backslash_escapes=work.backslash_escapes)
    is_program = any(_may_hold_more(statement, kind) for kind in kinds)
    if not work.in_transaction:
        return Outcome.REFUSED if len(kinds) == 1 and not is_program and not work.answered else Outcome.UNKNOWN
    refused = kinds[work.answered : work.answered + 1]
    may_be_done = is_program or (errno != _READ_ONLY and not _COMMITS.isdisjoint(refused))
    return Outcome.UNKNOWN if may_be_done else Outcome.ROLLED_BACK


_READ_ONLY = 1290


def _may_hold_more(statement: bytes, kind: Kind) -> bool:
    # DDL is one statement, refused as one; CALL and EXECUTE run others, of which the first may have been done.
    return kind is Kind.ANY and not statement.lstrip()[:8].upper().startswith(_DDL)


_DDL = (b"ALTER", b"CREATE", b"DROP", b"TRUNCATE", b"RENAME", b"GRANT", b"REVOKE")
