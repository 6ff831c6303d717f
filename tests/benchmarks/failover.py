"""Compare failovers: `nox -s bench -- failover [rounds]` takes 4 minutes a round and prints a table.

On a simulated cluster of three over MariaDB, eight clients write under autocommit, ten times a second each, through
one kind of client; then the writer goes, and an instance is promoted three seconds later. What counts is the time from
the promotion to each client's first acknowledged write. Each failover has a process and a cluster of its own.

- `aioaurora`: its defaults;
- `aws`: the AWS Advanced Python Wrapper over aiomysql, its failover and host monitoring plugins with their defaults;
- `aws, tuned`: the same with every interval as short as is sensible;
- `plain`: aiomysql on the cluster endpoint, each operation bounded by three seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import pathlib
import statistics
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Protocol

import aiomysql

import aioaurora
from aioaurora.simulator import SimulatedCluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MODES = ("graceful", "crash", "blackhole")
CLIENTS, EVERY_S, PROMOTE_AFTER_S, GIVES_UP_S = 8, 0.1, 3.0, 60.0
LIMIT_S, PAUSE_S = 3.0, 0.1
INSERT = "INSERT INTO written (client) VALUES (%s)"
TUNED = {
    "connect_timeout": 1,
    "failure_detection_time_ms": 1000,
    "failure_detection_interval_ms": 500,
    "failure_detection_count": 2,
    "topology_refresh_ms": 500,
    "cluster_topology_high_refresh_rate_ms": 100,
    "failover_writer_reconnect_interval_sec": 0.1,
}


class Way(Protocol):
    """How one kind of client connects, and which errors leave its connection usable."""

    going_on: tuple[type[Exception], ...]

    async def connect(self) -> Any:
        """Connect to the writer."""


class Ours:
    """A Cluster, which leads every client to the writer."""

    going_on: tuple[type[Exception], ...] = ()

    def __init__(self, cluster: aioaurora.Cluster) -> None:
        self._cluster = cluster

    async def connect(self) -> Any:
        return await self._cluster.connect(role="writer")


class Plain:
    """aiomysql, each operation bounded."""

    going_on: tuple[type[Exception], ...] = ()

    def __init__(self, sim: SimulatedCluster) -> None:
        self._sim = sim

    async def connect(self) -> Any:
        return await aiomysql.connect(**_plain_options(self._sim), connect_timeout=LIMIT_S)


class Wrapped:
    """aiomysql inside the wrapper, which goes on with the same object after a failover."""

    def __init__(self, sim: SimulatedCluster, settings: dict[str, Any]) -> None:
        from aws_advanced_python_wrapper.errors import FailoverSuccessError

        self.going_on: tuple[type[Exception], ...] = (FailoverSuccessError,)
        self._sim, self._settings = sim, settings

    async def connect(self) -> Any:
        from aws_advanced_python_wrapper.aio.wrapper import AsyncAwsWrapperConnection

        return await AsyncAwsWrapperConnection.connect(
            aiomysql.connect,
            **_plain_options(self._sim),
            plugins="failover,host_monitoring_v2",  # Without naming them there is no failover.
            wrapper_dialect="aurora-mysql",
            cluster_instance_host_pattern=self._sim.instance_pattern.replace("{id}", "?") + f":{self._sim.port}",
            **self._settings,
        )


@contextlib.asynccontextmanager
async def entered(kind: str, sim: SimulatedCluster) -> AsyncIterator[Way]:
    """Make one kind of client ready."""
    if kind == "aioaurora":
        async with aioaurora.Cluster(**sim.connect_options(), autocommit=True) as cluster:
            yield Ours(cluster)
    elif kind == "plain":
        yield Plain(sim)
    else:
        from aws_advanced_python_wrapper.aio.cleanup import release_resources_async

        try:
            yield Wrapped(sim, TUNED if "tuned" in kind else {})
        finally:
            await release_resources_async()


KINDS = ("aioaurora", "aws", "aws, tuned", "plain")


def _plain_options(sim: SimulatedCluster) -> dict[str, Any]:
    names = ("host", "port", "user", "password", "db")
    return {name: value for name, value in sim.connect_options().items() if name in names} | {"autocommit": True}


async def written(way: Way, client: int, acknowledged: list[float], *, bound: float | None) -> None:
    """Write for ever; note when each write was acknowledged."""
    loop, connection = asyncio.get_running_loop(), None
    while True:
        try:
            async with asyncio.timeout(bound):
                if connection is None:
                    connection = await way.connect()
                async with connection.cursor() as cursor:
                    await cursor.execute(INSERT, (client,))
            acknowledged.append(loop.time())
            await asyncio.sleep(EVERY_S)
        except way.going_on:
            continue
        except Exception:  # noqa: BLE001 - Whatever a driver raises: the client tries again.
            connection = _dropped(connection)
            await asyncio.sleep(0.0 if isinstance(way, Ours) else PAUSE_S)


def _dropped(connection: Any) -> None:
    if isinstance(connection, aiomysql.Connection):
        connection.close()


async def failed_over(kind: str, mode: str) -> list[float | None]:
    """Return each client's wait from the promotion to its first acknowledged write; None: there was none."""
    async with SimulatedCluster(3, engine="mariadb") as sim:
        await sim.execute("CREATE TABLE written (id INT PRIMARY KEY AUTO_INCREMENT, client INT)")
        with sim.resolving():
            async with entered(kind, sim) as way:
                noted: list[list[float]] = [[] for _ in range(CLIENTS)]
                bound = LIMIT_S if kind == "plain" else None
                tasks = [
                    asyncio.create_task(written(way, client, noted[client], bound=bound)) for client in range(CLIENTS)
                ]
                await asyncio.sleep(2.0)
                await sim.failover(mode, promote_after=PROMOTE_AFTER_S)
                promoted_at = sim.timeline.of("promoted")[-1].at
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(GIVES_UP_S):
                        while not all(times and times[-1] > promoted_at for times in noted):
                            await asyncio.sleep(0.02)
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
    return [next((at - promoted_at for at in times if at > promoted_at), None) for times in noted]


def main() -> int:
    """Run every kind of client through every kind of failover, in turn."""
    if len(sys.argv) > 2:
        print(json.dumps(asyncio.run(failed_over(sys.argv[1], sys.argv[2]))), flush=True)
        return 0
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    waits: dict[tuple[str, str], list[float]] = {(kind, mode): [] for kind in KINDS for mode in MODES}
    for _ in range(rounds):
        for (kind, mode), seen in waits.items():
            seen.extend(_apart(kind, mode))
    print(f"{'promotion to first write, s':<28}" + "".join(f"{mode:>18}" for mode in MODES))
    for kind in KINDS:
        print(f"{kind:<28}" + "".join(f"{_summary(waits[kind, mode]):>18}" for mode in MODES))
    return 0


def _apart(kind: str, mode: str) -> list[float]:
    """Run one failover in a process of its own: the wrapper keeps threads and tasks to itself."""
    root = pathlib.Path(__file__).parents[2]
    command = [sys.executable, __file__, kind, mode]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=180, cwd=root)
    if done.returncode:
        raise SystemExit(f"{kind}, {mode}: {done.stderr[-2000:]}")
    waits = [float("inf") if wait is None else wait for wait in json.loads(done.stdout.splitlines()[-1])]
    print(f"  {kind}, {mode}: " + " ".join(f"{wait:.2f}" for wait in waits), flush=True)
    return waits


def _summary(waits: list[float]) -> str:
    return f"{statistics.median(waits):.2f}, {max(waits):.2f}"


if __name__ == "__main__":
    sys.exit(main())
