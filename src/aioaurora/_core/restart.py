"""How it shows that an instance has started anew without a word.

A server numbers its connections from 1 on, and gives no smaller number to a later one.

    opened, number 40 .... restart .... begun, number 7      whoever had 7 or more before is of a process that is gone,
                                                             and so is whoever was open before that one was begun
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

from aioaurora._core.value import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aioaurora._core.observation import Observation
    from aioaurora._core.topology import Topology

T = TypeVar("T")

_NUMBERS_END = 1 << 31  # They have 32 bits: near their end a small one follows without a restart.


@dataclass(frozen=True, slots=True)
class Opening:
    """A connection that was made: its number, and the loop times at which it was begun and was there."""

    number: int
    begun_at: float
    open_at: float


@dataclass(frozen=True, slots=True)
class Outlived:
    """End what was connected to an instance before it started anew: its sessions are gone."""

    instance: str
    cause: str
    number: int  # Of a connection that was begun at `begun_at`.
    begun_at: float
    gone_by: float = -math.inf  # What was open by then is of the process before, whatever its number.

    def among(self, held: Mapping[T, Opening]) -> list[T]:
        """Pick the connections that are older than the instance's process."""
        older = {each for each in held.values() if self._is_younger_than(each)}
        newest = max([each.begun_at for each in older] + [self.gone_by])
        return [each for each, opening in held.items() if opening in older or opening.open_at <= newest]

    def _is_younger_than(self, opening: Opening) -> bool:
        return opening.open_at <= self.begun_at and self.number <= opening.number < _NUMBERS_END


def outlived(before: Topology, observation: Observation) -> tuple[Outlived, ...]:
    """Say whether a connection made just now may show a restart; a plain name may lead to several servers in turn."""
    known, begun_at = before.get(observation.instance_id), observation.dialled_at
    if known is None or begun_at is None or observation.server_id is None:
        return ()
    # News of connects that overlapped arrive in any order.
    if not 0 < observation.thread_id <= known.thread_id < _NUMBERS_END or begun_at < known.numbered_at:
        return ()
    cause = f"{known.id} has restarted"
    return (Outlived(known.id, cause, observation.thread_id, begun_at, gone_by=known.begun_at),)
