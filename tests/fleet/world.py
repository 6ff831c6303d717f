"""What the processes of a modelled fleet share: the clock, the dice, the instances and the resolver."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aioaurora._io import dns, resolver
from aioaurora.config import Config, from_kwargs
from tests.fleet.seen import Seen

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

DEFAULTS = from_kwargs(host="orders.cluster-abc123.us-east-1.rds.amazonaws.com", user="app", password="-")
PACKETS_A_LOOK_UP = 2  # One for each family of addresses.
# c-ares asks a lone server again, twice as patiently each time.
*TRIES_AFTER_S, LOOK_UP_FAILS_AFTER_S = (dns._FIRST_TRY_S * (2**tried - 1) for tried in range(dns._TRIES + 1))
STALE_AFTER_S, FAILED_FOR_S = resolver.STALE_AFTER_S, resolver.ASK_AGAIN_AFTER_S
OLD, NEW = 0, 1  # Of the instances, whose servers are numbered in this order.


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


ALL_RULES = Rules()


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
