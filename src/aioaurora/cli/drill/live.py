"""Shows a drill while it runs: a display that changes in place on a terminal, plain lines elsewhere."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from aioaurora.cli.drill.ledger import Side, Told
from aioaurora.cli.drill.report import print_failover

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from rich.console import Console

    from aioaurora.cli.drill.conduct import Drill, Judged

_EVERY_S, _LOOKS_BACK_S = 0.25, 0.5


class Display:
    """An audience that a person looks over the shoulder of.

    It draws on the drill's own loop, and says so little that it does not hold the clients up.
    """

    def __init__(self, console: Console, drill: Drill, *, tables: bool) -> None:
        self._console, self._drill, self._tables = console, drill, tables
        self._number, self._sentence = 0, "starting"
        self._live: Live | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
            self._task = asyncio.create_task(self._keep_drawing(self._live))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        if self._live is not None:
            self._live.stop()

    # --- the audience -----------------------------------------------------------------------------------------------

    def started(self, engine: str) -> None:
        """Say what plays the storage."""
        plan = self._drill.plan
        hint = " (for a real one: put mariadbd on PATH)" if engine == "memory" and plan.engine == "auto" else ""
        self._console.print(
            f"Engine: {engine}{hint}. {plan.instances} instances, {plan.clients} writers of each kind, "
            f"{plan.readers} readers, seed {plan.seed}.",
            highlight=False,
        )

    def phase(self, number: int, sentence: str) -> None:
        """Say what happens now."""
        self._number, self._sentence = number, sentence
        if self._live is None:
            self._console.print(f"{number}/{len(self._drill.plan)} {sentence}", highlight=False)

    def judged(self, result: Judged) -> None:
        """Print the failover's table."""
        if self._tables:
            print_failover(self._console, self._number, result)

    # --- drawing ----------------------------------------------------------------------------------------------------

    async def _keep_drawing(self, live: Live) -> None:
        while True:
            live.update(self._drawn(), refresh=True)
            await asyncio.sleep(_EVERY_S)

    def _drawn(self) -> Table:
        total = len(self._drill.plan)
        grid = Table.grid(padding=(0, 1))
        grid.add_row(
            f"{self._number}/{total}", ProgressBar(total, len(self._drill.failovers), width=30), self._sentence
        )
        for side in Side:
            grid.add_row("", str(side), self._lane(side))
        return grid

    def _lane(self, side: Side) -> Text:
        """One square for each client: does it write now?"""
        now = asyncio.get_running_loop().time()
        writing = set()
        for each in reversed(self._drill.ledger.attempts):
            if each.ended_at < now - _LOOKS_BACK_S:
                break
            if each.side is side and each.told is Told.DONE:
                writing.add(each.client)
        lane = Text()
        for client in range(self._drill.plan.clients):
            lane.append("■ " if client in writing else "□ ", style="green" if client in writing else "yellow")
        return lane.append(f" {len(writing)} write", style="dim")
