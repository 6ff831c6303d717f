"""The dials of one heartbeat: one that hangs is overtaken by another, one that stands in line is waited for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aioaurora._core.backoff import OVERTAKEN_AFTER_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from aioaurora._io.dial import Dial
    from aioaurora._io.session import Session


class Dials:
    """The dials that are under way to one instance.

    Args:
        start: Begins one.
    """

    def __init__(self, start: Callable[[], Dial[Session]]) -> None:
        self._start = start
        self._under_way: list[Dial[Session]] = []

    @property
    def is_hanging(self) -> bool:
        """Whether one waits for the peer's kernel."""
        return any(dial.phase == "tcp" for dial in self._under_way)

    def add(self, most: int) -> None:
        """Begin one more, up to `most`; then, if more than one may hang, the oldest makes room.

        Not while one stands in line: more of them would only make the line longer.
        """
        dials = self._under_way
        if any(dial.is_in_line for dial in dials):
            return
        if len(dials) >= most > 1:
            self._drop_oldest()
        if len(dials) < most:
            dials.append(self._start())

    async def ended(self) -> list[Dial[Session]]:
        """Give those that have ended by the time at which they are overtaken, which are to be taken out."""
        tasks = {dial.task for dial in self._under_way}
        await asyncio.wait(tasks, timeout=OVERTAKEN_AFTER_S, return_when=asyncio.FIRST_COMPLETED)
        return [dial for dial in self._under_way if dial.task.done()]

    def take_out(self, dial: Dial[Session]) -> None:
        """Leave what becomes of an ended one to the caller."""
        self._under_way.remove(dial)

    def leave(self) -> None:
        """Stop caring for all that are left."""
        for dial in self._under_way:
            dial.leave()

    def _drop_oldest(self) -> None:
        oldest = next((dial for dial in self._under_way if not dial.is_greeted), None)
        if oldest is not None:
            self._under_way.remove(oldest)
            oldest.leave()
