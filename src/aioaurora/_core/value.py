"""`dataclass`, as the standard library's; a module that is full of small values is imported in half the time.

The standard one writes and compiles anew how each class compares, hashes and shows itself. Here that stands once.
"""

from __future__ import annotations

import dataclasses
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import dataclass
else:

    def dataclass(*, eq: bool = True, repr: bool = True, **options: bool) -> Callable[[type], type]:  # noqa: A002 - as there.
        """Make a class a dataclass; takes what `dataclasses.dataclass` takes, but for `order` and `unsafe_hash`."""

        def made(cls: type) -> type:
            if repr:
                _add(cls, "__repr__", _Value.__repr__)
            if eq:
                _add(cls, "__eq__", _Value.__eq__)
                _add(cls, "__hash__", _Value.__hash__ if options.get("frozen") else None)
            cls = dataclasses.dataclass(eq=False, repr=False, **options)(cls)
            fields = dataclasses.fields(cls)
            cls._compared = _getter([each.name for each in fields if each.compare])
            cls._hashed = _getter([each.name for each in fields if (each.compare if each.hash is None else each.hash)])
            return cls

        return made


__all__ = ["dataclass"]


def _add(cls: type, name: str, method: object) -> None:
    if name not in cls.__dict__:
        setattr(cls, name, method)


def _getter(names: list[str]) -> Callable[[object], object]:
    return attrgetter(*names) if names else type


class _Value:
    """What all of them share."""

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]
    _compared: Callable[[object], object]
    _hashed: Callable[[object], object]

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return bool(self._compared(self) == self._compared(other))

    def __hash__(self) -> int:
        return hash((type(self), self._hashed(self)))

    def __repr__(self) -> str:
        shown = [f"{each.name}={getattr(self, each.name)!r}" for each in dataclasses.fields(self) if each.repr]
        return f"{type(self).__qualname__}({', '.join(shown)})"
