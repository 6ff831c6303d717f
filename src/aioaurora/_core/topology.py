"""What we believe of a cluster, and how an observation changes it.

Direct evidence beats reports: only what an instance says of itself makes it the writer, or brings it back. Its rows
add instances, say how far readers lag, and hint where to look; only a verified writer's own view removes anything, and
only what nobody has heard of for a while: a writer that has just been promoted lists nobody but itself.

Two that say writable: the one that turned so last wins, as seen by us or by its connection ids starting anew.
The other is no reader either until it says so (case 1). A writer that is merely late gives way to a new claim, not to
one that lost against it before: that is the old writer, fenced, and still answering.
"""

from __future__ import annotations

import enum
import math
from dataclasses import field, replace
from typing import TYPE_CHECKING

from aioaurora._core.endpoint import Endpoint, without_green_suffix
from aioaurora._core.observation import Mode, Observation, Row, View
from aioaurora._core.value import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable

# An instance that the writer does not list and that has been silent for this long was deleted. Less would drop all
# readers whenever a writer that was just promoted has not heard from them yet (case 7).
FORGOTTEN_AFTER_S = 60.0


class Health(enum.StrEnum):
    """Whether an instance answers, as far as we know."""

    UP = "up"
    SUSPECT = "suspect"  # Its heartbeat is late: nothing new is sent there.
    DOWN = "down"  # Written off: its generation grew.


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One server of the cluster.

    Attributes:
        id: Its `@@aurora_server_id`; of a server that is no Aurora, its host name.
        host: The endpoint's name: what is resolved, and what its certificate is checked against.
        port: TCP port.
        mode: What it said of itself last; None while it has not been asked.
        lag_s: How far it is behind the writer, in seconds, as last reported; None: unknown.
        health: Whether it answers.
        generation: Grows when it is written off; connections of an older generation are stale.
    """

    id: str
    host: str
    port: int
    mode: Mode | None = None
    lag_s: float | None = None
    health: Health = Health.UP
    generation: int = 0
    turned_at: float = -math.inf  # When we saw it turn writable.
    thread_id: int = field(default=0, compare=False)  # Of the newest connection to it; 0: unknown.
    numbered_at: float = field(default=-math.inf, compare=False)  # When we heard of that connection.
    begun_at: float = field(default=-math.inf, compare=False)  # When that connection was begun.
    broke_at: float = -math.inf  # When a connection of this generation broke last.
    heard_at: float = field(default=-math.inf, compare=False)  # By its own word or by others'; no news to wait for.
    said_at: float = field(default=-math.inf, compare=False)  # When it was asked for its last word.

    @property
    def claim(self) -> tuple[float, float]:
        """How good its claim to be the writer is: turned last, then restarted last."""
        return self.turned_at, -(self.thread_id or math.inf)

    @property
    def is_sound_writer(self) -> bool:
        """Whether it said writable, and answers."""
        return self.mode is Mode.WRITABLE and self.health is Health.UP

    @property
    def is_sound_reader(self) -> bool:
        """Whether it may be asked to read: it answers, and did not say that it is, or was a moment ago, a writer."""
        is_plain_replica = self.mode is Mode.FROZEN and self.id == self.host
        return self.health is Health.UP and (self.mode in {None, Mode.READ_ONLY} or is_plain_replica)


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """What we believe of the cluster.

    Attributes:
        endpoint: What was asked for.
        epoch: How often the writer has changed; 0 until one was seen.
        writer_id: Id of the instance that last proved to be the writer; None until one did.
        instances: All that are known, by id.
    """

    endpoint: Endpoint
    epoch: int = 0
    writer_id: str | None = None
    instances: tuple[Instance, ...] = ()
    stamp: float = -math.inf  # Of the newest view that was taken in.
    hint: str | None = None  # Whom the newest view calls the writer.
    floor: int = 0  # Generation of new instances: above those of the ones that were removed.

    @property
    def cluster(self) -> str:
        """Name of the cluster: the endpoint's, or the host where it has none."""
        return self.endpoint.name or self.endpoint.host

    @property
    def writer(self) -> Instance | None:
        """The instance that says it is the writer and answers; None while it is being sought."""
        instance = self.get(self.writer_id)
        return instance if instance is not None and instance.is_sound_writer else None

    @property
    def readers(self) -> tuple[Instance, ...]:
        """Instances that may be asked to read: up, and not claiming to be a writer."""
        return tuple(instance for instance in self.instances if instance.is_sound_reader)

    def get(self, instance_id: str | None) -> Instance | None:
        """Look an instance up by id."""
        for instance in self.instances:  # A generator costs four times as much.
            if instance.id == instance_id:
                return instance
        return None

    def with_instance(self, instance: Instance) -> Topology:
        """Put an instance in, in place of the one of the same id."""
        return replace(self, instances=tuple(instance if each.id == instance.id else each for each in self.instances))

    def __repr__(self) -> str:
        """Say what a person would ask: who is who."""
        others = ", ".join(f"{i.id}:{_label(i)}" for i in self.instances if i.id != self.writer_id)
        return f"<Topology {self.cluster} epoch={self.epoch} writer={self.writer_id} | {others}>"


def merged(topology: Topology, observation: Observation, now: float) -> Topology:
    """Take an observation in; the argument is left as it is."""
    known = topology.get(observation.instance_id)
    if known is not None and observation.asked_at < known.said_at:
        return _alive(topology, known, now)  # It has said otherwise since: what arrives late is a sign of life only.
    if known is not None and _is_confirmed(topology, known, observation):
        return topology.with_instance(_noted(known, observation, now))
    heard = _with_observer(topology, observation, now)
    observer = heard.get(observation.instance_id)
    assert observer is not None  # noqa: S101 - put there by the line above
    crowned = _crowned(heard, observer, known, now, hint=_hint_with(heard, observation.view))
    if observation.view is None:
        return crowned
    by_writer = crowned.writer_id == observer.id and observer.is_sound_writer
    if not by_writer and observation.view.stamp < crowned.stamp:
        return crowned  # An older view never overwrites a newer one (case 5).
    return _with_view(crowned, observation.view, by_writer=by_writer, now=now)


def written_off(topology: Topology, instance_id: str) -> Topology:
    """Count an instance's connections as stale from now on."""
    instance = topology.get(instance_id)
    if instance is None:
        return topology
    down = replace(instance, health=Health.DOWN, generation=instance.generation + 1, broke_at=-math.inf)
    return topology.with_instance(down)


def suspected(topology: Topology, instance_id: str) -> Topology:
    """Send nothing new to an instance until it answers."""
    instance = topology.get(instance_id)
    if instance is None or instance.health is not Health.UP:
        return topology
    return topology.with_instance(replace(instance, health=Health.SUSPECT))


def changed(before: Topology, after: Topology) -> tuple[Instance, ...]:
    """Name the instances that are no longer what they were: written off, of another mode, deposed or removed."""
    return tuple(each for each in before.instances if _has_changed(each, after.get(each.id), before, after))


def _has_changed(each: Instance, now: Instance | None, before: Topology, after: Topology) -> bool:
    if now is None or now.generation != each.generation:
        return True
    return (each.mode is not None and now.mode is not each.mode) or (each.id == before.writer_id != after.writer_id)


def _is_confirmed(topology: Topology, known: Instance, observation: Observation) -> bool:
    """Tell whether an answer says what was believed anyway: nearly all do, as each new connection brings one."""
    if observation.view is not None or observation.mode is not known.mode or known.health is not Health.UP:
        return False
    is_there = (observation.host, observation.port) == (known.host, known.port)
    if known.mode is not Mode.WRITABLE:
        return is_there
    return is_there and known.id == topology.writer_id and known.lag_s == 0 and not _has_restarted(known, observation)


def _alive(topology: Topology, instance: Instance, now: float) -> Topology:
    health = Health.UP if instance.health is Health.SUSPECT else instance.health
    return topology.with_instance(replace(instance, health=health, heard_at=now))


def _with_observer(topology: Topology, observation: Observation, now: float) -> Topology:
    instance_id, (host, port) = observation.instance_id, _place_of(topology, observation)
    known = topology.get(instance_id) or Instance(id=instance_id, host=host, port=port, generation=topology.floor)
    turned = observation.mode is Mode.WRITABLE and (known.mode is Mode.READ_ONLY or _has_restarted(known, observation))
    instance = replace(
        _noted(known, observation, now),
        host=host,
        port=port,
        mode=observation.mode,
        health=Health.UP,
        turned_at=now if turned else known.turned_at,
        lag_s=0.0 if observation.mode is Mode.WRITABLE else known.lag_s,
    )
    others = [other for other in topology.instances if other.id != instance_id]
    # A name that answers with another id was given to another instance: the old one has lost it (case 51).
    kept = [other for other in others if (other.host, other.port) != (host, port)]
    taken = {(other.host, other.port) for other in [instance, *kept]}
    moved = [_at_its_own_name(topology, other, taken) for other in others if other not in kept]
    return _with_instances(topology, [*kept, *filter(None, moved), instance])


def _at_its_own_name(topology: Topology, instance: Instance, taken: set[tuple[str, int]]) -> Instance | None:
    """Put one that has lost the name it answered to back under its own: a DNS that lied led to it under another."""
    place = topology.endpoint.place_of(instance.id)
    if place is None or place in taken or without_green_suffix(instance.id) != instance.id:
        return None
    return replace(instance, host=place[0], port=place[1])


def _noted(known: Instance, observation: Observation, now: float) -> Instance:
    """Note what every answer tells, whatever it says: on which connection it came, and when."""
    said_at = min(observation.asked_at, now)
    if not observation.thread_id:
        return replace(known, heard_at=now, said_at=said_at)
    number, begun_at = observation.thread_id, -math.inf if observation.dialled_at is None else observation.dialled_at
    return replace(known, thread_id=number, numbered_at=now, begun_at=begun_at, heard_at=now, said_at=said_at)


def _has_restarted(known: Instance, observation: Observation) -> bool:
    """Tell by the connection id; news of connects that overlapped arrive in any order, so less is not enough."""
    return 0 < observation.thread_id < known.thread_id / 2


def _place_of(topology: Topology, observation: Observation) -> tuple[str, int]:
    """Tell under which name an instance is reached: its own, or the one that it answered to."""
    endpoint = topology.endpoint
    known = topology.get(observation.instance_id)
    if known is not None and not observation.thread_id:
        return known.host, known.port  # A connection of before tells of no name: it may lead elsewhere by now.
    if observation.server_id is None or endpoint.pattern is None or endpoint.names_instance(observation.host):
        return observation.host, observation.port
    if known is not None:
        return known.host, known.port
    return endpoint.place_of(observation.server_id) or (observation.host, observation.port)


def _crowned(
    topology: Topology, observer: Instance, before: Instance | None, now: float, *, hint: str | None
) -> Topology:
    """Make the observer the writer if its claim is the best; `before` is what was known of it."""
    if observer.mode is not Mode.WRITABLE or observer.id == topology.writer_id:
        return topology
    incumbent = topology.get(topology.writer_id)
    was = None if before is None else before.mode
    if incumbent is not None and _holds(incumbent, observer, was=was, hint=hint):
        return topology
    if incumbent is not None and incumbent.claim >= observer.claim:  # It has turned since, whenever that was.
        topology = topology.with_instance(replace(observer, turned_at=now))
    return replace(topology, writer_id=observer.id, epoch=topology.epoch + 1)


def _holds(incumbent: Instance, claimant: Instance, *, was: Mode | None, hint: str | None) -> bool:
    """Tell whether the writer stays the writer against another one that says writable, and that was `was` before."""
    if incumbent.mode is not Mode.WRITABLE or incumbent.health is Health.DOWN:
        return False
    if incumbent.health is Health.SUSPECT and was is not Mode.WRITABLE:
        return False
    saw_none_turn = was is None or incumbent.turned_at == claimant.turned_at
    if saw_none_turn and hint in {incumbent.id, claimant.id}:
        return hint == incumbent.id  # Then the newest rows tell which one is fenced (case 1).
    return incumbent.claim >= claimant.claim


def _with_view(topology: Topology, view: View, *, by_writer: bool, now: float) -> Topology:
    rows = {row.server_id: row for row in view.rows}
    kept = [each for each in topology.instances if each.id in rows or not (by_writer and _is_forgotten(each, now))]
    heard = [
        _heard_of(each, rows.get(each.id), topology.writer_id, now) for each in [*kept, *_new(topology, kept, rows)]
    ]
    after = _with_instances(topology, heard)
    if not (by_writer and _is_contested(after)):
        after = replace(after, hint=_hint_of(view.rows, after.writer_id) or after.hint)
    return replace(after, stamp=view.stamp)


def _with_instances(topology: Topology, instances: Iterable[Instance]) -> Topology:
    """Put these in the place of all; whoever of the others comes back begins above its old generation."""
    kept = tuple(sorted(instances, key=lambda instance: instance.id))
    ids = {instance.id for instance in kept}
    gone = [instance.generation + 1 for instance in topology.instances if instance.id not in ids]
    return replace(topology, instances=kept, floor=max([topology.floor, *gone]))


def _is_forgotten(instance: Instance, now: float) -> bool:
    """Tell whether nobody has heard of it for long; the silence of one that is suspected is being judged."""
    return now - instance.heard_at >= FORGOTTEN_AFTER_S and instance.health is not Health.SUSPECT


def _new(topology: Topology, kept: list[Instance], server_ids: Iterable[str]) -> list[Instance]:
    """Make instances of ids that are new; not where their name is known to lead to another one (case 51)."""
    known = {instance.id for instance in kept}
    taken = {(instance.host, instance.port) for instance in kept}
    new: list[Instance] = []
    for server_id in server_ids:
        place = topology.endpoint.place_of(server_id)
        if server_id not in known and place is not None and place not in taken:
            new.append(Instance(id=server_id, host=place[0], port=place[1], generation=topology.floor))
            taken.add(place)
    return new


def _heard_of(instance: Instance, row: Row | None, writer_id: str | None, now: float) -> Instance:
    if row is None:
        return instance
    lag_s = instance.lag_s if instance.id == writer_id else row.lag_s
    return replace(instance, lag_s=lag_s, heard_at=max(instance.heard_at, now - row.age_s))


def _hint_with(topology: Topology, view: View | None) -> str | None:
    """Tell whom the newest rows call the writer, those of a view that is no older among them."""
    if view is None or view.stamp < topology.stamp:
        return topology.hint
    return _hint_of(view.rows, topology.writer_id) or topology.hint


def _is_contested(topology: Topology) -> bool:
    """Tell whether others' rows name another writer, which has not denied it: a fenced one sees itself still."""
    other = topology.get(topology.hint)
    return other is not None and other.id != topology.writer_id and other.mode is not Mode.READ_ONLY


def _hint_of(rows: Iterable[Row], writer_id: str | None) -> str | None:
    """Name whom the newest row calls the writer; of two as new, the one that we did not know of."""
    masters = [row for row in rows if row.is_writer]
    return min(masters, key=lambda row: (row.age_s, row.server_id == writer_id)).server_id if masters else None


def _label(instance: Instance) -> str:
    return f"{instance.mode or 'unasked'}" + ("" if instance.health is Health.UP else f"({instance.health})")
