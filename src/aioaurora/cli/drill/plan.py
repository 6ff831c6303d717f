"""What a drill is to do: from the command line, or from a test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

Mode = Literal["graceful", "crash", "blackhole"]
MODES: tuple[Mode, ...] = ("graceful", "crash", "blackhole")
EngineName = Literal["auto", "mariadb", "memory", "dsn"]
ENGINES: tuple[EngineName, ...] = ("auto", "mariadb", "memory", "dsn")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A drill; durations are seconds.

    Attributes:
        engine: What plays the shared storage.
        dsn: For the engine "dsn".
        instances: Of the cluster, at least 2.
        clients: Writers of each kind.
        rounds: How often the series of failovers is run.
        modes: How the writer goes, in turn.
        promote_after: From the fault to the promotion; with several, each mode is run with each.
        seed: Of all that is left to chance.
    """

    engine: EngineName = "auto"
    dsn: str | None = None
    instances: int = 3
    clients: int = 8
    rounds: int = 1
    modes: tuple[Mode, ...] = MODES
    promote_after: tuple[float, ...] = (3.0,)
    seed: int = 0

    @property
    def readers(self) -> int:
        """How many clients read."""
        return max(self.clients // 4, 1)

    def failovers(self) -> Iterator[tuple[Mode, float]]:
        """Yield each failover's mode and time to promotion."""
        for _ in range(self.rounds):
            for promote_after in self.promote_after:
                for mode in self.modes:
                    yield mode, promote_after

    def __len__(self) -> int:
        """How many failovers."""
        return self.rounds * len(self.modes) * len(self.promote_after)
