"""Metrics and spans for OpenTelemetry, of the clusters and pools that are watched.

    telemetry = Telemetry()
    telemetry.watch(pool)

The names are those of the semantic conventions for database clients, and `aioaurora.*` where they have none. Identities
are no finer than cluster, instance and role; neither the text of a statement nor that of an error is recorded. What is
not watched has the classes that it always had: it costs nothing.
"""

from __future__ import annotations

import importlib.metadata
import weakref
from typing import TYPE_CHECKING

from opentelemetry import metrics, trace

from aioaurora.cluster import Cluster
from aioaurora.connection import Connection
from aioaurora.errors import ConfigurationError
from aioaurora.otel._readings import Readings, SeenCluster, SeenPool
from aioaurora.otel._recorder import CLUSTER, POOL, Recorder
from aioaurora.otel._watched import WatchedConnection, WatchedPool
from aioaurora.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from aioaurora.otel._recorder import Labels

__all__ = ["Telemetry"]


class Telemetry:
    """Records what clusters and pools do: make one per process, and let it watch each of them.

    Args:
        meter_provider: Where metrics go. Default None: the global one.
        tracer_provider: Where spans go. Default None: the global one.
        spans: Whether there are spans: one for each statement, for each wait for a connection, and for each failover.
            Default True.
    """

    def __init__(
        self,
        *,
        meter_provider: MeterProvider | None = None,
        tracer_provider: TracerProvider | None = None,
        spans: bool = True,
    ) -> None:
        version = importlib.metadata.version("aioaurora")
        meter = metrics.get_meter("aioaurora", version, meter_provider)
        tracer = trace.get_tracer("aioaurora", version, tracer_provider) if spans else None
        self._recorder = Recorder(meter, tracer)
        self._readings = Readings(meter)
        self._watched: weakref.WeakSet[Cluster | Pool] = weakref.WeakSet()

    def watch(self, watched: Pool | Cluster, *, name: str | None = None) -> None:
        """Record what a pool and its cluster do from now on, or a cluster. Doing it twice is no harm.

        It holds on to neither; what is closed is forgotten. Connections that are open already are watched, too.

        Args:
            watched: A pool, of which its cluster is watched with it; or a Cluster.
            name: The pool's, in `db.client.connection.pool.name`. Default None: `host:port/db`, as the conventions have
                it. A name that another pool has is numbered.

        Raises:
            ConfigurationError: It is neither, as the coroutine that is to give a pool.
        """
        if isinstance(watched, Pool):
            self._watch_cluster(watched.cluster)
            if watched not in self._watched:
                self._watched.add(watched)
                self._watch_pool(watched, name or _name_of(watched.cluster))
        elif isinstance(watched, Cluster):
            self._watch_cluster(watched)
        else:
            raise ConfigurationError(f"a {type(watched).__name__} cannot be watched: pass a Pool or a Cluster")

    def _watch_cluster(self, cluster: Cluster) -> None:
        if cluster in self._watched:
            return
        self._watched.add(cluster)
        belongs = {
            "recorder": self._recorder,
            "cluster_name": cluster.topology.cluster,
            "pool_labels": {POOL: _name_of(cluster), CLUSTER: cluster.topology.cluster},
            "shared_labels": {},
        }
        kind = type("Connection", (WatchedConnection,), belongs)
        seen = SeenCluster(weakref.ref(cluster))
        cluster._kind = kind
        _adopt(_open_connections(cluster), kind)
        cluster._events.listen(self._recorder.hear)
        cluster._events.listen(seen.hear)
        self._readings.clusters = (*(each for each in self._readings.clusters if not each.is_over), seen)

    def _watch_pool(self, pool: Pool, name: str) -> None:
        others = [each for each in self._readings.pools if not each.is_over]
        taken = {each.labels[POOL] for each in others}
        numbered = (f"{name}-{number}" for number in range(2, len(others) + 3))
        unique = name if name not in taken else next(each for each in numbered if each not in taken)
        _adopt((slot.connection for slot in pool._books.slots), pool.cluster._kind)
        labels: Labels = {POOL: unique, CLUSTER: pool.cluster.topology.cluster}
        kind = pool.cluster._kind
        if pool._owns_cluster and issubclass(kind, WatchedConnection):  # Else it may be any pool's connection.
            kind.pool_labels = labels
        pool.__class__ = type("Pool", (WatchedPool,), {"recorder": self._recorder, "pool_labels": labels})
        self._readings.pools = (*others, SeenPool(weakref.ref(pool), labels))


def _open_connections(cluster: Cluster) -> Iterable[object]:
    parts = cluster._parts
    return [] if parts is None else list(parts.monitor._held)


def _adopt(connections: Iterable[object], kind: type[Connection]) -> None:
    """Watch connections that were there before."""
    for connection in connections:
        if type(connection) is Connection and issubclass(kind, WatchedConnection):
            connection.__class__ = kind
            if isinstance(connection, WatchedConnection):
                connection.adopt()


def _name_of(cluster: Cluster) -> str:
    endpoint, schema = cluster.topology.endpoint, cluster._config.session.get("db")
    return f"{endpoint.host}:{endpoint.port}" + (f"/{schema}" if schema else "")
