"""How long to pause, and how many connects at a time. Chance is an argument: a number from 0 to 1."""

from __future__ import annotations

from dataclasses import replace

from aioaurora._core.value import dataclass

# A live reader is asked its role this often while the writer is sought, first and later, with the change between.
ROLE_EVERY_S, ROLE_LATER_EVERY_S, LATER_AFTER_S = 0.1, 0.25, 10.0
ROWS_WHILE_SEARCHING_EVERY_S = 1.0
REDIAL_SLOWEST_S, REDIAL_GROWS_AFTER_S = 1.0, 60.0
# A connect that was this quick shows that there is room for twice as many at a time.
QUICK_CONNECT_S = 0.25


def jittered(seconds: float, chance: float) -> float:
    """Spread a pause over 0.75 to 1 of itself, so that processes do not ask in step: never longer than promised."""
    return seconds * (0.75 + chance / 4)


def role_pause(searching_for_s: float) -> float:
    """Seconds between two questions to a live instance while the writer is sought."""
    return ROLE_EVERY_S if searching_for_s < LATER_AFTER_S else ROLE_LATER_EVERY_S


def redial_pause(searching_for_s: float, search_interval: float) -> float:
    """Seconds between two dials of an instance that is lost or refuses; grows to 1 s after the first minute."""
    if searching_for_s < REDIAL_GROWS_AFTER_S:
        return search_interval
    grown = search_interval * searching_for_s / REDIAL_GROWS_AFTER_S * 2
    return max(search_interval, min(grown, REDIAL_SLOWEST_S))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often an instance is asked, in seconds, and how many dials may hang at a time."""

    role_every: float
    view_every: float
    redial_every: float
    dials: int


@dataclass(frozen=True, slots=True)
class Ramp:
    """How many connects an instance is trusted with at a time."""

    allowed: int
    most: int

    @classmethod
    def cautious(cls, most: int) -> Ramp:
        """Start with one, as after a failover."""
        return cls(1, most)

    def after_success(self, took_s: float) -> Ramp:
        """Double on quick success; add one on a slow one, which may merely come from far away."""
        if self.allowed == self.most:
            return self
        more = self.allowed if took_s <= QUICK_CONNECT_S else 1
        return replace(self, allowed=min(self.allowed + more, self.most))

    def after_strain(self) -> Ramp:
        """Halve on "too many connections" or a time-out."""
        return replace(self, allowed=max(self.allowed // 2, 1))
