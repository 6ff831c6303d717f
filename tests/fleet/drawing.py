"""Plots as SVG, drawn by hand: lines over two axes, each linear or logarithmic."""

from __future__ import annotations

import math
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 760, 360, 70, 24, 24, 84
COLOURS = {"good": "#2f9e62", "fair": "#f2b84b", "bad": "#d64545", "plain": "#9aa5b1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One axis: what it says, from where to where, and its marks."""

    title: str
    least: float
    most: float
    marks: tuple[float, ...]
    is_log: bool = False

    def share(self, value: float) -> float:
        """Tell where a value lies, from 0 to 1."""
        value = min(max(value, self.least), self.most)
        if self.is_log:
            return math.log(value / self.least) / math.log(self.most / self.least)
        return (value - self.least) / (self.most - self.least)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line: its name, its colour, and its points; broken ones are dashed."""

    name: str
    colour: str
    points: list[tuple[float, float]]
    is_dashed: bool = False


def drawn(says: str, across: Axis, up: Axis, lines: list[Line]) -> str:
    """Give a picture of lines; `says` what it shows to who cannot see it."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="system-ui, sans-serif" '
        f'font-size="12" role="img" aria-label="{escape(says)}">'
    )
    parts = [head, f'  <rect width="{WIDTH}" height="{HEIGHT}" rx="8" fill="#ffffff"/>']
    parts += [*_marks(across, up), *(_line(line, across, up) for line in lines), *_legend(lines), "</svg>", ""]
    return "\n".join(parts)


def _x(share: float) -> float:
    return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)


def _y(share: float) -> float:
    return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)


def _marks(across: Axis, up: Axis) -> list[str]:
    parts = ['  <g stroke="#e4e7eb">']
    parts += [f'    <line x1="{_x(0)}" y1="{_y(up.share(m))}" x2="{_x(1)}" y2="{_y(up.share(m))}"/>' for m in up.marks]
    parts += ["  </g>", '  <g fill="#52606d">']
    for mark in across.marks:
        parts.append(f'    <text x="{_x(across.share(mark))}" y="{_y(0) + 16}" text-anchor="middle">{mark:,g}</text>')
    for mark in up.marks:
        parts.append(f'    <text x="{LEFT - 8}" y="{_y(up.share(mark)) + 4}" text-anchor="end">{mark:,g}</text>')
    parts.append(f'    <text x="{_x(0.5)}" y="{_y(0) + 34}" text-anchor="middle">{escape(across.title)}</text>')
    parts.append(f'    <text x="8" y="{TOP - 8}">{escape(up.title)}</text>')
    return [*parts, "  </g>"]


def _line(line: Line, across: Axis, up: Axis) -> str:
    points = " ".join(f"{_x(across.share(x))},{_y(up.share(y))}" for x, y in line.points)
    dashes = ' stroke-dasharray="5 4"' if line.is_dashed else ""
    return f'  <polyline fill="none" stroke="{COLOURS[line.colour]}" stroke-width="2.5"{dashes} points="{points}"/>'


def _legend(lines: list[Line]) -> list[str]:
    parts, at = ['  <g fill="#1f2933">'], LEFT
    for line in lines:
        y = HEIGHT - 18
        parts.append(f'    <rect x="{at}" y="{y - 9}" width="12" height="12" fill="{COLOURS[line.colour]}"/>')
        parts.append(f'    <text x="{at + 18}" y="{y + 2}">{escape(line.name)}</text>')
        at += 42 + round(6.2 * len(line.name))
    return [*parts, "  </g>"]
