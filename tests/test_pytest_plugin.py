"""A simulated cluster in a thread of its own, asked from any loop or from none."""

from __future__ import annotations

import asyncio
import inspect
import threading
import tomllib
from pathlib import Path

import pytest

import aioaurora
from aioaurora.pytest_plugin import Aurora, Doing, serving
from aioaurora.simulator import SimulatedCluster, SimulatorError

pytestmark = [pytest.mark.real_time, pytest.mark.timeout(60)]


@pytest.fixture
def aurora():
    """A cluster of three."""
    with serving(instances=3, engine="memory") as cluster:
        yield cluster


def test_every_coroutine_of_the_simulator_is_there():
    """One that is added there must be added here, to be typed and to begin at the call."""
    wanted = {name for name, each in vars_of(SimulatedCluster) if inspect.iscoroutinefunction(each)}

    assert {name for name in wanted if not name.startswith("_")} == {
        name for name, each in vars_of(Aurora) if inspect.iscoroutinefunction(each)
    }


def vars_of(cls):
    """The attributes of a class, as they are read."""
    return [(name, getattr(cls, name)) for name in dir(cls)]


async def test_its_url_is_all_that_is_needed(aurora):
    """The simulated names are known to the simulated name server only."""
    async with aioaurora.create_pool(aurora.url) as pool, pool.acquire() as conn:
        assert conn.instance == aurora.writer == "db-1"

    assert aioaurora.Cluster(**aurora.connect_options()).topology.cluster == aurora.name == "orders"


async def test_what_is_called_has_begun(aurora):
    """Awaited or not; it can be a task, too."""
    failing_over = aurora.failover(promote_after=0.2, target_down_for=0.0)
    restarting = asyncio.create_task(aurora.restart("db-3", down_for=0.0))

    assert isinstance(failing_over, Doing)
    await restarting
    await failing_over
    await failing_over.__class__(failing_over._future)  # Another that waits for the same.
    assert (aurora.writer, aurora.readers) == ("db-2", ("db-1", "db-3"))


def test_it_is_called_without_a_loop(aurora):
    """As from a test of a synchronous client."""
    aurora.execute("CREATE TABLE t (a INT)").wait()

    assert aurora.execute("INSERT INTO t VALUES (%s)", 7).wait() == 1
    assert aurora.rows("SELECT a FROM t").wait(timeout=5) == [(7,)]


def test_what_waits_too_long_is_told(aurora):
    """It goes on."""
    failing_over = aurora.failover(promote_after=0.5)

    with pytest.raises(TimeoutError):
        failing_over.wait(timeout=0.05)
    failing_over.wait()
    assert aurora.writer == "db-2"


def test_plain_methods_run_on_its_loop(aurora):
    """And give their result."""
    name = aurora.add_custom_endpoint("night", ["db-2", "db-3"])

    assert name.startswith("night.cluster-custom-")
    assert aurora.timeline.of("custom_endpoint")
    assert repr(aurora).startswith("<Aurora <SimulatedCluster orders on memory | db-1 writer")


def test_its_errors_are_the_simulators(aurora):
    """Raised where it is waited for."""
    with pytest.raises(LookupError, match="no instance 'db-9'"):
        aurora.crash("db-9").wait()
    with pytest.raises(AttributeError, match="no_such"):
        _ = aurora.no_such


def test_healthy_waits_for_a_failover_under_way(aurora):
    """It cannot be undone, so its end is waited for."""
    aurora.failover(mode="blackhole", promote_after=0.3)
    aurora.crash("db-3").wait()

    aurora.healthy().wait()

    assert aurora.writer == "db-2"
    assert all(each.is_up for each in aurora.instances.values())


def test_what_cannot_start_says_why():
    """And leaves no thread."""
    before = threading.active_count()

    with pytest.raises(SimulatorError, match="no server answers"), serving(engine="dsn", dsn="mysql://127.0.0.1:1/"):
        pass

    assert threading.active_count() == before


def test_no_thread_is_left(aurora):
    """Nor a cluster."""
    with serving(engine="memory", instances=1) as other:
        thread = next(each for each in threading.enumerate() if each.name == "aioaurora simulated cluster")
        assert thread.is_alive()
        assert other.writer == "db-1"

    assert sum(each.name == "aioaurora simulated cluster" for each in threading.enumerate()) == 1


def test_pytest_is_told_of_the_module_outside_of_the_package():
    """One within would import the driver into every run of pytest."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())

    assert project["project"]["entry-points"]["pytest11"] == {"aioaurora": "_aioaurora_pytest"}
