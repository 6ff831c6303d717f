"""Which dials of a heartbeat are overtaken, and which are waited for."""

from __future__ import annotations

import asyncio
import math
from types import SimpleNamespace

import pytest

from aioaurora._io.dial import Dial, Place
from aioaurora._io.overtaking import Dials


def reached(phase, *, unacked=0):
    """A session that waits for something of a peer whose kernel acknowledges, or does not."""
    return SimpleNamespace(phase=phase, signs=lambda: SimpleNamespace(unacked=unacked))


@pytest.fixture
async def begun():
    """Dials that were begun and wait for ever; each goes through all that a test lets it."""
    dials = []
    yield dials
    for dial in dials:
        dial.task.cancel()


def dialled(begun, session=None, **limits):
    """Begin one."""
    dial = Dial(Place("db-1.test", 3306), limits.pop("deadline", 1e9), is_hurried=False, **limits)
    dial.session = session
    dial.task = asyncio.get_running_loop().create_task(asyncio.sleep(1e6))
    begun.append(dial)
    return dial


async def test_one_that_hangs_is_overtaken(begun):
    """It may lead to a host that is gone (case 14)."""
    dials = Dials(lambda: dialled(begun, reached("tcp")))

    for _ in range(6):
        dials.add(4)
        await asyncio.sleep(0)

    assert [dial.task.cancelled() for dial in begun] == [True, True, False, False, False, False]


async def test_one_that_stands_in_line_is_waited_for(begun):
    """Three more of every process would make the line four times as long (case 26)."""
    dials = Dials(lambda: dialled(begun, reached("login")))

    for _ in range(6):
        dials.add(4)

    assert len(begun) == 1


async def test_one_that_was_greeted_by_a_host_that_has_gone_is_overtaken(begun):
    """Nobody acknowledges what it sent."""
    dials = Dials(lambda: dialled(begun, reached("login", unacked=1)))

    for _ in range(6):
        dials.add(4)

    assert len(begun) == 4


@pytest.mark.parametrize(("patient_until", "lasts_s"), [(-math.inf, 3.0), (2.0, 3.0), (15.0, 15.0)])
async def test_who_is_patient_stays_in_line(begun, patient_until, lasts_s):
    """Not who has another choice; and nobody for ever."""
    loop = asyncio.get_running_loop()
    now = loop.time()
    dial = dialled(begun, reached("login"), deadline=now + 3.0, patient_until=now + patient_until)
    loop.call_at(dial.deadline, dial.expire)

    await asyncio.wait({dial.task})

    assert loop.time() - now == pytest.approx(lasts_s)


async def test_who_stands_in_line_leaves_when_the_host_has_gone(begun):
    """By the kernel's word, within a quarter of a second."""
    loop = asyncio.get_running_loop()
    now, session = loop.time(), reached("login")
    dial = dialled(begun, session, deadline=now + 3.0, patient_until=now + 15.0)
    loop.call_at(dial.deadline, dial.expire)
    await asyncio.sleep(5.1)

    session.signs = lambda: SimpleNamespace(unacked=2)
    await asyncio.wait({dial.task})

    assert loop.time() - now == pytest.approx(5.25)
