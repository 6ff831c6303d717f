"""The example shops, served by uvicorn to real HTTP clients, through failovers; `nox -s shop` is the long version."""

from __future__ import annotations

import asyncio
import os
import pathlib
import sys

import pytest

from aioaurora.simulator import SimulatedCluster
from tests.benchmarks.shop import VARIANTS, broken_promises, run

pytestmark = [pytest.mark.needs("mariadbd"), pytest.mark.timeout(60)]


async def test_no_customer_sees_more_of_a_failover_than_a_wait(installed_once):
    """No 500, no order lost or doubled, no write in the wrong place, and no 503 but while there is no writer."""
    ours = VARIANTS[0]

    outcome = await run(ours, clients=20, seconds=15, failovers=2, seed=3, engine="mariadb")

    assert broken_promises(outcome) == []
    assert [mode for _, _, mode in outcome.faults] == ["graceful", "crash"]
    assert len(outcome.acknowledged) > 50
    assert outcome.sold == len(outcome.stored) >= len(outcome.acknowledged)
    assert max(outcome.first_orders_s) < 2.0


async def test_nor_does_a_customer_of_the_shop_over_sqlalchemy(installed_once):
    """The same promises, through one failover."""
    under_sqlalchemy = VARIANTS[1]

    outcome = await run(under_sqlalchemy, clients=20, seconds=8, failovers=1, seed=4, engine="mariadb")

    assert broken_promises(outcome) == []
    assert len(outcome.acknowledged) > 20
    assert outcome.sold == len(outcome.stored) >= len(outcome.acknowledged)
    assert max(outcome.first_orders_s) < 2.0


async def test_the_shops_make_their_tables():
    """As their docstrings say: `python shop.py`, with nothing but a URL in the environment."""
    shops = pathlib.Path(__file__).parents[2] / "docs/how-to/fastapi"
    async with SimulatedCluster(2, engine="mariadb") as sim:
        variables = {"AIOAURORA_URL": sim.url, "DATABASE_URL": sim.url.replace("mysql:", "mysql+aioaurora:", 1)}
        for script in ("shop.py", "sqlalchemy_shop.py"):
            process = await asyncio.create_subprocess_exec(sys.executable, shops / script, env=os.environ | variables)
            assert await asyncio.wait_for(process.wait(), 20) == 0

            assert await sim.rows("SELECT id, name, stock FROM products") == [(1, "a lamp", 100)]
            assert await sim.rows("SELECT COUNT(*) FROM orders") == [(0,)]
            for table in ("products", "orders"):
                await sim.execute(f"DROP TABLE {table}")
