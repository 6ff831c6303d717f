"""The kinds of client that go through failovers, each as its users are told to write it.

- aioaurora: a pool with its defaults;
- aiomysql: a pool on the cluster endpoint; each write is bounded by three seconds, what failed is closed;
- the AWS Advanced Python Wrapper over aiomysql, with its failover and host monitoring plugins and their defaults;
- the same with every interval as short as is sensible.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Protocol

import aiomysql

import aioaurora
from tests.benchmarks import figures

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aioaurora.simulator import SimulatedCluster

INSERT = "INSERT INTO written (client) VALUES (%s)"
LIMIT_S, PAUSE_S, GOODBYE_S = 3.0, 0.1, 5.0
KINDS = (figures.OURS, figures.TUNED, figures.RAW, figures.AWS)
TUNED = {
    "connect_timeout": 1,
    "failure_detection_time_ms": 1000,
    "failure_detection_interval_ms": 500,
    "failure_detection_count": 2,
    "topology_refresh_ms": 500,
    "cluster_topology_high_refresh_rate_ms": 100,
    "failover_writer_reconnect_interval_sec": 0.1,
}


class Way(Protocol):
    """How one kind of client writes.

    Attributes:
        pause_s: What it waits after an error before it tries again.
    """

    pause_s: float

    async def write(self, client: int) -> None:
        """Write one row; raise when that was not acknowledged."""


class Ours:
    """Our pool, which leads every client to the writer."""

    pause_s = 0.0

    def __init__(self, pool: aioaurora.Pool) -> None:
        self._pool = pool

    async def write(self, client: int) -> None:
        """Lease, write, give back."""
        async with self._pool.acquire() as connection, connection.cursor() as cursor:
            await cursor.execute(INSERT, (client,))


class Plain:
    """aiomysql's pool, each write bounded; it would keep a connection to the old writer, so what failed is closed."""

    pause_s = PAUSE_S

    def __init__(self, pool: aiomysql.Pool) -> None:
        self._pool = pool

    async def write(self, client: int) -> None:
        """Take, write, give back."""
        async with asyncio.timeout(LIMIT_S), self._pool.acquire() as connection:
            try:
                async with connection.cursor() as cursor:
                    await cursor.execute(INSERT, (client,))
            except BaseException:
                connection.close()
                raise


class Wrapped:
    """aiomysql inside the AWS wrapper: one connection for each client, which goes on with it after a failover."""

    pause_s = PAUSE_S

    def __init__(self, place: dict[str, Any], settings: dict[str, Any]) -> None:
        self._place, self._settings = place, settings
        self._held: dict[int, Any] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def connect(self) -> Any:
        """Connect to the cluster endpoint; without naming the plugins there is no failover."""
        from aws_advanced_python_wrapper.aio.wrapper import AsyncAwsWrapperConnection

        pattern = self._place["instance_pattern"].replace("{id}", "?")
        return await AsyncAwsWrapperConnection.connect(
            aiomysql.connect,
            **plain_options(self._place),
            plugins="failover,host_monitoring_v2",
            wrapper_dialect="aurora-mysql",
            cluster_instance_host_pattern=f"{pattern}:{self._place['port']}",
            **self._settings,
        )

    async def write(self, client: int) -> None:
        """Write on this client's connection; its failover is no error to go away for."""
        from aws_advanced_python_wrapper.errors import FailoverSuccessError

        while True:
            if client not in self._held:
                self._held[client] = await self.connect()
            try:
                async with self._held[client].cursor() as cursor:
                    await cursor.execute(INSERT, (client,))
                return
            except FailoverSuccessError:
                continue
            except Exception:
                self._drop(self._held.pop(client))
                raise

    def _drop(self, connection: Any) -> None:
        task = asyncio.create_task(closed(connection))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


async def closed(connection: Any) -> None:
    """Close a wrapped connection, which may take its time, and may fail when it was lost."""
    with contextlib.suppress(Exception):
        async with asyncio.timeout(GOODBYE_S):
            await connection.close()


async def released() -> None:
    """End what the wrapper keeps."""
    from aws_advanced_python_wrapper.aio.cleanup import release_resources_async

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(GOODBYE_S):
            await release_resources_async()


@contextlib.asynccontextmanager
async def entered(kind: str, place: dict[str, Any], clients: int) -> AsyncIterator[Way]:
    """Make one kind of client ready; `place` is what `place_of` gives."""
    if kind == figures.OURS:
        async with aioaurora.create_pool(**place, autocommit=True) as pool:
            yield Ours(pool)
    elif kind == figures.RAW:
        sizes = {"minsize": 1, "maxsize": clients, "connect_timeout": LIMIT_S}
        pool = await aiomysql.create_pool(**plain_options(place), **sizes)
        try:
            yield Plain(pool)
        finally:
            pool.terminate()
    else:
        try:
            yield Wrapped(place, TUNED if kind == figures.TUNED else {})
        finally:
            await released()


def place_of(sim: SimulatedCluster) -> dict[str, Any]:
    """Give the keywords with which a cluster is reached, as JSON can hold them."""
    return sim.connect_options() | {"nameservers": list(sim.nameservers)}


def plain_options(place: dict[str, Any]) -> dict[str, Any]:
    """Give what others than we understand of them."""
    names = ("host", "port", "user", "password", "db")
    return {name: value for name, value in place.items() if name in names} | {"autocommit": True}
