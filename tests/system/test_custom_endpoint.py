"""The driver through a custom endpoint of the simulated cluster: either role, within its members."""

from __future__ import annotations

import pytest

import aioaurora
from aioaurora.simulator import SimulatedCluster


@pytest.fixture
async def sim():
    """Three instances."""
    async with SimulatedCluster(3, engine="memory") as started:
        yield started


async def met(sim, members, times):
    """The instances that so many Clusters at the custom endpoint reach, each of which asks anew."""
    name, found = sim.add_custom_endpoint("night", members), set()
    for _ in range(times):
        cluster = aioaurora.Cluster(**sim.connect_options() | {"host": name})
        async with cluster, cluster.connect() as connection:
            found.add(connection.instance)
    return found


async def test_a_custom_endpoint_gives_its_members_of_either_role(sim):
    """Reader or writer, as its answers say; never another."""
    assert await met(sim, ["db-1", "db-3"], times=8) == {"db-1", "db-3"}


async def test_members_that_are_down_are_not_met(sim):
    """The writer among them falls, and the other is left."""
    await sim.failover("crash", to="db-2", promote_after=0.3, dns_lag=0.0, returns_after=60.0)

    assert await met(sim, ["db-1", "db-3"], times=4) == {"db-3"}


async def test_a_custom_endpoint_speaks_tls_under_its_own_name():
    """Its name is in the certificates."""
    async with SimulatedCluster(2, engine="memory", tls="required") as sim:
        assert await met(sim, ["db-2"], times=2) == {"db-2"}
