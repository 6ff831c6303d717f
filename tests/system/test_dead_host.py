"""A host that is gone, in a network namespace of its own: nothing acknowledges, nothing refuses."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

import aioaurora
from tests.mariadb import private_mariadb

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

    from tests.mariadb import MariaDB

HERE, THERE = "10.213.77.1", "10.213.77.2"
QUERIES = 200
pytestmark = [pytest.mark.needs("mariadbd", "netns"), pytest.mark.timeout(60)]


class Host:
    """A machine at the other end of a cable."""

    def __init__(self) -> None:
        self.name = f"aa{os.getpid()}"
        self.inside = ("ip", "netns", "exec", self.name)

    def run(self, *command: str) -> None:
        """Run one command of iproute2."""
        subprocess.run(command, check=True, capture_output=True, timeout=10)

    def start(self) -> None:
        """Make the namespace, and a cable to it."""
        ours, theirs = f"{self.name}a", f"{self.name}b"
        self.run("ip", "netns", "add", self.name)
        self.run("ip", "link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", self.name)
        self.run("ip", "address", "add", f"{HERE}/30", "dev", ours)
        self.run("ip", "link", "set", ours, "up")
        self.run(*self.inside, "ip", "address", "add", f"{THERE}/30", "dev", theirs)
        self.run(*self.inside, "ip", "link", "set", theirs, "up")
        # Known for good, as a router is: a host that is gone then does not turn into "no route".
        mac = subprocess.run(
            [*self.inside, "cat", f"/sys/class/net/{theirs}/address"], check=True, capture_output=True, timeout=10
        )
        self.run(
            "ip", "neigh", "replace", THERE, "lladdr", mac.stdout.decode().strip(), "nud", "permanent", "dev", ours
        )

    def vanish(self) -> None:
        """Pull the cable at the far end."""
        self.run(*self.inside, "ip", "link", "set", f"{self.name}b", "down")

    def remove(self) -> None:
        """Leave the machine as it was."""
        for command in (("ip", "link", "delete", f"{self.name}a"), ("ip", "netns", "delete", self.name)):
            with contextlib.suppress(subprocess.CalledProcessError):
                self.run(*command)


@pytest.fixture
def host() -> Iterator[Host]:
    """Give a machine of our own."""
    host = Host()
    try:
        host.start()
        yield host
    finally:
        host.remove()


@pytest.fixture
def server(host: Host, tmp_path: pathlib.Path) -> Iterator[MariaDB]:
    """Give a server on it."""
    options = ["--skip-grant-tables", f"--max-connections={QUERIES + 20}"]
    with private_mariadb(tmp_path, options, host=THERE, inside=host.inside) as server:
        yield server


async def _failed_after(connection: aioaurora.Connection, since: float) -> tuple[float, BaseException]:
    try:
        await connection.query("SELECT SLEEP(60)")
    except aioaurora.Error as error:
        return time.monotonic() - since, error
    raise AssertionError("a dead host answered")


async def test_every_query_on_a_dead_host_ends_within_three_seconds(host: Host, server: MariaDB) -> None:
    """Promise 3: unacknowledged silence ends all queries in flight, in one stroke."""
    async with aioaurora.Cluster(host=THERE, port=server.port, user="root") as cluster:
        connections = [await cluster.connect() for _ in range(QUERIES)]
        waiting = [asyncio.create_task(_failed_after(each, time.monotonic())) for each in connections]
        await asyncio.sleep(1.7)
        since = time.monotonic()
        await asyncio.to_thread(host.vanish)
        gone = time.monotonic()
        ended = await asyncio.wait_for(asyncio.gather(*waiting), 10)
        took_s = time.monotonic() - gone

    assert took_s <= 3.1, f"{took_s:.2f} s after the cable was pulled (which took {gone - since:.2f} s)"
    assert {type(error) for _, error in ended} == {aioaurora.ConnectionLost}
    assert {error.outcome for _, error in ended} == {aioaurora.Outcome.ROLLED_BACK}
    assert max(at for at, _ in ended) - min(at for at, _ in ended) <= 0.5


async def test_a_stalled_engine_on_a_live_host_keeps_its_queries(server: MariaDB) -> None:
    """Case 53: the host acknowledges, so the queries live, and their answers arrive."""
    async with aioaurora.Cluster(host=THERE, port=server.port, user="root") as cluster:
        connection = await cluster.connect()
        waiting = asyncio.create_task(connection.query("SELECT SLEEP(1)"))
        await asyncio.sleep(0.3)
        os.kill(server.process.pid, 19)
        await asyncio.sleep(6)
        suspected = cluster.topology.writer is None
        os.kill(server.process.pid, 18)
        await asyncio.wait_for(waiting, 5)
        answer = connection.work().statement
        await connection.ensure_closed()

    assert suspected
    assert answer is None
