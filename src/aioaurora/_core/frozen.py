"""What an event is: a frozen value with a dotted name, made by keywords, equal and shown by its fields.

Events are dataclasses but for one thing: what `dataclass` would write for each of them anew stands once in `Event`. It
would be a third of what this package costs at every import.
"""

from __future__ import annotations

import enum
import functools
from dataclasses import MISSING, FrozenInstanceError, dataclass, fields
from typing import Any, ClassVar, TypeVar, dataclass_transform


class Level(enum.IntEnum):
    """How loudly the log says it; the numbers are those of `logging`."""

    DEBUG = 10  # A connection.
    INFO = 20  # The topology.
    WARNING = 30  # The start and the end of an episode that callers felt.
    ERROR = 40  # A fault of this package.


E = TypeVar("E")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def frozen(cls: type[E]) -> type[E]:
    """Make a class a frozen dataclass with keywords only, as far as `Event` does not do so."""
    return dataclass(init=False, eq=False, repr=False)(cls)


@frozen
class Event:
    """Something happened in a cluster.

    Attributes:
        cluster: Name of the cluster, or the host that was asked for.
    """

    name: ClassVar[str]
    level: ClassVar[Level] = Level.INFO

    cluster: str

    def __init__(self, **facts: Any) -> None:  # noqa: ANN401 - of any type: type checkers see the fields instead.
        defaults = _defaults_of(type(self))  # type: ignore[arg-type]  # Any class is hashable.
        given = defaults | facts
        if given.keys() != defaults.keys() or MISSING in given.values():
            raise TypeError(f"{type(self).__name__} takes {', '.join(defaults)}; it was given {', '.join(facts)}")
        self.__dict__.update(given)

    def __setattr__(self, name: str, value: object) -> None:
        raise FrozenInstanceError(f"{type(self).__name__}.{name} is what happened")

    def __delattr__(self, name: str) -> None:
        raise FrozenInstanceError(f"{type(self).__name__}.{name} is what happened")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Event) or type(other) is not type(self):
            return NotImplemented
        return fields_of(self) == fields_of(other)

    def __hash__(self) -> int:
        return hash((type(self), *fields_of(self).values()))

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in fields_of(self).items())
        return f"{type(self).__name__}({shown})"


@functools.cache
def _defaults_of(kind: type[Event]) -> dict[str, Any]:
    return {each.name: each.default for each in fields(kind)}


def fields_of(event: Event) -> dict[str, Any]:
    """Return the event's fields by name."""
    return dict(event.__dict__)
