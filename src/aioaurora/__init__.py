"""The asyncio smart driver for Amazon Aurora MySQL.

It asks the database who the writer is, connects to instance endpoints directly, and is back on the new writer one
round trip after its promotion. `connect` takes what `aiomysql.connect` takes; `Cluster` is for programs with several
connections.
"""

from __future__ import annotations

from aiomysql import Cursor, DictCursor, SSCursor, SSDictCursor
from pymysql.err import (
    DatabaseError,
    DataError,
    Error,
    IntegrityError,
    InterfaceError,
    InternalError,
    MySQLError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    Warning,  # noqa: A004 - DB-API 2.0 calls it so.
)

from aioaurora._core.endpoint import Endpoint, EndpointKind
from aioaurora._core.observation import Mode
from aioaurora._core.topology import Health, Instance, Topology
from aioaurora.cluster import Cluster
from aioaurora.connecting import Connecting
from aioaurora.connection import Connection
from aioaurora.credentials import Credentials
from aioaurora.errors import (
    AioauroraError,
    CommitOutcomeUnknown,
    ConfigurationError,
    ConnectionBusy,
    ConnectionLost,
    ConnectTimeout,
    InvalidEndpoint,
    NoReader,
    NoWriter,
    Outcome,
    OutcomeUnknown,
    Role,
    TransactionLost,
    WriterDemoted,
    WriterUnavailable,
    WrongLoop,
    WrongProcess,
)
from aioaurora.loner import connect

__version__ = "0.1.0"

__all__ = [
    "AioauroraError",
    "Cluster",
    "CommitOutcomeUnknown",
    "ConfigurationError",
    "ConnectTimeout",
    "Connecting",
    "Connection",
    "ConnectionBusy",
    "ConnectionLost",
    "Credentials",
    "Cursor",
    "DataError",
    "DatabaseError",
    "DictCursor",
    "Endpoint",
    "EndpointKind",
    "Error",
    "Health",
    "Instance",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "InvalidEndpoint",
    "Mode",
    "MySQLError",
    "NoReader",
    "NoWriter",
    "NotSupportedError",
    "OperationalError",
    "Outcome",
    "OutcomeUnknown",
    "ProgrammingError",
    "Role",
    "SSCursor",
    "SSDictCursor",
    "Topology",
    "TransactionLost",
    "Warning",
    "WriterDemoted",
    "WriterUnavailable",
    "WrongLoop",
    "WrongProcess",
    "connect",
]
