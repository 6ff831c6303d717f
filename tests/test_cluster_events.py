"""What a Cluster tells of its connections."""

from __future__ import annotations

import asyncio
import threading
import types

import pytest

import aioaurora
from aioaurora import errors
from aioaurora.events import ConnectionClosed, ConnectionOpened
from aioaurora.simulator import SimulatedCluster
from tests.io.answers import Zone


@pytest.fixture
def heard():
    """What was told of connections: what happened, where, and why."""
    return []


@pytest.fixture
async def cluster(monkeypatch, heard):
    """Who follows a simulated cluster, which is its `sim`."""

    def listen(event):
        if isinstance(event, ConnectionOpened | ConnectionClosed):
            heard.append((type(event), event.instance, event.role, event.why))

    async with SimulatedCluster(2, engine="memory") as sim:
        monkeypatch.setattr("aioaurora._io.resolver.NameServers", lambda _: Zone(sim.dns))
        async with aioaurora.Cluster(**sim.connect_options(), listeners=listen) as following:
            following.sim = sim
            yield following


async def a_moment():
    """Let what was put on the loop happen."""
    await asyncio.sleep(0.01)


@pytest.mark.parametrize("way", ["close", "ensure_closed", "async with"])
async def test_end_of_a_connection_is_told_once(cluster, heard, way):
    """However its owner ends it, and however often."""
    async with cluster.connect("reader") as connection:
        match way:
            case "close":
                connection.close()
            case "ensure_closed":
                await connection.ensure_closed()
    connection.close()
    await a_moment()

    assert heard == [
        (ConnectionOpened, "db-2", "reader", "connect"),
        (ConnectionClosed, "db-2", "reader", "closed"),
    ]


async def test_end_of_a_connection_that_broke_says_what_went_wrong(cluster, heard):
    """And what is done with it later is no second end."""
    connection = await cluster.connect()
    await cluster.sim.crash("db-1")

    with pytest.raises(errors.ConnectionLost) as lost:
        await connection.query("SELECT 1")
    connection.close()
    await a_moment()

    assert heard == [
        (ConnectionOpened, "db-1", "writer", "connect"),
        (ConnectionClosed, "db-1", "writer", str(lost.value)),
    ]


async def test_connection_that_a_cancelled_statement_ended_says_so(cluster, heard):
    """Its owner did not close it."""
    connection = await cluster.connect()
    waiting = asyncio.create_task(connection.query("SELECT SLEEP(60)"))
    await a_moment()

    waiting.cancel()
    await asyncio.wait({waiting})
    await a_moment()

    assert heard[1:] == [(ConnectionClosed, "db-1", "writer", "Cancelled during execution")]


async def test_connection_that_ping_makes_whole_is_another_one(cluster, heard):
    """It ends and opens again, perhaps elsewhere."""
    connection = await cluster.connect()
    connection.close()

    await connection.ping()
    connection.close()
    await a_moment()

    assert heard == [
        (ConnectionOpened, "db-1", "writer", "connect"),
        (ConnectionClosed, "db-1", "writer", "closed"),
        (ConnectionOpened, "db-1", "writer", "ping"),
        (ConnectionClosed, "db-1", "writer", "closed"),
    ]


async def test_collected_connection_has_ended_too(cluster, heard):
    """Python warns; who counts connections by their events is not misled."""
    kept = [await cluster.connect()]

    with pytest.warns(ResourceWarning, match="Unclosed connection"):
        kept.clear()
    await a_moment()

    assert heard[1:] == [(ConnectionClosed, "db-1", "writer", "closed")]


async def test_dial_that_was_given_up_never_was_a_connection(cluster, heard):
    """Only what was handed out has an end."""
    with pytest.raises(errors.ConfigurationError):
        cluster.connect("none")
    connecting = asyncio.ensure_future(cluster.connect())
    await asyncio.sleep(0)
    connecting.cancel()
    await asyncio.wait({connecting})
    await a_moment()

    assert heard == []


async def test_end_in_another_thread_is_told_on_the_loop(cluster, heard):
    """The garbage collector runs in any."""
    where = []
    cluster._events._listeners += (lambda _: where.append(threading.current_thread()),)
    connection = types.SimpleNamespace(instance="db-1", role=None)
    arguments = asyncio.get_running_loop(), connection, "closed"

    thread = threading.Thread(target=cluster._ended, args=arguments)
    thread.start()
    thread.join()
    await a_moment()

    assert heard == [(ConnectionClosed, "db-1", None, "closed")]
    assert where == [threading.main_thread()]


async def test_end_after_the_loop_is_told_to_nobody(cluster, heard):
    """A connection that a module holds outlives every loop; nothing is raised from its collection."""
    loop = asyncio.new_event_loop()
    loop.close()

    cluster._ended(loop, types.SimpleNamespace(instance="db-1", role=None), "closed")

    assert heard == []
