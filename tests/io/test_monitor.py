"""What the monitor keeps of whom, and for how long."""

from __future__ import annotations

import asyncio

import pytest

from aioaurora._core.failover import Observed
from aioaurora._core.observation import Mode, Observation, Row, View
from aioaurora._io.dial import Place
from aioaurora._io.dialer import Dialer
from aioaurora._io.monitor import Monitor
from aioaurora.config import from_kwargs
from aioaurora.credentials import NO_PASSWORD, CredentialCache
from aioaurora.errors import Role

DOMAIN = "abc123.us-east-1.rds.amazonaws.com"


class Application:
    """A connection of the application's, as far as the monitor sees it."""

    role = Role.READER
    generation = 0

    def __init__(self):
        self.closed = False

    def lose(self, detail):
        self.closed = True

    def signs(self):
        return None

    def thread_id(self):
        return 1


def rows_of_the_writer(stamp, *readers):
    """What db-0 says: it writes, and was last told of the readers almost five minutes ago."""
    rows = [Row(server_id="db-0", is_writer=True, age_s=0.0, lag_s=None)]
    rows += [Row(server_id=reader, is_writer=False, age_s=299.95, lag_s=0.0) for reader in readers]
    view = View(stamp=stamp, rows=tuple(rows))
    return Observed(Observation(host=f"db-0.{DOMAIN}", port=3306, server_id="db-0", mode=Mode.WRITABLE, view=view))


@pytest.fixture
def dialer(resolver):
    """A dialer whose names lead nowhere."""
    return Dialer(from_kwargs(host=f"orders.cluster-{DOMAIN}"), resolver, CredentialCache(NO_PASSWORD))


@pytest.fixture
async def monitor(dialer, resolver, heard):
    """Of a cluster whose writer is db-0."""
    config = from_kwargs(host=f"orders.cluster-{DOMAIN}")
    made = Monitor(config, dialer=dialer, resolver=resolver, emit=heard.append, chance=lambda: 0.5)
    await asyncio.sleep(0)
    yield made
    await made.close()
    await dialer.close()


async def test_instances_that_came_and_went_leave_nothing_behind(monitor, dialer):
    """Autoscaling gives each reader a name that was never there before, for years."""
    connections = []

    for first in range(0, 1000, 10):
        names = [f"db-reader-{number}" for number in range(first, first + 10)]
        monitor.tell(rows_of_the_writer(float(len(connections)), *names))
        for name in names:
            place = Place(f"{name}.{DOMAIN}", 3306)
            dialer.turns.restrain(place)
            connections.append(Application())
            monitor.hold(name, connections[-1])
            connections[-1].closed = True
        await asyncio.sleep(0.1)
    monitor.tell(rows_of_the_writer(1000.0))

    assert [each.id for each in monitor.topology.instances] == ["db-0"]
    assert list(monitor._held) == []
    assert dialer.turns._limiters.keys() | dialer.turns._ramps.keys() | dialer.turns._aims.keys() == set()


async def test_who_is_in_the_topology_stays_restrained(monitor, dialer):
    """It was promoted a moment ago, whatever else comes and goes."""
    monitor.tell(rows_of_the_writer(0.0, "db-1"))
    dialer.turns.restrain(Place(f"db-0.{DOMAIN}", 3306))

    await asyncio.sleep(0.1)
    monitor.tell(rows_of_the_writer(1.0))

    assert [each.id for each in monitor.topology.instances] == ["db-0"]
    assert dialer.turns._limiters[Place(f"db-0.{DOMAIN}", 3306)].total_tokens == 1


async def test_a_connection_that_is_open_stays_held_when_another_one_is_closed(monitor):
    """It is ended with its instance."""
    monitor.tell(rows_of_the_writer(0.0, "db-1"))
    first, second = Application(), Application()
    monitor.hold("db-1", first)
    monitor.hold("db-1", second)
    first.closed = True

    await asyncio.sleep(0.1)
    monitor.tell(rows_of_the_writer(1.0))

    assert second.closed
