"""The same shop over SQLAlchemy: one engine for the writer, one for readers, and sessions.

export DATABASE_URL=mysql+aioaurora://app:secret@orders.cluster-abc123.us-east-1.rds.amazonaws.com/shop
python sqlalchemy_shop.py       # Once: makes the tables.
uvicorn sqlalchemy_shop:app
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException
from pydantic import BaseModel, Field
from sqlalchemy import String, insert, make_url, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

import aioaurora
from aioaurora.fastapi import install
from aioaurora.sqlalchemy import run_in_transaction


class Base(DeclarativeBase):
    """What is mapped."""


class StoredProduct(Base):
    """A row of the catalogue."""

    __tablename__ = "products"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50))
    stock: Mapped[int]


class StoredOrder(Base):
    """A row of the orders."""

    __tablename__ = "orders"
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    product: Mapped[int]
    quantity: Mapped[int]


# Nothing is opened here: connections are made at the first request, in the process that serves it.
URL = make_url(os.environ["DATABASE_URL"])
OPTIONS = {"give_up_waiting_after": 5.0}  # Late comers in a long failover are told 503 at once.
writers = create_async_engine(URL, pool_size=20, max_overflow=0, connect_args=OPTIONS)
readers = create_async_engine(
    URL.update_query_dict({"role": "reader"}), pool_size=20, max_overflow=0, connect_args=OPTIONS
)
sessions = async_sessionmaker(writers, expire_on_commit=False)
reading = async_sessionmaker(readers)


@contextlib.asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Close the engines in the end."""
    yield
    await readers.dispose()
    await writers.dispose()


app = FastAPI(title="SQLAlchemy shop", lifespan=lifespan)
install(app, health=None)  # Its health checks look at a pool of ours, and here is none.


async def begun() -> AsyncIterator[AsyncSession]:
    """Give a transaction on the writer: committed after the handler, rolled back if that raises."""
    async with sessions.begin() as session:
        yield session


async def read() -> AsyncIterator[AsyncSession]:
    """Give a session on a reader."""
    async with reading() as session:
        yield session


Transaction = Annotated[AsyncSession, Depends(begun, scope="function")]
Reader = Annotated[AsyncSession, Depends(read, scope="function")]


class Product(BaseModel, from_attributes=True):
    """What is for sale."""

    id: int
    name: str
    stock: int


class NewOrder(BaseModel, from_attributes=True):
    """What a customer asks for."""

    product: int
    quantity: int = Field(gt=0)


class Order(NewOrder):
    """What a customer was promised."""

    id: str


@app.get("/products")
async def catalogue(session: Reader) -> list[Product]:
    """List the catalogue: from a reader, which may be a moment behind."""
    found = await session.scalars(select(StoredProduct).order_by(StoredProduct.id))
    return [Product.model_validate(each) for each in found]


@app.put("/products/{product}/stock")
async def restock(product: int, quantity: int, session: Transaction) -> None:
    """Set the stock of a product: one transaction, committed before the response is sent."""
    stored = await session.get(StoredProduct, product, with_for_update=True)
    if stored is None:
        raise HTTPException(404, "no such product")
    stored.stock = quantity


@app.post("/orders", status_code=201)
async def place(order: NewOrder, idempotency_key: Annotated[str, Header(max_length=36)]) -> Order:
    """Place an order, through a failover if need be.

    The key makes it safe to ask again, for us and for the client: it is the order's primary key.
    """
    while True:
        try:
            return await run_in_transaction(sessions, _placed, idempotency_key, order)
        except DBAPIError as error:
            if not isinstance(error.orig, aioaurora.CommitOutcomeUnknown):
                raise
            # It may have been committed: then the next attempt finds it.


@app.get("/orders/{key}")
async def show(key: str, session: Transaction) -> Order:
    """Show an order: from the writer, as it may have been placed only just now."""
    found = await session.get(StoredOrder, key)
    if found is None:
        raise HTTPException(404, "no such order")
    return Order.model_validate(found)


async def _placed(session: AsyncSession, key: str, order: NewOrder) -> Order:
    try:
        await session.execute(insert(StoredOrder).values(id=key, **order.model_dump()))
    except IntegrityError:  # It was placed before.
        found = await session.get(StoredOrder, key)
        if found is not None and NewOrder.model_validate(found) == order:
            return Order.model_validate(found)
        raise HTTPException(409, "another order has this key") from None
    in_stock = update(StoredProduct).where(StoredProduct.id == order.product, StoredProduct.stock >= order.quantity)
    taken = await session.execute(
        in_stock.values(stock=StoredProduct.stock - order.quantity).execution_options(synchronize_session=False)
    )
    if not taken.rowcount:
        raise HTTPException(409, "not in stock")
    return Order(id=key, **order.model_dump())


async def set_up() -> None:
    """Make the tables, and something to sell."""
    async with writers.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with sessions.begin() as session:
        await session.merge(StoredProduct(id=1, name="a lamp", stock=100))
    await writers.dispose()


if __name__ == "__main__":
    asyncio.run(set_up())
