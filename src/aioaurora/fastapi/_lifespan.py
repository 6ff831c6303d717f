"""A lifespan that opens a pool at the start of an application, and drains it in the end."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Literal, get_type_hints, overload

from aioaurora._core.keywords import ALIASES, INSTEAD
from aioaurora._core.options import refuse_unknown, seconds
from aioaurora.config import KINDS
from aioaurora.environment import from_env
from aioaurora.errors import ConfigurationError
from aioaurora.fastapi._service import DEFAULT_NAME, SERVICES, Service, state_of
from aioaurora.fastapi._sigterm import told_of_sigterm
from aioaurora.making import create_pool
from aioaurora.pool_config import PoolConfig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from aioaurora.fastapi._service import AuroraState

    Lifespan = Callable[[Any], AbstractAsyncContextManager[Any]]

# Behind a load balancer a quick 503 is worth more than a long wait: clients, and other instances of the application,
# need not all pile up behind one writer that is gone.
_GIVE_UP_AFTER_S = 5.0
_PLACES = ("cluster", "host", "unix_socket", "read_default_file")  # Each says where the database is.
_OWN = ("name", "within", "env_prefix", "drain_timeout", "drain_delay")


@overload
def aurora_lifespan(
    *args: Any,
    name: Literal["aurora"] = "aurora",
    within: Lifespan | None = None,
    env_prefix: str | None = "AIOAURORA_",
    drain_timeout: float = 20.0,
    drain_delay: float = 0.0,
    **options: Any,
) -> Callable[[Any], AbstractAsyncContextManager[AuroraState]]: ...


@overload
def aurora_lifespan(
    *args: Any,
    name: str,
    within: Lifespan | None = None,
    env_prefix: str | None = "AIOAURORA_",
    drain_timeout: float = 20.0,
    drain_delay: float = 0.0,
    **options: Any,
) -> Callable[[Any], AbstractAsyncContextManager[dict[str, Any]]]: ...


def aurora_lifespan(
    *args: Any,
    name: str = DEFAULT_NAME,
    within: Lifespan | None = None,
    env_prefix: str | None = "AIOAURORA_",
    drain_timeout: float = 20.0,
    drain_delay: float = 0.0,
    **options: Any,
) -> Callable[[Any], AbstractAsyncContextManager[Any]]:
    """Give a lifespan for `FastAPI(lifespan=...)` or `Starlette(lifespan=...)`: a pool while the application runs.

    Nothing is opened before the application starts, so that it may be imported before a fork. Of several calls nested
    by `within` each has its own pool; the outermost opens first and closes last.

    Args:
        args: A URL, as for `create_pool`; none: the environment says where.
        name: What the pool is called: `request.state.aurora`, `writer("aurora")`.
        within: A lifespan of your own, or another one of these, that runs while this pool is open; the state that it
            gives is added to this one's.
        env_prefix: Environment variables that begin so are options, where nothing else says them. None: none are.
        drain_timeout: Seconds from SIGTERM, or from the end of the last request if that comes first, until what is
            still leased is cut. Below Kubernetes' 30.
        drain_delay: Seconds for which SIGTERM is kept from the server, while readiness is false already: time for load
            balancers to look elsewhere. Only for servers that use `signal.signal`, as uvicorn does.
        options: As for `create_pool`; `give_up_waiting_after` is 5 here.

    Raises:
        ConfigurationError: Something cannot work; the rest is said when the application starts.
    """
    refuse_unknown(options, {*KINDS, *ALIASES, *get_type_hints(PoolConfig), "cluster", *_OWN}, instead=INSTEAD)
    drain_s = seconds("drain_timeout", drain_timeout, may_be_zero=True)
    delay_s = seconds("drain_delay", drain_delay, may_be_zero=True)
    if not name.isidentifier() or name == SERVICES:
        raise ConfigurationError(f"name={name!r} is no name of an attribute of request.state, or is taken")

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[dict[str, Any]]:
        pool = await create_pool(**_said(args, options, env_prefix))
        service = Service(name, pool, drain_s=drain_s)
        async with _serving(service, delay_s), within(app) if within else contextlib.nullcontext() as inner:
            yield state_of(service, inner or {})

    return lifespan


def _said(args: tuple[Any, ...], options: Mapping[str, Any], env_prefix: str | None) -> dict[str, Any]:
    """Give the keywords of the pool, those of the environment too, which is read when the application starts."""
    said = from_env(*args, prefix=env_prefix, **options)
    if env_prefix is not None and said.keys().isdisjoint(_PLACES):
        raise ConfigurationError(f"no host: pass a URL, or set {env_prefix}URL")
    if said.get("cluster") is None:  # Else it says how long to wait.
        said.setdefault("give_up_waiting_after", _GIVE_UP_AFTER_S)
    return said


@contextlib.asynccontextmanager
async def _serving(service: Service, delay_s: float) -> AsyncIterator[None]:
    try:
        with told_of_sigterm(service.begin_draining, delay_s):
            yield
    finally:
        await service.end()
