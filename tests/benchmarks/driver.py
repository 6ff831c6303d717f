"""Compare our Connection with raw aiomysql on one MariaDB: `python tests/benchmarks/driver.py [pairs]`.

Prints the ratio of the client's CPU time, ours to aiomysql's: the median of paired ratios. Raw against raw is measured
in the same pairs; a run in which that differs from 1 by more than 0.01 does not count and is repeated.
The server runs on one core and the client on another; connects go to an IP address, with autocommit False on both
sides, and ours asks for the instance's role as well. Exit status 1: a bound was missed; 2: no run counted.
"""

from __future__ import annotations

import asyncio
import gc
import os
import pathlib
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent.parent))

import aiomysql

from aioaurora.connection import Connection
from tests.mariadb import MariaDB, private_mariadb

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

PAIRS = 31
TRIES = 6
CONTROL = 0.01
ROLE_QUERY = "SELECT @@innodb_read_only, @@read_only, NULL"

_opened: list[Any] = []


@dataclass(frozen=True, slots=True)
class Measure:
    """One thing that is compared, and how dear it may be."""

    name: str
    bound: float
    times: int
    raw: Callable[[], Awaitable[Any]]
    ours: Callable[[], Awaitable[Any]]


def main() -> int:
    """Start a server, pin it and us, measure."""
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else PAIRS
    with tempfile.TemporaryDirectory(prefix="aa-") as place, private_mariadb(pathlib.Path(place, "db")) as server:
        cores = sorted(os.sched_getaffinity(0))
        _pin(server.process.pid, cores[0])
        _pin(0, cores[-1])
        return asyncio.run(_compare(server, pairs))


def _pin(process: int, core: int) -> None:
    tasks = pathlib.Path(f"/proc/{process or os.getpid()}/task")
    for task in tasks.iterdir():
        os.sched_setaffinity(int(task.name), {core})


async def _compare(server: MariaDB, pairs: int) -> int:
    options = {
        "host": "127.0.0.1",
        "port": server.port,
        "user": "root",
        "password": "",
        "db": "mysql",
        "autocommit": False,
    }
    raw = await aiomysql.connect(**options)
    ours = Connection(**options)
    await ours.open()
    await ours.declare(ROLE_QUERY)
    try:
        measures = await _measures(options, raw, ours)
        status = 0
        heads = f"{'ratio':>8}{'bound':>8}{'raw/raw':>9}{'us raw':>9}{'us ours':>9}  pairs"
        print(f"{'client CPU, ours / aiomysql':<30}{heads}")
        for measure in measures:
            status = max(status, await _settled(measure, pairs))
        return status
    finally:
        await raw.ensure_closed()
        await ours.ensure_closed()


async def _measures(options: dict[str, Any], raw: Any, ours: Any) -> list[Measure]:
    columns = ", ".join(f"seq + {n} AS number{n}, CONCAT('text ', seq) AS text{n}" for n in range(5))
    many = f"SELECT {columns} FROM seq_1_to_10000"

    async def one(connection: Any) -> None:
        async with connection.cursor() as cursor:
            await cursor.execute("SELECT 1")
            await cursor.fetchone()

    async def ten_thousand(connection: Any) -> None:
        async with connection.cursor() as cursor:
            await cursor.execute(many)
            if len(await cursor.fetchall()) != 10_000:
                raise AssertionError("rows are missing")

    async def connect_raw() -> None:
        _opened.append(await aiomysql.connect(**options))

    async def connect_ours() -> None:
        connection = Connection(**options)
        await connection.open()
        await connection.declare(ROLE_QUERY)
        _opened.append(connection)

    return [
        Measure("SELECT 1", 1.02, 400, lambda: one(raw), lambda: one(ours)),
        Measure("10,000 rows of 10", 0.75, 1, lambda: ten_thousand(raw), lambda: ten_thousand(ours)),
        Measure("connect, with the role", 1.30, 40, connect_raw, connect_ours),
    ]


async def _settled(measure: Measure, pairs: int) -> int:
    for _ in range(TRIES):
        ratio, control, cost_raw, cost_ours = await _measured(measure, pairs)
        counts = abs(control - 1) <= CONTROL
        note = "" if counts else "  does not count: repeated"
        figures = f"{ratio:>8.3f}{measure.bound:>8.2f}{control:>9.3f}{cost_raw * 1e6:>9.0f}{cost_ours * 1e6:>9.0f}"
        print(f"{measure.name:<30}{figures}{pairs:>7}{note}", flush=True)
        if counts:
            return int(ratio > measure.bound)
    return 2


async def _measured(measure: Measure, pairs: int) -> tuple[float, float, float, float]:
    ratios, controls, raws, ours = [], [], [], []
    for side in (measure.raw, measure.ours):
        await _cost(side, measure.times)
    for number in range(pairs):
        order = [measure.raw, measure.ours, measure.raw]
        if number % 2:  # Whoever comes first must not always be the same.
            first, mine, second = [await _cost(side, measure.times) for side in order]
        else:
            mine = await _cost(measure.ours, measure.times)
            first, second = [await _cost(measure.raw, measure.times) for _ in range(2)]
        ratios.append(2 * mine / (first + second))
        controls.append(first / second)
        raws.append(first)
        ours.append(mine)
    return statistics.median(ratios), statistics.median(controls), statistics.median(raws), statistics.median(ours)


async def _cost(side: Callable[[], Awaitable[Any]], times: int) -> float:
    gc.collect()
    gc.disable()
    try:
        begun = time.process_time()
        for _ in range(times):
            await side()
        return (time.process_time() - begun) / times
    finally:
        gc.enable()
        while _opened:  # Closing is not connecting: ours says goodbye to the server, aiomysql's does not.
            await _opened.pop().ensure_closed()


if __name__ == "__main__":
    sys.exit(main())
