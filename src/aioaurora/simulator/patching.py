"""Sessions that the simulator speaks in: patching keeps them, silent for a while, and undoes their transactions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from aioaurora.simulator.core import ClusterCore
    from aioaurora.simulator.server import Server

_POLL_S = 0.01


async def patched(cluster: ClusterCore, instance: Server, *, silent_for: float) -> None:
    """Silence an instance for some seconds and undo the transactions of its sessions meanwhile; a fault's task.

    What is under way may finish in the first half of that time; its answer comes when the silence ends.
    """
    loop = asyncio.get_running_loop()
    until, patient_until = loop.time() + silent_for, loop.time() + silent_for / 2
    instance.silence()
    while loop.time() < patient_until and await cluster.control.busy(_engine_ids(instance)):
        if not await cluster.tasks.lasting(_POLL_S):
            return
    await injected(cluster, instance, "ROLLBACK")
    if await cluster.tasks.lasting(until - loop.time()):
        _speak(instance)
        cluster.timeline.add("spoke_again", instance.id, sessions=len(instance.connections))


async def set_access(cluster: ClusterCore, instance: Server, access: Literal["READ ONLY", "READ WRITE"]) -> None:
    """Make an instance's sessions READ ONLY or READ WRITE."""
    await injected(cluster, instance, f"SET SESSION TRANSACTION {access}")
    _speak(instance)


async def injected(cluster: ClusterCore, instance: Server, sql: str) -> None:
    """Silence an instance and run a statement in all of its sessions; what they are running is killed (1317)."""
    instance.silence()
    fronts = [front for front in instance.connections if front.back is not None]
    await cluster.control.kill_queries(await cluster.control.busy([front.engine_id for front in fronts]))
    await asyncio.sleep(0)  # The last answers are in the sockets: let them be read first.
    for front in fronts:
        if front.back is not None:
            try:
                await front.back.run(sql)
            except ConnectionError:
                continue  # The session ended by itself, and its transaction with it.


def _engine_ids(instance: Server) -> list[int]:
    return [front.engine_id for front in instance.connections if front.back is not None]


def _speak(instance: Server) -> None:
    if instance.is_up:  # It may have fallen meanwhile.
        instance.speak()
