"""Looks on while a drill runs: what the driver says of its cluster, and when the event loop did not turn."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aioaurora.cli.drill.judge import Stall
from aioaurora.events import FailoverFinished, FailoverStarted, InstanceLost, InstanceSuspected

if TYPE_CHECKING:
    from aioaurora.events import Event

_TICK_S = 0.005
_WORTH_NOTING_S = 0.005


class Suspicions:
    """A listener that notes when an instance was first in doubt."""

    def __init__(self) -> None:
        self._heard: list[tuple[float, str]] = []

    def __call__(self, event: Event) -> None:
        """Take an event in."""
        match event:
            case InstanceSuspected(instance=instance) | InstanceLost(instance=instance):
                self._note(instance)
            case FailoverStarted(writer=writer) | FailoverFinished(old_writer=writer) if writer is not None:
                self._note(writer)  # A new writer may be seen before the old one's silence is.
            case _:
                pass

    def first(self, instance: str, *, since: float) -> float | None:
        """Give the loop time at which an instance was first in doubt; None: it was not."""
        return next((at for at, who in self._heard if who == instance and at >= since), None)

    def _note(self, instance: str) -> None:
        self._heard.append((asyncio.get_running_loop().time(), instance))


class Ticker:
    """Wakes up all the time, and notes when that came late."""

    def __init__(self) -> None:
        self._stalls: list[Stall] = []

    async def run(self) -> None:
        """Tick until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _TICK_S
            await asyncio.sleep(_TICK_S)
            late_s = loop.time() - due
            if late_s > _WORTH_NOTING_S:
                self._stalls.append(Stall(loop.time(), late_s))

    def between(self, start: float, end: float) -> tuple[Stall, ...]:
        """Return the stalls that ended between two moments."""
        return tuple(each for each in self._stalls if start <= each.at <= end)
