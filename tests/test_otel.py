"""What OpenTelemetry is told of pools and clusters."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import weakref

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import db_attributes, error_attributes, server_attributes
from opentelemetry.semconv._incubating.metrics import db_metrics as all_metrics
from opentelemetry.trace import SpanKind, StatusCode

import aioaurora
from aioaurora._io.session import Session
from aioaurora.connection import Connection
from aioaurora.otel import Telemetry
from aioaurora.otel._readings import _read
from aioaurora.otel._recorder import summary_of
from aioaurora.simulator import Ending, SimulatedCluster
from aioaurora.sqlalchemy import cluster_of
from tests.engines import asked, engine_on
from tests.pools import pooled, quiet, run
from tests.virtual import following

IDENTITIES = {"aioaurora.cluster", "aioaurora.instance", "aioaurora.role", "server.address", "server.port"}
KINDS = {
    "aioaurora.event", "aioaurora.outcome", "db.client.connection.pool.name", "db.client.connection.state",
    "db.response.status_code", "db.system.name", "error.type",
}  # fmt: skip


class Seen:
    """Telemetry whose metrics and spans stay here."""

    def __init__(self):
        self._reader, self._exporter = InMemoryMetricReader(), InMemorySpanExporter()
        self.meters = MeterProvider([self._reader], shutdown_on_exit=False)
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.telemetry = Telemetry(meter_provider=self.meters, tracer_provider=self.tracers)

    def points(self):
        """All that was recorded, by the metric's name."""
        data = self._reader.get_metrics_data()
        metrics = [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics] if data else []
        return {metric.name: (metric.unit, list(metric.data.data_points)) for metric in metrics}

    def values(self, name, *labels):
        """The values of one metric, by what is named of their labels; of a histogram the count."""
        _, points = self.points().get(name, ("", []))
        return {
            tuple(point.attributes.get(label) for label in labels): getattr(
                point, "count", getattr(point, "value", None)
            )
            for point in points
        }

    def sum(self, name):
        """The sum of a histogram's values."""
        return sum(point.sum for point in self.points()[name][1])

    def spans(self, name=None):
        """The spans that have ended."""
        return [span for span in self._exporter.get_finished_spans() if name in (None, span.name)]


@pytest.fixture
def seen():
    """Where telemetry goes."""
    seen = Seen()
    yield seen
    seen.meters.shutdown()
    seen.tracers.shutdown()


@pytest.fixture
async def sim():
    """Three instances, of which db-1 is the writer."""
    async with SimulatedCluster(3, engine="memory") as started:
        yield started


@pytest.fixture
async def pool(sim, seen, monkeypatch):
    """A pool that is watched."""
    async with pooled(sim, monkeypatch) as pool:
        seen.telemetry.watch(pool, name="web")
        yield pool


async def fail_over(sim, **options):
    """Crash the writer."""
    await sim.failover(mode="crash", **({"promote_after": 3.0, "target_down_for": 1.0, "returns_after": 1.0} | options))


# --- what is not watched --------------------------------------------------------------------------------------------


async def test_what_is_not_watched_is_what_it_always_was(sim, monkeypatch):
    """Nothing stands between a cursor and the driver, so that it costs nothing."""
    async with pooled(sim, monkeypatch) as pool, pool.acquire() as conn:
        assert (type(pool), type(conn)) == (aioaurora.Pool, Connection)
        assert Connection.query is Session.query
        assert "query" not in vars(conn)


# --- metrics --------------------------------------------------------------------------------------------------------


async def test_names_and_units_are_the_conventions(sim, pool, seen):
    """What they have a name for is called so."""
    theirs = {value for name, value in vars(all_metrics).items() if name.startswith("DB_CLIENT_")}
    attributes = {
        value
        for module in (db_attributes, error_attributes, server_attributes)
        for value in vars(module).values()
        if isinstance(value, str)
    } | {"db.client.connection.pool.name", "db.client.connection.state"}

    await pool.execute("SELECT 1")
    await fail_over(sim)
    await pool.execute("SELECT 1")

    points = seen.points()
    ours = {name for name in points if name.startswith("db.")}
    assert ours <= theirs
    assert len(ours) == 10
    seconds = {name for name, (unit, _) in points.items() if unit == "s"}
    assert {name for name in points if name.endswith(("_time", ".duration"))} <= seconds
    told = {label for name in ours for point in points[name][1] for label in point.attributes}
    assert {label for label in told if not label.startswith("aioaurora.")} <= attributes


async def test_labels_are_no_finer_than_cluster_instance_and_role(sim, pool, seen):
    """Whatever else labels are, is one of few kinds."""
    with pytest.raises(aioaurora.ProgrammingError):
        await pool.execute("SELECT * FROM no_such_table")
    await fail_over(sim)
    await pool.execute("SELECT 1", role="reader")

    labels = {label for _, points in seen.points().values() for point in points for label in point.attributes}

    assert labels <= IDENTITIES | KINDS
    assert {"aioaurora.cluster", "aioaurora.instance", "aioaurora.role"} <= labels


async def test_operations_are_timed_by_instance_and_role(sim, pool, seen):
    """On the loop's clock."""
    await sim.slow(0.25, "db-1")
    await pool.execute("SELECT 1")
    await pool.run(lambda conn: run(conn, "SELECT 2"))

    name = "db.client.operation.duration"
    # SELECT; the unit's START TRANSACTION, SELECT and COMMIT.
    counts = seen.values(name, "aioaurora.instance", "aioaurora.role", "server.address", "error.type")
    assert counts == {("db-1", "writer", sim.instance_endpoint("db-1"), None): 4}
    assert 1.0 <= seen.sum(name) < 1.1
    (point,) = seen.points()[name][1]
    assert point.explicit_bounds == (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)


async def test_an_operation_that_fails_says_how(pool, seen):
    """By the error's type and number, of which there are few."""
    with pytest.raises(aioaurora.ProgrammingError):
        await pool.execute("SELECT * FROM no_such_table")

    labels = ("error.type", "db.response.status_code")
    assert seen.values("db.client.operation.duration", *labels) == {("ProgrammingError", "1146"): 1}


async def test_a_pool_tells_its_size_and_its_limits(sim, monkeypatch, seen):
    """By state, instance and role."""
    async with pooled(sim, monkeypatch, minsize=2, maxsize=5, reader_maxsize=3) as pool:
        seen.telemetry.watch(pool, name="web")
        async with pool.acquire(), pool.acquire(role="reader"):
            counts = seen.values("db.client.connection.count", "aioaurora.role", "db.client.connection.state")

        assert counts == {
            ("writer", "idle"): 1, ("writer", "used"): 1, ("reader", "idle"): 0, ("reader", "used"): 1,
        }  # fmt: skip
        by_role = "aioaurora.role"
        assert seen.values("db.client.connection.max", by_role) == {("writer",): 5, ("reader",): 3}
        assert seen.values("db.client.connection.idle.max", by_role) == {("writer",): 5, ("reader",): 3}
        assert seen.values("db.client.connection.idle.min", by_role) == {("writer",): 2, ("reader",): 0}


async def test_waiting_and_using_are_timed(sim, monkeypatch, seen):
    """And who waits, and who waited in vain."""
    async with pooled(sim, monkeypatch, maxsize=1) as pool:
        seen.telemetry.watch(pool, name="web")
        async with pool.acquire():
            waiting = asyncio.create_task(pool.acquire(timeout=5.0))
            in_vain = asyncio.create_task(pool.acquire(timeout=1.0))
            await asyncio.sleep(2.0)
            pending = seen.values("db.client.connection.pending_requests", "db.client.connection.pool.name")
        pool.release(await waiting)
        with pytest.raises(aioaurora.PoolTimeout):
            await in_vain

        assert pending == {("web",): 1}
        assert seen.values("db.client.connection.timeouts") == {(): 1}
        assert seen.values("db.client.connection.wait_time") == {(): 2}
        assert seen.sum("db.client.connection.wait_time") == pytest.approx(2.0, abs=0.01)
        assert seen.values("db.client.connection.use_time") == {(): 2}
        assert seen.sum("db.client.connection.use_time") == pytest.approx(2.0, abs=0.01)


async def test_making_a_connection_is_timed(sim, pool, seen):
    """From its dialling to its role check; a pool with a cluster of its own gives it its name."""
    await sim.slow_logins(0.5)

    async with pool.acquire(), pool.acquire():
        pass

    assert seen.values("db.client.connection.create_time", "db.client.connection.pool.name") == {("web",): 1}
    assert seen.sum("db.client.connection.create_time") == pytest.approx(0.5, abs=0.1)


async def test_a_failover_is_measured(sim, pool, seen):
    """How often, how long, and how long there was nobody."""
    await asyncio.sleep(3.0)
    async with pool.acquire() as conn:
        await run(conn, "SELECT 1")
        failing_over = asyncio.create_task(fail_over(sim, promote_after=4.0))
        await asyncio.sleep(2.0)
        during = seen.values("aioaurora.writer.absence"), seen.values("aioaurora.writer.up", "aioaurora.cluster")
        await failing_over
    await pool.execute("SELECT 1")
    await asyncio.sleep(10.0)

    assert during[0][()] == pytest.approx(2.0, abs=0.3)
    assert during[1] == {("orders",): 0}
    assert seen.values("aioaurora.searches", "aioaurora.cluster") == {("orders",): 1}
    assert seen.values("aioaurora.failover.duration") == {(): 1}
    assert seen.sum("aioaurora.failover.duration") == pytest.approx(4.0, abs=0.3)
    assert seen.values("aioaurora.writer.absence")[()] == seen.sum("aioaurora.failover.duration")
    assert seen.values("aioaurora.writer.up") == {(): 1}
    assert seen.values("aioaurora.topology.epoch") == {(): 2}
    assert seen.values("aioaurora.instance.up", "aioaurora.instance", "aioaurora.role") == {
        ("db-1", "reader"): 1, ("db-2", "writer"): 1, ("db-3", "reader"): 1,
    }  # fmt: skip
    assert seen.values("aioaurora.connections.aborted", "aioaurora.instance").keys() <= {("db-1",)}
    assert seen.values("aioaurora.instances.lost", "aioaurora.instance")[("db-1",)] >= 1
    assert min(seen.values("aioaurora.probes", "aioaurora.instance").values()) >= 1
    assert seen.values("aioaurora.events", "aioaurora.event")[("aioaurora.failover.finished",)] == 1


async def test_series_of_what_is_gone_end(sim, pool, seen):
    """A connection count that stays at its last value would be a connection for ever."""
    await pool.execute("SELECT 1")
    before = seen.values("db.client.connection.count", "aioaurora.instance")
    await fail_over(sim)
    await pool.execute("SELECT 1")

    assert before == {("db-1",): 0}
    assert set(seen.values("db.client.connection.count", "aioaurora.instance")) == {("db-2",)}


async def test_a_late_heartbeat_is_a_suspicion(sim, seen, monkeypatch):
    """Of one instance. No connection is open, whose age the kernel would tell in real time."""
    async with following(sim, monkeypatch) as cluster:
        seen.telemetry.watch(cluster)
        await asyncio.sleep(3.0)
        await sim.hang("db-1")
        await asyncio.sleep(3.0)
        await sim.heal()
        await asyncio.sleep(3.0)

        assert seen.values("aioaurora.suspicions", "aioaurora.cluster", "aioaurora.instance") == {("orders", "db-1"): 1}
        assert seen.values("aioaurora.searches") == {(): 1}
        assert seen.values("aioaurora.failover.duration") == {}


async def test_lag_of_readers_is_told(sim, pool, seen):
    """In seconds, as last reported."""
    await sim.report_lag(1500.0, "db-3")
    await asyncio.sleep(10.0)

    assert seen.values("aioaurora.instance.lag", "aioaurora.instance", "aioaurora.role")[("db-3", "reader")] == 1.5


# --- outcomes -------------------------------------------------------------------------------------------------------


async def test_a_lost_commit_is_an_outcome_unknown(sim, pool, seen):
    """Counted once, however many calls the error comes through."""
    await run_ddl(pool)
    await sim.lose_commit_answer(ending=Ending.RST)

    with pytest.raises(aioaurora.CommitOutcomeUnknown):
        await pool.run(lambda conn: run(conn, "INSERT INTO t VALUES (1)"))

    labels = "aioaurora.outcome", "aioaurora.instance", "aioaurora.role"
    assert seen.values("aioaurora.outcomes", *labels) == {("unknown", "db-1", "writer"): 1}
    assert seen.values("db.client.operation.duration", "error.type")[("CommitOutcomeUnknown",)] == 1


async def test_an_idle_loss_is_an_outcome_too(sim, pool, seen):
    """Nothing was sent."""
    async with pool.acquire() as conn:
        await sim.crash("db-1")
        await quiet()
        with pytest.raises(aioaurora.ConnectionLost):
            await run(conn, "SELECT 1")

    assert seen.values("aioaurora.outcomes", "aioaurora.outcome") == {("nothing_sent",): 1}


async def test_a_refused_write_is_an_outcome(sim, pool, seen):
    """Of who was the writer when it was leased."""
    await run_ddl(pool)
    async with pool.acquire() as conn:
        await sim.freeze()
        with pytest.raises(aioaurora.WriterDemoted):
            await run(conn, "INSERT INTO t VALUES (1)")

    assert seen.values("aioaurora.outcomes", "aioaurora.outcome") == {("refused",): 1}


async def test_a_ping_that_tells_of_a_loss_counts_it(sim, pool, seen):
    """Whoever tells."""
    async with pool.acquire() as conn:
        await conn.begin()
        await sim.crash("db-1")
        conn.lose("gone")
        with pytest.raises(aioaurora.ConnectionLost):
            await conn.ping()

    assert sum(seen.values("aioaurora.outcomes", "aioaurora.outcome").values()) == 1


async def run_ddl(pool):
    """Make a table."""
    await pool.execute("CREATE TABLE t (a INT)")


# --- spans ----------------------------------------------------------------------------------------------------------


async def test_a_statement_is_a_span_of_a_client(pool, seen):
    """By what it begins with; neither its text nor its values are shown."""
    with seen.tracers.get_tracer("application").start_as_current_span("request") as request:
        await pool.execute("/* checkout */ SELECT %s", ("hunter2",))

    (span,) = seen.spans("SELECT")
    assert span.kind is SpanKind.CLIENT
    assert span.parent.span_id == request.get_span_context().span_id
    assert dict(span.attributes) == {
        "db.system.name": "mysql", "db.namespace": "shop", "db.query.summary": "SELECT",
        "server.address": pool.topology.writer.host, "server.port": pool.topology.writer.port,
        "aioaurora.cluster": "orders", "aioaurora.instance": "db-1", "aioaurora.role": "writer",
    }  # fmt: skip
    assert "hunter2" not in span.to_json()


async def test_a_span_of_what_failed_tells_the_number_and_not_the_text(pool, seen):
    """The text of an error may hold values."""
    with pytest.raises(aioaurora.ProgrammingError):
        await pool.execute("SELECT * FROM hunter2")

    (span,) = seen.spans("SELECT")
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes["error.type"], span.attributes["db.response.status_code"]) == ("ProgrammingError", "1146")
    assert "hunter2" not in span.to_json()


async def test_a_unit_of_work_is_three_spans(pool, seen):
    """Its beginning and its end are operations as well."""
    await pool.run(lambda conn: run(conn, "SELECT 1"))

    assert [span.name for span in seen.spans()] == ["START", "SELECT", "COMMIT"]


async def test_other_commands_have_names(pool, seen):
    """Also those that are no statements."""
    async with pool.acquire() as conn:
        await conn.ping()
        await conn.begin()
        await conn.rollback()
        await conn.select_db("shop")

    assert [span.name for span in seen.spans()] == ["PING", "BEGIN", "ROLLBACK", "USE"]


async def test_a_wait_for_a_connection_is_a_span(sim, pool, seen):
    """So a trace shows the failover that a request went through."""
    await sim.crash("db-1")
    await asyncio.sleep(1.5)
    with pytest.raises(aioaurora.PoolTimeout):
        await pool.execute("SELECT 1", timeout=1.0)

    (span,) = seen.spans("aioaurora.pool.acquire")
    assert dict(span.attributes) == {
        "aioaurora.cluster": "orders", "db.client.connection.pool.name": "web", "error.type": "PoolTimeout",
    }  # fmt: skip


async def test_a_failover_is_a_trace_of_its_own(sim, pool, seen):
    """Whatever task heard of it."""
    with seen.tracers.get_tracer("application").start_as_current_span("request"):
        await fail_over(sim)
        await pool.execute("SELECT 1")

    (span,) = seen.spans("aioaurora.failover")
    assert span.parent is None
    assert (span.end_time - span.start_time) / 1e9 == pytest.approx(3.0, abs=0.3)
    assert span.attributes["aioaurora.failover.old_writer"] == "db-1"
    assert span.attributes["aioaurora.instance"] == "db-2"


async def test_spans_can_be_left_out(sim, seen, monkeypatch):
    """Metrics go on."""
    async with pooled(sim, monkeypatch) as pool:
        Telemetry(meter_provider=seen.meters, tracer_provider=seen.tracers, spans=False).watch(pool)
        await pool.execute("SELECT 1")

    assert seen.spans() == []
    assert seen.values("db.client.operation.duration") == {(): 1}


@pytest.mark.parametrize(
    ("said", "summary"),
    [
        ("select 1", "SELECT"),
        (b"(SELECT 1) UNION (SELECT 2)", "SELECT"),
        ("/* a */ -- b\n# c\n  insert into t", "INSERT"),
        ("hunter2 is no statement", ""),
        ("", ""),
        (b"\xff", ""),
        ("/*!40101 SET NAMES utf8 */", ""),
        ("/*" * 5000, ""),
        ("/**/" * 50, ""),
        ("/**/" * 40 + "select 1", "SELECT"),
    ],
)
def test_a_summary_is_a_word_of_sqls_own(said, summary):
    """Any other word may be a value."""
    assert summary_of(said) == summary


# --- who is watched -------------------------------------------------------------------------------------------------


async def test_connections_that_are_open_already_are_watched(sim, monkeypatch, seen):
    """Those of a pool and those of its cluster."""
    async with (
        following(sim, monkeypatch) as cluster,
        cluster.connect() as conn,
        aioaurora.create_pool(cluster=cluster) as pool,
        pool.acquire() as leased,
    ):
        seen.telemetry.watch(pool)
        await run(conn, "SELECT 1")
        await run(leased, "SELECT 1")

    assert seen.values("db.client.operation.duration") == {(): 2}
    assert repr(conn).startswith("<Connection db-1 writer")


async def test_watching_twice_counts_once(sim, pool, seen):
    """Nor does watching the pool's cluster as well."""
    seen.telemetry.watch(pool)
    seen.telemetry.watch(pool.cluster)

    await pool.execute("SELECT 1")

    assert seen.values("db.client.operation.duration") == {(): 1}
    assert seen.values("db.client.connection.pending_requests", "db.client.connection.pool.name") == {("web",): 0}


async def test_a_cluster_without_a_pool_is_watched(sim, monkeypatch, seen):
    """Its connections, and what is believed of it."""
    async with following(sim, monkeypatch) as cluster:
        seen.telemetry.watch(cluster)
        async with cluster.connect() as conn:
            await run(conn, "SELECT 1")

        assert seen.values("db.client.operation.duration", "aioaurora.cluster") == {("orders",): 1}
        assert seen.values("aioaurora.topology.epoch") == {(): 1}
        pool_name = f"{sim.endpoint}:{sim.port}/shop"
        assert seen.values("db.client.connection.create_time", "db.client.connection.pool.name") == {(pool_name,): 1}


async def test_statements_of_an_sqlalchemy_engine_are_watched(sim, monkeypatch, seen):
    """Through its Cluster; those of the connection that it has already, too."""
    async with engine_on(sim, monkeypatch) as engine:
        await asked(engine, "SELECT 1")
        seen.telemetry.watch(cluster_of(engine))
        await asked(engine, "SELECT 2")

        assert {span.name for span in seen.spans()} >= {"SELECT"}
        assert ("db-1",) in seen.values("db.client.operation.duration", "aioaurora.instance")


async def test_pools_have_names_of_their_own(sim, monkeypatch, seen):
    """As the conventions make them, and numbered where they would be the same."""
    async with (
        following(sim, monkeypatch) as cluster,
        aioaurora.create_pool(cluster=cluster) as one,
        aioaurora.create_pool(cluster=cluster) as two,
    ):
        seen.telemetry.watch(one)
        seen.telemetry.watch(two)

        names = set(seen.values("db.client.connection.pending_requests", "db.client.connection.pool.name"))

    name = f"{sim.endpoint}:{sim.port}/shop"
    assert names == {(name,), (f"{name}-2",)}


async def test_what_is_closed_is_forgotten(sim, monkeypatch, seen):
    """Its name is free again, and nothing keeps it alive."""
    for _ in range(2):
        async with pooled(sim, monkeypatch) as pool:
            seen.telemetry.watch(pool, name="web")
        assert seen.values("db.client.connection.pending_requests") == {}
        assert seen.values("aioaurora.topology.epoch") == {}
        gone = weakref.ref(pool), weakref.ref(pool.cluster)
        del pool
        await quiet()
        gc.collect()
        assert [each() for each in gone] == [None, None]


async def test_only_pools_and_clusters_are_watched(sim, seen, monkeypatch):
    """The coroutine that is to give a pool is a likely slip."""
    with pytest.raises(aioaurora.ConfigurationError, match="a Making cannot be watched: pass a Pool or a Cluster"):
        seen.telemetry.watch(pooled(sim, monkeypatch))


# --- another thread -------------------------------------------------------------------------------------------------


async def test_metrics_are_read_in_any_thread(pool, seen):
    """A periodic reader has one of its own."""
    found = []

    thread = threading.Thread(target=lambda: found.append(seen.values("db.client.connection.count")))
    thread.start()
    thread.join()

    assert found == [{(): 0}]


def test_books_that_change_meanwhile_are_read_again():
    """A few times; then there is nothing to be told."""
    turns = []

    def read(last):
        turns.append(last)
        yield len(turns)
        if len(turns) < last:
            raise RuntimeError("dictionary changed size during iteration")

    assert _read(read, 3) == [3]
    turns.clear()
    assert _read(read, 100) == []
    assert len(turns) == 5


# --- the log --------------------------------------------------------------------------------------------------------


async def test_a_failover_of_many_connections_is_five_lines_with_telemetry(sim, monkeypatch, seen, caplog):
    """As without (case 67)."""
    async with pooled(sim, monkeypatch, minsize=200, maxsize=200) as pool:
        seen.telemetry.watch(pool)
        with caplog.at_level(logging.INFO):
            await fail_over(sim)
            await pool.execute("SELECT 1")
            await asyncio.sleep(10.0)

    assert len(caplog.records) <= 5
    assert [record.levelname for record in caplog.records].count("WARNING") == 2
