"""A connection without a Cluster of the application's, against a simulated cluster: when its own one ends."""

from __future__ import annotations

import asyncio
import contextlib
import gc

import pytest

import aioaurora
from aioaurora import errors
from aioaurora.simulator import SimulatedCluster
from tests.virtual import names


@pytest.fixture
async def sim(monkeypatch):
    """A writer, which is found by its names."""
    async with SimulatedCluster(1, engine="memory") as started:
        names(started, monkeypatch)
        yield started


async def connections(sim):
    """How many the server has, once what was said to it has arrived."""
    await asyncio.sleep(0.2)
    return len(sim.writer.connection_ids)


async def test_its_cluster_ends_with_it(sim):
    """It costs one server connection more, and not for longer than it is open."""
    connection = await aioaurora.connect(**sim.connect_options())
    assert await connections(sim) == 2

    await connection.ensure_closed()

    assert await connections(sim) == 0


async def test_waiting_for_the_end_of_a_closed_one_waits_for_its_cluster(sim):
    """No task of it is left for the end of the loop to cut."""
    connection = await aioaurora.connect(**sim.connect_options())
    before = asyncio.all_tasks()

    connection.close()
    await connection.ensure_closed()

    assert not {task for task in asyncio.all_tasks() & before if task.get_name().startswith("aioaurora")}


async def test_a_busy_one_keeps_its_cluster(sim):
    """What was not closed is followed on: the other task's statement ends when the instance does."""
    connection = await aioaurora.connect(**sim.connect_options())
    waiting = asyncio.create_task(connection.query("SELECT SLEEP(30)"))
    await asyncio.sleep(0.1)

    with pytest.raises(errors.ConnectionBusy):
        await connection.ensure_closed()

    assert await connections(sim) == 2
    await sim.crash()
    with pytest.raises(errors.ConnectionLost):
        await asyncio.wait_for(waiting, 5)
    connection.close()


@pytest.mark.parametrize("end", ["close", "ensure_closed", "collection"])
async def test_the_cluster_of_a_busy_one_ends_when_it_is_ended_after_all(sim, end):
    """Also when nobody does but the garbage collector, after its statement was cancelled."""
    kept = [await aioaurora.connect(**sim.connect_options())]
    waiting = asyncio.create_task(kept[0].query("SELECT SLEEP(30)"))
    await asyncio.sleep(0.1)
    with pytest.raises(errors.ConnectionBusy):
        await kept[0].ensure_closed()

    waiting.cancel()
    await asyncio.wait({waiting})
    match end:
        case "close":
            kept[0].close()
        case "ensure_closed":
            await kept[0].ensure_closed()
    del waiting
    kept.clear()
    gc.collect()

    assert await connections(sim) == 0


def on_another_loop(work):
    """Run it in another thread."""
    return asyncio.wait_for(asyncio.to_thread(lambda: asyncio.run(work)), 5)


@pytest.mark.real_time  # Another thread has another loop.
async def test_a_lost_one_that_is_ended_on_another_loop_ends_its_cluster_on_its_own(sim):
    """Nothing of that loop's is awaited here: it would fail, or hang."""
    connection = await aioaurora.connect(**sim.connect_options())
    connection.lose("as a test")

    await on_another_loop(connection.ensure_closed())

    assert await connections(sim) == 0


@pytest.mark.real_time  # As above.
async def test_a_live_one_that_is_ended_on_another_loop_leaves_no_cluster(sim):
    """Whatever becomes of the call, which asyncio may refuse."""
    connection = await aioaurora.connect(**sim.connect_options())

    with contextlib.suppress(RuntimeError):
        await on_another_loop(connection.ensure_closed())

    assert connection.closed
    assert await connections(sim) == 0


@pytest.mark.real_time  # As above.
async def test_one_that_is_ended_after_its_loop_has_nothing_left_to_end(sim):
    """A module holds it, and each call has a loop of its own."""
    kept = []

    async def make():
        kept.append(await aioaurora.connect(**sim.connect_options()))
        kept[0].lose("as a test")

    await on_another_loop(make())

    await on_another_loop(kept[0].ensure_closed())
