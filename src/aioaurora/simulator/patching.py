"""Sessions that the simulator speaks in: patching keeps them, silent for a while, and undoes their transactions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aioaurora.simulator.core import ClusterCore
    from aioaurora.simulator.instance import SimulatedInstance

_POLL_S = 0.01


async def patched(cluster: ClusterCore, instance: SimulatedInstance, *, silent_for: float) -> None:
    """Silence an instance for some seconds and undo the transactions of its sessions meanwhile.

    What is under way may finish in the first half of that time; its answer comes when the silence ends.
    """
    loop = asyncio.get_running_loop()
    start = loop.time()
    await injected(cluster, instance, "ROLLBACK", patience=silent_for / 2, silent_until=start + silent_for)
    cluster.timeline.add("spoke_again", instance.id, sessions=len(instance.connections))


async def injected(
    cluster: ClusterCore, instance: SimulatedInstance, sql: str, *, patience: float = 0.0, silent_until: float = 0.0
) -> None:
    """Run a statement in all of an instance's sessions, between their own, in a moment of silence.

    Statements that are not done within `patience` seconds are killed (1317).
    """
    instance.silence()
    fronts = [front for front in instance.connections if front.back is not None]
    ids = [front.engine_id for front in fronts]
    for _ in range(int(patience / _POLL_S)):
        if not await cluster.control.busy(ids):
            break
        await asyncio.sleep(_POLL_S)
    await cluster.control.kill_queries(await cluster.control.busy(ids))
    await asyncio.sleep(0)  # The last answers are in the sockets: let them be read first.
    for front in fronts:
        if front.back is not None:
            try:
                await front.back.run(sql)
            except ConnectionError:
                continue  # The session ended by itself, and its transaction with it.
    await asyncio.sleep(max(silent_until - asyncio.get_running_loop().time(), 0))
    if instance.is_up:  # It may have fallen meanwhile.
        instance.speak()
