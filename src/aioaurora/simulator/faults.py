"""What can go wrong with a simulated cluster: each one awaitable call, each undone by `await sim.heal()`.

`instance` is an id; where it is left out, the writer is meant, or all instances where that makes sense.
Failovers, switchovers and changes of the cluster's members are no faults but events: they stay.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

from aioaurora.errors import Role
from aioaurora.simulator.conditions import Fate, HostRow, Rule, View
from aioaurora.simulator.core import ClusterCore
from aioaurora.simulator.desk import KEEP_READ_ONLY
from aioaurora.simulator.failover import ENDINGS, Failovers, Mode, Plan
from aioaurora.simulator.patching import injected, patched
from aioaurora.simulator.relay import Ending

if TYPE_CHECKING:
    from collections.abc import Collection

    from aioaurora.simulator.engine import Engine
    from aioaurora.simulator.instance import SimulatedInstance
    from aioaurora.simulator.login import Account, Plugin
    from aioaurora.simulator.names import Names

_COMMIT = r"(?:release\s+savepoint\s+\S+\s*;\s*)?commit\b"


class Faults(ClusterCore):
    """A cluster's core, and all that can be done to it."""

    instances: dict[str, SimulatedInstance]

    def __init__(self, engine: Engine, names: Names, accounts: dict[str, Account], default_plugin: Plugin) -> None:
        super().__init__(engine, names, accounts, default_plugin)
        self._failovers = Failovers(self)

    # --- the writer changes -----------------------------------------------------------------------------------------

    async def failover(
        self,
        mode: Mode = "graceful",
        to: str | None = None,
        *,
        promote_after: float = 2.0,
        target_down_for: float = 2.0,
        returns_after: float = 5.0,
        dns_lag: float = 2.0,
        undo_takes: float = 0.0,
        accepts: bool = True,
    ) -> None:
        """Let the writer fall and another instance be promoted; returns at the promotion (see `failover.Plan`)."""
        plan = Plan(
            mode=mode,
            promote_after=promote_after,
            target_down_for=target_down_for,
            returns_after=returns_after,
            dns_lag=dns_lag,
            undo_takes=undo_takes,
            accepts=accepts,
        )
        await self._failovers.run(plan, to)

    async def two_writers(self, to: str | None = None, *, promote_after: float = 0.0, dns_lag: float = 2.0) -> None:
        """Promote another instance while the old writer, fenced, still says writable: it hangs on writes.

        Its sessions stay, their transactions are undone. It becomes a reader when healed.
        """
        old = self.writer
        target = self.instance(to) if to else next(each for each in self.readers if each.is_up)
        self.timeline.add("fault", old.id, fault="two_writers", to=target.id)
        old.state.conditions.is_fenced = True
        old.state.conditions.view = View(is_stale=True)
        old.desk.changed()
        await injected(self, old, KEEP_READ_ONLY)
        await patched(self, old, silent_for=0.0)
        await self.undo(target.fall(Ending.FIN), target.id)
        await asyncio.sleep(promote_after)
        target.rise(Role.WRITER)
        self.timeline.add("promoted", target.id, old=old.id)
        await self.publish()
        self.own(self._move_names_later(dns_lag))

    async def freeze(self) -> None:
        """Set `read_only` on the writer, as a switchover does: `innodb_read_only` stays 0, writes get 1290."""
        writer = self._noted("freeze", None)
        writer.state.conditions.is_frozen = True
        writer.desk.changed()
        await injected(self, writer, KEEP_READ_ONLY)

    async def restart(self, instance: str | None = None, *, mode: Mode = "graceful", down_for: float = 2.0) -> None:
        """Restart an instance in place: it comes back in the role that it had; returns when it is up again."""
        restarted = self._noted("restart", instance, mode=mode, down_for=down_for)
        await self.undo(restarted.fall(ENDINGS[mode]), restarted.id)
        await asyncio.sleep(down_for)
        if not restarted.is_up:
            restarted.rise(restarted.role)
            self.timeline.add("returned", restarted.id)
            await self.publish()

    async def crash(self, instance: str | None = None, *, mode: Mode = "crash", accepts: bool = True) -> None:
        """End an instance, and promote nobody; it stays down until healed."""
        ended = self._noted("crash", instance, mode=mode)
        await self.undo(ended.fall(ENDINGS[mode], accepts=accepts), ended.id)

    async def patch(self, instance: str | None = None, *, silent_for: float = 2.0) -> None:
        """Patch without downtime: sessions are silent for a while and go on, their transactions are undone."""
        await patched(self, self._noted("patch", instance, silent_for=silent_for), silent_for=silent_for)

    # --- connections ------------------------------------------------------------------------------------------------

    async def hang(self, instance: str | None = None) -> None:
        """Stall an instance: nothing is read, written or greeted; healed, it goes on where it was."""
        self._noted("hang", instance).silence()

    async def refuse(self, instance: str | None = None) -> None:
        """Refuse new connections; those that exist go on."""
        self._noted("refuse", instance).stop_listening()

    async def half_open(self, instance: str | None = None) -> None:
        """Forget the existing connections without a word; new ones are fine."""
        forgetful = self._noted("half_open", instance)
        await self.undo(forgetful.drop(Ending.SILENCE), forgetful.id)

    async def slow(self, latency: float, instance: str | None = None) -> None:
        """Delay every answer."""
        for each in self._noted_some("slow", instance, latency=latency):
            each.state.conditions.latency_s = latency

    async def limit_connections(self, limit: int, instance: str | None = None) -> None:
        """Answer 1040 to connections beyond `limit`."""
        for each in self._noted_some("limit_connections", instance, limit=limit):
            each.state.conditions.max_connections = limit

    # --- log-ins ----------------------------------------------------------------------------------------------------

    async def deny_logins(self, lasting: float, instance: str | None = None) -> None:
        """Answer 1045 to every log-in for some seconds, as an instance does right after its promotion."""
        until = asyncio.get_running_loop().time() + lasting
        for each in self._noted_some("deny_logins", instance, lasting=lasting):
            each.state.conditions.denied_until = until

    async def slow_logins(self, latency: float, instance: str | None = None) -> None:
        """Let every log-in take this long."""
        for each in self._noted_some("slow_logins", instance, latency=latency):
            each.state.conditions.login_latency_s = latency

    async def pace_logins(self, per_second: float, instance: str | None = None) -> None:
        """Let so many log-ins through per second; the others wait for their turn."""
        for each in self._noted_some("pace_logins", instance, per_second=per_second):
            each.state.conditions.logins_per_s = per_second

    async def block_hosts(self, after: int, instance: str | None = None) -> None:
        """Answer 1129 after so many cut handshakes in a row (100 when nothing is wrong, as MySQL)."""
        for each in self._noted_some("block_hosts", instance, after=after):
            each.state.conditions.max_connect_errors = after

    async def require_tls(self, instance: str | None = None) -> None:
        """Answer 3159 to log-ins in the clear."""
        for each in self._noted_some("require_tls", instance):
            each.state.conditions.requires_tls = True

    # --- statements -------------------------------------------------------------------------------------------------

    async def lose_commit_answer(self, *, executed: bool = True, times: int = 1, ending: Ending = Ending.RST) -> None:
        """Lose the answer to the next COMMIT, which was executed or never was; on any instance."""
        await self.lose_answer(_COMMIT, executed=executed, times=times, ending=ending)

    async def lose_answer(
        self, pattern: str, *, executed: bool = True, times: int = 1, ending: Ending = Ending.RST
    ) -> None:
        """Lose the answer to the next statements that begin like the regular expression; on any instance.

        The client sees the connection reset, closed or silent, as `ending` says.
        """
        fate = Fate.ANSWER_LOST if executed else Fate.NEVER_EXECUTED
        self._rule(Rule(re.compile(pattern, re.IGNORECASE), fate, ending, times))

    async def hang_statement(self, pattern: str, *, times: int = 1) -> None:
        """Never answer the next statements that begin like the regular expression; they never reach the engine."""
        self._rule(Rule(re.compile(pattern, re.IGNORECASE), Fate.HANGS, times=times))

    # --- rows -------------------------------------------------------------------------------------------------------

    async def distort_view(
        self,
        observer: str | None = None,
        *,
        stale: bool = False,
        empty: bool = False,
        without: Collection[str] = (),
        masters: Collection[str] | None = None,
        extra: Collection[HostRow] = (),
    ) -> None:
        """Let one instance, or all, show other rows than the truth (see `conditions.View`)."""
        view = View(
            is_stale=stale,
            is_empty=empty,
            without=frozenset(without),
            masters=None if masters is None else frozenset(masters),
            extra=tuple(extra),
        )
        for each in self._noted_some("distort_view", observer):
            each.state.conditions.view = view
        await self.publish()

    async def report_lag(self, lag_ms: float, instance: str) -> None:
        """Let an instance's row say that it lags; its data do not."""
        self._noted("report_lag", instance, lag_ms=lag_ms).state.conditions.lag_ms = lag_ms
        await self.publish()

    # --- members ----------------------------------------------------------------------------------------------------

    async def add_instance(self, server_id: str) -> SimulatedInstance:
        """Add a reader."""
        if server_id in self.instances:
            raise ValueError(f"there is an instance {server_id!r} already")
        added = self.make_instance(server_id, Role.READER)
        await self.publish(also_up=(server_id,))
        added.rise(Role.READER)
        self.timeline.add("added", server_id)
        self.point_names()
        return added

    async def remove_instance(self, server_id: str) -> None:
        """Delete a reader: its connections end, its name goes; rows of it are gone at once."""
        removed = self.instance(server_id)
        if removed.role is Role.WRITER:
            raise ValueError(f"{server_id!r} is the writer: fail over first")
        await self.undo(removed.fall(Ending.FIN), server_id)
        del self.instances[server_id]
        self.dns.remove(removed.host)
        await removed.close()
        self.timeline.add("removed", server_id)
        self.point_names()
        await self.publish()

    async def switch_to_green(self, mark: str = "abc123", *, down_for: float = 1.0) -> None:
        """Switch over from blue to green: the names now lead to instances that call themselves `db-1-green-abc123`.

        Those ids stay for good, and no name is made of them.
        """
        self.timeline.add("fault", None, fault="switch_to_green", mark=mark)
        for each in self.instances.values():
            await self.undo(each.fall(Ending.FIN), each.id)
        blue, self.instances = self.instances, {}
        await asyncio.sleep(down_for)
        for each in blue.values():
            green = self.make_instance(f"{each.state.label}-green-{mark}", each.role)
            self.dns.remove(green.host)
            green.state.label, green.host = each.state.label, each.host
            green.tls = each.tls
            self.dns.set_address(green.host, green.address)
            await each.close()
        await self.publish(also_up=tuple(self.instances))
        for each in self.instances.values():
            each.rise(each.role)
        self.point_names()
        self.timeline.add("switched_over", None, instances=tuple(self.instances))

    # --- undoing ----------------------------------------------------------------------------------------------------

    async def heal(self) -> None:
        """Undo every fault: what is down comes up, what is wrong is right; a failover under way goes on."""
        self.dns.heal()
        for each in self.instances.values():
            await self._heal(each)
        if self._failovers.coming is None:
            self.point_names()
        await self.publish()
        self.timeline.add("healed")

    async def _heal(self, instance: SimulatedInstance) -> None:
        coming, was_frozen = self._failovers.coming, instance.state.conditions.is_frozen
        if instance.state.conditions.is_fenced:
            await self.undo(instance.fall(Ending.FIN), instance.id)
            instance.state.role = Role.READER
        was_up = instance.is_up
        instance.recover()
        if was_frozen and was_up:
            await injected(self, instance, "SET SESSION TRANSACTION READ WRITE")
        is_falling = coming is not None and (instance is coming or instance.role is Role.WRITER)
        if not was_up and not is_falling:
            instance.rise(instance.role)
            self.timeline.add("returned", instance.id)

    async def _move_names_later(self, lag: float) -> None:
        await asyncio.sleep(lag)
        self.point_names()

    def _rule(self, rule: Rule) -> None:
        self.timeline.add("fault", None, fault=str(rule.fate), pattern=rule.pattern.pattern)
        for each in self.instances.values():
            each.state.conditions.rules.append(rule)

    def _noted(self, fault: str, instance: str | None, **detail: Any) -> SimulatedInstance:  # noqa: ANN401 - shown only
        which = self.instance(instance)
        self.timeline.add("fault", which.id, fault=fault, **detail)
        return which

    def _noted_some(self, fault: str, instance: str | None, **detail: Any) -> list[SimulatedInstance]:  # noqa: ANN401 - shown only
        which = self.some(instance)
        for each in which:
            self.timeline.add("fault", each.id, fault=fault, **detail)
        return which
