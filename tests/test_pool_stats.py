"""What a pool tells of itself: numbers, events, and a repr that a person can read."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from pymysql import err

import aioaurora
from aioaurora import errors, events
from aioaurora.simulator import SimulatedCluster
from tests.pools import pooled, quiet, run, told


@pytest.fixture
async def sim():
    """Three instances, of which db-1 is the writer."""
    async with SimulatedCluster(3, engine="memory") as started:
        yield started


async def test_a_pool_says_what_it_holds(sim, monkeypatch):
    """The writer, the epoch, and who has what."""
    async with pooled(sim, monkeypatch, minsize=2, maxsize=2) as pool:
        held = [await pool.acquire() for _ in range(2)]
        waiting = asyncio.create_task(pool.acquire())
        await quiet()
        assert repr(pool) == "<Pool writer=db-1 epoch=1 | 2 leased, 0 idle, 0 opening, 1 waiting>"
        for connection in held:
            pool.release(connection)
        pool.release(await waiting)

    assert repr(pool) == "<Pool closed writer=db-1 epoch=1 | 0 leased, 0 idle, 0 opening, 0 waiting>"


async def test_gauges_are_told_by_instance_and_role(sim, monkeypatch):
    """And add up."""
    async with pooled(sim, monkeypatch, minsize=2, reader_strategy=lambda candidates, _: candidates[0]) as pool:
        async with pool.acquire(), pool.acquire(role="reader"):
            stats = pool.stats()

        assert (stats.size, stats.idle, stats.leased, stats.opening, stats.waiting) == (3, 1, 2, 0, 0)
        assert sorted(stats.instances, key=lambda each: each.instance) == [
            aioaurora.InstanceStats(instance="db-1", role="writer", size=2, idle=1, leased=1, opening=0),
            aioaurora.InstanceStats(instance="db-2", role="reader", size=1, idle=0, leased=1, opening=0),
        ]


async def test_what_is_being_opened_is_told(sim, monkeypatch):
    """Until it is there."""
    async with pooled(sim, monkeypatch, minsize=0) as pool:
        await sim.slow_logins(1.0)
        asking = asyncio.create_task(pool.acquire())
        await asyncio.sleep(0.5)

        assert (pool.stats().opening, pool.stats().waiting, pool.size, pool.freesize) == (1, 1, 1, 0)
        pool.release(await asking)


async def test_units_under_way_are_told(sim, monkeypatch):
    """Runs, blocks, single statements; in a pause between two attempts, too."""
    async with pooled(sim, monkeypatch) as pool:
        gate, paused = asyncio.Event(), asyncio.Event()

        async def work(_connection):
            await gate.wait()

        async def fails(_connection):
            raise err.OperationalError(1213, "Deadlock found")

        async def looped():
            async for attempt in pool.attempts():
                async with attempt:
                    await gate.wait()

        tasks = [
            asyncio.create_task(pool.run(work)),
            asyncio.create_task(pool.run(fails, wait=lambda _: 2.0, timeout=3, before_sleep=lambda _: paused.set())),
            asyncio.create_task(looped()),
            asyncio.create_task(pool.execute("SELECT SLEEP(1)")),
        ]
        await paused.wait()
        assert pool.stats().units == 4
        gate.set()
        await asyncio.wait(tasks)
        assert pool.stats().units == 0
        with pytest.raises(err.OperationalError, match="Deadlock"):
            await tasks[1]


async def test_requests_are_what_became_of_them(sim, monkeypatch):
    """Served, timed out, refused: each is counted once."""
    async with pooled(sim, monkeypatch, maxsize=1, max_waiting=1) as pool:
        held = await pool.acquire()
        with pytest.raises(errors.PoolTimeout):
            await pool.acquire(timeout=0.5)
        waiting = asyncio.create_task(pool.acquire())
        await quiet()
        with pytest.raises(errors.TooManyWaiting):
            await pool.acquire()
        await asyncio.sleep(0.2)
        pool.release(held)
        pool.release(await waiting)

    with pytest.raises(errors.PoolClosed):
        await pool.acquire()
    stats = pool.stats()
    assert (stats.requests, stats.served, stats.waited, stats.timed_out, stats.refused) == (5, 2, 1, 1, 2)
    assert (stats.opened, stats.failed, stats.tidied, stats.closed) == (1, 0, 0, {"the pool closes": 1})


async def test_a_request_that_is_cancelled_is_not_served(sim, monkeypatch):
    """Nor did it time out."""
    async with pooled(sim, monkeypatch, maxsize=1) as pool:
        held = await pool.acquire()
        waiting = asyncio.create_task(pool.acquire())
        await quiet()
        waiting.cancel()
        await asyncio.wait({waiting})

        stats = pool.stats()
        assert (stats.requests, stats.served, stats.waited, stats.timed_out, stats.waiting) == (2, 1, 0, 0, 0)
        pool.release(held)


async def test_waiting_times_are_told_in_classes(sim, monkeypatch):
    """Each with its upper bound; at once is not waiting."""
    async with pooled(sim, monkeypatch, maxsize=1) as pool:
        for seconds in (0.002, 0.2, 0.25, 15.0):
            held = await pool.acquire()
            asyncio.get_running_loop().call_later(seconds, pool.release, held)
            pool.release(await pool.acquire())

        stats = pool.stats()
        assert {bound: count for bound, count in stats.wait_histogram if count} == {0.003: 1, 0.3: 2, None: 1}
        assert stats.waited == 4
        assert stats.served == 8


async def test_who_was_served_late_is_an_event(sim, monkeypatch):
    """From a second on."""
    log = []
    async with pooled(sim, monkeypatch, maxsize=1, listeners=[log.append]) as pool:
        for seconds in (0.5, 1.5):
            held = await pool.acquire()
            asyncio.get_running_loop().call_later(seconds, pool.release, held)
            pool.release(await pool.acquire())

    (late,) = told(events.PoolServedLate, log)
    assert (late.role, late.instance, round(late.waited_s, 1)) == ("writer", "db-1", 1.5)


async def test_each_connection_is_told_from_its_beginning_to_its_end(sim, monkeypatch):
    """With the reason for which it was closed."""
    log = []
    async with pooled(sim, monkeypatch, minsize=2, max_idle=10, listeners=[log.append]) as pool:
        async with pool.acquire(instance="db-2"):
            pass
        await asyncio.sleep(12)
        await pool.clear()
        await asyncio.sleep(0.1)

    await quiet()
    opened, closed = told(events.ConnectionOpened, log), told(events.ConnectionClosed, log)
    assert len(opened) == len(closed) == sum(pool.stats().closed.values()) == pool.stats().opened == 5
    assert sorted(event.why for event in closed) == [
        "it was idle for long",
        "the pool closes",
        "the pool closes",
        "the pool was cleared",
        "the pool was cleared",
    ]


async def test_a_failed_connect_is_counted_and_told(sim, monkeypatch):
    """With whom it was to, and why."""
    log = []
    async with pooled(sim, monkeypatch, listeners=[log.append]) as pool:
        held = await pool.acquire()
        await sim.limit_connections(2, "db-1")
        with contextlib.suppress(errors.PoolTimeout):
            await pool.acquire(timeout=1)
        pool.release(held)

        failed = told(events.PoolConnectFailed, log)
        assert pool.stats().failed == len(failed) >= 1
        assert {(event.role, event.is_final) for event in failed} == {("writer", False)}
        assert "Too many connections" in failed[0].error


async def test_reasons_are_few_whatever_the_errors_say(sim, monkeypatch):
    """`stats().closed` is for dashboards: no error text is a key of it."""
    names = iter("abc")

    async def on_release(_connection):
        raise KeyError(next(names))

    async with pooled(sim, monkeypatch, on_release=on_release) as pool:
        for _ in range(3):
            connection = await pool.acquire()
            await run(connection, "SELECT 1")
            await pool.release(connection)

        assert pool.stats().closed == {"it could not be made clean": 3}
