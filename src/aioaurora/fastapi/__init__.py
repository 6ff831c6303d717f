"""FastAPI and Starlette: a pool for an application, its connections in handlers, answers while there is no writer.

    app = FastAPI(lifespan=aurora_lifespan(url))    the pool: opened at the start, drained in the end
    install(app)                                    answers for errors, health checks, hang-ups end statements

    async def handler(connection: Writer)           a connection that is given back before the response is sent
    async def handler(connection: Transaction)      the same, and committed, or rolled back if the handler raises
    async def handler(pool: Database)               the pool: for `run`, background tasks and streams

What a request holds it holds no longer than its handler runs: FastAPI's `scope="function"`.
"""

from __future__ import annotations

from aioaurora.fastapi._answers import exception_handlers
from aioaurora.fastapi._connections import (
    Database,
    Reader,
    Transaction,
    Writer,
    database,
    reader,
    transaction,
    writer,
)
from aioaurora.fastapi._hangups import CancelOnDisconnect
from aioaurora.fastapi._health import health_routes
from aioaurora.fastapi._installing import install
from aioaurora.fastapi._lifespan import aurora_lifespan
from aioaurora.fastapi._service import AuroraState

__all__ = [
    "AuroraState",
    "CancelOnDisconnect",
    "Database",
    "Reader",
    "Transaction",
    "Writer",
    "aurora_lifespan",
    "database",
    "exception_handlers",
    "health_routes",
    "install",
    "reader",
    "transaction",
    "writer",
]
