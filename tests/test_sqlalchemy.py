"""SQLAlchemy's pool over a cluster, on virtual time: who is connected to, what is handed out, what is a disconnect."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import types
import warnings

import pytest
import sqlalchemy
from pymysql import err
from sqlalchemy import event, exc, pool, text
from sqlalchemy.ext.asyncio import create_async_engine

import aioaurora
from aioaurora import errors, events
from aioaurora.errors import Outcome, Role
from aioaurora.simulator import SimulatedCluster
from aioaurora.sqlalchemy import AuroraDialect, cluster_of
from aioaurora.sqlalchemy._followed import Clusters
from tests.connected import connected
from tests.engines import arguments_of, asked, driver_of, engine_on, filled, id_of, url_of
from tests.io.scripted_server import ScriptedServer, after, hang_up, ok, reset
from tests.io.scripted_server import err as refusal
from tests.pools import CancelAt, connections_at, told
from tests.virtual import names, until


@pytest.fixture
async def sim():
    """Three instances, of which db-1 is the writer, and a table."""
    async with SimulatedCluster(3, engine="memory") as started:
        await started.execute("CREATE TABLE t (a INT PRIMARY KEY)")
        yield started


@pytest.fixture
async def engine(sim, monkeypatch):
    """An engine of the writer, with a pool that keeps five."""
    async with engine_on(sim, monkeypatch) as entered:
        yield entered


async def kill(sim, number):
    """End a session of the writer's, as a DBA would."""
    async with aioaurora.connect(**sim.connect_options()) as connection, connection.cursor() as cursor:
        await cursor.execute(f"KILL {number}")
    await asyncio.sleep(0.1)


# --- who is connected to --------------------------------------------------------------------------------------------


async def test_an_engine_leads_to_the_writer(engine):
    """The URL names the cluster endpoint."""
    assert await asked(engine) == ("db-1", 0)


async def test_a_reader_engine_leads_to_a_reader(sim, monkeypatch):
    """`?role=reader`."""
    async with engine_on(sim, monkeypatch, query={"role": "reader"}) as engine:
        name, is_read_only = await asked(engine)

    assert (name in {"db-2", "db-3"}, is_read_only) == (True, 1)


async def test_twenty_connections_cost_twenty_one(sim, monkeypatch):
    """One Cluster for all of them: its heartbeat is the one more (case 22)."""
    async with engine_on(sim, monkeypatch, pool_size=20) as engine:
        await filled(engine, 20)

        assert connections_at(sim) == 21
        assert cluster_of(engine).topology.writer_id == "db-1"


async def test_dispose_closes_the_cluster_and_the_next_use_begins_anew(sim, engine):
    """Nothing is left of it at the server."""
    await filled(engine, 3)
    first = cluster_of(engine)
    await engine.dispose()
    await until(lambda: connections_at(sim) == 0)

    assert "closed" in repr(first)
    assert cluster_of(engine) is None
    assert await asked(engine) == ("db-1", 0)
    assert cluster_of(engine) is not first


async def test_dispose_without_a_greenlet_closes_the_cluster_later(sim, monkeypatch):
    """`engine.sync_engine.dispose()` cannot wait."""
    async with engine_on(sim, monkeypatch, poolclass=pool.NullPool) as engine:
        await asked(engine)
        cluster = cluster_of(engine)

        engine.sync_engine.dispose()

        await until(lambda: "closed" in repr(cluster))
        assert connections_at(sim) == 0


@pytest.mark.real_time
async def test_each_loop_has_a_cluster_of_its_own(sim, monkeypatch):
    """`asyncio.run` twice with one engine: what the first one left in the pool is not handed out in the second."""
    names(sim, monkeypatch)
    engine = create_async_engine(url_of(sim), connect_args=arguments_of(sim))

    async def use(*, last):
        numbers = [await asked(engine, "SELECT CONNECTION_ID()") for _ in range(2)]
        cluster = cluster_of(engine)
        if last:
            await engine.dispose()
        return numbers, cluster

    numbers, clusters = zip(
        *[await asyncio.to_thread(asyncio.run, use(last=last)) for last in (False, True)], strict=True
    )

    assert [len(set(each)) for each in numbers] == [1, 1]
    assert numbers[0] != numbers[1]
    assert clusters[0] is not clusters[1]
    with warnings.catch_warnings():  # Nobody can close a transport of a loop that is closed.
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


class ClosedLoop:
    """A loop that is closed; while it is asked so, another thread begins to use the engine."""

    def __init__(self, clusters, other):
        self.clusters, self.other = clusters, other

    def is_closed(self):
        self.clusters._made.setdefault(self.other, (0, None))
        return True


async def test_loops_of_other_threads_may_begin_meanwhile():
    """Nobody's Cluster is forgotten as closed loops are."""
    clusters, other = Clusters(), asyncio.new_event_loop()
    clusters._made[ClosedLoop(clusters, other)] = 0, None

    clusters.made_here({"host": "db.test"}, may_change=False)

    assert set(clusters._made) == {other, asyncio.get_running_loop()}
    other.close()


async def test_dispose_waits_for_no_server(sim, engine):
    """Each connection says goodbye and hangs up, whether or not somebody hears it."""
    loop = asyncio.get_running_loop()
    await filled(engine, 5)
    await sim.hang()
    began_at = loop.time()

    await engine.dispose()

    assert loop.time() - began_at < 1.5
    await sim.heal()
    await until(lambda: connections_at(sim) == 0)


async def test_a_dispose_that_is_cancelled_has_told_the_other_loops(sim, engine):
    """Each ends its Cluster by itself."""
    await asked(engine)
    clusters, told_there = engine.dialect.clusters, []

    class OtherLoop:
        """A loop in another thread."""

        def call_soon_threadsafe(self, _call, cluster):
            told_there.append(cluster)

    mine, other = cluster_of(engine), aioaurora.Cluster("mysql://app@db.test/shop")
    clusters._made[OtherLoop()] = os.getpid(), types.SimpleNamespace(cluster=other)

    with contextlib.suppress(asyncio.CancelledError):
        await CancelAt(engine.dispose(), 1)

    assert told_there == [other]
    await mine.close()


async def test_cluster_of_another_engine():
    """It has none."""
    engine = create_async_engine("mysql+aiomysql://app@db.test/shop")

    with pytest.raises(TypeError, match="mysql\\+aioaurora"):
        cluster_of(engine)


# --- what was written -----------------------------------------------------------------------------------------------


def arguments(url):
    """What the dialect makes of a URL."""
    return AuroraDialect(dbapi=AuroraDialect.import_dbapi()).create_connect_args(sqlalchemy.make_url(url))[1]


def test_a_url_says_aiomysqls_options_and_ours():
    """Each read as what it is."""
    said = arguments(
        "mysql+aioaurora://app:p%40ss%2Fword@db.test:3307/shop?charset=latin1&nameservers=10.0.0.2,10.0.0.3&connect_timeout=1.5"
    )

    assert said == {
        "user": "app", "password": "p@ss/word", "host": "db.test", "port": 3307, "db": "shop",
        "charset": "latin1", "nameservers": ("10.0.0.2", "10.0.0.3"), "connect_timeout": 1.5, "client_flag": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("roll=reader", "role"),
        ("connect_timeout=soon", "no number"),
        ("ssl_ca=/etc/ca.pem", "ssl="),
        ("credentials=me", "pass it as an argument"),
    ],
)
def test_what_cannot_work_is_refused_when_the_engine_is_made(query, says):
    """With what to write instead, and without the password."""
    with pytest.raises(errors.ConfigurationError, match=says) as caught:
        create_async_engine(f"mysql+aioaurora://app:hunter2@db.test/shop?{query}")

    assert "hunter2" not in str(caught.value)


async def test_no_password_in_what_an_engine_shows(sim, engine):
    """Its repr, its Cluster's, and that of an error."""
    await asked(engine)
    with pytest.raises(exc.DBAPIError) as caught:
        await asked(engine, "SELECT nothing FROM nowhere")

    shown = [repr(engine), repr(cluster_of(engine)), repr(engine.dialect), repr(caught.value), str(caught.value)]
    assert [text for text in shown if sim.password in text] == []


async def test_a_do_connect_handler_may_bring_a_password(sim, monkeypatch):
    """As SQLAlchemy has it for tokens; each connect takes the newest."""
    sim.add_user("app", "first")
    async with engine_on(sim, monkeypatch, poolclass=pool.NullPool) as engine:
        passwords = ["first", "second"]

        @event.listens_for(engine.sync_engine, "do_connect")
        def give_password(dialect, record, cargs, cparams):
            cparams["password"] = passwords[0]

        assert await asked(engine) == ("db-1", 0)
        passwords.pop(0)
        sim.add_user("app", "second")
        assert await asked(engine) == ("db-1", 0)


async def test_a_do_connect_handler_may_change_nothing_else(sim, monkeypatch):
    """An engine has one Cluster."""
    async with engine_on(sim, monkeypatch, poolclass=pool.NullPool) as engine:
        schemas = [sim.database, "other"]

        @event.listens_for(engine.sync_engine, "do_connect")
        def choose(dialect, record, cargs, cparams):
            cparams["db"] = schemas.pop(0)

        await asked(engine)
        with pytest.raises(exc.ProgrammingError, match="may change the password only"):
            await asked(engine)


async def test_a_do_connect_handler_that_comes_too_late_is_told_so(sim, monkeypatch):
    """Its password would be passed over without a word."""
    async with engine_on(sim, monkeypatch, poolclass=pool.NullPool) as engine:
        await asked(engine)

        @event.listens_for(engine.sync_engine, "do_connect")
        def give_password(dialect, record, cargs, cparams):
            cparams["password"] = "second"

        with pytest.raises(exc.ProgrammingError, match="before its first connection"):
            await asked(engine)


async def test_credentials_win_over_the_password_of_the_url(sim, monkeypatch):
    """As with `Cluster`."""
    sim.add_user("token", "bearer")

    async def fetch(host, port, user):
        return aioaurora.Credentials(user="token", password="bearer")

    async with engine_on(sim, monkeypatch, connect_args={"credentials": fetch}) as engine:
        assert await asked(engine) == ("db-1", 0)


async def test_a_connection_that_somebody_else_made_is_left_alone(sim, monkeypatch):
    """`async_creator` gives what it likes."""
    names(sim, monkeypatch)
    async with contextlib.AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(aioaurora.Cluster(**sim.connect_options()))
        engine = create_async_engine(url_of(sim), async_creator=cluster.connect, pool_pre_ping=True)
        stack.push_async_callback(engine.dispose)

        assert [await asked(engine), await asked(engine)] == [("db-1", 0)] * 2
        assert cluster_of(engine) is None


# --- what is handed out ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["graceful", "crash", "blackhole"])
async def test_the_first_checkout_after_a_failover_is_on_the_new_writer(sim, monkeypatch, mode):
    """Case 11: without a ping, whatever became of the old writer; and so are all the others."""
    async with engine_on(sim, monkeypatch, pool_size=20) as engine:
        old = await filled(engine, 20)

        await sim.failover(mode, "db-2", promote_after=1.0, target_down_for=0.5)
        if mode == "blackhole":  # The kernel, whose clock is real, says when it has heard last.
            await until(lambda: cluster_of(engine).topology.writer_id == "db-2", 300)

        assert await asked(engine) == ("db-2", 0)
        async with contextlib.AsyncExitStack() as stack:
            connections = [await stack.enter_async_context(engine.connect()) for _ in range(20)]
            rows = [
                (await connection.execute(text("SELECT @@aurora_server_id"))).scalar() for connection in connections
            ]
            drivers = [await driver_of(connection) for connection in connections]
        assert set(rows) == {"db-2"}
        assert {driver.epoch for driver in drivers} == {2}
        assert len(old) == 20


async def test_a_demoted_writer_that_keeps_its_sessions_is_left(sim, monkeypatch):
    """Two that say writable: what the pool has of the old one could be used still, and is not."""
    async with engine_on(sim, monkeypatch, connect_args={"refresh_interval": 1}) as engine:
        await filled(engine, 3)
        async with cluster_of(engine).connect(role="reader"), engine.connect() as held:
            await sim.two_writers(to="db-2", promote_after=0.1)
            await until(lambda: cluster_of(engine).topology.writer_id == "db-2")

            assert {(await asked(engine))[0] for _ in range(6)} == {"db-2"}
            assert (await driver_of(held)).closed
        assert {(await asked(engine))[0] for _ in range(6)} == {"db-2"}


async def test_a_checkout_waits_for_the_end_of_a_search(sim, engine):
    """A false alarm costs no connection: the writer was merely late."""
    (number,) = await filled(engine, 1)
    await sim.hang()
    await until(lambda: cluster_of(engine).topology.writer is None)
    asking = asyncio.create_task(asked(engine, "SELECT CONNECTION_ID()"))
    await asyncio.sleep(0.5)
    assert not asking.done()

    await sim.heal()

    assert await asking == (number,)


async def test_a_checkout_waits_no_longer_than_acquire_timeout(sim, monkeypatch):
    """Waiting for the search and connecting have one deadline (case 28); the error says who was sought, how long."""
    loop = asyncio.get_running_loop()
    async with engine_on(sim, monkeypatch, connect_args={"acquire_timeout": 2}) as engine:
        await filled(engine, 1)
        await sim.freeze()
        await until(lambda: cluster_of(engine).topology.writer is None)
        began_at = loop.time()

        with pytest.raises(exc.OperationalError, match=r"no writer of 'orders' within 2\.0 s") as caught:
            await asked(engine)

        assert isinstance(caught.value.orig, errors.NoWriter)
        assert loop.time() - began_at == pytest.approx(2, abs=0.1)
        assert engine.pool.checkedout() == 0
        await sim.heal()
        assert await asked(engine) == ("db-1", 0)


async def test_who_has_sought_for_long_tells_newcomers_at_once(sim, monkeypatch):
    """`give_up_waiting_after` holds for pooled connections as for new ones."""
    loop = asyncio.get_running_loop()
    async with engine_on(sim, monkeypatch, connect_args={"give_up_waiting_after": 0.5}) as engine:
        await filled(engine, 1)
        await sim.freeze()
        await until(lambda: cluster_of(engine).topology.writer is None)
        await asyncio.sleep(0.6)
        began_at = loop.time()

        with pytest.raises(exc.OperationalError) as caught:
            await asked(engine)

        assert isinstance(caught.value.orig, errors.WriterUnavailable)
        assert loop.time() - began_at < 0.01


async def test_a_session_that_was_killed_costs_one_connection(sim, engine):
    """Case 60: the others are as good as they were."""
    before = await filled(engine, 4)
    killed = min(before)
    await kill(sim, killed)

    assert await filled(engine, 4) & before == before - {killed}


async def test_one_that_breaks_in_use_costs_one_connection(sim, engine):
    """SQLAlchemy would replace all that are older."""
    before = await filled(engine, 4)
    async with engine.connect() as connection:
        broken = await id_of(connection)
        await sim.lose_answer("SELECT 7", executed=False)
        with pytest.raises(exc.OperationalError) as caught:
            await connection.execute(text("SELECT 7"))

    assert (type(caught.value.orig), caught.value.connection_invalidated) == (errors.ConnectionLost, True)
    assert await filled(engine, 4) & before == before - {broken}


@pytest.mark.parametrize("ping", [True, False], ids=["pre-ping", "no ping"])
async def test_one_that_was_reset_without_a_word_is_not_handed_out(sim, monkeypatch, ping):
    """Half open: only a ping can tell; what it costs is that one."""
    async with engine_on(sim, monkeypatch, pool_pre_ping=ping) as engine:
        before = await filled(engine, 2)
        await sim.restart("db-1", down_for=0.1)

        after = await filled(engine, 2)

        assert not before & after or min(after) < min(before)


async def test_a_pre_ping_replaces_what_does_not_answer(sim, monkeypatch):
    """Only this one."""
    async with engine_on(sim, monkeypatch, pool_pre_ping=True) as engine:
        before = await filled(engine, 3)
        await sim.lose_answer("", executed=False)  # Of no statement: a ping has no text.

        after = await filled(engine, 3)

        assert len(before & after) >= 2


async def test_a_rollback_of_what_is_gone_is_done(sim, engine, caplog):
    """The server has done it; the pool has nothing to log (case 67), and the next one gets another."""
    caplog.set_level(logging.WARNING, "sqlalchemy")
    async with engine.connect() as connection:
        await connection.execute(text("INSERT INTO t VALUES (1)"))
        await kill(sim, await id_of(connection))

        await connection.rollback()

    assert caplog.records == []
    assert await asked(engine) == ("db-1", 0)


async def test_a_reader_engine_leaves_who_became_the_writer(sim, monkeypatch):
    """And takes the other reader."""
    async with engine_on(sim, monkeypatch, query={"role": "reader"}) as engine:
        await filled(engine, 4)
        await sim.failover("crash", "db-2", promote_after=0.5, target_down_for=0.2, returns_after=60)
        await asyncio.sleep(5)

        assert {await asked(engine) for _ in range(4)} == {("db-3", 1)}


async def test_a_reader_engine_leaves_the_writer_when_a_reader_is_there(monkeypatch):
    """Case 17: the writer stands in for as long as there is none, and is not connected to anew each time."""
    async with SimulatedCluster(2, engine="memory") as sim:
        await sim.crash("db-2")
        async with engine_on(sim, monkeypatch, query={"role": "reader"}) as engine:
            first = await asked(engine, "SELECT @@aurora_server_id, CONNECTION_ID()")
            again = await asked(engine, "SELECT @@aurora_server_id, CONNECTION_ID()")
            await sim.heal()
            await until(lambda: cluster_of(engine).topology.readers, 60)

            assert (first[0], first == again) == ("db-1", True)
            assert (await asked(engine))[0] == "db-2"


async def test_a_server_of_its_own_is_looked_at_too(monkeypatch):
    """One that is no Aurora, or is not followed, has no topology: what hung up is replaced."""
    async with (
        SimulatedCluster(1, engine="memory") as sim,
        engine_on(sim, monkeypatch, connect_args={"follow": "off"}) as engine,
    ):
        before = await filled(engine, 2)
        await kill(sim, min(before))

        assert await filled(engine, 2) & before == before - {min(before)}


async def test_a_cluster_that_is_only_observed_is_not_acted_on(sim, monkeypatch):
    """`follow="observe"`: what would not have been handed out is, and that is told once for its instance."""
    log = []
    async with engine_on(sim, monkeypatch, connect_args={"follow": "observe", "listeners": log.append}) as engine:
        await filled(engine, 2)
        await asyncio.sleep(1)
        await asked(engine)
        assert told(events.Withheld, log) == []
        await sim.failover("blackhole", "db-2", promote_after=2.0, returns_after=500.0)
        await until(lambda: cluster_of(engine).topology.writer_id == "db-2", 300)

        async with engine.connect() as one, engine.connect() as other:
            drivers = [await driver_of(one), await driver_of(other)]
            await one.invalidate()
            await other.invalidate()

    assert [driver.instance for driver in drivers] == ["db-1", "db-1"]
    expired = [(each.instance, each.why) for each in told(events.Withheld, log) if each.what == "expire"]
    assert len(expired) == 1
    assert expired[0][0] == "db-1"


async def test_a_frozen_writer_that_is_only_observed_is_handed_out(sim, monkeypatch):
    """Nobody waits for the end of a search."""
    async with engine_on(sim, monkeypatch, connect_args={"follow": "observe"}) as engine:
        await filled(engine, 1)
        await asyncio.sleep(1)
        await sim.freeze()
        await until(lambda: cluster_of(engine).topology.writer is None)
        began_at = asyncio.get_running_loop().time()

        assert await asked(engine) == ("db-1", 0)
        assert asyncio.get_running_loop().time() - began_at < 0.01
        await sim.heal()


@pytest.mark.real_time
async def test_a_forked_child_is_handed_nothing_of_its_parents(sim, monkeypatch):
    """Case 66: it would connect by itself, and what it closes ends nothing."""
    async with engine_on(sim, monkeypatch) as engine:
        (number,) = await filled(engine, 1)
        async with engine.connect() as connection:
            driver = await driver_of(connection)
            child = os.fork()
            if not child:
                _end_as_child(engine, driver)

            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            await connection.execute(text("SELECT 1"))
        assert await filled(engine, 1) == {number}


def _end_as_child(engine, driver):
    try:
        assert cluster_of(engine) is None
        with pytest.raises(exc.DisconnectionError, match="another process"):
            engine.dialect._look_at(driver)
        driver.close()
        engine.sync_engine.dispose(close=False)
    except BaseException:  # noqa: BLE001 - nothing of the parent's may run here.
        os._exit(1)
    os._exit(0)


@pytest.mark.parametrize("kind", ["idle", "searching", "empty"])
async def test_a_cancelled_checkout_leaves_the_pool_as_it_was(sim, monkeypatch, kind):
    """Case 31, swept at every await."""
    async with engine_on(sim, monkeypatch, pool_size=2, max_overflow=0) as engine:
        await asked(engine)
        for k in range(100):
            if kind == "empty":
                async with engine.connect() as connection:
                    await connection.invalidate()
            elif kind == "searching":
                await sim.freeze()
                await until(lambda: cluster_of(engine).topology.writer is None)
                asyncio.get_running_loop().call_later(0.3, lambda: asyncio.ensure_future(sim.heal()))
            else:
                await filled(engine, 1)
            sweep = CancelAt(asked(engine), k)
            with contextlib.suppress(asyncio.CancelledError):
                await sweep
            await asyncio.sleep(0.4)
            assert engine.pool.checkedout() == 0
            if not sweep.reached:
                break

        assert not sweep.reached
        assert len(await filled(engine, 2)) == 2


# --- what is a disconnect -------------------------------------------------------------------------------------------

WAYS = {
    "shutdown": refusal(1053),
    "killed": refusal(1927),
    "idle for long": refusal(4031),
    "gone away": refusal(2006),
    "lost": refusal(2013),
    "out of sync": refusal(2014),
    "lost, of the system": refusal(2055),
    "FIN": hang_up,
    "RST": reset,
    "FIN in mid-packet": after(b"\x01", then=hang_up),
}


@pytest.mark.parametrize("way", WAYS)
async def test_all_that_ends_a_session_is_a_disconnect(way):
    """Case 43; and once it has ended, all that comes of it."""
    dialect = AuroraDialect(dbapi=AuroraDialect.import_dbapi())
    async with ScriptedServer({"SELECT": WAYS[way]}) as server, connected(server) as connection:
        for _ in range(2):
            with pytest.raises(err.Error) as caught:
                await connection.query("SELECT 1")
            assert dialect.is_disconnect(caught.value, None, None)


async def test_a_packet_out_of_order_is_a_disconnect():
    """Case 43: the stream is out of step."""
    dialect = AuroraDialect(dbapi=AuroraDialect.import_dbapi())

    async def wrong(guest):
        guest.sequence += 5
        guest.send(ok())

    async with ScriptedServer({"SELECT": wrong}) as server, connected(server) as connection:
        with pytest.raises(err.Error) as caught:
            await connection.query("SELECT 1")

    assert dialect.is_disconnect(caught.value, None, None)


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (errors.ConnectionLost("db-1", epoch=1, outcome=Outcome.ROLLED_BACK), True),
        (errors.CommitOutcomeUnknown("db-1", epoch=1, outcome=Outcome.UNKNOWN), True),
        (errors.WriterDemoted("db-1", epoch=1, outcome=Outcome.REFUSED), True),
        (err.InterfaceError(0, "Not connected: Cancelled during execution"), True),
        (errors.TransactionLost("db-1", epoch=1, outcome=Outcome.ROLLED_BACK), False),
        (errors.NoWriter("none", waited_s=3.0), False),
        (errors.ConnectionBusy(), False),
        (err.OperationalError(1205, "Lock wait timeout exceeded"), False),
        (err.OperationalError(1290, "--read-only"), False),
        (err.IntegrityError(1062, "Duplicate entry"), False),
        (err.ProgrammingError(1064, "syntax"), False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_what_is_a_disconnect(error, is_one):
    """1290 alone says nothing of who the instance is: our connection asks, and says WriterDemoted."""
    assert AuroraDialect(dbapi=AuroraDialect.import_dbapi()).is_disconnect(error, None, None) is is_one


async def test_a_demotion_is_noticed_on_the_connection_itself(sim, engine):
    """The statement that is refused ends it; the next checkout is on the new writer."""
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
        driver = await driver_of(connection)
        assert (driver.role, driver.instance) == (Role.WRITER, "db-1")
        await sim.freeze()

        with pytest.raises(exc.OperationalError) as caught:
            await connection.execute(text("INSERT INTO t VALUES (1)"))

        assert isinstance(caught.value.orig, errors.WriterDemoted)
        assert connection.invalidated
    await sim.heal()
    assert await asked(engine) == ("db-1", 0)
