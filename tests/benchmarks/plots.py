"""Draw figures as SVG, by hand: the waits after failovers, and what things cost beside aiomysql."""

from __future__ import annotations

import html
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.benchmarks import figures, tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.benchmarks.figures import Figure

COLOURS = {
    figures.OURS: "#2f9e62",
    figures.TUNED: "#f2b84b",
    figures.RAW: "#d64545",
    figures.AWS: "#52606d",
}
NAMES = {figures.RAW: "aiomysql's pool, time-outs", figures.AWS: "AWS wrapper, defaults"}
INK, PALE, RULE = "#1f2933", "#52606d", "#9aa5b1"
WIDTH, LEFT, RIGHT = 760, 236, 724
ROW, TOP, FOOT = 26, 44, 40
LEAST_S, MOST_S = 0.03, 100.0
MOST_X = 2.2


@dataclass(frozen=True, slots=True)
class Axis:
    """Where a value lies from left to right; `is_log`: each factor of ten takes as much room."""

    least: float
    most: float
    is_log: bool = False

    def at(self, value: float) -> float:
        """Give the place of a value; what lies outside is at the edge."""
        value = min(max(value, self.least), self.most)
        if self.is_log:
            share = math.log(value / self.least) / math.log(self.most / self.least)
        else:
            share = (value - self.least) / (self.most - self.least)
        return round(LEFT + share * (RIGHT - LEFT), 1)


def waits(measured: Sequence[Figure]) -> str:
    """Draw the waits after each kind of failover: a dot at the median, a line from the best to the worst."""
    here = [each for each in measured if each.part == "failover"]
    whats = list(dict.fromkeys(each.what for each in here))
    kinds = [who for who in COLOURS if any(each.who == who for each in here)]
    axis = Axis(LEAST_S, MOST_S, is_log=True)
    drawn = _ticks(axis, [(0.1, "0.1 s"), (1.0, "1 s"), (10.0, "10 s")], len(whats))
    for row, what in enumerate(whats):
        middle = TOP + ROW * row + ROW / 2
        drawn.append(_text(16, middle + 4, what))
        for lane, who in enumerate(kinds):
            y = middle + (lane - (len(kinds) - 1) / 2) * 5
            drawn += [_wait(axis, each, y) for each in here if (each.what, each.who) == (what, who)]
        drawn += [
            _rule(axis.at(each.at_most), TOP + ROW * row + 2, TOP + ROW * (row + 1) - 2)
            for each in here
            if each.what == what and each.at_most is not None
        ]
    drawn += _legend(kinds, len(whats))
    told = "Seconds from the promotion to each client's first write, for each kind of failover and of client."
    return _svg(drawn, len(whats), told)


def _wait(axis: Axis, figure: Figure, y: float) -> str:
    colour = COLOURS[figure.who]
    best, worst = axis.at(min(figure.values)), axis.at(figure.worst)
    shown = html.escape(f"{NAMES.get(figure.who, figure.who)}; {figure.what}: {tables.cell(figure)} s")
    return (
        f'<g fill="{colour}" stroke="{colour}"><title>{shown}</title>'
        f'<line x1="{best}" y1="{y:g}" x2="{worst}" y2="{y:g}" stroke-width="2"/>'
        f'<circle cx="{axis.at(figure.median)}" cy="{y:g}" r="3"/></g>'
    )


def costs(measured: Sequence[Figure], labels: Sequence[tuple[str, str, str]]) -> str:
    """Draw ours beside aiomysql's, which is 1: a bar to the median, a line over the middle half, a mark at the bound.

    Args:
        measured: All figures.
        labels: Part and line of what is drawn, and how it is called here.
    """
    shown = [(each, label) for part, what, label in labels if (each := _ratio(measured, part, what))]
    axis = Axis(0.0, MOST_X)
    drawn = _ticks(axis, [(0.0, "0"), (0.5, "x0.5"), (1.0, "aiomysql"), (1.5, "x1.5"), (2.0, "x2")], len(shown))
    for row, (figure, label) in enumerate(shown):
        middle = TOP + ROW * row + ROW / 2
        drawn.append(_text(16, middle + 4, label))
        drawn.append(_bar(axis, figure, middle))
        if figure.at_most is not None:
            drawn.append(_rule(axis.at(figure.at_most), middle - 11, middle + 11))
    drawn += [
        _rule(16, TOP + ROW * len(shown) + 14, TOP + ROW * len(shown) + 28),
        _text(24, TOP + ROW * len(shown) + 25, "bound", PALE),
        _text(90, TOP + ROW * len(shown) + 25, "shorter is better; the thin line is the middle half", PALE),
    ]
    return _svg(drawn, len(shown), "What aioaurora's connection and pool cost beside aiomysql's, as ratios.")


def _ratio(measured: Sequence[Figure], part: str, what: str) -> Figure | None:
    return figures.found(measured, part, what, figures.RATIO)


def _bar(axis: Axis, figure: Figure, middle: float) -> str:
    low, high = figure.spread
    end = axis.at(figure.median)
    return (
        f'<rect x="{LEFT}" y="{middle - 7:g}" width="{end - LEFT:.1f}" height="14" fill="{COLOURS[figures.OURS]}"/>'
        f'<line x1="{axis.at(low)}" y1="{middle:g}" x2="{axis.at(high)}" y2="{middle:g}" stroke="{INK}"/>'
        f'<text x="{max(axis.at(high), end) + 6:.1f}" y="{middle + 4:g}" fill="{PALE}">{figure.median:.2f}</text>'
    )


def _ticks(axis: Axis, marks: Sequence[tuple[float, str]], rows: int) -> list[str]:
    foot = TOP + ROW * rows
    lines = "".join(f'<line x1="{axis.at(v)}" y1="{TOP - 6}" x2="{axis.at(v)}" y2="{foot}"/>' for v, _ in marks)
    names = "".join(f'<text x="{axis.at(v)}" y="{TOP - 14}">{html.escape(name)}</text>' for v, name in marks)
    return [
        f'<g stroke="{RULE}" stroke-dasharray="4 4">{lines}</g>',
        f'<g fill="{PALE}" text-anchor="middle">{names}</g>',
    ]


def _legend(kinds: Sequence[str], rows: int) -> list[str]:
    y = TOP + ROW * rows + 25
    drawn, x = [], 16
    for who in kinds:
        name = NAMES.get(who, who)
        drawn.append(f'<circle cx="{x + 4}" cy="{y - 4}" r="4" fill="{COLOURS[who]}"/>')
        drawn.append(_text(x + 14, y, name, PALE))
        x += 30 + 7 * len(name)
    return [*drawn, _rule(x, y - 11, y + 3), _text(x + 8, y, "our bound", PALE)]


def _rule(x: float, top: float, foot: float) -> str:
    return f'<line x1="{x:g}" y1="{top:g}" x2="{x:g}" y2="{foot:g}" stroke="{INK}" stroke-width="2"/>'


def _text(x: float, y: float, words: str, colour: str = INK) -> str:
    return f'<text x="{x:g}" y="{y:g}" fill="{colour}">{html.escape(words)}</text>'


def _svg(drawn: Sequence[str], rows: int, told: str) -> str:
    height = TOP + ROW * rows + FOOT
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="system-ui, sans-serif" '
        f'font-size="12" role="img" aria-label="{html.escape(told)}">'
    )
    back = f'<rect width="{WIDTH}" height="{height}" rx="8" fill="#ffffff"/>'
    return "\n".join([head, *(f"  {each}" for each in (back, *drawn)), "</svg>"]) + "\n"
