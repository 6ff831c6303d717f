"""Many connections that end at once, and a loop that serves others meanwhile."""

from __future__ import annotations

import asyncio
import functools

from aioaurora._core.restart import Opening
from aioaurora._io.held import Holdings
from aioaurora._io.slices import AT_A_TIME, Slices
from aioaurora.errors import Role


class Application:
    """A connection of the application's, as far as the monitor sees it."""

    role = Role.WRITER

    def __init__(self):
        self.generation = 0
        self.closed = False

    def lose(self, _detail):
        """End it."""
        self.closed = True

    def signs(self):
        """The kernel cannot tell."""


async def test_a_few_are_done_at_once_and_a_few_in_each_turn():
    """In order; who else has something to do is served in between."""
    slices, done, turns = Slices(), [], []

    slices.add([functools.partial(done.append, number) for number in range(4 * AT_A_TIME)])
    while len(done) < 4 * AT_A_TIME:
        turns.append(len(done))
        await asyncio.sleep(0)

    assert done == sorted(done)
    assert turns[0] == AT_A_TIME
    assert len(turns) >= 3


async def test_what_is_added_meanwhile_waits_for_its_turn():
    """Else two verdicts would be twice as much at a time."""
    slices, done = Slices(), []
    slices.add([functools.partial(done.append, "first")] * (AT_A_TIME + 1))

    slices.add([functools.partial(done.append, "second")] * AT_A_TIME)
    assert done == ["first"] * AT_A_TIME
    await asyncio.sleep(0.1)

    assert done == ["first"] * (AT_A_TIME + 1) + ["second"] * AT_A_TIME


async def test_all_is_done_now_where_that_is_asked_for():
    """At the end of a pool; nothing is done twice."""
    slices, done = Slices(), []
    slices.add([functools.partial(done.append, number) for number in range(3 * AT_A_TIME)])

    slices.finish()
    assert done == list(range(3 * AT_A_TIME))
    await asyncio.sleep(0.1)

    assert done == list(range(3 * AT_A_TIME))


def test_a_connection_that_was_made_anew_meanwhile_is_not_ended():
    """By a ping, to the same instance or to another: the verdict was about the session that it had."""
    holdings, connections = Holdings(), [Application() for _ in range(3)]
    for each in connections:
        holdings.add("db-1", each, Opening(1, 0.0, 0.0))
    endings = holdings.endings("db-1", connections, "db-1 is gone")

    connections[0].generation = 1
    holdings.add("db-2", connections[1], Opening(1, 1.0, 1.0))
    for end in endings:
        end()

    assert [each.closed for each in connections] == [False, False, True]
