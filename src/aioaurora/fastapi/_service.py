"""A pool in the service of an application: how requests find it, and whether it is about to end.

ready --SIGTERM--> draining --requests end, or the time is up--> closed
  |                                                                ^
  +------------------- the lifespan ends --------------------------+
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypedDict

from aioaurora.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from aioaurora.pool import Pool

DEFAULT_NAME = "aurora"
SERVICES = "aioaurora"  # Where they stand in the state that a lifespan gives to each request.


class Service:
    """One pool of an application.

    Attributes:
        name: What the application calls it.
        pool: The pool.
        is_draining: The application was told to end: it should get no new requests.
    """

    name: str
    pool: Pool
    is_draining: bool

    def __init__(self, name: str, pool: Pool, *, drain_s: float) -> None:
        self.name, self.pool, self.is_draining = name, pool, False
        self._drain_s = drain_s
        self._loop = asyncio.get_running_loop()
        self._cut: asyncio.TimerHandle | None = None

    def begin_draining(self) -> None:
        """Be ready no more; what runs may go on until the time is up, and then what it holds is cut."""
        if not self.is_draining:
            self.is_draining = True
            self._cut = self._loop.call_later(self._drain_s, self.pool.close, 0)

    async def end(self) -> None:
        """Close the pool: at once if nothing is leased, else when all of it came back or the time is up."""
        left_s = self._drain_s
        if self._cut is not None:
            left_s = max(self._cut.when() - self._loop.time(), 0.0)
            self._cut.cancel()
        self.is_draining = True
        if self.pool.closed:
            self.pool.close(0)
            await self.pool.wait_closed()
        else:
            await self.pool.drain(left_s)


class AuroraState(TypedDict):
    """What `aurora_lifespan` adds to the state of requests; a base for the application's own.

    Attributes:
        aurora: The pool, under the name that the lifespan was given; "aurora" by default.
        aioaurora: What the health checks look at.
    """

    aurora: Pool
    aioaurora: tuple[Service, ...]


def state_of(service: Service, others: Mapping[str, Any]) -> dict[str, Any]:
    """Give the state of requests with one more pool in it."""
    if service.name in others:
        raise ConfigurationError(f"two parts of the lifespan are called {service.name!r}: give one another name=")
    return {**others, service.name: service.pool, SERVICES: (service, *others.get(SERVICES, ()))}


def services_of(scope: Mapping[str, Any]) -> tuple[Service, ...]:
    """Give the services of an application, by the scope of one of its requests."""
    services: tuple[Service, ...] = scope.get("state", {}).get(SERVICES, ())
    return services


def pool_of(scope: Mapping[str, Any], name: str) -> Pool:
    """Give a pool of an application, by the scope of one of its requests.

    Raises:
        ConfigurationError: The application has none of this name.
    """
    for service in services_of(scope):
        if service.name == name:
            return service.pool
    known = ", ".join(repr(service.name) for service in services_of(scope))
    instead = f"it has {known}" if known else "give it lifespan=aurora_lifespan(url), and a server that runs lifespans"
    raise ConfigurationError(f"the application has no pool named {name!r}: {instead}")
