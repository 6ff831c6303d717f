"""Looks where the endpoints lead: for the writer that is sought, and for one that nobody told us of.

While the writer is sought, every instance that was known may have been replaced. Nobody is dialled who is asked already
under his own name: all processes would log in there once more.

While all is well and only the writer is asked, nobody contradicts it: one that was fenced and does not know it would go
on saying that it is the writer, and statements would hang there for ever. DNS, though late, then names another, which
is asked; DNS alone changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

from pymysql import err

from aioaurora._core.backoff import jittered, lookout_pause
from aioaurora._core.endpoint import EndpointKind
from aioaurora._core.failover import Event, Observed
from aioaurora._io.contact import beside
from aioaurora._io.dial import Place
from aioaurora._io.dns import ResolveError
from aioaurora._io.probe import probe

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from aioaurora._core.topology import Instance, Topology
    from aioaurora._io.dialer import Dialer
    from aioaurora._io.resolver import Resolver

    class Surroundings(Protocol):
        """What a lookout needs of the monitor."""

        @property
        def topology(self) -> Topology:
            """What is believed now."""

        @property
        def is_searching(self) -> bool:
            """Whether the writer is sought."""

        @property
        def is_alone(self) -> bool:
            """Whether nobody but the writer is asked."""

        def tell(self, event: Event) -> None:
            """Take news in."""


class Lookout:
    """Asks whoever is behind the cluster and reader endpoints, one after the other."""

    def __init__(
        self,
        dialer: Dialer,
        resolver: Resolver,
        around: Surroundings,
        *,
        every_s: float,
        chance: Callable[[], float],
    ) -> None:
        self._dialer, self._resolver, self._around = dialer, resolver, around
        self._every_s, self._chance = every_s, chance
        self._is_out = False

    async def look(self) -> None:
        """Ask while the writer is sought; a second call while one is at it does nothing."""
        if self._is_out:
            return
        self._is_out = True
        try:
            for looks in itertools.count():
                await asyncio.sleep(jittered(lookout_pause(looks), self._chance()))
                if not self._around.is_searching:
                    return
                for place in self._places():
                    if await self._is_news(place):
                        await self._ask(place)
        finally:
            self._is_out = False

    async def mind(self) -> None:
        """Ask whom DNS calls the writer, if it has moved to another than ours, and nobody else could tell.

        Once that one has answered it is not asked again: DNS may be late, for a whole fleet at once.
        """
        dealt_with = ""
        while True:
            await asyncio.sleep(self._every_s)
            name = await self._target() if self._around.is_alone else None
            other = self._other(name) if name != dealt_with else None
            if name is not None and (other is None or await self._ask(Place(other.host, other.port), with_view=True)):
                dealt_with = name

    async def _target(self) -> str | None:
        """Give the name of the instance that the cluster endpoint leads to; None: nobody says."""
        endpoint = self._around.topology.endpoint
        if endpoint.kind is not EndpointKind.CLUSTER:
            return None
        deadline = asyncio.get_running_loop().time() + self._every_s
        with contextlib.suppress(ResolveError):
            return await self._resolver.canonical(endpoint.host, deadline=deadline)
        return None

    def _other(self, name: str | None) -> Instance | None:
        """Give the instance of that name, if it is not the writer."""
        topology = self._around.topology
        others = (each for each in topology.instances if each.id != topology.writer_id)
        return next((each for each in others if each.host == name), None)

    def _places(self) -> list[Place]:
        """Give the endpoints that are no instance's own name."""
        endpoint, known = self._around.topology.endpoint, self._known()
        places = (Place(endpoint.host, endpoint.port), beside(endpoint))
        return [place for place in places if place is not None and place not in known]

    def _known(self) -> set[Place]:
        return {Place(each.host, each.port) for each in self._around.topology.instances}

    async def _is_news(self, place: Place) -> bool:
        """Tell whether somebody is there who is not asked under his own name."""
        with contextlib.suppress(ResolveError):
            return not await self._dialer.leads_to_one_of(place, self._known())
        return False

    async def _ask(self, place: Place, *, with_view: bool = False) -> bool:
        """Ask whoever is there, and tell what it said; False: nobody answered."""
        try:
            dialled = await self._dialer.start(place, self._dialer.bare).wait()
        except (err.MySQLError, OSError):
            return False  # A name that leads nowhere tells nothing of any instance.
        observation, session = dialled.observation, dialled.session
        try:
            if with_view:  # Its rows count where two say that they are the writer.
                async with asyncio.timeout(self._every_s):
                    seen = await probe(session, plain=bool(self._dialer.is_plain), with_view=True)
                observation = replace(seen, thread_id=observation.thread_id)
        except (err.MySQLError, OSError):
            return False
        finally:
            session.close()
        self._around.tell(Observed(observation))
        return True
