"""Show figures as tables, for a terminal and for a page: a line for each thing, a column for each of those compared."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

from tests.benchmarks import figures
from tests.benchmarks.figures import Figure, Verdict, found

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterable, Sequence

COLUMNS = (figures.WIRE, figures.RAW, figures.OURS, figures.AWS, figures.TUNED, figures.RATIO)
FAR = (figures.RAW_TO_WIRE, figures.OURS_TO_WIRE)
WORST_IN = frozenset({"failover"})  # Parts whose worst is shown too.
_THOUSAND = 1000


def lines_of(measured: Sequence[Figure]) -> list[tuple[str, str]]:
    """Give part and line of all figures, in their order."""
    return list(dict.fromkeys((each.part, each.what) for each in measured))


def table(measured: Sequence[Figure], columns: Sequence[str]) -> list[list[str]]:
    """Give the cells, the head first: what, the columns for which there is anything, bounds, and how many repeats."""
    used = [who for who in columns if any(each.who == who for each in measured)]
    is_bound = any(map(bound, measured))
    rows = [["", *used, *["bound"] * is_bound, "repeats"]]
    for part, what in lines_of(measured):
        here = [each for each in measured if (each.part, each.what) == (part, what)]
        shown = [found(here, part, what, who) for who in used]
        cells = [cell(each) if each else "" for each in shown]
        bounds = [", ".join(filter(None, map(bound, here)))] * is_bound
        often = ", ".join(dict.fromkeys(repeats(each) for each in shown if each))
        rows.append([label(here), *cells, *bounds, often])
    return rows


def label(here: Sequence[Figure]) -> str:
    """Name a line, with its unit."""
    unit = next((each.unit for each in here if each.unit not in {"", "x"}), "")
    return f"{here[0].what} ({unit})" if unit else here[0].what


def cell(figure: Figure) -> str:
    """Show a median with the middle half, and the worst where that counts."""
    low, high = figure.spread
    lead = "x" if figure.unit == "x" else ""
    shown = f"{lead}{number(figure.median, figure.unit)}"
    if figure.repeats > 1 or figure.per_repeat > 1:
        shown += f" [{number(low, figure.unit)}, {number(high, figure.unit)}]"
    return f"{shown}, {number(figure.worst, figure.unit)}" if figure.part in WORST_IN else shown


def bound(figure: Figure) -> str:
    """Show the bounds and whether they are met; nothing where there is none."""
    signs = (("at most", figure.at_most), ("at least", figure.at_least))
    said = [f"{sign} {'x' if figure.unit == 'x' else ''}{limit:g}" for sign, limit in signs if limit is not None]
    if not said:
        return ""
    verdict = figure.verdict
    return f"{' and '.join(said)}: {verdict if verdict is Verdict.MET else verdict.upper()}"


def number(value: float, unit: str) -> str:
    """Write a value with as many digits as its unit bears."""
    if math.isinf(value):
        return "never"
    if unit in {"x", "s"}:
        return f"{value:.3f}" if unit == "x" else f"{value:.2f}"
    if abs(value) >= _THOUSAND or float(value).is_integer():
        return f"{value:,.0f}"
    return f"{value:.3g}"


def repeats(figure: Figure) -> str:
    """Say how often it was measured, and how many values each repeat gave."""
    return f"{figure.repeats}" + (f" x {figure.per_repeat}" if figure.per_repeat > 1 else "")


def as_text(rows: Sequence[Sequence[str]]) -> str:
    """Align the cells; the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(each.rjust(width) for each, width in zip(row[1:], widths[1:], strict=True))]
        ).rstrip()
        for row in rows
    )


def as_markdown(rows: Sequence[Sequence[str]]) -> str:
    """Write a table as Markdown has it."""
    head, *rest = ([each.replace("|", "\\|") for each in row] for row in rows)
    ruled = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(row)} |".replace("  ", " ") for row in (head, ruled, *rest))


def write(path: pathlib.Path | None, measured: Iterable[Figure]) -> None:
    """Keep figures as JSON, one a line, if there is somewhere to keep them."""
    if path is not None:
        path.write_text("[\n" + ",\n".join(json.dumps(figures.as_data(each)) for each in measured) + "\n]\n")


def read(path: pathlib.Path) -> list[Figure]:
    """Read what `write` kept."""
    return [figures.from_data(said) for said in json.loads(path.read_text())]
