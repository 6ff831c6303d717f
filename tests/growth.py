"""Whether what is done again and again leaves anything behind: tasks, sockets, objects, memory."""

from __future__ import annotations

import asyncio
import gc
import os
import pathlib
from typing import TYPE_CHECKING

import pytest

from tests.running import open_sockets

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

ROUNDS = 3


async def check_growth(
    work: Callable[[], Awaitable[None]], settle: Callable[[], Awaitable[None]], most: Mapping[str, int]
) -> None:
    """Do the work in rounds until one of them has left no more than `most`; fails if none has.

    A leak grows in each round. The allocator's own fill does not, which goes on for a while in steps; nor does what is
    there at one time and not at another, as the heartbeat of a reader that is in use.
    """
    for _ in range(ROUNDS):
        await settle()
        before = await _counted()
        await work()
        await settle()
        after = await _counted()
        grown = {what: after[what] - before[what] for what in before}
        print(f"{before}, grown by {grown}")
        if all(grown[what] <= most[what] for what in grown):
            return
    pytest.fail(f"in each of {ROUNDS} rounds something has grown by more than {most}, in the last by {grown}")


async def _counted() -> dict[str, int]:
    for _ in range(3):
        gc.collect()
    resident = int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    return {
        "tasks": await _lasting_tasks(),
        "sockets": len(open_sockets()),
        "objects": len(gc.get_objects()),
        "bytes": resident,
    }


async def _lasting_tasks() -> int:
    """Count the tasks that are there all the time: each question to an instance is one, for as long as it takes."""
    counts = []
    for _ in range(20):
        counts.append(len(asyncio.all_tasks()))
        await asyncio.sleep(0.05)
    return min(counts)
