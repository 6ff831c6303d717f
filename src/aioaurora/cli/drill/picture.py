"""A timeline as SVG: a lane for each client, green where it writes, amber where it waits, red where it got an error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from aioaurora.cli.drill.ledger import Side, Told

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aioaurora.cli.drill.conduct import Drill
    from aioaurora.cli.drill.judge import Scene
    from aioaurora.cli.drill.ledger import Attempt, Connect, Ledger

WIDTH, LEFT, RIGHT = 1000, 120, 20
LANE, GAP, HEAD, FOOT = 12, 10, 46, 24
BEFORE_S = 1.5
# Writes closer together than this are one green stretch: clients are paced.
STEADY_S = 0.4
GREEN, AMBER, RED, DARK, INK, FAINT = "#2f9e62", "#f2d08b", "#d64545", "#7a1f1f", "#1f2933", "#52606d"
_NAMES = {Side.OURS: "aioaurora", Side.PLAIN: "plain aiomysql"}


@dataclass(frozen=True, slots=True)
class Stretch:
    """A client wrote, without a pause worth showing, from one moment to another."""

    start: float
    end: float


def stretches(moments: Sequence[float], steady_s: float = STEADY_S) -> list[Stretch]:
    """Join moments that are no further apart than `steady_s`; they must be sorted."""
    found: list[Stretch] = []
    for moment in moments:
        if found and moment - found[-1].end <= steady_s:
            found[-1] = Stretch(found[-1].start, moment)
        else:
            found.append(Stretch(moment, moment))
    return found


def drawn(drill: Drill) -> str:
    """Draw the first failover of each mode and time to promotion, one panel below the other."""
    scenes: dict[tuple[str, float], Scene] = {}
    for judged in drill.failovers:
        scenes.setdefault((judged.scene.mode, judged.scene.promote_after_s), judged.scene)
    panels: list[str] = []
    top = 0
    for scene in scenes.values():
        panel = _Panel(drill.ledger, scene, top)
        panels += panel.lines()
        top += panel.height
    height = top + FOOT
    label = escape(f"Clients writing through {len(scenes)} failovers on a simulated cluster ({drill.engine})")
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="system-ui, sans-serif" '
        f'font-size="12" role="img" aria-label="{label}">'
    )
    ground = f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>'
    return "\n".join([head, ground, *panels, *_legend(top), "</svg>", ""])


class _Panel:
    """One failover."""

    def __init__(self, ledger: Ledger, scene: Scene, top: int) -> None:
        self._scene, self._top = scene, top
        self._start, self._end = max(scene.began_at, scene.fault_at - BEFORE_S), scene.ended_at
        self._ledger = ledger.between(self._start, self._end)
        self._lanes_at = top + HEAD
        self.height = HEAD + len(Side) * (scene.clients * LANE + GAP) + 2 * GAP

    def lines(self) -> Iterator[str]:
        """Yield the panel's elements."""
        yield from self._marks()
        y = self._lanes_at
        for side in Side:
            middle = y + self._scene.clients * LANE / 2 + 4
            yield f'<text x="{LEFT - 12}" y="{middle:.1f}" text-anchor="end" fill="{INK}">{_NAMES[side]}</text>'
            own = self._ledger.of(side)
            for client in range(self._scene.clients):
                attempts = [each for each in own.attempts if each.client == client]
                connects = [each for each in own.connects if each.client == client]
                yield from self._lane(y + client * LANE, attempts, connects)
            y += self._scene.clients * LANE + GAP

    def _marks(self) -> Iterator[str]:
        scene, bottom = self._scene, self._top + self.height - 2 * GAP
        title = f"{scene.mode}: {scene.old_writer} to {scene.new_writer}"
        yield f'<text x="{LEFT}" y="{self._top + 18}" font-weight="600" fill="{INK}">{escape(title)}</text>'
        for at, name in ((scene.fault_at, "fault"), (scene.promoted_at, "promoted")):
            x = self._x(at)
            yield f'<path d="M{x:.1f} {self._top + 38}V{bottom}" stroke="{FAINT}" stroke-dasharray="3 3"/>'
            yield _label(x, self._top + 34, name)
        seconds = range(int(self._start - scene.fault_at), int(self._end - scene.fault_at) + 1)
        for second in seconds:
            x = self._x(scene.fault_at + second)
            yield _label(x, bottom + 10, f"{second} s", size=9)

    def _lane(self, y: float, attempts: list[Attempt], connects: list[Connect]) -> Iterator[str]:
        height = LANE - 3
        yield self._bar(y, height, Stretch(self._start, self._end), AMBER)
        for stretch in self._writes(attempts):
            yield self._bar(y, height, stretch, GREEN)
        for write in attempts:
            if write.error:
                yield self._error(y, height, write.ended_at, write.error, write.told)
        for connect in connects:
            if connect.error:
                yield self._error(y, height, connect.ended_at, connect.error)

    def _writes(self, attempts: list[Attempt]) -> list[Stretch]:
        """Join the writes; one close to the panel's edge reaches it."""
        moments = [each.ended_at for each in attempts if each.told is Told.DONE]
        if moments and moments[0] - self._start <= STEADY_S:
            moments.insert(0, self._start)
        if moments and self._end - moments[-1] <= STEADY_S:
            moments.append(self._end)
        return stretches(moments)

    def _bar(self, y: float, height: int, stretch: Stretch, colour: str) -> str:
        x = self._x(stretch.start)
        width = max(self._x(stretch.end) - x, 1.0)
        return f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{height}" fill="{colour}"/>'

    def _error(self, y: float, height: int, at: float, error: str, told: Told | None = None) -> str:
        outcome = f", {told}" if told not in {None, Told.NOTHING} else ""
        title = escape(f"{at - self._scene.fault_at:.2f} s: {error}{outcome}")
        colour = DARK if told is Told.UNKNOWN else RED
        x = self._x(at) - 1
        size = f'width="2" height="{height}"'
        return f'<rect x="{x:.1f}" y="{y}" {size} fill="{colour}"><title>{title}</title></rect>'

    def _x(self, at: float) -> float:
        return LEFT + (at - self._start) / (self._end - self._start) * (WIDTH - LEFT - RIGHT)


def _label(x: float, y: float, text: str, *, size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y}" text-anchor="middle" font-size="{size}" fill="{FAINT}">{escape(text)}</text>'


def _legend(top: int) -> Iterator[str]:
    x = LEFT
    for colour, text in ((GREEN, "writes"), (AMBER, "waits"), (RED, "error"), (DARK, "outcome unknown")):
        yield f'<rect x="{x}" y="{top + 4}" width="10" height="10" fill="{colour}"/>'
        yield f'<text x="{x + 15}" y="{top + 13}" fill="{FAINT}">{text}</text>'
        x += 130
