"""Whether what is done again and again leaves anything behind: tasks, sockets, objects, memory."""

from __future__ import annotations

import asyncio
import gc
import os
import pathlib
import statistics
from typing import TYPE_CHECKING

import pytest

from tests.running import open_sockets

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

ROUNDS = 3


async def check_growth(
    work: Callable[[], Awaitable[None]], settle: Callable[[], Awaitable[None]], most: Mapping[str, int]
) -> None:
    """Do the work, and see that no more than `most` is left; of memory, in one of so many rounds.

    The allocator's own fill goes on for a while, in steps: a leak grows in each round, that does not.
    """
    for _ in range(ROUNDS):
        await settle()
        before = await _counted(statistics.median_low)  # As a rule.
        await work()
        await settle()
        after = await _counted(min)  # All the time, as what has leaked is.
        grown = {what: after[what] - before[what] for what in before}
        print(f"{before}, grown by {grown}")
        assert grown["tasks"] <= most["tasks"], grown
        assert grown["sockets"] <= most["sockets"], grown
        assert grown["objects"] <= most["objects"], grown
        if grown["bytes"] <= most["bytes"]:
            return
    pytest.fail(f"in each of {ROUNDS} rounds memory has grown, in the last by {grown['bytes']} bytes")


async def _counted(picked: Callable[[list[int]], int]) -> dict[str, int]:
    """Count for a second: a question to an instance has a task and objects for as long as it takes."""
    for _ in range(3):
        gc.collect()
    resident = int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    counts: dict[str, list[int]] = {"tasks": [], "sockets": [], "objects": []}
    for _ in range(20):
        counts["tasks"].append(len(asyncio.all_tasks()))
        counts["sockets"].append(len(open_sockets()))
        counts["objects"].append(len(gc.get_objects()))
        await asyncio.sleep(0.05)
    return {what: picked(found) for what, found in counts.items()} | {"bytes": resident}
