"""Healing ends what is under way, and leaves nothing of a fault behind: over each engine."""

from __future__ import annotations

import asyncio

import pytest

from aioaurora.simulator import SimulatedCluster
from tests.simulator.plain_client import ask, close_all, dialled, errno, now, role

INSERT = "INSERT INTO t (n) VALUES (1)"
SOON = {"promote_after": 0.3, "target_down_for": 0.1, "returns_after": 0.1, "dns_lag": 0.1}


@pytest.fixture(
    params=["memory", pytest.param("mariadb", marks=[pytest.mark.needs("mariadbd"), pytest.mark.real_time])]
)
async def sim(request, installed_once):
    """Three instances; `memory` runs on virtual time."""
    async with SimulatedCluster(3, engine=request.param) as started:
        await started.execute("CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, n INT)")
        yield started
        close_all()


async def count(sim):
    """How many rows there truly are."""
    return (await sim.rows("SELECT COUNT(*) FROM t"))[0][0]


async def failed_over(sim, to):
    """Let an instance become the writer, and the old one come back."""
    start = now()
    await sim.failover("graceful", to=to, **SOON)
    await sim.timeline.wait_for("returned", since=start)


async def test_a_freeze_ends_with_the_restart_of_a_failover(sim):
    """`read_only` is a variable of the process: whoever is promoted later can write."""
    await sim.freeze()
    await failed_over(sim, "db-2")
    await failed_over(sim, "db-1")

    connection = await dialled(sim, sim.writer)
    assert await role(connection) == (0, 0, "db-1")
    await ask(connection, INSERT)


async def test_a_freeze_ends_with_a_restart(sim):
    """As above, in place."""
    await sim.freeze()
    await sim.restart(down_for=0.1)

    connection = await dialled(sim, sim.writer)
    assert await role(connection) == (0, 0, "db-1")
    await ask(connection, INSERT)


async def test_healing_lets_go_of_locks_that_outlive_a_failover(sim):
    """`undo_takes` is a fault like the others."""
    await sim.execute("INSERT INTO t (id, n) VALUES (1, 0)")
    holder = await dialled(sim, sim.writer, autocommit=False)
    await ask(holder, "UPDATE t SET n = 1 WHERE id = 1")
    await sim.failover("crash", **SOON, undo_takes=600.0)

    await sim.heal()

    await ask(await dialled(sim, sim.writer), "UPDATE t SET n = n + 5 WHERE id = 1", within=1.5)
    assert await sim.rows("SELECT n FROM t") == [(5,)]


async def test_healing_ends_a_patch(sim):
    """A transaction that begins after it is nobody's to undo."""
    busy, connection = await dialled(sim, sim.writer), await dialled(sim, sim.writer, autocommit=False)
    sleeping = asyncio.create_task(errno(ask(busy, "SELECT SLEEP(0.8)", within=5)))
    await asyncio.sleep(0.1)
    patching = asyncio.create_task(sim.patch(silent_for=2.0))
    await asyncio.sleep(0.1)

    await sim.heal()
    await ask(connection, INSERT)
    await patching
    await asyncio.sleep(1.5)
    await ask(connection, "COMMIT")

    assert await count(sim) == 1
    assert await sleeping is None
    assert sim.timeline.of("spoke_again") == []


async def test_healing_ends_two_writers_before_there_are_two(sim):
    """The promotion does not happen later, nor does the instance rise twice."""
    held = await dialled(sim, sim.writer)
    doubling = asyncio.create_task(sim.two_writers("db-2", promote_after=0.5))
    await asyncio.sleep(0.2)

    await sim.heal()
    await ask(held, INSERT)
    first = await dialled(sim, sim.instances["db-2"])
    await doubling
    await asyncio.sleep(0.5)
    second = await dialled(sim, sim.instances["db-2"])

    assert (first.thread_id(), second.thread_id()) == (1, 2)
    assert await role(first) == (1, 1, "db-2")
    assert sim.writer.id == "db-1"
    await ask(await dialled(sim, sim.writer), INSERT)
    assert sim.timeline.of("promoted") == []


async def test_healing_makes_a_fenced_writer_a_reader(sim):
    """There is another."""
    await sim.two_writers("db-2")

    await sim.heal()

    assert await role(await dialled(sim, sim.instances["db-1"])) == (1, 1, "db-1")
    await ask(await dialled(sim, sim.instances["db-2"]), INSERT)


async def test_a_fenced_writer_comes_back_from_a_restart_as_a_reader(sim):
    """It finds out that there is another."""
    await sim.two_writers("db-2")

    await sim.restart("db-1", down_for=0.1)

    assert await role(await dialled(sim, sim.instances["db-1"])) == (1, 1, "db-1")


async def test_a_fenced_writer_that_is_promoted_again_writes(sim):
    """It starts anew."""
    await sim.two_writers("db-2")

    await sim.failover("crash", to="db-1", **SOON)

    await ask(await dialled(sim, sim.writer), INSERT)
    assert sim.writer.id == "db-1"


async def test_a_failover_takes_the_place_of_a_second_writer(sim):
    """Then that one is not promoted afterwards."""
    doubling = asyncio.create_task(sim.two_writers("db-2", promote_after=0.6))
    await asyncio.sleep(0.2)

    await sim.failover("crash", to="db-3", **SOON)
    await doubling
    await asyncio.sleep(0.6)

    assert [entry.instance for entry in sim.timeline.of("promoted")] == ["db-3"]
    assert [each.id for each in sim.instances.values() if each.role == "writer"] == ["db-3"]


async def test_healing_ends_a_restart(sim):
    """It is up at once, and once."""
    restarting = asyncio.create_task(sim.restart(down_for=3.0))
    await asyncio.sleep(0.2)

    start = now()
    await sim.heal()
    await restarting

    assert now() - start < 1.0
    assert len(sim.timeline.of("returned")) == 1
    assert await role(await dialled(sim, sim.writer)) == (0, 0, "db-1")


async def test_who_stops_waiting_for_a_fault_does_not_end_it(sim):
    """Only healing does: else an instance would stay down for ever."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await sim.restart(down_for=0.4)

    await sim.timeline.wait_for("returned", since=0)

    assert await role(await dialled(sim, sim.writer)) == (0, 0, "db-1")


@pytest.mark.parametrize("which", ["db-1", "db-2"])
async def test_a_restart_leaves_it_to_a_failover_who_comes_up(sim, which):
    """Neither a fallen writer as the writer, nor its heir before its time."""
    failing = asyncio.create_task(sim.failover("crash", to="db-2", **SOON | {"promote_after": 0.6}))
    await asyncio.sleep(0.1)

    await sim.restart(which, down_for=0.1)
    assert not sim.instances[which].is_up
    await failing
    await sim.timeline.wait_for("returned", since=0)

    assert [(each.id, each.role, each.is_up) for each in sim.instances.values()] == [
        ("db-1", "reader", True),
        ("db-2", "writer", True),
        ("db-3", "reader", True),
    ]
