"""Silence in real time: a host that is gone, an engine that is stopped, and our own loop that stands still.

The host is a network namespace of its own: when its cable is pulled, nothing acknowledges and nothing refuses.
AIOAURORA_LONG=1 waits as long as the defaults say; without it, as in CI, the same is shown with shorter times where
`tests/test_detection.py` has the defaults on virtual time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import ssl
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import trustme

import aioaurora
from aioaurora import events
from tests.mariadb import private_mariadb
from tests.ticker import ticking, undisturbed_s

if TYPE_CHECKING:
    import pathlib
    from collections.abc import AsyncIterator, Iterator

    from tests.mariadb import MariaDB

HERE, THERE = "10.213.77.1", "10.213.77.2"
# Of 500 queries half are over TLS; of these half are in pools, most others belong to a Cluster, some are all alone.
POOLED, OF_CLUSTER, ALONE = 125, 115, 10
QUERIES = 2 * (POOLED + OF_CLUSTER + ALONE)
BLOCKED_AT_MOST_S, IN_ONE_STROKE_S = 0.05, 0.1
IS_LONG = os.environ.get("AIOAURORA_LONG") == "1"
STALL_TIMEOUT_S = 15.0 if IS_LONG else 3.6
STALLS, STALL_S = (10, 5.0) if IS_LONG else (1, 3.6)  # Longer than `dead_after` and `connect_timeout`.
ALARMS = (
    events.InstanceSuspected,
    events.InstanceLost,
    events.FailoverStarted,
    events.StatementsAborted,
    events.ConnectionClosed,
)
pytestmark = [pytest.mark.alone, pytest.mark.needs("mariadbd", "netns"), pytest.mark.timeout(120 if IS_LONG else 60)]


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

    def return_(self) -> None:
        """Put it in again."""
        self.run(*self.inside, "ip", "link", "set", f"{self.name}b", "up")

    def remove(self) -> None:
        """Leave the machine as it was."""
        for command in (("ip", "link", "delete", f"{self.name}a"), ("ip", "netns", "delete", self.name)):
            with contextlib.suppress(subprocess.CalledProcessError):
                self.run(*command)


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """Give a machine of our own."""
    host = Host()
    try:
        host.start()
        yield host
    finally:
        host.remove()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """A certificate authority of our own."""
    return trustme.CA()


@pytest.fixture(scope="module")
def server(host: Host, short_tmp: pathlib.Path, authority: trustme.CA) -> Iterator[MariaDB]:
    """Give a server on it, with TLS."""
    place = short_tmp / "host"
    place.mkdir()
    certificate = authority.issue_cert(THERE)
    certificate.private_key_pem.write_to_path(str(place / "key"))
    certificate.cert_chain_pems[0].write_to_path(str(place / "cert"))
    options = [f"--ssl-cert={place / 'cert'}", f"--ssl-key={place / 'key'}"]
    options += ["--skip-grant-tables", f"--max-connections={3 * QUERIES}"]
    with private_mariadb(place / "db", options, host=THERE, inside=host.inside) as server:
        yield server


@contextlib.asynccontextmanager
async def _connected(server: MariaDB, tls: ssl.SSLContext | None) -> AsyncIterator[list[aioaurora.Connection]]:
    """Give connections of each kind that an application may have."""
    options = {"host": THERE, "port": server.port, "user": "root", "ssl": tls or False}
    options["connect_timeout"] = 10  # For a busy machine; it plays no part in what is measured.
    async with (
        aioaurora.create_pool(**options, minsize=POOLED, maxsize=POOLED) as pool,
        aioaurora.Cluster(**options) as cluster,
    ):
        pooled = [await pool.acquire() for _ in range(POOLED)]
        held = [await cluster.connect() for _ in range(OF_CLUSTER)]
        alone = [await aioaurora.connect(**options) for _ in range(ALONE)]
        yield [*pooled, *held, *alone]
        for each in pooled:
            pool.release(each)
        for each in alone:
            await each.ensure_closed()


@dataclass(frozen=True, slots=True)
class Lost:
    """A query that was ended: when, as the wall has it and as this thread has it, and how."""

    at: float
    undisturbed_at: float
    error: BaseException


async def _lost(connection: aioaurora.Connection) -> Lost:
    try:
        await connection.query("SELECT SLEEP(60)")
    except aioaurora.Error as error:
        return Lost(time.monotonic(), undisturbed_s(), error)
    raise AssertionError("a dead host answered")


def _spread_s(ended: list[Lost]) -> float:
    times = [each.undisturbed_at for each in ended]
    return max(times) - min(times)


@pytest.mark.loops
async def test_every_query_on_a_dead_host_ends_within_three_seconds(
    host: Host, server: MariaDB, authority: trustme.CA
) -> None:
    """Promise 3: unacknowledged silence ends all queries in flight, in one stroke, and the loop serves others too."""
    tls = ssl.create_default_context()
    authority.configure_trust(tls)
    async with _connected(server, None) as plain, _connected(server, tls) as encrypted:
        waiting = [asyncio.create_task(_lost(each)) for each in [*plain, *encrypted]]
        await asyncio.sleep(1.7)
        async with ticking() as ticker:
            await asyncio.to_thread(host.vanish)
            gone_at = undisturbed_s()
            try:
                ended = await asyncio.wait_for(asyncio.gather(*waiting), 10)
                await asyncio.sleep(0.1)
            finally:
                host.return_()

    assert len(ended) == QUERIES == 500
    assert max(each.undisturbed_at for each in ended) - gone_at <= 3.1
    assert {type(each.error) for each in ended} == {aioaurora.ConnectionLost}
    assert {each.error.outcome for each in ended} == {aioaurora.Outcome.ROLLED_BACK}
    assert _spread_s(ended[:POOLED]) <= IN_ONE_STROKE_S
    assert _spread_s(ended[QUERIES // 2 : QUERIES // 2 + POOLED]) <= IN_ONE_STROKE_S
    assert ticker.worst_s <= BLOCKED_AT_MOST_S


async def test_queries_on_a_stopped_engine_end_at_stall_timeout(server: MariaDB) -> None:
    """Case 53: the host acknowledges, so the queries live for longer than on a dead host, and end in one stroke."""
    options = {"host": THERE, "port": server.port, "user": "root", "stall_timeout": STALL_TIMEOUT_S}
    async with aioaurora.create_pool(**options, minsize=50, maxsize=50) as pool:
        leased = [await pool.acquire() for _ in range(50)]
        waiting = [asyncio.create_task(_lost(each)) for each in leased]
        await asyncio.sleep(1.7)
        async with ticking() as ticker:
            stopped_at, undisturbed_at = time.monotonic(), undisturbed_s()
            os.kill(server.process.pid, signal.SIGSTOP)
            ended = await asyncio.wait_for(asyncio.gather(*waiting), STALL_TIMEOUT_S + 5)
        os.kill(server.process.pid, signal.SIGCONT)
        for each in leased:
            pool.release(each)

    assert min(each.at for each in ended) - stopped_at >= STALL_TIMEOUT_S - 1.1
    assert max(each.undisturbed_at for each in ended) - undisturbed_at <= STALL_TIMEOUT_S + 0.1
    assert _spread_s(ended) <= IN_ONE_STROKE_S
    assert {each.error.outcome for each in ended} == {aioaurora.Outcome.ROLLED_BACK}
    assert ticker.worst_s <= BLOCKED_AT_MOST_S


async def test_a_stopped_engine_that_goes_on_has_lost_nobody(server: MariaDB) -> None:
    """Case 53: queries and idle connections live through it, and their answers arrive; new work waited meanwhile."""
    heard: list[aioaurora.events.Event] = []
    options = {"host": THERE, "port": server.port, "user": "root", "listeners": [heard.append]}
    async with aioaurora.create_pool(**options, minsize=8, maxsize=8) as pool:
        leased = [await pool.acquire() for _ in range(4)]
        waiting = [asyncio.create_task(each.query("SELECT SLEEP(1)")) for each in leased]
        await asyncio.sleep(0.3)
        os.kill(server.process.pid, signal.SIGSTOP)
        await asyncio.sleep(4.6)  # Longer than a dial beside takes to time out.
        suspected = pool.topology.writer is None
        os.kill(server.process.pid, signal.SIGCONT)
        await asyncio.wait_for(asyncio.gather(*waiting), 5)
        for each in leased:
            pool.release(each)
        await asyncio.wait_for(pool.fetch_value("SELECT 1"), 5)
        size, opened = pool.size, pool.stats().opened

    assert suspected
    assert (size, opened) == (8, 8)
    assert [event for event in heard if isinstance(event, events.InstanceLost | events.StatementsAborted)] == []


async def test_a_loop_that_stands_still_is_no_failover(server: MariaDB) -> None:
    """Case 36: nobody is suspected, no connection is closed, and whatever was under way comes to its end."""
    heard: list[aioaurora.events.Event] = []
    options = {"host": THERE, "port": server.port, "user": "root", "listeners": [heard.append]}
    async with aioaurora.create_pool(**options, minsize=8, maxsize=8, check_idle_after=0.1) as pool:
        is_over = asyncio.Event()

        async def works() -> None:
            while not is_over.is_set():
                await pool.fetch_value("SELECT 1 + SLEEP(0.002)")
                await asyncio.sleep(0.01)

        leased = await pool.acquire()
        long = asyncio.create_task(leased.query(f"SELECT SLEEP({STALLS * (STALL_S + 1) + 1})"))
        working = [asyncio.create_task(works()) for _ in range(4)]
        for number in range(STALLS):
            await asyncio.sleep(0.7 + 0.013 * number)
            time.sleep(STALL_S)  # As a callback that computes does.
        await asyncio.sleep(0.5)
        is_over.set()
        await asyncio.gather(*working)
        assert [event for event in heard if isinstance(event, ALARMS)] == []
        await asyncio.wait_for(long, 30)
        pool.release(leased)
        assert pool.stats().opened == 8
