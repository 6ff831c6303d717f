"""One simulated instance, as those see it who use the cluster; what it does is in `server.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aioaurora.errors import Role
    from aioaurora.simulator.conditions import Knock, State


class SimulatedInstance:
    """An instance of a simulated cluster: who it is and how it does. What can be done to it are calls on the cluster.

    Attributes:
        host: Its endpoint's name.
    """

    host: str

    def __init__(self, state: State, *, host: str, connections: Mapping[int, object]) -> None:
        self.host = host
        self._state, self._connections = state, connections

    def __repr__(self) -> str:
        how, count = "up" if self.is_up else "down", len(self._connections)
        return f"<SimulatedInstance {self.id} {self.role} {how} at {self.address}:{self.port} | {count} connections>"

    @property
    def id(self) -> str:
        """What `@@aurora_server_id` says."""
        return self._state.id

    @property
    def role(self) -> Role:
        """What it truly is."""
        return self._state.role

    @property
    def address(self) -> str:
        """Where it listens."""
        return self._state.address

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._state.port

    @property
    def is_up(self) -> bool:
        """Whether it serves; a silent one does not."""
        return self._state.is_up

    @property
    def connection_ids(self) -> tuple[int, ...]:
        """The connections that have logged in, by what `CONNECTION_ID()` says in them."""
        return tuple(self._connections)

    @property
    def knocks(self) -> tuple[Knock, ...]:
        """The newest log-ins that are over, whatever came of them, oldest first."""
        return tuple(self._state.knocks)

    @property
    def peak_handshakes(self) -> int:
        """The most log-ins that were under way at once so far."""
        return self._state.peak_handshakes
