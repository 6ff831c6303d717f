"""The simulated cluster in a process of its own: it lives on while the program under test is stalled or stopped.

    python -m tests.chaos.host [seed]

A line of JSON asks for one thing, `{"id": 1, "do": "rows", "with": {...}}`, and gets one, `{"id": 1, "gives": ...}`.
Times are loop times, which are the same in both processes. It ends when its input does.
"""

from __future__ import annotations

import asyncio
import contextlib
import decimal
import json
import os
import random
import sys
from typing import TYPE_CHECKING, Any

from aioaurora.simulator import HostRow, SimulatedCluster, SimulatorError
from aioaurora.simulator.relay import Ending
from aioaurora.simulator.wire import EngineError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

LINE_BYTES = 1 << 26
_INSTANCES = 3
_OVER_WITHIN_S = 30.0
_NO_SUCH_THREAD = 1094
# Of connections, for servers that were in use before: that one has started anew shows in the numbers of new ones, if
# they are smaller (docs/explanation/two-silences.md).
_FIRST_NUMBER = 10_000


class Host:
    """The cluster, and what can be asked of it."""

    def __init__(self, sim: SimulatedCluster, seed: int) -> None:
        self._sim, self._chance = sim, random.Random(seed)
        self._loop = asyncio.get_running_loop()
        self._under_way: set[asyncio.Task[None]] = set()
        self._noted: list[tuple[float, str]] = []
        self._seen = 0
        self._green = self._added = 0

    # --- what is asked ----------------------------------------------------------------------------------------------

    async def options(self) -> dict[str, Any]:
        """Say how to reach the cluster."""
        return self._sim.connect_options()

    async def rows(self, sql: str, args: list[Any]) -> list[Any]:
        """Ask the engine."""
        return await self._sim.rows(sql, *args)

    async def execute(self, sql: str, args: list[Any]) -> int:
        """Tell the engine."""
        return await self._sim.execute(sql, *args)

    async def begin(self, faults: list[dict[str, Any]]) -> float:
        """Let an episode begin; give the time."""
        began_at = self._loop.time()
        self._noted = []
        self._seen = len(self._sim.timeline)
        for fault in faults:
            task = asyncio.create_task(self._inflicted(began_at + fault["at_s"], fault["call"], fault["arguments"]))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        return began_at

    async def heal(self) -> dict[str, Any]:
        """End the episode: what has not begun never will, and what goes on by itself is waited for; say what was."""
        await self._sim.heal()
        if self._under_way:
            _, late = await asyncio.wait(self._under_way, timeout=_OVER_WITHIN_S)
            self._noted += [(self._loop.time(), f"still under way: {task.get_name()}") for task in late]
        while len(self._sim.instances) < _INSTANCES:
            await self._add_instance()
        await self._sim.heal()
        healed_at = self._loop.time()
        entries = self._sim.timeline[self._seen :]
        shown = [(each.at, f"{each.kind} {each.instance or ''} {dict(each.detail) or ''}") for each in entries]
        return {"healed_at": healed_at, "faults": sorted(shown + self._noted), "undone": self._undone(healed_at)}

    async def misled(self) -> list[tuple[float, str, str, bool]]:
        """Give the statements of writers that went elsewhere."""
        fenced = [
            (each.at, each.instance) for each in self._sim.timeline.of("fault") if each.detail["fault"] == "two_writers"
        ]
        healed = [each.at for each in self._sim.timeline.of("healed")]
        found = []
        for each in self._sim.wrong_roles:
            until = [next((at for at in healed if at > began), float("inf")) for began, _ in fenced]
            is_fenced = any(
                began <= each.at <= end and each.instance == who
                for (began, who), end in zip(fenced, until, strict=True)
            )
            found.append((each.at, str(each.instance), str(each.detail["statement"]), is_fenced))
        return found

    async def sessions(self) -> list[str]:
        """Give the clients' sessions that are left."""
        left = [
            f"{each.id}: {len(each.connection_ids)} connections"
            for each in self._sim.instances.values()
            if each.connection_ids
        ]
        rows = await self._sim.rows(
            "SELECT ID, COMMAND, INFO FROM information_schema.PROCESSLIST WHERE USER = 'root' AND ID <> CONNECTION_ID()"
        )
        return [*left, *[f"the engine's session {row}" for row in rows]]

    # --- faults -----------------------------------------------------------------------------------------------------

    async def _inflicted(self, due: float, call: str, arguments: dict[str, Any]) -> None:
        await asyncio.sleep(due - self._loop.time())
        own: Callable[..., Awaitable[Any]] | None = getattr(self, f"_{call}", None)
        name, _, which = call.partition("_")
        try:
            if name == "dns" and own is None:
                getattr(self._sim.dns, which)(**arguments)
            elif own is not None:
                await own(**arguments)
            else:
                await getattr(self._sim, call)(**self._named(arguments))
        except (ValueError, LookupError, SimulatorError) as error:  # Another fault has made it impossible.
            self._noted.append((self._loop.time(), f"{call} could not be: {error}"))

    def _named(self, arguments: dict[str, Any]) -> dict[str, Any]:
        named = dict(arguments)
        if "instance" in named:
            named["instance"] = self._id_of(named["instance"])
        if "ending" in named:
            named["ending"] = Ending(named["ending"])
        return named

    def _id_of(self, which: str) -> str | None:
        if which == "all":
            return None
        if which == "writer":
            return self._sim.writer.id
        readers = self._sim.readers
        if not readers:
            raise LookupError("there is no reader")
        return readers[int(which.partition(":")[2]) % len(readers)].id

    async def _distort_view(self, instance: str, **said: Any) -> None:
        for name in ("masters", "without"):
            if name in said:
                said[name] = [self._id_of(each) for each in said[name]]
        said["extra"] = [
            HostRow(server_id=server_id, session_id=session, age_s=age_s)
            for server_id, session, age_s in said.get("extra", ())
        ]
        await self._sim.distort_view(self._id_of(instance), **said)

    async def _dns_lie(self, name: str, leads_to: str) -> None:
        host = self._sim.endpoint if name == "cluster" else self._sim.instances[self._id_of(name)].host
        self._sim.dns.lie(host, self._sim.instances[self._id_of(leads_to)].address)

    async def _suspend(self, seconds: float) -> None:
        """Stop the program that asks us, and let it go on; a shell does, which lives on whatever becomes of us."""
        told = f"kill -STOP {os.getppid()}; sleep {seconds}; kill -CONT {os.getppid()}"
        self._noted.append((self._loop.time(), f"suspend {seconds:g} s"))
        process = await asyncio.create_subprocess_exec("/bin/sh", "-c", told, start_new_session=True)
        await process.wait()

    async def _kill(self, instance: str) -> None:
        """Kill one session, as a DBA does."""
        which = self._id_of(instance)
        fronts = self._sim._core.instance(which).connections
        if not fronts:
            raise LookupError(f"nobody is connected to {which}")
        number = self._chance.choice(fronts).engine_id
        self._noted.append((self._loop.time(), f"kill {which} {number}"))
        try:
            await self._sim.execute(f"KILL {number}")
        except EngineError as error:
            if error.errno != _NO_SUCH_THREAD:
                raise

    async def _add_instance(self) -> None:
        self._added += 1
        await self._sim.add_instance(f"new-{self._added}")

    async def _remove_instance(self, instance: str) -> None:
        await self._sim.remove_instance(str(self._id_of(instance)))

    async def _switch_to_green(self, down_for: float) -> None:
        self._green += 1
        await self._sim.switch_to_green(f"{self._green:06}", down_for=down_for)

    def _undone(self, healed_at: float) -> list[tuple[float, float]]:
        """Give the spans in which transactions were undone though their sessions live on."""
        entries = self._sim.timeline[self._seen :]
        begun = [each.at for each in entries if each.detail.get("fault") in {"patch", "two_writers"}]
        return [(began_at, healed_at) for began_at in begun]


async def main() -> None:
    """Serve until the input ends."""
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader(limit=LINE_BYTES)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    asked: set[asyncio.Task[None]] = set()
    async with SimulatedCluster(_INSTANCES, engine="mariadb", seed=seed) as sim:
        host = Host(sim, seed)
        for instance in sim.instances.values():
            instance._next_id = _FIRST_NUMBER
        while line := await lines.readline():
            task = asyncio.create_task(_answer(host, json.loads(line)))
            asked.add(task)
            task.add_done_callback(asked.discard)
        with contextlib.suppress(Exception):  # What is left of a program that is gone need not end well.
            await asyncio.wait_for(sim.heal(), 5)


async def _answer(host: Host, asked: dict[str, Any]) -> None:
    answer: dict[str, Any] = {"id": asked["id"]}
    try:
        answer["gives"] = await getattr(host, asked["do"])(**asked["with"])
    except Exception as error:  # noqa: BLE001 - who asked is told, and fails.
        answer["fails"] = f"{type(error).__name__}: {error}"
    sys.stdout.write(json.dumps(answer, default=_plain) + "\n")
    sys.stdout.flush()


def _plain(value: object) -> object:
    return int(value) if isinstance(value, decimal.Decimal) else str(value)


if __name__ == "__main__":
    asyncio.run(main())
