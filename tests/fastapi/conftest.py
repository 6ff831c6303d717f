"""What the tests of web applications share."""

from __future__ import annotations

import pytest

from aioaurora.simulator import SimulatedCluster
from tests.virtual import names


@pytest.fixture
async def sim(monkeypatch):
    """Three instances on virtual time, and a small shop in them."""
    async with SimulatedCluster(3, engine="memory") as started:
        names(started, monkeypatch)
        await started.execute("CREATE TABLE orders (id VARCHAR(36) PRIMARY KEY, product INT NOT NULL)")
        yield started
