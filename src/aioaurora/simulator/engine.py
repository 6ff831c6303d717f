"""The engine that plays the shared storage volume: what every kind of it offers to the simulated instances.

Beside what the clients say, the simulator itself sends an engine:

    CREATE DATABASE `aurora_5f0c9a1e_1`
    CREATE TABLE `aurora_5f0c9a1e_1`.replica_host_status (... PRIMARY KEY (SERVER_ID)) ENGINE=MEMORY
    SELECT NOW(6)
    REPLACE INTO `aurora_5f0c9a1e_1`.replica_host_status (...) VALUES (...), (...)
    DELETE FROM `aurora_5f0c9a1e_1`.replica_host_status WHERE SERVER_ID NOT IN ('db-1', 'db-2')
    SELECT ID, COMMAND FROM information_schema.PROCESSLIST WHERE ID IN (7, 8)
    KILL 7; KILL QUERY 7; ROLLBACK
    SET SESSION TRANSACTION READ ONLY
    SET character_set_client = @@global.character_set_client, character_set_results = ..., collation_connection = ...
    DO 0

It answers `SELECT @@innodb_read_only` and the like itself, as literals: `SELECT 0 AS "@@innodb_read_only"`, with
backticks about the alias.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import socket


class SimulatorError(RuntimeError):
    """The simulator cannot do what was asked; the sentence says what to install or write instead."""


class Engine(Protocol):
    """One MySQL-compatible server that all instances of a simulated cluster stand in front of.

    Attributes:
        name: "mariadb", "dsn" or "memory".
        is_mariadb: Whether it spells variables and collations as MariaDB does; the instances translate them.
        user: The account that the instances log in with; it may create schemas and kill sessions.
        password: Of that account.
    """

    name: str
    is_mariadb: bool
    user: str
    password: str

    async def start(self) -> None:
        """Make it ready for connections; raises SimulatorError with what to install when it cannot."""

    async def stop(self) -> None:
        """End it and remove what it left behind."""

    async def open(self) -> socket.socket:
        """Return a connected non-blocking socket that speaks the MySQL protocol, its greeting not yet read."""
        ...
