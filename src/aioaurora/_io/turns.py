"""Whose turn it is to connect: a few at a time to each instance, as many as it copes with.

Who waits for a turn, or has one, is sent away when the instance is no longer what it was.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import anyio

from aioaurora._core.backoff import SLOW_CONNECT_S, Ramp, dispersed
from aioaurora._io.dial import Dismissed
from aioaurora._io.limits import limited
from aioaurora.errors import ConnectTimeout

if TYPE_CHECKING:
    from collections.abc import Callable

    from aioaurora._io.dial import Dial, Place


class Turns:
    """The turns of one Cluster's connects.

    Args:
        most: Connects at a time, for each instance.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._ramps: dict[Place, Ramp] = {}
        self._limiters: dict[Place, anyio.CapacityLimiter] = {}
        self._aims: dict[Place, set[Callable[[], object]]] = {}  # Each sends one away who has it.

    async def take(self, place: Place, ticket: object, *, deadline: float) -> None:
        """Wait for a turn, which is the ticket's until it is given back.

        Raises:
            ConnectTimeout: It did not come by the deadline.
            Dismissed: Whoever is there is no longer what it was.
        """
        limiter = self._limiter(place)
        try:
            limiter.acquire_on_behalf_of_nowait(ticket)
        except anyio.WouldBlock:
            await self._waited(place, limiter, ticket, deadline=deadline)

    def give_back(self, place: Place, ticket: object) -> None:
        """Let another have the ticket's turn."""
        self._limiters[place].release_on_behalf_of(ticket)

    def aim(self, place: Place, send_away: Callable[[], object]) -> None:
        """Have `disperse` call that."""
        self._aims.setdefault(place, set()).add(send_away)

    def unaim(self, place: Place, send_away: Callable[[], object]) -> None:
        """Have `disperse` call it no more."""
        aims = self._aims[place]
        aims.discard(send_away)
        if not aims:
            del self._aims[place]

    def disperse(self, place: Place) -> None:
        """Send away who waits for a connection to that place, and who waits for a turn there: they choose anew."""
        for send_away in tuple(self._aims.get(place, ())):
            send_away()

    def restrain(self, place: Place) -> None:
        """Trust an instance with one connect at a time, and more as it copes: it has just been promoted."""
        self._set_ramp(place, Ramp.cautious(self._most))

    def keep(self, places: set[Place]) -> None:
        """Forget what was learned of all other places; not while one connects there, or waits for a turn."""
        for place in self._limiters.keys() - places:
            known = self._limiters[place].statistics()
            if not known.borrowed_tokens and not known.tasks_waiting:
                del self._limiters[place]
                self._ramps.pop(place, None)

    def pause_s(self, place: Place) -> float:
        """Seconds for which an instance was left alone before this turn; 0: it was not."""
        return self._ramp(place).pause_s

    def learn(self, dial: Dial[Any]) -> None:
        """Trust an instance with more connects at a time, or with fewer."""
        if dial.task.cancelled():
            return
        ramp, error = self._ramp(dial.place), dial.task.exception()
        now = asyncio.get_running_loop().time()
        if error is None:
            took_s = now - dial.started_at
            round_trip_s = _round_trip_s(dial) if took_s > SLOW_CONNECT_S else 0.0  # Asking the kernel costs.
            grown = ramp.after_success(took_s, round_trip_s)
            if grown != ramp:
                self._set_ramp(dial.place, grown)
        elif dial.strains(error):
            self._set_ramp(dial.place, ramp.after_strain(began_at=dial.started_at, now=now))

    async def _waited(self, place: Place, limiter: anyio.CapacityLimiter, ticket: object, *, deadline: float) -> None:
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        with anyio.CancelScope() as scope:
            self.aim(place, scope.cancel)
            try:
                async with limited(deadline):
                    await limiter.acquire_on_behalf_of(ticket)
            except TimeoutError:
                raise ConnectTimeout(place.host, phase="its turn", waited_s=loop.time() - asked_at) from None
            else:
                return
            finally:
                self.unaim(place, scope.cancel)
        raise Dismissed

    def _ramp(self, place: Place) -> Ramp:
        return self._ramps.get(place) or Ramp(self._most, self._most)

    def _set_ramp(self, place: Place, ramp: Ramp) -> None:
        before, self._ramps[place] = self._ramps.get(place), ramp
        limiter = self._limiter(place)
        if not ramp.pause_s:
            if limiter.total_tokens != ramp.allowed:
                limiter.total_tokens = ramp.allowed
        elif before is None or ramp.strained_at > before.strained_at:
            limiter.total_tokens = 0
            pause_s = dispersed(ramp.pause_s, random.random())  # noqa: S311 - no secret.
            asyncio.get_running_loop().call_later(pause_s, self._go_on, place, ramp)

    def _go_on(self, place: Place, ramp: Ramp) -> None:
        """Trust an instance with a connect again that was left alone; not if its pause was begun anew."""
        if self._ramps.get(place) is ramp and place in self._limiters:
            self._limiters[place].total_tokens = ramp.allowed

    def _limiter(self, place: Place) -> anyio.CapacityLimiter:
        limiter = self._limiters.get(place)
        if limiter is None:
            limiter = self._limiters[place] = anyio.CapacityLimiter(self._ramp(place).allowed)
        return limiter


def _round_trip_s(dial: Dial[Any]) -> float:
    signs = dial.task.result().session.signs()
    return (signs.least_round_trip_s or 0.0) if signs is not None else 0.0
