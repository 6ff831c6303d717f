"""On a loop whose tasks begin before `create_task` returns (Python 3.12 and later, as some applications set it)."""

from __future__ import annotations

import asyncio
import sys

import pytest

import aioaurora
from aioaurora.credentials import CredentialCache, Credentials, provider_of
from aioaurora.simulator import SimulatedCluster
from tests.io.answers import Zone
from tests.pools import assert_balanced, pooled

pytestmark = pytest.mark.skipif(sys.version_info < (3, 12), reason="Python 3.11 has no eager tasks")


@pytest.fixture
async def eager():
    """Let every task begin at once."""
    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)
    yield
    loop.set_task_factory(None)


@pytest.fixture
async def cluster(monkeypatch, eager):
    """A simulated cluster and who follows it."""
    async with SimulatedCluster(3, engine="memory") as sim:
        monkeypatch.setattr("aioaurora._io.resolver.NameServers", lambda _: Zone(sim.dns))
        async with aioaurora.Cluster(**sim.connect_options()) as following:
            yield sim, following


async def test_credentials_that_need_no_waiting_are_given(eager):
    """The question has ended before anybody could note that it was asked."""
    words = iter(["one", "two"])
    cache = CredentialCache(provider_of(lambda: next(words)))

    given = [await cache.get("db-1", 3306, "app") for _ in range(2)]

    assert [each.password for each in given] == ["one", "two"]


async def test_credentials_that_take_a_while_are_asked_for_once(eager):
    """As on any other loop."""
    asked = []

    async def provider(host, port, user):
        asked.append(host)
        await asyncio.sleep(0.1)
        return Credentials(user=user, password="hush")

    cache = CredentialCache(provider)

    await asyncio.gather(*(cache.get("db-1", 3306, "app") for _ in range(20)))

    assert asked == ["db-1"]


@pytest.mark.parametrize("mode", ["graceful", "crash", "blackhole"])
async def test_a_connection_is_made_and_found_again_after_a_failover(cluster, mode):
    """The whole way: first contact, a heartbeat, the search, another writer."""
    sim, following = cluster
    first = await following.connect()

    await sim.failover(mode, promote_after=1.0, target_down_for=0.5)
    second = await following.connect(timeout=60)

    assert (first.instance, second.instance, following.topology.epoch) == ("db-1", "db-2", 2)
    first.close()
    await second.ensure_closed()


async def test_a_pooled_connection_whose_on_release_does_not_wait_is_kept(monkeypatch, eager):
    """Its cleaning has ended before anybody could note that it had begun."""
    released, wrong = [], []

    async def on_release(connection):
        released.append(connection)

    asyncio.get_running_loop().set_exception_handler(lambda _, context: wrong.append(context))
    async with (
        SimulatedCluster(1, engine="memory") as sim,
        pooled(sim, monkeypatch, on_release=on_release, autocommit=True) as pool,
    ):
        for _ in range(3):
            async with pool.acquire():
                pass

        assert (len(set(released)), len(released)) == (1, 3)
        assert (pool.stats().closed, wrong) == ({}, [])
        assert_balanced(pool)
