"""How a pool's leases are spread over readers that come, and over readers that fall behind."""

from __future__ import annotations

import asyncio
import collections
import itertools

import pytest

import aioaurora
from aioaurora.simulator import SimulatedCluster
from tests.virtual import names

WORKERS = 8


@pytest.fixture
async def sim():
    """A cluster with a writer and two readers."""
    async with SimulatedCluster(3, engine="memory") as started:
        yield started


def reading(sim, **options):
    """Make a pool of readers."""
    return aioaurora.create_pool(**sim.connect_options() | {"role": "reader", "minsize": 2, "maxsize": 20} | options)


async def traffic(pool, *, lasting_s):
    """Lease and ask, a few at a time and all the time; give how often from whom."""
    seen = collections.Counter()
    loop = asyncio.get_running_loop()
    until = loop.time() + lasting_s

    async def work():
        while loop.time() < until:
            async with pool.acquire() as connection:
                seen[connection.instance] += 1
                await asyncio.sleep(0.25)
            await asyncio.sleep(0.05)

    await asyncio.gather(*[work() for _ in range(WORKERS)])
    return seen


@pytest.mark.parametrize(
    ("strategy", "maxsize"),
    [("two_choices", 8), ("round_robin", 20), ("random", 8)],
)
async def test_a_new_reader_takes_its_share_within_a_minute(sim, monkeypatch, strategy, maxsize):
    """Whether there is room for more connections or not: then some move over."""
    names(sim, monkeypatch)
    async with reading(sim, maxsize=maxsize, reader_strategy=strategy) as pool:
        await traffic(pool, lasting_s=10)
        await sim.add_instance("db-4")
        await traffic(pool, lasting_s=60)
        opened_before = pool.stats().opened
        seen = await traffic(pool, lasting_s=20)
        opened = pool.stats().opened - opened_before

    assert seen["db-4"] >= 0.25 * seen.total(), seen
    assert min(seen[name] for name in ("db-2", "db-3")) >= 0.25 * seen.total(), seen
    assert opened <= 3  # In balance, it rests.


async def test_a_new_reader_is_not_stormed(sim, monkeypatch):
    """By and by: a twentieth of the pool at a look, which there is once a second."""
    names(sim, monkeypatch)
    async with reading(sim, maxsize=40) as pool:
        await traffic(pool, lasting_s=10)
        await sim.add_instance("db-4")
        sizes = []
        for _ in range(20):
            await traffic(pool, lasting_s=1)
            sizes.append(sum(each.size for each in pool.stats().instances if each.instance == "db-4"))

    assert max(later - sooner for sooner, later in itertools.pairwise(sizes)) <= 4
    assert sizes[-1] >= 2


async def test_a_reader_that_lags_too_far_gets_nothing(sim, monkeypatch):
    """From when its lag is known; what it has caught up to serves again (case 48)."""
    names(sim, monkeypatch)
    async with reading(sim, max_lag=2.0) as pool:
        fresh = await traffic(pool, lasting_s=5)
        await sim.report_lag(5_000, "db-3")
        await asyncio.sleep(6)
        late = await traffic(pool, lasting_s=30)
        await sim.report_lag(100, "db-3")
        await asyncio.sleep(6)
        again = await traffic(pool, lasting_s=60)

    assert fresh["db-3"] > 0
    assert late["db-3"] == 0
    assert late["db-2"] > 0
    assert again["db-3"] >= 0.25 * again.total()
