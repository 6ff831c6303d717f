"""What it costs to hold connections that do nothing: memory here, and connections there."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib.util
import os
import pathlib
import subprocess
import sys
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent.parent))

import aiomysql

import aioaurora
from aioaurora.simulator import SimulatedCluster
from tests.benchmarks import figures, ways
from tests.benchmarks.figures import Figure

KEPT = 1000
SETTLED_S = 2.5  # A heartbeat of a reader that has come into use takes its second.
HELD = (
    # What, role, instance, how many more; and how many connections there may be beside them.
    ("20 to the writer: server connections", "writer", None, 20, 1),
    ("and 5 to one reader: the same", "reader", "db-2", 5, 2),
    ("and 5 to another: the same", "reader", "db-3", 5, 3),
)


# --- memory ---------------------------------------------------------------------------------------------------------


async def memory(port: int, rounds: int) -> list[Figure]:
    """Give the kilobytes by which a process grows with each idle connection: one in our pool, and a raw one."""
    sizes: dict[str, list[float]] = {figures.RAW: [], figures.OURS: []}
    for _ in range(rounds):
        for who, found in sizes.items():
            command = [sys.executable, __file__, who, str(port)]
            told = await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True, text=True)
            found.append(float(told.stdout))
    what = "memory of an idle connection"
    ratios = tuple(own / other for own, other in zip(sizes[figures.OURS], sizes[figures.RAW], strict=True))
    return [
        *[Figure(part="memory", what=what, who=who, unit="kB", values=tuple(found)) for who, found in sizes.items()],
        Figure(part="memory", what=what, who=figures.RATIO, unit="x", values=ratios, at_most=1.2),
    ]


async def _kept(who: str, port: int) -> float:
    """Give the kilobytes of one of 1,000 connections; ours are in a pool, the others are raw."""
    options: dict[str, Any] = {"host": "127.0.0.1", "port": port, "user": "root", "password": "", "db": "mysql"}
    async with contextlib.AsyncExitStack() as stack:
        if who == figures.OURS:
            pool = await stack.enter_async_context(aioaurora.create_pool(**options, minsize=1, maxsize=KEPT + 1))
            before = _resident_kb()
            held = [await pool.acquire() for _ in range(KEPT + 1)]
            for connection in held:
                await pool.release(connection)
        else:
            held = [await aiomysql.connect(**options)]
            before = _resident_kb()
            held += [await aiomysql.connect(**options) for _ in range(KEPT)]
        await asyncio.sleep(0.2)
        grown_kb = (_resident_kb() - before) / KEPT
        if who == figures.RAW:
            for connection in held:
                connection.close()
        return grown_kb


def _resident_kb() -> float:
    gc.collect()
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1024


# --- connections ----------------------------------------------------------------------------------------------------


async def connections() -> list[Figure]:
    """Count what servers see of an application that holds so many: of our pool, of aiomysql's, of the AWS wrapper."""
    made = await _ours()
    what, _, _, count, _ = HELD[0]
    async with SimulatedCluster(3, engine="mariadb") as sim:
        with sim.resolving():
            async with aiomysql.create_pool(**ways.plain_options(ways.place_of(sim)), minsize=count, maxsize=count):
                seen = await _seen(sim)
            made.append(Figure(part="connections", what=what, who=figures.RAW, unit="", values=(seen,)))
            if importlib.util.find_spec("aws_advanced_python_wrapper"):
                made.append(
                    Figure(part="connections", what=what, who=figures.AWS, unit="", values=(await _aws(sim, count),))
                )
    return made


async def _ours() -> list[Figure]:
    made = []
    async with (
        SimulatedCluster(3, engine="mariadb") as sim,
        aioaurora.create_pool(**sim.connect_options(), minsize=0, maxsize=20, wait_ready=True) as pool,
    ):
        held: list[Any] = []
        for what, role, instance, count, extra in HELD:
            held += await asyncio.gather(*[pool.acquire(role=role, instance=instance) for _ in range(count)])
            seen, allowed = await _seen(sim), len(held) + extra
            made.append(
                Figure(part="connections", what=what, who=figures.OURS, unit="", values=(seen,), at_most=allowed)
            )
        for connection in held:
            pool.release(connection)
    return made


async def _aws(sim: SimulatedCluster, count: int) -> float:
    """Open so many through the wrapper, with its defaults."""
    way = ways.Wrapped(ways.place_of(sim), {})
    held = [await way.connect() for _ in range(count)]
    try:
        return await _seen(sim)
    finally:
        for connection in held:
            await ways.closed(connection)
        await ways.released()


async def _seen(sim: SimulatedCluster) -> float:
    await asyncio.sleep(SETTLED_S)
    return float(sum(len(each.connection_ids) for each in sim.instances.values()))


if __name__ == "__main__":
    print(asyncio.run(_kept(sys.argv[1], int(sys.argv[2]))))
