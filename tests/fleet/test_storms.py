"""What a failover, or a server that is slow to let clients in, costs that server: never a storm (cases 26, 59)."""

from __future__ import annotations

import asyncio

import pytest

from aioaurora import errors, events
from aioaurora.simulator import SimulatedCluster
from tests.fleet.seen import Seen
from tests.fleet.small import note_all
from tests.pools import pooled, told
from tests.virtual import following


@pytest.fixture
async def sim():
    """Three instances on virtual time."""
    async with SimulatedCluster(3, engine="memory") as sim:
        yield sim


@pytest.fixture
def seen(sim, monkeypatch):
    """Who is dialled, and who is asked."""
    seen = Seen()
    note_all(seen, monkeypatch)
    return seen


async def test_a_log_in_that_takes_long_loses_no_connection(sim, monkeypatch):
    """The instance is there, and what the pool has is as good as ever: the next log-in only stands in line."""
    log = []
    async with pooled(sim, monkeypatch, minsize=2, maxsize=4, listeners=[log.append]) as pool:
        held = [await pool.acquire() for _ in range(2)]
        await sim.slow_logins(10.0)
        waiting = asyncio.create_task(pool.acquire())
        await asyncio.sleep(9.0)
        were_open = [not connection.closed for connection in held]
        third = await asyncio.wait_for(waiting, 1.5)

        assert were_open == [True, True]
        assert told(events.FailoverStarted, log) == []
        for connection in (*held, third):
            pool.release(connection)
        assert pool.size == 3


async def test_who_never_gets_in_comes_ever_less_often(sim, monkeypatch, seen):
    """Each pause is twice as long as the one before: what is given up may have cost the server as much."""
    async with pooled(sim, monkeypatch, maxsize=4, connect_timeout=1.0, stall_timeout=1.0) as pool:
        held = await pool.acquire()
        await sim.slow_logins(1000.0)
        seen.dials.clear()
        with pytest.raises(errors.PoolTimeout):
            await pool.acquire(timeout=40)

        assert 4 <= len(seen.dials["db-1"]) <= 8
        pool.release(held)


async def test_a_monitor_that_is_refused_comes_ever_less_often(sim, monkeypatch, seen):
    """1040 to everybody, for 20 s: some ten questions to each, not two hundred (case 25)."""
    async with following(sim, monkeypatch):
        for name in ("db-2", "db-3"):
            await sim.limit_connections(0, name)
        await sim.crash("db-1")
        await asyncio.sleep(20)

        assert [7 <= len(seen.dials[name]) <= 12 for name in ("db-2", "db-3")] == [True, True]


async def test_nobody_is_dialled_by_an_endpoint_who_is_asked_by_name(sim, monkeypatch, seen):
    """Each process would log in at the reader endpoint once more, every second."""
    async with following(sim, monkeypatch):
        seen.dials.clear()
        await sim.crash("db-1")
        await asyncio.sleep(5)

        assert set(seen.dials) == {"db-1", "db-2", "db-3"}
        assert [len(seen.dials[name]) for name in ("db-2", "db-3")] == [1, 1]


async def test_a_fleet_with_a_long_search_interval_asks_readers_no_more_often(sim, monkeypatch, seen):
    """It is how much a large fleet spares those that are up (case 59)."""
    async with following(sim, monkeypatch, search_interval=2.0):
        await sim.crash("db-1")
        await asyncio.sleep(10.0)

        assert [4 <= len(seen.questions[name]) <= 8 for name in ("db-2", "db-3")] == [True, True]


async def test_who_wants_a_reader_does_not_stand_in_line_while_another_has_room(sim, monkeypatch):
    """He is sent on after `connect_timeout`, as ever."""
    async with pooled(sim, monkeypatch, maxsize=4) as pool:
        await sim.slow_logins(60.0, "db-2")

        held = await asyncio.wait_for(asyncio.gather(*(pool.acquire(role="reader") for _ in range(3))), 4.0)

        assert [connection.instance for connection in held] == ["db-3"] * 3
        for connection in held:
            pool.release(connection)
