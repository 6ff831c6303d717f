"""How a pool comes to its end: closed, drained, cut, forgotten, or used where it does not belong."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest
from pymysql import err

import aioaurora
from aioaurora import errors, events
from aioaurora._io import kernel
from aioaurora.simulator import SimulatedCluster
from tests.pools import assert_balanced, connections_at, pooled, quiet, run, told
from tests.virtual import following


@pytest.fixture
async def sim():
    """Three instances, of which db-1 is the writer."""
    async with SimulatedCluster(3, engine="memory") as started:
        yield started


# --- close ----------------------------------------------------------------------------------------------------------


async def test_close_tells_who_waits(sim, monkeypatch):
    """At once, and counts them as refused."""
    pool = await pooled(sim, monkeypatch, maxsize=1)
    held = await pool.acquire()
    waiting = [asyncio.create_task(pool.acquire()) for _ in range(3)]
    await quiet()
    pool.close()

    for task in waiting:
        with pytest.raises(errors.PoolClosed, match="closed while this waited"):
            await asyncio.wait_for(task, 0.1)
    assert pool.stats().refused == 3
    pool.release(held)
    await pool.wait_closed()


async def test_close_cuts_what_is_leased_after_its_timeout(sim, monkeypatch):
    """Not before."""
    loop, log = asyncio.get_running_loop(), []
    pool = await pooled(sim, monkeypatch, listeners=[log.append])
    held = await pool.acquire()
    waiting = asyncio.create_task(run(held, "SELECT SLEEP(60)"))
    began_at = loop.time()

    await pool.close(timeout=2)

    assert loop.time() - began_at == pytest.approx(2, abs=0.1)
    with pytest.raises(errors.ConnectionLost):
        await waiting
    assert pool.stats().closed == {"the pool was terminated": 1}
    assert [event.why for event in told(events.ConnectionClosed, log)] == ["the pool was terminated"]
    pool.release(held)


@pytest.mark.parametrize(("first", "second", "ends_after"), [(30, 0.5, 1.5), (2, 30, 2), (30, 0, 1)])
async def test_of_two_limits_the_one_that_ends_sooner_holds(sim, monkeypatch, first, second, ends_after):
    """Whichever was said first."""
    loop = asyncio.get_running_loop()
    pool = await pooled(sim, monkeypatch)
    held = await pool.acquire()
    began_at = loop.time()
    pool.close(first)
    await asyncio.sleep(1)

    await pool.close(second)

    assert loop.time() - began_at == pytest.approx(ends_after, abs=0.1)
    assert held.closed
    pool.release(held)


async def test_terminate_does_not_wait_for_a_unit_that_close_has_let_run(sim, monkeypatch):
    """Its connection is cut, and what it does beside it is its own business."""
    pool = await pooled(sim, monkeypatch)
    unit = asyncio.create_task(pool.run(lambda _: asyncio.sleep(60)))
    await asyncio.sleep(0.1)
    pool.close(30)
    await asyncio.sleep(0.1)
    pool.terminate()

    await asyncio.wait_for(pool.wait_closed(), 1)
    unit.cancel()
    await asyncio.wait({unit})


async def test_close_ends_connects_that_are_under_way(sim, monkeypatch):
    """Nobody waits for them any more."""
    loop = asyncio.get_running_loop()
    pool = await pooled(sim, monkeypatch)
    await sim.slow_logins(2.5)
    held = await pool.acquire()
    asking = asyncio.create_task(pool.acquire())
    await asyncio.sleep(0.1)
    began_at = loop.time()
    pool.release(held)
    pool.terminate()

    with pytest.raises(errors.PoolClosed):
        await asking
    await pool.wait_closed()
    assert loop.time() - began_at <= 2.5
    assert connections_at(sim) == 0


async def test_close_waits_until_what_was_given_back_is_clean(sim, monkeypatch):
    """It is rolled back, not cut."""
    released = []

    async def on_release(connection):
        await asyncio.sleep(0.5)
        released.append(connection.closed)

    pool = await pooled(sim, monkeypatch, on_release=on_release)
    held = await pool.acquire()
    pool.release(held)

    await pool.close()

    assert released == [False]
    assert pool.size == 0


async def test_a_pool_that_shares_its_cluster_leaves_it_open(sim, monkeypatch):
    """Two pools of one Cluster: N + M + 1 connections."""
    async with following(sim, monkeypatch) as cluster:
        first = await aioaurora.create_pool(cluster=cluster, minsize=2)
        async with aioaurora.create_pool(cluster=cluster, minsize=3) as second:
            assert connections_at(sim) == 6
            await first.close()
            async with second.acquire() as connection:
                assert await run(connection, "SELECT 1") == ((1,),)

        async with cluster.connect() as connection:
            assert await run(connection, "SELECT 1") == ((1,),)


async def test_a_pool_whose_cluster_was_closed_tells_its_callers_at_once(sim, monkeypatch):
    """Those who wait, for a connection or for a connect, and those who come later; what is leased can be given back."""
    async with following(sim, monkeypatch) as cluster:
        pool = await aioaurora.create_pool(cluster=cluster, minsize=1, maxsize=2)
        held = await pool.acquire()
        await sim.slow_logins(5)
        waiting = [asyncio.create_task(pool.acquire()) for _ in range(2)]
        await asyncio.sleep(0.1)
        assert (pool.stats().opening, pool.stats().waiting) == (1, 2)
        await asyncio.wait_for(cluster.close(), 1)

    for task in waiting:
        with pytest.raises(errors.PoolClosed, match="the Cluster of the pool was closed while this waited"):
            await asyncio.wait_for(task, 0.1)
    with pytest.raises(errors.PoolClosed, match="the pool of 'orders' takes no new work: its Cluster was closed"):
        await asyncio.wait_for(pool.execute("SELECT 1"), 0.1)
    assert pool.closed
    assert await run(held, "SELECT 1") == ((1,),)
    pool.release(held)
    await asyncio.wait_for(pool.close(), 1)
    assert pool.size == 0


async def test_closing_twice_is_no_harm(sim, monkeypatch):
    """In whatever way."""
    async with pooled(sim, monkeypatch) as pool:
        pool.close()
        pool.terminate()
        await pool.drain()
        await pool.close()

    assert pool.size == 0


async def test_a_timeout_that_is_none_is_refused(sim, monkeypatch):
    """And the pool stays open."""
    async with pooled(sim, monkeypatch) as pool:
        with pytest.raises(errors.ConfigurationError, match="timeout"):
            pool.close(timeout=-1)
        with pytest.raises(errors.ConfigurationError, match="timeout"):
            await pool.drain(timeout="soon")

        async with pool.acquire() as connection:
            assert await run(connection, "SELECT 1") == ((1,),)


# --- drain ----------------------------------------------------------------------------------------------------------


async def test_drain_lets_a_running_unit_end_and_refuses_new_ones(sim, monkeypatch):
    """Idle connections are closed at once."""
    pool = await pooled(sim, monkeypatch, minsize=3)
    gate = asyncio.Event()

    async def work(connection):
        await gate.wait()
        return await run(connection, "SELECT 1")

    unit = asyncio.create_task(pool.run(work))
    await asyncio.sleep(0.1)
    draining = asyncio.create_task(pool.drain(timeout=10))
    await asyncio.sleep(0.1)

    assert pool.size == 1
    for request in (pool.acquire(), pool.run(work), pool.execute("SELECT 1")):
        with pytest.raises(errors.PoolClosed, match="being drained"):
            await request
    gate.set()
    assert await unit == ((1,),)
    await draining
    assert pool.stats().closed == {"the pool is drained": 3}


async def test_drain_lets_a_running_unit_try_once_more(sim, monkeypatch):
    """On a new connection; but no more than once."""
    pool = await pooled(sim, monkeypatch)
    tries = []
    gate = asyncio.Event()

    async def work(connection):
        tries.append(connection)
        await gate.wait()
        raise err.OperationalError(1213, "Deadlock found")

    unit = asyncio.create_task(pool.run(work))
    await asyncio.sleep(0.1)
    draining = asyncio.create_task(pool.drain(timeout=10))
    await asyncio.sleep(0.1)
    gate.set()

    with pytest.raises(err.OperationalError, match="Deadlock"):
        await unit
    await draining
    assert len(tries) == 2


async def test_drain_lets_a_running_unit_have_what_it_needs_to_end(sim, monkeypatch):
    """Further connections: one statement, a lease, a unit of its own, in tasks of its own; until it ends."""
    pool = await pooled(sim, monkeypatch)
    gate, late = asyncio.Event(), []

    async def straggle():
        await asyncio.sleep(0.5)
        await pool.execute("SELECT 1")

    async def work(_connection):
        await gate.wait()
        late.append(asyncio.create_task(straggle()))
        async with pool.acquire() as other, asyncio.TaskGroup() as group:
            group.create_task(run(other, "SELECT 1"))
            value = group.create_task(pool.fetch_value("SELECT 2"))
            nested = group.create_task(pool.run(run, "SELECT 3"))
        return value.result(), nested.result()

    async def looped():
        async for attempt in pool.attempts():
            async with attempt as connection:
                found = await work(connection)
        with pytest.raises(errors.PoolClosed):
            await pool.execute("SELECT 1")
        return found

    units = [asyncio.create_task(pool.run(work)), asyncio.create_task(looped())]
    await asyncio.sleep(0.1)
    held = await pool.acquire()
    draining = asyncio.create_task(pool.drain(timeout=10))
    await asyncio.sleep(0.1)
    gate.set()

    assert await asyncio.gather(*units) == [(2, ((3,),))] * 2
    for task in late:
        with pytest.raises(errors.PoolClosed):
            await task
    pool.release(held)
    await draining


async def test_drain_serves_who_waits(sim, monkeypatch):
    """They asked before."""
    pool = await pooled(sim, monkeypatch, maxsize=1)
    held = await pool.acquire()
    waiting = [asyncio.create_task(pool.acquire()) for _ in range(2)]
    await quiet()
    draining = asyncio.create_task(pool.drain(timeout=10))
    await quiet()
    pool.release(held)

    for task in waiting:
        pool.release(await asyncio.wait_for(task, 1))
    await draining
    assert pool.size == 0


async def test_drain_cuts_at_its_timeout(sim, monkeypatch):
    """What is leased still; those who still wait are told."""
    loop = asyncio.get_running_loop()
    pool = await pooled(sim, monkeypatch, maxsize=1)
    held = await pool.acquire()
    waiting = asyncio.create_task(pool.acquire())
    await quiet()
    began_at = loop.time()

    await pool.drain(timeout=3)

    assert loop.time() - began_at == pytest.approx(3, abs=0.1)
    with pytest.raises(errors.PoolClosed):
        await waiting
    assert held.closed
    pool.release(held)


async def test_a_drain_that_is_cancelled_goes_on(sim, monkeypatch):
    """It cannot be undone; its timeout still holds."""
    pool = await pooled(sim, monkeypatch)
    held = await pool.acquire()
    draining = asyncio.create_task(pool.drain(timeout=3))
    await asyncio.sleep(1)
    draining.cancel()
    await quiet()

    await pool.wait_closed()
    assert held.closed
    pool.release(held)


# --- where it does not belong ---------------------------------------------------------------------------------------


async def test_another_loop_is_refused(sim, monkeypatch):
    """At once, and in words (case 66)."""
    async with pooled(sim, monkeypatch) as pool:
        held = await pool.acquire()

        def elsewhere():
            async def use():
                for request in (pool.acquire, pool.clear, pool.drain, pool.close, pool.terminate):
                    with pytest.raises(errors.WrongLoop):
                        await request()
                with pytest.raises(errors.WrongLoop):
                    pool.release(held)

            asyncio.run(use())

        await asyncio.to_thread(elsewhere)
        pool.release(held)
        assert pool.freesize == 1
        assert_balanced(pool)


async def test_a_forked_child_is_refused_and_the_parents_sessions_live(sim, monkeypatch):
    """What the child does with its copy reaches no socket (case 66)."""
    async with pooled(sim, monkeypatch, minsize=2) as pool:
        held = await pool.acquire()
        with monkeypatch.context() as child:
            child.setattr(os, "getpid", lambda: -1)
            child.setattr(kernel.process, "id", -1)
            for request in (pool.acquire, pool.clear, pool.drain, pool.close, pool.terminate):
                with pytest.raises(errors.WrongProcess):
                    await request()
            pool.release(held)

        assert await run(held, "SELECT 1") == ((1,),)
        pool.release(held)
        async with pool.acquire() as connection:
            assert await run(connection, "SELECT 1") == ((1,),)
        assert_balanced(pool)


@pytest.mark.real_time
async def test_a_child_that_ends_says_goodbye_for_nobody(sim, monkeypatch):
    """A real one: neither its refusals nor its collected copies reach the parent's sessions."""
    async with pooled(sim, monkeypatch, minsize=2) as pool:
        held = await pool.acquire()
        child = os.fork()
        if not child:
            _end_as_child(pool, held)

        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        await asyncio.sleep(0.05)
        assert connections_at(sim) == 3
        assert await run(held, "SELECT 1") == ((1,),)
        pool.release(held)
        assert pool.freesize == 2


def _end_as_child(pool, held):
    try:
        with pytest.raises(errors.WrongProcess):
            pool.acquire().send(None)
        pool.release(held)
        for slot in pool._books.slots:
            slot.connection.close()
    except BaseException:  # noqa: BLE001 - nothing of the parent's may run here.
        os._exit(1)
    os._exit(0)


_FORGOTTEN = """
import asyncio, contextlib, aioaurora

async def waits(pool):
    with contextlib.suppress(RuntimeError):
        await pool.acquire()

async def holds(pool):
    async with pool.acquire() as held, held.cursor() as cursor:
        await cursor.execute("SET @a = 1")
        await asyncio.sleep(60)

async def main():
    pool = await aioaurora.create_pool(**{options}, maxsize=1, reader_minsize=1)
    holding, waiting = asyncio.create_task(holds(pool)), asyncio.create_task(waits(pool))
    await asyncio.sleep(0.1)
    {what}

asyncio.run(main())
print("done")
"""


@pytest.mark.real_time
@pytest.mark.parametrize(
    "what", ["pass", "holding.cancel(); await asyncio.sleep(0)", "pool.close()", "pool.terminate()"]
)
async def test_a_loop_may_end_with_the_pool_open(sim, what):
    """Without a word about pending tasks, unclosed transports or unheard errors."""
    program = _FORGOTTEN.format(options=sim.connect_options(), what=what)
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "default", "-c", program, stdout=pipe, stderr=pipe
    )

    assert await child.communicate() == (b"done\n", b"")
