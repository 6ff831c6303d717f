"""What a measurement gives: figures, each with all values that it was made from.

Parts of the benchmark make them, `tables.py` and `plots.py` show them, `docs/reference/performance.json` keeps them.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

OURS, RAW, WIRE = "aioaurora", "aiomysql", "wire"
AWS, TUNED = "AWS wrapper", "AWS wrapper, tuned"
RATIO, OURS_TO_WIRE, RAW_TO_WIRE = "aioaurora / aiomysql", "aioaurora / wire", "aiomysql / wire"
DIGITS = 5  # Significant ones, of what is kept.


class Verdict(enum.StrEnum):
    """What a figure says of its bound."""

    UNBOUND = ""
    MET = "met"
    MISSED = "missed"
    VOID = "does not count"  # aiomysql differed from itself: the machine did something else.


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured thing.

    Attributes:
        part: The table that it stands in.
        what: Its line there.
        who: Its column there: one of the names above.
        unit: `s`, `ms`, `us`, `kB`, `MB`, `1/s`, `x` for a ratio, or nothing for a count.
        values: All that were measured; infinity where something never came to pass.
        per_repeat: How many of them each repeat gave: as many as there were clients.
        at_most, at_least: Bounds of the median.
        control: aiomysql's ratio to itself in the same rounds; None where it is no matter of time.
        allowance: By how much that may differ from 1.
        note: What else is to be known, as words.
    """

    part: str
    what: str
    who: str
    unit: str
    values: tuple[float, ...]
    per_repeat: int = 1
    at_most: float | None = None
    at_least: float | None = None
    control: float | None = None
    allowance: float = 0.01
    note: str = ""

    @property
    def median(self) -> float:
        """The middle of the values."""
        return statistics.median(self.values)

    @property
    def spread(self) -> tuple[float, float]:
        """The first and third quartile: between them lies the middle half."""
        return quantile(self.values, 0.25), quantile(self.values, 0.75)

    @property
    def worst(self) -> float:
        """The greatest value."""
        return max(self.values)

    @property
    def repeats(self) -> int:
        """How often it was measured."""
        return len(self.values) // self.per_repeat

    @property
    def verdict(self) -> Verdict:
        """Whether the bounds are met."""
        if self.at_most is None and self.at_least is None:
            return Verdict.UNBOUND
        if self.control is not None and abs(self.control - 1) > self.allowance:
            return Verdict.VOID
        is_met = (self.at_most is None or self.median <= self.at_most) and (
            self.at_least is None or self.median >= self.at_least
        )
        return Verdict.MET if is_met else Verdict.MISSED


def quantile(values: Sequence[float], share: float) -> float:
    """Give the value that this share of them does not exceed, the nearest one: they may be infinite."""
    return sorted(values)[round(share * (len(values) - 1))]


def found(figures: Iterable[Figure], part: str, what: str, who: str) -> Figure | None:
    """Give the figure of one cell, if it was measured."""
    return next((each for each in figures if (each.part, each.what, each.who) == (part, what, who)), None)


def status_of(figures: Iterable[Figure]) -> int:
    """Give the exit status: 1 if a bound was missed, else 2 if a bounded figure does not count, else 0."""
    verdicts = {each.verdict for each in figures}
    if Verdict.MISSED in verdicts:
        return 1
    return 2 if Verdict.VOID in verdicts else 0


# --- as JSON --------------------------------------------------------------------------------------------------------


def as_data(figure: Figure) -> dict[str, Any]:
    """Give what JSON can hold, without what goes without saying; infinity is null."""
    defaults = {field.name: field.default for field in dataclasses.fields(Figure)}
    said = {name: value for name, value in dataclasses.asdict(figure).items() if value != defaults[name]}
    if figure.control is not None:
        said["control"] = _rounded(figure.control)
    return said | {"values": [None if math.isinf(value) else _rounded(value) for value in figure.values]}


def from_data(said: dict[str, Any]) -> Figure:
    """Read what `as_data` gave."""
    values = tuple(math.inf if value is None else float(value) for value in said["values"])
    return Figure(**said | {"values": values})


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
