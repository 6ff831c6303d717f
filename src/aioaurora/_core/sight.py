"""What the pool's books need to know of the cluster, and what of it makes a connection stale."""

from __future__ import annotations

import math
from dataclasses import field, replace
from typing import TYPE_CHECKING, Protocol

from aioaurora._core.failover import Searching, State, Unreached, lease_target
from aioaurora._core.value import dataclass
from aioaurora.errors import Role

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aioaurora._core.topology import Instance


class Dated(Protocol):
    """What says when a connection was opened: by the cluster's epoch and its instance's generation."""

    epoch: int
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """The cluster as the pool sees it.

    Attributes:
        is_known: Instances are told apart: the cluster is followed, and has been reached.
        is_sought: The writer is being sought: nothing is opened to it, nothing of it is handed out.
        is_plain: One server that is no Aurora: it serves every role.
        is_custom: The endpoint alone says who its members are: readers are not told apart.
        epoch: How often the writer has changed.
        writer: Whom writers are led to; None: nobody, for now.
        readers: Whom readers are led to.
        instances: All, by id.
    """

    is_known: bool = False
    is_sought: bool = False
    is_plain: bool = False
    is_custom: bool = False
    epoch: int = 0
    writer: Instance | None = None
    readers: tuple[Instance, ...] = ()
    instances: Mapping[str, Instance] = field(default_factory=dict)

    def date(self, held: Dated, instance_id: str | None) -> None:
        """Have a connection that was opened before the cluster was known count as opened now."""
        instance = self.instances.get(instance_id or "")
        if self.is_known and not held.epoch and instance is not None:
            held.epoch, held.generation = self.epoch, instance.generation

    def staleness(self, role: Role | None, instance_id: str | None, *, epoch: int, generation: int) -> str:
        """Say why a connection that was opened at that epoch and generation is not to be used again; "" if it is."""
        if not self.is_known:
            return ""
        instance = self.instances.get(instance_id or "")
        if instance is None:
            return "its instance left the cluster"
        if instance.generation != generation:
            return "its instance was written off"
        if role is Role.WRITER and epoch != self.epoch:
            return "the writer changed"
        if role is Role.READER and self.writer == instance and not self.is_plain:
            return "its instance is the writer now"
        return ""

    def unfitness(self, wanted: Role | None, instance_id: str | None, *, epoch: int, generation: int) -> str:
        """Say why who wants this role had better connect anew than use an idle connection; "" if it will do.

        Unlike a pool's slot it may lead to the writer in a reader's place, and be right there while there is no reader.
        """
        if wanted is not Role.READER:
            return self.staleness(wanted, instance_id, epoch=epoch, generation=generation)
        stale = self.staleness(None, instance_id, epoch=epoch, generation=generation)
        if stale or not self.readers or any(reader.id == instance_id for reader in self.readers):
            return stale
        is_writer = self.writer is not None and self.writer.id == instance_id
        return "its instance is the writer now" if is_writer else "its instance does not answer"


def sight_of(state: State, *, is_plain: bool, is_custom: bool = False) -> Sight:
    """See what a pool must know of a state."""
    topology = state.topology
    writer = lease_target(state)
    is_sought = isinstance(state.phase, Searching)
    readers = topology.instances if is_plain else topology.readers
    if is_sought:  # Whoever was not asked yet may be the writer.
        readers = tuple(each for each in readers if each.mode is not None) or readers
    return Sight(
        is_known=not isinstance(state.phase, Unreached),
        is_sought=is_sought,
        is_plain=is_plain,
        is_custom=is_custom,
        epoch=topology.epoch,
        writer=_seen(writer) if writer is not None else None,
        readers=tuple(map(_seen, readers)),
        instances={instance.id: _seen(instance) for instance in topology.instances},
    )


def _seen(instance: Instance) -> Instance:
    """Leave out what changes with each loss and is nothing to a pool: two sights that are alike are equal."""
    return replace(instance, broke_at=-math.inf)
