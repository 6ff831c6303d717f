"""A Cluster against a simulated one, on virtual time: what becomes of requests and connections."""

from __future__ import annotations

import asyncio
import contextlib
import os

import pytest
from pymysql import err

import aioaurora
from aioaurora import errors, events
from aioaurora.errors import Outcome, Role
from aioaurora.simulator import SimulatedCluster
from tests.virtual import following, made_for, names


@pytest.fixture
async def sim():
    """Three instances, of which db-1 is the writer."""
    async with SimulatedCluster(3, engine="memory") as started:
        yield started


def told(kind, log):
    """The events of one kind."""
    return [event for event in log if isinstance(event, kind)]


async def is_told_of_closing(cluster):
    """Who waits for a connection hears at once that there will be none."""
    asking = asyncio.create_task(cluster.connect())
    await asyncio.sleep(0.2)

    await cluster.close()

    with pytest.raises(err.InterfaceError, match="closed"):
        await asyncio.wait_for(asking, 1)


# --- closing --------------------------------------------------------------------------------------------------------


async def test_closing_tells_who_is_in_mid_dial(sim, monkeypatch):
    """Nobody cancelled that task, so it gets an error (case 30)."""
    cluster = made_for(sim, monkeypatch)
    await cluster.start()
    await sim.slow_logins(1.0)

    await is_told_of_closing(cluster)


async def test_closing_tells_who_waits_for_a_writer(sim, monkeypatch):
    """It does not wait for `acquire_timeout`."""
    cluster = made_for(sim, monkeypatch)
    await cluster.start()
    await sim.crash()
    await asyncio.sleep(1.5)

    await is_told_of_closing(cluster)


async def test_closing_tells_who_waits_for_the_first_contact(sim, monkeypatch):
    """As above."""
    cluster = made_for(sim, monkeypatch)
    await sim.slow_logins(1.0)

    await is_told_of_closing(cluster)


async def test_closing_in_a_forked_child_is_refused(sim, monkeypatch):
    """Its sockets are the parent's (case 66)."""
    async with following(sim, monkeypatch) as cluster:
        with monkeypatch.context() as child:
            child.setattr(os, "getpid", lambda: -1)
            with pytest.raises(errors.WrongProcess):
                await cluster.close()

        async with cluster.connect() as connection:
            await connection.ping()


async def test_a_connection_to_come_is_a_coroutine(sim, monkeypatch):
    """As aiomysql's: `create_task` takes it."""
    async with following(sim, monkeypatch) as cluster:
        connection = await asyncio.create_task(cluster.connect())

        assert connection.role is Role.WRITER
        connection.close()


# --- who is blamed --------------------------------------------------------------------------------------------------


async def test_a_hurried_caller_blames_nobody(sim, monkeypatch):
    """Its time-out is shorter than a log-in takes; the writer is well."""
    log = []
    await sim.slow_logins(0.05)
    async with following(sim, monkeypatch, listeners=[log.append]) as cluster:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await cluster.connect(timeout=0.02)

        assert cluster.topology.writer.generation == 0
    assert told(events.FailoverStarted, log) == []


async def test_a_queue_of_connects_blames_nobody(sim, monkeypatch):
    """Each has `connect_timeout` from its turn on: 60 of 0.4 s, four at a time, take 6 s, and no failover."""
    log, loop = [], asyncio.get_running_loop()
    async with following(sim, monkeypatch, listeners=[log.append], heartbeat_interval=60) as cluster:
        await sim.slow_logins(0.4)
        began_at = loop.time()

        connections = await asyncio.gather(*(cluster.connect() for _ in range(60)))

        assert 6.0 <= loop.time() - began_at < 6.5
        assert told(events.FailoverStarted, log) == []
        for connection in connections:
            connection.close()


async def test_callers_that_leave_do_not_exceed_the_limit_of_connects(sim, monkeypatch):
    """A greeted dial goes on when its caller has left, and its turn with it."""
    async with following(sim, monkeypatch, max_connecting=4, heartbeat_interval=60) as cluster:
        await sim.slow_logins(1.5)
        peak = 0

        async def hurried():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.1):
                    await cluster.connect()

        for _ in range(40):
            asking = asyncio.create_task(hurried())
            await asyncio.sleep(0.02)
            peak = max(peak, sim.writer.state.handshakes)
        await asking
        await asyncio.sleep(5)

        assert peak <= 4


async def test_credentials_that_take_too_long_blame_nobody(sim, monkeypatch):
    """And the error says what was waited for."""
    is_slow = []

    async def provider(_host, _port, user):
        await asyncio.sleep(60 if is_slow else 0)
        return aioaurora.Credentials(user=user, password=sim.password, expires_at=0.0)

    cluster = made_for(sim, monkeypatch, password=None, credentials=provider, connect_timeout=1.0)
    async with cluster:
        is_slow.append(True)

        with pytest.raises(errors.ConnectTimeout, match="waited for credentials"):
            await cluster.connect(timeout=1.5)

        assert cluster.topology.writer is not None


# --- a failover under way -------------------------------------------------------------------------------------------


@pytest.mark.loops
@pytest.mark.parametrize("mode", ["graceful", "crash"])
async def test_a_failover_is_followed_on_either_loop(sim, monkeypatch, mode):
    """A closed socket of uvloop's answers questions with other errors than asyncio's."""
    async with following(sim, monkeypatch) as cluster:
        connection = await cluster.connect()
        waiting = asyncio.create_task(connection.query("SELECT SLEEP(30)"))
        await asyncio.sleep(0.2)

        await sim.failover(mode, promote_after=0.5, target_down_for=0.2)

        with pytest.raises(errors.ConnectionLost):
            await asyncio.wait_for(waiting, 5)
        async with cluster.connect() as anew:
            assert anew.instance == sim.writer.id


async def test_who_dials_a_silent_writer_is_led_to_the_new_one_at_once(sim, monkeypatch):
    """Not when the dial to the old one has timed out (promise 2)."""
    loop = asyncio.get_running_loop()
    async with following(sim, monkeypatch, connect_timeout=20.0, acquire_timeout=60.0) as cluster:
        failing = asyncio.create_task(sim.failover("blackhole", promote_after=2.0))
        await asyncio.sleep(0.1)

        connections = await asyncio.gather(*(cluster.connect() for _ in range(20)))

        await failing
        assert {connection.instance for connection in connections} == {sim.writer.id}
        assert loop.time() - sim.timeline.of("promoted")[-1].at < 0.3
        for connection in connections:
            connection.close()


async def test_instances_that_were_all_replaced_are_found_by_the_endpoint(sim, monkeypatch):
    """While this process was cut off: none of the names that it knew is left."""
    async with following(sim, monkeypatch) as cluster:
        for each in ("db-1", "db-2", "db-3"):
            await sim.hang(each)
        await asyncio.sleep(1.5)
        await sim.add_instance("db-9")
        await sim.failover(to="db-9", promote_after=0.2, returns_after=60, dns_lag=0)
        for each in ("db-1", "db-2", "db-3"):
            await sim.remove_instance(each)

        connection = await cluster.connect(timeout=20)

        assert connection.instance == "db-9"
        connection.close()


async def test_who_waits_goes_on_waiting_while_late_comers_are_refused(sim, monkeypatch):
    """`give_up_waiting_after` is for new requests."""
    async with following(sim, monkeypatch, give_up_waiting_after=1.0) as cluster:
        failing = asyncio.create_task(sim.failover("crash", promote_after=2.5, target_down_for=0.5))
        await asyncio.sleep(0.1)
        waiting = asyncio.create_task(cluster.connect())
        await asyncio.sleep(1.5)

        with pytest.raises(errors.WriterUnavailable):
            await cluster.connect()
        async with cluster.connect(role="reader") as reader:
            assert reader.role is Role.READER

        connection = await waiting
        await failing
        assert connection.instance == sim.writer.id
        connection.close()


async def test_a_crash_is_noticed_when_nothing_is_under_way(sim, monkeypatch):
    """By the end of the heartbeat's own connection, not at its next beat: only silence takes a second."""
    loop = asyncio.get_running_loop()
    async with following(sim, monkeypatch, heartbeat_interval=5.0) as cluster:
        await asyncio.sleep(5.5)
        failing = asyncio.create_task(sim.failover("crash", promote_after=0.3, target_down_for=0.1))
        while cluster.topology.epoch == 1:
            await cluster._parts.monitor.changed()

        assert loop.time() - sim.timeline.of("promoted")[-1].at < 0.15
        await failing


async def test_a_switchover_that_freezes_the_writer_is_waited_for(sim, monkeypatch):
    """Open connections are told that it is none of their fault; who asks anew gets a writer that writes."""
    async with following(sim, monkeypatch, autocommit=True) as cluster:
        await sim.execute("CREATE TABLE t (id INT PRIMARY KEY)")
        connection = await cluster.connect()
        await sim.freeze()

        with pytest.raises(errors.WriterDemoted) as caught:
            await connection.query("INSERT INTO t VALUES (1)")
        waiting = asyncio.create_task(cluster.connect())
        await asyncio.sleep(1)
        assert not waiting.done()
        await sim.heal()

        assert caught.value.is_frozen
        assert caught.value.retryable
        async with await waiting as anew:
            await anew.query("INSERT INTO t VALUES (1)")


async def test_of_two_that_say_writable_the_rows_tell_which_one_is_fenced(sim, monkeypatch):
    """A reader's rows name the new one; its promotion was not seen, for nobody had asked it before."""
    async with following(sim, monkeypatch) as cluster, cluster.connect(instance="db-3"), cluster.connect():
        await asyncio.sleep(1)
        await sim.two_writers(to="db-2", promote_after=1)

        await asyncio.sleep(7)

        assert cluster.topology.writer.id == "db-2"


# --- silence --------------------------------------------------------------------------------------------------------


@pytest.mark.real_time  # The kernel says when the last byte came.
async def test_a_statement_ends_though_the_silent_instance_lets_nobody_in(monkeypatch):
    """`stall_timeout` holds while the heartbeat itself finds no way in (promise 3)."""
    loop = asyncio.get_running_loop()
    async with SimulatedCluster(1, engine="memory") as sim, following(sim, monkeypatch, stall_timeout=3.0) as cluster:
        connection = await cluster.connect()
        waiting = asyncio.create_task(connection.query("SELECT SLEEP(1000)"))
        await asyncio.sleep(0.3)
        await sim.hang()
        await sim.refuse()
        began_at = loop.time()

        with pytest.raises(errors.ConnectionLost) as lost:
            await asyncio.wait_for(waiting, 10)

        assert 2.0 < loop.time() - began_at < 3.5
        assert lost.value.outcome is Outcome.ROLLED_BACK


async def test_a_failure_of_the_monitor_is_told_to_who_waits(sim, monkeypatch):
    """It neither hangs nor holds the loop up."""
    async with following(sim, monkeypatch) as cluster:
        await sim.crash()
        await asyncio.sleep(1.2)
        waiting = asyncio.create_task(cluster.connect(timeout=2))
        await asyncio.sleep(0.2)

        async def broken(*_args, **_keywords):
            raise RuntimeError("a fault of ours")

        monkeypatch.setattr("aioaurora._io.heartbeat.probe", broken)
        with pytest.raises(err.InternalError, match="a fault of ours"):
            await asyncio.wait_for(waiting, 5)

        monkeypatch.undo()
        names(sim, monkeypatch)
        with pytest.raises(err.InternalError, match="a fault of ours"):
            await cluster.connect()
        await sim.restart("db-1", down_for=0.1)
        async with cluster.connect() as connection:  # It was said; the next request begins anew.
            assert connection.role is Role.WRITER


def broken(*_args, **_keywords):
    """What no heartbeat survives."""
    raise RuntimeError("a fault of ours")


async def has_failed(cluster):
    """Wait for the failure, and have it told to one request."""
    await asyncio.sleep(1.5)
    with pytest.raises(err.InternalError, match="a fault of ours"):
        await cluster.connect()


@pytest.mark.real_time  # The kernel says when the last byte came.
async def test_open_connections_are_followed_on_after_a_failure_of_the_monitor(sim, monkeypatch):
    """Whoever holds one is as badly off as before, when its instance falls silent."""
    async with following(sim, monkeypatch, stall_timeout=2.0) as cluster:
        connection = await cluster.connect()
        with monkeypatch.context() as breaking:
            breaking.setattr("aioaurora._io.heartbeat.probe", broken)
            await has_failed(cluster)
        waiting = asyncio.create_task(connection.query("SELECT SLEEP(1000)"))
        await asyncio.sleep(1.5)

        await sim.hang()

        with pytest.raises(errors.ConnectionLost):
            await asyncio.wait_for(waiting, 5)


async def test_what_was_believed_outlives_a_failure_of_the_monitor(sim, monkeypatch):
    """Epochs and generations do not begin anew: an old connection's word would count as news."""
    async with following(sim, monkeypatch) as cluster:
        await sim.failover("crash", promote_after=0.3, target_down_for=0.1)
        (await cluster.connect()).close()
        believed = cluster.topology
        with monkeypatch.context() as breaking:
            breaking.setattr("aioaurora._io.heartbeat.probe", broken)
            await has_failed(cluster)

        assert cluster.topology.epoch == believed.epoch == 2
        assert cluster.topology.writer.id == believed.writer.id
        async with cluster.connect() as connection:
            assert connection.epoch == 2


async def test_a_search_goes_on_after_a_failure_of_the_monitor(sim, monkeypatch):
    """Also by the endpoint, when none of the names that were known is left; its start is told once, and its end."""
    log = []
    async with following(sim, monkeypatch, listeners=[log.append]) as cluster:
        for each in ("db-1", "db-2", "db-3"):
            await sim.hang(each)
        await asyncio.sleep(1.5)
        with monkeypatch.context() as breaking:
            breaking.setattr("aioaurora._io.heartbeat.Heartbeat._begun", broken)
            await has_failed(cluster)
        await sim.add_instance("db-9")
        await sim.failover(to="db-9", promote_after=0.2, returns_after=60, dns_lag=0)
        for each in ("db-1", "db-2", "db-3"):
            await sim.remove_instance(each)

        async with cluster.connect(timeout=20) as connection:
            assert connection.instance == "db-9"
        assert len(told(events.FailoverStarted, log)) == len(told(events.FailoverFinished, log)) == 1


async def test_slow_answers_are_no_failover(sim, monkeypatch):
    """Later than `suspect_after` each time: suspected once, and then known to be slow."""
    log = []
    async with following(sim, monkeypatch, listeners=[log.append]) as cluster:
        await sim.slow(0.3)

        await asyncio.sleep(20)

        assert len(told(events.FailoverStarted, log)) <= 1
        assert cluster.topology.writer is not None


async def test_an_answer_that_cannot_be_read_is_a_lost_session(sim, monkeypatch):
    """Whatever a server sends, following goes on."""
    log = []
    async with following(sim, monkeypatch, listeners=[log.append]) as cluster:
        calls = []

        async def garbled(session, sql):
            calls.append(sql)
            raise ValueError("no MySQL packet")

        with monkeypatch.context() as garbling:
            garbling.setattr("aioaurora._io.probe._answered", garbled)
            await asyncio.sleep(3)
        await asyncio.sleep(3)

        assert calls
        assert told(events.MonitorFailed, log) == []
        async with cluster.connect() as connection:
            assert connection.role is Role.WRITER


# --- made anew ------------------------------------------------------------------------------------------------------


@pytest.mark.real_time  # As above.
async def test_a_connection_made_anew_is_its_new_instances_only(sim, monkeypatch):
    """A silence of the instance that it had before does not end its queries."""
    async with following(sim, monkeypatch, stall_timeout=1.5) as cluster:
        connection = await cluster.connect()
        await sim.failover("crash", promote_after=0.3, target_down_for=0.1, returns_after=0.3)
        await asyncio.sleep(1)
        with contextlib.suppress(errors.ConnectionLost):
            await connection.ping()
        await connection.ping()
        assert connection.instance == sim.writer.id
        waiting = asyncio.create_task(connection.query("SELECT SLEEP(4)"))

        await sim.hang("db-1")

        await asyncio.wait_for(waiting, 10)
        connection.close()


async def test_a_ping_that_is_cancelled_leaves_a_closed_connection(sim, monkeypatch):
    """Nobody logs in on it any more; the next ping makes it whole."""
    async with following(sim, monkeypatch) as cluster:
        connection = await cluster.connect()
        connection.lose("as a test")
        await sim.slow_logins(0.6)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await connection.ping()

        assert connection.closed
        await connection.ping()
        await asyncio.sleep(2)
        await connection.query("SELECT 1")
        connection.close()


async def test_a_connection_that_is_closed_while_a_ping_dials_stays_closed(sim, monkeypatch):
    """Its owner's last word was close, so the session that comes is closed and nobody is told that it was opened."""
    opened = []
    async with following(sim, monkeypatch, listeners=[opened.append]) as cluster:
        connection = await cluster.connect()
        connection.lose("as a test")
        await sim.slow_logins(0.6)
        pinging = asyncio.create_task(connection.ping())
        await asyncio.sleep(0.3)

        connection.close()

        with pytest.raises(err.InterfaceError, match="closed"):
            await pinging
        await asyncio.sleep(0.1)
        assert connection.closed
        assert len(told(events.ConnectionOpened, opened)) == 1
        assert len(sim.writer.connection_ids) == 1  # The heartbeat's.


async def test_a_connection_keeps_to_the_instance_that_was_asked_for(sim, monkeypatch):
    """`instance=` at the call holds for `ping` as well."""
    async with following(sim, monkeypatch) as cluster:
        for _ in range(5):
            connection = await cluster.connect(instance="db-2")
            connection.lose("as a test")
            await connection.ping()

            assert connection.instance == "db-2"
            connection.close()


async def test_one_instance_is_dialled_again_whatever_it_is_now(sim, monkeypatch):
    """It was asked for by its name, not as the writer that it was."""
    async with following(sim, monkeypatch) as cluster:
        connection = await cluster.connect(instance="db-1")
        await sim.failover("crash", promote_after=0.3, target_down_for=0.1, returns_after=0.3)
        await asyncio.sleep(1)
        with contextlib.suppress(errors.ConnectionLost):
            await connection.ping()
        await asyncio.wait_for(connection.ping(), 5)

        assert (connection.instance, connection.role) == ("db-1", Role.READER)
        connection.close()


async def test_a_connection_made_anew_logs_in_as_who_it_is_now(sim, monkeypatch):
    """The user may rotate as well as the password."""
    now = [sim.user, sim.password]

    async def provider(_host, _port, _user):
        return aioaurora.Credentials(user=now[0], password=now[1], expires_at=0.0)

    async with made_for(sim, monkeypatch, password=None, credentials=provider) as cluster:
        connection = await cluster.connect()
        sim.add_user("app_clone", "other")
        now[:] = ["app_clone", "other"]
        sim.remove_user(sim.user)
        connection.lose("as a test")

        await connection.ping()

        assert connection.user == "app_clone"
        connection.close()


async def test_credentials_without_a_user_log_in_as_the_configured_one(sim, monkeypatch):
    """As documented: None means that of the configuration."""

    async def provider(_host, _port, _user):
        return aioaurora.Credentials(user=None, password=sim.password)

    cluster = made_for(sim, monkeypatch, password=None, credentials=provider)
    async with cluster, cluster.connect() as connection:
        assert connection.user == sim.user


async def test_a_paused_instance_has_time_to_wake(sim, monkeypatch):
    """Serverless v2 accepts, and greets up to 15 s later (case 65)."""
    await sim.hang()
    async with following(sim, monkeypatch, connect_timeout=20) as cluster:
        connecting = asyncio.create_task(cluster.connect())
        await asyncio.sleep(15)
        assert not connecting.done()

        await sim.heal()

        async with await connecting as connection:
            assert (connection.instance, connection.role) == ("db-1", Role.WRITER)


# --- statements that were given up ----------------------------------------------------------------------------------


async def test_a_kill_from_before_a_restart_ends_no_stranger(sim, monkeypatch):
    """Connection ids begin anew; what was to be killed is gone."""
    log = []
    async with following(sim, monkeypatch, listeners=[log.append]) as cluster:
        connections = [await cluster.connect() for _ in range(4)]
        waiting = [asyncio.create_task(each.query("SELECT SLEEP(30)")) for each in connections]
        await asyncio.sleep(0.3)
        await sim.hang()
        await asyncio.sleep(0.1)
        for task in waiting:
            task.cancel()
        await asyncio.sleep(0.5)

        await sim.restart(mode="crash", down_for=0.5)
        await asyncio.sleep(3)

        assert told(events.StatementKilled, log) == []


# --- not followed ---------------------------------------------------------------------------------------------------


async def test_without_following_the_endpoints_role_holds(sim, monkeypatch):
    """DNS is late, and the cluster endpoint still leads to a reader: it is not handed out."""
    sim.dns.set_address(sim.endpoint, sim.instances["db-2"].address)
    async with following(sim, monkeypatch, follow="off", connect_timeout=1.0) as cluster:
        with pytest.raises(errors.NoWriter, match="says it is read_only"):
            await cluster.connect()


async def test_without_following_a_request_waits_as_long_as_it_may(sim, monkeypatch):
    """Once somebody answered, `acquire_timeout` holds."""
    loop = asyncio.get_running_loop()
    async with following(sim, monkeypatch, follow="off", acquire_timeout=10.0) as cluster:
        (await cluster.connect()).close()
        await sim.refuse("db-1")
        began_at = loop.time()

        with pytest.raises(errors.NoWriter):
            await cluster.connect()

        assert loop.time() - began_at > 8.0


# --- a connection of its own ----------------------------------------------------------------------------------------


async def test_a_first_dial_to_the_wrong_role_does_not_end_the_search(sim, monkeypatch):
    """A lone connection's Cluster lives until there is a connection."""
    names(sim, monkeypatch)
    endpoint = "night.cluster-custom-abc123.us-east-1.aurora.test"
    sim.dns.set_address(endpoint, sim.instances["db-2"].address, ttl=1)
    asking = asyncio.create_task(
        aioaurora.connect(**(sim.connect_options() | {"host": endpoint, "role": "writer", "connect_timeout": 10}))
    )
    await asyncio.sleep(0.6)

    sim.dns.set_address(endpoint, sim.instances["db-1"].address, ttl=1)

    connection = await asyncio.wait_for(asking, 10)
    assert connection.role is Role.WRITER
    await connection.ensure_closed()
