"""An application as a server starts it; the environment says where its cluster is, and how it ends."""

from __future__ import annotations

import asyncio
import os

from fastapi import FastAPI

import aioaurora
from aioaurora.fastapi import Database, Writer, aurora_lifespan, install

if "MADE_BEFORE_THE_FORK" in os.environ:
    from aioaurora.environment import from_env

    early = aioaurora.Cluster(**from_env())
    app = FastAPI(lifespan=aurora_lifespan(cluster=early, env_prefix=None))
else:
    app = FastAPI(
        lifespan=aurora_lifespan(
            maxsize=20,
            drain_timeout=float(os.environ.get("DRAIN_TIMEOUT", "20")),
            drain_delay=float(os.environ.get("DRAIN_DELAY", "0")),
        )
    )
install(app)


@app.get("/who")
async def who(connection: Writer) -> dict[str, object]:
    """Say who serves."""
    return {"pid": os.getpid(), "instance": connection.instance}


@app.get("/sleep/{seconds}")
async def sleep(seconds: float, connection: Writer) -> str:
    """Have the server sleep."""
    async with connection.cursor() as cursor:
        await cursor.execute("SELECT SLEEP(%s)", (seconds,))
    return "slept"


@app.get("/state")
async def state(pool: Database) -> dict[str, int]:
    """Say what there is: leased, waiting, and tasks besides this request's."""
    stats = pool.stats()
    return {"leased": stats.leased, "waiting": stats.waiting, "size": stats.size, "tasks": len(asyncio.all_tasks())}
