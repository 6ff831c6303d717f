"""Which instance a request is led to, or why it must wait or fail."""

from __future__ import annotations

from dataclasses import dataclass

from aioaurora._core.failover import ReaderOnly, Searching, State, Steady, lease_target
from aioaurora._core.topology import Health, Instance
from aioaurora.errors import Role


@dataclass(frozen=True, slots=True)
class Hopeless:
    """No waiting helps."""

    sentence: str


@dataclass(frozen=True, slots=True)
class Chosen:
    """Dial this one."""

    instance: Instance
    role: Role | None  # What it must prove to be; None: anything.
    is_fallback: bool = False


def chosen(
    state: State, role: Role | None, *, pinned: str | None, chance: float, avoid: frozenset[str] = frozenset()
) -> Chosen | Hopeless | None:
    """Choose an instance for a role; None: wait for the topology to change.

    Args:
        state: What we believe.
        role: What the instance must be; None: any, as it comes.
        pinned: The only instance that will do.
        chance: From 0 to 1, to spread readers.
        avoid: Readers that have just failed this request: tried again only where there is nobody else.
    """
    if pinned is not None:
        return _pinned(state, pinned, role)
    if role is Role.WRITER:
        return _writer(state)
    readers = state.topology.readers
    untried = [reader for reader in readers if reader.id not in avoid]
    writer = lease_target(state)
    if writer is not None and not untried:
        return Chosen(writer, None, is_fallback=role is Role.READER)
    candidates = untried or readers
    return Chosen(candidates[int(chance * len(candidates)) % len(candidates)], role) if candidates else None


def _writer(state: State) -> Chosen | Hopeless | None:
    match state.phase:
        case Steady():
            writer = lease_target(state)
            return None if writer is None else Chosen(writer, Role.WRITER)
        case ReaderOnly():
            cluster = state.topology.cluster
            return Hopeless(f"{cluster!r} is a reader-only cluster: none of its instances was ever a writer")
        case _:
            return None


def _pinned(state: State, pinned: str, role: Role | None) -> Chosen | Hopeless | None:
    instance = state.topology.get(pinned)
    if instance is None:
        known = ", ".join(each.id for each in state.topology.instances)
        return Hopeless(f"no instance {pinned!r} in {state.topology.cluster!r}; there are {known or 'none'}")
    if instance.health is not Health.UP and isinstance(state.phase, Searching):
        return None
    return Chosen(instance, role)
