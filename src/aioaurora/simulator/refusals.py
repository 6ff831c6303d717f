"""What an instance refuses by itself, and in which words.

The engine gets something harmless in the place of a refused statement, so earlier ones of the same text have their
answers, and what comes back for the harmless one is told as the error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aioaurora.simulator.wire import error_packet

if TYPE_CHECKING:
    from aioaurora.simulator.facts import Asker, Facts
    from aioaurora.simulator.statements import Statement


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error that an instance answers a statement with; `instead` is what the engine gets."""

    errno: int
    sentence: str
    state: str = "HY000"
    instead: str = "DO 0"

    def packet(self, sequence: int) -> bytes:
        """Frame it."""
        return error_packet(sequence, self.errno, self.sentence, self.state)


_READ_ONLY = "The MySQL server is running with the --read-only option so it cannot execute this statement"
READ_ONLY = Refusal(1290, _READ_ONLY)
# MySQL refuses a COMMIT that has written while read_only is on, and rolls back.
_UNDONE = Refusal(1290, _READ_ONLY, instead="ROLLBACK")
_NO_PRIVILEGE = Refusal(
    1227,
    "Access denied; you need (at least one of) the SUPER or SYSTEM_VARIABLES_ADMIN privilege(s) for this operation",
    "42000",
)


def write_refused(statement: Statement, facts: Facts, *, has_written: bool) -> Refusal | None:
    """Say whether a statement is one that a read-only server refuses to execute."""
    if not facts.read_only:
        return None
    if statement.is_change or statement.is_locking_read:
        return READ_ONLY
    return _UNDONE if has_written and statement.commits else None


def always_refused(statement: Statement, asker: Asker) -> Refusal | None:
    """Say whether a statement is one that a client of Aurora may not even prepare."""
    if statement.sets_globally:
        return _NO_PRIVILEGE
    number = killed_by(statement, asker)
    if number is None or number in asker.sessions:
        return None
    return unknown_thread(number)


def unknown_thread(number: int) -> Refusal:
    """Return the error for a connection that the instance does not have: it may be another instance's."""
    return Refusal(1094, f"Unknown thread id: {number}")


def killed_by(statement: Statement, asker: Asker) -> int | None:
    """Return which of the instance's connections a KILL is meant for, None when it is no KILL or cannot be told."""
    if statement.verb != "kill":
        return None
    target = statement.words[-1]
    if target.isdigit():
        return int(target)
    return asker.connection_id if target.startswith("connection_id") else None
