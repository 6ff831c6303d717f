"""Time limits that our own stalled loop does not break (case 36)."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from aioaurora._core.silence import OUR_LATENESS_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Any


@contextlib.asynccontextmanager
async def limited(deadline: float) -> AsyncIterator[asyncio.Timeout]:
    """Bound what is awaited within, as `asyncio.timeout_at` does; but when our loop stood still, wait a moment longer.

    What has arrived meanwhile lies unread then, and the one who is waited for is blamed for nothing.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as limit:
        timer = loop.call_at(deadline, _ring, limit, deadline)
        try:
            yield limit
        finally:
            timer.cancel()


async def ended(task: asyncio.Task[Any], *, by: float) -> bool:
    """Wait for a task until that loop time, and as above a moment longer; tells whether it has ended."""
    loop = asyncio.get_running_loop()
    due = max(by, loop.time())
    await asyncio.wait({task}, timeout=due - loop.time())
    if not task.done() and loop.time() - due > OUR_LATENESS_S:
        await asyncio.wait({task}, timeout=OUR_LATENESS_S)
    return task.done()


def _ring(limit: asyncio.Timeout, deadline: float) -> None:
    loop = asyncio.get_running_loop()
    now = loop.time()
    limit.reschedule(now + OUR_LATENESS_S if now - deadline > OUR_LATENESS_S else now)
