"""Looks where the endpoint leads while the writer is sought: every instance that was known may have been replaced.

Nobody is dialled who is asked already under his own name: all processes would log in there once more.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

from pymysql import err

from aioaurora._core.backoff import jittered, lookout_pause
from aioaurora._core.failover import Event, Observed
from aioaurora._io.contact import beside
from aioaurora._io.dial import Place

if TYPE_CHECKING:
    from collections.abc import Callable

    from aioaurora._core.topology import Topology
    from aioaurora._io.dialer import Dialer


class Lookout:
    """Asks whoever is behind the cluster and reader endpoints, one after the other."""

    def __init__(
        self,
        dialer: Dialer,
        *,
        tell: Callable[[Event], None],
        topology: Callable[[], Topology],
        chance: Callable[[], float],
    ) -> None:
        self._dialer, self._tell, self._topology, self._chance = dialer, tell, topology, chance
        self._is_out = False

    async def look(self, *, while_: Callable[[], bool]) -> None:
        """Ask until `while_` says no; a second call while one is at it does nothing."""
        if self._is_out:
            return
        self._is_out = True
        try:
            for looks in itertools.count():
                await asyncio.sleep(jittered(lookout_pause(looks), self._chance()))
                if not while_():
                    return
                for place in self._places():
                    await self._ask(place)
        finally:
            self._is_out = False

    def _places(self) -> list[Place]:
        """Give the endpoints that are no instance's own name."""
        endpoint, known = self._topology().endpoint, self._known()
        places = (Place(endpoint.host, endpoint.port), beside(endpoint))
        return [place for place in places if place is not None and place not in known]

    def _known(self) -> set[Place]:
        return {Place(each.host, each.port) for each in self._topology().instances}

    async def _ask(self, place: Place) -> None:
        try:
            if await self._dialer.leads_to_one_of(place, self._known()):
                return
            dialled = await self._dialer.start(place, self._dialer.bare).wait()
        except (err.MySQLError, OSError):
            return  # A name that leads nowhere tells nothing of any instance.
        dialled.session.close()
        self._tell(Observed(dialled.observation))
