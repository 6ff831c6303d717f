"""What a Cluster is made of once it has a loop."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING

from aioaurora._io.dialer import Dialer
from aioaurora._io.monitor import Monitor
from aioaurora._io.resolver import Resolver
from aioaurora._io.seeker import Seeker
from aioaurora.credentials import CredentialCache

if TYPE_CHECKING:
    from collections.abc import Callable

    from aioaurora.config import Config
    from aioaurora.events import Events


class Parts:
    """The parts of one Cluster, on one loop."""

    def __init__(self, config: Config, events: Events, cluster: str) -> None:
        self.loop = asyncio.get_running_loop()
        self.dependants: set[Callable[[], None]] = set()  # Called when the Cluster is closed.
        self.credentials = CredentialCache(config.credentials)
        self.resolver = Resolver(
            nameservers=config.nameservers,
            max_ttl=config.dns_max_ttl,
            stale_for=config.dns_stale_if_error,
            cluster=cluster,
            emit=events.emit,
        )
        self.dialer = Dialer(config, self.resolver, self.credentials)
        self.monitor = Monitor(
            config, dialer=self.dialer, resolver=self.resolver, emit=events.emit, chance=random.random
        )
        self.seeker = Seeker(config, monitor=self.monitor, dialer=self.dialer, emit=events.emit, chance=random.random)

    async def close(self) -> None:
        """End them all."""
        for tell in tuple(self.dependants):
            tell()
        async with contextlib.AsyncExitStack() as stack:  # Each is closed, whatever becomes of the others.
            for part in (self.credentials, self.resolver, self.dialer, self.monitor, self.seeker):
                stack.push_async_callback(part.close)
