"""Compare failovers: `nox -s bench -- failover [rounds]` takes about three minutes a round and prints a table.

On a simulated cluster of three over MariaDB, clients write under autocommit, ten times a second each; then the writer
goes, and an instance is promoted 0.3, 3 or 8 seconds later. What counts is the time from the promotion to each client's
first acknowledged write. The same failover of the same cluster meets all kinds of client (`ways.py`), each of which has
a process of its own. Each failover has a cluster of its own; the next one begins when all are done but the AWS wrapper
with its defaults, which waits for half a minute.

A silence shows no sooner than a heartbeat and its answer are due: a black hole's bound counts from 1.25 s after the
fault, if the promotion was earlier. Exit status 1: a bound was missed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import math
import os
import pathlib
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent.parent))

from aioaurora.simulator import SimulatedCluster
from tests.benchmarks import figures, tables, ways
from tests.benchmarks.figures import Figure

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

MODES = ("graceful", "crash", "blackhole")
AFTER_S = (0.3, 3.0, 8.0)
ROUNDS, CLIENTS, MINUTES = 3, 4, 60.0
CALM_S, BEGINS_S, ENDS_S = 1.0, 60.0, 80.0
AT_ONCE = 4  # Clusters: three of them wait for the AWS wrapper.
BOUND_S, SILENCE_SHOWS_S = 0.15, 1.25
CLIENT = pathlib.Path(__file__).with_name("failover_client.py")
ROOT = pathlib.Path(__file__).parents[2]


# --- one failover, in a process of its own --------------------------------------------------------------------------


async def failed_over(mode: str, after_s: float, clients: int, kinds: Sequence[str]) -> None:
    """Lead all kinds through one failover; print a line of JSON for each as soon as it is done."""
    async with contextlib.AsyncExitStack() as stack:
        sim = await stack.enter_async_context(SimulatedCluster(3, engine="mariadb"))
        await sim.execute("CREATE TABLE written (id INT PRIMARY KEY AUTO_INCREMENT, client INT)")
        apart = [await stack.enter_async_context(_client(kind, clients, sim)) for kind in kinds]
        await asyncio.gather(*[_ready(each) for each in apart])
        await asyncio.sleep(CALM_S)
        await sim.failover(mode, promote_after=after_s)
        promoted_at = sim.timeline.of("promoted")[-1].at
        for each in apart:
            each.stdin.write(f"{promoted_at!r}\n".encode())
        await asyncio.gather(*[_tell(kind, each) for kind, each in zip(kinds, apart, strict=True)])


@contextlib.asynccontextmanager
async def _client(kind: str, clients: int, sim: SimulatedCluster) -> AsyncIterator[asyncio.subprocess.Process]:
    pipe = asyncio.subprocess.PIPE
    with tempfile.TemporaryFile() as errors:
        command = [sys.executable, str(CLIENT), kind, str(clients)]
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=errors, cwd=ROOT)
        try:
            process.stdin.write(json.dumps(ways.place_of(sim)).encode() + b"\n")
            yield process
        finally:
            if await _ended(process) > 0:
                errors.seek(0)
                print(f"{kind}: {errors.read()[-2000:].decode(errors='replace')}", file=sys.stderr)


async def _ended(process: asyncio.subprocess.Process) -> int:
    """Kill it if it still runs; give its exit status, below 0 if it was killed."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)  # Its own `kill` would take the status from who waits for it.
    return await process.wait()


async def _ready(process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(BEGINS_S):
        await process.stdout.readline()  # Nothing comes of one that failed, and nothing is asked of it.


async def _tell(kind: str, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(ENDS_S):
        line = await process.stdout.readline()
    told = json.loads(line) if line else {"waits": [], "stall": 0.0}
    print(json.dumps({"kind": kind} | told), flush=True)


# --- all of them ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cell:
    """One kind of failover."""

    mode: str
    after_s: float

    @property
    def what(self) -> str:
        """Its line in the table."""
        return f"{'black hole' if self.mode == 'blackhole' else self.mode}, promoted after {self.after_s:g} s"

    @property
    def bound_s(self) -> float:
        """What aioaurora's median may be, from the promotion."""
        silent_s = max(SILENCE_SHOWS_S - self.after_s, 0.0) if self.mode == "blackhole" else 0.0
        return round(BOUND_S + silent_s, 3)


@dataclass(slots=True)
class Lived:
    """What the clients of one kind lived through in one kind of failover."""

    waits_s: list[float] = field(default_factory=list)
    stalls_s: list[float] = field(default_factory=list)


class Series:
    """Failovers, of which the next one begins when the quick clients of the last are done."""

    def __init__(self, clients: int) -> None:
        self._clients = clients
        self._places = asyncio.Semaphore(AT_ONCE)
        self._waiting: set[asyncio.Task[None]] = set()
        self.lived: dict[tuple[Cell, str], Lived] = {}

    async def run(self, cell: Cell, kinds: Sequence[str]) -> None:
        """Begin a failover, and wait for all but those who take long."""
        await self._places.acquire()
        quick = asyncio.Event()
        task = asyncio.create_task(self._whole(cell, kinds, quick))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)
        await quick.wait()

    async def end(self) -> None:
        """Wait for those who take long."""
        while self._waiting:
            await asyncio.gather(*self._waiting)

    async def _whole(self, cell: Cell, kinds: Sequence[str], quick: asyncio.Event) -> None:
        command = [sys.executable, __file__, "--cell", cell.mode, str(cell.after_s), str(self._clients), *kinds]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
        slow = {figures.AWS}
        left = set(kinds)
        try:
            async for line in process.stdout:
                told = json.loads(line)
                left.discard(told["kind"])
                self._note(cell, told)
                if left <= slow:
                    quick.set()
        finally:
            await _ended(process)
            if left:
                print(f"  {cell.what}: nothing came of {', '.join(sorted(left))}", flush=True)
            quick.set()
            self._places.release()

    def _note(self, cell: Cell, told: dict[str, Any]) -> None:
        kind = told["kind"]
        waits = [math.inf if wait is None else wait for wait in told["waits"]]
        lived = self.lived.setdefault((cell, kind), Lived())
        lived.waits_s += waits
        lived.stalls_s.append(told["stall"])
        seconds = " ".join(f"{wait:.2f}" for wait in waits) or "failed"
        print(f"  {cell.what}, {kind}: {seconds}  (loop late by {told['stall']:.3f} at most)", flush=True)


async def measured(asked: argparse.Namespace) -> list[Figure]:
    """Run all kinds of failover, in turn, round by round; no round begins that might not end in time."""
    begun = time.monotonic()
    series = Series(asked.clients)
    cells = [Cell(mode, after_s) for mode in asked.modes for after_s in asked.after]
    longest_s = 0.0
    rounds = rounds_of(asked.rounds, asked.alone, asked.kinds)
    for number, kinds in enumerate(rounds):
        round_begun = time.monotonic()
        if round_begun + longest_s > begun + 60 * asked.minutes:
            print(f"  {number} rounds of {len(rounds)}: the time is up", flush=True)
            break
        for cell in cells:
            await series.run(cell, kinds)
        longest_s = max(longest_s, time.monotonic() - round_begun)
    await series.end()
    return [
        figure_of(cell, kind, series.lived[cell, kind], asked.clients)
        for cell in cells
        for kind in asked.kinds
        if (cell, kind) in series.lived and series.lived[cell, kind].waits_s
    ]


def rounds_of(rounds: int, alone: int, kinds: Sequence[str]) -> list[Sequence[str]]:
    """Give who goes through each round: all kinds, and by turns, as far as asked for, ours alone."""
    ours = [figures.OURS] if figures.OURS in kinds else []
    turns = itertools.zip_longest([kinds] * rounds, [ours] * alone, fillvalue=[])
    return [who for turn in turns for who in turn if who]


def figure_of(cell: Cell, kind: str, lived: Lived, clients: int) -> Figure:
    """Give the figure of one cell."""
    return Figure(
        part="failover",
        what=cell.what,
        who=kind,
        unit="s",
        values=tuple(lived.waits_s),
        per_repeat=clients,
        at_most=cell.bound_s if kind == figures.OURS else None,
        note=f"the loop was late by {max(lived.stalls_s):.3f} s at most",
    )


def main() -> int:
    """Run every kind of client through every kind of failover, in turn."""
    if sys.argv[1:2] == ["--cell"]:
        mode, after_s, clients, *kinds = sys.argv[2:]
        asyncio.run(failed_over(mode, float(after_s), int(clients), kinds))
        return 0
    parser = argparse.ArgumentParser(prog="failover")
    parser.add_argument("rounds", nargs="?", type=int, default=ROUNDS)
    parser.add_argument("--alone", type=int, default=0, metavar="N", help="rounds more that meet aioaurora only")
    parser.add_argument("--clients", type=int, default=CLIENTS, help="of each kind")
    parser.add_argument("--kinds", nargs="+", choices=ways.KINDS, default=ways.KINDS)
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES)
    parser.add_argument("--after", nargs="+", type=float, default=AFTER_S, help="seconds from fault to promotion")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="after which no round begins")
    parser.add_argument("--json", type=pathlib.Path)
    asked = parser.parse_args()
    made = asyncio.run(measured(asked))
    print("\npromotion to first write: median [middle half], worst")
    print(tables.as_text(tables.table(made, tables.COLUMNS)))
    tables.write(asked.json, made)
    return figures.status_of(made)


if __name__ == "__main__":
    sys.exit(main())
