"""A small shop: a catalogue that is read, and orders that are written, exactly once.

export AIOAURORA_URL=mysql://app:secret@orders.cluster-abc123.us-east-1.rds.amazonaws.com/shop
python shop.py       # Once: makes the tables.
uvicorn shop:app
"""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import FastAPI, Header, HTTPException
from pydantic import BaseModel, Field

import aioaurora
from aioaurora.environment import from_env
from aioaurora.fastapi import Database, Reader, Transaction, Writer, aurora_lifespan, install

TABLES = (
    "CREATE TABLE IF NOT EXISTS products (id INT PRIMARY KEY, name VARCHAR(50) NOT NULL, stock INT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS orders (id VARCHAR(36) PRIMARY KEY, product INT NOT NULL, quantity INT NOT NULL)",
)
LAMP = "REPLACE INTO products (id, name, stock) VALUES (1, 'a lamp', 100)"

app = FastAPI(title="Shop", lifespan=aurora_lifespan(maxsize=20, cursorclass=aioaurora.DictCursor))
install(app)


class Product(BaseModel):
    """What is for sale."""

    id: int
    name: str
    stock: int


class NewOrder(BaseModel):
    """What a customer asks for."""

    product: int
    quantity: int = Field(gt=0)


class Order(NewOrder):
    """What a customer was promised."""

    id: str


@app.get("/products")
async def catalogue(connection: Reader) -> list[Product]:
    """List the catalogue: from a reader, which may be a moment behind."""
    async with connection.cursor() as cursor:
        await cursor.execute("SELECT id, name, stock FROM products ORDER BY id")
        return [Product(**row) for row in await cursor.fetchall()]


@app.put("/products/{product}/stock")
async def restock(product: int, quantity: int, connection: Transaction) -> None:
    """Set the stock of a product: one transaction, committed before the response is sent."""
    async with connection.cursor() as cursor:
        if not await cursor.execute("SELECT id FROM products WHERE id = %s FOR UPDATE", (product,)):
            raise HTTPException(404, "no such product")
        await cursor.execute("UPDATE products SET stock = %s WHERE id = %s", (quantity, product))


@app.post("/orders", status_code=201)
async def place(order: NewOrder, pool: Database, idempotency_key: Annotated[str, Header(max_length=36)]) -> Order:
    """Place an order, through a failover if need be.

    The key makes it safe to ask again, for us and for the client: it is the order's primary key.
    """
    while True:
        try:
            return await pool.run(_placed, idempotency_key, order)
        except aioaurora.CommitOutcomeUnknown:
            continue  # It may have been committed: then the next attempt finds it.


@app.get("/orders/{key}")
async def show(key: str, connection: Writer) -> Order:
    """Show an order: from the writer, as it may have been placed only just now."""
    found = await _found(connection, key)
    if found is None:
        raise HTTPException(404, "no such order")
    return found


async def _placed(connection: aioaurora.Connection, key: str, order: NewOrder) -> Order:
    async with connection.cursor() as cursor:
        try:
            await cursor.execute(
                "INSERT INTO orders (id, product, quantity) VALUES (%s, %s, %s)", (key, order.product, order.quantity)
            )
        except aioaurora.IntegrityError:  # It was placed before.
            found = await _found(connection, key)
            if found is not None and NewOrder(**found.model_dump(exclude={"id"})) == order:
                return found
            raise HTTPException(409, "another order has this key") from None
        taken = await cursor.execute(
            "UPDATE products SET stock = stock - %s WHERE id = %s AND stock >= %s",
            (order.quantity, order.product, order.quantity),
        )
        if not taken:
            raise HTTPException(409, "not in stock")
    return Order(id=key, **order.model_dump())


async def _found(connection: aioaurora.Connection, key: str) -> Order | None:
    async with connection.cursor() as cursor:
        await cursor.execute("SELECT id, product, quantity FROM orders WHERE id = %s", (key,))
        row = await cursor.fetchone()
    return Order(**row) if row else None


async def set_up() -> None:
    """Make the tables, and something to sell."""
    async with aioaurora.create_pool(**from_env()) as pool:
        for statement in (*TABLES, LAMP):
            await pool.execute(statement)


if __name__ == "__main__":
    asyncio.run(set_up())
