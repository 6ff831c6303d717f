"""What the monitor needs of an application's connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from aioaurora._io.kernel import Signs
    from aioaurora.errors import Role


class Held(Protocol):
    """A connection that an application holds."""

    role: Role | None

    @property
    def closed(self) -> bool:
        """Whether it is closed."""

    def thread_id(self) -> int:
        """Give the server's number of it."""
        ...

    def lose(self, detail: str) -> None:
        """End it: its server is gone."""

    def signs(self) -> Signs | None:
        """Give the kernel's view of it."""
