"""What the simulator's tests share."""

from __future__ import annotations

import pytest

from aioaurora.simulator import SimulatedCluster
from tests.simulator.plain_client import close_all


@pytest.fixture
async def sim():
    """Three instances on virtual time."""
    async with SimulatedCluster(3, engine="memory") as started:
        await started.execute("CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, n INT)")
        yield started
        close_all()
