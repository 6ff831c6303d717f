"""One kind of client, in a process of its own: writes through a failover, until its first write after the promotion.

Reads the cluster's place from its input, then the moment of the promotion; says `ready`, then what it lived through, as
one line of JSON. Moments are those of the machine's monotonic clock, which processes share.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pathlib
import socket
import sys
from typing import TYPE_CHECKING

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent.parent))

from aioaurora.simulator.resolving import resolving
from tests.benchmarks import asking, ways

if TYPE_CHECKING:
    from tests.benchmarks.ways import Way

EVERY_S, TICK_S, POLL_S, ASK_S = 0.1, 0.01, 0.02, 0.1
BEGINS_S, GIVES_UP_S = 30.0, 45.0


async def ran(kind: str, clients: int) -> dict[str, object]:
    """Write through one failover; give each client's wait in seconds, None where there was no end to it."""
    loop = asyncio.get_running_loop()
    told = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(told), sys.stdin)
    place = json.loads(await told.readline())
    domain = place["instance_pattern"].split(".", 2)[2]
    with resolving(asking.Asked(place["nameservers"][0], domain)):
        async with ways.entered(kind, place, clients) as way:
            noted: list[list[float]] = [[] for _ in range(clients)]
            stalls: list[tuple[float, float]] = []
            tasks = [asyncio.create_task(_write_on(way, client, times)) for client, times in enumerate(noted)]
            tasks.append(asyncio.create_task(_ticking(stalls)))
            tasks.append(asyncio.create_task(_others_ask(place["host"])))
            async with asyncio.timeout(BEGINS_S):
                await _all_later(noted, loop.time())
            print("ready", flush=True)
            promoted_at = float(await told.readline())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GIVES_UP_S):
                    await _all_later(noted, promoted_at)
            for task in tasks:
                task.cancel()
            waits = [next((at - promoted_at for at in times if at > promoted_at), None) for times in noted]
            stall = max((late for at, late in stalls if at > promoted_at), default=0.0)
            print(json.dumps({"waits": waits, "stall": stall}), flush=True)
            await asyncio.wait(tasks, timeout=ways.GOODBYE_S)


async def _write_on(way: Way, client: int, acknowledged: list[float]) -> None:
    """Write for ever; note when each write was acknowledged."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            await way.write(client)
            acknowledged.append(loop.time())
            await asyncio.sleep(EVERY_S)
        except Exception:  # noqa: BLE001 - Whatever a driver raises: the client tries again.
            await asyncio.sleep(way.pause_s)


async def _ticking(stalls: list[tuple[float, float]]) -> None:
    """Note how late each tick is: for so long this process did something else, or nothing."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + TICK_S
        await asyncio.sleep(TICK_S)
        stalls.append((loop.time(), loop.time() - due))


async def _others_ask(name: str) -> None:
    """Look the cluster endpoint up all the time, as other processes of a machine with a cache do."""
    while True:
        with contextlib.suppress(OSError):
            socket.getaddrinfo(name, None)
        await asyncio.sleep(ASK_S)


async def _all_later(noted: list[list[float]], moment: float) -> None:
    while not all(times and times[-1] > moment for times in noted):
        await asyncio.sleep(POLL_S)


if __name__ == "__main__":
    asyncio.run(ran(sys.argv[1], int(sys.argv[2])))
    os._exit(0)  # The wrapper's threads would not let it end.
