"""What is recorded as it happens: durations, counts and spans.

Where the semantic conventions for database clients have a name, it is theirs; else it begins with `aioaurora`.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, Status, StatusCode
from pymysql.err import MySQLError

from aioaurora import events
from aioaurora._core.verdict import errno_of

if TYPE_CHECKING:
    from opentelemetry.metrics import Counter, Histogram, Meter
    from opentelemetry.trace import Span, Tracer

    from aioaurora.errors import Role

    Labels = dict[str, str | int]

CLUSTER, INSTANCE, ROLE = "aioaurora.cluster", "aioaurora.instance", "aioaurora.role"
OUTCOME, EVENT, ERROR = "aioaurora.outcome", "aioaurora.event", "error.type"
POOL, STATE, STATUS = "db.client.connection.pool.name", "db.client.connection.state", "db.response.status_code"

# In seconds. The first as the semantic conventions advise; a failover takes longer.
_OPERATION_S = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
_FAILOVER_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0)

# The first word of a statement, after comments; only a word of SQL's own is shown.
# Possessive: else many comments and no word after them would be tried in all the ways that they could be fewer.
_FIRST_WORD = re.compile(r"(?:[\s(]|/\*.*?\*/|(?:--\s|\#)[^\n]*\n)*+([A-Za-z]+)", re.DOTALL)
_LOOKED_AT = 200
_WORDS = frozenset(
    """
    ALTER ANALYZE BEGIN CALL COMMIT CREATE DELETE DESC DESCRIBE DO DROP EXECUTE EXPLAIN FLUSH GRANT HANDLER INSERT KILL
    LOAD LOCK OPTIMIZE PING PREPARE RELEASE RENAME REPLACE RESET REVOKE ROLLBACK SAVEPOINT SELECT SET SHOW START TABLE
    TRUNCATE UNLOCK UPDATE USE VALUES WITH XA
    """.split()
)


class Recorder:
    """Records for one `Telemetry`.

    Args:
        meter: Makes the instruments.
        tracer: Makes the spans; None: there are none.
    """

    def __init__(self, meter: Meter, tracer: Tracer | None) -> None:
        self._tracer = tracer

        def seconds(name: str, about: str, bounds: tuple[float, ...] = _OPERATION_S) -> Histogram:
            return meter.create_histogram(name, "s", about, explicit_bucket_boundaries_advisory=bounds)

        def count(name: str, unit: str, about: str) -> Counter:
            return meter.create_counter(name, f"{{{unit}}}", about)

        self._operations = seconds("db.client.operation.duration", "Duration of database client operations.")
        self.creations: Histogram = seconds(
            "db.client.connection.create_time", "The time it took to create a new connection."
        )
        self.waits: Histogram = seconds(
            "db.client.connection.wait_time", "The time it took to obtain an open connection from the pool."
        )
        self.uses: Histogram = seconds(
            "db.client.connection.use_time", "The time between borrowing a connection and returning it to the pool."
        )
        self._failovers = seconds("aioaurora.failover.duration", "From a search's start to a new writer.", _FAILOVER_S)
        self._searches = count("aioaurora.searches", "search", "Searches for a writer that was lost or silent.")
        self._suspicions = count("aioaurora.suspicions", "suspicion", "Heartbeats whose answer was late.")
        self._losses = count("aioaurora.instances.lost", "loss", "Instances that were written off.")
        self._aborts = count("aioaurora.connections.aborted", "connection", "Connections that were cut.")
        self._outcomes = count("aioaurora.outcomes", "error", "Errors that say what became of the work, by outcome.")
        self._events = count("aioaurora.events", "event", "What happened, by the event's name.")

    # --- operations --------------------------------------------------------------------------------------------

    def begun(self, said: str | bytes, labels: Labels, schema: str | None) -> Span | None:
        """Begin the span of an operation; None: nobody looks at it."""
        if self._tracer is None:
            return None
        summary = summary_of(said)
        span = self._tracer.start_span(summary or "mysql", kind=SpanKind.CLIENT)
        if span.is_recording():
            span.set_attributes(labels)
            if summary:
                span.set_attribute("db.query.summary", summary)
            if schema:
                span.set_attribute("db.namespace", schema)
        return span

    def ended(self, span: Span | None, duration_s: float, labels: Labels, error: BaseException | None = None) -> None:
        """Take the end of an operation in."""
        told: Labels = {} if error is None else _told_of(error)
        self._operations.record(duration_s, labels | told if told else labels)
        if span is None:
            return
        if error is not None and span.is_recording():
            span.set_attributes(told)
            outcome = getattr(error, "outcome", None)
            if outcome is not None:
                span.set_attribute(OUTCOME, str(outcome))
            span.set_status(Status(StatusCode.ERROR))  # Its text may hold values: it stays with the caller.
        span.end()

    def waiting(self, pool: Labels) -> Span | None:
        """Begin the span of a wait for a connection of a pool; None: nobody looks at it."""
        if self._tracer is None:
            return None
        return self._tracer.start_span("aioaurora.pool.acquire", attributes=pool)

    def waited(self, span: Span | None, duration_s: float, pool: Labels, error: BaseException | None = None) -> None:
        """Take the end of a wait in; who waited in vain is counted elsewhere."""
        if error is None:
            self.waits.record(duration_s, pool)
        if span is not None:
            if error is not None:
                span.set_attribute(ERROR, type(error).__name__)
                span.set_status(Status(StatusCode.ERROR))
            span.end()

    def became(self, outcome: object, cluster: str, instance: str, role: Role | None) -> None:
        """Count an error that says what became of the work."""
        labels = {CLUSTER: cluster, INSTANCE: instance, OUTCOME: str(outcome)}
        self._outcomes.add(1, labels | ({ROLE: str(role)} if role else {}))

    # --- events ------------------------------------------------------------------------------------------------

    def hear(self, event: events.Event) -> None:
        """Take in what happened in a cluster: a listener."""
        cluster = {CLUSTER: event.cluster}
        self._events.add(1, cluster | {EVENT: event.name})
        match event:
            case events.FailoverStarted():
                self._searches.add(1, cluster)
            case events.FailoverFinished():
                self._failovers.record(event.duration_s, cluster)
                self._show(event)
            case events.InstanceSuspected(instance=instance):
                self._suspicions.add(1, cluster | {INSTANCE: instance})
            case events.InstanceLost(instance=instance):
                self._losses.add(1, cluster | {INSTANCE: instance})
            case events.StatementsAborted(instance=instance, count=count):
                self._aborts.add(count, cluster | {INSTANCE: instance})
            case _:
                pass

    def _show(self, failover: events.FailoverFinished) -> None:
        """Make a span of a failover: a trace of its own, whatever task heard of it."""
        if self._tracer is None:
            return
        ended_ns = time.time_ns()
        span = self._tracer.start_span(
            "aioaurora.failover",
            context=Context(),
            attributes={
                CLUSTER: failover.cluster,
                INSTANCE: failover.new_writer,
                "aioaurora.failover.old_writer": failover.old_writer or "",
                "aioaurora.failover.epoch": failover.epoch,
                "aioaurora.failover.connections_aborted": failover.connections_aborted,
            },
            start_time=ended_ns - int(failover.duration_s * 1e9),
        )
        span.end(ended_ns)


def _told_of(error: BaseException) -> Labels:
    """Give what is told of an error: its class, and the server's number for it where it has one."""
    told: Labels = {ERROR: type(error).__name__}
    errno = errno_of(error) if isinstance(error, MySQLError) else None
    if errno:
        told[STATUS] = str(errno)
    return told


def summary_of(said: str | bytes) -> str:
    """Give the word that a statement begins with; nothing if it is none of SQL's own."""
    start = said[:_LOOKED_AT]
    found = _FIRST_WORD.match(start if isinstance(start, str) else start.decode("latin-1"))
    word = found[1].upper() if found else ""
    return word if word in _WORDS else ""
