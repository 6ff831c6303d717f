"""Looks where the endpoint leads while the writer is sought: every instance that was known may have been replaced."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pymysql import err

from aioaurora._core.failover import Event, Observed
from aioaurora._io.contact import beside
from aioaurora._io.dial import Place

if TYPE_CHECKING:
    from collections.abc import Callable

    from aioaurora._core.topology import Topology
    from aioaurora._io.dialer import Dialer

# Most searches are over before; and DNS, which moves late, is asked no more often than its answers live.
EVERY_S = 1.0


class Lookout:
    """Asks whoever is behind the cluster and reader endpoints, one after the other."""

    def __init__(self, dialer: Dialer, *, tell: Callable[[Event], None], topology: Callable[[], Topology]) -> None:
        self._dialer, self._tell, self._topology = dialer, tell, topology
        self._is_out = False

    async def look(self, *, while_: Callable[[], bool]) -> None:
        """Ask until `while_` says no; a second call while one is at it does nothing."""
        if self._is_out:
            return
        self._is_out = True
        try:
            await asyncio.sleep(EVERY_S)
            while while_():
                for place in self._places():
                    await self._ask(place)
                await asyncio.sleep(EVERY_S)
        finally:
            self._is_out = False

    def _places(self) -> list[Place]:
        """Give the endpoints that are no instance's own name."""
        topology = self._topology()
        endpoint = topology.endpoint
        places = (Place(endpoint.host, endpoint.port), beside(endpoint))
        known = {Place(each.host, each.port) for each in topology.instances}
        return [place for place in places if place is not None and place not in known]

    async def _ask(self, place: Place) -> None:
        try:
            dialled = await self._dialer.start(place, self._dialer.bare).wait()
        except (err.MySQLError, OSError):
            return  # A name that leads nowhere tells nothing of any instance.
        dialled.session.close()
        self._tell(Observed(dialled.observation))
