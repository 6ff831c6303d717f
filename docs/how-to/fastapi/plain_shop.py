"""The same shop on plain aiomysql and the cluster endpoint, for comparison: what one writes without this package.

Its statements have a time-out of 3 s each, without which a silent writer would hold its requests for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from typing import Annotated, Any

import aiomysql
from fastapi import Depends, FastAPI, Header, HTTPException, Request
from pydantic import BaseModel, Field

STATEMENT_TIMEOUT_S = 3.0


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open a pool at the start, and close it in the end."""
    app.state.pool = await aiomysql.create_pool(
        host=os.environ["SHOP_HOST"],
        port=int(os.environ["SHOP_PORT"]),
        user=os.environ["SHOP_USER"],
        password=os.environ["SHOP_PASSWORD"],
        db="shop",
        maxsize=20,
        cursorclass=aiomysql.DictCursor,
        connect_timeout=3,
    )
    yield
    app.state.pool.terminate()
    await app.state.pool.wait_closed()


app = FastAPI(title="Plain shop", lifespan=lifespan)


async def connected(request: Request) -> AsyncIterator[aiomysql.Connection]:
    """Lease a connection for as long as a handler runs."""
    pool = request.app.state.pool
    async with asyncio.timeout(STATEMENT_TIMEOUT_S):
        connection = await pool.acquire()
    try:
        yield connection
    finally:
        if connection.get_transaction_status():
            with contextlib.suppress(Exception):
                async with asyncio.timeout(STATEMENT_TIMEOUT_S):
                    await connection.rollback()
        pool.release(connection)


Connection = Annotated[aiomysql.Connection, Depends(connected, scope="function")]


class NewOrder(BaseModel):
    """What a customer asks for."""

    product: int
    quantity: int = Field(gt=0)


async def _run(connection: aiomysql.Connection, sql: str, args: tuple[Any, ...] = ()) -> tuple[int, list[Any]]:
    async with asyncio.timeout(STATEMENT_TIMEOUT_S), connection.cursor() as cursor:
        count = await cursor.execute(sql, args)
        return count, list(await cursor.fetchall())


@app.get("/products")
async def catalogue(connection: Connection) -> list[dict[str, Any]]:
    """List the catalogue."""
    _, rows = await _run(connection, "SELECT id, name, stock FROM products ORDER BY id")
    return rows


@app.put("/products/{product}/stock")
async def restock(product: int, quantity: int, connection: Connection) -> None:
    """Set the stock of a product."""
    if not (await _run(connection, "SELECT id FROM products WHERE id = %s FOR UPDATE", (product,)))[0]:
        raise HTTPException(404, "no such product")
    await _run(connection, "UPDATE products SET stock = %s WHERE id = %s", (quantity, product))
    await connection.commit()


@app.post("/orders", status_code=201)
async def place(
    order: NewOrder, connection: Connection, idempotency_key: Annotated[str, Header(max_length=36)]
) -> dict[str, Any]:
    """Place an order."""
    values = (idempotency_key, order.product, order.quantity)
    try:
        await _run(connection, "INSERT INTO orders (id, product, quantity) VALUES (%s, %s, %s)", values)
    except aiomysql.IntegrityError:
        return {"id": idempotency_key, **order.model_dump()}  # It was placed before.
    take = "UPDATE products SET stock = stock - %s WHERE id = %s AND stock >= %s"
    if not (await _run(connection, take, (order.quantity, order.product, order.quantity)))[0]:
        raise HTTPException(409, "not in stock")
    async with asyncio.timeout(STATEMENT_TIMEOUT_S):
        await connection.commit()
    return {"id": idempotency_key, **order.model_dump()}


@app.get("/orders/{key}")
async def show(key: str, connection: Connection) -> dict[str, Any]:
    """Show an order."""
    _, rows = await _run(connection, "SELECT id, product, quantity FROM orders WHERE id = %s", (key,))
    if not rows:
        raise HTTPException(404, "no such order")
    return rows[0]
