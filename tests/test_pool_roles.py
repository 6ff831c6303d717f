"""Whom a pool leads to: roles, instances, fallbacks, strategies, and reading one's own writes."""

from __future__ import annotations

import asyncio
import collections

import pytest
from pymysql import err

import aioaurora
from aioaurora import errors, events
from aioaurora.errors import Role
from aioaurora.simulator import SimulatedCluster
from tests.pools import assert_balanced, pooled, quiet, run, told
from tests.virtual import following, names


@pytest.fixture
async def sim():
    """Three instances, of which db-1 is the writer."""
    async with SimulatedCluster(3, engine="memory") as started:
        yield started


async def led_to(pool, **request):
    """The instance that a request is led to."""
    async with pool.acquire(**request) as connection:
        return connection.instance


# --- roles ----------------------------------------------------------------------------------------------------------


async def test_each_role_gets_what_it_asks_for(sim, monkeypatch):
    """The default is the writer, for a cluster endpoint."""
    async with pooled(sim, monkeypatch) as pool:
        async with pool.acquire() as default, pool.acquire(role="writer") as writer:
            assert (default.role, writer.role) == (Role.WRITER, Role.WRITER)
        async with pool.acquire(role=Role.READER) as reader:
            assert reader.role is Role.READER
        assert (pool.size, pool.stats().size) == (2, 3)


async def test_the_reader_endpoint_means_readers(sim, monkeypatch):
    """Sizes are of readers then, too (DECISIONS 24)."""
    async with pooled(sim, monkeypatch, host=sim.reader_endpoint, minsize=2, maxsize=3) as pool:
        assert (pool.size, pool.maxsize) == (2, 3)
        async with pool.acquire() as connection:
            assert connection.role is Role.READER
        async with pool.acquire(role="writer") as connection:
            assert connection.role is Role.WRITER


async def test_an_instance_can_be_asked_for(sim, monkeypatch):
    """Whatever its role; one that is not known is refused at once, naming those that are."""
    async with pooled(sim, monkeypatch) as pool:
        for each in ("db-1", "db-2", "db-3", "db-2"):
            assert await led_to(pool, instance=each) == each
        assert pool.stats().opened == 3

        with pytest.raises(errors.NoReader, match="no instance 'db-9' in 'orders'; there are db-1, db-2, db-3"):
            await asyncio.wait_for(led_to(pool, instance="db-9", role="reader"), 1)
        with pytest.raises(err.OperationalError, match="no instance 'db-9' in 'orders'; there are db-1, db-2, db-3"):
            await asyncio.wait_for(led_to(pool, instance="db-9"), 1)


async def test_an_instance_that_is_not_there_costs_no_connection(sim, monkeypatch):
    """Not even an idle one where the pool is full; who asks for it is told at once."""
    async with pooled(sim, monkeypatch, minsize=1, maxsize=1) as pool:
        for role, error in (("reader", errors.NoReader), ("writer", errors.NoWriter), (None, errors.NoWriter)):
            with pytest.raises(error, match="no instance 'db-99' in 'orders'; there are db-1, db-2, db-3"):
                await asyncio.wait_for(led_to(pool, instance="db-99", role=role), 1)

        stats = pool.stats()
        assert (stats.opened, stats.failed, stats.closed, stats.refused) == (1, 0, {}, 3)
        assert_balanced(pool)


async def test_who_asks_for_an_instance_waits_for_that_one(sim, monkeypatch):
    """A connection to another is of no use to him, and serves whoever stands behind him."""
    async with pooled(sim, monkeypatch, reader_maxsize=2) as pool:
        held = {each: await pool.acquire(instance=each) for each in ("db-2", "db-3")}
        pinned = asyncio.create_task(pool.acquire(instance="db-2"))
        await quiet()
        anyone = asyncio.create_task(pool.acquire(role="reader"))
        await quiet()
        pool.release(held["db-3"])

        assert await asyncio.wait_for(anyone, 1) is held["db-3"]
        assert not pinned.done()
        pool.release(held["db-2"])
        assert await asyncio.wait_for(pinned, 1) is held["db-2"]
        for connection in held.values():
            pool.release(connection)
        assert_balanced(pool)


async def test_a_plain_server_serves_every_role(monkeypatch):
    """A cluster of one (DESIGN 6)."""
    async with SimulatedCluster(1, engine="memory") as sim, pooled(sim, monkeypatch) as pool:
        assert await led_to(pool, role="reader") == "db-1"


# --- no reader ------------------------------------------------------------------------------------------------------


async def test_the_writer_stands_in_within_its_share(monkeypatch):
    """A quarter of its connections; who needs the writer goes first (case 17)."""
    async with SimulatedCluster(1, engine="memory") as sim, pooled(sim, monkeypatch, maxsize=8) as pool:
        readers = [await pool.acquire(role="reader") for _ in range(2)]
        third = asyncio.create_task(pool.acquire(role="reader"))
        await asyncio.sleep(0.5)
        assert not third.done()

        writers = [await pool.acquire() for _ in range(6)]
        waiting = asyncio.create_task(pool.acquire())
        await quiet()
        pool.release(readers.pop())

        writers.append(await asyncio.wait_for(waiting, 1))
        assert not third.done()
        pool.release(writers.pop())
        readers.append(await asyncio.wait_for(third, 1))
        for connection in (*readers, *writers):
            pool.release(connection)
        assert_balanced(pool)
        assert pool.freesize == 8


async def test_no_fallback_is_no_reader(monkeypatch):
    """Where it was forbidden: the error says what is lacking."""
    async with (
        SimulatedCluster(1, engine="memory") as sim,
        pooled(sim, monkeypatch, reader_fallback=False) as pool,
    ):
        with pytest.raises((errors.NoReader, errors.PoolTimeout), match="reader"):
            await pool.acquire(role="reader", timeout=2)


async def test_readers_are_used_as_soon_as_there_is_one(monkeypatch):
    """Who waits for the writer's share is served by it."""
    async with (
        SimulatedCluster(1, engine="memory") as sim,
        pooled(sim, monkeypatch, maxsize=1, refresh_interval=1) as pool,
    ):
        held = await pool.acquire()
        waiting = asyncio.create_task(pool.acquire(role="reader"))
        await asyncio.sleep(0.5)
        assert not waiting.done()

        await sim.add_instance("db-2")

        connection = await asyncio.wait_for(waiting, 5)
        assert connection.instance == "db-2"
        pool.release(connection)
        pool.release(held)
        assert_balanced(pool)


async def test_a_reader_that_is_gone_is_left_out(sim, monkeypatch):
    """Its idle connections are closed; the other serves, at once."""
    async with pooled(sim, monkeypatch, reader_minsize=4) as pool:
        await asyncio.sleep(0.5)
        await sim.crash("db-2")
        await asyncio.sleep(2)

        for _ in range(8):
            assert await asyncio.wait_for(led_to(pool, role="reader"), 0.5) == "db-3"


# --- strategies -----------------------------------------------------------------------------------------------------


async def test_readers_are_used_evenly(sim, monkeypatch):
    """By two choices, of those that have fewer leases."""
    async with pooled(sim, monkeypatch, reader_maxsize=20) as pool:
        held = [await pool.acquire(role="reader") for _ in range(20)]

        counts = collections.Counter(connection.instance for connection in held)
        assert set(counts) == {"db-2", "db-3"}
        assert max(counts.values()) <= 11
        for connection in held:
            pool.release(connection)


async def test_a_function_may_choose(sim, monkeypatch):
    """It sees what is known of the readers, and gives an order or one of them."""
    seen = []

    def last(candidates, chance):
        seen.append((tuple(each.id for each in candidates), 0 <= chance <= 1))
        return candidates[-1]

    async with pooled(sim, monkeypatch, reader_strategy=last) as pool:
        assert {await led_to(pool, role="reader") for _ in range(5)} == {"db-3"}
        assert set(seen) == {(("db-2", "db-3"), True)}


async def test_a_function_that_raises_is_told_and_replaced(sim, monkeypatch):
    """By two choices; nobody's request fails."""
    log = []

    def broken(candidates, chance):
        raise KeyError(f"{len(candidates)} at {chance >= 0}")

    async with pooled(sim, monkeypatch, reader_strategy=broken, listeners=[log.append]) as pool:
        assert await led_to(pool, role="reader") in {"db-2", "db-3"}

    failed = told(events.PoolFailed, log)
    assert failed
    assert failed[0].error == "reader_strategy: KeyError: '2 at True'"


@pytest.mark.parametrize("name", ["two_choices", "nearest", "round_robin", "random", "least_leased", "weighted"])
async def test_each_strategy_serves(sim, monkeypatch, name):
    """By its name."""
    async with pooled(sim, monkeypatch, reader_strategy=name, reader_weights={"db-2": 2}) as pool:
        held = [await pool.acquire(role="reader") for _ in range(4)]

        for connection in held:
            assert connection.role is Role.READER
            pool.release(connection)
        assert_balanced(pool)


async def test_a_reader_that_cannot_be_reached_does_not_keep_a_pool_from_starting(sim, monkeypatch):
    """`nearest` connects to each once, to see how far it is: that is no reason to fail."""
    await sim.refuse("db-3")

    async with pooled(sim, monkeypatch, reader_strategy="nearest", reader_minsize=2) as pool:
        assert await led_to(pool) == "db-1"
        assert await led_to(pool, role="reader") == "db-2"


async def test_a_reader_beyond_max_lag_gets_nothing(sim, monkeypatch):
    """Its connections stay for when it has caught up."""
    async with pooled(sim, monkeypatch, max_lag=1.0, refresh_interval=0.5, reader_minsize=4) as pool:
        await sim.report_lag(5000, "db-2")
        await asyncio.sleep(1.5)
        assert {await led_to(pool, role="reader") for _ in range(20)} == {"db-3"}

        await sim.report_lag(10, "db-2")
        await asyncio.sleep(1.5)
        held = [await pool.acquire(role="reader") for _ in range(10)]
        assert {connection.instance for connection in held} == {"db-2", "db-3"}
        for connection in held:
            pool.release(connection)


# --- one's own writes -----------------------------------------------------------------------------------------------


async def test_who_has_written_reads_from_the_writer(sim, monkeypatch):
    """Until the readers' lag and a second have passed."""
    async with pooled(sim, monkeypatch) as pool:
        await sim.execute("CREATE TABLE t (n INT)")
        with pool.sticky():
            assert await led_to(pool, role="reader") != "db-1"
            await pool.execute("INSERT INTO t VALUES (1)")
            assert await led_to(pool, role="reader") == "db-1"
            await asyncio.sleep(1.2)
            assert await led_to(pool, role="reader") != "db-1"


async def test_a_block_within_a_block_is_the_same_block(sim, monkeypatch):
    """Both ways: middleware and a service may both ask for it."""
    async with pooled(sim, monkeypatch) as pool:
        await sim.execute("CREATE TABLE t (n INT)")
        with pool.sticky():
            with pool.sticky():
                await pool.execute("INSERT INTO t VALUES (1)")
            assert await led_to(pool, role="reader") == "db-1"
            with pool.sticky():
                assert await led_to(pool, role="reader") == "db-1"


async def test_tasks_within_share_what_was_written(sim, monkeypatch):
    """Both ways; others are not concerned, and another pool is not either."""
    async with following(sim, monkeypatch) as cluster:
        await sim.execute("CREATE TABLE t (n INT)")
        async with aioaurora.create_pool(cluster=cluster) as pool, aioaurora.create_pool(cluster=cluster) as other:
            outside = asyncio.create_task(_after_half_a_second(pool))
            with pool.sticky(), other.sticky():
                await asyncio.create_task(pool.execute("INSERT INTO t VALUES (1)"))

                assert await led_to(pool, role="reader") == "db-1"
                assert await asyncio.create_task(led_to(pool, role="reader")) == "db-1"
                assert await led_to(other, role="reader") != "db-1"
                assert await outside != "db-1"
            assert await led_to(pool, role="reader") != "db-1"


async def _after_half_a_second(pool):
    await asyncio.sleep(0.5)
    return await led_to(pool, role="reader")


@pytest.mark.parametrize("statement", ["SELECT 1", "UPDATE t SET n = 2"])
async def test_only_what_writes_makes_it_stick(sim, monkeypatch, statement):
    """A SELECT on the writer does not."""
    async with pooled(sim, monkeypatch) as pool:
        await sim.execute("CREATE TABLE t (n INT)")
        with pool.sticky():
            async with pool.acquire() as connection:
                await run(connection, statement)
                await connection.commit()

            assert (await led_to(pool, role="reader") == "db-1") is statement.startswith("UPDATE")


# --- refused --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"maxsiez": 5}, "'maxsiez' is no option: did you mean 'maxsize'?"),
        ({"reader_strategy": "nearst"}, "did you mean 'nearest'"),
        ({"minsize": 5, "maxsize": 3}, "minsize=5 is more than maxsize=3"),
        ({"reader_minsize": 5, "reader_maxsize": 3}, "reader_minsize=5 is more than reader_maxsize=3"),
        ({"maxsize": -1}, "maxsize=-1 must be a whole number from 0"),
        ({"maxsize": True}, "maxsize= is a bool"),
        ({"fallback_share": 0}, "fallback_share='0' must be a number above 0"),
        ({"pool_recycle": -2}, "pool_recycle"),
        ({"reset": "sometimes"}, "reset='sometimes'"),
        ({"on_connect": 5}, "on_connect= is a int: write a coroutine function"),
        ({"on_release": lambda connection: connection}, "write `async def`"),
        ({"reader_weights": {"db-2": -1}}, "reader_weights"),
        ({"max_lag": -1}, "max_lag"),
        ({"callback_timeout": 0}, "callback_timeout"),
        ({"minsize": 11}, "minsize=11 is more than maxsize=10"),
        ({"echo_pool": True}, "'echo_pool' is no option"),
        ({"reader_minsize": 11}, "reader_minsize=11 is more than reader_maxsize=10"),
    ],
)
async def test_what_cannot_work_is_refused_at_once(sim, monkeypatch, options, sentence):
    """Before anything is awaited, saying what to write instead."""
    names(sim, monkeypatch)

    with pytest.raises(errors.ConfigurationError) as refused:
        aioaurora.create_pool(**sim.connect_options(), **options)

    assert sentence in str(refused.value)
