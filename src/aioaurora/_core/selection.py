"""Which instance a request is led to, or why it must wait or fail."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

from aioaurora._core.failover import ReaderOnly, Searching, State, Steady, lease_target
from aioaurora._core.topology import Health, Instance
from aioaurora._core.value import dataclass
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


# --- reader strategies ----------------------------------------------------------------------------------------------


class Candidate(Protocol):
    """A reader that may serve a request, as a strategy sees it.

    Attributes:
        id: Of the instance.
        busy: Connections of this pool to it that are leased or being opened.
        lag_s: How far it is behind the writer, in seconds; None: unknown.
        round_trip_s: The kernel's least round trip to it, in seconds; None: unknown.
        weight: As `reader_weights` says; 1 without.
        turn: Grows with each choice: who has the least was chosen longest ago.
    """

    @property
    def id(self) -> str: ...
    @property
    def busy(self) -> int: ...
    @property
    def lag_s(self) -> float | None: ...
    @property
    def round_trip_s(self) -> float | None: ...
    @property
    def weight(self) -> float: ...
    @property
    def turn(self) -> int: ...


C = TypeVar("C", bound=Candidate)
# Those that may serve, best first; or one, which is better than the others.
Strategy = Callable[[Sequence[Any], float], Any]

# How much further away than the nearest a reader is near, too (case 62).
_NEAR_S, _NEAR_SHARE = 0.0005, 0.2
# A near reader with more leases than this is busy, if it has twice as many as the least busy one further away.
_BUSY = 8


def two_choices(candidates: Sequence[C], chance: float) -> Sequence[C]:
    """Prefer the less busy of two that are drawn by lot: nearly as even as knowing all, and no herd."""
    count = len(candidates)
    if count < _TWO:
        return candidates
    first, second = divmod(min(int(chance * count * (count - 1)), count * (count - 1) - 1), count - 1)
    second += second >= first
    pair = sorted((candidates[first], candidates[second]), key=_busy)
    return [*pair, *sorted((each for each in candidates if each not in pair), key=_busy)]


def random(candidates: Sequence[C], chance: float) -> Sequence[C]:
    """Draw one by lot; after it the others, in turn."""
    start = int(chance * len(candidates)) % max(len(candidates), 1)
    return [*candidates[start:], *candidates[:start]]


def round_robin(candidates: Sequence[C], chance: float) -> Sequence[C]:  # noqa: ARG001 - a strategy.
    """Prefer the one that was chosen longest ago."""
    return sorted(candidates, key=lambda each: each.turn)


def least_leased(candidates: Sequence[C], chance: float) -> Sequence[C]:
    """Prefer the least busy; of several, by lot."""
    return sorted(random(candidates, chance), key=_busy)


def weighted(candidates: Sequence[C], chance: float) -> Sequence[C]:
    """Draw by lot, with the chances that `reader_weights` give; weight 0: only where there is no other."""
    left = chance * sum(each.weight for each in candidates)
    for each in candidates:
        left -= each.weight
        if left < 0:
            return [
                each,
                *sorted((other for other in candidates if other is not each), key=lambda other: -other.weight),
            ]
    return sorted(candidates, key=lambda each: -each.weight)


def nearest(candidates: Sequence[C], chance: float) -> Sequence[C]:
    """Use the readers that are near, by two choices; those further away once the near ones are twice as busy."""
    known = [each for each in candidates if each.round_trip_s is not None]
    if not known:
        return two_choices(candidates, chance)
    reach = min(each.round_trip_s or 0.0 for each in known) * (1 + _NEAR_SHARE) + _NEAR_S
    near = [each for each in known if (each.round_trip_s or 0.0) <= reach]
    far = sorted((each for each in known if each not in near), key=_busy)
    if far and min(map(_busy, near)) > max(_BUSY, 2 * far[0].busy):
        return [*far, *near]
    return two_choices(near, chance)


def _busy(candidate: Candidate) -> int:
    return candidate.busy


_TWO = 2
STRATEGIES: Mapping[str, Strategy] = MappingProxyType(
    {
        "two_choices": two_choices,
        "nearest": nearest,
        "round_robin": round_robin,
        "random": random,
        "least_leased": least_leased,
        "weighted": weighted,
    }
)


def careful(strategy: Strategy, failed: Callable[[Exception], None]) -> Strategy:
    """Guard the books against a user's strategy: two choices stand in where it raises, or gives nobody.

    Args:
        strategy: One of ours, or the user's.
        failed: Is told what went wrong; not again while the same goes wrong.
    """
    if strategy in STRATEGIES.values():
        return strategy
    told = ""

    def ordered(candidates: Sequence[Any], chance: float) -> Sequence[Any]:
        nonlocal told
        try:
            return _order_of(strategy(tuple(candidates), chance), candidates, chance)
        except Exception as error:  # noqa: BLE001 - it may raise anything.
            if told != repr(error):
                told = repr(error)
                failed(error)
            return two_choices(candidates, chance)

    return ordered


def _order_of(answer: object, candidates: Sequence[C], chance: float) -> Sequence[C]:
    others = [each for each in candidates if each is not answer]
    if len(others) < len(candidates):
        return [*(each for each in candidates if each is answer), *two_choices(others, chance)]
    given = answer if isinstance(answer, Iterable) else ()
    order = [each for each in given if any(each is other for other in candidates)]
    if not order:
        raise LookupError(f"it gave none of {', '.join(each.id for each in candidates)}")
    return order
