"""The asyncio smart driver for Amazon Aurora MySQL.

It asks the database who the writer is, connects to instance endpoints directly, and is back on the new writer one
round trip after its promotion. `connect` takes what `aiomysql.connect` takes; `Cluster` is for programs with several
connections.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

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
    PoolClosed,
    PoolTimeout,
    Role,
    TooManyWaiting,
    TransactionLost,
    WriterDemoted,
    WriterUnavailable,
    WrongLoop,
    WrongProcess,
)
from aioaurora.loner import connect

if TYPE_CHECKING:
    from aioaurora.making import Making, create_pool
    from aioaurora.pool import Pool
    from aioaurora.retrying import Attempt, Attempts
    from aioaurora.stats import InstanceStats, PoolStats
    from aioaurora.waiting import Acquiring, Ending

__version__ = "0.1.0"

__all__ = [
    "Acquiring",
    "AioauroraError",
    "Attempt",
    "Attempts",
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
    "Ending",
    "Endpoint",
    "EndpointKind",
    "Error",
    "Health",
    "Instance",
    "InstanceStats",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "InvalidEndpoint",
    "Making",
    "Mode",
    "MySQLError",
    "NoReader",
    "NoWriter",
    "NotSupportedError",
    "OperationalError",
    "Outcome",
    "OutcomeUnknown",
    "Pool",
    "PoolClosed",
    "PoolStats",
    "PoolTimeout",
    "ProgrammingError",
    "Role",
    "SSCursor",
    "SSDictCursor",
    "TooManyWaiting",
    "Topology",
    "TransactionLost",
    "Warning",
    "WriterDemoted",
    "WriterUnavailable",
    "WrongLoop",
    "WrongProcess",
    "connect",
    "create_pool",
]

# Imported when they are asked for: who has no pool need not wait for it.
_LATER = {
    "Acquiring": "waiting",
    "Attempt": "retrying",
    "Attempts": "retrying",
    "Ending": "waiting",
    "InstanceStats": "stats",
    "Making": "making",
    "Pool": "pool",
    "PoolStats": "stats",
    "create_pool": "making",
}


def __getattr__(name: str) -> object:
    module = _LATER.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{module}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
