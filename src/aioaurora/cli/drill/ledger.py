"""What the clients believe: every write, what became of it as far as its client was told, and every connect."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Side(enum.StrEnum):
    """Whose client it is."""

    OURS = "aioaurora"
    PLAIN = "plain"


class Told(enum.StrEnum):
    """What a client was told about a write; all but the first and the last are outcomes of our driver's errors."""

    DONE = "done"
    NOTHING_SENT = "nothing_sent"
    REFUSED = "refused"
    ROLLED_BACK = "rolled_back"
    UNKNOWN = "unknown"
    NOTHING = "nothing"  # An error that does not say.

    @property
    def is_not_done(self) -> bool:
        """Whether the client was assured that nothing is stored."""
        return self in {Told.NOTHING_SENT, Told.REFUSED, Told.ROLLED_BACK}


class Step(enum.StrEnum):
    """What a write was waiting for last."""

    WRITE = "write"  # An INSERT under autocommit.
    BEGIN = "begin"
    INSIDE = "inside"  # A statement, or a pause, in an open transaction.
    COMMIT = "commit"

    @property
    def may_be_unknown(self) -> bool:
        """Whether only the server can know what became of a write that was cut off here."""
        return self in {Step.WRITE, Step.COMMIT}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try at one write.

    Attributes:
        side: Whose client.
        client: Its number.
        unit: What is written: the client repeats a unit until it believes it done, or cannot know.
        rows: Ids that are stored if it is done, all or none; no other attempt has them.
        began_at: Loop time.
        ended_at: Loop time.
        told: What the client was told.
        step: What it was waiting for last.
        error: Class of the error; empty when it is done.
        instance: Where, as far as the client knows.
    """

    side: Side
    client: int
    unit: int
    rows: tuple[str, ...]
    began_at: float
    ended_at: float
    told: Told
    step: Step
    error: str = ""
    instance: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connect:
    """One asking for a connection; `error` is empty when it came."""

    side: Side
    client: int
    began_at: float
    ended_at: float
    error: str = ""
    instance: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """One read through a connection that was asked for with role="reader"; `error` is empty when it was answered."""

    client: int
    ended_at: float
    error: str = ""


@dataclass(slots=True)
class Ledger:
    """Everything that the clients noted, in the order in which it ended."""

    attempts: list[Attempt] = field(default_factory=list)
    connects: list[Connect] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)

    def between(self, start: float, end: float) -> Ledger:
        """Return what ended from `start` on and before `end`."""
        return Ledger(
            [each for each in self.attempts if start <= each.ended_at < end],
            [each for each in self.connects if start <= each.ended_at < end],
            [each for each in self.reads if start <= each.ended_at < end],
        )

    def of(self, side: Side) -> Ledger:
        """Return what one kind of client noted; reads are ours."""
        return Ledger(
            [each for each in self.attempts if each.side is side],
            [each for each in self.connects if each.side is side],
            self.reads if side is Side.OURS else [],
        )

    def errors(self) -> list[str]:
        """Return what writers saw, in no order."""
        found = [each.error for each in self.attempts]
        found += [each.error for each in self.connects]
        return [error for error in found if error]

    def first_failure(self, *, since: float) -> float | None:
        """Return when a write or a connect first failed."""
        ends = [each.ended_at for each in self.attempts if each.error]
        ends += [each.ended_at for each in self.connects if each.error]
        return min((end for end in ends if end >= since), default=None)


def lost(attempts: Iterable[Attempt], held: frozenset[str]) -> list[Attempt]:
    """Return the writes that were acknowledged and are not stored whole."""
    return [each for each in attempts if each.told is Told.DONE and not held.issuperset(each.rows)]


def undone_but_held(attempts: Iterable[Attempt], held: frozenset[str]) -> list[Attempt]:
    """Return the writes that were reported as not done, and are stored."""
    return [each for each in attempts if each.told.is_not_done and not held.isdisjoint(each.rows)]


def torn(attempts: Iterable[Attempt], held: frozenset[str]) -> list[Attempt]:
    """Return the transactions of which a part is stored."""
    return [each for each in attempts if 0 < len(held.intersection(each.rows)) < len(each.rows)]


def repeated(attempts: Iterable[Attempt], held: frozenset[str]) -> list[tuple[Side, int, int]]:
    """Return the units (side, client, number) that are stored more than once."""
    times: dict[tuple[Side, int, int], int] = {}
    for each in attempts:
        unit = (each.side, each.client, each.unit)
        times[unit] = times.get(unit, 0) + (not held.isdisjoint(each.rows))
    return [unit for unit, count in times.items() if count > 1]


def inexact(attempts: Iterable[Attempt]) -> list[Attempt]:
    """Return the writes that were called unknown though nothing that could have been kept was outstanding."""
    return [each for each in attempts if each.told is Told.UNKNOWN and not each.step.may_be_unknown]


def untold(attempts: Iterable[Attempt]) -> list[Attempt]:
    """Return the failed writes whose error says nothing of the outcome."""
    return [each for each in attempts if each.told is Told.NOTHING]
