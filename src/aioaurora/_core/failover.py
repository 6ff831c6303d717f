"""When the writer is sought, and when that ends.

    Unreached --observed--> Steady --writer late, lost, demoted, frozen--> Searching --a writer says so--> Steady
                              ^                                                |
                              +------a writer says so------ ReaderOnly <--all say reader, none ever was a writer

`step` is total: every event in every phase gives a state and commands. Two counters stand in for locks: `epoch`
grows when the writer changes, an instance's `generation` when it is written off. News of an older one changes
nothing, so that 200 broken connections start one search.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import assert_never

from aioaurora._core.observation import Mode, Observation
from aioaurora._core.topology import Health, Instance, Topology, merged, suspected, written_off

# Two connections that break this close together are the instance's fault, not a DBA's KILL (case 60).
TWO_LOSSES_WITHIN_S = 0.1
# For so long all instances must say reader, with none ever seen writing, until a cluster counts as reader-only.
READER_ONLY_AFTER_S = 1.0


# --- phases ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Unreached:
    """No instance has answered yet."""


@dataclass(frozen=True, slots=True)
class Steady:
    """The writer is known and answers."""


@dataclass(frozen=True, slots=True)
class Searching:
    """The writer is being sought."""

    since: float
    cause: str


@dataclass(frozen=True, slots=True)
class ReaderOnly:
    """No instance ever was a writer: a global database's secondary cluster (case 58)."""


Phase = Unreached | Steady | Searching | ReaderOnly


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """All that the decisions rest on."""

    topology: Topology
    phase: Phase = Unreached()
    last_loss: tuple[str, float] | None = None  # Instance and time of the last connection that broke alone.


# --- events ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Observed:
    """An instance answered."""

    observation: Observation


@dataclass(frozen=True, slots=True)
class Late:
    """An instance's heartbeat is overdue."""

    instance: str
    silent_s: float


@dataclass(frozen=True, slots=True)
class SessionLost:
    """One connection broke."""

    instance: str
    generation: int


@dataclass(frozen=True, slots=True)
class InstanceLost:
    """An instance refuses, or what broke can only be the whole instance."""

    instance: str
    generation: int
    cause: str


@dataclass(frozen=True, slots=True)
class Silenced:
    """An instance has been silent for so long that what waits for it is ended."""

    instance: str
    generation: int
    cause: str


@dataclass(frozen=True, slots=True)
class Demoted:
    """The instance itself said, on an application's connection, that it is a reader."""

    instance: str


Event = Observed | Late | SessionLost | InstanceLost | Silenced | Demoted


# --- commands -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask this instance now what it is."""

    instance: str


@dataclass(frozen=True, slots=True)
class Abort:
    """End everything that waits for this instance, or holds it for the writer."""

    instance: str
    cause: str
    writers_only: bool = False


@dataclass(frozen=True, slots=True)
class SearchStarted:
    """The writer is being sought from now on."""

    cause: str


@dataclass(frozen=True, slots=True)
class SearchEnded:
    """A writer is known again; `old` and `new` are equal when it is the one that we had."""

    old: str | None
    new: str
    lasted_s: float


Command = Ask | Abort | SearchStarted | SearchEnded


# --- the step -------------------------------------------------------------------------------------------------------


def step(state: State, event: Event, now: float) -> tuple[State, tuple[Command, ...]]:
    """Take one piece of news in; says what is to be done about it."""
    match event:
        case Observed(observation):
            return _observed(state, observation, now)
        case Demoted(instance_id):
            return _demoted(state, instance_id, now)
        case Late(instance_id, silent_s):
            late = replace(state, topology=suspected(state.topology, instance_id))
            return _searched(late, instance_id, f"{instance_id} silent for {silent_s:.2f} s", now)
        case SessionLost(instance_id, generation):
            return _session_lost(state, instance_id, generation, now)
        case InstanceLost(instance_id, generation, cause):
            return _written_off(state, instance_id, generation, cause, now)
        case Silenced(instance_id, generation, cause):
            if not _is_current(state, instance_id, generation):
                return state, ()
            lost, commands = _written_off(state, instance_id, generation, cause, now)
            return lost, (*commands, Abort(instance_id, cause))
        case _:
            assert_never(event)


def lease_target(state: State) -> Instance | None:
    """Give the writer that may be connected to now; None while it is sought."""
    return state.topology.writer if isinstance(state.phase, Steady) else None


def watched(state: State, in_use: frozenset[str]) -> frozenset[str]:
    """Name the instances that are to be asked regularly: the writer and those in use, or all during a search."""
    topology = state.topology
    everyone = frozenset(instance.id for instance in topology.instances)
    match state.phase:
        case Unreached():
            return frozenset()
        case Steady():
            return (in_use | {topology.writer_id or ""}) & everyone
        case Searching():
            return everyone
        case ReaderOnly():
            return in_use & everyone or everyone
        case _:
            assert_never(state.phase)


# --- one event each -------------------------------------------------------------------------------------------------


def _observed(state: State, observation: Observation, now: float) -> tuple[State, tuple[Command, ...]]:
    before = state.topology
    topology = merged(before, observation, now)
    state = replace(state, topology=topology)
    writer = topology.writer
    deposed = _deposed(before, topology)
    match state.phase:
        case Steady() if writer is not None and topology.epoch == before.epoch:
            return state, _verification(topology)
        case Searching() if writer is None:
            return _resigned(state, now), ()
        case Searching(since, _) if writer is not None:
            ended = SearchEnded(before.writer_id, writer.id, now - since)
            return replace(state, phase=Steady()), (*deposed, ended)
        case (Unreached() | ReaderOnly()) if writer is not None:
            return replace(state, phase=Steady()), deposed
        case Steady() if writer is not None:
            return state, (*deposed, SearchEnded(before.writer_id, writer.id, 0.0))
        case ReaderOnly():
            return state, ()
        case _:
            cause = _cause_of(observation) if topology.writer_id or not isinstance(state.phase, Unreached) else ""
            return _start(state, cause or "no writer seen yet", now)


def _demoted(state: State, instance_id: str, now: float) -> tuple[State, tuple[Command, ...]]:
    instance = state.topology.get(instance_id)
    if instance is None:
        return state, ()
    topology = state.topology.with_instance(replace(instance, mode=Mode.READ_ONLY))
    return _searched(replace(state, topology=topology), instance_id, f"{instance_id} says it is a reader", now)


def _session_lost(state: State, instance_id: str, generation: int, now: float) -> tuple[State, tuple[Command, ...]]:
    if not _is_current(state, instance_id, generation):
        return state, ()
    match state.last_loss:
        case (who, when) if who == instance_id and now - when <= TWO_LOSSES_WITHIN_S:
            return _written_off(state, instance_id, generation, f"connections to {instance_id} break", now)
        case _:
            return replace(state, last_loss=(instance_id, now)), (Ask(instance_id),)


def _written_off(
    state: State, instance_id: str, generation: int, cause: str, now: float
) -> tuple[State, tuple[Command, ...]]:
    instance = state.topology.get(instance_id)
    if instance is None or not _is_current(state, instance_id, generation) or instance.health is Health.DOWN:
        return state, ()
    lost = replace(state, topology=written_off(state.topology, instance_id, now))
    searched, commands = _searched(lost, instance_id, cause, now)
    return searched, (*commands, Ask(instance_id))


def _searched(state: State, instance_id: str, cause: str, now: float) -> tuple[State, tuple[Command, ...]]:
    """Start a search if it is the writer that the news is about."""
    if instance_id != state.topology.writer_id or not isinstance(state.phase, Steady):
        return state, ()
    return _start(state, cause, now)


def _start(state: State, cause: str, now: float) -> tuple[State, tuple[Command, ...]]:
    return replace(state, phase=Searching(now, cause)), (SearchStarted(cause),)


def _resigned(state: State, now: float) -> State:
    """Stop searching where there never was a writer, and all say that they are readers."""
    match state.phase:
        case Searching(since, _) if state.topology.epoch == 0 and now - since >= READER_ONLY_AFTER_S:
            everyone_reads = all(instance.mode is Mode.READ_ONLY for instance in state.topology.instances)
            nobody_named = state.topology.hint is None
            return replace(state, phase=ReaderOnly()) if everyone_reads and nobody_named else state
        case _:
            return state


def _deposed(before: Topology, after: Topology) -> tuple[Command, ...]:
    """End what still holds the old writer once another one is verified; all of it if it does not answer."""
    old = after.get(before.writer_id) or before.get(before.writer_id)
    if before.writer_id is None or before.writer_id == after.writer_id or old is None:
        return ()
    answers = old.health is Health.UP and old.mode is Mode.READ_ONLY
    return (Abort(old.id, f"{after.writer_id} is the writer now", writers_only=answers),)


def _verification(topology: Topology) -> tuple[Command, ...]:
    """Ask whom the rows call the writer: rows alone change nothing (DESIGN, promise 3)."""
    if topology.hint is None or topology.hint == topology.writer_id or topology.get(topology.hint) is None:
        return ()
    return (Ask(topology.hint),)


def _cause_of(observation: Observation) -> str:
    who = observation.server_id or observation.host
    return f"{who} is frozen by a switchover" if observation.mode is Mode.FROZEN else f"{who} says it is a reader"


def _is_current(state: State, instance_id: str, generation: int) -> bool:
    instance = state.topology.get(instance_id)
    return instance is not None and instance.generation == generation
