"""The example shop, ours and that over SQLAlchemy: what its customers can do, and what they are told."""

from __future__ import annotations

import importlib.util
import pathlib
import sys

import pytest

from tests.fastapi.served import served

SHOPS = pathlib.Path(__file__).parents[2] / "docs/how-to/fastapi"
ORDER = {"product": 1, "quantity": 2}


@pytest.fixture(params=["shop", "sqlalchemy_shop"])
async def shop(request, sim, monkeypatch):
    """The shop, open."""
    monkeypatch.setenv("DATABASE_URL", sim.url.replace("mysql:", "mysql+aioaurora:", 1))
    monkeypatch.setenv("AIOAURORA_URL", sim.url)
    module = _loaded(request.param, monkeypatch)
    await sim.execute("DROP TABLE orders")
    await _loaded("shop", monkeypatch).set_up()  # The other's needs DESCRIBE, which the memory engine has not.
    await sim.execute("UPDATE products SET stock = 3")
    async with served(module.app) as running:
        yield running


def _loaded(name, monkeypatch):
    spec = importlib.util.spec_from_file_location(f"example_{name}", SHOPS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


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


async def test_while_there_is_no_writer_customers_are_told_when_to_come_back(shop, sim):
    """Who came first, after a wait; who comes later, at once; and the catalogue can be read."""
    await shop.get("/orders/k1")
    await sim.crash()

    answers = [await _placed(shop, "k1"), await _placed(shop, "k1"), await shop.get("/orders/k1")]

    assert [(each.status_code, each.headers.get("Retry-After")) for each in answers] == [(503, "1")] * 3
    assert [each.json()["detail"] for each in answers[1:]] == ["there is no writer yet"] * 2
    assert (await shop.get("/products")).status_code == 200
