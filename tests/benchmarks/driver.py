"""Compare our Connection with raw aiomysql and with the wire on one MariaDB: `nox -s bench -- driver [pairs]`.

Prints the ratio of the client's CPU time, ours to aiomysql's: the median of paired ratios. Raw against raw is measured
in the same pairs; a run in which that differs from 1 by more than 0.01 does not count and is repeated. The wire is what
bare streams need that write the same question and read the same answer without looking at it (`wire.py`).
The server runs on one core and the client on another; connects go to an IP address, with autocommit False on both
sides, and ours asks for the instance's role as well. Exit status 1: a bound was missed; 2: a run does not count.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import pathlib
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent.parent))

import aiomysql

from aioaurora.connection import Connection
from tests.benchmarks import figures, paired, tables, wire
from tests.benchmarks.paired import Effort, Sides
from tests.mariadb import MariaDB, private_mariadb

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.benchmarks.figures import Figure

PAIRS, TRIES = 31, 6
CONTROL = 0.01
ROLE_QUERY = "SELECT @@innodb_read_only, @@read_only, NULL"
COLUMNS = ", ".join(f"seq + {n} AS number{n}, CONCAT('text ', seq) AS text{n}" for n in range(5))
MANY = f"SELECT {COLUMNS} FROM seq_1_to_10000"

_opened: list[Any] = []


@dataclass(frozen=True, slots=True)
class Measure:
    """One thing that is compared, and how dear it may be."""

    name: str
    bound: float
    times: int
    raw: Callable[[], Awaitable[Any]]
    ours: Callable[[], Awaitable[Any]]
    wire: Callable[[], Awaitable[Any]]


def main() -> int:
    """Start a server, pin it and us, measure."""
    parser = argparse.ArgumentParser(prog="driver")
    parser.add_argument("pairs", nargs="?", type=int, default=PAIRS)
    parser.add_argument("--tries", type=int, default=TRIES)
    parser.add_argument("--json", type=pathlib.Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="aa-") as place, private_mariadb(pathlib.Path(place, "db")) as server:
        cores = sorted(os.sched_getaffinity(0))
        paired.pin(server.process.pid, cores[0])
        paired.pin(0, cores[-1])
        measured = asyncio.run(_compare(server, Effort(rounds=asked.pairs, tries=asked.tries)))
    tables.write(asked.json, measured)
    return figures.status_of(measured)


async def _compare(server: MariaDB, effort: Effort) -> list[Figure]:
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
    bare = await wire.Wire.open(server.port)
    try:
        measures = [*await _asking(raw, ours, bare), _connecting(options)]
        heads = f"{'ratio':>8}{'bound':>8}{'raw/raw':>9}{'us wire':>9}{'us raw':>9}{'us ours':>9}  pairs"
        print(f"{'client CPU, ours / aiomysql':<30}{heads}")
        measured = []
        for measure in measures:
            measured += await _settled(measure, effort)
        return measured
    finally:
        await raw.ensure_closed()
        await ours.ensure_closed()
        bare.close()


async def _asking(raw: Any, ours: Any, bare: wire.Wire) -> list[Measure]:
    short, long = wire.query("SELECT 1"), wire.query(MANY)
    short_size, long_size = await bare.size(short), await bare.size(long)

    async def one(connection: Any) -> None:
        async with connection.cursor() as cursor:
            await cursor.execute("SELECT 1")
            await cursor.fetchone()

    async def ten_thousand(connection: Any) -> None:
        async with connection.cursor() as cursor:
            await cursor.execute(MANY)
            if len(await cursor.fetchall()) != 10_000:
                raise AssertionError("rows are missing")

    return [
        Measure("SELECT 1", 1.02, 400, lambda: one(raw), lambda: one(ours), lambda: bare.ask(short, short_size)),
        Measure(
            "10,000 rows of 10", 0.70, 1,
            lambda: ten_thousand(raw), lambda: ten_thousand(ours), lambda: bare.ask(long, long_size),
        ),
    ]  # fmt: skip


def _connecting(options: dict[str, Any]) -> Measure:
    async def raw() -> None:
        _opened.append(await aiomysql.connect(**options))

    async def ours() -> None:
        connection = Connection(**options)
        await connection.open()
        await connection.declare(ROLE_QUERY)
        _opened.append(connection)

    async def bare() -> None:
        _opened.append(await wire.Wire.open(options["port"]))

    return Measure("connect, with the role", 1.30, 40, raw, ours, bare)


async def _settled(measure: Measure, effort: Effort) -> list[Figure]:
    sides = Sides(
        ours=lambda: _cost(measure.ours, measure.times),
        raw=lambda: _cost(measure.raw, measure.times),
        wire=lambda: _cost(measure.wire, measure.times),
    )
    pairs = await paired.settled(measure.name, sides, effort, allowance=CONTROL)
    made = paired.figures_of(
        pairs, "driver", measure.name, unit="us", at_most=measure.bound, allowance=CONTROL, scale=1e6
    )
    bare, raw, ours, ratio = made[:4]
    costs = "".join(f"{each.median:>9.0f}" for each in (bare, raw, ours))
    numbers = f"{ratio.median:>8.3f}{measure.bound:>8.2f}{ratio.control:>9.3f}{costs}"
    print(f"{measure.name:<30}{numbers}{ratio.repeats:>7}  {ratio.verdict}", flush=True)
    return made


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
