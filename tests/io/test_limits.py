"""Limits that hold, and that a loop which stood still does not break."""

from __future__ import annotations

import asyncio

import pytest

from aioaurora._io.limits import ended, limited
from tests.virtual import stand_still


async def answered(after_s):
    """Have something to wait for, that takes a few turns of the loop when it has come."""
    await asyncio.sleep(after_s)
    for _ in range(5):
        await asyncio.sleep(0)
    return "answered"


async def test_what_takes_too_long_ends_at_the_deadline():
    """As with asyncio's own."""
    loop = asyncio.get_running_loop()
    began_at = loop.time()

    with pytest.raises(TimeoutError):
        async with limited(began_at + 2) as limit:
            await asyncio.sleep(60)

    assert limit.expired()
    assert loop.time() - began_at == pytest.approx(2)


async def test_what_came_while_the_loop_stood_still_is_in_time():
    """It was there before the deadline, and nobody looked."""
    loop = asyncio.get_running_loop()
    loop.call_later(0.1, stand_still, 5.0)

    async with limited(loop.time() + 2) as limit:
        assert await answered(1) == "answered"

    assert not limit.expired()


async def test_what_did_not_come_while_the_loop_stood_still_is_not_waited_for_twice():
    """A tenth of a second is enough for whatever has arrived."""
    loop = asyncio.get_running_loop()
    began_at = loop.time()
    loop.call_later(0.1, stand_still, 5.0)

    with pytest.raises(TimeoutError):
        async with limited(began_at + 2):
            await asyncio.sleep(60)

    assert loop.time() - began_at == pytest.approx(5.2)


async def test_what_ended_in_time_leaves_no_timer():
    """Nothing is cancelled later."""
    loop = asyncio.get_running_loop()
    async with limited(loop.time() + 1) as limit:
        await asyncio.sleep(0.5)

    await asyncio.sleep(5)

    assert not limit.expired()


async def test_a_task_is_waited_for_until_the_deadline():
    """And not a moment longer, also where that has passed already."""
    loop = asyncio.get_running_loop()
    began_at = loop.time()
    task = asyncio.create_task(asyncio.sleep(60))

    assert not await ended(task, by=began_at + 2)
    assert not await ended(task, by=began_at + 1)

    assert loop.time() - began_at == pytest.approx(2)
    task.cancel()


async def test_a_task_that_could_end_while_the_loop_stood_still_has_ended():
    """As with `limited`."""
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(answered(1))
    loop.call_later(0.1, stand_still, 5.0)

    assert await ended(task, by=loop.time() + 2)
