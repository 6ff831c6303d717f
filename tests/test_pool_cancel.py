"""Whatever a pool does may be cancelled at any await: the books balance after it, and nothing is left (case 31)."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from aioaurora import errors, events
from aioaurora._pool.hands import Hands
from aioaurora.simulator import SimulatedCluster
from tests.pools import CancelAt, assert_balanced, connections_at, pooled, quiet, run, told
from tests.virtual import names

MOST = 200


@pytest.fixture
async def sim():
    """Two instances, of which db-1 is the writer."""
    async with SimulatedCluster(2, engine="memory") as started:
        await started.execute("CREATE TABLE t (n INT)")
        yield started


async def swept(work, after):
    """Cancel `work()` before it begins and at each of its suspensions, and look at what is left; gives how often."""
    for k in range(MOST):
        sweep = CancelAt(work(), k)
        with contextlib.suppress(asyncio.CancelledError):
            await sweep
        await after()
        if not sweep.reached:
            return k
    raise AssertionError(f"more than {MOST} suspensions")


async def is_whole(pool, sim, *, most):
    """Nothing is leased, nobody waits, the server holds what the pool holds, and the pool works."""
    await asyncio.sleep(1.0)
    stats = pool.stats()
    assert (stats.leased, stats.waiting, stats.opening) == (0, 0, 0)
    assert_balanced(pool)
    assert pool.size <= most
    assert len(sim.writer.connection_ids) == pool.size + 1
    assert {task.get_name() for task in asyncio.all_tasks() if "tidies" in task.get_name()} == set()
    async with pool.acquire(timeout=5) as connection:
        assert await run(connection, "SELECT 1") == ((1,),)
    await asyncio.sleep(0.1)


async def used(pool, statement=None):
    """Lease a connection, use it, and give it back; waits until it is clean."""
    connection = await pool.acquire()
    try:
        if statement:
            await run(connection, statement)
    finally:
        ending = pool.release(connection)
    await ending


@pytest.mark.parametrize("statement", [None, "SELECT 1", "INSERT INTO t VALUES (1)", "SET @a = 1"])
async def test_a_lease_may_be_cancelled_anywhere(sim, monkeypatch, statement):
    """Also while it is used, and while it is made clean; what it costs is replaced (case 42)."""
    async with pooled(sim, monkeypatch, maxsize=2) as pool:
        count = await swept(lambda: used(pool, statement), lambda: is_whole(pool, sim, most=2))

        assert (count > 1) is (statement is not None)


async def test_opening_may_be_cancelled_anywhere(sim, monkeypatch):
    """Who asked is gone; the connection serves the next one."""
    async with pooled(sim, monkeypatch, minsize=0, maxsize=2) as pool:

        async def work():
            await pool.clear()
            async with pool.acquire() as connection:
                await run(connection, "SELECT 1")

        assert await swept(work, lambda: is_whole(pool, sim, most=2)) > 1


async def test_waiting_may_be_cancelled_anywhere(sim, monkeypatch):
    """Also in the moment in which it is served."""
    async with pooled(sim, monkeypatch, maxsize=1) as pool:

        async def work():
            held = await pool.acquire()
            asyncio.get_running_loop().call_later(0.1, pool.release, held)
            async with pool.acquire():
                await asyncio.sleep(0)

        assert await swept(work, lambda: is_whole(pool, sim, most=1)) == 3


@pytest.mark.parametrize("turns", range(8))
@pytest.mark.loops
async def test_cancelling_around_the_hand_over_loses_nothing(sim, monkeypatch, turns):
    """A real task this time, cancelled some turns of the loop after the slot was given to it."""
    async with pooled(sim, monkeypatch, maxsize=1) as pool:
        held = await pool.acquire()
        waiting = [asyncio.create_task(used(pool)) for _ in range(3)]
        await quiet()
        pool.release(held)
        await quiet(turns)
        waiting[0].cancel()

        await asyncio.wait_for(asyncio.gather(*waiting[1:]), 2)
        await asyncio.wait({waiting[0]})
        assert pool.freesize == 1
        assert_balanced(pool)


async def test_a_ping_may_be_cancelled_anywhere(sim, monkeypatch):
    """Then its answer is outstanding: that connection is closed."""
    async with pooled(sim, monkeypatch, check_idle_after=0) as pool:
        await asyncio.sleep(0.1)

        async def work():
            async with pool.acquire():
                pass

        assert await swept(work, lambda: is_whole(pool, sim, most=2)) > 1


@pytest.mark.parametrize("name", ["on_connect", "on_acquire", "on_release"])
async def test_a_callback_may_be_cancelled_anywhere(sim, monkeypatch, name):
    """While it waits, and while it asks the server."""

    async def callback(connection):
        await asyncio.sleep(0.01)
        await run(connection, "SET @a = 1")
        await asyncio.sleep(0.01)

    async with pooled(sim, monkeypatch, minsize=0, maxsize=2, **{name: callback}) as pool:

        async def work():
            await pool.clear()
            await used(pool, "SELECT 1")

        assert await swept(work, lambda: is_whole(pool, sim, most=2)) > 1


async def test_the_task_that_tidies_may_be_cancelled_anywhere(sim, monkeypatch):
    """As a loop's end does: the connection is closed, not handed out."""
    async with pooled(sim, monkeypatch, maxsize=1) as pool:
        for turns in range(12):
            connection = await pool.acquire()
            await run(connection, "SET @a = 1")
            ending = pool.release(connection)
            await quiet(turns)
            for task in asyncio.all_tasks():
                if "tidies" in task.get_name():
                    task.cancel()
            await ending
            await is_whole(pool, sim, most=1)


@pytest.mark.parametrize("slow", [False, True])
async def test_making_a_pool_may_be_cancelled_anywhere(sim, monkeypatch, slow):
    """Not a connection, not a task is left."""
    before = asyncio.all_tasks()
    if slow:
        await sim.slow_logins(0.2)

    async def work():
        async with pooled(sim, monkeypatch, minsize=2) as pool, pool.acquire() as connection:
            await run(connection, "SELECT 1")

    async def after():
        await asyncio.sleep(2.0)
        assert connections_at(sim) == 0
        assert {task for task in asyncio.all_tasks() - before if "aioaurora" in task.get_name()} == set()

    assert await swept(work, after) > 1


@pytest.mark.parametrize("how", ["close", "terminate", "drain", "close_in_time"])
@pytest.mark.parametrize("is_leased", [False, True])
async def test_the_end_of_a_pool_may_be_cancelled_anywhere(sim, monkeypatch, how, is_leased):
    """It goes on without who waited for it."""
    names(sim, monkeypatch)
    before = asyncio.all_tasks()
    pools = []

    async def work():
        pool = await pooled(sim, monkeypatch, minsize=2)
        pools.append(pool)
        if is_leased:
            held = await pool.acquire()
            asyncio.get_running_loop().call_later(1.0, pool.release, held)
        if how == "terminate":
            pool.terminate()
            await pool.wait_closed()
        elif how == "close_in_time":
            await pool.close(timeout=0.5)
        else:
            await (pool.drain(timeout=5) if how == "drain" else pool.close())

    async def after():
        await asyncio.sleep(3.0)
        if pools and not pools[-1].closed:  # It was cancelled before it came to that.
            await pools[-1].close()
        await asyncio.sleep(1.0)
        assert connections_at(sim) == 0
        assert {task for task in asyncio.all_tasks() - before if "aioaurora" in task.get_name()} == set()

    assert await swept(work, after) > 1


async def test_clear_may_be_cancelled_anywhere(sim, monkeypatch):
    """It waits for nothing."""
    async with pooled(sim, monkeypatch, minsize=2) as pool:
        assert await swept(pool.clear, lambda: is_whole(pool, sim, most=3)) == 1


async def test_opening_for_who_is_gone_stops_with_the_pool(sim, monkeypatch):
    """A connect under way when everybody has left is let finish, and kept."""
    async with pooled(sim, monkeypatch, minsize=0) as pool:
        await sim.slow_logins(1.0)
        asking = [asyncio.create_task(pool.acquire()) for _ in range(3)]
        await asyncio.sleep(0.5)
        for task in asking:
            task.cancel()
        await asyncio.wait(asking)
        assert pool.stats().waiting == 0
        await asyncio.sleep(2)

        assert (pool.size, pool.freesize) == (3, 3)
        assert_balanced(pool)


@pytest.mark.parametrize("is_cancelled", [True, False])
async def test_a_pool_whose_task_has_died_says_so(sim, monkeypatch, is_cancelled):
    """To whoever asks next, at once, and by an event; it can be closed as any other."""
    loop, log = asyncio.get_running_loop(), []

    def broken(_hands):
        raise KeyError("a fault of ours")

    pool = await pooled(sim, monkeypatch, listeners=[log.append])
    if is_cancelled:
        pool._hands._root.cancel()
    else:
        monkeypatch.setattr(Hands, "_look_over", broken)
        await asyncio.sleep(1.2)
    await quiet()
    asked_at = loop.time()

    with pytest.raises(errors.PoolClosed, match="the pool of 'orders' has failed"):
        await pool.acquire()

    assert loop.time() == asked_at
    await asyncio.wait_for(pool.close(), 1)
    why = "CancelledError: its task was cancelled from outside" if is_cancelled else "KeyError: 'a fault of ours'"
    assert [event.error for event in told(events.PoolFailed, log)] == [why]
