"""What the pool's books are made of: slots, the share of each instance, and the side of each role.

    Opening --opened--> Idle --taken--> Leased --given back--> Idle
       |                  |               |
       +---- failed ------+-- stale, expired, ended, lost ----> gone

A slot counts under one side (whose limit it fills) and one share (whose server it leads to) from the moment that it is
ordered. Whoever waits stands in one line per side, in the order of arrival.
"""

from __future__ import annotations

import enum
import math
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aioaurora._core.line import Lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aioaurora._core.line import Waiter
    from aioaurora._core.sight import Sight
    from aioaurora._core.topology import Instance
    from aioaurora.errors import Role

BENCH_LEAST_S, BENCH_MOST_S = 1.0, 60.0
# A reader that was too far behind is used again when it is this much of `max_lag` behind: it must not flap (case 4).
CAUGHT_UP = 0.8
# Between connects that fail for a side: doubled from the first to the second.
PAUSE_LEAST_S, PAUSE_MOST_S = 0.1, 5.0


class Where(enum.StrEnum):
    """Where a slot is in its life."""

    OPENING = "opening"
    IDLE = "idle"
    LEASED = "leased"
    GONE = "gone"


# Looked up once: members of enumerations are found slowly, and these are compared with at every lease.
OPENING, IDLE, LEASED, GONE = Where


@dataclass(slots=True, eq=False, kw_only=True)
class Slot:
    """A place in the pool, for one connection.

    Attributes:
        side, share: Whose limit it fills, and whose server it leads to.
        instance: Id of the instance that it is opened to, or led to; None: whoever holds the side's role.
        connection: What the pool has in it; None while it is opened.
        epoch, generation: Of the cluster and of the instance, when it was opened.
        expires_at: When it has lived for long enough.
        idle_since: When it was given back.
        stale: Why it must not be used again; "" while it may.
        is_stand_in: It was the writer's, and a request for a reader has it.
        uses: How often it was leased: tells one lease from the next.
        is_pinned: It is opened for somebody who wants this instance and no other.
    """

    side: Side
    share: Share
    instance: str | None
    where: Where = OPENING
    connection: Any = None
    epoch: int = 0
    generation: int = 0
    expires_at: float = math.inf
    idle_since: float = 0.0
    stale: str = ""
    is_stand_in: bool = False
    uses: int = 0
    is_pinned: bool = False

    def staleness(self, sight: Sight) -> str:
        """Say why it is not to be used again, by what is seen of the cluster; "" if it is."""
        return sight.staleness(self.side.role, self.instance, epoch=self.epoch, generation=self.generation)

    def uncount(self) -> None:
        """Take it out of where it is counted."""
        share, side = self.share, self.side
        if self.where is OPENING:
            share.opening, side.opening = share.opening - 1, side.opening - 1
        elif self.where is IDLE:
            share.idle.remove(self)
        elif self.where is LEASED:
            share.leased -= 1
            side.stand_ins -= self.is_stand_in
            self.is_stand_in = False

    def __repr__(self) -> str:
        return f"<Slot {self.side.role or 'any'} {self.instance} {self.where}>"


@dataclass(slots=True, eq=False, kw_only=True)
class Paced:
    """What connects lead to, and are paused for when they fail."""

    paused_until: float = -math.inf
    pause_s: float = 0.0

    def pause(self, now: float, chance: float) -> None:
        """Order nothing for a while, which grows with each failure; those of connects made before it are one."""
        if now >= self.paused_until:
            self.pause_s = min(self.pause_s * 2, PAUSE_MOST_S) or PAUSE_LEAST_S
            self.paused_until = now + self.pause_s * (0.75 + chance / 4)

    def cheer(self) -> None:
        """Forget the failures."""
        self.pause_s, self.paused_until = 0.0, -math.inf


@dataclass(slots=True, eq=False)
class Share(Paced):
    """What one instance has of a side; a reader strategy sees it as a candidate.

    Attributes:
        id: Of the instance; "" where nobody cares which it is.
        idle: Its idle slots, the one that was used last at the end.
        leased, opening: How many are leased, and how many are being opened.
        lag_s: How far the instance is behind the writer, in seconds; None: unknown.
        round_trip_s: The kernel's least round trip to it, in seconds; None: unknown.
        weight: As configured.
        turn: Grows with each choice: who has the least was chosen longest ago.
        missed: How often it was chosen and had nothing idle, since the books were last looked over.
    """

    id: str
    weight: float = 1.0
    idle: deque[Slot] = field(default_factory=deque)
    leased: int = 0
    opening: int = 0
    lag_s: float | None = None
    round_trip_s: float | None = None
    turn: int = 0
    missed: int = 0
    is_behind: bool = False
    benched_until: float = -math.inf
    bench_s: float = 0.0
    generation: int = 0

    @property
    def size(self) -> int:
        """How many slots it has."""
        return len(self.idle) + self.leased + self.opening

    @property
    def is_unknown(self) -> bool:
        """Whether nobody knows how far its instance is, nor is about to."""
        return self.round_trip_s is None and not self.size

    @property
    def busy(self) -> int:
        """How many of them are in use, or about to be."""
        return self.leased + self.opening

    def note(self, instance: Instance, *, max_lag: float | None, now: float, chance: float) -> None:
        """Take in what is believed of the instance."""
        self.lag_s = lag_s = instance.lag_s
        if max_lag is not None and lag_s is not None:
            self.is_behind = lag_s > (max_lag * CAUGHT_UP if self.is_behind else max_lag)
        if instance.generation > self.generation and self.size:
            self.bench(now, chance)
        self.generation = instance.generation

    def bench(self, now: float, chance: float) -> None:
        """Leave it out for a while that grows each time, and begins anew after a minute of good conduct."""
        if now < self.benched_until:
            return  # What fails now was begun before.
        is_recent = now - self.benched_until < BENCH_MOST_S
        self.bench_s = min(self.bench_s * 2, BENCH_MOST_S) if is_recent else BENCH_LEAST_S
        self.benched_until = now + self.bench_s * (0.75 + chance / 4)


@dataclass(slots=True, eq=False)
class Side(Paced, Lines):
    """The part of the pool that serves one role.

    Attributes:
        role: What is served; None: any instance, as it comes.
        minsize, maxsize: Between which it grows and shrinks.
        shares: By the instances' ids.
        candidates: Shares that may serve a request now.
        able: Ids of the instances that may serve who asks for one by its id.
        stand_ins, stand_ins_most: How many of its slots requests for a reader have, and may have.
    """

    role: Role | None
    minsize: int
    maxsize: int
    stand_ins_most: int = 0
    shares: dict[str, Share] = field(default_factory=dict)
    candidates: list[Share] = field(default_factory=list)
    able: frozenset[str] = frozenset()
    stand_ins: int = 0
    size: int = 0
    opening: int = 0

    @property
    def opened(self) -> int:
        """How many slots have a connection."""
        return self.size - self.opening

    @property
    def idle(self) -> int:
        """How many slots are idle."""
        return sum(len(share.idle) for share in self.shares.values())

    @property
    def is_full(self) -> bool:
        """Whether there is neither room for one more, nor an idle slot that could make room."""
        if self.size < self.maxsize:
            return False
        for share in self.shares.values():  # noqa: SIM110 - all who wait come by here: a generator costs double.
            if share.idle:
                return False
        return True

    @property
    def leased(self) -> int:
        """How many slots are leased."""
        return sum(share.leased for share in self.shares.values())

    def share(self, instance_id: str, weight: float = 1.0) -> Share:
        """Give the share of an instance; makes it."""
        return self.shares.get(instance_id) or self.shares.setdefault(instance_id, Share(instance_id, weight))

    # --- what is lacking ---------------------------------------------------------------------------------------

    def lacking(self, serving: Sequence[Share]) -> Iterator[tuple[str | None, int]]:
        """Say how many must be opened: for each instance, then, as None, for whichever it is.

        Lazily: what has been ordered in between counts.

        Args:
            serving: Shares whose slots serve who takes any; what is being opened to others will not serve.
        """
        under_way = sum(share.opening for share in serving)
        nameless = self.shares.get("")
        if nameless is not None and nameless not in serving:
            under_way += nameless.opening
        for instance, line in self.pinned.items():
            share = self.shares.get(instance)
            opening = share.opening if share is not None else 0
            if share in serving:
                under_way -= min(opening, len(line))
            yield instance, len(line) - opening
        guests = min(len(self.guests), max(0, self.stand_ins_most - self.stand_ins))
        others = len(self.line) + guests - under_way
        yield None, max(others, self.minsize - self.size)

    def hopeless(self, instance: str | None, *, is_alone: bool) -> list[Waiter[Slot]]:
        """List who need not wait any longer after a connect has failed for good.

        Those who want just that instance, and all others if `is_alone`: there is no other; but nobody who can be served
        by a connection that is there already.
        """
        share = self.shares.get(instance or "")
        has_live = share is not None and share.size > share.opening
        told = [] if has_live else [*self.pinned.get(instance or "", ())]
        return [*told, *self.line, *self.guests] if is_alone and self.size == self.opening else told

    # --- what can go -------------------------------------------------------------------------------------------

    def victim(self) -> Slot | None:
        """Choose an idle slot that serves nobody who waits."""
        shares = [share for share in self.shares.values() if share.idle]
        if not shares:
            return None
        return max(shares, key=lambda share: (share not in self.candidates, len(share.idle))).idle[0]

    def outworn(self, now: float, *, max_idle: float | None, recycle_after: float | None) -> list[tuple[Slot, str]]:
        """List the idle slots that are too old, or were idle for too long, and why."""
        spare = self.size - self.minsize
        found: list[tuple[Slot, str]] = []
        for slot in [slot for share in self.shares.values() for slot in share.idle]:
            idle_s = now - slot.idle_since
            is_spare = max_idle is not None and idle_s > max_idle and len(found) < spare
            if slot.expires_at <= now:
                found.append((slot, "it was old"))
            elif is_spare or (recycle_after is not None and idle_s > recycle_after):
                found.append((slot, "it was idle for long"))
        return found

    def poorest(self, *, measures: bool) -> list[Share]:
        """List the shares that were chosen and had nothing, once for each time, the most missed first.

        Begins to count anew. With `measures` also those of which nobody knows how far they are.
        """
        missed = [(share.missed or int(measures and share.is_unknown), share) for share in self.candidates]
        for share in self.shares.values():
            share.missed = 0
        missed.sort(key=lambda pair: -pair[0])
        return [share for times, share in missed for _ in range(times) if not share.opening]

    def richest(self) -> Share:
        """Give the share that has the most slots."""
        return max(self.shares.values(), key=lambda share: share.size)
