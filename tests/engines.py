"""SQLAlchemy engines over a simulated cluster, and what is asked of them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from sqlalchemy import URL, text
from sqlalchemy.ext.asyncio import create_async_engine

from tests.virtual import names

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aioaurora.simulator import SimulatedCluster

_IN_URL = {"username": "user", "password": "password", "host": "host", "port": "port", "database": "db"}
WHO = "SELECT @@aurora_server_id, @@innodb_read_only"


def url_of(sim: SimulatedCluster, **query: str) -> URL:
    """Give the cluster's URL as SQLAlchemy has it."""
    said = sim.connect_options()
    return URL.create("mysql+aioaurora", query=query, **{name: said[ours] for name, ours in _IN_URL.items()})


def arguments_of(sim: SimulatedCluster, **others) -> dict[str, object]:
    """Give what a URL does not say."""
    said = sim.connect_options() | others
    return {name: value for name, value in said.items() if name not in _IN_URL.values()}


@contextlib.asynccontextmanager
async def engine_on(
    sim: SimulatedCluster, monkeypatch=None, *, query=None, connect_args=None, **options
) -> AsyncIterator[AsyncEngine]:
    """Enter an engine; with `monkeypatch` it is on virtual time, and needs the simulator's names."""
    if monkeypatch is not None:
        names(sim, monkeypatch)
    engine = create_async_engine(
        url_of(sim, **(query or {})), connect_args=arguments_of(sim, **(connect_args or {})), **options
    )
    try:
        yield engine
    finally:
        await engine.dispose()


async def asked(engine: AsyncEngine, statement: str = WHO, **values):
    """Check a connection out, ask, and give it back; gives the first row."""
    async with engine.connect() as connection:
        return tuple((await connection.execute(text(statement), values)).one())


async def filled(engine: AsyncEngine, count: int) -> set[int]:
    """Have `count` connections in the pool; gives their ids."""
    async with contextlib.AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(engine.connect()) for _ in range(count)]
        return {await id_of(connection) for connection in connections}


async def id_of(connection) -> int:
    """The server's number of a connection that is checked out."""
    return (await driver_of(connection)).thread_id()


async def driver_of(connection):
    """Our connection under SQLAlchemy's."""
    return (await connection.get_raw_connection()).driver_connection
