"""What one pool was told, beside what its Cluster was: one frozen value."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import field
from types import MappingProxyType
from typing import Any, Literal

from aioaurora._core import options
from aioaurora._core.selection import STRATEGIES, Strategy
from aioaurora._core.serving import UNLIMITED, Limits
from aioaurora._core.value import dataclass
from aioaurora.errors import ConfigurationError

Callback = Callable[[Any], Awaitable[object]]


def _seconds(default: float | None, **limits: Any) -> Any:
    return field(default=default, metadata={"seconds": limits})


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolConfig:
    """All that one pool was told. Durations are seconds.

    Attributes:
        minsize: Connections of the default role that are kept open. Default 1.
        maxsize: Connections of the default role, and to the writer, at most; 0: no limit. Default 10.
        reader_minsize: Connections to readers that are kept open. Default 0.
        reader_maxsize: Connections to all readers together, at most. Default None: as `maxsize`.
        reader_strategy: Which reader serves: "two_choices", "nearest", "round_robin", "random", "least_leased",
            "weighted", or a function of `(candidates, chance)` that gives those that may serve, best first, or the one
            that it prefers. Default "two_choices".
        reader_weights: For "weighted", by instance id; 1 for those not named.
        max_lag: Readers further behind than this serve nobody. Default None: no limit.
        reader_fallback: Whether the writer serves requests for a reader while there is none. Default True.
        fallback_share: Part of the writer's `maxsize` that such requests may take, above 0, at most 1. Default 0.25.
        max_waiting: How many may wait for a connection, those for whom one is being opened too; the next one is refused
            at once. Default None: no limit.
        max_lifetime: Age at which a connection is replaced, less up to a tenth by lot. Default 1800; None: never.
        max_idle: Idle time after which a connection above `minsize` is closed. Default 600; None: never.
        pool_recycle: Idle time after which any connection is closed, as aiomysql has it. Default -1: never.
        check_idle_after: Idle time after which a connection is pinged before it is handed out. Default 60.
        reset: "auto": a returned session is reset if its statements may have touched it; "always"; "never": it is only
            rolled back. Default "auto".
        on_connect: Awaited with each new connection, and again after its session was reset. Default None.
        on_acquire: Awaited with a connection before it is handed out. Default None.
        on_release: Awaited with a connection after it was given back and made clean. Default None.
        callback_timeout: For each of these three, and for making a session clean. Default 5.
        wait_ready: Whether entering the pool waits until `minsize` connections are open. Default True.
    """

    minsize: int = 1
    maxsize: int = 10
    reader_minsize: int = 0
    reader_maxsize: int | None = None
    reader_strategy: str | Strategy = "two_choices"
    reader_weights: Mapping[str, float] = field(default_factory=dict, hash=False)
    max_lag: float | None = _seconds(None, may_be_zero=True)
    reader_fallback: bool = True
    fallback_share: float = 0.25
    max_waiting: int | None = None
    max_lifetime: float | None = _seconds(1800.0)
    max_idle: float | None = _seconds(600.0)
    pool_recycle: float = -1
    check_idle_after: float = _seconds(60.0, may_be_zero=True)
    reset: Literal["auto", "always", "never"] = "auto"
    on_connect: Callback | None = None
    on_acquire: Callback | None = None
    on_release: Callback | None = None
    callback_timeout: float = _seconds(5.0)
    wait_ready: bool = True

    def __post_init__(self) -> None:
        checked: dict[str, Any] = {"reset": options.choice("reset", self.reset, ["auto", "always", "never"])}
        for each in dataclasses.fields(self):
            value = getattr(self, each.name)
            if "seconds" in each.metadata and value is not None:
                checked[each.name] = options.seconds(each.name, value, **each.metadata["seconds"])
        self._check_sizes()
        self._check_functions()
        checked["reader_weights"] = MappingProxyType(dict(self.reader_weights))
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def _check_sizes(self) -> None:
        for name in ("minsize", "maxsize", "reader_minsize", "reader_maxsize", "max_waiting"):
            value = getattr(self, name)
            if value is not None:
                options.whole(name, value, least=0, most=UNLIMITED)
        if self.maxsize and self.minsize > self.maxsize:
            raise ConfigurationError(f"minsize={self.minsize} is more than maxsize={self.maxsize}")
        most = self.maxsize if self.reader_maxsize is None else self.reader_maxsize
        if most and self.reader_minsize > most:
            raise ConfigurationError(f"reader_minsize={self.reader_minsize} is more than reader_maxsize={most}")
        options.share("fallback_share", self.fallback_share)
        if self.pool_recycle != -1:
            options.seconds("pool_recycle", self.pool_recycle, may_be_zero=True)

    def _check_functions(self) -> None:
        if not callable(self.reader_strategy):
            options.choice("reader_strategy", self.reader_strategy, list(STRATEGIES))
        for instance_id, weight in self.reader_weights.items():
            options.weight(f"reader_weights[{instance_id!r}]", weight)
        for name in ("on_connect", "on_acquire", "on_release"):
            call = getattr(self, name)
            if call is not None and not callable(call):
                raise ConfigurationError(f"{name}= is a {type(call).__name__}: write a coroutine function")
            if inspect.isfunction(call) and not inspect.iscoroutinefunction(call):
                raise ConfigurationError(f"{name}= is no coroutine function: write `async def`")

    @property
    def strategy(self) -> Strategy:
        """The function that puts readers in order."""
        named = self.reader_strategy
        return STRATEGIES[named.lower()] if isinstance(named, str) else named

    @property
    def limits(self) -> Limits:
        """What the books keep to."""
        most = self.maxsize or UNLIMITED
        stand_ins_most = max(1, int(most * self.fallback_share)) if self.reader_fallback else 0
        return Limits(
            minsize=self.minsize,
            maxsize=most,
            reader_minsize=self.reader_minsize,
            reader_maxsize=most if self.reader_maxsize is None else self.reader_maxsize or UNLIMITED,
            max_idle=self.max_idle,
            recycle_after=self.pool_recycle if self.pool_recycle >= 0 else None,
            max_lag=self.max_lag,
            stand_ins_most=stand_ins_most,
        )
