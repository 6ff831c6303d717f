"""Silence, and what is none: what is ended and when, and what is left alone (promise 3).

Times are virtual, and exact. `tests/system/test_dead_host.py` has real hosts, kernels and stalls.
"""

from __future__ import annotations

import asyncio
import gc
import pathlib
import random
import sys

import pytest

import aioaurora
from aioaurora import errors, events
from aioaurora.errors import Outcome
from aioaurora.simulator import SimulatedCluster
from tests.pools import pooled, run
from tests.virtual import following, stand_still

ALARMS = (events.InstanceLost, events.FailoverStarted, events.StatementsAborted, events.ConnectionClosed)
OURS = str(pathlib.Path(aioaurora.__file__).parent)


@pytest.fixture
async def sim():
    """Three instances, of which db-1 is the writer."""
    async with SimulatedCluster(3, engine="memory") as started:
        yield started


class Log:
    """What was told, and when."""

    def __init__(self):
        self.entries = []

    def __call__(self, event):
        self.entries.append((asyncio.get_running_loop().time(), event))

    def of(self, *kinds):
        """The events of these kinds."""
        return [event for _, event in self.entries if isinstance(event, kinds)]

    def time_of(self, kind):
        """When the first of a kind was told."""
        return next(at for at, event in self.entries if isinstance(event, kind))


@pytest.fixture
def log():
    """Listens."""
    return Log()


async def lost_at(connection):
    """Wait on a query that nobody answers; gives when it was ended, and with what outcome."""
    with pytest.raises(errors.ConnectionLost) as lost:
        await connection.query("SELECT SLEEP(100000)")
    return asyncio.get_running_loop().time(), lost.value.outcome


async def busy(cluster, count):
    """Have as many queries under way on the writer."""
    connections = [await cluster.connect() for _ in range(count)]
    tasks = [asyncio.create_task(lost_at(each)) for each in connections]
    await asyncio.sleep(3.3)
    return tasks


# --- a silent engine ------------------------------------------------------------------------------------------------


async def test_queries_on_a_silent_engine_end_at_stall_timeout_in_one_stroke(sim, monkeypatch, log):
    """At the defaults: 15 s after the last sign of life, and not before."""
    loop = asyncio.get_running_loop()
    async with following(sim, monkeypatch, listeners=[log]) as cluster:
        waiting = await busy(cluster, 20)
        silent_from = loop.time()
        await sim.hang()

        ended = await asyncio.wait_for(asyncio.gather(*waiting), 20)

    assert {at for at, _ in ended} == {ended[0][0]}
    assert 14.0 <= ended[0][0] - silent_from <= 15.1
    assert {outcome for _, outcome in ended} == {Outcome.ROLLED_BACK}
    assert [event.count for event in log.of(events.StatementsAborted)] == [20]


@pytest.mark.parametrize("promote_after", [2.0, 12.0])
async def test_queries_on_a_silent_engine_end_when_another_writer_is_verified(sim, monkeypatch, log, promote_after):
    """At once, and the promotion is seen within a search interval."""
    loop = asyncio.get_running_loop()
    async with following(sim, monkeypatch, listeners=[log]) as cluster:
        waiting = await busy(cluster, 20)
        await sim.failover("blackhole", promote_after=promote_after, returns_after=30)
        promoted_at = loop.time()

        ended = await asyncio.wait_for(asyncio.gather(*waiting), 5)

        verified_at = log.time_of(events.FailoverFinished)
        assert max(at for at, _ in ended) - verified_at <= 0.1
        assert verified_at - promoted_at <= 0.2
        assert cluster.topology.writer.id == sim.writer.id


async def test_a_promotion_that_only_a_readers_rows_tell_of_ends_the_wait(sim, monkeypatch, log):
    """The new writer was added meanwhile: nobody had heard of it."""
    loop = asyncio.get_running_loop()
    async with following(sim, monkeypatch, listeners=[log]) as cluster, cluster.connect(instance="db-3"):
        waiting = await busy(cluster, 5)
        await sim.hang()
        await asyncio.sleep(3)
        await sim.add_instance("db-9")
        await sim.failover("blackhole", to="db-9", promote_after=0.5, returns_after=30)
        promoted_at = loop.time()

        ended = await asyncio.wait_for(asyncio.gather(*waiting), 5)

        assert max(at for at, _ in ended) - promoted_at <= 1.5
        assert cluster.topology.writer.id == "db-9"
        await sim.heal()


@pytest.mark.parametrize("silent_for", [2.0, 12.0])
async def test_a_silence_that_ends_costs_nobody_anything(sim, monkeypatch, log, silent_for):
    """As while an instance is patched (case 53): queries go on, idle connections too, and none is opened anew."""
    async with pooled(sim, monkeypatch, listeners=[log], minsize=8, maxsize=8) as pool:
        first = {connection.thread_id() for connection in [slot.connection for slot in pool._books.slots]}
        leased = [await pool.acquire() for _ in range(4)]
        waiting = [asyncio.create_task(run(each, "SELECT SLEEP(20)")) for each in leased]
        await asyncio.sleep(1.3)
        await sim.hang()
        await asyncio.sleep(silent_for)
        await sim.heal()

        await asyncio.wait_for(asyncio.gather(*waiting), 30)
        for each in leased:
            pool.release(each)
        await asyncio.sleep(3)

        assert {slot.connection.thread_id() for slot in pool._books.slots} == first
        assert log.of(events.InstanceLost, events.StatementsAborted, events.ConnectionClosed) == []
        assert len(log.of(events.FailoverStarted)) == len(log.of(events.SearchEnded)) == 1


# --- a writer that is fenced and does not know it -------------------------------------------------------------------


async def test_a_fenced_writer_whom_no_reader_contradicts_is_found_out_by_dns(sim, monkeypatch, log):
    """It answers, says that it is the writer, and hangs on writes: what waits there would wait for ever."""
    loop = asyncio.get_running_loop()
    async with following(sim, monkeypatch, listeners=[log]) as cluster:
        idle = [await cluster.connect() for _ in range(2)]
        writing = await cluster.connect()
        await asyncio.sleep(1)
        await sim.two_writers(to="db-2", promote_after=1, dns_lag=2)
        task = asyncio.create_task(writing.query("INSERT INTO t VALUES (1)"))
        fenced_at = loop.time()

        with pytest.raises(errors.ConnectionLost):
            await asyncio.wait_for(task, 30)

        assert loop.time() - fenced_at <= 2 + 5 + 5 + 0.2  # dns_lag, dns_max_ttl, refresh_interval.
        assert all(each.closed for each in idle)
        assert cluster.topology.writer.id == "db-2"
        assert len(log.of(events.FailoverFinished)) == 1


async def test_dns_that_names_another_changes_nothing_by_itself(sim, monkeypatch, log):
    """It lies: who it names is asked, once, and says that it is a reader."""
    async with following(sim, monkeypatch, listeners=[log]) as cluster, cluster.connect() as connection:
        sim.dns.set_alias(sim.endpoint, sim.instance_endpoint("db-2"))

        await asyncio.sleep(60)

        assert log.of(*ALARMS) == []
        assert not connection.closed
        assert cluster.topology.writer.id == "db-1"
        assert sim.instances["db-2"].state.logins == 1


async def test_dns_that_is_late_after_a_failover_costs_the_old_writer_nothing(sim, monkeypatch):
    """A whole fleet would ask it, all the time, while it starts again."""
    async with following(sim, monkeypatch) as cluster, cluster.connect():
        await asyncio.sleep(12)
        await sim.failover("crash", promote_after=1, returns_after=2, dns_lag=60)
        async with cluster.connect(timeout=10):
            await asyncio.sleep(12)  # Until its rows have named it, and it was asked whether it is back.
            asked = sim.instances["db-1"].state.logins
            await asyncio.sleep(45)

        assert sim.instances["db-1"].state.logins == asked
        assert cluster.topology.writer.id == sim.writer.id


async def test_dns_is_not_asked_where_a_reader_would_tell(sim, monkeypatch):
    """One that is in use has rows of its own."""
    async with following(sim, monkeypatch) as cluster, cluster.connect(), cluster.connect(instance="db-3"):
        sim.dns.set_alias(sim.endpoint, sim.instance_endpoint("db-2"))

        await asyncio.sleep(30)

        assert sim.instances["db-2"].state.logins == 0


# --- what is no silence ---------------------------------------------------------------------------------------------


async def test_a_query_that_runs_for_an_hour_is_never_killed(sim, monkeypatch, log):
    """Case 35. Asked less often than by default only to save time: how long a query runs is looked at nowhere."""
    monkeypatch.setattr("aioaurora.simulator.core._FRESH_EVERY_S", 60.0)
    async with (
        following(sim, monkeypatch, listeners=[log], heartbeat_interval=30, refresh_interval=120) as cluster,
        cluster.connect() as connection,
    ):
        await connection.query("SELECT SLEEP(3600)")

        assert log.of(*ALARMS, events.InstanceSuspected) == []


@pytest.mark.parametrize("seed", range(2))
async def test_a_loop_that_stands_still_is_no_failover(sim, monkeypatch, log, seed):
    """Case 36: for 5 s, ten times, in the middle of whatever: nobody is suspected, and no connection is closed."""
    chance = random.Random(seed)
    async with pooled(
        sim, monkeypatch, listeners=[log], minsize=8, maxsize=8, reader_minsize=4, check_idle_after=0.5
    ) as pool:
        first = {slot.connection for slot in pool._books.slots}
        is_over = asyncio.Event()

        async def works(role):
            while not is_over.is_set():
                async with pool.acquire(role=role) as connection:
                    await run(connection, "SELECT SLEEP(0.05)")
                await asyncio.sleep(chance.random())

        leased = await pool.acquire()
        working = [asyncio.create_task(works(role)) for role in ("writer", "writer", "reader")]
        long = asyncio.create_task(run(leased, "SELECT SLEEP(80)"))
        for _ in range(10):
            await asyncio.sleep(1 + chance.random())
            stand_still(5.0)
        await asyncio.sleep(3)
        is_over.set()
        await asyncio.gather(*working)

        assert not long.done()
        assert log.of(*ALARMS, events.InstanceSuspected) == []
        assert {slot.connection for slot in pool._books.slots} == first
        await long
        pool.release(leased)


async def test_an_idle_connection_that_is_looked_at_while_the_loop_stands_still_is_kept(sim, monkeypatch, log):
    """Its pong has arrived; we were late to read it."""
    loop = asyncio.get_running_loop()
    async with pooled(sim, monkeypatch, listeners=[log], minsize=1, maxsize=1, check_idle_after=1.0) as pool:
        (slot,) = pool._books.slots
        first = slot.connection
        for turns in range(12):
            await asyncio.sleep(2)
            asking = asyncio.create_task(pool.acquire())
            for _ in range(turns):
                await asyncio.sleep(0)
            loop.call_soon(stand_still, 5.0)

            connection = await asyncio.wait_for(asking, 20)

            assert connection is first
            pool.release(connection)
        assert log.of(*ALARMS) == []


@pytest.mark.parametrize("turns", range(0, 44, 4))
async def test_a_program_that_stands_still_while_it_starts_reaches_its_cluster(sim, monkeypatch, turns):
    """For longer than `connect_timeout`, at any point of the first contact: it loads a model, say."""
    asking = asyncio.create_task(_started(sim, monkeypatch))
    for _ in range(turns):
        await asyncio.sleep(0)
    stand_still(5.0)

    await asking


async def _started(sim, monkeypatch):
    async with pooled(sim, monkeypatch, minsize=2) as pool, pool.acquire() as connection:
        await run(connection, "SELECT 1")


async def test_a_swamped_instance_keeps_its_connections(sim, monkeypatch, log):
    """All are busy, each answer takes 2 s and a log-in longer than `connect_timeout`: it is slow, and not lost.

    To close what is open would make it worse: all of them would have to be made anew, there.
    """
    async with pooled(sim, monkeypatch, listeners=[log], minsize=4, maxsize=10) as pool:
        first = {slot.connection for slot in pool._books.slots}
        await sim.slow(2.0)
        await sim.slow_logins(2.0)

        async def works():
            async with pool.acquire(timeout=60) as connection:
                await run(connection, "SELECT 1")

        await asyncio.gather(*(works() for _ in range(40)))

        assert log.of(events.InstanceLost, events.StatementsAborted, events.ConnectionClosed) == []
        assert first <= {slot.connection for slot in pool._books.slots}
        assert len(log.of(events.FailoverStarted)) == len(log.of(events.SearchEnded)) <= 1
        assert pool.stats().timed_out == 0
        await sim.heal()


@pytest.mark.parametrize("latency_s", [0.1, 1.2])
async def test_a_slow_network_is_no_failover(sim, monkeypatch, log, latency_s):
    """Each answer is late, for minutes, and log-ins too: suspected once at most, until it is known."""
    async with pooled(sim, monkeypatch, listeners=[log], minsize=4, maxsize=8, reader_minsize=2) as pool:
        await sim.slow(latency_s)
        await sim.slow_logins(latency_s)

        async def works(role):
            for _ in range(20):
                async with pool.acquire(role=role) as connection:
                    await run(connection, "SELECT 1")

        await asyncio.gather(*(works(role) for role in ("writer", "writer", "reader") for _ in range(3)))

        assert log.of(events.InstanceLost, events.StatementsAborted, events.ConnectionClosed) == []
        assert len(log.of(events.FailoverStarted)) == len(log.of(events.SearchEnded)) <= 1
        await sim.heal()


# --- what it costs --------------------------------------------------------------------------------------------------


async def test_a_statement_costs_no_call_more_where_silence_is_watched_for(sim, monkeypatch):
    """Counted, not timed: as many of our functions run for a statement as where nothing is followed (case 33)."""
    counts = {}
    for follow in ("on", "off"):
        async with following(sim, monkeypatch, follow=follow) as cluster, cluster.connect() as connection:
            await run(connection, "SELECT 1")
            counts[follow] = await _calls(connection, 100)

    assert counts["on"] == counts["off"]
    assert not counts["on"].keys() & {"heartbeat", "monitor", "lookout", "held", "kernel", "silence", "failover"}


async def _calls(connection, times):
    """Count the calls of our functions by module, while statements run and the loop serves nobody else."""
    found = {}

    def look(frame, event, _argument):
        file = frame.f_code.co_filename
        if event == "call" and file.startswith(OURS) and "simulator" not in file:
            module = pathlib.PurePath(file).stem
            found[module] = found.get(module, 0) + 1

    before = asyncio.get_running_loop().time()
    gc.collect()  # What was there before ends now, and not while we count.
    gc.disable()
    sys.setprofile(look)
    try:
        async with connection.cursor() as cursor:
            for _ in range(times):
                await cursor.execute("SELECT 1")
                await cursor.fetchall()
    finally:
        sys.setprofile(None)
        gc.enable()
    assert asyncio.get_running_loop().time() == before, "no heartbeat fell due"
    return found
