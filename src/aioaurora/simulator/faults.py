"""What can go wrong with a simulated cluster: each one awaitable call, each undone by `await sim.heal()`.

`instance` is an id; where it is left out, the writer is meant, or all instances where that makes sense.
Failovers, switchovers and changes of the cluster's members are no faults but events: they stay.
Durations are seconds, finite and 0 or more: ValueError otherwise.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

from aioaurora.errors import Role
from aioaurora.simulator.conditions import Fate, HostRow, Rule, View, refuse_bad_seconds
from aioaurora.simulator.failover import ENDINGS, Mode, Plan
from aioaurora.simulator.members import Members
from aioaurora.simulator.patching import patched, set_access
from aioaurora.simulator.relay import Ending

if TYPE_CHECKING:
    from collections.abc import Collection, Coroutine

    from aioaurora.simulator.server import Server

_COMMIT = r"(?:release\s+savepoint\s+\S+\s*;\s*)?commit\b"


class Faults(Members):
    """A cluster, and all that can be done to it."""

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
        """Let the writer fall and another instance be promoted; returns at the promotion.

        One that begins while another is under way takes its place. Cancelling ends the waiting, not the failover.

        Args:
            mode: How clients see the old writer end: "graceful" is FIN, "crash" RST, "blackhole" silence.
            to: Who is promoted; None: a reader that is up.
            promote_after: Seconds until the new writer accepts connections and says writable.
            target_down_for: Seconds for which the target refuses, at the end of `promote_after`: its restart.
            returns_after: Seconds from the promotion until the old writer is back as a reader.
            dns_lag: Seconds from the promotion until the cluster endpoint names the new writer.
            undo_takes: Seconds from the promotion until row locks of the old writer's transactions are gone.
            accepts: Whether a silent writer's address still accepts connections, though it never greets (Linux).
        """
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

        Its sessions stay, their transactions are undone.
        It becomes a reader when healed; healed before the promotion, it is the only writer again.
        """
        refuse_bad_seconds(promote_after=promote_after, dns_lag=dns_lag)
        await self._failovers.double(to, promote_after=promote_after, dns_lag=dns_lag)

    async def freeze(self) -> None:
        """Set `read_only` on the writer, as a switchover does: `innodb_read_only` stays 0, writes get 1290.

        It ends when the instance starts anew, if not healed before.
        """
        writer = self._noted("freeze", None)
        writer.state.conditions.is_frozen = True
        writer.desk.changed()
        await self._under_way(set_access(self._core, writer, "READ ONLY"))

    async def restart(self, instance: str | None = None, *, mode: Mode = "graceful", down_for: float = 2.0) -> None:
        """Restart an instance in place: it comes back in the role that it had; returns when it is up again.

        A failover under way decides itself who comes up, and when. A writer that was fenced comes back as a reader.
        """
        refuse_bad_seconds(down_for=down_for)
        restarted = self._noted("restart", instance, mode=mode, down_for=down_for)
        await self._under_way(self._restarted(restarted, mode, down_for=down_for))

    async def crash(self, instance: str | None = None, *, mode: Mode = "crash", accepts: bool = True) -> None:
        """End an instance, and promote nobody; it stays down until healed."""
        ended = self._noted("crash", instance, mode=mode)
        await self._core.undo(ended.fall(ENDINGS[mode], accepts=accepts), ended.id)

    async def patch(self, instance: str | None = None, *, silent_for: float = 2.0) -> None:
        """Patch without downtime: sessions are silent for a while and go on, their transactions are undone.

        A statement that runs on beyond half of `silent_for` is ended with error 1317. This is the simulator's own way:
        what Aurora does to such a statement nobody has seen.
        """
        refuse_bad_seconds(silent_for=silent_for)
        patching = self._noted("patch", instance, silent_for=silent_for)
        await self._under_way(patched(self._core, patching, silent_for=silent_for))

    # --- connections ------------------------------------------------------------------------------------------------

    async def hang(self, instance: str | None = None) -> None:
        """Stall an instance: nothing is read, written or greeted; healed, it goes on where it was."""
        self._noted("hang", instance).silence()

    async def refuse(self, instance: str | None = None) -> None:
        """Refuse new connections; those that exist go on."""
        self._noted("refuse", instance).stop_listening()

    async def half_open(self, instance: str | None = None) -> None:
        """Forget the existing connections without a word; new ones are fine.

        The kernel goes on acknowledging what is sent, as it is the same machine's: neither TCP's keepalive nor
        `tcp_user_timeout` ends such a connection here, as they would one that a firewall has forgotten. A statement on
        it waits until its caller's own time-out.
        """
        forgetful = self._noted("half_open", instance)
        await self._core.undo(forgetful.drop(Ending.SILENCE), forgetful.id)

    async def slow(self, latency: float, instance: str | None = None) -> None:
        """Delay every answer."""
        refuse_bad_seconds(latency=latency)
        for each in self._noted_some("slow", instance, latency=latency):
            each.state.conditions.latency_s = latency

    async def limit_connections(self, limit: int, instance: str | None = None) -> None:
        """Answer 1040 to connections beyond `limit`."""
        for each in self._noted_some("limit_connections", instance, limit=limit):
            each.state.conditions.max_connections = limit

    # --- log-ins ----------------------------------------------------------------------------------------------------

    async def deny_logins(self, lasting: float, instance: str | None = None) -> None:
        """Answer 1045 to every log-in for some seconds, as an instance does right after its promotion."""
        refuse_bad_seconds(lasting=lasting)
        until = asyncio.get_running_loop().time() + lasting
        for each in self._noted_some("deny_logins", instance, lasting=lasting):
            each.state.conditions.denied_until = until

    async def slow_logins(self, latency: float, instance: str | None = None) -> None:
        """Let every log-in take this long."""
        refuse_bad_seconds(latency=latency)
        for each in self._noted_some("slow_logins", instance, latency=latency):
            each.state.conditions.login_latency_s = latency

    async def pace_logins(self, per_second: float, instance: str | None = None) -> None:
        """Let so many log-ins through per second; the others wait for their turn."""
        if not per_second > 0:
            raise ValueError(f"per_second {per_second!r}: write a number above 0")
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
        """Let one instance, or all, show other rows of `information_schema.replica_host_status` than the truth.

        Args:
            observer: Id of the instance that shows them; None: all.
            stale: They stay what they are.
            empty: There are none.
            without: Ids whose rows are missing.
            masters: Ids that are shown as the writer, instead of the true one; None: the true one.
            extra: More rows.
        """
        view = View(
            is_stale=stale,
            is_empty=empty,
            without=frozenset(without),
            masters=None if masters is None else frozenset(masters),
            extra=tuple(extra),
        )
        for each in self._noted_some("distort_view", observer):
            each.state.conditions.view = view
        await self._core.publish()

    async def report_lag(self, lag_ms: float, instance: str) -> None:
        """Let an instance's row say that it lags; its data do not."""
        self._noted("report_lag", instance, lag_ms=lag_ms).state.conditions.lag_ms = lag_ms
        await self._core.publish()

    # --- undoing ----------------------------------------------------------------------------------------------------

    async def heal(self) -> None:
        """Undo every fault: what is down comes up, what is wrong is right; a failover under way goes on.

        Faults that are under way end here, and so do the calls that carry them out; what they were about to do is
        not done. Locks that outlive a failover (`undo_takes`) are gone.
        """
        core = self._core
        core.dns.heal()
        await core.tasks.heal()
        for each in [*core.instances.values()]:
            await self._heal(each)
        if self._failovers.coming is None:
            core.point_names()
        await core.publish()
        core.timeline.add("healed")

    async def _heal(self, instance: Server) -> None:
        core, conditions = self._core, instance.state.conditions
        if conditions.is_fenced and core.writer is not instance:
            await core.undo(instance.fall(Ending.FIN), instance.id)
            instance.state.role = Role.READER
        was_up = instance.is_up
        instance.recover()
        if (conditions.is_frozen or conditions.is_fenced) and was_up and instance.role is Role.WRITER:
            await set_access(core, instance, "READ WRITE")
        if not was_up and not self._failovers.has(instance) and core.has(instance):
            instance.rise(instance.role)
            core.timeline.add("returned", instance.id)

    # --- helpers ----------------------------------------------------------------------------------------------------

    async def _under_way(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a fault that takes time: cancelling ends the waiting, `heal()` ends the fault."""
        await asyncio.shield(self._core.tasks.fault(work))

    async def _restarted(self, instance: Server, mode: Mode, *, down_for: float) -> None:
        core = self._core
        # A writer that was fenced finds out, when it starts, that there is another.
        role = Role.READER if instance.state.conditions.is_fenced else instance.role
        await core.undo(instance.fall(ENDINGS[mode]), instance.id)
        lasted = await core.tasks.lasting(down_for)
        if lasted and not instance.is_up and not self._failovers.has(instance) and core.has(instance):
            instance.rise(role)
            core.timeline.add("returned", instance.id)
            await core.publish()

    def _rule(self, rule: Rule) -> None:
        self._core.timeline.add("fault", None, fault=str(rule.fate), pattern=rule.pattern.pattern)
        for each in self._core.instances.values():
            each.state.conditions.rules.append(rule)

    def _noted(self, fault: str, instance: str | None, **detail: Any) -> Server:  # noqa: ANN401 - shown only
        which = self._core.instance(instance)
        self._core.timeline.add("fault", which.id, fault=fault, **detail)
        return which

    def _noted_some(self, fault: str, instance: str | None, **detail: Any) -> list[Server]:  # noqa: ANN401 - shown only
        which = self._core.some(instance)
        for each in which:
            self._core.timeline.add("fault", each.id, fault=fault, **detail)
        return which
