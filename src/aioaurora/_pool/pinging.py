"""How long a pool waits for an idle connection's sign of life: not for one that its instance has forgotten.

    asked --answered--> fit
      |  late: asks the instance on its heartbeat's connection, too
      +--that is answered, this is not--> forgotten
      +--nothing is answered for long--> given up

A frozen sandbox, a load balancer or a NAT table may have dropped a connection without a word. What is late while its
instance answers others is such a one; while nobody is answered, the instance is slow, and waiting is as good as
connecting anew.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from aioaurora.connection import Connection

_LOOK_AGAIN_S = 0.05


class HasAnswered(Protocol):
    """Tells whether an instance has answered what it was asked after a loop time."""

    def __call__(self, instance_id: str, /, *, since: float) -> bool: ...


@dataclass(frozen=True, slots=True)
class Pinging:
    """For how long a ping is waited for.

    Attributes:
        most_s: Seconds at most.
        late_s: Seconds after which it is late.
        nudge: Asks an instance, named by its id, on another connection.
        has_answered: Tells whether it has answered since.
    """

    most_s: float
    late_s: float
    nudge: Callable[[str], None]
    has_answered: HasAnswered

    async def pinged(self, connection: Connection, deadline: float) -> None:
        """Ping a parked connection; however it fails, its socket is gone.

        Raises:
            Error: It is lost.
            TimeoutError: It did not answer in time, or while its instance answered others.
        """
        asked_at = asyncio.get_running_loop().time()
        async with asyncio.timeout_at(min(deadline, asked_at + self.most_s)) as limit:
            doubt = _Doubt(self, connection.instance, asked_at, limit)
            try:
                await connection.check()
            finally:
                doubt.end()


class _Doubt:
    """Ends the wait for one connection once its instance has answered a later question."""

    def __init__(self, pinging: Pinging, instance: str, asked_at: float, limit: asyncio.Timeout) -> None:
        self._pinging, self._instance, self._asked_at, self._limit = pinging, instance, asked_at, limit
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_at(asked_at + pinging.late_s, self._begin)

    def end(self) -> None:
        """Look no more."""
        self._timer.cancel()

    def _begin(self) -> None:
        self._pinging.nudge(self._instance)
        self._look()

    def _look(self) -> None:
        if self._limit.expired():
            return
        if self._pinging.has_answered(self._instance, since=self._asked_at):
            self._limit.reschedule(self._loop.time())
        else:
            self._timer = self._loop.call_later(_LOOK_AGAIN_S, self._look)
