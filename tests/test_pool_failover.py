"""A pool while the writer changes: nothing stale is lent, nobody loses his place, nothing is dialled in vain."""

from __future__ import annotations

import asyncio

import pytest
from pymysql import err

from aioaurora import errors, events
from aioaurora.errors import Role
from aioaurora.simulator import SimulatedCluster
from tests.pools import assert_balanced, pooled, quiet, run, told
from tests.virtual import until


@pytest.fixture
async def sim():
    """Three instances, of which db-1 is the writer."""
    async with SimulatedCluster(3, engine="memory") as started:
        yield started


@pytest.mark.loops
@pytest.mark.parametrize("mode", ["graceful", "crash"])
async def test_who_waits_is_served_by_the_new_writer(sim, monkeypatch, mode):
    """On either loop, and nothing of the old one is left."""
    async with pooled(sim, monkeypatch, minsize=4, maxsize=4) as pool:
        await sim.failover(mode, promote_after=0.5, target_down_for=0.2)
        connections = await asyncio.gather(*(pool.acquire() for _ in range(4)))

        assert {connection.instance for connection in connections} == {sim.writer.id}
        assert {await _role(connection) for connection in connections} == {0}
        for connection in connections:
            pool.release(connection)
        assert_balanced(pool)


async def _role(connection):
    return (await run(connection, "SELECT @@innodb_read_only"))[0][0]


@pytest.mark.parametrize("down_for", [0.3, 2.0])
async def test_a_restart_without_a_word_ends_what_waits(sim, monkeypatch, down_for):
    """Case 12: the instance stays the writer, and whoever waits on a connection of before would wait for ever."""
    async with pooled(sim, monkeypatch, minsize=4, maxsize=4, autocommit=True) as pool:
        await pool.execute("CREATE TABLE t (a INT PRIMARY KEY)")
        await sim.hang_statement("INSERT")
        waiting = asyncio.create_task(pool.execute("INSERT INTO t VALUES (1)"))
        await asyncio.sleep(0.1)
        idle = [slot.connection for slot in pool._books.idle_slots]

        await sim.restart("db-1", mode="blackhole", down_for=down_for)

        with pytest.raises(errors.OutcomeUnknown, match="db-1 has restarted"):
            await asyncio.wait_for(waiting, 2)
        assert all(connection.closed for connection in idle)
        assert (pool.topology.writer_id, pool.topology.epoch) == ("db-1", 1)
        assert await pool.execute("INSERT INTO t VALUES (2)") == 1
        assert_balanced(pool)


async def test_a_restart_is_noticed_though_others_were_quicker_to_come_back(sim, monkeypatch):
    """Whoever waits has the first number; the heartbeat's is the second, and so is that of its next connection."""
    async with pooled(sim, monkeypatch, minsize=0) as pool, pool.acquire(role="reader") as reader:
        home = sim.instances[reader.instance]
        await until(lambda: len(home.connection_ids) == 2)
        waiting = asyncio.create_task(run(reader, "SELECT SLEEP(100000)"))
        await asyncio.sleep(0.1)
        assert home.connection_ids == (reader.thread_id(), 2) == (1, 2)

        rise = home.rise
        monkeypatch.setattr(home, "rise", lambda role: (rise(role), setattr(home, "_next_id", 2)))
        await sim.restart(home.id, mode="blackhole", down_for=2.0)

        with pytest.raises(errors.ConnectionLost, match="has restarted"):
            await asyncio.wait_for(waiting, 5)


async def test_connections_that_are_opened_beside_each_other_are_no_restart(sim, monkeypatch):
    """Their numbers come in any order, and none of them is lost for it."""
    async with pooled(sim, monkeypatch, minsize=1, maxsize=20) as pool:
        for _ in range(5):
            connections = await asyncio.gather(*(pool.acquire() for _ in range(20)))
            await asyncio.gather(*(run(connection, "SELECT 1") for connection in connections))
            for connection in connections:
                pool.release(connection)
            await pool.clear()

        assert pool.stats().failed == 0


async def test_idle_connections_of_the_old_writer_are_closed_at_once(sim, monkeypatch):
    """The simulator's fenced writer would keep them."""
    async with pooled(sim, monkeypatch, minsize=4, reader_minsize=2, refresh_interval=1) as pool:
        idle = [slot.connection for slot in pool._books.idle_slots if slot.instance == "db-1"]
        await sim.two_writers(to="db-2", promote_after=0.1)
        await until(lambda: pool.topology.writer_id == "db-2")

        assert all(connection.closed for connection in idle)
        async with pool.acquire() as connection:
            assert connection.instance == "db-2"


async def test_a_leased_connection_of_the_old_writer_is_closed_when_it_comes_back(sim, monkeypatch):
    """It is not handed on, though it can be used still."""
    async with pooled(sim, monkeypatch, maxsize=1, reader_minsize=1, reader_maxsize=2, refresh_interval=1) as pool:
        held = await pool.acquire()
        await sim.two_writers(to="db-2", promote_after=0.1)
        await until(lambda: pool.topology.writer_id == "db-2")
        waiting = asyncio.create_task(pool.acquire())
        await quiet()
        pool.release(held)

        connection = await asyncio.wait_for(waiting, 2)
        assert held.closed
        assert connection.instance == "db-2"
        pool.release(connection)


async def test_who_waits_keeps_his_place_through_a_failover(sim, monkeypatch):
    """First come, first served."""
    served = []

    async def asks(pool, number):
        async with pool.acquire():
            served.append(number)
            await asyncio.sleep(0.01)

    async with pooled(sim, monkeypatch, maxsize=2) as pool:
        held = [await pool.acquire() for _ in range(2)]
        tasks = []
        for number in range(10):
            tasks.append(asyncio.create_task(asks(pool, number)))
            await quiet(2)
        failing = asyncio.create_task(sim.failover("crash", promote_after=1.0, target_down_for=0.5))
        await asyncio.sleep(0.5)
        for connection in held:
            pool.release(connection)
        await asyncio.gather(failing, *tasks)

        assert served == list(range(10))
        assert_balanced(pool)


async def test_nothing_is_dialled_while_the_writer_is_sought(sim, monkeypatch):
    """The search does that, at its own pace; who asks meanwhile adds nothing to it."""
    async with pooled(sim, monkeypatch, minsize=0) as pool:
        await sim.crash("db-1")
        await asyncio.sleep(1.0)
        waiting = [asyncio.create_task(pool.acquire()) for _ in range(20)]
        await asyncio.sleep(1.0)

        stats = pool.stats()
        assert (stats.opening, stats.waiting, stats.failed) == (0, 20, 0)
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        assert pool.stats().waiting == 0


@pytest.mark.parametrize("request_for", [{}, {"instance": "db-1"}])
async def test_nothing_is_handed_out_of_a_writer_that_came_under_suspicion_in_on_acquire(sim, monkeypatch, request_for):
    """The session is good: it is given back, clean, and handed out when the suspicion has passed."""
    acquired = []

    async def on_acquire(connection):
        acquired.append(await run(connection, "SELECT @user"))
        await run(connection, "SET @user = 'ann'")
        if len(acquired) == 1:
            await sim.hang("db-1")
            await until(lambda: pool._books.sight.is_sought, 20)

    async with pooled(sim, monkeypatch, on_acquire=on_acquire, callback_timeout=30) as pool:
        await asyncio.sleep(2)
        waiting = asyncio.create_task(pool.acquire(**request_for))
        await until(lambda: pool._books.sight.is_sought, 20)
        await asyncio.sleep(0.3)
        assert not waiting.done()

        await sim.heal()
        connection = await asyncio.wait_for(waiting, 5)
        assert not pool._books.sight.is_sought
        assert acquired == [((None,),), ((None,),)]
        assert pool.stats().opened == 1
        await pool.release(connection)
        assert_balanced(pool)


async def test_readers_are_served_while_the_writer_is_sought(sim, monkeypatch):
    """They have nothing to do with it."""
    async with pooled(sim, monkeypatch) as pool:
        await sim.crash("db-1")
        await asyncio.sleep(1.0)

        async with asyncio.timeout(0.5), pool.acquire(role="reader") as connection:
            assert connection.role is Role.READER


async def test_late_comers_give_up_and_those_who_wait_do_not(sim, monkeypatch):
    """`give_up_waiting_after` is for new requests (DECISIONS 3)."""
    async with pooled(sim, monkeypatch, give_up_waiting_after=1.0) as pool:
        failing = asyncio.create_task(sim.failover("crash", promote_after=3.0, target_down_for=0.5))
        await asyncio.sleep(0.2)
        waiting = asyncio.create_task(pool.acquire())
        await asyncio.sleep(1.5)

        with pytest.raises(errors.WriterUnavailable) as refused:
            await pool.acquire()

        assert 0.2 <= refused.value.retry_after_s <= 0.4
        assert pool.stats().refused == 1
        await failing
        pool.release(await asyncio.wait_for(waiting, 1))


async def test_a_reader_only_cluster_has_no_writer_and_says_so_at_once(monkeypatch):
    """A global database's secondary (case 58): readers are served."""
    async with (
        SimulatedCluster(2, engine="memory", reader_only=True) as sim,
        pooled(sim, monkeypatch, host=sim.reader_endpoint, minsize=0) as pool,
    ):
        async with pool.acquire(role="reader") as connection:
            assert connection.role is Role.READER
        await asyncio.sleep(1)
        with pytest.raises(errors.NoWriter, match="reader-only"):
            await asyncio.wait_for(pool.acquire(role="writer"), 0.5)


async def test_a_thousand_who_wait_are_a_ramp_and_no_storm(sim, monkeypatch):
    """At most `max_connecting` log-ins at a time."""
    async with pooled(sim, monkeypatch, minsize=0, maxsize=50, max_connecting=4) as pool:
        failing = asyncio.create_task(sim.failover("crash", to="db-2", promote_after=1.0, target_down_for=0.5))
        await asyncio.sleep(0.1)

        async def asks():
            async with pool.acquire() as connection:
                await asyncio.sleep(0.01)
                return connection.instance

        instances = await asyncio.gather(*(asks() for _ in range(1000)))

        await failing
        assert set(instances) == {"db-2"}
        assert sim.instances["db-2"].peak_handshakes <= 6  # The heartbeat's own, and a probe's.
        assert_balanced(pool)


async def test_a_demoted_writer_is_told_and_replaced(sim, monkeypatch):
    """Its lease ends with WriterDemoted; the next one leads to the new writer (case 11)."""
    async with pooled(sim, monkeypatch, autocommit=True) as pool:
        await sim.execute("CREATE TABLE t (n INT)")
        async with pool.acquire() as connection:
            await sim.failover("graceful", promote_after=0.5, target_down_for=0.1)
            with pytest.raises((errors.WriterDemoted, errors.ConnectionLost)):
                await run(connection, "INSERT INTO t VALUES (1)")

        async with pool.acquire() as connection:
            await run(connection, "INSERT INTO t VALUES (1)")
        assert_balanced(pool)


# --- limits of the server -------------------------------------------------------------------------------------------


async def test_too_many_connections_shrink_a_pool_that_holds_some(sim, monkeypatch):
    """Its callers wait for what it has."""
    log = []
    async with pooled(sim, monkeypatch, maxsize=10, listeners=[log.append]) as pool:
        held = [await pool.acquire() for _ in range(3)]
        await sim.limit_connections(4, "db-1")

        async def asks():
            async with pool.acquire():
                await asyncio.sleep(0.01)

        asking = [asyncio.create_task(asks()) for _ in range(20)]
        await asyncio.sleep(0.5)
        for connection in held:
            pool.release(connection)
        await asyncio.wait_for(asyncio.gather(*asking), 1)

        await asyncio.sleep(5)
        assert pool.size == 3
        assert told(events.FailoverStarted, log) == []
        assert_balanced(pool)


async def test_too_many_connections_fail_nobody_who_can_wait(sim, monkeypatch):
    """Also while all that the pool has is leased."""
    async with pooled(sim, monkeypatch, maxsize=10) as pool:
        held = await pool.acquire()
        await sim.limit_connections(2, "db-1")
        waiting = asyncio.create_task(pool.acquire())
        await asyncio.sleep(10)

        assert not waiting.done()
        pool.release(held)
        pool.release(await asyncio.wait_for(waiting, 0.1))


async def test_who_wants_one_instance_is_served_as_soon_as_its_pause_is_over(sim, monkeypatch):
    """Not only when the books are looked over, once in a second."""
    loop = asyncio.get_running_loop()
    async with pooled(sim, monkeypatch) as pool:
        held = await pool.acquire(instance="db-2")
        await sim.limit_connections(1, "db-2")
        began_at = loop.time()
        waiting = asyncio.create_task(pool.acquire(instance="db-2"))
        await asyncio.sleep(0.05)
        await sim.heal()
        pool.release(await waiting)

        assert pool.stats().failed == 1
        assert loop.time() - began_at < 0.15
        pool.release(held)


async def test_a_timer_that_fires_early_ends_a_pause_all_the_same(sim, monkeypatch):
    """As uvloop's do, which count whole milliseconds."""
    loop = asyncio.get_running_loop()
    call_at = loop.call_at
    monkeypatch.setattr(loop, "call_at", lambda when, *call, **how: call_at(when - 0.0004, *call, **how))
    async with pooled(sim, monkeypatch, minsize=0) as pool:
        await sim.limit_connections(1, "db-1")
        began_at = loop.time()
        waiting = asyncio.create_task(pool.acquire())
        await asyncio.sleep(0.05)
        await sim.heal()
        pool.release(await waiting)

        assert pool.stats().failed == 1
        assert loop.time() - began_at < 0.15


async def test_a_timer_that_fires_early_begins_no_storm(sim, monkeypatch):
    """What fails in the moment before the pause was to end is paused for as well."""
    loop = asyncio.get_running_loop()
    call_at = loop.call_at
    early = {"_go_on": 0.0004}  # Those of whoever waits would go off for ever here, as they look at the clock.
    monkeypatch.setattr(
        loop,
        "call_at",
        lambda when, call, *given, **how: call_at(when - early.get(call.__name__, 0), call, *given, **how),
    )

    def is_told(_event):
        if pool.stats().failed > 50:
            pool.terminate()

    async with pooled(sim, monkeypatch, minsize=0, listeners=[is_told]) as pool:
        await sim.limit_connections(1, "db-1")

        with pytest.raises(errors.PoolTimeout):
            await pool.acquire(timeout=5)

        assert 4 <= pool.stats().failed <= 8


async def test_a_connect_that_fails_for_good_is_told(sim, monkeypatch):
    """To those who would wait for nothing else."""
    log = []
    async with pooled(sim, monkeypatch, minsize=0, listeners=[log.append]) as pool:
        await sim.deny_logins(1000)

        with pytest.raises(err.OperationalError, match="1045"):
            await asyncio.wait_for(pool.acquire(), 1)

    (failed,) = told(events.PoolConnectFailed, log)
    assert (failed.role, failed.is_final, "1045" in failed.error or "Access denied" in failed.error) == (
        "writer",
        True,
        True,
    )
    assert pool.stats().failed == 1


async def test_a_connect_that_fails_for_good_spares_who_can_be_served(sim, monkeypatch):
    """By a connection that is leased now."""
    async with pooled(sim, monkeypatch) as pool:
        held = await pool.acquire()
        await sim.deny_logins(1000)
        waiting = asyncio.create_task(pool.acquire())
        await asyncio.sleep(3)

        assert not waiting.done()
        pool.release(held)
        pool.release(await asyncio.wait_for(waiting, 0.1))
