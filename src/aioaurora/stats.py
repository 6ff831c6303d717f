"""What a pool has done and what it looks like, as plain numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aioaurora._core.value import dataclass

if TYPE_CHECKING:
    from aioaurora.errors import Role

# Upper bounds of the classes of waiting times, in seconds; the last class has none.
WAITED_S = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceStats:
    """One instance's part of a pool, now.

    Attributes:
        instance: Its id; None: connections that are being opened to whoever holds the role.
        role: What its connections serve; None: any.
        size: Connections: idle, leased and being opened.
        idle: How many of them nobody has.
        leased: How many of them somebody has, or are being made clean.
        opening: How many of them are being opened.
    """

    instance: str | None
    role: Role | None
    size: int
    idle: int
    leased: int
    opening: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStats:
    """A pool's numbers. The first group are gauges, the second only ever grow.

    Attributes:
        size: Connections: idle, leased and being opened.
        idle: How many of them nobody has.
        leased: How many of them somebody has, or are being made clean.
        opening: How many of them are being opened.
        waiting: How many wait for one.
        units: Units of work under way, one-statement calls and pauses between two attempts included.
        instances: The same by instance and role.
        requests: How often a connection was asked for.
        served: How often one was handed out.
        waited: How many of those had to wait.
        timed_out: How many waited in vain.
        refused: How many were not let wait: `max_waiting`, `give_up_waiting_after`, or a closed pool.
        opened: Connections made.
        failed: Connects that failed.
        closed: Connections closed, by reason.
        tidied: Returned sessions that had to be made clean.
        wait_histogram: Pairs of an upper bound in seconds, None for the last, and how many of `waited` took no longer
            than that, and longer than the bound before.
    """

    size: int
    idle: int
    leased: int
    opening: int
    waiting: int
    units: int
    instances: tuple[InstanceStats, ...]
    requests: int
    served: int
    waited: int
    timed_out: int
    refused: int
    opened: int
    failed: int
    closed: dict[str, int]
    tidied: int
    wait_histogram: tuple[tuple[float | None, int], ...]
