"""What the pool's books want done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aioaurora._core.value import dataclass

if TYPE_CHECKING:
    from aioaurora._core.line import Waiter
    from aioaurora._core.shares import Slot


@dataclass(frozen=True, slots=True)
class Open:
    """Connect for a slot."""

    slot: Slot


@dataclass(frozen=True, slots=True)
class Hand:
    """Give a slot to somebody who waits; it counts as leased."""

    slot: Slot
    waiter: Waiter[Slot]


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection of a slot, which is no longer in the books."""

    slot: Slot
    why: str


@dataclass(frozen=True, slots=True)
class Fail:
    """Tell somebody who waits that the last connect failed for good."""

    waiter: Waiter[Slot]


Command = Open | Hand | Close | Fail
