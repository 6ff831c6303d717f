"""A failover as clients see it, and what is like one."""

from __future__ import annotations

import asyncio

import aiomysql
import pytest

from tests.contract.claims import holds
from tests.simulator.plain_client import ask, connected, dialled, errno, role


@holds("target-drops", "others-stay")
async def test_the_promoted_reader_ends_its_connections_and_the_others_keep_theirs(sim):
    """That end is the best sign of a promotion there is."""
    target, other = [await dialled(sim, sim.instances[name]) for name in ("db-2", "db-3")]

    await sim.failover("graceful", to="db-2", promote_after=0.5)

    assert await errno(ask(target, "SELECT 1")) in (2006, 2013, "(0, 'Not connected')")
    assert await role(other) == (1, 1, "db-3")


@holds("target-restarts")
async def test_the_promoted_reader_restarts(sim):
    """Refused while it does, then writable, with ids from 1."""
    for _ in range(5):
        await dialled(sim, sim.instances["db-2"])
    failing = asyncio.create_task(sim.failover("crash", to="db-2", promote_after=1.0, target_down_for=0.8))
    await asyncio.sleep(0.6)
    refused = await errno(dialled(sim, sim.instances["db-2"]))
    await failing

    async with connected(sim, sim.instances["db-2"]) as connection:
        assert refused == 2003
        assert connection.thread_id() == 1
        assert await role(connection) == (0, 0, "db-2")


@holds("old-writer-returns")
async def test_the_old_writer_comes_back_as_a_reader(sim):
    """Which is how a cached address becomes a reader's."""
    await sim.failover("crash", to="db-2", promote_after=0.3, returns_after=0.5)
    await sim.timeline.wait_for("returned", since=0)

    async with connected(sim, sim.instances["db-1"]) as connection:
        assert await role(connection) == (1, 1, "db-1")
        assert await errno(ask(connection, "INSERT INTO t (n) VALUES (2)")) == 1290


@holds("fenced-silence")
async def test_a_fenced_writer_is_silent(sim):
    """To who is connected, busy or idle, and to who connects: nothing comes, not even an end."""
    idle, busy = [await dialled(sim, sim.writer) for _ in range(2)]
    waiting = asyncio.create_task(ask(busy, "SELECT SLEEP(0.2)", within=60))
    await asyncio.sleep(0.05)
    await sim.failover("blackhole", promote_after=0.3, returns_after=30)

    for attempt in (ask(idle, "SELECT 1", within=0.5), ask_new(sim)):
        with pytest.raises(TimeoutError):
            await attempt
    assert not waiting.done()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


async def ask_new(sim):
    """Try a new connection to the old writer, for half a second."""
    async with asyncio.timeout(0.5):
        await dialled(sim, sim.instances["db-1"])


@holds("nothing-lands-late")
@pytest.mark.parametrize("mode", ["graceful", "crash", "blackhole"])
async def test_what_was_not_acknowledged_does_not_land_later(sim, mode):
    """A write that waits for a lock at the fault is undone with its session, before the promotion."""
    holder, waiter = [await dialled(sim, sim.writer) for _ in range(2)]
    await ask(holder, "BEGIN")
    await ask(holder, "UPDATE t SET n = 100 WHERE id = 1")
    waiting = asyncio.create_task(ask(waiter, "UPDATE t SET n = n + 1 WHERE id = 1", within=60))
    await asyncio.sleep(0.1)
    await sim.failover(mode, promote_after=0.5)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)

    async with connected(sim, sim.writer) as connection:
        assert await ask(connection, "SELECT n FROM t") == [(1,)]
        await asyncio.sleep(0.5)
        assert await ask(connection, "SELECT n FROM t") == [(1,)]


@holds("locks-outlive")
async def test_locks_of_the_dead_may_outlive_the_promotion(sim):
    """New writers of those rows wait; others do not."""
    await sim.execute("INSERT INTO t (n) VALUES (2)")
    connection = await dialled(sim, sim.writer)
    await ask(connection, "BEGIN")
    await ask(connection, "UPDATE t SET n = 100 WHERE id = 1")
    await sim.failover("crash", promote_after=0.3, undo_takes=1.0)
    loop = asyncio.get_running_loop()
    started = loop.time()

    async with connected(sim, sim.writer) as other:
        await ask(other, "UPDATE t SET n = n + 1 WHERE id = 2")
        free_after = loop.time() - started
        await ask(other, "UPDATE t SET n = n + 1 WHERE id = 1")
        locked_until = loop.time() - started
        assert await ask(other, "SELECT n FROM t ORDER BY id") == [(2,), (3,)]
    assert free_after < 0.8 < locked_until


@holds("zdp-sessions", "zdp-transactions")
async def test_patching_keeps_sessions_and_loses_transactions(sim):
    """The session's variables live; its transaction is gone, and its flag says so."""
    connection = await dialled(sim, sim.writer)
    number = connection.thread_id()
    await ask(connection, "SET @kept = 7")
    await ask(connection, "BEGIN")
    await ask(connection, "UPDATE t SET n = 100 WHERE id = 1")

    await sim.patch(silent_for=0.5)

    assert await ask(connection, "SELECT @kept, CONNECTION_ID()") == [(7, number)]
    assert await ask(connection, "SELECT n FROM t") == [(1,)]
    await ask(connection, "SET @kept = 8")  # Its answer is an OK packet, the only kind that aiomysql takes flags from.
    assert connection.get_transaction_status() is False


@holds("frozen")
async def test_a_frozen_writer_says_so_and_refuses(sim):
    """It is no reader: the engine below is writable."""
    connection = await dialled(sim, sim.writer)
    await sim.freeze()

    assert await role(connection) == (0, 1, "db-1")
    assert await errno(ask(connection, "INSERT INTO t (n) VALUES (2)")) == 1290
    await sim.heal()
    assert await errno(ask(connection, "INSERT INTO t (n) VALUES (2)")) is None


@holds("two-writers")
async def test_two_may_say_that_they_are_writable(sim):
    """The one that is fenced answers reads and executes no write."""
    old = await dialled(sim, sim.writer)
    await sim.two_writers(to="db-2")

    async with connected(sim, sim.instances["db-2"]) as new:
        assert await role(new) == (0, 0, "db-2")
        assert await role(old) == (0, 0, "db-1")
        with pytest.raises(TimeoutError):
            await ask(old, "UPDATE t SET n = 100 WHERE id = 1", within=0.5)
        assert await ask(new, "SELECT n FROM t") == [(1,)]
    await sim.heal()


@holds("green")
async def test_green_ids_outlive_a_switchover(sim):
    """The endpoints are the old ones, the ids are not, and no name is made of those."""
    host = sim.writer.host
    await sim.switch_to_green("xyz789", down_for=0.1)
    green = sim.writer

    async with connected(sim, green) as connection:
        assert (await role(connection))[2] == green.id == "db-1-green-xyz789"
    assert green.host == host
    assert sim.dns.answer(host).addresses == (green.address,)
    assert sim.dns.answer(sim.instance_pattern.replace("{id}", green.id)).addresses == ()


@holds("secondary")
async def test_a_secondary_cluster_has_no_writer(start):
    """Legitimately: nobody shall look for one."""
    sim = await start(2, reader_only=True)
    rows = "SELECT COUNT(*) FROM information_schema.replica_host_status WHERE SESSION_ID = 'MASTER_SESSION_ID'"
    for each in sim.instances.values():
        connection = await dialled(sim, each)
        assert (await role(connection))[0] == 1
        assert await ask(connection, rows) == [(0,)]
        with pytest.raises(aiomysql.OperationalError):
            await ask(connection, "INSERT INTO t (n) VALUES (2)")
