"""A fleet's failover as discrete events, for fleets that no machine has room for.

Every process has a Cluster and a pool whose callers want all its connections back at once. The writer falls at
`-promote_after`, another instance of the cluster is promoted at 0; an instance lets `logins_per_s` in, first come,
first served, and answers 1040 beyond `max_connections`. Pauses, ramps and limits are the product's own functions and
defaults, so that this changes with them. What is left out: the network's delays, the work of the application, and
whatever else the processors are busy with.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from aioaurora._core import backoff
from aioaurora._core.backoff import Ramp
from aioaurora._core.shares import Paced
from aioaurora.config import Config, from_kwargs
from tests.fleet.seen import Seen

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULTS = from_kwargs(host="orders.cluster-abc123.us-east-1.rds.amazonaws.com", user="app", password="-")
PACKETS_A_LOOK_UP = 2  # One for each family of addresses.
TRIES_AFTER_S = (0.0, 0.4, 1.2)  # c-ares asks a lone server again, more patiently each time.
STALE_AFTER_S, LOOK_UP_FAILS_AFTER_S, FAILED_FOR_S = 0.5, 2.8, 1.0
OLD, NEW = 0, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What may be left out, to show what it is for.

    Attributes:
        jitter: Pauses are spread.
        stands_in_line: A log-in that was greeted is waited for; else it is given up after `connect_timeout`, and a
            monitor's is overtaken by others, up to `max_connecting`.
        backs_off: What failed is tried again after a pause that doubles; else after `search_interval`.
    """

    jitter: bool = True
    stands_in_line: bool = True
    backs_off: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """How large a fleet is, and what its servers bear. Durations are seconds.

    Attributes:
        processes: Each has a Cluster and a pool of its own.
        connections: To the writer, that each process wants.
        instances: Of the cluster.
        logins_per_s: What each instance bears.
        max_connections: Of each instance.
        is_wasteful: A log-in that the client has given up costs the server as much as any.
        processes_per_host: That share a network interface, and so what the resolver lets through.
        packets_per_s: That the resolver answers to one host.
        config: What every process was told.
        promote_after: From the fault to the promotion.
        returns_after: From the promotion until the old writer is back, as a reader.
        noticed_within_s: Between the first process that notices the fault and the last.
        lasting: From the promotion, for which it is watched at most.
    """

    processes: int
    connections: int = 20
    instances: int = 3
    logins_per_s: float = 200.0
    max_connections: float = 16_000
    is_wasteful: bool = True
    processes_per_host: int = 100
    packets_per_s: int = 1024
    config: Config = DEFAULTS
    promote_after: float = 2.0
    returns_after: float = 5.0
    noticed_within_s: float = 0.05
    lasting: float = 300.0


def foreseen(fleet: Fleet, rules: Rules = Rules(), *, seed: int = 1) -> Seen:
    """Let a fleet's writer fall; gives what it does until all connections are open again, or `lasting` is over."""
    world = World(fleet, rules, random.Random(seed))
    processes = [Process(world, number) for number in range(fleet.processes)]
    for process in processes:
        world.at(-fleet.promote_after + fleet.noticed_within_s * world.random.random(), process.notice)
    world.run()
    for process in processes:
        process.note_questions()
    return world.seen


class World:
    """The clock, the dice, the instances and the resolver that all share."""

    def __init__(self, fleet: Fleet, rules: Rules, dice: random.Random) -> None:
        self.fleet, self.rules, self.random = fleet, rules, dice
        self.now, self.left_to_open = -fleet.promote_after, fleet.processes * fleet.connections
        self.seen = Seen()
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        up_from = [fleet.returns_after, 0.0] + [-fleet.promote_after] * (fleet.instances - 2)
        self.servers = [Server(self, f"db-{number}", up_at) for number, up_at in enumerate(up_from, 1)]
        self._asked: dict[tuple[int, int], int] = {}

    def chance(self) -> float:
        """A number from 0 to 1."""
        return self.random.random() if self.rules.jitter else 1.0

    def at(self, when: float, call: Callable[[], None]) -> None:
        """Call something at that moment."""
        heapq.heappush(self._queue, (when, next(self._order), call))

    def run(self) -> None:
        """Let time go by."""
        while self._queue and self.left_to_open and self._queue[0][0] <= self.fleet.lasting:
            self.now, _, call = heapq.heappop(self._queue)
            call()

    def has_answer(self, host: int) -> bool:
        """Send a look-up's packets from a host; says whether the resolver answers."""
        self.seen.look_ups[f"host {host}"] += [self.now] * PACKETS_A_LOOK_UP
        key = host, int(self.now // 1)
        self._asked[key] = asked = self._asked.get(key, 0) + PACKETS_A_LOOK_UP
        return asked <= self.fleet.packets_per_s


@dataclass(slots=True, eq=False)
class LogIn:
    """One client at a server's door."""

    began_at: float
    done: Callable[[], None]
    is_left: bool = False
    is_over: bool = False


class Server:
    """An instance: refuses until it is up, and lets clients in one after the other."""

    def __init__(self, world: World, name: str, up_at: float) -> None:
        self.world, self.name, self.up_at = world, name, up_at
        self.open = 0
        self._line: deque[LogIn] = deque()
        self._next_at, self._is_busy = -world.fleet.promote_after, False

    @property
    def is_up(self) -> bool:
        """Whether it accepts connections."""
        return self.world.now >= self.up_at

    def greeted(self, done: Callable[[], None]) -> LogIn | None:
        """Put a client into line; None: there are too many (1040)."""
        world = self.world
        if self.open + len(self._line) >= world.fleet.max_connections:
            return None
        log_in = LogIn(world.now, done)
        world.seen.log_ins[self.name].append(world.now)
        self._line.append(log_in)
        if not self._is_busy:
            self._is_busy = True
            world.at(max(world.now, self._next_at), self._serve)
        return log_in

    def _serve(self) -> None:
        world = self.world
        while self._line:
            log_in = self._line.popleft()
            if log_in.is_left and not world.fleet.is_wasteful:
                continue
            log_in.is_over = True
            self._next_at = world.now + 1 / world.fleet.logins_per_s
            if log_in.is_left:
                world.seen.wasted[self.name] += 1
            else:
                self.open += 1
                log_in.done()
            break
        self._is_busy = bool(self._line)
        if self._is_busy:
            world.at(self._next_at, self._serve)


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
        if not self.process.is_searching or self.open_from < float("inf"):
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
        if not world.rules.stands_in_line and len(self._dials) < config.max_connecting:
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
