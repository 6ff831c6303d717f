"""What clients did while everything broke, and what they were told: the record that the checker reads.

Only values. Times are loop times, which are the same in every process of a machine; durations are seconds.
Every write leaves ids of its own, so that the engine says in the end what was done, and how often.
"""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pymysql import err

from aioaurora.cli.drill.ledger import Attempt, Side, Step, Told
from aioaurora.errors import AioauroraError, ConfigurationError, ConnectionBusy, PoolClosed, WrongLoop, WrongProcess

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aioaurora.cli.drill.judge import Stall


class Kind(enum.StrEnum):
    """What an operation does."""

    APPEND = "append"  # Stores rows that nobody else has.
    TRANSFER = "transfer"  # Moves money between two accounts, and stores one row that says so.
    SET = "set"  # Writes a register.
    GET = "get"  # Reads one.
    AUDIT = "audit"  # Reads all balances in one transaction.
    LEASE = "lease"  # Asks a pool for a connection.

    @property
    def is_write(self) -> bool:
        """Whether it changes what is stored."""
        return self in {Kind.APPEND, Kind.TRANSFER, Kind.SET}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One call of one client, from its invocation to what came back.

    Attributes:
        client: Its number.
        door: By which of the library's calls.
        unit: What is to be done; no other operation does it.
        limit_at: When it has to be over at the latest.
        told: What the client was told.
        step: What it was waiting for last.
        error: Class of the error, and the server's number; empty when it is done.
        detail: The error's sentence.
        is_documented: Whether it is an error that the library's pages, or the server's, tell of.
        is_cut: The client's own time-out ended it.
        is_guarded: Whether the library watches over its transaction. (What a client begins and commits itself is not
            seen to end while its session lives: docs/explanation/outcomes.md.)
        rows: Ids that are stored if it is done, all or none: those of its last attempt.
        given_up: Ids of attempts that the library, or the client, took for undone and replaced.
        register: Which one.
        value: What was read of it, or of the accounts: their sum.
        is_writer: Whether the writer was asked for.
    """

    kind: Kind
    client: int
    door: str
    unit: str = ""
    began_at: float
    ended_at: float
    limit_at: float = float("inf")
    told: Told = Told.DONE
    step: Step = Step.WRITE
    error: str = ""
    detail: str = ""
    is_documented: bool = True
    is_cut: bool = False
    is_guarded: bool = True
    rows: tuple[str, ...] = ()
    given_up: tuple[str, ...] = ()
    register: int | None = None
    value: str | int | None = None
    is_writer: bool = True

    @property
    def attempts(self) -> Iterator[Attempt]:
        """Its tries, as the drill's ledger has them."""
        for row in self.given_up:
            yield self._attempt(Told.ROLLED_BACK, row)
        yield self._attempt(self.told, *self.rows)

    def _attempt(self, told: Told, *rows: str) -> Attempt:
        return Attempt(
            side=Side.OURS,
            client=self.client,
            unit=0,
            rows=rows,
            began_at=self.began_at,
            ended_at=self.ended_at,
            told=told,
            step=self.step,
        )

    def __str__(self) -> str:
        outcome = self.told if not self.error else f"{self.told}: {self.error} at {self.step}: {self.detail}"
        what = f"{self.rows or self.unit}" if self.register is None else f"register {self.register} {self.rows}"
        value = "" if self.value is None else f" = {self.value!r}"
        again = f", after {self.given_up}" if self.given_up else ""
        span = f"{self.began_at:.3f} to {self.ended_at:.3f}"
        return f"{span} client {self.client} {self.door} {self.kind} {what}{value}{again}: {outcome}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One episode of faults as it happened.

    Attributes:
        name: Of the episode.
        began_at: Before its first fault.
        healed_at: When everything was healed, and what had been begun was over.
        ended_at: When the next one may begin.
        faults: What was done: time and words.
        is_harmless: Nothing in it may cost a session.
        undone: Spans in which transactions were undone though their sessions live on.
        back: When each client had done something whole that it began after the healing.
        in_use: What our process had then, by what it is: tasks, sockets, connections.
    """

    name: str
    began_at: float
    healed_at: float
    ended_at: float
    faults: tuple[tuple[float, str], ...] = ()
    is_harmless: bool = False
    undone: tuple[tuple[float, float], ...] = ()
    back: dict[int, float] = field(default_factory=dict)
    in_use: dict[str, int] = field(default_factory=dict)

    @property
    def is_back_at(self) -> float:
        """When the last client was back."""
        return max(self.back.values(), default=self.healed_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Misled:
    """A statement of a writer's connection that reached an instance that was not the writer.

    `is_fenced`: it still says that it is, and nothing of what it is told is done.
    """

    at: float
    instance: str
    statement: str
    is_fenced: bool = False


@dataclass(frozen=True, slots=True)
class Said:
    """An event of the library's: loop time, name, and all of it as text."""

    at: float
    name: str
    text: str


@dataclass(slots=True, kw_only=True)
class History:
    """Everything that was noted in one run.

    Attributes:
        clients: How many there are.
        total: Sum of all balances, at all times.
        held: How often each id is stored in the end.
        balances: Of the accounts, in the end.
        moved: All transfers that are stored in the end: source, target, amount.
        opening: What every account held at first.
        registers: Their values in the end.
        misled: See there.
        said: The library's events.
        stalls: When our own loop did not turn.
        unfinished: Clients that never came to an end, and what they were doing.
        left: What was left behind when all was closed.
        unheard: Exceptions that nobody heard.
    """

    clients: int = 0
    total: int = 0
    operations: list[Operation] = field(default_factory=list)
    trials: list[Trial] = field(default_factory=list)
    held: Counter[str] = field(default_factory=Counter)
    balances: dict[int, int] = field(default_factory=dict)
    moved: list[tuple[int, int, int]] = field(default_factory=list)
    opening: int = 0
    registers: dict[int, str] = field(default_factory=dict)
    misled: list[Misled] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)
    stalls: Sequence[Stall] = ()
    unfinished: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    unheard: list[str] = field(default_factory=list)

    def stalled_s(self, start: float, end: float) -> float:
        """Say for how long our loop did not turn between two moments."""
        return sum(max(min(each.at, end) - max(each.at - each.lasted_s, start), 0.0) for each in self.stalls)


# Errors of the library's that say that the program is wrong: ours is not.
_PROGRAMMERS = (ConfigurationError, ConnectionBusy, WrongLoop, WrongProcess, PoolClosed)
# 2000 to 2999 are the client's own, and 0 is no number.
_SERVERS = (range(1000, 2000), range(3000, 5000))


def told_of(error: BaseException, step: Step) -> Told:
    """Read what an error says of the outcome of what was waiting for `step`."""
    outcome = getattr(error, "outcome", None)
    if outcome is not None:
        return Told(outcome)
    if isinstance(error, AioauroraError) and error.retryable:
        return Told.NOTHING_SENT  # Nobody was there to send it to.
    if is_of_the_server(error):
        return {Step.WRITE: Told.REFUSED, Step.COMMIT: Told.NOTHING}.get(step, Told.ROLLED_BACK)
    return Told.NOTHING


def told_of_cut(step: Step) -> Told:
    """Say what is certain of what its own client gave up: nothing is kept of a transaction without its COMMIT."""
    return Told.UNKNOWN if step.may_be_unknown else Told.ROLLED_BACK


def is_documented(error: BaseException) -> bool:
    """Say whether an error is one that a program with no fault of its own may get."""
    if isinstance(error, AioauroraError):
        return not isinstance(error, _PROGRAMMERS)
    return is_of_the_server(error)


def is_of_the_server(error: BaseException) -> bool:
    """Say whether an error is the server's own answer."""
    number = error.args[0] if isinstance(error, err.MySQLError) and error.args else None
    return (
        not isinstance(error, AioauroraError)
        and isinstance(number, int)
        and any(number in numbers for numbers in _SERVERS)
    )


def name_of(error: BaseException) -> str:
    """Name an error: its class, and the server's number where it has one."""
    number = error.args[0] if is_of_the_server(error) else ""
    return f"{type(error).__name__} {number}".strip()
