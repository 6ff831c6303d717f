"""Compare our pool with aiomysql's on one MariaDB: `nox -s bench -- pool [--rounds N] [--json FILE] [part ...]`.

Parts, all without a name: `checkout`, `contention`, `cold`, `memory`, `connections`. Everything is interleaved in one
run; figures are medians over the rounds, ratios medians of paired ratios with the middle half of them in brackets.
Where time is compared, aiomysql is compared with itself in the same rounds (`raw/raw`): a run in which that differs
from 1 by more than its allowance does not count, and is repeated. The server runs on one core and the client on
another. Exit status 1: a bound was missed; 2: no run counted.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent.parent))

import aiomysql

import aioaurora
from aioaurora.simulator import SimulatedCluster
from tests.mariadb import MariaDB, private_mariadb

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

ROUNDS, TRIES = 15, 4
CONTROL = 0.03  # Of raw/raw: a checkout is 20 us, and thousands of them 40 ms.
CHECKOUTS, FREE = 2000, (1, 10, 100)
POOLED, TASKS, STATEMENTS = 20, (1, 10, 100, 1000), 4000
COLD, LOGIN_S, AT_A_TIME = 50, 0.05, 4
KEPT, MEMORY_ROUNDS = 1000, 5
PARTS = ("checkout", "contention", "cold", "memory", "connections")


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the tables.

    Attributes:
        what: What was measured.
        ours, raw: Medians, in the unit that the table says.
        ratio: Ours to aiomysql's; the median of the pairs.
        spread: The first and third quartile of the pairs.
        control: aiomysql's ratio to itself; None where it is no matter of time.
        at_most, at_least: Bounds of the ratio.
        is_met: Whether all bounds of this line are met.
    """

    what: str
    ours: float
    raw: float
    ratio: float
    spread: tuple[float, float]
    control: float | None = None
    at_most: float | None = None
    at_least: float | None = None
    more: dict[str, float] = field(default_factory=dict)
    is_met: bool = True


def main() -> int:
    """Start a server, pin it and us, measure."""
    parser = argparse.ArgumentParser(prog="pool")
    parser.add_argument("parts", nargs="*", metavar="part", choices=[[], *PARTS])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--keep", nargs=2, metavar=("SIDE", "PORT"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.keep:
        side, port = asked.keep
        print(asyncio.run(_kept(side, int(port))))
        return 0
    with tempfile.TemporaryDirectory(prefix="aa-") as place:
        options = ["--skip-grant-tables", f"--max-connections={2 * KEPT}"]
        with private_mariadb(pathlib.Path(place, "db"), options) as server:
            cores = sorted(os.sched_getaffinity(0))
            _pin(server.process.pid, cores[0])
            _pin(0, cores[-1])
            figures = asyncio.run(_measured(server, asked.parts or PARTS, asked.rounds))
    if asked.json:
        asked.json.write_text(json.dumps({part: [asdict(each) for each in lines] for part, lines in figures.items()}))
    lines = [each for part in figures.values() for each in part]
    return 2 if any(_is_void(each) for each in lines) else int(not all(each.is_met for each in lines))


def _pin(process: int, core: int) -> None:
    for task in pathlib.Path(f"/proc/{process or os.getpid()}/task").iterdir():
        os.sched_setaffinity(int(task.name), {core})


async def _measured(server: MariaDB, parts: Sequence[str], rounds: int) -> dict[str, list[Figure]]:
    measures: dict[str, Callable[[], Awaitable[list[Figure]]]] = {
        "checkout": lambda: _checkout(server, rounds),
        "contention": lambda: _contention(server, rounds),
        "cold": lambda: _cold(min(rounds, 5)),
        "memory": lambda: _memory(server),
        "connections": _connections,
    }
    return {part: await measures[part]() for part in PARTS if part in parts}


def _options(server: MariaDB) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": server.port, "user": "root", "password": "", "db": "mysql"}


# --- comparing ------------------------------------------------------------------------------------------------------


async def _compared(ours: Any, raw: Any, rounds: int) -> tuple[list[float], list[float], list[float]]:
    """Measure raw, ours, raw in each round, by turns in another order; give ours, raw, and raw's to itself."""
    mine, theirs, controls = [], [], []
    for side in (raw, ours):
        await side()
    for number in range(rounds):
        if number % 2:
            first, own, second = await raw(), await ours(), await raw()
        else:
            own, first, second = await ours(), await raw(), await raw()
        mine.append(own)
        theirs.append((first + second) / 2)
        controls.append(first / second)
    return mine, theirs, controls


async def _figure(
    what: str,
    ours: Any,
    raw: Any,
    rounds: int,
    *,
    at_most: float | None = None,
    at_least: float | None = None,
) -> Figure:
    """Compare until raw is equal to itself."""
    figure = None
    for _ in range(TRIES):
        mine, theirs, controls = await _compared(ours, raw, rounds)
        ratios = [own / other for own, other in zip(mine, theirs, strict=True)]
        ratio, control = statistics.median(ratios), statistics.median(controls)
        low, _, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else [ratio] * 3
        figure = Figure(
            what=what,
            ours=statistics.median(mine),
            raw=statistics.median(theirs),
            ratio=ratio,
            spread=(low, high),
            control=control,
            at_most=at_most,
            at_least=at_least,
            is_met=(at_most is None or ratio <= at_most) and (at_least is None or ratio >= at_least),
        )
        if abs(control - 1) <= CONTROL:
            break
        print(f"  {what}: raw/raw {control:.3f} does not count: repeated", flush=True)
    if figure is None:
        raise AssertionError("no try was made")
    return figure


def _is_void(figure: Figure) -> bool:
    return figure.control is not None and abs(figure.control - 1) > CONTROL


def _head(title: str, unit: str, *more: str) -> None:
    columns = "".join(f"{name:>14}" for name in more)
    print(f"\n{title:<34}{'ours':>9}{'aiomysql':>10} {unit:<8}{'ratio':>7}{'spread':>15}{'raw/raw':>9}{columns}")


def _line(figure: Figure, *, digits: int = 1) -> None:
    control = "" if figure.control is None else f"{figure.control:.3f}"
    low, high = figure.spread
    bound = ""
    if figure.at_most is not None:
        bound += f"  <= {figure.at_most:g}"
    if figure.at_least is not None:
        bound += f"  >= {figure.at_least:g}"
    missed = "" if figure.is_met else "  MISSED"
    values = f"{figure.ours:>9.{digits}f}{figure.raw:>10.{digits}f} {'':<8}"
    more = "".join(f"{value:>14.2f}" for value in figure.more.values())
    spread = f"[{low:.3f}, {high:.3f}]"
    print(f"{figure.what:<34}{values}{figure.ratio:>7.3f}{spread:>15}{control:>9}{more}{bound}{missed}", flush=True)


# --- acquire and release ---------------------------------------------------------------------------------------------


async def _checkout(server: MariaDB, rounds: int) -> list[Figure]:
    """Time acquire + release on a warm pool, by how many connections are free."""
    _head("acquire + release, warm", "us CPU")
    figures = []
    for free in FREE:
        sizes = {"minsize": free, "maxsize": free}
        async with (
            aioaurora.create_pool(**_options(server), **sizes) as ours,
            aiomysql.create_pool(**_options(server), **sizes) as raw,
        ):
            figure = await _figure(
                f"{free} free",
                lambda pool=ours: _checkout_us(pool),
                lambda pool=raw: _checkout_us(pool),
                rounds,
                at_most=0.2 if free == 10 else None,
            )
        figures.append(figure)
        _line(figure)
    few, many = ({"minsize": free, "maxsize": free} for free in (FREE[0], FREE[-1]))
    async with (
        aioaurora.create_pool(**_options(server), **few) as small,
        aioaurora.create_pool(**_options(server), **many) as large,
    ):
        figure = await _figure(
            f"ours, {FREE[-1]} free to {FREE[0]}",
            lambda: _checkout_us(large),
            lambda: _checkout_us(small),
            rounds,
            at_most=1.15,
        )
    _line(figure)
    return [*figures, figure]


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


async def _contention(server: MariaDB, rounds: int) -> list[Figure]:
    """Have more and more tasks share 20 connections, each for one SELECT 1 at a time."""
    _head(
        f"SELECT 1, {POOLED} connections", "1/s",
        *(f"{side} {name}" for side in ("our", "raw") for name in ("p50 ms", "p99 ms", "fair")), "our p99/p50",
    )  # fmt: skip
    figures = []
    sizes = {"minsize": POOLED, "maxsize": POOLED}
    async with (
        aioaurora.create_pool(**_options(server), **sizes) as ours,
        aiomysql.create_pool(**_options(server), **sizes) as raw,
    ):
        for tasks in TASKS:
            runs: dict[str, list[Run]] = {"our": [], "raw": []}
            figure = await _figure(
                f"{tasks} tasks",
                lambda: _rate(ours, tasks, runs["our"]),  # noqa: B023 - called in this turn only.
                lambda: _rate(raw, tasks, runs["raw"]),  # noqa: B023 - as above.
                rounds,
                at_least=1.0 if tasks == TASKS[-1] else None,
            )
            figure = _with_waits(figure, runs, bounded=tasks == TASKS[-1])
            figures.append(figure)
            _line(figure, digits=0)
    return figures


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


def _with_waits(figure: Figure, runs: dict[str, list[Run]], *, bounded: bool) -> Figure:
    more = {}
    for side, lived in runs.items():
        more[f"{side} p50 ms"] = statistics.median(run.wait_ms(0.5) for run in lived)
        more[f"{side} p99 ms"] = statistics.median(run.wait_ms(0.99) for run in lived)
        more[f"{side} fair"] = statistics.median(run.fairness for run in lived)
    more["our p99/p50"] = tail = more["our p99 ms"] / more["our p50 ms"]
    values = asdict(figure) | {"more": more, "is_met": figure.is_met and not (bounded and tail > 2.0)}
    return Figure(**values)


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
    ratios = [own / other for own, other in zip(ours, raw, strict=True)]
    ratio = statistics.median(ratios)
    figure = Figure(
        what=f"{AT_A_TIME} at a time",
        ours=statistics.median(ours),
        raw=statistics.median(raw),
        ratio=ratio,
        spread=(min(ratios), max(ratios)),
        at_most=1.3,
        more={"one by one": statistics.median(single)},
        is_met=ratio <= 1.3,
    )
    _line(figure, digits=0)
    return [figure]


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


async def _memory(server: MariaDB) -> list[Figure]:
    """Hold 1,000 idle connections in a process of their own, and see by how much it grew."""
    _head(f"an idle connection of {KEPT}", "kB RSS")
    sizes: dict[str, list[float]] = {"ours": [], "raw": []}
    for _ in range(MEMORY_ROUNDS):
        for side, found in sizes.items():
            command = [sys.executable, __file__, "--keep", side, str(server.port)]
            told = await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True, text=True)
            found.append(float(told.stdout))
    ratios = [own / other for own, other in zip(sizes["ours"], sizes["raw"], strict=True)]
    ratio = statistics.median(ratios)
    figure = Figure(
        what="in a pool / raw",
        ours=statistics.median(sizes["ours"]),
        raw=statistics.median(sizes["raw"]),
        ratio=ratio,
        spread=(min(ratios), max(ratios)),
    )
    _line(figure, digits=2)
    return [figure]


async def _kept(side: str, port: int) -> float:
    """Give the kilobytes of one of 1,000 connections; ours are in a pool, the others are raw."""
    options: dict[str, Any] = {"host": "127.0.0.1", "port": port, "user": "root", "password": "", "db": "mysql"}
    async with contextlib.AsyncExitStack() as stack:
        if side == "ours":
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
        if side == "raw":
            for connection in held:
                connection.close()
        return grown_kb


def _resident_kb() -> float:
    gc.collect()
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1024


async def _connections() -> list[Figure]:
    """Count what servers see of an application that holds N connections."""
    print(f"\n{'server connections':<34}{'holds':>9}{'servers':>10}{'':<9}{'allowed':>7}")
    figures = []
    async with (
        SimulatedCluster(3, engine="mariadb") as sim,
        aioaurora.create_pool(**sim.connect_options(), minsize=0, maxsize=20, wait_ready=True) as pool,
    ):
        held: list[Any] = []
        for what, role, instance, count, extra in (
            ("20 to the writer", "writer", None, 20, 1),
            ("and 5 to one reader", "reader", "db-2", 5, 2),
            ("and 5 to another", "reader", "db-3", 5, 3),
        ):
            held += await asyncio.gather(*[pool.acquire(role=role, instance=instance) for _ in range(count)])
            await asyncio.sleep(2.5)  # A heartbeat of a reader that has come into use takes its second.
            seen = sum(len(each.connection_ids) for each in sim.instances.values())
            allowed = len(held) + extra
            figures.append(Figure(what, len(held), seen, seen / len(held), (0.0, 0.0), is_met=seen <= allowed))
            missed = "" if seen <= allowed else "  MISSED"
            print(f"{what:<34}{len(held):>9}{seen:>10}{'':<9}{allowed:>7}{missed}", flush=True)
        for connection in held:
            pool.release(connection)
    return figures


if __name__ == "__main__":
    sys.exit(main())
