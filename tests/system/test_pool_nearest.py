"""Readers near and far: one is at the end of a cable that is 1 ms longer, as another zone's are (case 62).

Its address is in a network namespace of its own, where a listener passes on what it gets to the simulated instance.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import ctypes
import os
import pathlib
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

import aioaurora
from aioaurora.simulator import SimulatedCluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

HERE, THERE = "10.213.78.1", "10.213.78.2"
ONE_WAY_S = 0.0005
CABLE = pathlib.Path(__file__).parent.parent / "cable.py"
NEAR, FAR = {"db-2", "db-3"}, "db-4"
WORKERS, LEASES = 12, 40
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)

pytestmark = [pytest.mark.alone, pytest.mark.needs("mariadbd", "netns", "tun"), pytest.mark.timeout(60)]


class FarAway:
    """A machine at the other end of a long cable."""

    def __init__(self) -> None:
        self.name = f"aaf{os.getpid()}"
        self._cable: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Make the namespace, and the cable to it."""
        near, far = f"{self.name}n", f"{self.name}f"
        command = [sys.executable, str(CABLE), near, far, str(ONE_WAY_S)]
        self._cable = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._cable.stdout is not None
        assert self._cable.stdout.readline() == b"made\n"
        inside = ("ip", "netns", "exec", self.name)
        for words in (
            ("ip", "netns", "add", self.name),
            ("ip", "link", "set", far, "netns", self.name),
            ("ip", "address", "add", HERE, "peer", THERE, "dev", near),
            ("ip", "link", "set", near, "up"),
            (*inside, "ip", "address", "add", THERE, "peer", HERE, "dev", far),
            (*inside, "ip", "link", "set", far, "up"),
        ):
            subprocess.run(words, check=True, capture_output=True, timeout=10)

    def listener(self, port: int) -> socket.socket:
        """Make a listening socket on it: a socket stays in the namespace of the thread that makes it."""
        made: list[socket.socket] = []
        thread = threading.Thread(target=self._listen, args=(port, made))
        thread.start()
        thread.join()
        return made[0]

    def _listen(self, port: int, made: list[socket.socket]) -> None:
        with pathlib.Path(f"/var/run/netns/{self.name}").open() as namespace:
            if LIBC.setns(namespace.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        listener = socket.create_server((THERE, port))
        listener.setblocking(False)
        made.append(listener)

    def remove(self) -> None:
        """Leave the machine as it was."""
        if self._cable is not None:
            self._cable.kill()
            self._cable.communicate()
        with contextlib.suppress(subprocess.CalledProcessError):
            subprocess.run(("ip", "netns", "delete", self.name), check=True, capture_output=True, timeout=10)


@pytest.fixture
def far_away() -> Iterator[FarAway]:
    """Give a machine far away."""
    machine = FarAway()
    try:
        machine.start()
        yield machine
    finally:
        machine.remove()


@pytest.fixture
async def sim(far_away: FarAway, installed_once: None) -> AsyncIterator[SimulatedCluster]:
    """A cluster with two readers near and one far."""
    async with SimulatedCluster(4, engine="mariadb") as started:
        place = started.instances[FAR].address
        server = await asyncio.start_server(
            lambda reader, writer: _passed_on(reader, writer, (place, started.port)),
            sock=far_away.listener(started.port),
        )
        started.dns.lie(started.instance_endpoint(FAR), THERE)
        try:
            yield started
        finally:
            server.close()
            await started.crash(FAR)


async def _passed_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, place: tuple[str, int]) -> None:
    try:
        there, back = await asyncio.open_connection(*place)
    except OSError:
        writer.close()
        return
    await asyncio.gather(_pumped(reader, back), _pumped(there, writer))


async def _pumped(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def _pool(sim: SimulatedCluster) -> AsyncIterator[aioaurora.Pool]:
    """A pool that knows how far its readers are."""
    options = {"role": "reader", "reader_strategy": "nearest", "minsize": 2, "maxsize": 60}
    async with aioaurora.create_pool(**sim.connect_options() | options) as pool:
        yield pool


async def _traffic(pool: aioaurora.Pool) -> collections.Counter[str]:
    """Lease again and again, a few at a time; give how often from whom."""
    seen: collections.Counter[str] = collections.Counter()

    async def work() -> None:
        for _ in range(LEASES):
            async with pool.acquire() as connection:
                await connection.query("SELECT 1")
                seen[connection.instance] += 1

    await asyncio.gather(*[work() for _ in range(WORKERS)])
    return seen


async def _busy() -> None:
    """Keep the loop from everything else for 3 ms at a time."""
    while True:
        until = time.perf_counter() + 0.003
        while time.perf_counter() < until:
            pass
        await asyncio.sleep(0)


async def test_a_reader_a_millisecond_away_gets_nothing_while_near_ones_do(sim: SimulatedCluster) -> None:
    """Not even while the loop is so busy that a stop-watch in it would take all for far (case 49)."""
    async with _pool(sim) as pool:
        quiet = await _traffic(pool)
        busy = [asyncio.create_task(_busy()) for _ in range(3)]
        try:
            loud = await _traffic(pool)
        finally:
            for task in busy:
                task.cancel()
            await asyncio.wait(busy)
        shares = {share.id: share for share in pool._books.sides[aioaurora.Role.READER].shares.values()}

    assert shares[FAR].round_trip_s >= 2 * ONE_WAY_S  # Else nothing is shown here.
    assert {name: seen for name, seen in quiet.items() if name not in NEAR} == {}
    assert {name: seen for name, seen in loud.items() if name not in NEAR} == {}
    assert min(quiet[name] for name in NEAR) >= WORKERS * LEASES / 4


async def test_a_far_reader_helps_out_when_the_near_ones_are_twice_as_busy(sim: SimulatedCluster) -> None:
    """Spilling over is better than a line."""
    async with _pool(sim) as pool, contextlib.AsyncExitStack() as held:
        leased = [await held.enter_async_context(pool.acquire()) for _ in range(40)]
        counts = collections.Counter(connection.instance for connection in leased)

    assert set(counts) == {*NEAR, FAR}
    assert min(counts[name] for name in NEAR) >= counts[FAR]
    assert {connection.instance for connection in leased[:16]} == NEAR


async def test_a_far_reader_serves_all_when_the_near_ones_are_gone(sim: SimulatedCluster) -> None:
    """And none of them is asked for."""
    async with _pool(sim) as pool:
        await _traffic(pool)
        for name in NEAR:
            await sim.crash(name)
        await asyncio.sleep(0.5)
        seen = await _traffic(pool)

    assert set(seen) == {FAR}
