"""What can happen in a cluster, as frozen values with dotted names."""

from __future__ import annotations

from typing import ClassVar

from aioaurora._core.frozen import Event, Level, frozen

# --- topology -------------------------------------------------------------------------------------------------------


@frozen
class TopologyChanged(Event):
    """Instances came or went, or roles changed.

    Attributes:
        epoch: How often the writer has changed.
        writer: Id of the writer; None: there is none.
        readers: Ids of the readers, sorted.
    """

    name: ClassVar[str] = "aioaurora.topology.changed"

    epoch: int
    writer: str | None
    readers: tuple[str, ...]


@frozen
class RowsIgnored(Event):
    """Rows of the topology table were left out: their id cannot be a host name. Said when there are others than before.

    Attributes:
        server_ids: What all such rows call themselves, as it was read, sorted.
        why: Reason.
    """

    name: ClassVar[str] = "aioaurora.topology.rows_ignored"

    server_ids: tuple[str, ...]
    why: str


@frozen
class MonitorFailed(Event):
    """The monitor itself broke down: a fault of this package, said at the next connect too.

    Attributes:
        error: Type and text of the exception.
    """

    name: ClassVar[str] = "aioaurora.monitor.failed"
    level: ClassVar[Level] = Level.ERROR

    error: str


# --- failover -------------------------------------------------------------------------------------------------------


@frozen
class FailoverStarted(Event):
    """The writer is lost, silent or no writer any more: it is being sought.

    Attributes:
        epoch: Of the writer that is in doubt.
        writer: Its id; None: none was known.
        cause: What was noticed.
    """

    name: ClassVar[str] = "aioaurora.failover.started"
    level: ClassVar[Level] = Level.WARNING

    epoch: int
    writer: str | None
    cause: str


@frozen
class FailoverFinished(Event):
    """Another instance was verified as the writer.

    Attributes:
        epoch: The new one.
        old_writer: Id; None: none was known.
        new_writer: Id.
        duration_s: Seconds since the search started.
        connections_aborted: How many connections were cut meanwhile.
    """

    name: ClassVar[str] = "aioaurora.failover.finished"
    level: ClassVar[Level] = Level.WARNING

    epoch: int
    old_writer: str | None
    new_writer: str
    duration_s: float
    connections_aborted: int


@frozen
class SearchEnded(Event):
    """The same writer came back: no failover.

    Attributes:
        epoch: Unchanged.
        writer: Id.
        duration_s: Seconds since the search started.
        connections_aborted: How many connections were cut meanwhile.
    """

    name: ClassVar[str] = "aioaurora.failover.called_off"
    level: ClassVar[Level] = Level.WARNING

    epoch: int
    writer: str
    duration_s: float
    connections_aborted: int = 0


# --- instances and connections --------------------------------------------------------------------------------------


@frozen
class InstanceSuspected(Event):
    """A heartbeat's answer is late; nothing is cut yet.

    Attributes:
        instance: Id.
        silent_s: Seconds since it was asked.
    """

    name: ClassVar[str] = "aioaurora.instance.suspected"
    level: ClassVar[Level] = Level.DEBUG

    instance: str
    silent_s: float


@frozen
class InstanceLost(Event):
    """An instance was written off: connections to it are useless.

    Attributes:
        instance: Id.
        cause: What was noticed.
        connections: How many the application has there; those that are cut are told of by `StatementsAborted`.
    """

    name: ClassVar[str] = "aioaurora.instance.lost"
    level: ClassVar[Level] = Level.DEBUG

    instance: str
    cause: str
    connections: int


@frozen
class ConnectionOpened(Event):
    """The application got a connection, its role checked. Those of heartbeats and probes are not told of.

    Attributes:
        instance: Id.
        role: "writer" or "reader", as the instance said; None: neither, as it held writes back.
        why: What it was made for: "connect", or a "ping" that reconnects.
    """

    name: ClassVar[str] = "aioaurora.connection.opened"
    level: ClassVar[Level] = Level.DEBUG

    instance: str
    role: str | None
    why: str


@frozen
class ConnectionClosed(Event):
    """A connection of the application ended: once for each `ConnectionOpened`.

    Attributes:
        instance: Id.
        role: As it was when it was opened.
        why: "closed" by its owner, or what went wrong.
    """

    name: ClassVar[str] = "aioaurora.connection.closed"
    level: ClassVar[Level] = Level.DEBUG

    instance: str
    role: str | None
    why: str


@frozen
class StatementsAborted(Event):
    """Connections to an instance were cut; who waits on one, or uses it next, gets an error with its own outcome.

    Attributes:
        instance: Id.
        count: How many connections.
        why: What was noticed.
    """

    name: ClassVar[str] = "aioaurora.statements.aborted"
    level: ClassVar[Level] = Level.DEBUG

    instance: str
    count: int
    why: str


@frozen
class StatementKilled(Event):
    """A statement that its caller gave up was ended in the server too.

    Attributes:
        instance: Id.
        thread_id: The server's number of the connection.
    """

    name: ClassVar[str] = "aioaurora.statement.killed"
    level: ClassVar[Level] = Level.DEBUG

    instance: str
    thread_id: int


@frozen
class ReaderFallback(Event):
    """A reader was asked for and the writer given, as there is no reader.

    Attributes:
        instance: Id of the writer.
    """

    name: ClassVar[str] = "aioaurora.reader.fell_back"
    level: ClassVar[Level] = Level.DEBUG

    instance: str


# --- names and TLS --------------------------------------------------------------------------------------------------


@frozen
class DnsStale(Event):
    """DNS did not answer: an older address is used. Said once for each host until DNS answers again.

    Attributes:
        host: Name that was asked for.
        age_s: Seconds since DNS said so.
    """

    name: ClassVar[str] = "aioaurora.dns.stale"

    host: str
    age_s: float


@frozen
class DnsFallback(Event):
    """The system resolver knew what DNS did not. Said once for each host until DNS answers again.

    Attributes:
        host: Name that was asked for.
        why: What DNS said.
    """

    name: ClassVar[str] = "aioaurora.dns.fell_back"

    host: str
    why: str


@frozen
class TlsUnverified(Event):
    """Connections to RDS are encrypted, but nobody proved who is at the other end. Said once.

    Attributes:
        host: The endpoint.
        advice: How to verify.
    """

    name: ClassVar[str] = "aioaurora.tls.unverified"

    host: str
    advice: str = (
        'download https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem and pass ssl="global-bundle.pem"'
    )


@frozen
class Withheld(Event):
    """With `follow="observe"`: what would have been done to connections, and was not.

    Attributes:
        what: "abort": they would have been cut; "expire": the pool would have handed them out no more.
        instance: Id of the instance that they lead to.
        count: How many connections.
        why: What was noticed.
    """

    name: ClassVar[str] = "aioaurora.observe.withheld"

    what: str
    instance: str
    count: int
    why: str


@frozen
class ChoiceWithheld(Event):
    """With `follow="observe"`: the endpoint led a connection elsewhere than it would have been led to.

    Attributes:
        role: What was asked for; None: any.
        instance: Where the endpoint led.
        choice: The writer, where that was asked for; None: the connection would have waited for one.
    """

    name: ClassVar[str] = "aioaurora.observe.choice_withheld"
    level: ClassVar[Level] = Level.DEBUG

    role: str | None
    instance: str
    choice: str | None


@frozen
class NotFollowed(Event):
    """Nothing behind this name is followed: a proxy, a socket or follow="off", or observing failed. Said once.

    Attributes:
        host: The endpoint.
        why: Reason.
    """

    name: ClassVar[str] = "aioaurora.topology.not_followed"

    host: str
    why: str
