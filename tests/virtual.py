"""A Cluster on virtual time: its names are looked up in the simulator, as c-ares and its thread need real time."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import aioaurora
from aioaurora._io.dns import Answer, ResolveError, UnknownHost
from aioaurora._io.resolver import Resolver
from aioaurora.simulator import Status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aioaurora.simulator import SimulatedCluster


class SimulatedNames:
    """The simulator's DNS, asked without a socket."""

    def __init__(self, sim: SimulatedCluster) -> None:
        self._sim = sim

    async def ask(self, host: str) -> Answer:
        answer = self._sim.dns.answer(host)
        match answer.status:
            case Status.SILENT:
                await asyncio.sleep(60)
                raise ResolveError(host, "silence")
            case Status.NXDOMAIN:
                raise UnknownHost(host, "no such name")
            case Status.NOERROR:
                aliases = tuple(record.value for record in answer.records if record.kind == "CNAME")
                return Answer(addresses=answer.addresses, ttl_s=answer.ttl, chain=aliases)
            case _:
                raise ResolveError(host, answer.status.name)

    def flush(self) -> None:
        """Nothing is kept."""

    async def close(self) -> None:
        """Nothing is held."""


async def until(fact, within_s=5.0):
    """Wait until something is so."""
    async with asyncio.timeout(within_s):
        while not fact():
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def following(sim: SimulatedCluster, monkeypatch, **options) -> AsyncIterator[aioaurora.Cluster]:
    """Enter a Cluster that follows a simulated one."""
    cluster = made_for(sim, monkeypatch, **options)
    async with cluster:
        yield cluster


def made_for(sim: SimulatedCluster, monkeypatch, **options) -> aioaurora.Cluster:
    """Make a Cluster, and reach nobody yet."""
    names(sim, monkeypatch)
    return aioaurora.Cluster(**(sim.connect_options() | options))


def names(sim: SimulatedCluster, monkeypatch) -> None:
    """Let every Cluster of this test look its names up in `sim`."""

    def resolver(**keywords):
        keywords.pop("nameservers")
        return Resolver(source=SimulatedNames(sim), **keywords)

    monkeypatch.setattr("aioaurora._io.parts.Resolver", resolver)


def stand_still(seconds: float) -> None:
    """Let the loop stand still, as while a callback computes: what falls due meanwhile is late, all of it at once."""
    loop = asyncio.get_running_loop()
    loop.setup_looptime(start=loop.time() + seconds)
