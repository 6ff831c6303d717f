"""When the writer is sought, and when that ends.

    Unreached --observed--> Steady --writer late, lost, demoted, frozen--> Searching --a writer says so--> Steady
                              ^                                                |
                              +------a writer says so------ ReaderOnly <--all say reader, none ever was a writer

`step` is total: every event in every phase gives a state and commands. Two counters stand in for locks: `epoch`
grows when the writer changes, an instance's `generation` when it is written off. News of an older one changes
nothing, so that 200 broken connections start one search. The look for the very first writer is a search without
`SearchStarted` and `SearchEnded`: nothing has failed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from aioaurora._core.observation import Mode, Observation
from aioaurora._core.restart import Outlived, outlived
from aioaurora._core.topology import Health, Instance, Topology, merged, suspected, written_off
from aioaurora._core.value import dataclass

# Two connections that break this close together are the instance's fault, not a DBA's KILL (case 60).
TWO_LOSSES_WITHIN_S = 0.1
# For so long all instances must say reader, with none ever seen writing, until a cluster counts as reader-only; or,
# where some do not answer and one of them might be the writer, all that do.
READER_ONLY_AFTER_S = 1.0
READER_ONLY_AT_LAST_S = 60.0


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
    """The instance itself said, on an application's connection, that it takes no writes."""

    instance: str
    mode: Mode = Mode.READ_ONLY


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


Command = Ask | Abort | Outlived | SearchStarted | SearchEnded


# --- the step -------------------------------------------------------------------------------------------------------


def step(state: State, event: Event, now: float) -> tuple[State, tuple[Command, ...]]:
    """Take one piece of news in; says what is to be done about it."""
    match event:
        case Observed(observation):
            return _observed(state, observation, now)
        case Demoted(instance_id, mode):
            return _demoted(state, instance_id, mode, now)
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
    aborts = (*_evicted(before, topology), *_deposed(before, topology), *outlived(before, observation))
    match state.phase:
        case Steady() if topology.writer is not None and topology.epoch == before.epoch:
            return state, (*aborts, *_questions(topology, observation))
        case Steady() if topology.writer is not None:
            started = SearchStarted(f"{topology.writer.id} says it is the writer")
            return state, (started, *aborts, SearchEnded(before.writer_id, topology.writer.id, 0.0))
        case Searching(since, _) if topology.writer is not None:
            ended = SearchEnded(before.writer_id, topology.writer.id, now - since)
            told = () if before.writer_id is None else (ended,)
            return replace(state, phase=Steady()), (*aborts, *told)
        case Unreached() | ReaderOnly() if topology.writer is not None:
            return replace(state, phase=Steady()), aborts
        case Searching():
            return _resigned(state, now), aborts
        case ReaderOnly() if observation.mode is not Mode.FROZEN:
            return state, (*aborts, *_questions(topology, observation))
        case _:
            searching, begun = _start(state, _cause_of(observation.instance_id, observation.mode), now)
            return searching, (*begun, *aborts)


def _demoted(state: State, instance_id: str, mode: Mode, now: float) -> tuple[State, tuple[Command, ...]]:
    instance = state.topology.get(instance_id)
    if instance is None:
        return state, ()
    topology = state.topology.with_instance(replace(instance, mode=mode, said_at=now))
    return _searched(replace(state, topology=topology), instance_id, _cause_of(instance_id, mode), now)


def _session_lost(state: State, instance_id: str, generation: int, now: float) -> tuple[State, tuple[Command, ...]]:
    instance = state.topology.get(instance_id)
    if instance is None or instance.generation != generation:
        return state, ()
    if now - instance.broke_at <= TWO_LOSSES_WITHIN_S:
        return _written_off(state, instance_id, generation, f"connections to {instance_id} break", now)
    topology = state.topology.with_instance(replace(instance, broke_at=now))
    return replace(state, topology=topology), (Ask(instance_id),)


def _written_off(
    state: State, instance_id: str, generation: int, cause: str, now: float
) -> tuple[State, tuple[Command, ...]]:
    instance = state.topology.get(instance_id)
    if instance is None or not _is_current(state, instance_id, generation) or instance.health is Health.DOWN:
        return state, ()
    lost = replace(state, topology=written_off(state.topology, instance_id))
    searched, commands = _searched(lost, instance_id, cause, now)
    return searched, (*commands, Ask(instance_id))


def _searched(state: State, instance_id: str, cause: str, now: float) -> tuple[State, tuple[Command, ...]]:
    """Start a search if it is the writer that the news is about."""
    if instance_id != state.topology.writer_id or not isinstance(state.phase, Steady):
        return state, ()
    return _start(state, cause, now)


def _start(state: State, cause: str, now: float) -> tuple[State, tuple[Command, ...]]:
    searching = replace(state, phase=Searching(now, cause))
    return searching, (SearchStarted(cause),) if state.topology.writer_id is not None else ()


def _resigned(state: State, now: float) -> State:
    """Stop searching where there never was a writer, and all that answer say that they are readers."""
    topology = state.topology
    if not isinstance(state.phase, Searching) or topology.writer_id is not None or topology.hint is not None:
        return state
    all_answer = all(each.mode is not None and each.health is Health.UP for each in topology.instances)
    patience_s = READER_ONLY_AFTER_S if all_answer else READER_ONLY_AT_LAST_S
    none_writes = all(each.is_sound_reader for each in topology.instances if each.health is Health.UP)
    return replace(state, phase=ReaderOnly()) if none_writes and now - state.phase.since >= patience_s else state


def _evicted(before: Topology, after: Topology) -> tuple[Command, ...]:
    """End what holds an instance that was removed: nobody watches it any more."""
    left = {instance.id for instance in after.instances}
    gone = [instance.id for instance in before.instances if instance.id not in left]
    return tuple(Abort(instance_id, f"{instance_id} is no longer part of the cluster") for instance_id in gone)


def _deposed(before: Topology, after: Topology) -> tuple[Command, ...]:
    """End what still holds the old writer once another one is verified; all of it if it does not answer."""
    old = after.get(before.writer_id)
    if old is None or before.writer_id == after.writer_id:
        return ()
    answers = old.health is Health.UP and old.mode is Mode.READ_ONLY
    return (Abort(old.id, f"{after.writer_id} is the writer now", writers_only=answers),)


def _questions(topology: Topology, observation: Observation) -> tuple[Command, ...]:
    """Ask whom the rows call the writer, and whoever's last word is open: rows alone change nothing (promise 3)."""
    if observation.view is None:
        return ()
    by_writer = topology.writer_id in {observation.instance_id, None}  # Else each instance in use would ask once more.
    names = {each.id for each in topology.instances if by_writer and _is_open(each)} | {topology.hint}
    return tuple(Ask(each.id) for each in topology.instances if each.id in names and each.id != topology.writer_id)


def _is_open(instance: Instance) -> bool:
    """Tell whether it was silent, or no reader, when last asked: else nobody would ever ask it again."""
    return instance.health is not Health.UP or instance.mode in {Mode.WRITABLE, Mode.FROZEN}


def _cause_of(who: str, mode: Mode) -> str:
    return f"{who} is frozen by a switchover" if mode is Mode.FROZEN else f"{who} says it is a reader"


def _is_current(state: State, instance_id: str, generation: int) -> bool:
    instance = state.topology.get(instance_id)
    return instance is not None and instance.generation == generation
