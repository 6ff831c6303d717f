"""What a pool would do if it followed its cluster, and only observes it: told, and not done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aioaurora._core import event as kinds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from aioaurora._core.frozen import Event
    from aioaurora._core.shares import Slot
    from aioaurora._core.sight import Sight


class Withholding:
    """Tells how many connections to an instance would not have been handed out again, when that begins."""

    def __init__(self, cluster: str, emit: Callable[[Event], None]) -> None:
        self._cluster, self._emit = cluster, emit
        self._told: set[str] = set()

    def see(self, sight: Sight, slots: Iterable[Slot]) -> None:
        """Look at the connections as they would be looked at now."""
        stale: dict[str, list[str]] = {}
        for slot in slots:
            if slot.connection is not None:
                sight.date(slot, slot.instance)
                if why := slot.staleness(sight):
                    stale.setdefault(slot.instance or "", []).append(why)
        for instance in sorted(stale.keys() - self._told):
            count, why = len(stale[instance]), stale[instance][0]
            self._emit(kinds.Withheld(cluster=self._cluster, what="expire", instance=instance, count=count, why=why))
        self._told = set(stale)
