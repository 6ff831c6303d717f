"""Which connections the application has, and to which instances."""

from __future__ import annotations

import functools
import math
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Protocol

    from aioaurora._core.restart import Opening
    from aioaurora._io.kernel import Signs
    from aioaurora.errors import Role

    class Held(Protocol):
        """What the monitor needs of an application's connection."""

        role: Role | None
        generation: int

        @property
        def closed(self) -> bool:
            """Whether it is closed."""

        def thread_id(self) -> int:
            """Give the server's number of it."""
            ...

        def lose(self, detail: str) -> None:
            """End it: its server is gone."""

        def signs(self) -> Signs | None:
            """Give the kernel's view of it."""


class Holdings:
    """The application's connections, as long as it has them."""

    def __init__(self) -> None:
        self._held: dict[str, weakref.WeakKeyDictionary[Held, Opening]] = {}

    def __iter__(self) -> Iterator[Held]:
        for held in self._held.values():
            yield from held

    def add(self, instance_id: str, connection: Held, opening: Opening) -> None:
        """Take one in; it was another instance's if it was made anew."""
        for held in self._held.values():
            held.pop(connection, None)
        self._held.setdefault(instance_id, weakref.WeakKeyDictionary())[connection] = opening

    def open_to(self, instance_id: str) -> list[Held]:
        """Give those that lead to an instance."""
        return [held for held in self._held.get(instance_id, ()) if not held.closed]

    def openings(self, instance_id: str) -> dict[Held, Opening]:
        """Give when those that lead to an instance were opened."""
        return {held: self._held[instance_id][held] for held in self.open_to(instance_id)}

    def endings(self, instance_id: str, connections: Iterable[Held], detail: str) -> list[Callable[[], None]]:
        """Give what ends these, one by one, at any time from now on."""
        return [functools.partial(self._lose, instance_id, each, each.generation, detail) for each in connections]

    def in_use(self) -> frozenset[str]:
        """Name the instances that one leads to."""
        self._held = {name: held for name, held in self._held.items() if any(not each.closed for each in held)}
        return frozenset(self._held)

    def silent_for_s(self, instance_id: str) -> float:
        """Give the seconds since the last byte of an instance arrived on any of them; infinite if none is known."""
        signs = [sign for held in self.open_to(instance_id) if (sign := held.signs())]
        return min((0.0 if sign.unread else sign.last_received_s for sign in signs), default=math.inf)

    def _lose(self, instance_id: str, connection: Held, generation: int, detail: str) -> None:
        """End one that is what it was: a ping may have made it anew since it was to be ended."""
        if connection.generation == generation and connection in self._held.get(instance_id, ()):
            connection.lose(detail)
