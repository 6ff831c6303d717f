"""Sessions that the simulator speaks in: patching keeps them, silent for a while, and undoes their transactions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal

from aioaurora.simulator.relay import Ending

if TYPE_CHECKING:
    from aioaurora.simulator.core import ClusterCore
    from aioaurora.simulator.server import Server

_POLL_S, _POLLS_AT_MOST = 0.01, 100


async def patched(cluster: ClusterCore, instance: Server, *, silent_for: float) -> None:
    """Silence an instance for some seconds and undo the transactions of its sessions meanwhile; a fault's task.

    What is under way may finish in the first half of that time; its answer comes when the silence ends.
    """
    loop = asyncio.get_running_loop()
    until, patient_until = loop.time() + silent_for, loop.time() + silent_for / 2
    instance.silence()
    while loop.time() < patient_until and any(front.is_owed for front in instance.connections):
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
    # What was asked a moment ago may neither run yet nor be answered: only the relay knows of it.
    for _ in range(_POLLS_AT_MOST):
        await cluster.control.kill_queries([front.engine_id for front in fronts if front.back is not None])
        if not any(front.is_owed for front in fronts):
            break
        await asyncio.sleep(_POLL_S)
    for front in fronts:
        if front.is_owed:
            front.end(Ending.FIN)  # It waits for a file of its client's.
        elif front.back is not None:
            try:
                await front.back.run(sql)
            except ConnectionError:
                continue  # The session ended by itself, and its transaction with it.


def _speak(instance: Server) -> None:
    if instance.is_up:  # It may have fallen meanwhile.
        instance.speak()
