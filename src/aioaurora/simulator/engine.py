"""The engine that plays the shared storage volume: what every kind of it offers to the simulated instances."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import socket


class Engine(Protocol):
    """One MySQL-compatible server that all instances of a simulated cluster stand in front of.

    Attributes:
        name: "mariadb", "dsn" or "memory".
        is_mariadb: Whether it spells variables and collations as MariaDB does; the instances translate them.
        user: The account that the instances log in with; it may create schemas and kill sessions.
        password: Of that account (`mysql_native_password`).
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


class SimulatorError(RuntimeError):
    """The simulator cannot do what was asked; the sentence says what to install or write instead."""
