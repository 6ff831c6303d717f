"""However often the writer changes in the life of one process, nothing of it is left.

AIOAURORA_FAILOVERS says how often; in CI it is a few, to save time.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING

import pytest

import aioaurora
from aioaurora.errors import Role
from aioaurora.simulator import SimulatedCluster
from tests.growth import check_growth

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MODES = ("graceful", "crash", "blackhole")
FAILOVERS = int(os.environ.get("AIOAURORA_FAILOVERS", str(len(MODES))))
WORKERS, READERS = 8, 4
WRITE = "INSERT INTO written (worker) VALUES ({})"
MOST = {"tasks": 0, "sockets": 0, "objects": 200, "bytes": 1_000_000 + 2_000 * FAILOVERS}

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

        await check_growth(lambda: _fail_over_often(sim, pool), lambda: _settled(sim, pool), MOST)


async def _fail_over_often(sim: SimulatedCluster, pool: aioaurora.Pool) -> None:
    epoch = pool.topology.epoch
    for number in range(FAILOVERS):
        await _fail_over(sim, pool, MODES[number % len(MODES)])
    assert pool.topology.epoch == epoch + FAILOVERS


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


async def _settled(sim: SimulatedCluster, pool: aioaurora.Pool) -> None:
    """Let what was ended come to its end, and have everything as at any other time."""
    async with asyncio.timeout(30):
        sides = [pool._books.sides[role] for role in (Role.WRITER, Role.READER)]
        for reader in sim.readers:  # One that is in use has a heartbeat: each has, then.
            async with pool.acquire(instance=reader.id):
                pass
        while [side.idle for side in sides] != [WORKERS, READERS]:
            await asyncio.sleep(0.1)
    await asyncio.sleep(1.5)
    stats = pool.stats()
    assert (stats.leased, stats.opening, stats.waiting, stats.timed_out) == (0, 0, 0, 0)
    sim.timeline._entries.clear()  # The simulator's own books grow.
    sim.dns.queries.clear()
    for each in sim.instances.values():
        each.state.knocks.clear()
        each.desk._left.clear()
