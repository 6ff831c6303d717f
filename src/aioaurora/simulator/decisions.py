"""What a connection asks of its instance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from aioaurora.simulator.refusals import Refusal

Front_contra = TypeVar("Front_contra", contravariant=True)  # The connection that asks.


@dataclass(frozen=True, slots=True)
class Order:
    """What the engine is to do, and the error that its last OK is told as."""

    text: bytes
    refusal: Refusal | None = None


class Desk(Protocol[Front_contra]):
    """What an instance decides about the commands that reach it."""

    @property
    def latency_s(self) -> float:
        """Seconds by which every answer is late."""
        ...

    def order(self, front: Front_contra, command: int, text: bytes) -> Order | None:
        """Decide about a text that is to be run, prepared, or executed after that; None: the engine gets nothing."""
        ...

    def error(self, front: Front_contra, data: bytes) -> bytes | None:
        """Return the ERR packet that the client gets for one of the engine's, None for nothing."""
        ...

    def engine_id_of(self, connection_id: int) -> int | None:
        """Return the engine's id of one of the instance's sessions."""
        ...

    async def reset(self, front: Front_contra, command: bytes) -> bytes:
        """Carry out COM_RESET_CONNECTION or COM_CHANGE_USER at the engine; return the final payload."""
        ...

    def gone(self, front: Front_contra) -> None:
        """Take the connection out of the books."""
