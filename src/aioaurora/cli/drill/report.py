"""What a drill found, as tables: one for each failover, both kinds of client side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from aioaurora.cli.drill.ledger import Side
from aioaurora.cli.drill.record import by_mode, first_writes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from aioaurora.cli.drill.conduct import Drill, Judged
    from aioaurora.cli.drill.judge import Figures

_NAMES = {Side.OURS: "aioaurora", Side.PLAIN: "plain aiomysql"}


def print_failover(console: Console, number: int, judged: Judged) -> None:
    """Print one failover's table."""
    scene = judged.scene
    title = (
        f"{number}. {scene.mode}: {scene.old_writer} to {scene.new_writer}, "
        f"promoted {scene.promoted_at - scene.fault_at:.2f} s after the fault"
    )
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.add_column("")
    for side in Side:
        table.add_column(_NAMES[side], justify="right")
    for label, *cells in _rows(judged):
        table.add_row(label, *cells)
    console.print(table)
    if scene.counted_from > scene.promoted_at:
        late_s = scene.counted_from - scene.fault_at
        console.print(
            f"  [dim]First writes count from {late_s:.2f} s after the fault: a silence shows no sooner.[/dim]"
        )
    stall = scene.worst_stall_s(scene.fault_at, scene.ended_at)
    if stall:
        console.print(f"  [dim]The event loop stalled for {stall * 1000:.0f} ms at worst.[/dim]")
    for each in judged.broken:
        console.print(Text(f"  {each}", style="bold red"))


def print_summary(console: Console, drill: Drill) -> None:
    """Print what all failovers come to."""
    if len(drill.failovers) > len(by_mode(drill)):
        console.print(_summary(drill))
    for each in drill.finale:
        console.print(Text(str(each), style="bold red"))
    count = _plural(len(drill.failovers), "failover")
    if drill.broken:
        console.print(Text(f"{_plural(len(drill.broken), 'promise')} broken in {count}.", style="bold red"))
    else:
        console.print(Text(f"Every promise kept in {count} on {drill.engine}.", style="bold green"))


def _summary(drill: Drill) -> Table:
    table = Table(title="promotion to first write, median / worst", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("")
    table.add_column("failovers", justify="right")
    for side in Side:
        table.add_column(_NAMES[side], justify="right")
    for mode, failovers in by_mode(drill).items():
        cells = (" / ".join(map(_seconds, first_writes(failovers, side))) for side in Side)
        table.add_row(mode, str(len(failovers)), *cells)
    return table


def _rows(judged: Judged) -> list[tuple[str, Text, Text]]:
    ours, plain = judged.figures[Side.OURS], judged.figures[Side.PLAIN]

    def row(label: str, value: str, other: str, *, bad: tuple[bool, bool] = (False, False)) -> tuple[str, Text, Text]:
        return label, _cell(value, is_bad=bad[0]), _cell(other, is_bad=bad[1])

    def count(label: str, name: str) -> tuple[str, Text, Text]:
        values = (int(getattr(ours, name)), int(getattr(plain, name)))
        return row(label, *map(str, values), bad=(values[0] > 0, values[1] > 0))

    return [
        row("noticed after the fault", _seconds(ours.detection_s), _seconds(plain.detection_s)),
        row("promoted to first write, median", _seconds(ours.median_s), _seconds(plain.median_s)),
        row("promoted to first write, worst", _seconds(ours.worst_s), _seconds(plain.worst_s)),
        row("longest hang of a statement", _seconds(ours.longest_hang_s), _seconds(plain.longest_hang_s)),
        row("clients that write again", _again(ours), _again(plain)),
        row("writes acknowledged", str(ours.acknowledged), str(plain.acknowledged)),
        row("errors that writers saw", _counted(ours.errors), _counted(plain.errors)),
        row("outcomes that they were told", _outcomes(ours), _outcomes(plain)),
        count("connections to the wrong role", "wrong_roles"),
        count("acknowledged writes lost", "lost"),
        count("written twice", "duplicates"),
        row("reads that failed", str(ours.reads_failed), "-"),
        row("most connects at once", str(ours.peak_connects), str(plain.peak_connects)),
    ]


def _cell(text: str, *, is_bad: bool) -> Text:
    return Text(text, style="red" if is_bad else "")


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.2f} s"


def _again(found: Figures) -> str:
    return f"{len(found.first_writes_s)} of {found.clients}"


def _plural(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"


def _outcomes(found: Figures) -> str:
    known = {("not said" if name == "nothing" else name): count for name, count in found.outcomes.items()}
    return _counted(known)


def _counted(counts: Mapping[str, int]) -> str:
    return "\n".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items()) or "none"
