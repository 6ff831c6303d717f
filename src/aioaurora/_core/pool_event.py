"""What can happen in a pool, as `event` tells of its cluster."""

from __future__ import annotations

from typing import ClassVar

from aioaurora._core.frozen import Event, Level, frozen


@frozen
class PoolServedLate(Event):
    """Somebody waited for a connection of a pool for a second or more, and got one.

    Attributes:
        role: What was asked for; None: any.
        instance: Whose connection it is.
        waited_s: Seconds.
    """

    name: ClassVar[str] = "aioaurora.pool.served_late"
    level: ClassVar[Level] = Level.DEBUG  # A thousand may wait through one failover.

    role: str | None
    instance: str
    waited_s: float


@frozen
class PoolTimedOut(Event):
    """Somebody waited for a connection of a pool in vain.

    Attributes:
        role: What was asked for; None: any.
        waited_s: Seconds.
    """

    name: ClassVar[str] = "aioaurora.pool.timed_out"
    level: ClassVar[Level] = Level.DEBUG  # As above; whoever asked has an error.

    role: str | None
    waited_s: float


@frozen
class PoolConnectFailed(Event):
    """A pool could not open a connection; it tries again where somebody waits, after a pause that grows.

    Attributes:
        role: Of the connection; None: any.
        instance: Whose it would have been; None: whoever holds the role.
        error: What went wrong.
        is_final: Whether trying again is of no use, so that those who wait were told.
    """

    name: ClassVar[str] = "aioaurora.pool.connect_failed"
    level: ClassVar[Level] = Level.DEBUG

    role: str | None
    instance: str | None
    error: str
    is_final: bool


@frozen
class PoolNotReached(Event):
    """With `wait_ready=False`: the first connect failed, and the pool goes on without its cluster. Said once.

    Attributes:
        error: What went wrong.
    """

    name: ClassVar[str] = "aioaurora.pool.not_reached"
    level: ClassVar[Level] = Level.WARNING

    error: str


@frozen
class PoolFailed(Event):
    """What a pool does by itself broke down: a fault of this package, or of a reader strategy.

    Or its task was cancelled by somebody else than the pool; then it hands out nothing any more.

    Attributes:
        error: Type and text of the exception.
    """

    name: ClassVar[str] = "aioaurora.pool.failed"
    level: ClassVar[Level] = Level.ERROR

    error: str
