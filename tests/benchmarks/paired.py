"""Compare two sides in the same rounds, so that what the machine does meanwhile meets both.

In each round aiomysql is measured twice, ours once between or before, and the wire once where it is asked for. A run in
which aiomysql differs from itself by more than the allowance does not count and is repeated.
"""

from __future__ import annotations

import asyncio
import os
import pathlib
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.benchmarks import figures
from tests.benchmarks.figures import Figure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


@dataclass(slots=True, kw_only=True)
class Pairs:
    """What the sides cost, by round; `control` is aiomysql's ratio to itself."""

    ours: list[float] = field(default_factory=list)
    raw: list[float] = field(default_factory=list)
    wire: list[float] = field(default_factory=list)
    control: list[float] = field(default_factory=list)

    @property
    def off_by(self) -> float:
        """By how much aiomysql differs from itself."""
        return abs(statistics.median(self.control) - 1)

    @property
    def ratios(self) -> tuple[float, ...]:
        """Ours to aiomysql's, by round."""
        return tuple(own / other for own, other in zip(self.ours, self.raw, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How long to try.

    Attributes:
        rounds: Of each comparison.
        tries: How often a comparison is made, if it does not count.
        ends_at: Loop time after which nothing is tried again; None: never.
    """

    rounds: int
    tries: int = 4
    ends_at: float | None = None

    @property
    def is_spent(self) -> bool:
        """Whether the time is up."""
        return self.ends_at is not None and asyncio.get_running_loop().time() >= self.ends_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """What is compared: each measures once, and gives what it cost or how much it did."""

    ours: Callable[[], Awaitable[float]]
    raw: Callable[[], Awaitable[float]]
    wire: Callable[[], Awaitable[float]] | None = None


async def settled(what: str, sides: Sides, effort: Effort, *, allowance: float) -> Pairs:
    """Compare until aiomysql is equal to itself."""
    for tries_left in reversed(range(effort.tries)):
        pairs = await compared(sides, effort.rounds)
        if pairs.off_by <= allowance or not tries_left or effort.is_spent:
            break
        print(f"  {what}: aiomysql is off by {pairs.off_by:.3f} from itself, does not count: repeated", flush=True)
    return pairs


async def compared(sides: Sides, rounds: int) -> Pairs:
    """Measure all sides in each round; whoever comes first must not always be the same."""
    pairs = Pairs()
    measures = [sides.raw, sides.ours, *([sides.wire] if sides.wire else [])]
    for side in measures:
        await side()
    for number in range(rounds):
        if number % 2:
            first, own, second = await sides.raw(), await sides.ours(), await sides.raw()
        else:
            own, first, second = await sides.ours(), await sides.raw(), await sides.raw()
        pairs.ours.append(own)
        pairs.raw.append((first + second) / 2)
        pairs.control.append(first / second)
        if sides.wire:
            pairs.wire.append(await sides.wire())
    return pairs


def figures_of(
    pairs: Pairs,
    part: str,
    what: str,
    *,
    unit: str,
    at_most: float | None = None,
    at_least: float | None = None,
    allowance: float,
    scale: float = 1.0,
) -> list[Figure]:
    """Give each side, and ours to aiomysql's, which is what has bounds."""
    made = [
        Figure(part=part, what=what, who=who, unit=unit, values=tuple(value * scale for value in values))
        for who, values in ((figures.WIRE, pairs.wire), (figures.RAW, pairs.raw), (figures.OURS, pairs.ours))
        if values
    ]
    ratio = Figure(
        part=part,
        what=what,
        who=figures.RATIO,
        unit="x",
        values=pairs.ratios,
        at_most=at_most,
        at_least=at_least,
        control=statistics.median(pairs.control),
        allowance=allowance,
    )
    far = [
        Figure(part=part, what=what, who=who, unit="x", values=tuple(map(_over, values, pairs.wire)))
        for who, values in ((figures.RAW_TO_WIRE, pairs.raw), (figures.OURS_TO_WIRE, pairs.ours))
        if pairs.wire
    ]
    return [*made, ratio, *far]


def _over(value: float, other: float) -> float:
    return value / other


def pin(process: int, core: int) -> None:
    """Keep a process, 0 for this one, on one core."""
    for task in pathlib.Path(f"/proc/{process or os.getpid()}/task").iterdir():
        os.sched_setaffinity(int(task.name), {core})
