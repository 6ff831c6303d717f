"""How long to pause, and how many connects at a time. Chance is an argument: a number from 0 to 1."""

from __future__ import annotations

import math
from dataclasses import replace

from aioaurora._core.value import dataclass

# A live reader is asked its role this often while the writer is sought, first and later, with the change between.
ROLE_EVERY_S, ROLE_LATER_EVERY_S, LATER_AFTER_S = 0.1, 0.25, 10.0
ROWS_WHILE_SEARCHING_EVERY_S = 1.0
REDIAL_SLOWEST_S, REDIAL_GROWS_AFTER_S = 1.0, 60.0
# Where the endpoints lead is looked at after this long, and then less often, down to once in the life of an answer.
LOOKOUT_FIRST_S, LOOKOUT_SLOWEST_S = 1.0, 5.0
# While the writer is sought, a dial that was not greeted by then is overtaken by another.
OVERTAKEN_AFTER_S = 0.25
# Who lets nobody in is left alone for longer each time: at most so long if it says so at once, and if it lets us wait.
_RELIEF_MOST_S, _LONG_RELIEF_MOST_S = 5.0, 60.0
# A connect that was this quick shows that there is room for twice as many at a time; one that was slower than this and
# what distance explains stood in line. TCP, TLS, log-in and role check take six round trips, or eight.
QUICK_CONNECT_S, SLOW_CONNECT_S, ROUND_TRIPS_A_CONNECT = 0.25, 1.0, 8


def jittered(seconds: float, chance: float) -> float:
    """Spread a pause over 0.75 to 1 of itself, so that processes do not ask in step: never longer than promised."""
    return seconds * (0.75 + chance / 4)


def role_pause(searching_for_s: float, search_interval: float) -> float:
    """Seconds between two questions to a live instance while the writer is sought; never less than `search_interval`.

    Whoever sets that higher, for a large fleet, spares those that are up no less than those that are down.
    """
    return max(ROLE_EVERY_S if searching_for_s < LATER_AFTER_S else ROLE_LATER_EVERY_S, search_interval)


def redial_pause(searching_for_s: float, search_interval: float) -> float:
    """Seconds between two dials of an instance that is lost or refuses; grows to 1 s after the first minute."""
    if searching_for_s < REDIAL_GROWS_AFTER_S:
        return search_interval
    grown = search_interval * searching_for_s / REDIAL_GROWS_AFTER_S * 2
    return max(search_interval, min(grown, REDIAL_SLOWEST_S))


def lookout_pause(looks: int) -> float:
    """Seconds until the endpoints are looked at again, after so many looks."""
    return min(LOOKOUT_FIRST_S * (1 << min(looks, 8)), LOOKOUT_SLOWEST_S)


def relief(before_s: float, took_s: float, search_interval: float) -> float:
    """Seconds for which an instance is left alone that could not let us in: twice as long each time.

    It starts from what the attempt took: who is refused at once is soon back, and who stood in line until the time was
    up comes back when others have had theirs. A log-in that is given up may cost the server as much as one that is
    not, so that processes which all try again at once are never served.

    Args:
        before_s: The pause before; 0: there was none.
        took_s: What the attempt took that failed.
        search_interval: As configured.
    """
    most_s = _RELIEF_MOST_S if took_s <= QUICK_CONNECT_S else _LONG_RELIEF_MOST_S
    return min(max(2 * before_s, took_s, search_interval), most_s)


def dispersed(seconds: float, chance: float) -> float:
    """Spread a pause after which many would come at once over a half to 1 of itself."""
    return seconds * (0.5 + chance / 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often an instance is asked, in seconds, how many dials may hang at a time, and what chance spreads pauses."""

    role_every: float
    view_every: float
    redial_every: float
    dials: int
    chance: float = 1.0


@dataclass(frozen=True, slots=True)
class Ramp:
    """How many connects an instance is trusted with at a time, and how long it is left alone first.

    Attributes:
        allowed: At a time.
        most: What `allowed` grows to.
        pause_s: Seconds until the next one, where one at a time was too many; 0: none.
        strained_at: When it was trusted with less for the last time. Loop time.
    """

    allowed: int
    most: int
    pause_s: float = 0.0
    strained_at: float = -math.inf

    @classmethod
    def cautious(cls, most: int) -> Ramp:
        """Start with one, as after a failover."""
        return cls(1, most)

    def after_success(self, took_s: float, round_trip_s: float = 0.0) -> Ramp:
        """Double on quick success; add one on a slow one, which may merely come from far away; halve if it was a line.

        Others stand in it, too: with four for each of a thousand processes it is four times as long, and nobody is
        served sooner.
        """
        if took_s > SLOW_CONNECT_S + ROUND_TRIPS_A_CONNECT * round_trip_s:
            return replace(self, allowed=max(self.allowed // 2, 1), pause_s=0.0)
        if self.allowed == self.most and not self.pause_s:
            return self
        more = self.allowed if took_s <= QUICK_CONNECT_S else 1
        return replace(self, allowed=min(self.allowed + more, self.most), pause_s=0.0)

    def after_strain(self, *, began_at: float, now: float) -> Ramp:
        """Halve on "too many connections" or a time-out; after a time-out of the only one, wait for longer each time.

        Connects that were begun before the last strain are part of it.
        """
        if began_at < self.strained_at:
            return self
        if self.allowed > 1:
            return replace(self, allowed=self.allowed // 2, strained_at=now)
        took_s = now - began_at
        pause_s = relief(self.pause_s, took_s, 0.0) if took_s > QUICK_CONNECT_S else self.pause_s
        return replace(self, pause_s=pause_s, strained_at=now)
