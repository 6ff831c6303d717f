"""A pool as code that was written for aiomysql's uses it: its names, their order, and what they refuse."""

from __future__ import annotations

import asyncio

import pytest
from pymysql import err

import aioaurora
from aioaurora import errors
from aioaurora.simulator import SimulatedCluster
from tests.pools import assert_balanced, connections_at, pooled, quiet, run
from tests.virtual import following, names


@pytest.fixture
async def sim():
    """Three instances, of which db-1 is the writer."""
    async with SimulatedCluster(3, engine="memory") as started:
        yield started


# --- made -----------------------------------------------------------------------------------------------------------


async def test_a_pool_can_be_awaited(sim, monkeypatch):
    """As aiomysql's: then it is closed by hand."""
    pool = await pooled(sim, monkeypatch)

    assert (pool.minsize, pool.maxsize, pool.size, pool.freesize) == (1, 10, 1, 1)
    pool.close()
    await pool.wait_closed()
    assert pool.closed


async def test_a_pool_can_be_entered(sim, monkeypatch):
    """It is closed at the end of the block, and nothing is left at the server."""
    async with pooled(sim, monkeypatch, minsize=3) as pool:
        assert pool.size == 3

    await quiet()
    assert pool.closed
    assert pool.size == 0
    assert connections_at(sim) == 0


async def test_an_executemany_of_a_lease(sim, monkeypatch):
    """Its statement is built as a bytearray, by aiomysql."""
    await sim.execute("CREATE TABLE t (a INT PRIMARY KEY)")
    async with pooled(sim, monkeypatch, autocommit=True) as pool:
        async with pool.acquire() as connection, connection.cursor() as cursor:
            assert await cursor.executemany("INSERT INTO t VALUES (%s)", [(1,), (2,)]) == 2

        assert await pool.fetch_all("SELECT a FROM t ORDER BY a") == [(1,), (2,)]


async def test_a_pool_to_come_can_be_a_task(sim, monkeypatch):
    """It is a coroutine."""
    pool = await asyncio.create_task(pooled(sim, monkeypatch))

    assert pool.size == 1
    await pool.close()


async def test_positional_sizes_are_aiomysqls(sim, monkeypatch):
    """`create_pool(2, 5, host=...)`."""
    names(sim, monkeypatch)

    async with aioaurora.create_pool(2, 5, **sim.connect_options()) as pool:
        assert (pool.minsize, pool.maxsize, pool.size) == (2, 5, 2)


async def test_a_maxsize_of_zero_is_no_limit(sim, monkeypatch):
    """As aiomysql has it: `maxsize` is None then."""
    async with pooled(sim, monkeypatch, maxsize=0, max_connecting=100) as pool:
        held = [await pool.acquire() for _ in range(50)]

        assert pool.maxsize is None
        assert pool.size == 50
        for connection in held:
            pool.release(connection)
        assert pool.freesize == 50


async def test_a_url_says_the_pools_options_too(sim, monkeypatch):
    """`?maxsize=20&reader_strategy=nearest`."""
    names(sim, monkeypatch)
    options = sim.connect_options()
    options.pop("host"), options.pop("port")
    url = f"mysql://{sim.endpoint}:{sim.port}/?maxsize=20&reader_strategy=nearest&max_lag=2.5&wait_ready=false"

    async with aioaurora.create_pool(url, **options) as pool:
        assert pool.maxsize == 20
        assert (pool._config.reader_strategy, pool._config.max_lag) == ("nearest", 2.5)
        assert pool._config.wait_ready is False


# --- leased ---------------------------------------------------------------------------------------------------------


async def test_acquire_is_a_context_manager(sim, monkeypatch):
    """The same connection serves the next one."""
    async with pooled(sim, monkeypatch) as pool:
        async with pool.acquire() as connection:
            assert await run(connection, "SELECT 1") == ((1,),)
            assert (pool.size, pool.freesize) == (1, 0)
        async with pool.acquire() as again:
            assert again is connection

        assert pool.freesize == 1


async def test_acquire_can_be_awaited_and_be_a_task(sim, monkeypatch):
    """Each gives a connection of its own, to be released by hand."""
    async with pooled(sim, monkeypatch) as pool:
        first = await pool.acquire()
        second = await asyncio.create_task(pool.acquire())

        assert first is not second
        pool.release(first)
        await pool.release(second)
        assert (pool.size, pool.freesize) == (2, 2)
        assert_balanced(pool)


async def test_release_is_done_before_it_is_awaited(sim, monkeypatch):
    """An untouched connection is free at once."""
    async with pooled(sim, monkeypatch) as pool:
        connection = await pool.acquire()
        ending = pool.release(connection)

        assert pool.freesize == 1
        await ending


async def test_awaiting_release_waits_until_the_connection_is_clean(sim, monkeypatch):
    """A transaction is rolled back by then."""
    async with pooled(sim, monkeypatch) as pool:
        connection = await pool.acquire()
        await connection.begin()
        await run(connection, "SELECT 1")

        await pool.release(connection)

        assert not connection.is_in_transaction
        assert pool.freesize == 1


async def test_an_error_in_the_block_gives_the_connection_back(sim, monkeypatch):
    """And passes through."""
    async with pooled(sim, monkeypatch) as pool:
        with pytest.raises(err.ProgrammingError):
            async with pool.acquire() as connection:
                await run(connection, "NO SQL")

        await quiet()
        assert pool.freesize == pool.size == 1


@pytest.mark.parametrize("statement", ["SELECT 1", "SET @a = 1"])
async def test_a_connection_that_was_given_back_is_refused(sim, monkeypatch, statement):
    """Also while it is still being made clean."""
    async with pooled(sim, monkeypatch) as pool:
        connection = await pool.acquire()
        await run(connection, statement)
        pool.release(connection)

        with pytest.raises(err.InterfaceError, match="given back before"):
            pool.release(connection)

        await quiet()
        assert pool.freesize == pool.size == 1
        assert pool.stats().closed == {}


async def test_a_connection_of_somebody_else_is_refused(sim, monkeypatch):
    """Of another pool, or of none."""
    async with following(sim, monkeypatch) as cluster:
        async with (
            aioaurora.create_pool(cluster=cluster) as pool,
            aioaurora.create_pool(cluster=cluster) as other,
            cluster.connect() as lone,
            other.acquire() as foreign,
        ):
            for connection in (lone, foreign):
                with pytest.raises(err.InterfaceError, match="no connection of <Pool"):
                    pool.release(connection)

        assert_balanced(pool)


@pytest.mark.parametrize("statement", ["SELECT 1", "SET @a = 1"])
async def test_a_connection_may_be_given_back_within_its_block(sim, monkeypatch, statement):
    """The end of the block does not give it back again."""
    async with pooled(sim, monkeypatch) as pool:
        async with pool.acquire() as connection:
            await run(connection, statement)
            pool.release(connection)

        await quiet()
        assert pool.freesize == pool.size == 1
        assert pool.stats().closed == {}


async def test_the_end_of_a_block_leaves_the_next_ones_lease_alone(sim, monkeypatch):
    """It was given back within the block, and somebody else has it by then."""
    async with pooled(sim, monkeypatch, maxsize=1) as pool:
        async with pool.acquire() as connection:
            pool.release(connection)
            next_one = await pool.acquire()
            assert next_one is connection

        assert pool.freesize == 0
        assert await run(next_one, "SELECT 1") == ((1,),)
        pool.release(next_one)


async def test_a_connection_that_was_given_back_cannot_be_used(sim, monkeypatch):
    """Not a byte of it reaches the session that somebody else may have."""
    async with pooled(sim, monkeypatch) as pool:
        async with pool.acquire() as connection:
            cursor = await connection.cursor()

        for use in (cursor.execute("SELECT 1"), connection.commit(), connection.begin(), connection.ping()):
            with pytest.raises(errors.ConnectionBusy, match="given back to its pool"):
                await use


async def test_a_connection_that_was_closed_within_its_block_is_replaced(sim, monkeypatch):
    """As aiomysql has it; who waits gets the new one."""
    async with pooled(sim, monkeypatch, maxsize=1) as pool:
        async with pool.acquire() as connection:
            waiting = asyncio.create_task(pool.acquire())
            await quiet()
            connection.close()
        anew = await asyncio.wait_for(waiting, 1)

        assert anew is not connection
        pool.release(anew)
        assert_balanced(pool)


@pytest.mark.parametrize("role", ["Writer", "reader", "WRITER"])
async def test_a_role_may_be_written_in_any_case_or_is_refused(sim, monkeypatch, role):
    """As `connect` has it."""
    async with pooled(sim, monkeypatch) as pool:
        if role == "reader":
            async with pool.acquire(role=role) as connection:
                assert connection.role == "reader"
            return
        with pytest.raises(errors.ConfigurationError, match='write "writer" or "reader"'):
            await pool.acquire(role=role)


# --- cleared and closed ---------------------------------------------------------------------------------------------


async def test_clear_closes_what_is_idle(sim, monkeypatch):
    """What is leased stays, and `minsize` is filled again."""
    async with pooled(sim, monkeypatch, minsize=2) as pool:
        held = await pool.acquire()
        idle = {slot.connection for slot in pool._books.idle_slots}

        await pool.clear()

        assert all(connection.closed for connection in idle)
        assert await run(held, "SELECT 1") == ((1,),)
        pool.release(held)
        await asyncio.sleep(0.1)
        assert pool.size == 2
        assert pool.stats().closed == {"the pool was cleared": 1}


async def test_waiting_for_the_end_of_an_open_pool_is_an_error(sim, monkeypatch):
    """A RuntimeError, as aiomysql's."""
    async with pooled(sim, monkeypatch) as pool:
        with pytest.raises(RuntimeError, match=r"call close\(\) or terminate\(\) first"):
            await pool.wait_closed()


async def test_a_closed_pool_refuses(sim, monkeypatch):
    """A RuntimeError, as aiomysql's; who entered it and who awaits it alike."""
    pool = await pooled(sim, monkeypatch)
    await pool.close()

    for request in (pool.acquire(), pool.acquire(role="reader"), pool.acquire(instance="db-1")):
        with pytest.raises(RuntimeError, match="closed"):
            await request


async def test_close_waits_for_what_is_leased(sim, monkeypatch):
    """Which can be used until it comes back."""
    pool = await pooled(sim, monkeypatch, minsize=2)
    held = await pool.acquire()
    pool.close()
    closing = asyncio.create_task(pool.wait_closed())
    await asyncio.sleep(1)

    assert not closing.done()
    assert await run(held, "SELECT 1") == ((1,),)
    pool.release(held)
    await closing
    assert held.closed
    assert pool.stats().closed == {"the pool closes": 2}


async def test_terminate_cuts_what_is_leased(sim, monkeypatch):
    """Whatever waits for an answer is told at once."""
    pool = await pooled(sim, monkeypatch)
    held = await pool.acquire()
    waiting = asyncio.create_task(run(held, "SELECT SLEEP(60)"))
    await asyncio.sleep(0.1)
    pool.terminate()

    with pytest.raises(errors.ConnectionLost):
        await asyncio.wait_for(waiting, 1)
    pool.release(held)
    await pool.wait_closed()
    assert pool.size == 0


async def test_aiomysqls_other_positional_arguments_are_taken(sim, monkeypatch):
    """`echo`, `pool_recycle` and `loop` follow the sizes; a sixth is refused."""
    names(sim, monkeypatch)

    async with aioaurora.create_pool(1, 2, False, 30, None, **sim.connect_options()) as pool:
        assert (pool.minsize, pool.maxsize, pool.echo) == (1, 2, False)
    with pytest.raises(errors.ConfigurationError, match="positional"):
        aioaurora.create_pool(1, 2, False, 30, None, "db-1", **sim.connect_options())
    with pytest.raises(errors.ConfigurationError, match="positional"):
        aioaurora.create_pool(1, 2, maxsize=3, **sim.connect_options())


async def test_a_pool_that_was_awaited_can_be_entered(sim, monkeypatch):
    """As aiomysql's: the end of the block closes it."""
    pool = await pooled(sim, monkeypatch)

    async with pool as entered:
        assert entered is pool

    assert pool.closed
    assert pool.size == 0


@pytest.mark.parametrize("thing", [None, "mysql://app:not-to-be-seen@db", object()])
async def test_what_is_no_connection_is_not_taken_back(sim, monkeypatch, thing):
    """The error says what was given, and repeats nothing of it."""
    async with pooled(sim, monkeypatch) as pool:
        with pytest.raises(err.InterfaceError, match=f"a {type(thing).__name__} was released") as refused:
            pool.release(thing)

        assert "not-to-be-seen" not in str(refused.value)


async def test_what_release_gives_can_be_awaited_again(sim, monkeypatch):
    """And be a task, once it has been awaited."""
    async with pooled(sim, monkeypatch) as pool:
        ending = pool.release(await pool.acquire())

        await ending
        await ending
        await asyncio.create_task(pool.release(await pool.acquire()))

        assert pool.freesize == 1


async def test_a_connection_that_died_while_leased_is_not_put_by(sim, monkeypatch):
    """Nobody had used it since, so nobody was told; its end is noticed once only."""
    async with pooled(sim, monkeypatch) as pool:
        async with pool.acquire() as connection:
            async with pool.acquire() as other:
                await run(other, f"KILL {connection.thread_id()}")
            await asyncio.sleep(0.1)
        await quiet()

        assert not any(slot.connection is connection for slot in pool._books.slots)
