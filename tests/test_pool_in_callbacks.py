"""A pool that orders a connection from a callback of the loop, where no task runs."""

from __future__ import annotations

import asyncio

import pytest

from aioaurora.simulator import SimulatedCluster
from tests.pools import assert_balanced, pooled, quiet


@pytest.fixture
async def sim():
    """Three instances, of which db-1 is the writer."""
    async with SimulatedCluster(3, engine="memory") as started:
        yield started


@pytest.fixture
def in_tasks_only(monkeypatch):
    """Have anyio look for the event loop as it does where sniffio is installed: in the task that runs."""
    monkeypatch.setattr(
        "anyio._core._eventloop.current_async_library", lambda: "asyncio" if asyncio.current_task() else None
    )


@pytest.mark.usefixtures("in_tasks_only")
async def test_connection_that_its_server_ended_is_replaced(sim, monkeypatch):
    """Its end is a callback; what is opened in its place is ordered there."""
    async with pooled(sim, monkeypatch, minsize=2) as pool:
        await sim.restart("db-1", down_for=0.5)
        await asyncio.sleep(5.0)

        assert (pool.size, pool.freesize) == (2, 2)
        assert_balanced(pool)


@pytest.mark.usefixtures("in_tasks_only")
async def test_order_that_a_timer_gives_is_carried_out(sim, monkeypatch):
    """A pause between two connects that fail ends in a timer."""
    async with pooled(sim, monkeypatch, wait_ready=False, minsize=0) as pool:
        await pool.execute("SELECT 1")
        await pool.clear()
        await sim.limit_connections(0)
        waiting = asyncio.create_task(pool.execute("SELECT 1", timeout=20))
        await asyncio.sleep(3.0)
        await sim.heal()

        await waiting
        assert_balanced(pool)


async def test_order_that_is_taken_back_before_its_task_begins_opens_nothing(sim, monkeypatch):
    """Nobody knows of such a connection."""
    async with pooled(sim, monkeypatch, minsize=0) as pool:
        books = pool._books
        asking = asyncio.ensure_future(pool.acquire())
        await asyncio.sleep(0)
        (slot,) = books.slots

        pool._hands.carry_out(books.discard(slot, "taken back", asyncio.get_running_loop().time()))
        pool.release(await asking)  # Another was opened for who waits.
        await quiet()

        assert (slot.connection, slot in pool._hands._opening, pool._counts.opened) == (None, False, 1)
        assert_balanced(pool)
