"""The simulated clusters that are held to what Aurora does: over each engine."""

from __future__ import annotations

import contextlib

import pytest

from aioaurora.simulator import SimulatedCluster
from tests.simulator.plain_client import close_all

ENGINES = [
    "memory",
    pytest.param("mariadb", marks=[pytest.mark.needs("mariadbd"), pytest.mark.real_time]),
]


@pytest.fixture(params=ENGINES)
def engine(request):
    """The engine's name; `memory` runs on virtual time."""
    return request.param


@pytest.fixture
async def start(engine, installed_once):
    """Start a cluster with the options given; it ends with the test."""
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(close_all)

        async def started(instances=3, **options):
            sim = await stack.enter_async_context(SimulatedCluster(instances, engine=engine, **options))
            await sim.execute("CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, n INT)")
            await sim.execute("INSERT INTO t (n) VALUES (1)")
            return sim

        yield started


@pytest.fixture
async def sim(start):
    """Three instances, of which db-1 is the writer, and a table t with one row."""
    return await start()
