"""Patching that keeps sessions: they fall silent, lose their transactions, and go on as if nothing had been."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aioaurora.simulator.wire import EngineError

if TYPE_CHECKING:
    from aioaurora.simulator.core import ClusterCore
    from aioaurora.simulator.instance import SimulatedInstance
    from aioaurora.simulator.relay import Front

_POLL_S = 0.01


async def patched(cluster: ClusterCore, instance: SimulatedInstance, *, silent_for: float) -> None:
    """Silence an instance for some seconds and undo the transactions of its sessions meanwhile.

    What is under way may finish in the first half of that time; its answer comes when the silence ends.
    """
    loop = asyncio.get_running_loop()
    start = loop.time()
    instance.silence()
    fronts = [front for front in instance.connections if front.back is not None]
    ids = [front.engine_id for front in fronts]
    for _ in range(int(silent_for / 2 / _POLL_S)):
        if not await cluster.control.busy(ids):
            break
        await asyncio.sleep(_POLL_S)
    await cluster.control.kill_queries(await cluster.control.busy(ids))
    await asyncio.sleep(0)  # The last answers are in the sockets: let them be read first.
    for front in fronts:
        await _undo(front)
    await asyncio.sleep(max(start + silent_for - loop.time(), 0))
    instance.speak()
    cluster.timeline.add("spoke_again", instance.id, sessions=len(fronts))


async def _undo(front: Front) -> None:
    try:
        if front.back is not None:
            await front.back.run("ROLLBACK")
            front.has_written = False
    except (EngineError, ConnectionError):
        return  # The session ended by itself: its transaction is undone all the same.
