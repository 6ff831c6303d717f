"""Failovers of the simulated cluster: when, in what order, and what clients see of it."""

from __future__ import annotations

import asyncio
import random

import pytest

from aioaurora.simulator import SimulatedCluster
from tests.simulator.plain_client import ask, connected, dialled, errno, now, role


@pytest.mark.parametrize("mode", ["graceful", "crash", "blackhole"])
async def test_a_reader_is_promoted_when_it_was_said(sim, mode):
    """The call returns at the promotion, and the target says writable from then on."""
    start = now()

    await sim.failover(mode, promote_after=3.0)

    assert now() - start == pytest.approx(3.0, abs=0.05)
    assert sim.writer.id == "db-2"
    async with connected(sim, sim.writer) as connection:
        assert await role(connection) == (0, 0, "db-2")
        assert connection.thread_id() == 1


@pytest.mark.parametrize(("promote_after", "refuses_from"), [(3.0, 1.0), (0.5, 0.0)])
async def test_the_target_restarts_within_the_time_of_the_failover(sim, promote_after, refuses_from):
    """It is down for `target_down_for`, or for the whole failover if that is shorter; case 16."""
    fault_at = now()
    failing = asyncio.create_task(sim.failover("crash", promote_after=promote_after, target_down_for=2.0))

    restarting = await sim.timeline.wait_for("restarting", since=fault_at)

    assert restarting.at - fault_at == pytest.approx(refuses_from, abs=0.05)
    assert await errno(dialled(sim, sim.instances["db-2"])) == 2003
    await failing


@pytest.mark.parametrize("mode", ["graceful", "crash"])
async def test_a_fallen_writer_ends_its_connections_and_refuses(sim, mode):
    """FIN or RST, and then nobody listens."""
    old = sim.writer
    connection = await dialled(sim, old)
    failing = asyncio.create_task(sim.failover(mode))

    assert await errno(ask(connection, "SELECT SLEEP(1)")) == 2013
    assert await errno(dialled(sim, old)) == 2003
    await failing


async def test_a_black_hole_says_nothing(sim):
    """Neither to those who are connected nor to those who connect; case 14."""
    old = sim.writer
    connection = await dialled(sim, old)
    failing = asyncio.create_task(sim.failover("blackhole", promote_after=10.0))
    await asyncio.sleep(0.1)

    for waiting in (ask(connection, "SELECT 1"), dialled(sim, old)):
        with pytest.raises(TimeoutError):
            await waiting
    await failing


async def test_what_a_silent_instance_is_sent_never_reaches_the_engine(sim):
    """Not even after its return."""
    connection = await dialled(sim, sim.writer)
    failing = asyncio.create_task(sim.failover("blackhole", promote_after=1.0, returns_after=1.0))
    await asyncio.sleep(0.1)
    writing = asyncio.create_task(errno(ask(connection, "INSERT INTO t (n) VALUES (1)", within=60)))

    await failing
    await sim.timeline.wait_for("returned")
    lost = await writing
    await asyncio.sleep(5)

    assert lost == 2013
    assert await sim.rows("SELECT COUNT(*) FROM t") == [(0,)]


async def test_a_forgotten_connection_is_reset_when_it_is_used(sim):
    """A host that has rebooted knows nothing of it, and is silent until it is spoken to."""
    connection = await dialled(sim, sim.writer)
    await sim.failover("blackhole", promote_after=1.0, returns_after=1.0)
    await asyncio.sleep(30)

    assert await errno(ask(connection, "SELECT 1")) == 2013


async def test_open_transactions_of_the_old_writer_are_undone_before_the_promotion(sim):
    """Nothing that was not acknowledged lands later."""
    connection = await dialled(sim, sim.writer, autocommit=False)
    await ask(connection, "INSERT INTO t (n) VALUES (1)")

    await sim.failover("blackhole", promote_after=0.5)

    assert sim.timeline.of("sessions_killed", instance="db-1")[0].at < sim.timeline.of("promoted")[0].at
    async with connected(sim, sim.writer) as other:
        assert await ask(other, "SELECT COUNT(*) FROM t") == [(0,)]


async def test_locks_of_dead_transactions_may_outlive_the_promotion(sim):
    """InnoDB undoes recovered transactions in the background; case 64."""
    await sim.execute("INSERT INTO t (id, n) VALUES (1, 0)")
    connection = await dialled(sim, sim.writer, autocommit=False)
    await ask(connection, "UPDATE t SET n = 1 WHERE id = 1")

    await sim.failover("crash", promote_after=0.5, undo_takes=4.0)

    start = now()
    async with connected(sim, sim.writer) as other:
        await ask(other, "UPDATE t SET n = n + 5 WHERE id = 1", within=10)
    assert now() - start == pytest.approx(4.0, abs=0.2)
    assert await sim.rows("SELECT n FROM t") == [(5,)]


async def test_the_old_writer_returns_as_a_reader_that_starts_anew(sim):
    """Connection ids from 1, and the role that it has now; case 11."""
    old = sim.writer

    await sim.failover("crash", promote_after=1.0, returns_after=7.0)
    back = await sim.timeline.wait_for("returned")

    assert back.at - sim.timeline.of("promoted")[0].at == pytest.approx(7.0, abs=0.05)
    async with connected(sim, old) as connection:
        assert await role(connection) == (1, 1, "db-1")
        assert connection.thread_id() == 1
        assert await errno(ask(connection, "INSERT INTO t (n) VALUES (1)")) == 1290


async def test_the_cluster_endpoint_moves_late(sim):
    """DNS lags behind the promotion, which is why nobody should wait for it."""
    await sim.failover("crash", promote_after=1.0, dns_lag=4.0)
    old, new = sim.instances["db-1"], sim.instances["db-2"]

    await asyncio.sleep(3.9)
    assert sim.dns.answer(sim.endpoint).addresses == (old.address,)
    await asyncio.sleep(0.2)
    assert sim.dns.answer(sim.endpoint).addresses == (new.address,)


async def test_the_other_readers_stay(sim):
    """Their sessions live through the failover, and their rows tell who is the writer now; case 5."""
    async with connected(sim, sim.instances["db-3"]) as connection:
        await sim.failover("crash", promote_after=1.0)

        rows = await ask(connection, "SELECT SERVER_ID, SESSION_ID FROM information_schema.replica_host_status")

    masters = [server_id for server_id, session_id in rows if session_id == "MASTER_SESSION_ID"]
    assert masters == ["db-2"]


async def test_rows_of_the_dead_grow_old(sim):
    """Those of the living are rewritten every second; cases 1 and 6."""
    await sim.failover("crash", promote_after=1.0, returns_after=100.0)
    await asyncio.sleep(30)

    async with connected(sim, sim.writer) as connection:
        rows = dict(
            await ask(connection, "SELECT SERVER_ID, LAST_UPDATE_TIMESTAMP FROM information_schema.replica_host_status")
        )
    assert 29 < (rows["db-2"] - rows["db-1"]).total_seconds() < 33
    assert abs((rows["db-2"] - rows["db-3"]).total_seconds()) < 2


async def test_a_failover_takes_the_place_of_one_under_way(sim):
    """The instance that was being promoted falls too; both calls return at the one promotion."""
    first = asyncio.create_task(sim.failover("crash", to="db-2", promote_after=3.0))
    await asyncio.sleep(1.5)

    second = asyncio.create_task(sim.failover("blackhole", to="db-3", promote_after=3.0))
    await asyncio.gather(first, second)

    [promoted] = sim.timeline.of("promoted")
    assert promoted.instance == "db-3"
    assert promoted.at - sim.timeline.of("fault")[0].at == pytest.approx(4.5, abs=0.05)
    assert sim.writer.id == "db-3"
    await asyncio.sleep(30)
    assert [(each.id, each.is_up) for each in sim.readers] == [("db-1", True), ("db-2", True)]


async def test_failover_follows_failover_before_the_old_writer_is_back(sim):
    """A cluster of two has nobody else: the fallen one is started as the writer; case 15."""
    await sim.remove_instance("db-3")
    await sim.failover("crash", promote_after=1.0, returns_after=60.0)

    await sim.failover("crash", promote_after=1.0, returns_after=5.0)

    assert sim.writer.id == "db-1"
    async with connected(sim, sim.writer) as connection:
        assert (await role(connection))[0] == 0
    await asyncio.sleep(100)
    assert [each.id for each in sim.readers] == ["db-2"]


async def test_the_reader_endpoint_leads_to_those_that_are_up(sim):
    """To the writer, when there is no reader; case 17."""
    readers = {sim.dns.answer(sim.reader_endpoint).addresses for _ in range(4)}
    assert readers == {(each.address,) for each in sim.readers}

    for each in ("db-2", "db-3"):
        await sim.remove_instance(each)

    assert sim.dns.answer(sim.reader_endpoint).addresses == (sim.writer.address,)


async def test_a_cluster_of_one_cannot_fail_over(sim):
    """It can restart."""
    async with SimulatedCluster(1, engine="memory") as alone:
        with pytest.raises(ValueError, match="restart"):
            await alone.failover()

        await alone.restart(down_for=1.0)

        async with connected(alone, alone.writer) as connection:
            assert await role(connection) == (0, 0, "db-1")


async def test_a_wrong_role_is_counted_by_the_instance(sim):
    """Writes and marked statements that reach one which is not the writer."""
    async with connected(sim, sim.readers[0]) as connection:
        await ask(connection, "SELECT 1")
        assert not sim.wrong_roles

        await ask(connection, "SELECT 1 /* writer */")
        await errno(ask(connection, "INSERT INTO t (n) VALUES (1)"))

    assert [entry.instance for entry in sim.wrong_roles] == ["db-2", "db-2"]


async def test_two_clusters_live_side_by_side(sim):
    """Own addresses, own port, own names."""
    async with SimulatedCluster(3, engine="memory", name="carts") as other:
        await other.failover("crash", promote_after=0.5)

        assert (sim.writer.id, other.writer.id) == ("db-1", "db-2")
        assert {each.address for each in sim.instances.values()}.isdisjoint(
            each.address for each in other.instances.values()
        )


async def test_the_simulator_says_how_it_is(sim):
    """Its repr is for people."""
    assert repr(sim) == "<SimulatedCluster orders on memory | db-1 writer, db-2 reader, db-3 reader>"
    assert "db-1 writer up at 127.0." in repr(sim.writer)


@pytest.mark.parametrize("seed", range(3))
async def test_any_sequence_of_failovers_ends_well(sim, seed):
    """Overlapping, healed in between: one writer in the end, everybody up, and never two at once."""
    chance = random.Random(seed)
    running = []
    for number in range(30):
        mode = chance.choice(["graceful", "crash", "blackhole"])
        times = {"promote_after": chance.random(), "returns_after": chance.random(), "dns_lag": chance.random()}
        running.append(asyncio.create_task(sim.failover(mode, **times)))
        await asyncio.sleep(chance.random())
        assert sum(each.role == "writer" for each in sim.instances.values()) == 1
        if number % 9 == 8:
            await sim.heal()

    await asyncio.gather(*running)
    await asyncio.sleep(5)

    assert all(each.is_up for each in sim.instances.values())
    assert sim.dns.answer(sim.endpoint).addresses == (sim.writer.address,)
    async with connected(sim, sim.writer) as connection:
        assert await role(connection) == (0, 0, sim.writer.id)
