"""What is to be done to many connections at once, in slices, so that the event loop serves others in between."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# To end a connection takes some 0.2 ms, and as much again in the next turn of the loop, for whoever waited on it.
AT_A_TIME = 16


class Slices:
    """Does a few of what is due at once, and a few more in each turn of the loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._due: deque[Callable[[], None]] = deque()

    def add(self, calls: Iterable[Callable[[], None]]) -> None:
        """Do these, after what is due already; the first ones now."""
        is_under_way = bool(self._due)
        self._due.extend(calls)
        if not is_under_way:
            self._go_on()

    def finish(self) -> None:
        """Do all that is due now."""
        while self._due:
            self._due.popleft()()

    def _go_on(self) -> None:
        for _ in range(min(AT_A_TIME, len(self._due))):
            self._due.popleft()()
        if self._due:
            self._loop.call_soon(self._go_on)
