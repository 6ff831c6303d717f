"""Measure what `import aioaurora` costs and starts: `nox -s bench -- imports [rounds]`.

Each import has a process of its own and finds its modules compiled; what counts is that process' CPU time. In each
round aiomysql and aiodns, ours, and all four dependencies are imported by turns, and the AWS wrapper once.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent.parent))

from tests.benchmarks import figures, paired, tables
from tests.benchmarks.figures import Figure
from tests.benchmarks.paired import Effort, Sides

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ROUNDS, TRIES = 25, 3
CONTROL = 0.03
TWO, FOUR = "aiodns, aiomysql", "aiodns, aiomysql, anyio, tenacity"
WRAPPER = "aws_advanced_python_wrapper.aio.wrapper"
PROGRAM = """
import os, time
begun = time.process_time()
import {modules}
took_s = time.process_time() - begun
import pathlib
tasks = len(os.listdir("/proc/self/task"))
resident = int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
print(took_s * 1e3, tasks - 1, resident / 1e6)
"""


def main() -> int:
    """Import in turns, and print."""
    parser = argparse.ArgumentParser(prog="imports")
    parser.add_argument("rounds", nargs="?", type=int, default=ROUNDS)
    parser.add_argument("--tries", type=int, default=TRIES)
    parser.add_argument("--json", type=pathlib.Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="aa-") as place:
        measured = asyncio.run(_measured(Effort(rounds=asked.rounds, tries=asked.tries), place))
    print(tables.as_text(tables.table(measured, tables.COLUMNS)), flush=True)
    tables.write(asked.json, measured)
    return figures.status_of(measured)


async def _measured(effort: Effort, place: str) -> list[Figure]:
    kept: dict[str, list[tuple[float, float, float]]] = {}

    def importing(modules: str) -> Callable[[], Awaitable[float]]:
        async def cost() -> float:
            told = _imported(modules, place)
            kept.setdefault(modules, []).append(told)
            return told[0]

        return cost

    made = []
    for what, modules, limit in (
        ("import, beside aiomysql and aiodns", TWO, 1.5),
        ("import, beside all four dependencies", FOUR, None),
    ):
        sides = Sides(ours=importing("aioaurora"), raw=importing(modules))
        pairs = await paired.settled(what, sides, effort, allowance=CONTROL)
        made += paired.figures_of(pairs, "import", what, unit="ms", at_most=limit, allowance=CONTROL)
    if importlib.util.find_spec("aws_advanced_python_wrapper"):
        _imported(WRAPPER, place)
        took_ms = tuple(_imported(WRAPPER, place)[0] for _ in range(min(effort.rounds, 9)))
        made.append(Figure(part="import", what=made[0].what, who=figures.AWS, unit="ms", values=took_ms))
    return [*made, *_besides(kept)]


def _besides(kept: dict[str, list[tuple[float, float, float]]]) -> list[Figure]:
    """Give the threads that the import started, and the memory that it took beyond the dependencies."""
    threads = tuple(told[1] for told in kept["aioaurora"])
    without_mb = statistics.median(told[2] for told in kept[FOUR])
    above_mb = tuple(told[2] - without_mb for told in kept["aioaurora"])
    what = "resident after import, above all four dependencies"
    return [
        Figure(part="import", what="threads that import starts", who=figures.OURS, unit="", values=threads, at_most=0),
        Figure(part="import", what=what, who=figures.OURS, unit="MB", values=above_mb, at_most=5),
    ]


def _imported(modules: str, place: str) -> tuple[float, float, float]:
    """Give milliseconds of CPU, threads started, and megabytes resident afterwards."""
    environment = os.environ | {"PYTHONPYCACHEPREFIX": place, "PYTHONDONTWRITEBYTECODE": ""}
    command = [sys.executable, "-c", PROGRAM.format(modules=modules)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=environment)
    took_ms, threads, resident_mb = map(float, done.stdout.split())
    return took_ms, threads, resident_mb


if __name__ == "__main__":
    sys.exit(main())
