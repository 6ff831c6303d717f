"""What callbacks of the loop may start."""

from __future__ import annotations

import asyncio
import contextlib

import anyio
import sniffio

from aioaurora._io.callbacks import as_in_a_task


async def test_a_callback_may_start_what_a_task_may():
    """Also where sniffio is installed, which knows of tasks only."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    async def work() -> None:
        done.set()

    def start() -> None:
        with contextlib.suppress(sniffio.AsyncLibraryNotFoundError):
            sniffio.current_async_library()
            raise AssertionError("sniffio knows of callbacks: there is nothing to do any more")
        with as_in_a_task():
            anyio.CancelScope()
            group.start_soon(work)

    async with anyio.create_task_group() as group:
        loop.call_soon(start)
        async with asyncio.timeout(1):
            await done.wait()
