"""How many may connect to an instance at a time, by how its last connects went."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from aioaurora._io.dial import Dial, Dismissed, Place
from aioaurora._io.turns import Turns
from aioaurora.errors import ConnectTimeout

PLACE = Place("db-1.test", 3306)


class Far:
    """A session's kernel, which says how far away the peer is, and how often it was asked."""

    def __init__(self, round_trip_s=0.0):
        self.round_trip_s, self.asked, self.phase = round_trip_s, 0, "login"

    def signs(self):
        """Say so."""
        self.asked += 1
        return SimpleNamespace(least_round_trip_s=self.round_trip_s, unacked=0)


async def connected(session, took_s):
    """Give a dial that has ended."""
    dial = Dial(PLACE, 1e9, is_hurried=False)
    dial.session = session
    dial.task = asyncio.create_task(asyncio.sleep(took_s, SimpleNamespace(session=session)))
    await dial.task
    return dial


async def timed_out(took_s):
    """Give a dial that stood in line in vain."""
    dial = Dial(PLACE, 1e9, is_hurried=False)
    dial.session = Far()

    async def ended():
        await asyncio.sleep(took_s)
        raise ConnectTimeout("db-1", phase="login", waited_s=took_s)

    dial.task = asyncio.create_task(ended())
    await asyncio.wait({dial.task})
    return dial


def allowed(turns):
    """How many get a turn now."""
    return turns._limiter(PLACE).total_tokens


@pytest.mark.parametrize(
    ("took_s", "round_trip_s", "asked", "left"),
    [(0.1, 0.0, 0, 4), (0.9, 0.0, 0, 4), (1.1, 0.0, 1, 2), (2.1, 0.3, 1, 4)],
    ids=["quick", "slow", "a line", "far away"],
)
async def test_only_a_connect_that_was_slow_costs_a_question(took_s, round_trip_s, asked, left):
    """All others are as many as there are connections."""
    turns, session = Turns(4), Far(round_trip_s)

    turns.learn(await connected(session, took_s))

    assert (session.asked, allowed(turns)) == (asked, left)


async def test_who_let_not_even_one_in_is_left_alone_for_a_while():
    """For half to the whole of what that one waited; then there is one turn again."""
    turns = Turns(1)
    turns.learn(await timed_out(4.0))
    at_first = allowed(turns)

    await asyncio.sleep(1.9)
    then = allowed(turns)
    await asyncio.sleep(2.2)

    assert (at_first, then, allowed(turns)) == (0, 0, 1)


async def test_a_success_ends_the_pause_of_one_that_may_have_no_more_than_one():
    """A full ramp is left as it is by a quick success, but not while it pauses."""
    turns = Turns(1)
    turns.learn(await timed_out(4.0))

    turns.learn(await connected(Far(), 0.1))

    assert (allowed(turns), turns.pause_s(PLACE)) == (1, 0.0)


async def test_who_waits_out_a_pause_is_sent_away_when_the_instance_changes():
    """He has better to do than to wait for the end of it."""
    turns = Turns(1)
    turns.learn(await timed_out(4.0))
    waiting = asyncio.create_task(turns.take(PLACE, object(), deadline=1e9))
    await asyncio.sleep(0.1)

    turns.disperse(PLACE)
    await asyncio.wait({waiting})

    assert isinstance(waiting.exception(), Dismissed)
    await asyncio.sleep(4)
