"""The shop over SQLAlchemy and `mysql+aiomysql`, for comparison: the cluster endpoint, and a ping at each checkout.

Each handler has a time-out of 3 s, without which a silent writer would hold its requests for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException
from pydantic import BaseModel, Field
from sqlalchemy import String, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

TIMEOUT_S = 3.0


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


engine = create_async_engine(
    os.environ["DATABASE_URL"], pool_size=20, max_overflow=0, pool_pre_ping=True, connect_args={"connect_timeout": 3}
)
sessions = async_sessionmaker(engine, expire_on_commit=False)


@contextlib.asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Close the engine in the end."""
    yield
    await engine.dispose()


app = FastAPI(title="Plain SQLAlchemy shop", lifespan=lifespan)


async def begun() -> AsyncIterator[AsyncSession]:
    """Give a transaction: committed after the handler, rolled back if that raises."""
    async with asyncio.timeout(TIMEOUT_S), sessions.begin() as session:
        yield session


Session = Annotated[AsyncSession, Depends(begun, scope="function")]


class NewOrder(BaseModel):
    """What a customer asks for."""

    product: int
    quantity: int = Field(gt=0)


@app.get("/products")
async def catalogue(session: Session) -> list[dict[str, Any]]:
    """List the catalogue."""
    found = await session.scalars(select(StoredProduct).order_by(StoredProduct.id))
    return [{"id": each.id, "name": each.name, "stock": each.stock} for each in found]


@app.put("/products/{product}/stock")
async def restock(product: int, quantity: int, session: Session) -> None:
    """Set the stock of a product."""
    stored = await session.get(StoredProduct, product, with_for_update=True)
    if stored is None:
        raise HTTPException(404, "no such product")
    stored.stock = quantity


@app.post("/orders", status_code=201)
async def place(
    order: NewOrder, session: Session, idempotency_key: Annotated[str, Header(max_length=36)]
) -> dict[str, Any]:
    """Place an order."""
    try:
        await session.execute(insert(StoredOrder).values(id=idempotency_key, **order.model_dump()))
    except IntegrityError:
        return {"id": idempotency_key, **order.model_dump()}  # It was placed before.
    in_stock = update(StoredProduct).where(StoredProduct.id == order.product, StoredProduct.stock >= order.quantity)
    taken = await session.execute(
        in_stock.values(stock=StoredProduct.stock - order.quantity).execution_options(synchronize_session=False)
    )
    if not taken.rowcount:
        raise HTTPException(409, "not in stock")
    return {"id": idempotency_key, **order.model_dump()}


@app.get("/orders/{key}")
async def show(key: str, session: Session) -> dict[str, Any]:
    """Show an order."""
    found = await session.get(StoredOrder, key)
    if found is None:
        raise HTTPException(404, "no such order")
    return {"id": found.id, "product": found.product, "quantity": found.quantity}
