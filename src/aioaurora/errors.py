"""Every error that aioaurora raises: one tree, each with the facts that its caller must act on.

All derive from PyMySQL's exceptions, which are aiomysql's: `except aiomysql.OperationalError` goes on working,
and SQLAlchemy wraps them. `args` is `(errno, sentence)`; `str()` is the sentence alone.

    ProgrammingError
      ConfigurationError          also ValueError: something was asked for that cannot work; says what to write instead
        InvalidEndpoint
    InterfaceError
      ConnectionBusy              a second task used a connection that was in use
      WrongLoop                   used on another event loop than the one it was made on
      WrongProcess                used in a forked child
      PoolClosed                  also RuntimeError: the pool is closed, or about to be
    OperationalError
      ConnectTimeout              also TimeoutError
      NoWriter                    also TimeoutError
        WriterUnavailable         told at once: the search has been going on for a while
      NoReader                    also TimeoutError
      PoolTimeout                 also TimeoutError
      TooManyWaiting              told at once: `max_waiting` others wait already
      WriterDemoted               the writer became a reader under this connection
      TransactionLost             the session lives, its transaction does not
      ConnectionLost              the server went away
        OutcomeUnknown            an autocommit write was under way
          CommitOutcomeUnknown    a COMMIT was under way
"""

from __future__ import annotations

import enum
from typing import Any

from pymysql import err


class Role(enum.StrEnum):
    """What an instance is in its cluster."""

    WRITER = "writer"
    READER = "reader"


class Outcome(enum.StrEnum):
    """What became of the work that was under way when something failed."""

    NOTHING_SENT = "nothing_sent"  # No statement reached the server whole: safe to run again.
    REFUSED = "refused"  # The server declined it: safe to run again, on the right instance.
    ROLLED_BACK = "rolled_back"  # The server undid it with the session: safe to run again.
    UNKNOWN = "unknown"  # A COMMIT or an autocommit write was under way: only the caller can know.


def _restored(cls: type[AioauroraError], args: tuple[Any, ...], facts: dict[str, Any]) -> AioauroraError:
    error = cls.__new__(cls, *args)
    error.args = args  # OSError, which TimeoutError is, sets them in __init__ only.
    error.__dict__.update(facts)
    return error


class AioauroraError(err.MySQLError):
    """Every error of this package; its facts are attributes.

    Attributes:
        retryable: Running the same unit of work again, on a new connection, cannot do it twice.
    """

    retryable: bool = False

    def __init__(self, errno: int, sentence: str, /, **facts: Any) -> None:
        super().__init__(errno, sentence)
        self.__dict__.update(facts)

    def __str__(self) -> str:
        return str(self.args[1])

    def __reduce__(self) -> tuple[Any, ...]:
        # The facts are no arguments of Exception.__init__, so the default recipe would lose or misplace them.
        return _restored, (type(self), self.args, self.__dict__)


# --- what the caller wrote ------------------------------------------------------------------------------------------


class ConfigurationError(AioauroraError, err.ProgrammingError, ValueError):
    """What was asked for cannot work; the sentence says what to write instead."""

    def __init__(self, sentence: str) -> None:
        super().__init__(0, sentence)


class InvalidEndpoint(ConfigurationError):
    """The text is no host name, IP address or URL that can be connected to."""


class ConnectionBusy(AioauroraError, err.InterfaceError):
    """Another task is using this connection; nothing was written."""

    def __init__(self, sentence: str = "another task is using this connection: give each task its own") -> None:
        super().__init__(0, sentence)


class WrongLoop(AioauroraError, err.InterfaceError):
    """Used on another event loop than the one it was made on."""

    def __init__(self, what: str) -> None:
        super().__init__(0, f"{what} belongs to another event loop: make one per loop")


class WrongProcess(AioauroraError, err.InterfaceError):
    """Used in another process than the one it was made in, as after a fork."""

    def __init__(self, what: str, *, made_in: int, used_in: int) -> None:
        sentence = f"{what} was made in process {made_in} and used in {used_in}: make it after the fork"
        super().__init__(0, sentence, made_in=made_in, used_in=used_in)


# --- nobody there ---------------------------------------------------------------------------------------------------


class _NobodyThere(AioauroraError, err.OperationalError, TimeoutError):
    """No connection was made: nothing was sent, so trying again is safe."""

    retryable = True
    waited_s: float

    def __init__(self, sentence: str, *, waited_s: float, errno: int = 2003, **facts: Any) -> None:
        super().__init__(errno, sentence, waited_s=waited_s, **facts)


class ConnectTimeout(_NobodyThere):
    """One instance did not complete DNS, TCP, TLS, log-in and role check in time; or the cluster was never reached.

    Attributes:
        instance: Host name that was dialled: the instance's or the endpoint's.
        phase: What was being waited for: "credentials", "dns", "tcp" or "socket" (a Unix socket), "greeting", "tls",
            "login" or "role check"; "its turn", where `max_connecting` others were under way; "first contact", for
            all of it; the name of a pool's callback.
        waited_s: Seconds.
    """

    instance: str
    phase: str

    def __init__(self, instance: str, *, phase: str, waited_s: float) -> None:
        sentence = f"no connection to {instance!r} within {waited_s:.1f} s: waited for {phase}"
        super().__init__(sentence, waited_s=waited_s, instance=instance, phase=phase)


class NoWriter(_NobodyThere):
    """No instance said that it is the writer in time, or the cluster has none."""


class WriterUnavailable(NoWriter):
    """The writer has been sought for so long that new requests fail at once.

    Attributes:
        retry_after_s: Seconds after which to ask again.
    """

    retry_after_s: float

    def __init__(self, sentence: str, *, waited_s: float, retry_after_s: float) -> None:
        super().__init__(sentence, waited_s=waited_s)
        self.retry_after_s = retry_after_s


class NoReader(_NobodyThere):
    """No reader could be reached in time."""


class PoolTimeout(_NobodyThere):
    """The pool had no connection to hand out in time; says what was waited for, and what the pool looked like."""


class TooManyWaiting(AioauroraError, err.OperationalError):
    """As many as `max_waiting` wait for a connection already: shed load, or ask again later.

    Attributes:
        waiting: How many wait.
    """

    retryable = True
    waiting: int

    def __init__(self, sentence: str, *, waiting: int) -> None:
        super().__init__(2003, sentence, waiting=waiting)


class PoolClosed(AioauroraError, err.InterfaceError, RuntimeError):
    """The pool is closed, or is being drained and takes no new work."""

    def __init__(self, sentence: str) -> None:
        super().__init__(0, sentence)


# --- lost under us --------------------------------------------------------------------------------------------------


# 1153: a statement that is larger than the server's max_allowed_packet, which ends the session.
_FAILS_AGAIN = frozenset({1153})


class _Ended(AioauroraError, err.OperationalError):
    """Work was cut off; says where, and what became of it.

    Attributes:
        instance: Id of the instance, or its host name while the id is not known.
        epoch: How often the writer had changed when the connection was made.
        outcome: What became of the work.
    """

    retryable: bool

    instance: str
    epoch: int
    outcome: Outcome

    def __init__(self, errno: int, sentence: str, *, instance: str, epoch: int, outcome: Outcome) -> None:
        super().__init__(errno, sentence, instance=instance, epoch=epoch, outcome=outcome)
        self.retryable = outcome is not Outcome.UNKNOWN and errno not in _FAILS_AGAIN


class WriterDemoted(_Ended):
    """The instance refused a write because it is the writer no more, or will not be for long.

    Attributes:
        is_frozen: It is still the writer, and a switchover holds writes back.
    """

    is_frozen: bool

    def __init__(
        self, instance: str, *, epoch: int, outcome: Outcome, errno: int = 1290, is_frozen: bool = False
    ) -> None:
        what = "is frozen by a switchover" if is_frozen else "is a reader now"
        sentence = f"{instance!r} {what} (epoch {epoch}); transaction: {outcome}; ask for a new connection"
        super().__init__(errno, sentence, instance=instance, epoch=epoch, outcome=outcome)
        self.is_frozen = is_frozen


class TransactionLost(_Ended):
    """The session survived, the transaction did not: a server's patching, a deadlock, or DDL ended it.

    The statement that reported this ran *outside* the transaction and may have been committed by itself.
    """

    def __init__(self, instance: str, *, epoch: int, outcome: Outcome, errno: int = 1305, detail: str = "") -> None:
        is_unknown = outcome is Outcome.UNKNOWN
        became = "this one ran outside it, and may have been committed by itself" if is_unknown else f"it was {outcome}"
        sentence = f"the transaction on {instance!r} was gone before this statement; {detail or became}"
        super().__init__(errno, sentence, instance=instance, epoch=epoch, outcome=outcome)


class ConnectionLost(_Ended):
    """The server went away; the session and its open transaction are gone."""

    def __init__(self, instance: str, *, epoch: int, outcome: Outcome, errno: int = 2013, detail: str = "") -> None:
        why = f" ({detail})" if detail else ""
        sentence = f"lost {instance!r}{why}, epoch {epoch}; transaction: {outcome}"
        super().__init__(errno, sentence, instance=instance, epoch=epoch, outcome=outcome)


class OutcomeUnknown(ConnectionLost):
    """The connection was lost while an autocommit write was under way: it may or may not have happened."""


class CommitOutcomeUnknown(OutcomeUnknown):
    """The connection was lost while a COMMIT was under way: it may or may not have happened."""
