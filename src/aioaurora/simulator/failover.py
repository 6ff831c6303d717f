"""A failover: the writer falls, a reader restarts and is promoted, the old writer comes back as a reader.

    fault ---------- promote_after ---------> promoted ----- dns_lag -----> dns_moved
             |-- target_down_for -------|     promoted ----- returns_after ------------> returned
                 (target's restart)

One that begins while another is under way takes its place: the instance that was being promoted falls.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from aioaurora.errors import Role
from aioaurora.simulator.conditions import View, refuse_bad_seconds
from aioaurora.simulator.patching import patched, set_access
from aioaurora.simulator.relay import Ending

if TYPE_CHECKING:
    from aioaurora.simulator.back import Back
    from aioaurora.simulator.core import ClusterCore
    from aioaurora.simulator.server import Server

Mode: TypeAlias = Literal["graceful", "crash", "blackhole"]
ENDINGS: dict[str, Ending] = {"graceful": Ending.FIN, "crash": Ending.RST, "blackhole": Ending.SILENCE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a failover goes; all times in seconds.

    Attributes:
        mode: How clients see the old writer end: FIN, RST, or silence.
        promote_after: From the fault to the moment when the new writer accepts connections and says writable.
        target_down_for: How long the target refuses, at the end of `promote_after`.
        returns_after: From the promotion until the old writer is back as a reader.
        dns_lag: From the promotion until the cluster endpoint names the new writer.
        undo_takes: From the promotion until row locks of the old writer's transactions are gone.
        accepts: Whether a silent writer's address still accepts connections, though it never greets.
    """

    mode: Mode = "graceful"
    promote_after: float = 2.0
    target_down_for: float = 2.0
    returns_after: float = 5.0
    dns_lag: float = 2.0
    undo_takes: float = 0.0
    accepts: bool = True

    def __post_init__(self) -> None:
        if self.mode not in ENDINGS:
            raise ValueError(f"mode {self.mode!r}: choose from {', '.join(ENDINGS)}")
        refuse_bad_seconds(
            promote_after=self.promote_after,
            target_down_for=self.target_down_for,
            returns_after=self.returns_after,
            dns_lag=self.dns_lag,
            undo_takes=self.undo_takes,
        )

    @property
    def down_for(self) -> float:
        """How long the target refuses: never longer than the failover takes."""
        return min(self.target_down_for, self.promote_after)


class Failovers:
    """The failovers of one cluster, of which the newest counts."""

    def __init__(self, cluster: ClusterCore) -> None:
        self._cluster = cluster
        self._newest = 0
        self._coming: Server | None = None
        self._promoted = asyncio.Event()
        self._returns: dict[str, asyncio.Task[None]] = {}

    @property
    def coming(self) -> Server | None:
        """The instance that is being promoted."""
        return self._coming

    def has(self, instance: Server) -> bool:
        """Say whether a failover that is under way decides when this instance comes up, and as what."""
        return self._coming is not None and (instance is self._coming or instance.role is Role.WRITER)

    async def run(self, plan: Plan, to: str | None) -> None:
        """Carry a failover out; returns when the promotion has happened, this one's or the one that took its place.

        Cancelling ends the waiting, not the failover.
        """
        due = asyncio.get_running_loop().time() + plan.promote_after
        old, target = self._cast(to)
        mine = self._begin(old, target)
        self._cluster.timeline.add("fault", old.id, fault="failover", mode=plan.mode, to=target.id)
        backs = old.fall(ENDINGS[plan.mode], accepts=plan.accepts)
        await asyncio.shield(self._cluster.tasks.own(self._carry_out(plan, old, target, backs, due=due, mine=mine)))

    async def double(self, to: str | None, *, promote_after: float, dns_lag: float) -> None:
        """Promote an instance beside the writer, which is fenced; a failover takes its place, `heal()` ends it."""
        if self._coming is not None:
            raise ValueError(f"{self._coming.id!r} is being promoted: wait for that")
        old, target = self._cast(to)
        mine = self._begin(old, target)
        self._cluster.timeline.add("fault", old.id, fault="two_writers", to=target.id)
        old.state.conditions.is_fenced = True
        old.state.conditions.view = View(is_stale=True)
        work = self._doubled(old, target, mine, promote_after=promote_after, dns_lag=dns_lag)
        await asyncio.shield(self._cluster.tasks.fault(work))

    async def _doubled(self, old: Server, target: Server, mine: int, *, promote_after: float, dns_lag: float) -> None:
        cluster = self._cluster
        old.desk.changed()
        await set_access(cluster, old, "READ ONLY")
        await patched(cluster, old, silent_for=0.0)
        if await cluster.tasks.lasting(0.0):
            await self._restart(target)
        lasted = await cluster.tasks.lasting(promote_after)
        if mine != self._newest:
            return
        if not lasted:
            self._coming = None
            return
        self._rise(old, target)
        cluster.tasks.own(self._move_names(dns_lag))
        await cluster.publish()

    async def _carry_out(
        self, plan: Plan, old: Server, target: Server, backs: list[Back], *, due: float, mine: int
    ) -> None:
        cluster = self._cluster
        undone = asyncio.Event() if plan.undo_takes > 0 else None
        undoing = cluster.tasks.own(cluster.undo(backs, old.id, due=undone))
        await _sleep_until(due - plan.down_for)
        if mine == self._newest:
            await self._restart(target)
            await _sleep_until(due)
        await undoing
        if mine == self._newest:
            await cluster.publish(writer=target.id, also_up=(target.id,))
        if mine == self._newest:
            self._promote(old, target)
            cluster.tasks.own(self._move_names(plan.dns_lag))
        await self._promoted.wait()
        if undone is not None:
            asyncio.get_running_loop().call_later(plan.undo_takes, undone.set)
        self.bring_back(old, plan.returns_after)

    def bring_back(self, old: Server, after: float) -> None:
        """Let a fallen instance return as a reader, `after` seconds from now, unless it is up already."""
        if not old.is_up:
            self._stay_down(old)
            self._returns[old.id] = self._cluster.tasks.own(self._return(old, after))

    def _stay_down(self, instance: Server) -> None:
        former = self._returns.pop(instance.id, None)
        if former is not None:
            former.cancel()

    def _cast(self, to: str | None) -> tuple[Server, Server]:
        cluster = self._cluster
        old = self._coming or cluster.writer
        if to is not None:
            target = cluster.instance(to)
        else:
            # A reader that is up; else one that is down, of which the fallen writer is the last choice.
            others = [each for each in cluster.instances.values() if each is not old]
            others.sort(key=lambda each: (each.role is Role.WRITER, not each.is_up))
            if not others:
                raise ValueError("a cluster of one instance cannot fail over: use restart()")
            target = others[0]
        if target is old:
            raise ValueError(f"{target.id!r} is the writer already")
        return old, target

    def _begin(self, old: Server, target: Server) -> int:
        self._newest += 1
        self._coming = target
        self._promoted.clear()
        self._stay_down(old)
        self._stay_down(target)
        return self._newest

    async def _restart(self, target: Server) -> None:
        """Take the target down: it is promoted by a restart, so its sessions end and it refuses."""
        if target.is_up:
            cluster = self._cluster
            cluster.timeline.add("restarting", target.id)
            await cluster.undo(target.fall(Ending.FIN), target.id)

    def _promote(self, old: Server, target: Server) -> None:
        cluster = self._cluster
        for each in cluster.instances.values():
            if each.role is Role.WRITER:
                each.state.role = Role.READER
                each.desk.changed()
        self._rise(old, target)

    def _rise(self, old: Server, target: Server) -> None:
        target.rise(Role.WRITER)
        self._coming = None
        self._promoted.set()
        self._cluster.timeline.add("promoted", target.id, old=old.id)

    async def _move_names(self, lag: float) -> None:
        await asyncio.sleep(lag)
        if self._coming is None:
            self._cluster.point_names()

    async def _return(self, old: Server, after: float) -> None:
        await asyncio.sleep(after)
        if old.is_up or old is self._coming or old.role is Role.WRITER or not self._cluster.has(old):
            return
        old.rise(Role.READER)
        self._cluster.timeline.add("returned", old.id)
        if self._coming is None:
            self._cluster.point_names()
        await self._cluster.publish()


async def _sleep_until(due: float) -> None:
    await asyncio.sleep(max(due - asyncio.get_running_loop().time(), 0))
