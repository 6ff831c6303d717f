"""What is read whenever metrics are collected: sizes of pools, and what is believed of clusters.

Who collects metrics has a thread of his own. Nothing is locked for him: he looks at values, and once more at books that
changed while he did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from opentelemetry.metrics import Observation

from aioaurora._core.serving import UNLIMITED
from aioaurora._core.topology import Health
from aioaurora.errors import Role
from aioaurora.events import FailoverFinished, SearchEnded
from aioaurora.otel._recorder import CLUSTER, INSTANCE, ROLE, STATE

if TYPE_CHECKING:
    import weakref
    from collections.abc import Callable, Iterator

    from opentelemetry.metrics import CallbackOptions, Meter

    from aioaurora._core.topology import Topology
    from aioaurora._io.monitor import Monitor
    from aioaurora.cluster import Cluster
    from aioaurora.events import Event
    from aioaurora.otel._recorder import Labels
    from aioaurora.pool import Pool

    Reading = Iterator[Observation]

S = TypeVar("S")

_TRIES = 5


class SeenCluster:
    """A watched cluster, as long as somebody has it."""

    def __init__(self, cluster: weakref.ref[Cluster]) -> None:
        self._cluster = cluster
        self._absent_s = 0.0  # In searches that are over.

    @property
    def is_over(self) -> bool:
        """Whether there is nothing to be seen any more."""
        cluster = self._cluster()
        return cluster is None or cluster._is_closed

    def hear(self, event: Event) -> None:
        """Add up the time without a writer: a listener."""
        if isinstance(event, FailoverFinished | SearchEnded):
            self._absent_s += event.duration_s

    def epoch(self) -> Reading:
        """How often the writer has changed."""
        for topology, _ in self._seen():
            yield Observation(topology.epoch, {CLUSTER: topology.cluster})

    def up(self) -> Reading:
        """1: the instance answers; 0: it is late, or written off."""
        for topology, _ in self._seen():
            readers = {each.id for each in topology.readers}
            for each in topology.instances:
                role = Role.WRITER if each.id == topology.writer_id else Role.READER if each.id in readers else None
                labels = {CLUSTER: topology.cluster, INSTANCE: each.id} | ({ROLE: str(role)} if role else {})
                yield Observation(int(each.health is Health.UP), labels)

    def lag(self) -> Reading:
        """How far a reader is behind, as last reported."""
        for topology, _ in self._seen():
            for each in topology.readers:
                if each.lag_s is not None:
                    labels = {CLUSTER: topology.cluster, INSTANCE: each.id, ROLE: str(Role.READER)}
                    yield Observation(each.lag_s, labels)

    def writer(self) -> Reading:
        """1: the writer is known and answers; 0: there is none, or it is being sought."""
        for topology, monitor in self._seen():
            is_there = topology.writer is not None and not monitor.is_searching
            yield Observation(int(is_there), {CLUSTER: topology.cluster})

    def absence(self) -> Reading:
        """Time without a writer that was there before."""
        for topology, monitor in self._seen():
            now_s = monitor.searching_for_s if topology.writer_id is not None else 0.0
            yield Observation(self._absent_s + now_s, {CLUSTER: topology.cluster})

    def probes(self) -> Reading:
        """How often an instance has answered what it is."""
        for topology, monitor in self._seen():
            for each in topology.instances:
                labels = {CLUSTER: topology.cluster, INSTANCE: each.id}
                yield Observation(monitor.answers.get(each.id, 0), labels)

    def _seen(self) -> Iterator[tuple[Topology, Monitor]]:
        cluster = self._cluster()
        parts = None if cluster is None or cluster._is_closed else cluster._parts
        if parts is not None:
            yield parts.monitor.topology, parts.monitor


class SeenPool:
    """A watched pool, as long as somebody has it."""

    def __init__(self, pool: weakref.ref[Pool], labels: Labels) -> None:
        self.labels: Labels = labels
        self._pool = pool

    @property
    def is_over(self) -> bool:
        """Whether there is nothing to be seen any more."""
        pool = self._pool()
        return pool is None or (pool.closed and not pool._books.slots)

    def count(self) -> Reading:
        """Connections that are in the state that `state` says."""
        for pool in self._seen():
            for each in pool.stats().instances:
                labels = dict(self.labels)
                if each.instance is not None:
                    labels |= {INSTANCE: each.instance}
                if each.role is not None:
                    labels |= {ROLE: str(each.role)}
                yield Observation(each.idle, labels | {STATE: "idle"})
                yield Observation(each.leased, labels | {STATE: "used"})

    def most(self) -> Reading:
        """The maximum number of connections allowed; nothing where there is no limit."""
        for labels, _, most in self._limits():
            if most < UNLIMITED:
                yield Observation(most, labels)

    def least(self) -> Reading:
        """The number of connections that are kept open."""
        for labels, least, _ in self._limits():
            yield Observation(least, labels)

    def pending(self) -> Reading:
        """How many wait for a connection."""
        for pool in self._seen():
            yield Observation(pool.stats().waiting, self.labels)

    def timeouts(self) -> Reading:
        """How many waited for a connection in vain."""
        for pool in self._seen():
            yield Observation(pool.stats().timed_out, self.labels)

    def _limits(self) -> Iterator[tuple[Labels, int, int]]:
        for pool in self._seen():
            books = pool._books
            for side in books.sides.values():
                if side.role is not None or side is books.default_side:
                    role = {ROLE: str(side.role)} if side.role is not None else {}
                    yield {**self.labels, **role}, side.minsize, side.maxsize

    def _seen(self) -> Iterator[Pool]:
        pool = self._pool()
        if pool is not None and not self.is_over:
            yield pool


class Readings:
    """The instruments that are read.

    Attributes:
        clusters: Those that are read; replaced, never changed: other threads go through it.
        pools: As `clusters`.
    """

    clusters: tuple[SeenCluster, ...]
    pools: tuple[SeenPool, ...]

    def __init__(self, meter: Meter) -> None:
        self.clusters, self.pools = (), ()
        of_clusters, of_pools = self._of_clusters, self._of_pools
        gauge, counter = meter.create_observable_gauge, meter.create_observable_counter
        gauge("aioaurora.topology.epoch", [of_clusters(SeenCluster.epoch)], "{change}", _about(SeenCluster.epoch))
        gauge("aioaurora.writer.up", [of_clusters(SeenCluster.writer)], "{writer}", _about(SeenCluster.writer))
        gauge("aioaurora.instance.up", [of_clusters(SeenCluster.up)], "{instance}", _about(SeenCluster.up))
        gauge("aioaurora.instance.lag", [of_clusters(SeenCluster.lag)], "s", _about(SeenCluster.lag))
        counter("aioaurora.writer.absence", [of_clusters(SeenCluster.absence)], "s", _about(SeenCluster.absence))
        counter("aioaurora.probes", [of_clusters(SeenCluster.probes)], "{probe}", _about(SeenCluster.probes))
        level, ours = meter.create_observable_up_down_counter, "db.client.connection"
        level(f"{ours}.count", [of_pools(SeenPool.count)], "{connection}", _about(SeenPool.count))
        level(f"{ours}.max", [of_pools(SeenPool.most)], "{connection}", _about(SeenPool.most))
        level(f"{ours}.idle.max", [of_pools(SeenPool.most)], "{connection}", _about(SeenPool.most))
        level(f"{ours}.idle.min", [of_pools(SeenPool.least)], "{connection}", _about(SeenPool.least))
        level(f"{ours}.pending_requests", [of_pools(SeenPool.pending)], "{request}", _about(SeenPool.pending))
        counter(f"{ours}.timeouts", [of_pools(SeenPool.timeouts)], "{timeout}", _about(SeenPool.timeouts))

    def _of_clusters(self, read: Callable[[SeenCluster], Reading]) -> Callable[[CallbackOptions], list[Observation]]:
        return lambda _: [each for seen in self.clusters for each in _read(read, seen)]

    def _of_pools(self, read: Callable[[SeenPool], Reading]) -> Callable[[CallbackOptions], list[Observation]]:
        return lambda _: [each for seen in self.pools for each in _read(read, seen)]


def _read(read: Callable[[S], Reading], seen: S) -> list[Observation]:
    """Read until nothing changed meanwhile."""
    for _ in range(_TRIES):
        try:
            return list(read(seen))
        except RuntimeError:  # A dict changed its size: the loop's thread goes on while we read.
            continue
    return []


def _about(read: Callable[..., object]) -> str:
    return read.__doc__ or ""
