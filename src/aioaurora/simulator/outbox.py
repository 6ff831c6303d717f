"""Answers on their way to a client: at once, late, or when the instance speaks again."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Outbox:
    """What is to be written, in order.

    Attributes:
        is_held: Whether nothing goes out for now.
    """

    is_held: bool

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self.is_held = False
        self._write = write
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def put(self, data: bytes, latency_s: float) -> None:
        """Write, `latency_s` seconds from now and after what waits already."""
        if not latency_s and not self._waiting and not self.is_held:
            self._write(data)
            return
        loop = asyncio.get_running_loop()
        self._waiting.append((loop.time() + latency_s, data))
        if self._timer is None and not self.is_held:
            self._timer = loop.call_at(self._waiting[0][0], self._write_due)

    def release(self) -> None:
        """Let go of what was held, as far as it is due."""
        self.is_held = False
        self._write_due()

    def clear(self) -> None:
        """Drop what waits."""
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _write_due(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        while self._waiting and not self.is_held and self._waiting[0][0] <= loop.time():
            self._write(self._waiting.popleft()[1])
        if self._waiting and not self.is_held:
            self._timer = loop.call_at(self._waiting[0][0], self._write_due)
