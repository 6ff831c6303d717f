"""The example shop: what its customers can do, and what they are told."""

from __future__ import annotations

import importlib.util
import pathlib
import sys

import pytest

from tests.fastapi.served import served

SHOP = pathlib.Path(__file__).parents[2] / "docs/how-to/fastapi/shop.py"
ORDER = {"product": 1, "quantity": 2}


@pytest.fixture
async def shop(sim, monkeypatch):
    """The shop, open."""
    said = sim.connect_options()
    monkeypatch.setenv("AIOAURORA_URL", sim.url)
    monkeypatch.setenv("AIOAURORA_NAMESERVERS", said["nameservers"][0])
    monkeypatch.setenv("AIOAURORA_INSTANCE_PATTERN", said["instance_pattern"])
    spec = importlib.util.spec_from_file_location("example_shop", SHOP)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "example_shop", module)
    spec.loader.exec_module(module)
    await sim.execute("DROP TABLE orders")
    for statement in module.TABLES:
        await sim.execute(statement)
    await sim.execute("INSERT INTO products (id, name, stock) VALUES (1, 'a lamp', 3)")
    async with served(module.app) as running:
        yield running


async def _placed(shop, key, **order):
    return await shop.post("/orders", json=ORDER | order, headers={"Idempotency-Key": key})


async def test_an_order_is_placed_once_however_often_it_is_sent(shop, sim):
    """The key is the order's own."""
    first, again = await _placed(shop, "k1"), await _placed(shop, "k1")

    assert (first.status_code, first.json()) == (again.status_code, again.json()) == (201, {"id": "k1", **ORDER})
    assert (await shop.get("/orders/k1")).json() == {"id": "k1", **ORDER}
    assert await sim.rows("SELECT stock FROM products") == [(1,)]


async def test_another_order_with_the_same_key_is_refused(shop, sim):
    """It would be lost without a word."""
    await _placed(shop, "k1")

    assert (await _placed(shop, "k1", quantity=1)).status_code == 409
    assert await sim.rows("SELECT stock FROM products") == [(1,)]


async def test_what_is_not_in_stock_is_not_sold(shop, sim):
    """Neither is the order kept."""
    assert (await _placed(shop, "k1", quantity=4)).status_code == 409
    assert (await shop.get("/orders/k1")).status_code == 404
    assert await sim.rows("SELECT COUNT(*) FROM orders") == [(0,)]


@pytest.mark.parametrize("executed", [True, False])
async def test_an_order_whose_commit_was_lost_is_placed_once(shop, sim, executed):
    """Whether it was done or not."""
    await sim.lose_commit_answer(executed=executed)

    assert (await _placed(shop, "k1")).status_code == 201
    assert await sim.rows("SELECT stock FROM products") == [(1,)]


async def test_the_catalogue_shows_what_was_restocked(shop):
    """And there is no stock of what there is not."""
    assert (await shop.client.put("/products/1/stock?quantity=9")).status_code == 200
    assert (await shop.client.put("/products/2/stock?quantity=9")).status_code == 404
    assert (await shop.get("/products")).json() == [{"id": 1, "name": "a lamp", "stock": 9}]
