"""What is told of a pool's connects that failed: each softly, and once aloud that a start goes on without."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aioaurora._core import pool_event as kinds
from aioaurora._io.driver import sentence_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from aioaurora._core.frozen import Event
    from aioaurora._core.shares import Slot


class Telling:
    """Makes the events of one pool's failed connects.

    Args:
        cluster: Its name.
        emit: Hands an event to whoever listens.
        is_patient: The pool was opened without waiting for the cluster, so nobody else is told why it is not there.
    """

    def __init__(self, cluster: str, emit: Callable[[Event], None], *, is_patient: bool) -> None:
        self._cluster, self._emit, self._is_owing = cluster, emit, is_patient

    def connect_failed(self, slot: Slot, error: BaseException, *, is_final: bool, has_reached: bool) -> None:
        """Tell of one; the first is told aloud while no instance has answered yet."""
        why = f"{type(error).__name__}: {sentence_of(error)}"
        role, instance = slot.side.role, slot.instance
        self._emit(
            kinds.PoolConnectFailed(cluster=self._cluster, role=role, instance=instance, error=why, is_final=is_final)
        )
        if self._is_owing and not has_reached:
            self._emit(kinds.PoolNotReached(cluster=self._cluster, error=why))
        self._is_owing = False
