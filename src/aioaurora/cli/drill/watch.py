"""Looks on while a drill runs: what the driver says of its cluster, and when the event loop did not turn."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
from typing import TYPE_CHECKING

from aioaurora.cli.drill.judge import Stall
from aioaurora.events import FailoverFinished, FailoverStarted, InstanceLost, InstanceSuspected

if TYPE_CHECKING:
    from aioaurora.events import Event

_TICK_S = 0.005
_WORTH_NOTING_S = 0.005
_WAIT_WORTH_NOTING_S = 0.001


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
    """Wakes up all the time, and notes when that came late, or the thread stood in line for a processor meanwhile."""

    def __init__(self) -> None:
        self._stalls: list[Stall] = []

    async def run(self) -> None:
        """Tick until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            began_at, in_line_s = loop.time(), _in_line_s()
            await asyncio.sleep(_TICK_S)
            now = loop.time()
            late_s = now - began_at - _TICK_S
            waited_s = min(_in_line_s() - in_line_s, now - began_at)
            if late_s > _WORTH_NOTING_S or waited_s > _WAIT_WORTH_NOTING_S:
                self._stalls.append(Stall(now, max(late_s if late_s > _WORTH_NOTING_S else 0.0, waited_s)))

    def between(self, start: float, end: float) -> tuple[Stall, ...]:
        """Return the stalls that ended between two moments."""
        return tuple(each for each in self._stalls if start <= each.at <= end)


def _in_line_s() -> float:
    """Give the seconds for which this thread wanted a processor that others had; 0 where nobody says that."""
    with contextlib.suppress(OSError, ValueError):
        _, in_line_ns, _ = pathlib.Path("/proc/thread-self/schedstat").read_text(encoding="ascii").split()
        return int(in_line_ns) / 1e9
    return 0.0
