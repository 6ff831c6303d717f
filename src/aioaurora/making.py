"""A pool that is asked for: awaited, or entered with `async with`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_type_hints

from aioaurora._core.keywords import INSTEAD
from aioaurora._core.options import refuse_unknown
from aioaurora._io.later import Later
from aioaurora.cluster import Cluster
from aioaurora.config import KINDS, from_kwargs, said_by
from aioaurora.errors import ConfigurationError
from aioaurora.pool import Pool
from aioaurora.pool_config import PoolConfig

if TYPE_CHECKING:
    from types import TracebackType


class Making(Later[Pool]):
    """A pool to come: `await` it, or enter it with `async with`, which closes it in the end."""

    __slots__ = ("_cluster", "_config", "_owns_cluster", "_pool")

    def __init__(self, cluster: Cluster, config: PoolConfig, *, owns_cluster: bool) -> None:
        self._cluster, self._config, self._owns_cluster = cluster, config, owns_cluster
        self._started = None

    async def _start(self) -> Pool:
        pool = Pool(self._cluster, self._config, owns_cluster=self._owns_cluster)
        await pool.begin()
        return pool

    async def __aenter__(self) -> Pool:
        self._pool = await self._begun()
        return self._pool

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._pool.close()


def create_pool(*args: Any, cluster: Cluster | None = None, **kwargs: Any) -> Making:
    """Make a pool, to be awaited or entered, as aiomysql does and with its arguments.

    Takes a URL, or aiomysql's keywords, and the options of a cluster and of a pool.

    Args:
        args: A URL; or aiomysql's positional ones: `minsize`, `maxsize`, `echo`, `pool_recycle`, `loop`.
        cluster: The Cluster to share with others; None: the pool makes its own, and closes it.
        kwargs: Options.

    Raises:
        ConfigurationError: Something cannot work; says what to write instead.
    """
    kinds = get_type_hints(PoolConfig)
    if args and isinstance(args[0], int):
        named = dict(zip(_POSITIONAL, args, strict=False))
        if len(args) > len(_POSITIONAL) or named.keys() & kwargs.keys():
            raise ConfigurationError(f"positional arguments are {', '.join(_POSITIONAL)}: pass all others by name")
        args, kwargs = (), {**named, **kwargs}
    said = said_by(args, kwargs, others=kinds)
    refuse_unknown(said, KINDS.keys() | kinds.keys(), instead=INSTEAD)
    own = {name: said.pop(name) for name in kinds.keys() & said.keys()}
    if cluster is None:
        return Making(Cluster(from_kwargs(**said)), PoolConfig(**own), owns_cluster=True)
    if said:
        raise ConfigurationError(f"cluster= says how to connect: leave out {', '.join(map(repr, sorted(said)))}")
    return Making(cluster, PoolConfig(**own), owns_cluster=False)


_POSITIONAL = ("minsize", "maxsize", "echo", "pool_recycle", "loop")  # As aiomysql.create_pool has them.
