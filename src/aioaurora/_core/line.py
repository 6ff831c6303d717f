"""Who waits for the same thing: first come, first served, however many there are."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aioaurora.errors import Role


S_contra = TypeVar("S_contra", contravariant=True)

_SPARE = 16


class Waiter(Protocol[S_contra]):
    """Somebody who waits for a slot.

    Attributes:
        role: What was asked for; None: any, or whichever the instance has.
        instance: The only one that will do; None: any.
        asked_at: When; it keeps the place of who has to stand in line once more.
    """

    role: Role | None
    instance: str | None
    asked_at: float

    def still_wants(self) -> bool:
        """Tell whether a slot would be taken now: who was cancelled in the same moment would not."""

    def serve(self, slot: S_contra, /) -> None:
        """Take a slot."""

    def fail(self, error: BaseException, /) -> None:
        """Learn that there will be none."""


class Line:
    """Waiters in the order in which they asked; joining and leaving cost the same in a long line as in a short one."""

    __slots__ = ("_places", "_queue")

    def __init__(self) -> None:
        self._places: dict[Waiter[Any], int] = {}
        # A heap; has some of those who left, too, until they would be first.
        self._queue: list[tuple[float, int, Waiter[Any]]] = []

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[Waiter[Any]]:
        return iter(self._places)

    def join(self, waiter: Waiter[Any], number: int) -> None:
        """Let somebody stand in line; of those who asked at the same time, the least number is first."""
        self._places[waiter] = number
        heapq.heappush(self._queue, (waiter.asked_at, number, waiter))

    def leave(self, waiter: Waiter[Any]) -> bool:
        """Take somebody out of line; says whether he stood there."""
        if self._places.pop(waiter, None) is None:
            return False
        queue, places = self._queue, self._places
        while queue and places.get(queue[0][2]) != queue[0][1]:
            heapq.heappop(queue)
        if len(queue) > 2 * len(places) + _SPARE:  # One who is patient must not keep all who were not.
            queue[:] = [(waiter.asked_at, number, waiter) for waiter, number in places.items()]
            heapq.heapify(queue)
        return True

    @property
    def first(self) -> Waiter[Any] | None:
        """Who is first."""
        return self._queue[0][2] if self._queue else None

    @property
    def place(self) -> tuple[float, int]:
        """Where the first stands, to compare with other lines."""
        asked_at, number, _ = self._queue[0]
        return asked_at, number
