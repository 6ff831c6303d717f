"""What a simulated cluster does in the background: all of it ends with the cluster, faults end when they are healed.

A fault that takes time is a task that waits in `lasting` only, so healing never ends it in the middle of a step: a
question that it has put to an engine's session is answered before.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine


class Tasks:
    """The tasks of one cluster."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._healed: dict[asyncio.Task[Any], asyncio.Event] = {}

    def own(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run something in the background; it ends with the cluster at the latest."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def fault(self, work: Coroutine[Any, Any, Any], healed: asyncio.Event | None = None) -> asyncio.Task[Any]:
        """Run a fault, which `heal` ends: it sets `healed`, and `lasting` is over."""
        task = self.own(work)
        self._healed[task] = healed or asyncio.Event()
        return task

    async def lasting(self, seconds: float) -> bool:
        """Let time pass in a fault's task; False as soon as the fault is healed."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in one
        healed = self._healed[task]
        try:
            async with asyncio.timeout(max(seconds, 0.0)):
                await healed.wait()
        except TimeoutError:
            return True
        return False

    async def heal(self) -> None:
        """End the faults that are under way, and wait until they have ended."""
        faults = [*self._healed]
        for healed in self._healed.values():
            healed.set()
        await asyncio.gather(*faults, return_exceptions=True)

    async def end(self) -> None:
        """Cancel everything, and wait for it."""
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        self._healed.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            context = {"message": "a task of the simulated cluster failed", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)
