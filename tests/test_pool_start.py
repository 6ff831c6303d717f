"""How a pool begins: ready or at once, with a cluster that is there, down, or of another opinion about the password."""

from __future__ import annotations

import asyncio
import re

import pytest
from pymysql import err

import aioaurora
from aioaurora import errors
from aioaurora.simulator import SimulatedCluster
from aioaurora.simulator.facts import Facts
from tests.pools import assert_balanced, pooled
from tests.virtual import following


@pytest.fixture
async def sim():
    """Three instances, of which db-1 is the writer."""
    async with SimulatedCluster(3, engine="memory") as started:
        yield started


async def test_a_pool_that_waits_is_ready_when_it_is_there(sim, monkeypatch):
    """`minsize` connections are open."""
    await sim.slow_logins(0.3)
    async with pooled(sim, monkeypatch, minsize=5) as pool:
        assert (pool.size, pool.freesize) == (5, 5)


async def test_a_pool_that_does_not_wait_is_there_at_once(sim, monkeypatch):
    """And fills itself."""
    loop = asyncio.get_running_loop()
    await sim.slow_logins(0.3)
    began_at = loop.time()
    async with pooled(sim, monkeypatch, minsize=5, wait_ready=False) as pool:
        assert loop.time() == began_at
        await asyncio.sleep(2)
        assert pool.freesize == 5


async def test_a_reader_that_is_down_does_not_keep_a_pool_from_its_start(sim, monkeypatch):
    """The next one serves."""
    await sim.crash("db-3")

    def prefers_the_dead(candidates, _chance):
        return sorted(candidates, key=lambda each: each.id, reverse=True)

    pool = pooled(sim, monkeypatch, role="reader", reader_strategy=prefers_the_dead)
    async with pool as ready, ready.acquire() as connection:
        assert connection.instance == "db-2"
    await sim.heal()


@pytest.mark.parametrize("wait_ready", [True, False])
async def test_a_cluster_that_is_down_is_an_error_within_connect_timeout(sim, monkeypatch, wait_ready):
    """At the start, or at the first request."""
    loop = asyncio.get_running_loop()
    for each in sim.instances:
        await sim.hang(each)
    began_at = loop.time()

    with pytest.raises((errors.ConnectTimeout, errors.PoolTimeout)) as failed:
        async with pooled(sim, monkeypatch, connect_timeout=2.0, wait_ready=wait_ready) as pool:
            await pool.acquire()

    assert loop.time() - began_at <= 2.1
    assert re.search("orders", str(failed.value))
    await sim.heal()


@pytest.mark.parametrize("wait_ready", [True, False])
async def test_a_wrong_password_is_an_error_at_once(sim, monkeypatch, wait_ready):
    """It gets no better by waiting (case 60)."""
    loop = asyncio.get_running_loop()
    began_at = loop.time()

    with pytest.raises(err.OperationalError) as failed:
        async with pooled(sim, monkeypatch, password="wrong", wait_ready=wait_ready) as pool:
            await pool.acquire()

    assert failed.value.args[0] == 1045
    assert loop.time() - began_at < 0.5


async def test_one_limit_holds_for_who_comes_before_the_first_contact(monkeypatch):
    """A plain server shows only then that it serves every role; whoever came before has counted as the writer's."""
    variables = Facts.variables
    monkeypatch.setattr(
        Facts, "variables", lambda facts: {k: v for k, v in variables(facts).items() if k != "aurora_server_id"}
    )
    async with (
        SimulatedCluster(1, engine="memory") as sim,
        pooled(sim, monkeypatch, minsize=0, maxsize=2, wait_ready=False) as pool,
    ):
        early = [asyncio.create_task(pool.acquire()) for _ in range(3)]
        explicit = asyncio.create_task(pool.acquire(role="writer"))
        await asyncio.sleep(1)
        late = [asyncio.create_task(pool.acquire()) for _ in range(3)]
        await asyncio.sleep(1)

        assert [task.done() for task in (*early, *late)] == [True, True, False, False, False, False]
        assert (pool.size, {each.role: each.size for each in pool.stats().instances}) == (2, {None: 2, "writer": 1})
        for task in (*early, *late):
            pool.release(await asyncio.wait_for(task, 1))
        assert (await explicit).role == "writer"
        pool.release(await explicit)
        assert_balanced(pool)


async def test_fifty_cold_requests_connect_side_by_side(sim, monkeypatch):
    """As many at a time as `max_connecting` lets."""
    loop = asyncio.get_running_loop()
    await sim.slow_logins(0.05)
    async with pooled(sim, monkeypatch, minsize=0, maxsize=50, max_connecting=10) as pool:
        began_at = loop.time()
        connections = await asyncio.gather(*(pool.acquire() for _ in range(50)))

        assert loop.time() - began_at < 0.05 * 50 / 10 * 1.5
        for connection in connections:
            pool.release(connection)


async def test_options_beside_a_cluster_are_refused(sim, monkeypatch):
    """It says how to connect already."""
    async with following(sim, monkeypatch) as cluster:
        with pytest.raises(errors.ConfigurationError, match="leave out 'host', 'user'"):
            aioaurora.create_pool(cluster=cluster, user="app", host="db")


async def test_a_pool_that_cannot_be_made_leaves_nothing(sim, monkeypatch):
    """Not even a task that is still closing it."""
    before = asyncio.all_tasks()
    await sim.deny_logins(60)

    with pytest.raises(err.OperationalError, match="1045"):
        await pooled(sim, monkeypatch)

    assert asyncio.all_tasks() == before


# --- no reader is up ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["role", "endpoint"])
async def test_a_pool_of_readers_starts_where_the_writer_stands_in(sim, monkeypatch, by):
    """No reader is up, and DNS has not noticed: `reader_fallback` holds from the beginning (case 17)."""
    for each in sim.readers:
        await sim.crash(each.id)
    options = {"role": "reader"} if by == "role" else {"host": sim.reader_endpoint}

    async with pooled(sim, monkeypatch, **options) as pool, pool.acquire() as connection:
        assert (connection.instance, connection.role) == ("db-1", "writer")
        await sim.heal()


async def test_a_pool_of_readers_does_not_start_without_one_where_that_was_forbidden(sim, monkeypatch):
    """The error says what is lacking."""
    for each in sim.readers:
        await sim.crash(each.id)

    with pytest.raises(errors.NoReader, match="no reader of 'orders'"):
        await pooled(sim, monkeypatch, role="reader", reader_fallback=False)
    await sim.heal()
