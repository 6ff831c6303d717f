"""What an instance says of itself, and of the session that asks, as SQL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aioaurora.simulator.control import literal

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What an instance says of itself, whoever asks.

    Attributes:
        keeps_read_only: Whether its sessions are read-only in the engine, whatever they say of themselves.
    """

    server_id: str
    schema: str
    number: int
    port: int
    version: str
    aurora_version: str
    innodb_read_only: bool
    read_only: bool
    keeps_read_only: bool
    is_mariadb: bool

    def variables(self) -> dict[str, str]:
        """System variables as SQL, by name."""
        found = {
            "aurora_server_id": literal(self.server_id),
            "aurora_version": literal(self.aurora_version),
            "hostname": literal(self.server_id),
            "innodb_read_only": str(int(self.innodb_read_only)),
            "port": str(self.port),
            "read_only": str(int(self.read_only)),
            "server_id": str(self.number),
            "super_read_only": "0",
            "version": literal(self.version),
            "version_comment": "'Source distribution'",
        }
        if self.is_mariadb:
            found |= {"transaction_isolation": "@@tx_isolation", "transaction_read_only": "@@tx_read_only"}
        if self.keeps_read_only:
            found |= {"transaction_read_only": "0", "tx_read_only": "0"}
        return found


@dataclass(frozen=True, slots=True)
class Asker:
    """The session that asks: its id at the instance, who is logged in, and the engine's ids of all sessions."""

    connection_id: int
    user: str
    sessions: Mapping[int, int]

    def functions(self, facts: Facts) -> dict[str, str]:
        """Functions as SQL, by name."""
        client = literal(f"{self.user}@127.0.0.1")
        return {
            "aurora_version": literal(facts.aurora_version),
            "version": literal(facts.version),
            "connection_id": str(self.connection_id),
            "current_user": literal(f"{self.user}@%"),
            "user": client,
            "session_user": client,
            "system_user": client,
        }
