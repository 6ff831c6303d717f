"""Who waits for the same thing: first come, first served, however many there are."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aioaurora.errors import Role


S_contra = TypeVar("S_contra", contravariant=True)

_SPARE = 16


class Waiter(Protocol[S_contra]):
    """Somebody who waits for a slot.

    Attributes:
        role: What was asked for; None: the default, or whichever the instance has.
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

    def pop(self) -> Waiter[Any]:
        """Take the first out of line."""
        waiter = self._queue[0][2]
        self.leave(waiter)
        return waiter

    @property
    def first(self) -> Waiter[Any] | None:
        """Who is first."""
        return self._queue[0][2] if self._queue else None

    @property
    def place(self) -> tuple[float, int]:
        """Where the first stands, to compare with other lines."""
        asked_at, number, _ = self._queue[0]
        return asked_at, number


@dataclass(eq=False, kw_only=True)
class Lines:
    """All who wait for one role.

    Attributes:
        line: Who waits and takes any slot.
        pinned: Who waits for one instance and no other, by its id.
        guests: Who waits for a reader, of which there is none; served last.
        waiting: How many wait in all of these.
        arrivals: How many ever did.
    """

    line: Line = field(default_factory=Line)
    pinned: dict[str, Line] = field(default_factory=dict)
    guests: Line = field(default_factory=Line)
    waiting: int = 0
    arrivals: int = 0

    @property
    def lines(self) -> list[Line]:
        """All lines."""
        return [self.line, *self.pinned.values(), self.guests]

    def join(self, waiter: Waiter[Any], *, as_guest: bool = False) -> None:
        """Let somebody stand in line, by the time when he asked."""
        self.arrivals += 1
        self.waiting += 1
        if as_guest:
            self.guests.join(waiter, self.arrivals)
        elif waiter.instance is None:
            self.line.join(waiter, self.arrivals)
        else:
            self.pinned.setdefault(waiter.instance, Line()).join(waiter, self.arrivals)

    def leave(self, waiter: Waiter[Any]) -> bool:
        """Take somebody out of line; says whether he stood there."""
        instance = waiter.instance
        if instance is None:
            has_left = self.line.leave(waiter) or self.guests.leave(waiter)
        else:
            line = self.pinned.get(instance)
            has_left = line is not None and line.leave(waiter)
            if not line and instance in self.pinned:
                del self.pinned[instance]
        self.waiting -= has_left
        return has_left

    def _first(self, line: Line | None) -> Line | None:
        """Drop from the head of a line who would take nothing now; gives it if somebody is left."""
        while line is not None and (waiter := line.first) is not None:
            if waiter.still_wants():
                return line
            self.leave(waiter)
        return None

    def next_for(self, instance: str | None, *, serves_all: bool, serves_one: bool) -> Waiter[Any] | None:
        """Take out of line the first who wants a slot of this instance."""
        line = self._first(self.line) if serves_all else None
        if self.pinned and serves_one:
            other = self._first(self.pinned.get(instance or ""))
            if other is not None and (line is None or other.place < line.place):
                line = other
        return self._taken(line)

    def next_guest(self) -> Waiter[Any] | None:
        """Take out of line the first who would take a writer's slot in place of a reader's."""
        return self._taken(self._first(self.guests))

    def _taken(self, line: Line | None) -> Waiter[Any] | None:
        if line is None:
            return None
        waiter = line.pop()
        self.waiting -= 1
        if waiter.instance is not None and not line:
            del self.pinned[waiter.instance]
        return waiter
