"""What a fleet was seen to do, in the small or in the model: moments on one clock, and what is counted of them."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class Seen:
    """Moments in seconds since the promotion, by instance where they belong to one.

    Attributes:
        dials: Connects begun to an instance, refused ones too.
        log_ins: Connects that an instance let in, as far as its greeting.
        questions: Questions of monitors for the role, with rows or without.
        look_ups: Packets to DNS, by host.
        found: When each process had the writer's own word.
        served: When each process had its first connection to the new writer.
        opened: When each connection to the writer that was asked for was open.
        wasted: Log-ins that the server worked on for nobody.
    """

    dials: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    log_ins: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    questions: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    look_ups: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    found: list[float] = field(default_factory=list)
    served: list[float] = field(default_factory=list)
    opened: list[float] = field(default_factory=list)
    wasted: Counter[str] = field(default_factory=Counter)


def peak(moments: list[float], *, within_s: float = 1.0, since: float = -math.inf) -> float:
    """Give the most that fell into one of the intervals that follow each other, per second."""
    counts = Counter(math.floor(at / within_s) for at in moments if at >= since)
    return max(counts.values(), default=0) / within_s


def when(moments: list[float], count: int, share: float = 1.0) -> float:
    """Give the moment at which a share of `count` had happened; infinite if it never came to that."""
    due = math.ceil(count * share)
    return sorted(moments)[due - 1] if len(moments) >= due > 0 else math.inf
