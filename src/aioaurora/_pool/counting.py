"""What a pool counts as it goes, and what it says of itself."""

from __future__ import annotations

import bisect
from collections import Counter
from typing import TYPE_CHECKING

from aioaurora._core.failover import Searching
from aioaurora._io.driver import sentence_of
from aioaurora.errors import Role
from aioaurora.stats import WAITED_S, InstanceStats, PoolStats

if TYPE_CHECKING:
    from aioaurora._core.failover import Phase
    from aioaurora._core.shares import Side
    from aioaurora._core.slots import Books
    from aioaurora._core.topology import Topology
    from aioaurora.waiting import Waiter


class Counts:
    """What a pool counts as it goes."""

    __slots__ = (
        "at_once", "closed", "failed", "in_line", "later", "opened", "refused", "tidied", "timed_out", "units", "waits",
    )  # fmt: skip

    def __init__(self) -> None:
        self.at_once = self.in_line = self.later = self.timed_out = self.refused = 0
        self.opened = self.failed = self.tidied = self.units = 0
        self.closed: Counter[str] = Counter()
        self.waits = [0] * (len(WAITED_S) + 1)

    def waited(self, seconds: float) -> None:
        """Count somebody who had to wait and was served."""
        self.waits[bisect.bisect_left(WAITED_S, seconds)] += 1


def stats_of(books: Books, counts: Counts) -> PoolStats:
    """Take the numbers of a pool as they are now."""
    instances = tuple(
        InstanceStats(
            instance=share.id or None,
            role=side.role,
            size=share.size,
            idle=len(share.idle),
            leased=share.leased,
            opening=share.opening,
        )
        for side in books.sides.values()
        for share in side.shares.values()
        if share.size
    )
    return PoolStats(
        size=sum(each.size for each in instances),
        idle=sum(each.idle for each in instances),
        leased=sum(each.leased for each in instances),
        opening=sum(each.opening for each in instances),
        waiting=books.waiting,
        units=counts.units,
        instances=instances,
        requests=counts.at_once + counts.in_line,
        served=counts.at_once + counts.later,
        waited=sum(counts.waits),
        timed_out=counts.timed_out,
        refused=counts.refused,
        opened=counts.opened,
        failed=counts.failed,
        closed=dict(counts.closed),
        tidied=counts.tidied,
        wait_histogram=tuple(zip((*WAITED_S, None), counts.waits, strict=True)),
    )


def shortage(
    books: Books,
    topology: Topology,
    waiter: Waiter,
    *,
    waited_s: float,
    phase: Phase,
    failure: BaseException | None,
) -> str:
    """Say what somebody waited for in vain, and what pool and topology look like."""
    side = books.side_of(waiter.role, waiter.instance)
    hindrance = _hindrance(books, topology, side, waiter.instance)
    what = f"to {waiter.instance!r}" if waiter.instance else f"to a {side.role}" if side.role else "to any instance"
    search = f"; the writer is being sought: {phase.cause}" if isinstance(phase, Searching) else ""
    last = f"; the last connect failed: {sentence_of(failure)}" if failure is not None else ""
    return (
        f"no connection {what} of {topology.cluster!r} within {waited_s:.1f} s: "
        f"{side.leased} of {side.maxsize} leased, {side.idle} idle, {side.opening} opening, {books.waiting} waiting; "
        f"writer {topology.writer_id or 'none'} (epoch {topology.epoch}), "
        f"readers {', '.join(each.id for each in topology.readers) or 'none'}{hindrance}{search}{last}"
    )


def _hindrance(books: Books, topology: Topology, side: Side, instance: str | None) -> str:
    """Say what keeps a connection from somebody though its instance lives."""
    if instance is not None:
        return "" if side.role is None or instance in side.able else _other_role(topology, instance)
    if side.role is not Role.READER:
        return ""
    limits, laggards = books.limits, books.laggards
    told = f"; more than max_lag={limits.max_lag} s behind: {', '.join(laggards)}" if laggards else ""
    if books.is_share_used_up:
        told += f"; the writer serves {limits.stand_ins_most} in place of a reader: all that fallback_share allows"
    return told


def _other_role(topology: Topology, instance: str) -> str:
    if instance == topology.writer_id:
        return f"; {instance} is the writer"
    return f"; {instance} is a reader" if any(each.id == instance for each in topology.readers) else ""
