"""Compare our pool with aiomysql's on one MariaDB: `nox -s bench -- pool [--rounds N] [--json FILE] [part ...]`.

Parts, all without a name: `checkout`, `contention`, `cold`, `memory`, `connections`. Everything is interleaved in one
run; figures are medians over the rounds, ratios medians of paired ratios with the middle half of them in brackets.
Where time is compared, aiomysql is compared with itself in the same rounds (`raw/raw`): a run in which that differs
from 1 by more than its allowance does not count, and is repeated. The server runs on one core and the client on
another. Exit status 1: a bound was missed; 2: a run does not count.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
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

import aioaurora
from aioaurora.simulator import SimulatedCluster
from tests.benchmarks import figures, holding, paired, tables
from tests.benchmarks.figures import Figure
from tests.benchmarks.paired import Effort, Sides
from tests.mariadb import MariaDB, private_mariadb

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

ROUNDS, TRIES = 15, 4
CONTROL = 0.03  # Of raw/raw: a checkout is 20 us, and thousands of them 40 ms.
CHECKOUTS, FREE = 2000, (1, 10, 100)
POOLED, TASKS, STATEMENTS = 20, (1, 10, 100, 1000), 4000
COLD, LOGIN_S, AT_A_TIME = 50, 0.05, 4
MEMORY_ROUNDS = 5
PARTS = ("checkout", "contention", "cold", "memory", "connections")


def main() -> int:
    """Start a server, pin it and us, measure."""
    parser = argparse.ArgumentParser(prog="pool")
    parser.add_argument("parts", nargs="*", metavar="part", choices=[[], *PARTS])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--tries", type=int, default=TRIES)
    parser.add_argument("--minutes", type=float, default=60.0, help="after which nothing is tried again")
    parser.add_argument("--json", type=pathlib.Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="aa-") as place:
        options = ["--skip-grant-tables", f"--max-connections={2 * holding.KEPT}"]
        with private_mariadb(pathlib.Path(place, "db"), options) as server:
            cores = sorted(os.sched_getaffinity(0))
            paired.pin(server.process.pid, cores[0])
            paired.pin(0, cores[-1])
            measured = asyncio.run(_measured(server, asked))
    tables.write(asked.json, measured)
    return figures.status_of(measured)


async def _measured(server: MariaDB, asked: argparse.Namespace) -> list[Figure]:
    ends_at = asyncio.get_running_loop().time() + 60 * asked.minutes
    effort = Effort(rounds=asked.rounds, tries=asked.tries, ends_at=ends_at)
    measures: dict[str, Callable[[], Awaitable[list[Figure]]]] = {
        "checkout": lambda: _checkout(server, effort),
        "contention": lambda: _contention(server, effort),
        "cold": lambda: _cold(min(effort.rounds, 5)),
        "memory": lambda: _memory(server, min(effort.rounds, MEMORY_ROUNDS)),
        "connections": _connections,
    }
    made: list[Figure] = []
    for part in PARTS:
        if part in (asked.parts or PARTS):
            made += await measures[part]()
    return made


def _options(server: MariaDB) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": server.port, "user": "root", "password": "", "db": "mysql"}


def _head(title: str, unit: str, *more: str) -> None:
    columns = "".join(f"{name:>14}" for name in more)
    print(f"\n{title:<34}{'ours':>9}{'aiomysql':>10} {unit:<8}{'ratio':>7}{'spread':>15}{'raw/raw':>9}{columns}")


def _line(made: Sequence[Figure], *, digits: int = 1, more: Sequence[float] = ()) -> None:
    """Print the figures of one line; those of `more` after them."""
    raw, ours, ratio = (next(each for each in made if each.who == who) for who in SIDES)
    control = "" if ratio.control is None else f"{ratio.control:.3f}"
    low, high = ratio.spread
    values = f"{ours.median:>9.{digits}f}{raw.median:>10.{digits}f} {'':<8}"
    others = "".join(f"{value:>14.2f}" for value in more)
    spread = f"[{low:.3f}, {high:.3f}]"
    bounds = ", ".join(filter(None, map(tables.bound, made)))
    print(f"{ours.what:<34}{values}{ratio.median:>7.3f}{spread:>15}{control:>9}{others}  {bounds}", flush=True)


SIDES = (figures.RAW, figures.OURS, figures.RATIO)


# --- acquire and release ---------------------------------------------------------------------------------------------


async def _checkout(server: MariaDB, effort: Effort) -> list[Figure]:
    """Time acquire + release on a warm pool, by how many connections are free."""
    _head("acquire + release, warm", "us CPU")
    made = []
    for free in FREE:
        sizes = {"minsize": free, "maxsize": free}
        async with (
            aioaurora.create_pool(**_options(server), **sizes) as ours,
            aiomysql.create_pool(**_options(server), **sizes) as raw,
        ):
            sides = Sides(ours=lambda pool=ours: _checkout_us(pool), raw=lambda pool=raw: _checkout_us(pool))
            made += await _compared(
                f"acquire + release, {free} free", sides, effort, at_most=0.2 if free == 10 else None
            )
    few, many = ({"minsize": free, "maxsize": free} for free in (FREE[0], FREE[-1]))
    async with (
        aioaurora.create_pool(**_options(server), **few) as small,
        aioaurora.create_pool(**_options(server), **many) as large,
    ):
        sides = Sides(ours=lambda: _checkout_us(large), raw=lambda: _checkout_us(small))
        # Here both sides are ours, and only the ratio is of use.
        ratio = (await _compared(f"acquire + release, {FREE[-1]} free to {FREE[0]}", sides, effort, at_most=1.15))[-1]
    return [*made, dataclasses.replace(ratio, who=figures.OURS)]


async def _compared(what: str, sides: Sides, effort: Effort, *, at_most: float | None) -> list[Figure]:
    pairs = await paired.settled(what, sides, effort, allowance=CONTROL)
    made = paired.figures_of(pairs, "checkout", what, unit="us", at_most=at_most, allowance=CONTROL)
    _line(made)
    return made


async def _checkout_us(pool: Any) -> float:
    gc.collect()
    gc.disable()
    try:
        begun = time.process_time()
        for _ in range(CHECKOUTS):
            async with pool.acquire():
                pass
        return (time.process_time() - begun) / CHECKOUTS * 1e6
    finally:
        gc.enable()


# --- contention ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Run:
    """What tasks that share a pool lived through."""

    took_s: float  # Less what others had of our core.
    waits_s: list[float]
    done: list[int]  # By task.

    def wait_ms(self, share: float) -> float:
        """Give the wait that this share of the requests did not exceed."""
        return sorted(self.waits_s)[min(int(share * len(self.waits_s)), len(self.waits_s) - 1)] * 1e3

    @property
    def fairness(self) -> float:
        """Jain's: 1 when all tasks got the same."""
        return sum(self.done) ** 2 / (len(self.done) * sum(each * each for each in self.done))


async def _contention(server: MariaDB, effort: Effort) -> list[Figure]:
    """Have more and more tasks share 20 connections, each for one SELECT 1 at a time."""
    _head(
        f"SELECT 1, {POOLED} connections", "1/s",
        *(f"{side} {name}" for side in ("our", "raw") for name in ("p50 ms", "p99 ms", "fair")), "our p99/p50",
    )  # fmt: skip
    made = []
    sizes = {"minsize": POOLED, "maxsize": POOLED}
    async with (
        aioaurora.create_pool(**_options(server), **sizes) as ours,
        aiomysql.create_pool(**_options(server), **sizes) as raw,
    ):
        for tasks in TASKS:
            made += await _shared(ours, raw, tasks, effort)
    return made


async def _shared(ours: Any, raw: Any, tasks: int, effort: Effort) -> list[Figure]:
    runs: dict[str, list[Run]] = {figures.OURS: [], figures.RAW: []}
    sides = Sides(ours=lambda: _rate(ours, tasks, runs[figures.OURS]), raw=lambda: _rate(raw, tasks, runs[figures.RAW]))
    what, is_last = f"SELECT 1 by {tasks:,} tasks", tasks == TASKS[-1]
    pairs = await paired.settled(what, sides, effort, allowance=CONTROL)
    at_least = 1.0 if is_last else None
    rate = paired.figures_of(pairs, "contention", what, unit="1/s", at_least=at_least, allowance=CONTROL)
    counted = {  # The last that were tried, each round's first of aiomysql's two.
        figures.OURS: runs[figures.OURS][-effort.rounds :],
        figures.RAW: runs[figures.RAW][-2 * effort.rounds :: 2],
    }
    mine, theirs = (_waits(what, who, lived, bounded=is_last) for who, lived in counted.items())
    waits = [*theirs, *mine]
    told = [each.median for each in (*mine[:3], *theirs[:3], mine[3])]
    _line(rate, digits=0, more=told)
    tail = tables.bound(mine[3])
    if tail:
        print(f"  our p99/p50 {mine[3].median:.2f}: {tail}", flush=True)
    return rate + (waits if is_last else [each for each in waits if each.unit and "99th" in each.what])


def _waits(what: str, who: str, lived: Sequence[Run], *, bounded: bool) -> list[Figure]:
    """Give the median wait, the 99th percentile, fairness, and how far the second is from the first."""
    tails = tuple(run.wait_ms(0.99) / run.wait_ms(0.5) for run in lived)
    is_bound = bounded and who == figures.OURS

    def figure(name: str, unit: str, values: tuple[float, ...], at_most: float | None = None) -> Figure:
        return Figure(part="contention", what=f"{what}, {name}", who=who, unit=unit, values=values, at_most=at_most)

    return [
        figure("wait, median", "ms", tuple(run.wait_ms(0.5) for run in lived)),
        figure("wait, 99th percentile", "ms", tuple(run.wait_ms(0.99) for run in lived)),
        figure("fairness", "", tuple(run.fairness for run in lived)),
        figure("99th percentile in medians", "", tails, 2.0 if is_bound else None),
    ]


async def _rate(pool: Any, tasks: int, runs: list[Run]) -> float:
    gc.collect()
    left, waits, done = iter(range(STATEMENTS)), [], [0] * tasks
    clock, queued_s = time.perf_counter, _queued_s()

    async def work(number: int) -> None:
        for _ in left:
            asked_at = clock()
            async with pool.acquire() as connection:
                waits.append(clock() - asked_at)
                async with connection.cursor() as cursor:
                    await cursor.execute("SELECT 1")
                    await cursor.fetchone()
            done[number] += 1

    begun = clock()
    await asyncio.gather(*[work(number) for number in range(tasks)])
    run = Run(clock() - begun - (_queued_s() - queued_s), waits, done)
    runs.append(run)
    return STATEMENTS / run.took_s


def _queued_s() -> float:
    """Seconds that this thread stood in line for its core, which others had."""
    _, queued_ns, _ = pathlib.Path("/proc/thread-self/schedstat").read_text().split()
    return int(queued_ns) / 1e9


# --- cold starts -----------------------------------------------------------------------------------------------------


async def _cold(rounds: int) -> list[Figure]:
    """Ask an empty pool for 50 connections at once, where each log-in takes 50 ms.

    What `max_connecting` allows is what plain connects take, as many at a time, and the role check that ours make.
    """
    _head(f"{COLD} cold acquires, {LOGIN_S * 1e3:.0f} ms each", "ms", "one by one")
    ours, raw, single = [], [], []
    async with SimulatedCluster(1, engine="mariadb") as sim:
        await sim.slow_logins(LOGIN_S)
        place = {"host": sim.writer.address, "port": sim.writer.port, "db": sim.database}
        login = {"user": sim.user, "password": sim.password}
        for _ in range(rounds):
            async with aioaurora.create_pool(**sim.connect_options(), minsize=0, maxsize=COLD) as pool:
                ours.append(await _all_ms(pool))
            raw.append(await _plain_ms(AT_A_TIME, **place, **login))
            async with aiomysql.create_pool(**place, **login, minsize=0, maxsize=COLD) as pool:
                single.append(await _all_ms(pool))
    what, alone = f"{COLD} cold acquires, {AT_A_TIME} plain ones beside", f"{COLD} cold acquires, its pool"
    ratios = tuple(own / other for own, other in zip(ours, raw, strict=True))
    made = [
        Figure(part="cold", what=what, who=figures.RAW, unit="ms", values=tuple(raw)),
        Figure(part="cold", what=what, who=figures.OURS, unit="ms", values=tuple(ours)),
        Figure(part="cold", what=what, who=figures.RATIO, unit="x", values=ratios, at_most=1.3),
    ]
    _line(made, digits=0, more=[statistics.median(single)])
    return [*made, Figure(part="cold", what=alone, who=figures.RAW, unit="ms", values=tuple(single))]


async def _plain_ms(at_a_time: int, **options: Any) -> float:
    """Open as many plain connections, so many at a time."""
    turns = asyncio.Semaphore(at_a_time)

    async def connect() -> aiomysql.Connection:
        async with turns:
            return await aiomysql.connect(**options)

    begun = time.perf_counter()
    held = await asyncio.gather(*[connect() for _ in range(COLD)])
    took_ms = (time.perf_counter() - begun) * 1e3
    for connection in held:
        connection.close()
    return took_ms


async def _all_ms(pool: Any) -> float:
    begun = time.perf_counter()
    held = await asyncio.gather(*[pool.acquire() for _ in range(COLD)])
    took_ms = (time.perf_counter() - begun) * 1e3
    for connection in held:
        ended = pool.release(connection)
        if ended is not None:
            await ended
    return took_ms


# --- what it costs to have them --------------------------------------------------------------------------------------


async def _memory(server: MariaDB, rounds: int) -> list[Figure]:
    """Hold 1,000 idle connections in a process of their own, and see by how much it grew."""
    _head(f"an idle connection of {holding.KEPT}", "kB RSS")
    made = await holding.memory(server.port, rounds)
    _line(made, digits=2)
    return made


async def _connections() -> list[Figure]:
    """Count what servers see of an application that holds N connections."""
    print(f"\n{'server connections':<34}{'servers':>10}")
    made = await holding.connections()
    for each in made:
        print(f"{each.what:<34}{each.median:>10.0f}  {each.who:<20}{tables.bound(each)}", flush=True)
    return made


if __name__ == "__main__":
    sys.exit(main())
