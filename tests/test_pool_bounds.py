"""How long a request to a pool may wait, how much a pool holds, and what it says when that is not enough."""

from __future__ import annotations

import asyncio
import copy
import pickle
import time

import pytest
from pymysql import err

from aioaurora import errors, events
from aioaurora.simulator import SimulatedCluster
from tests.pools import PING, assert_balanced, commands_at, of, pooled, quiet, run, told


@pytest.fixture
async def sim():
    """Three instances, of which db-1 is the writer."""
    async with SimulatedCluster(3, engine="memory") as started:
        yield started


# --- waiting --------------------------------------------------------------------------------------------------------


async def test_a_timeout_says_what_was_waited_for(sim, monkeypatch):
    """How long, in which pool, and what the cluster looks like."""
    log = []
    async with pooled(sim, monkeypatch, maxsize=2, listeners=[log.append]) as pool:
        held = [await pool.acquire() for _ in range(2)]

        with pytest.raises(errors.PoolTimeout) as timed_out:
            await pool.acquire(timeout=1.5)

        assert timed_out.value.args == (
            2003,
            (
                "no connection to a writer of 'orders' within 1.5 s: 2 of 2 leased, 0 idle, 0 opening, 1 waiting; "
                "writer db-1 (epoch 1), readers db-2, db-3"
            ),
        )
        assert isinstance(timed_out.value, TimeoutError)
        assert timed_out.value.waited_s == pytest.approx(1.5, abs=0.01)
        assert str(pickle.loads(pickle.dumps(timed_out.value))) == str(copy.copy(timed_out.value))
        (event,) = told(events.PoolTimedOut, log)
        assert (event.role, round(event.waited_s, 1)) == ("writer", 1.5)
        assert (pool.stats().timed_out, pool.stats().waiting) == (1, 0)
        for connection in held:
            pool.release(connection)
        assert_balanced(pool)


async def test_a_timeout_names_the_search_and_the_last_failure(sim, monkeypatch):
    """Its cause is the error of that connect."""
    async with pooled(sim, monkeypatch, minsize=0) as pool:
        await sim.crash("db-1")
        await asyncio.sleep(1)
        with pytest.raises(errors.PoolTimeout, match="; the writer is being sought: "):
            await pool.acquire(timeout=1)
        with pytest.raises(errors.PoolTimeout, match="no connection to 'db-1' of 'orders'"):
            await pool.acquire(instance="db-1", timeout=1)
        await sim.heal()
        await asyncio.sleep(1)
        await sim.limit_connections(1, "db-1")
        with pytest.raises(errors.PoolTimeout, match=r"; the last connect failed: .*Too many connections") as timed_out:
            await pool.acquire(timeout=3)

        assert isinstance(timed_out.value.__cause__, err.OperationalError)


async def test_a_timeout_of_who_wants_one_instance_names_its_last_failure(sim, monkeypatch):
    """That of the role which the instance has."""
    async with pooled(sim, monkeypatch) as pool:
        held = await pool.acquire(instance="db-2")
        await sim.limit_connections(1, "db-2")

        with pytest.raises(errors.PoolTimeout, match="Too many connections") as timed_out:
            await pool.acquire(instance="db-2", timeout=3)

        assert isinstance(timed_out.value.__cause__, err.OperationalError)
        pool.release(held)


async def test_a_timeout_says_that_the_readers_are_too_far_behind(sim, monkeypatch):
    """And of which limit."""
    async with pooled(sim, monkeypatch, max_lag=1.0, reader_fallback=False, refresh_interval=0.5) as pool:
        for each in ("db-2", "db-3"):
            await sim.report_lag(5_000, each)
        await asyncio.sleep(2)

        with pytest.raises(errors.PoolTimeout, match=r"; more than max_lag=1.0 s behind: db-2, db-3"):
            await pool.acquire(role="reader", timeout=1)


async def test_a_timeout_says_that_the_writers_share_is_used_up(monkeypatch):
    """A quarter of its connections serves who asks for a reader, of which there is none."""
    async with SimulatedCluster(1, engine="memory") as sim, pooled(sim, monkeypatch, maxsize=8) as pool:
        held = [await pool.acquire(role="reader") for _ in range(2)]

        with pytest.raises(errors.PoolTimeout) as timed_out:
            await pool.acquire(role="reader", timeout=1)

        sentence = "; the writer serves 2 in place of a reader: all that fallback_share allows"
        assert sentence in str(timed_out.value)
        for connection in held:
            pool.release(connection)


@pytest.mark.parametrize(
    ("role", "instance", "says"), [("reader", "db-1", "db-1 is the writer"), ("writer", "db-2", "db-2 is a reader")]
)
async def test_a_timeout_says_that_an_instance_has_another_role(sim, monkeypatch, role, instance, says):
    """It may have been what was asked for a moment ago."""
    async with pooled(sim, monkeypatch) as pool:
        with pytest.raises(errors.PoolTimeout, match=f"no connection to {instance!r} .*; {says}$"):
            await pool.acquire(role=role, instance=instance, timeout=1)


async def test_the_limit_of_one_call_is_for_all_of_it(sim, monkeypatch):
    """Queue, connect and all; others keep theirs."""
    loop = asyncio.get_running_loop()
    async with pooled(sim, monkeypatch, maxsize=1, acquire_timeout=5.0) as pool:
        held = await pool.acquire()
        patient = asyncio.create_task(pool.acquire())
        began_at = loop.time()
        with pytest.raises(errors.PoolTimeout):
            await pool.acquire(timeout=0.5)
        assert loop.time() - began_at == pytest.approx(0.5, abs=0.01)
        with pytest.raises(errors.PoolTimeout, match=r"within 5.0 s"):
            await patient
        assert loop.time() - began_at == pytest.approx(5.0, abs=0.1)
        for bad in (0, -1, "soon", True):
            with pytest.raises(errors.ConfigurationError, match="timeout"):
                pool.acquire(timeout=bad)
        pool.release(held)


@pytest.mark.parametrize("bad", [0, -1, float("nan"), float("inf"), "soon", True])
async def test_a_timeout_that_is_none_is_refused_before_anything_is_awaited(sim, monkeypatch, bad):
    """Also while a connection is idle: a mistake shows on a quiet day."""
    async with pooled(sim, monkeypatch) as pool:
        with pytest.raises(errors.ConfigurationError, match="timeout"):
            pool.acquire(timeout=bad)

        assert pool.stats().requests == 0


async def test_too_many_who_wait_are_refused_at_once(sim, monkeypatch):
    """From the one after `max_waiting` on."""
    async with pooled(sim, monkeypatch, maxsize=1, max_waiting=2) as pool:
        held = await pool.acquire()
        waiting = [asyncio.create_task(pool.acquire()) for _ in range(2)]
        await quiet()

        with pytest.raises(errors.TooManyWaiting, match="2 wait for a connection already") as refused:
            await pool.acquire()

        assert (refused.value.waiting, refused.value.retryable) == (2, True)
        assert pool.stats().refused == 1
        for task in waiting:
            pool.release(held)
            held = await task
        pool.release(held)


async def test_a_stalled_loop_is_not_the_servers_fault(sim, monkeypatch):
    """What arrived while our loop stood still comes before the deadline that passed meanwhile (case 36)."""
    async with pooled(sim, monkeypatch, maxsize=1) as pool:
        held = await pool.acquire()
        waiting = asyncio.create_task(pool.acquire(timeout=1.0))
        await asyncio.sleep(0.9)
        loop = asyncio.get_running_loop()
        loop.call_at(loop.time() + 3.0, pool.release, held)
        _stall(loop, 3.0)

        assert await waiting is held
        pool.release(held)


def _stall(loop, seconds):
    """Let the loop's clock go on without the loop."""
    now = loop.time()
    loop.call_soon(time.sleep, 0)
    real = loop.time
    loop.time = lambda: max(real(), now + seconds)


async def test_first_come_is_first_served(sim, monkeypatch):
    """A hog that releases and asks again stands behind those who wait."""
    order = []
    async with pooled(sim, monkeypatch, maxsize=1) as pool:

        async def asks(name):
            async with pool.acquire():
                order.append(name)
                await asyncio.sleep(0.01)

        async def hog():
            for _ in range(3):
                await asks("hog")

        await asyncio.gather(hog(), asks("a"), asks("b"), asks("c"))

    assert order == ["hog", "a", "b", "c", "hog", "hog"]


# --- size -----------------------------------------------------------------------------------------------------------


async def test_a_pool_grows_to_its_limit_and_no_further(sim, monkeypatch):
    """However many ask."""
    async with pooled(sim, monkeypatch, maxsize=5, reader_maxsize=3) as pool:
        sizes = set()

        async def asks(role):
            async with pool.acquire(role=role):
                sizes.add((pool.size <= 5, pool.stats().size <= 8))
                await asyncio.sleep(0.01)

        await asyncio.gather(*(asks(role) for role in ("writer", "reader") for _ in range(50)))

        assert sizes == {(True, True)}
        assert (pool.size, pool.stats().size) == (5, 8)
        assert_balanced(pool)


async def test_a_pool_shrinks_to_minsize_when_idle(sim, monkeypatch):
    """After `max_idle`, not before."""
    async with pooled(sim, monkeypatch, minsize=2, maxsize=6, max_idle=30) as pool:
        held = [await pool.acquire() for _ in range(6)]
        for connection in held:
            pool.release(connection)
        await asyncio.sleep(28)
        assert pool.size == 6
        await asyncio.sleep(4)
        assert pool.size == 2
        await asyncio.sleep(100)
        assert pool.size == 2
        assert pool.stats().closed == {"it was idle for long": 4}


async def test_a_connection_is_replaced_when_it_is_old(sim, monkeypatch):
    """Less up to a tenth by lot; `minsize` is filled again."""
    async with pooled(sim, monkeypatch, minsize=4, max_lifetime=100) as pool:
        first = {slot.connection for slot in pool._books.slots}
        await asyncio.sleep(88)
        assert {slot.connection for slot in pool._books.slots} == first
        await asyncio.sleep(14)
        assert not {slot.connection for slot in pool._books.slots} & first
        assert pool.size == 4
        assert pool.stats().closed == {"it was old": 4}


async def test_a_leased_connection_is_replaced_when_it_comes_back_old(sim, monkeypatch):
    """It is not taken away from who has it."""
    async with pooled(sim, monkeypatch, max_lifetime=100) as pool:
        held = await pool.acquire()
        await asyncio.sleep(200)
        assert await run(held, "SELECT 1") == ((1,),)
        await pool.release(held)

        assert held.closed
        async with pool.acquire() as anew:
            assert anew is not held


async def test_pool_recycle_is_idle_time_as_aiomysqls(sim, monkeypatch):
    """It holds for all connections, those of `minsize` too; and before the next look over the books."""
    async with pooled(sim, monkeypatch, minsize=1, pool_recycle=0.5) as pool:
        async with pool.acquire() as first:
            pass
        await asyncio.sleep(0.6)
        async with pool.acquire() as second:
            assert second is not first
        await asyncio.sleep(5)
        assert pool.size == 1
        assert set(pool.stats().closed) == {"it was idle for long"}


@pytest.mark.parametrize("recycle", [0, -1])
async def test_pool_recycle_of_zero_and_of_minus_one(sim, monkeypatch, recycle):
    """-1: never; 0: whenever it was idle at all."""
    async with pooled(sim, monkeypatch, minsize=0, pool_recycle=recycle) as pool:
        async with pool.acquire() as first:
            pass
        await asyncio.sleep(0.01)
        async with pool.acquire() as second:
            assert (second is first) is (recycle == -1)


async def test_a_connection_that_goes_from_hand_to_hand_was_not_idle(sim, monkeypatch):
    """Nor was one that was opened for who waits: neither is pinged, or closed for its idle time."""
    async with pooled(sim, monkeypatch, minsize=0, maxsize=1, check_idle_after=5, pool_recycle=8) as pool:
        await asyncio.sleep(10)
        commands = commands_at(monkeypatch)
        held = await pool.acquire()
        waiting = asyncio.create_task(pool.acquire())
        await asyncio.sleep(10)
        pool.release(held)

        assert await waiting is held
        assert PING not in of(held, commands)
        pool.release(held)


# --- broken while idle ----------------------------------------------------------------------------------------------


async def test_a_connection_that_was_hung_up_while_idle_is_not_handed_out(sim, monkeypatch):
    """It is dropped as soon as it ends; no query is needed for that."""
    async with pooled(sim, monkeypatch) as pool:
        async with pool.acquire() as connection:
            thread = connection.thread_id()
        async with pool.acquire() as connection, pool.acquire() as other:
            await run(other, f"KILL {thread}")
        await asyncio.sleep(0.1)

        assert "its server hung up" in pool.stats().closed or connection.closed
        async with pool.acquire() as anew:
            assert await run(anew, "SELECT 1") == ((1,),)
        assert_balanced(pool)


async def test_a_connection_that_was_idle_for_long_is_pinged(sim, monkeypatch):
    """Not before, and not more often."""
    async with pooled(sim, monkeypatch, check_idle_after=10) as pool:
        commands = commands_at(monkeypatch)
        async with pool.acquire() as connection:
            pass
        await asyncio.sleep(9)
        async with pool.acquire():
            pass
        assert of(connection, commands) == []
        await asyncio.sleep(11)
        async with pool.acquire() as again:
            assert again is connection
        assert of(connection, commands) == [PING]


async def test_a_half_dead_connection_is_found_by_the_ping(sim, monkeypatch):
    """Within the time in which a heartbeat's answer is late, 3 s at most; another one serves."""
    loop = asyncio.get_running_loop()
    async with pooled(sim, monkeypatch, check_idle_after=10, connect_timeout=20, heartbeat_interval=1000) as pool:
        async with pool.acquire() as connection:
            pass
        await asyncio.sleep(11)
        await sim.half_open("db-1")
        began_at = loop.time()
        async with pool.acquire() as anew:
            assert anew is not connection
        assert loop.time() - began_at <= 3.1
        assert connection.closed


async def test_a_ping_is_bounded_by_connect_timeout(sim, monkeypatch):
    """However slow the instance is as a rule, and where no heartbeat tells."""
    loop = asyncio.get_running_loop()
    async with pooled(sim, monkeypatch, check_idle_after=10, connect_timeout=0.2, follow="off") as pool:
        async with pool.acquire() as connection:
            pass
        await asyncio.sleep(11)
        await sim.half_open("db-1")
        began_at = loop.time()
        async with pool.acquire() as anew:
            assert anew is not connection
        assert loop.time() - began_at <= 0.3


async def test_a_ping_is_bounded_by_the_callers_deadline(sim, monkeypatch):
    """Who has half a second gets his answer after half a second."""
    loop = asyncio.get_running_loop()
    async with pooled(sim, monkeypatch, check_idle_after=1, heartbeat_interval=1000) as pool:
        await asyncio.sleep(2)
        await sim.hang("db-1")
        began_at = loop.time()

        with pytest.raises(errors.PoolTimeout):
            await pool.acquire(timeout=0.5)

        assert loop.time() - began_at == pytest.approx(0.5, abs=0.05)
        await sim.heal()
