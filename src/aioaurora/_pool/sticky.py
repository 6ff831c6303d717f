"""Reading one's own writes: who has written in a context reads from the writer until the readers have caught up."""

from __future__ import annotations

import contextlib
import contextvars
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# Beyond the lag that the readers report: their rows are a refresh old (`refresh_interval` at most, as a rule a second).
_MARGIN_S = 1.0

_inner: contextvars.ContextVar[Sticky | None] = contextvars.ContextVar("aioaurora_sticky", default=None)


class Sticky:
    """When this context wrote last through one pool."""

    __slots__ = ("outer", "pool", "written_at")

    def __init__(self, pool: object, outer: Sticky | None) -> None:
        self.pool, self.outer = pool, outer
        self.written_at = -math.inf

    def must_read_from_writer(self, now: float, lag_s: float) -> bool:
        """Tell whether the readers may not have the last write yet."""
        return now < self.written_at + lag_s + _MARGIN_S


def sticky_of(pool: object) -> Sticky | None:
    """Give what this context knows of a pool; None: it is not sticky."""
    sticky = _inner.get()
    while sticky is not None and sticky.pool is not pool:
        sticky = sticky.outer
    return sticky


@contextlib.contextmanager
def stuck(pool: object) -> Iterator[None]:
    """Make this context sticky for a pool; tasks that it starts share it, and so do blocks within it."""
    outer = _inner.get()
    token = _inner.set(outer if sticky_of(pool) is not None else Sticky(pool, outer))
    try:
        yield
    finally:
        _inner.reset(token)
