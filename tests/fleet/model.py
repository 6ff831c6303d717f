"""A fleet's failover as discrete events, for fleets that no machine has room for.

Every process has a Cluster and a pool whose callers want all its connections back at once. The writer falls at
`-promote_after`, another instance of the cluster is promoted at 0; an instance lets `logins_per_s` in, first come,
first served, and answers 1040 beyond `max_connections`. Pauses, ramps and limits are the product's own functions and
defaults, so that this changes with them. What is left out: the network's delays, the work of the application, and
whatever else the processors are busy with.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from aioaurora._core import backoff
from aioaurora._core.backoff import Ramp
from aioaurora._core.shares import Paced
from tests.fleet.world import (
    ALL_RULES,
    FAILED_FOR_S,
    LOOK_UP_FAILS_AFTER_S,
    NEW,
    OLD,
    STALE_AFTER_S,
    TRIES_AFTER_S,
    Fleet,
    LogIn,
    Rules,
    World,
)

if TYPE_CHECKING:
    from tests.fleet.seen import Seen


def foreseen(fleet: Fleet, rules: Rules = ALL_RULES, *, seed: int = 1) -> Seen:
    """Let a fleet's writer fall; gives what it does until all connections are open again, or `lasting` is over."""
    world = World(fleet, rules, random.Random(seed))
    processes = [Process(world, number) for number in range(fleet.processes)]
    for process in processes:
        world.at(-fleet.promote_after + fleet.noticed_within_s * world.random.random(), process.notice)
    world.run()
    for process in processes:
        process.note_questions()
    return world.seen


class Process:
    """One process: its monitor while the writer is sought, then its pool."""

    def __init__(self, world: World, number: int) -> None:
        self.world, self.since, self.found_at = world, 0.0, float("inf")
        self.host = number // world.fleet.processes_per_host
        self.asking: list[Asking] = []
        self._fresh_until: dict[int, float] = {}

    @property
    def is_searching(self) -> bool:
        """Whether it has not found the writer yet."""
        return self.found_at == float("inf")

    def notice(self) -> None:
        """Begin to search: ask every instance, and after a while where the endpoints lead."""
        world = self.world
        self.since = world.now
        self.waits_for_address(OLD)  # Dialled at once; what it knew is asked for anew when the search has begun.
        self._fresh_until.clear()
        self.asking = [Asking(self, index) for index in range(world.fleet.instances)]
        for each in self.asking:
            each.dial()
        self._look_out(0)

    def find(self, index: int) -> None:
        """Hear an instance say what it is."""
        world = self.world
        if index != NEW or not self.is_searching:
            return
        self.found_at = world.now
        world.seen.found.append(world.now)
        for each in self.asking:
            each.stop()
        Pool(self).order()

    def waits_for_address(self, name: int) -> float:
        """Look a name up unless its address is fresh; gives the seconds until a dial can go on."""
        world = self.world
        if self._fresh_until.get(name, -1e9) > world.now:
            return 0.0
        config = world.fleet.config
        self._fresh_until[name] = world.now + LOOK_UP_FAILS_AFTER_S + FAILED_FOR_S
        if world.has_answer(self.host):
            self._fresh_until[name] = world.now + config.dns_max_ttl
            return 0.0
        for after_s in TRIES_AFTER_S[1:]:
            world.at(world.now + after_s, lambda: self._look_up_again(name))
        return STALE_AFTER_S

    def _look_up_again(self, name: int) -> None:
        if self._fresh_until[name] - self.world.now <= LOOK_UP_FAILS_AFTER_S + FAILED_FOR_S - TRIES_AFTER_S[1] and (
            self.world.has_answer(self.host)
        ):
            self._fresh_until[name] = self.world.now + self.world.fleet.config.dns_max_ttl

    def _look_out(self, looks: int) -> None:
        """Look where the endpoints lead, of which each has a name of its own."""

        def look() -> None:
            if self.is_searching:
                for name in (-1, -2):
                    self.waits_for_address(name)
                self._look_out(looks + 1)

        world = self.world
        world.at(world.now + backoff.jittered(backoff.lookout_pause(looks), world.chance()), look)

    def note_questions(self) -> None:
        """Reckon what it asked whom while it searched, and the writer since: one question leads to the next."""
        world, interval = self.world, self.world.fleet.config.search_interval
        for each in self.asking[:NEW] + self.asking[NEW + 1 :]:
            asked = world.seen.questions[world.servers[each.index].name]
            now, until = each.open_from, min(each.open_until, world.now)
            while now < until:
                asked.append(now)
                now += backoff.jittered(backoff.role_pause(now - self.since, interval), world.chance())
        beat_at = self.found_at
        while beat_at < world.now:
            world.seen.questions[world.servers[NEW].name].append(beat_at)
            beat_at += world.fleet.config.heartbeat_interval


class Asking:
    """A monitor's connection to one instance, or the dials that are to become one."""

    def __init__(self, process: Process, index: int) -> None:
        self.process, self.index, self.world = process, index, process.world
        self.open_from = self.open_until = float("inf")
        self._server = process.world.servers[index]
        self._dials: list[LogIn] = []
        self._relief_s = 0.0

    def stop(self) -> None:
        """Close it, unless it is the writer's; who stands in line logs in, and leaves at once."""
        for log_in in self._dials:
            log_in.is_left = True
        self._dials.clear()
        if self.open_from < float("inf") and self.index != NEW:
            self.open_until = self.world.now
            self._server.open -= 1

    def dial(self) -> None:
        """Dial, once the address is known."""
        most = 1 if self.world.rules.stands_in_line else self.world.fleet.config.max_connecting
        if not self.process.is_searching or self.open_from < float("inf") or len(self._dials) >= most:
            return
        self.world.seen.dials[self._server.name].append(self.world.now)
        wait_s = self.process.waits_for_address(self.index)
        if wait_s:
            self.world.at(self.world.now + wait_s, self._arrive)
        else:
            self._arrive()

    def _arrive(self) -> None:
        world, config = self.world, self.world.fleet.config
        if not self.process.is_searching or self.open_from < float("inf"):
            return
        if not self._server.is_up:
            self._relief_s = 0.0
            sought_s = world.now - self.process.since
            pause_s = backoff.jittered(backoff.redial_pause(sought_s, config.search_interval), world.chance())
            world.at(world.now + pause_s, self.dial)
            return
        log_in = self._server.greeted(self._opened)
        if log_in is None:
            self._fail(0.0)
            return
        self._dials.append(log_in)
        patience_s = config.connect_timeout
        if world.rules.stands_in_line:
            patience_s = config.stall_timeout + self._relief_s
        world.at(world.now + patience_s, lambda: self._expire(log_in))
        if not world.rules.stands_in_line:
            world.at(world.now + backoff.OVERTAKEN_AFTER_S, self.dial)

    def _opened(self) -> None:
        for log_in in self._dials:
            log_in.is_left = not log_in.is_over
        self._dials.clear()
        self.open_from = self.world.now
        self.process.find(self.index)

    def _expire(self, log_in: LogIn) -> None:
        if log_in in self._dials:
            log_in.is_left = True
            self._dials.remove(log_in)
            self._fail(self.world.now - log_in.began_at)

    def _fail(self, took_s: float) -> None:
        world, interval = self.world, self.world.fleet.config.search_interval
        pause_s = backoff.jittered(interval, world.chance())
        if world.rules.backs_off:
            self._relief_s = backoff.relief(self._relief_s, took_s, interval)
            pause_s = backoff.dispersed(self._relief_s, world.chance())
        world.at(world.now + pause_s, self.dial)


@dataclass(slots=True, eq=False)
class Place:
    """A place in a pool for which a connection is ordered."""

    log_in: LogIn | None = None
    is_over: bool = False


@dataclass(slots=True, eq=False)
class Pool:
    """A process's pool: orders a few connects at a time, which have their turn as the ramp lets."""

    process: Process
    wanted: int = field(init=False)
    ramp: Ramp = field(init=False)
    side: Paced = field(default_factory=Paced)
    ordered: int = 0
    dialling: int = 0
    is_left_alone: bool = False
    line: deque[Place] = field(default_factory=deque)

    def __post_init__(self) -> None:
        fleet = self.process.world.fleet
        self.wanted, self.ramp = fleet.connections, Ramp.cautious(fleet.config.max_connecting)

    @property
    def world(self) -> World:
        """Where it is."""
        return self.process.world

    def order(self) -> None:
        """Order what is wanted, up to the limit, unless the last connect has just failed."""
        world, config = self.world, self.world.fleet.config
        if world.now < self.side.paused_until:
            return
        while self.ordered < min(self.wanted, config.max_connecting):
            place = Place()
            self.ordered += 1
            self.line.append(place)
            world.at(world.now + config.connect_timeout, lambda place=place: self._give_up_turn(place))
        self._turns()

    def _turns(self) -> None:
        while self.line and not self.is_left_alone and self.dialling < self.ramp.allowed:
            place = self.line.popleft()
            if not place.is_over:
                self._dial(place)

    def _dial(self, place: Place) -> None:
        world, server = self.world, self.world.servers[NEW]
        world.seen.dials[server.name].append(world.now)
        self.process.waits_for_address(NEW)
        log_in = place.log_in = server.greeted(lambda: self._opened(place))
        if log_in is None:
            self._strained(began_at=world.now)
            self._failed(place)
            return
        self.dialling += 1
        config = world.fleet.config
        patience_s = config.connect_timeout
        if world.rules.stands_in_line:
            patience_s = config.stall_timeout + self.ramp.pause_s
        world.at(world.now + patience_s, lambda: self._expire(place, log_in))

    def _opened(self, place: Place) -> None:
        world = self.world
        place.is_over = True
        self.dialling, self.ordered, self.wanted = self.dialling - 1, self.ordered - 1, self.wanted - 1
        world.left_to_open -= 1
        world.seen.opened.append(world.now)
        if self.wanted == world.fleet.connections - 1:
            world.seen.served.append(world.now)
        self.ramp = self.ramp.after_success(world.now - place.log_in.began_at)
        self.is_left_alone = False
        self.side.cheer()
        self.order()

    def _expire(self, place: Place, log_in: LogIn) -> None:
        if place.is_over:
            return
        log_in.is_left = True
        self.dialling -= 1
        self._strained(began_at=log_in.began_at)
        self._failed(place)

    def _give_up_turn(self, place: Place) -> None:
        if place.log_in is None and not place.is_over:
            self._failed(place)

    def _failed(self, place: Place) -> None:
        world = self.world
        place.is_over = True
        self.ordered -= 1
        self.side.pause(world.now, world.chance())
        world.at(self.side.paused_until, self.order)
        self._turns()

    def _strained(self, *, began_at: float) -> None:
        world, before = self.world, self.ramp
        self.ramp = before.after_strain(began_at=began_at, now=world.now)
        if not world.rules.backs_off:
            self.ramp = replace(self.ramp, pause_s=0.0)
        if self.ramp.pause_s and self.ramp is not before:
            strained, self.is_left_alone = self.ramp, True
            world.at(world.now + backoff.dispersed(strained.pause_s, world.chance()), lambda: self._go_on(strained))

    def _go_on(self, strained: Ramp) -> None:
        if self.ramp is strained:
            self.is_left_alone = False
            self._turns()
