"""A small fleet in earnest: as many Clusters and pools as processes, on virtual time, over one simulated cluster."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aioaurora
from aioaurora._io import heartbeat
from aioaurora._io.dialer import Dialer
from aioaurora.events import ConnectionOpened, FailoverFinished
from aioaurora.simulator import SimulatedCluster
from tests.fleet.seen import Seen
from tests.virtual import SimulatedNames, names

if TYPE_CHECKING:
    import pytest

PACKETS_A_LOOK_UP = 2  # One for each family of addresses.
BEFORE_S = 2.5  # What was seen so long before the promotion, or longer, is left out: the start of the fleet.


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How large a fleet is, and what its servers bear.

    Attributes:
        processes: Each has a Cluster and a pool of its own.
        connections: That each process wants.
        logins_per_s: What each instance bears.
        lasting: Seconds from the promotion for which it is watched, at most.
    """

    processes: int
    connections: int
    logins_per_s: float = 200.0
    lasting: float = 120.0


async def failed_over(size: Size, monkeypatch: pytest.MonkeyPatch, **options: float) -> Seen:
    """Let the writer of a fleet's cluster crash; gives what was seen until all was open again."""
    async with SimulatedCluster(3, engine="memory") as sim, contextlib.AsyncExitStack() as stack:
        seen = Seen()
        names(sim, monkeypatch)
        note_all(seen, monkeypatch)
        pools = [
            await stack.enter_async_context(
                aioaurora.create_pool(
                    **(sim.connect_options() | options),
                    minsize=0,
                    maxsize=size.connections,
                    listeners=_listener(seen),
                )
            )
            for _ in range(size.processes)
        ]
        await sim.pace_logins(size.logins_per_s)
        await asyncio.sleep(3.0)
        failing = asyncio.create_task(sim.failover("crash", to="db-2"))
        await asyncio.sleep(0.05)
        wanting = [asyncio.create_task(_held(pool, size.lasting)) for pool in pools for _ in range(size.connections)]
        await failing
        promoted_at = sim.timeline.of("promoted")[-1].at
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(size.lasting):
                while sum(at > promoted_at for at in seen.opened) < len(wanting):
                    await asyncio.sleep(0.05)
        for instance in sim.instances.values():
            seen.log_ins[instance.id] += [knock.began_at for knock in instance.knocks]
        seen = _between(promoted_at - BEFORE_S, asyncio.get_running_loop().time(), promoted_at, seen)
        for task in wanting:
            task.cancel()
        await asyncio.wait(wanting)
        return seen


async def _held(pool: aioaurora.Pool, lasting: float) -> None:
    async with pool.acquire(timeout=lasting):
        await asyncio.sleep(lasting)


def _listener(seen: Seen):
    is_over = False

    def listen(event):
        nonlocal is_over
        if isinstance(event, ConnectionOpened):
            seen.opened.append(asyncio.get_running_loop().time())
            if is_over:
                seen.served.append(seen.opened[-1])
                is_over = False
        elif isinstance(event, FailoverFinished):
            seen.found.append(asyncio.get_running_loop().time())
            is_over = True

    return listen


def note_all(seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Note from now on who is dialled and asked, by the first label of the name, and how often DNS is."""
    probe, start, ask = heartbeat.probe, Dialer.start, SimulatedNames.ask

    async def probed(session, **how):
        seen.questions[session.host.partition(".")[0]].append(asyncio.get_running_loop().time())
        return await probe(session, **how)

    def started(dialer, place, build, **how):
        seen.dials[place.host.partition(".")[0]].append(asyncio.get_running_loop().time())
        return start(dialer, place, build, **how)

    async def asked(source, host):
        seen.look_ups["all"] += [asyncio.get_running_loop().time()] * PACKETS_A_LOOK_UP
        return await ask(source, host)

    monkeypatch.setattr(heartbeat, "probe", probed)
    monkeypatch.setattr(Dialer, "start", started)
    monkeypatch.setattr(SimulatedNames, "ask", asked)


def _between(begin: float, end: float, zero: float, seen: Seen) -> Seen:
    """Give what was seen between two moments, on a clock that begins with the promotion."""
    given = Seen()
    for kind in ("dials", "log_ins", "questions", "look_ups"):
        for name, moments in getattr(seen, kind).items():
            getattr(given, kind)[name] = sorted(moment - zero for moment in moments if begin <= moment <= end)
    given.found = sorted(moment - zero for moment in seen.found)
    given.served = sorted(moment - zero for moment in seen.served)
    given.opened = sorted(moment - zero for moment in seen.opened if moment >= zero)
    return given
