"""What an operator would ask about, told as events: the core's news and commands in the words of `_core.event`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aioaurora._core import event as events
from aioaurora._core.failover import InstanceLost, Late, Observed, SearchEnded, Searching, SearchStarted, Silenced

if TYPE_CHECKING:
    from collections.abc import Callable

    from aioaurora._core import frozen
    from aioaurora._core.failover import Event, State
    from aioaurora._core.topology import Topology


class Reports:
    """Tells each thing once, and of an episode only its start, its end and who is who then (case 67)."""

    def __init__(self, emit: Callable[[frozen.Event], None], topology: Topology) -> None:
        self._emit = emit
        self._cluster = topology.cluster
        self._told = _summary(topology)
        self._aborted = 0  # Since the search began.
        self._ignored: dict[str, frozenset[str]] = {}  # By observer.

    def news(self, news: Event, before: State, after: State, *, connections: Callable[[str], int]) -> None:
        """Tell of what was heard; `connections` counts how many the application has to an instance."""
        cluster = self._cluster
        match news:
            case Late(instance, silent_s):
                if before.topology.get(instance) != after.topology.get(instance):
                    self._emit(events.InstanceSuspected(cluster=cluster, instance=instance, silent_s=silent_s))
            case InstanceLost(instance, _, cause) | Silenced(instance, _, cause):
                if before.topology.get(instance) != after.topology.get(instance):
                    count = connections(instance)
                    self._emit(events.InstanceLost(cluster=cluster, instance=instance, cause=cause, connections=count))
            case Observed(observation) if observation.view is not None:
                self._see_ignored(observation.instance_id, frozenset(observation.view.ignored), after.topology)
            case _:
                pass

    def _see_ignored(self, observer: str, ignored: frozenset[str], topology: Topology) -> None:
        told = frozenset[str]().union(*self._ignored.values())
        known = {each.id for each in topology.instances}
        self._ignored = {who: ids for who, ids in (self._ignored | {observer: ignored}).items() if ids and who in known}
        seen = frozenset[str]().union(*self._ignored.values())
        if seen - told:
            why = "an id that is no host name"
            self._emit(events.RowsIgnored(cluster=self._cluster, server_ids=tuple(sorted(seen)), why=why))

    def search_started(self, command: SearchStarted, topology: Topology) -> None:
        """Tell that the writer is sought."""
        self._aborted = 0
        started = events.FailoverStarted(
            cluster=self._cluster, epoch=topology.epoch, writer=topology.writer_id, cause=command.cause
        )
        self._emit(started)

    def search_ended(self, command: SearchEnded, topology: Topology) -> None:
        """Tell that the writer is known again: another one, or the one that we had."""
        if command.old == command.new:
            called_off = events.SearchEnded(
                cluster=self._cluster,
                epoch=topology.epoch,
                writer=command.new,
                duration_s=command.lasted_s,
                connections_aborted=self._aborted,
            )
            self._emit(called_off)
            return
        finished = events.FailoverFinished(
            cluster=self._cluster,
            epoch=topology.epoch,
            old_writer=command.old,
            new_writer=command.new,
            duration_s=command.lasted_s,
            connections_aborted=self._aborted,
        )
        self._emit(finished)

    def aborted(self, instance: str, count: int, why: str) -> None:
        """Tell that connections were ended by us."""
        self._aborted += count
        if count:
            self._emit(events.StatementsAborted(cluster=self._cluster, instance=instance, count=count, why=why))

    def withheld(self, instance: str, count: int, why: str) -> None:
        """Tell that connections would have been ended."""
        if count:
            told = events.Withheld(cluster=self._cluster, what="abort", instance=instance, count=count, why=why)
            self._emit(told)

    def killed(self, instance: str, thread_id: int) -> None:
        """Tell that a cancelled statement was ended on its server."""
        self._emit(events.StatementKilled(cluster=self._cluster, instance=instance, thread_id=thread_id))

    def tell_roles(self, state: State) -> None:
        """Tell who is who, if that is news; not during a search, in which it comes and goes."""
        summary = _summary(state.topology)
        if isinstance(state.phase, Searching) or summary == self._told:
            return
        self._told = summary
        epoch, writer, readers = summary
        self._emit(events.TopologyChanged(cluster=self._cluster, epoch=epoch, writer=writer, readers=readers))

    def failed(self, error: BaseException) -> None:
        """Tell that following the cluster failed by a fault of ours."""
        self._emit(events.MonitorFailed(cluster=self._cluster, error=repr(error)))


def _summary(topology: Topology) -> tuple[int, str | None, tuple[str, ...]]:
    writer = topology.writer.id if topology.writer else None
    return topology.epoch, writer, tuple(reader.id for reader in topology.readers)
