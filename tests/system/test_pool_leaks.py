"""Whatever is done to a pool ten thousand times leaves nothing behind.

AIOAURORA_CYCLES says how often; in CI it is a tenth, to save time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from typing import TYPE_CHECKING, Any

import pytest

import aioaurora
from tests.growth import check_growth
from tests.mariadb import private_mariadb

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Awaitable, Callable, Iterator

    from tests.mariadb import MariaDB

CYCLES = int(os.environ.get("AIOAURORA_CYCLES", "1000"))
AT_A_TIME = 20
WARM_UP = 500  # Until then caches and the allocator's own fill.
GROWTH_BYTES = 1_000_000 + 200 * CYCLES
GROWTH_OBJECTS = 200

pytestmark = [pytest.mark.needs("mariadbd"), pytest.mark.timeout(30 + CYCLES // 10)]


@pytest.fixture
def server(tmp_path: pathlib.Path) -> Iterator[MariaDB]:
    """A MariaDB of our own."""
    with private_mariadb(tmp_path, ["--skip-grant-tables", "--max-connections=500"]) as server:
        yield server


@pytest.fixture
async def count(server: MariaDB) -> Callable[[], Awaitable[int]]:
    """Count the server's connections besides the one that asks."""

    async def counted() -> int:
        async with aioaurora.connect(**_options(server), follow="off") as connection, connection.cursor() as cursor:
            await cursor.execute("SELECT COUNT(*) FROM information_schema.processlist WHERE id <> CONNECTION_ID()")
            (number,) = await cursor.fetchone()
            return int(number)

    return counted


async def test_cancelled_cycles_leave_nothing(server: MariaDB, count: Callable[[], Awaitable[int]]) -> None:
    """Leased, asked and cancelled at any point, connections are replaced, and no more of them live than `maxsize`."""
    chance = random.Random(7)
    async with aioaurora.create_pool(**_options(server), minsize=1, maxsize=AT_A_TIME // 2) as pool:
        await _check(lambda: _cancelled_cycle(pool, chance), pool, sockets=AT_A_TIME // 2)  # As many are idle now.
        stats = pool.stats()

        assert (stats.leased, stats.waiting, stats.opening) == (0, 0, 0)
        assert stats.size <= AT_A_TIME // 2
        assert await _goes_down_to(count, stats.size + 1)

    assert await _goes_down_to(count, 0)


async def test_pools_that_come_and_go_leave_nothing(server: MariaDB, count: Callable[[], Awaitable[int]]) -> None:
    """Case 23: used or not, closed politely, terminated, or cancelled while it opens."""
    chance = random.Random(11)
    await _check(lambda: _pool_cycle(server, chance))
    assert await _goes_down_to(count, 0)


async def _cancelled_cycle(pool: aioaurora.Pool, chance: random.Random) -> None:
    """Lease, ask, and be cancelled after up to 3 ms, as a rule in the middle of something."""
    task = asyncio.create_task(_used(pool))
    await asyncio.sleep(chance.random() * 0.003)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _used(pool: aioaurora.Pool) -> None:
    async with pool.acquire() as connection, connection.cursor() as cursor:
        await cursor.execute("SELECT SLEEP(0.001)")
        await cursor.fetchone()
        await cursor.execute("SET @touched = 1")


async def _pool_cycle(server: MariaDB, chance: random.Random) -> None:
    """Make a pool, use it or not, and end it in one of the ways that there are."""
    way = chance.randrange(4)
    if way == 0:
        task = asyncio.create_task(_opened_and_closed(server))
        await asyncio.sleep(chance.random() * 0.01)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        return
    async with aioaurora.create_pool(**_options(server), minsize=1, maxsize=2) as pool:
        if way == 1:
            await pool.fetch_value("SELECT 1")
        elif way == 2:
            connection = await pool.acquire()
            pool.terminate()
            await pool.wait_closed()
            assert connection.closed


async def _opened_and_closed(server: MariaDB) -> None:
    async with aioaurora.create_pool(**_options(server), minsize=2, maxsize=2) as pool:
        await _used(pool)


async def _many(times: int, cycle: Callable[[], Awaitable[None]]) -> None:
    left = iter(range(times))

    async def some() -> None:
        for _ in left:
            await cycle()

    await asyncio.gather(*[some() for _ in range(AT_A_TIME)])


async def _settled(pool: aioaurora.Pool | None) -> None:
    """Let what was ended come to its end."""
    for _ in range(500):
        stats = pool.stats() if pool is not None else None
        if stats is None or not (stats.leased or stats.opening):
            break
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.5)


async def _check(cycle: Callable[[], Awaitable[None]], pool: aioaurora.Pool | None = None, *, sockets: int = 0) -> None:
    await _many(WARM_UP, cycle)
    objects = GROWTH_OBJECTS + 300 * sockets  # An idle connection has its objects.
    most = {"tasks": 0, "sockets": sockets, "objects": objects, "bytes": GROWTH_BYTES}
    await check_growth(lambda: _many(CYCLES, cycle), lambda: _settled(pool), most)


async def _goes_down_to(count: Callable[[], Awaitable[int]], number: int) -> bool:
    """Tell whether the server has that many connections soon: it notices a socket's end late."""
    for _ in range(100):
        if await count() <= number:
            return True
        await asyncio.sleep(0.05)
    return False


def _options(server: MariaDB) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": server.port, "user": "root", "connect_timeout": 10}
