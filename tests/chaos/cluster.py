"""The simulated cluster of `host.py`, seen from the program under test."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from typing import TYPE_CHECKING, Any

from tests.chaos.host import LINE_BYTES

if TYPE_CHECKING:
    from typing import Self

_STARTS_WITHIN_S = 60.0
_ENDS_WITHIN_S = 15.0


class ClusterGone(Exception):
    """The cluster's process has ended, or could not do what it was asked."""


class ClusterElsewhere:
    """A cluster in a process of its own; an async context manager."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._process: asyncio.subprocess.Process | None = None
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._listening: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tests.chaos.host", str(self._seed)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_BYTES,
        )
        self._listening = asyncio.create_task(self._listen(self._process), name="the cluster's answers")
        async with asyncio.timeout(_STARTS_WITHIN_S):
            self.options: dict[str, Any] = await self.ask("options")
        self.options["nameservers"] = tuple(self.options["nameservers"])
        return self

    async def __aexit__(self, *exc: object) -> None:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(_ENDS_WITHIN_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        if self._listening is not None:
            await asyncio.wait({self._listening})

    async def ask(self, do: str, **said: Any) -> Any:
        """Have something done there; give what it gives."""
        process, number = self._process, next(self._numbers)
        assert process is not None
        assert process.stdin is not None
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        process.stdin.write(json.dumps({"id": number, "do": do, "with": said}).encode() + b"\n")
        return await future

    async def rows(self, sql: str, *args: Any) -> list[Any]:
        """Ask the engine."""
        return list(await self.ask("rows", sql=sql, args=args))

    async def execute(self, *statements: str) -> None:
        """Tell the engine."""
        for sql in statements:
            await self.ask("execute", sql=sql, args=[])

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            answer = json.loads(line)
            future = self._waiting.pop(answer["id"])
            if future.done():
                continue
            if "fails" in answer:
                future.set_exception(ClusterGone(answer["fails"]))
            else:
                future.set_result(answer["gives"])
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ClusterGone("the cluster's process has ended"))
