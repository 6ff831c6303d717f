"""What the clients and their conductor share: who does what at the next fault, and who is doing it now."""

from __future__ import annotations

import asyncio
import contextlib
import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

    from aioaurora.cli.drill.ledger import Side


class Posture(enum.StrEnum):
    """What a client is doing when the writer goes."""

    WRITING = "writing"  # Its usual turns.
    WAITING = "waiting"  # For the answer to an INSERT under autocommit.
    WAITING_INSIDE = "waiting inside"  # For the answer to a statement in an open transaction.
    SITTING = "sitting"  # In an open transaction, with nothing under way.


def postures(clients: int) -> tuple[Posture, ...]:
    """Say who does what: the first sits in a transaction, at least half wait for a statement, the others go on."""
    waiting = (clients + 1) // 2
    waits = (Posture.WAITING, Posture.WAITING_INSIDE)
    first = [Posture.SITTING] if clients > 1 else []
    busy = [waits[number % 2] for number in range(waiting)]
    return tuple([*first, *busy, *[Posture.WRITING] * clients][:clients])


@dataclass(slots=True)
class Stage:
    """The state of the play.

    Attributes:
        chance: All that is left to chance, from one seed.
        taking: Postures still to be taken, by client.
        taken: Postures that clients are in now.
        called: Who is waited for.
        resumed: Set when those who sit go on.
        stirred: Set, and replaced, at every acknowledged write and every posture taken.
        is_over: Whether everybody is to stop.
    """

    chance: random.Random
    taking: dict[tuple[Side, int], Posture] = field(default_factory=dict)
    taken: dict[tuple[Side, int], Posture] = field(default_factory=dict)
    called: set[tuple[Side, int]] = field(default_factory=set)
    resumed: asyncio.Event = field(default_factory=asyncio.Event)
    stirred: asyncio.Event = field(default_factory=asyncio.Event)
    is_over: bool = False

    def call(self, sides: tuple[Side, ...], clients: int) -> None:
        """Ask every client to take its posture at its next turn."""
        self.resumed.clear()
        for side in sides:
            for client, posture in enumerate(postures(clients)):
                if posture is not Posture.WRITING:
                    self.taking[side, client] = posture
                    self.called.add((side, client))

    async def all_taken(self, within_s: float) -> None:
        """Wait until all have; those who are late are not waited for."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self._untaken():
                    await self.acknowledged()
        self.taking.clear()
        self.called.clear()

    def take(self, side: Side, client: int) -> Posture:
        """Give a client the posture for its next turn."""
        return self.taking.pop((side, client), Posture.WRITING)

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
