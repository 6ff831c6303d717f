"""A clock on the test's loop: for how long it served nobody else, whatever other programs took of the processor."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import pathlib
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_EVERY_S = 0.002


class Ticker:
    """Wakes up all the time, and notes what was done in between.

    Attributes:
        worst_s: Seconds of work at most, by the clock that runs while this thread has a processor.
    """

    def __init__(self) -> None:
        self.worst_s = 0.0

    async def run(self) -> None:
        """Tick until cancelled."""
        while True:
            before = time.thread_time()
            await asyncio.sleep(_EVERY_S)
            self.worst_s = max(self.worst_s, time.thread_time() - before)


@contextlib.asynccontextmanager
async def ticking() -> AsyncIterator[Ticker]:
    """Watch the loop until the end of the block, with what is there from other tests out of the collector's sight."""
    gc.collect()
    gc.freeze()
    ticker = Ticker()
    task = asyncio.create_task(ticker.run())
    try:
        yield ticker
    finally:
        task.cancel()
        await asyncio.wait({task})
        gc.unfreeze()


def undisturbed_s() -> float:
    """Give a time of this thread that stands still while others have its processor: programs, or other machines."""
    with contextlib.suppress(OSError):
        _, in_line_ns, _ = pathlib.Path("/proc/thread-self/schedstat").read_text().split()
        stolen_ticks = pathlib.Path("/proc/stat").read_text().split(maxsplit=9)[8]
        stolen_s = int(stolen_ticks) / os.sysconf("SC_CLK_TCK") / (os.cpu_count() or 1)
        return time.monotonic() - int(in_line_ns) / 1e9 - stolen_s
    return time.monotonic()
