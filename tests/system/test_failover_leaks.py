"""However often the writer changes in the life of one process, nothing of it is left.

AIOAURORA_FAILOVERS says how often; in CI it is a few, to save time.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import pathlib
from typing import TYPE_CHECKING

import pytest

import aioaurora
from aioaurora.errors import Role
from aioaurora.simulator import SimulatedCluster
from tests.running import open_sockets

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MODES = ("graceful", "crash", "blackhole")
FAILOVERS = int(os.environ.get("AIOAURORA_FAILOVERS", str(len(MODES))))
WORKERS, READERS = 8, 4
WRITE = "INSERT INTO written (worker) VALUES ({})"
OBJECTS = 200
# The allocator's own fill goes on for a while, in steps: a leak grows in each of so many rounds, that does not.
ROUNDS, BYTES = 3, 1_000_000 + 2_000 * FAILOVERS

pytestmark = [pytest.mark.needs("mariadbd"), pytest.mark.timeout(60 + 8 * FAILOVERS)]


@pytest.fixture
async def sim(installed_once: None) -> AsyncIterator[SimulatedCluster]:
    """A cluster of three over MariaDB."""
    async with SimulatedCluster(3, engine="mariadb") as started:
        await started.execute("CREATE TABLE written (worker INT)")
        yield started


async def test_failovers_of_all_kinds_leave_nothing(sim: SimulatedCluster, caplog: pytest.LogCaptureFixture) -> None:
    """Neither tasks nor sockets, objects or memory; and everybody writes on after each of them."""
    caplog.set_level(logging.CRITICAL, logger="aioaurora")  # What pytest keeps of a log grows, too.
    sizes = {"minsize": WORKERS, "maxsize": WORKERS, "reader_minsize": READERS, "reader_maxsize": READERS}
    async with aioaurora.create_pool(**sim.connect_options(), **sizes) as pool:
        for mode in MODES:
            await _fail_over(sim, pool, mode)
        for turn in range(1, ROUNDS + 1):
            before = await _settled(sim, pool)
            for number in range(FAILOVERS):
                await _fail_over(sim, pool, MODES[number % len(MODES)])
            after = await _settled(sim, pool)
            grown = {what: after[what] - before[what] for what in before}
            print(f"{FAILOVERS} failovers: {before}, grown by {grown}")
            stats = pool.stats()

            assert pool.topology.epoch == 1 + len(MODES) + turn * FAILOVERS
            assert (stats.leased, stats.opening, stats.waiting, stats.timed_out) == (0, 0, 0, 0)
            assert grown["tasks"] <= 0
            assert grown["sockets"] <= 0
            assert grown["objects"] <= OBJECTS
            if grown["bytes"] <= BYTES:
                return
    pytest.fail(f"in each of {ROUNDS} rounds memory has grown, in the last by {grown['bytes']} bytes")


async def _fail_over(sim: SimulatedCluster, pool: aioaurora.Pool, mode: str) -> None:
    """Take the writer away under those who work, until each has written on the new one and the old one is back."""
    workers = [asyncio.create_task(_works(sim, pool, number, until_not=sim.writer.id)) for number in range(WORKERS)]
    await asyncio.sleep(0.05)
    await sim.failover(mode, promote_after=0.4, target_down_for=0.3, returns_after=0.1, dns_lag=0.1)
    async with asyncio.timeout(30):
        await asyncio.gather(*workers)
        while not all(each.is_up for each in sim.instances.values()):
            await asyncio.sleep(0.02)


async def _works(sim: SimulatedCluster, pool: aioaurora.Pool, number: int, *, until_not: str) -> None:
    """Write and read; one in two is always in the middle of a statement."""
    instance = until_not
    while instance == until_not:
        try:
            async with pool.acquire() as connection:
                await connection.query(WRITE.format(number))
                await connection.query("DO SLEEP(5)" if number % 2 and connection.instance == until_not else "DO 0")
                await connection.commit()
                instance = connection.instance
            await pool.fetch_value("SELECT COUNT(*) FROM written", role="reader")
            await asyncio.sleep(0.02)
        except aioaurora.Error:
            continue
    assert instance == sim.writer.id


async def _settled(sim: SimulatedCluster, pool: aioaurora.Pool) -> dict[str, int]:
    """Let what was ended come to its end, have everything as at any other time, and count what there is."""
    async with asyncio.timeout(30):
        sides = [pool._books.sides[role] for role in (Role.WRITER, Role.READER)]
        while [side.idle for side in sides] != [WORKERS, READERS]:
            await asyncio.sleep(0.1)
    await asyncio.sleep(1.5)
    sim.timeline._entries.clear()  # The simulator's own books grow.
    sim.dns.queries.clear()
    for each in sim.instances.values():
        each.state.knocks.clear()
        each.desk._left.clear()
    for _ in range(3):
        gc.collect()
    resident = int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    return {
        "tasks": await _lasting_tasks(),
        "sockets": len(open_sockets()),
        "objects": len(gc.get_objects()),
        "bytes": resident,
    }


async def _lasting_tasks() -> int:
    """Count the tasks that are there all the time: each question to an instance is one, for as long as it takes."""
    counts = []
    for _ in range(20):
        counts.append(len(asyncio.all_tasks()))
        await asyncio.sleep(0.05)
    return min(counts)
