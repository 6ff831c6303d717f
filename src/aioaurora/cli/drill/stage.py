"""What the clients and their conductor share: who does what at the next fault, and who is doing it now.

One client of each side sits in a transaction that has inserted, among others, the rows that those who wait are about to
insert: their statements hang on its locks until the fault ends both. (MariaDB may take two seconds to kill a SLEEP.)
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aioaurora.cli.drill.ledger import Side


class Posture(enum.StrEnum):
    """What a client is doing when the writer goes."""

    WRITING = "writing"  # Its usual turns.
    WAITING = "waiting"  # For the answer to an INSERT under autocommit.
    WAITING_INSIDE = "waiting inside"  # For the answer to a statement in an open transaction.
    SITTING = "sitting"  # In an open transaction, with nothing under way.


def postures(clients: int) -> tuple[Posture, ...]:
    """Say who of two or more does what: one sits in a transaction, at least half wait, the others go on."""
    waiting = (clients + 1) // 2
    waits = (Posture.WAITING, Posture.WAITING_INSIDE)
    busy = [waits[number % 2] for number in range(waiting)]
    return tuple([Posture.SITTING, *busy, *[Posture.WRITING] * clients][:clients])


@dataclass(slots=True)
class Stage:
    """The state of the play.

    Attributes:
        taking: Postures still to be taken, by client.
        taken: Postures that clients are in now.
        called: Who is waited for.
        contested: Ids of the rows that clients wait for.
        is_locked: Set when the one who sits has inserted those of its side.
        resumed: Set when those who sit go on.
        stirred: Set, and replaced, at every acknowledged write and every posture taken.
        is_over: Whether everybody is to stop.
    """

    taking: dict[tuple[Side, int], Posture] = field(default_factory=dict)
    taken: dict[tuple[Side, int], Posture] = field(default_factory=dict)
    called: set[tuple[Side, int]] = field(default_factory=set)
    contested: dict[tuple[Side, int], str] = field(default_factory=dict)
    is_locked: dict[Side, asyncio.Event] = field(default_factory=dict)
    calls: int = 0
    resumed: asyncio.Event = field(default_factory=asyncio.Event)
    stirred: asyncio.Event = field(default_factory=asyncio.Event)
    is_over: bool = False

    def call(self, sides: tuple[Side, ...], clients: int) -> None:
        """Ask every client to take its posture at its next turn."""
        self.resumed.clear()
        self.contested.clear()
        self.calls += 1
        for side in sides:
            self.is_locked[side] = asyncio.Event()
            for client, posture in enumerate(postures(clients)):
                if posture is not Posture.WRITING:
                    self.taking[side, client] = posture
                    self.called.add((side, client))
                if posture in {Posture.WAITING, Posture.WAITING_INSIDE}:
                    self.contested[side, client] = f"{side}-{client}-contested-{self.calls}"

    async def all_taken(self, within_s: float) -> None:
        """Wait until all have; those who are late are not waited for."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self._untaken():
                    await self.acknowledged()
        self.taking.clear()
        self.called.clear()
        for each in self.is_locked.values():
            each.set()

    def take(self, side: Side, client: int) -> Posture:
        """Give a client the posture for its next turn."""
        return self.taking.pop((side, client), Posture.WRITING)

    def contested_by(self, side: Side) -> tuple[str, ...]:
        """Return the ids of the rows that clients of a side wait for."""
        return tuple(row for (who, _), row in self.contested.items() if who == side)

    def stand(self, side: Side, client: int, posture: Posture) -> None:
        """Note that a client is in its posture now."""
        self.taken[side, client] = posture
        self.stir()

    def leave(self, side: Side, client: int) -> None:
        """Note that a client's turn has ended."""
        self.taken.pop((side, client), None)

    def stir(self) -> None:
        """Wake those who wait for something to happen."""
        self.stirred.set()
        self.stirred = asyncio.Event()

    async def acknowledged(self) -> None:
        """Wait for the next acknowledged write, or posture taken."""
        await self.stirred.wait()

    def _untaken(self) -> set[tuple[Side, int]]:
        return self.called - self.taken.keys()

    def count(self, side: Side, *which: Posture) -> int:
        """Say how many clients are in one of these postures."""
        return sum(who == side and posture in which for (who, _), posture in self.taken.items())
