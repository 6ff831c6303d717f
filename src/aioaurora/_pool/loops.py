"""Whether an event loop runs, and whether it is about to end."""

from __future__ import annotations

import asyncio


def is_running() -> bool:
    """Tell whether an event loop runs in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def is_ending() -> bool:
    """Tell whether all other tasks are being cancelled as well: as at the end of `asyncio.run`."""
    return all(task.cancelling() for task in asyncio.all_tasks() if task is not asyncio.current_task())
