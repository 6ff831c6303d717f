"""A pool over a simulated cluster, and what must hold of it whenever nobody is in the middle of something."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

import aioaurora
from aioaurora._core.shares import IDLE, LEASED, OPENING
from aioaurora.simulator.relay import Front
from tests.virtual import names

if TYPE_CHECKING:
    from aioaurora.simulator import SimulatedCluster

QUERY, PING, RESET = 3, 14, 31


def pooled(sim: SimulatedCluster, monkeypatch, **options):
    """Ask for a pool of connections to a simulated cluster, to be awaited or entered."""
    names(sim, monkeypatch)
    return aioaurora.create_pool(**(sim.connect_options() | options))


def told(kind, log):
    """The events of one kind."""
    return [event for event in log if isinstance(event, kind)]


async def run(connection, text):
    """Run a statement; gives its rows."""
    async with connection.cursor() as cursor:
        await cursor.execute(text)
        return await cursor.fetchall()


def commands_at(monkeypatch) -> list[tuple[int, int, bytes]]:
    """Note what reaches the simulator from now on: connection id, command, text."""
    seen: list[tuple[int, int, bytes]] = []
    obey = Front._obey

    def noted(front, frames):
        seen.append((front.connection_id, frames[4] if len(frames) > 4 else -1, frames[5:]))
        obey(front, frames)

    monkeypatch.setattr(Front, "_obey", noted)
    return seen


def of(connection, seen):
    """What one connection has sent, as text; a command that has none by its number."""
    return [text.decode() or command for at, command, text in seen if at == connection.thread_id()]


def assert_balanced(pool) -> None:
    """Every slot is counted once, where it is; nobody stands in line who does not wait."""
    books = pool._books
    for side in books.sides.values():
        slots = [slot for slot in books.slots if slot.side is side]
        assert side.size == len(slots)
        assert side.opening == sum(slot.where is OPENING for slot in slots)
        assert side.stand_ins == sum(slot.is_stand_in for slot in slots)
        assert 0 <= side.stand_ins <= max(side.stand_ins_most, 0)
        assert all(waiter.instance == instance for instance, line in side.pinned.items() for waiter in line)
        for share in side.shares.values():
            mine = [slot for slot in slots if slot.share is share]
            assert set(share.idle) == {slot for slot in mine if slot.where is IDLE}
            assert share.leased == sum(slot.where is LEASED for slot in mine)
            assert share.opening == sum(slot.where is OPENING for slot in mine)
        assert all(waiter.still_wants() for line in side.lines for waiter in line)


def connections_at(sim) -> int:
    """How many have logged in at the simulator."""
    return sum(len(instance.connection_ids) for instance in sim.instances.values())


async def quiet(turns: int = 20) -> None:
    """Let what was begun come to its end, as far as that takes no time."""
    for _ in range(turns):
        await asyncio.sleep(0)


class CancelAt:
    """Await `coro`, raising CancelledError in it at its `k`-th suspension."""

    def __init__(self, coro, k):
        self.coro, self.k, self.reached = coro, k, False

    def __await__(self):
        steps = self.coro.__await__()
        for n in itertools.count():
            self.reached |= n == self.k
            try:
                future = steps.throw(asyncio.CancelledError()) if n == self.k else steps.send(None)
            except StopIteration as done:
                return done.value
            yield future
