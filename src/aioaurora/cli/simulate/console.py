"""The commands that `aioaurora simulate` reads from its standard input."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import typer

from aioaurora.cli.simulate import lines

if TYPE_CHECKING:
    from aioaurora.simulator import SimulatedCluster

_MODES = ("graceful", "crash", "blackhole")
_DNS_FAULTS = ("drop", "servfail", "nxdomain", "refused", "freeze")
_CHUNK = 4096


@dataclass(frozen=True, slots=True)
class Words:
    """What stood behind a command: in any order, each at most once."""

    mode: str | None = None
    seconds: float | None = None
    instance: str | None = None

    @classmethod
    def of(cls, words: list[str], sim: SimulatedCluster) -> Words:
        """Tell modes, seconds and ids apart; raises ValueError for anything else."""
        found: dict[str, str | float] = {}
        for word in words:
            kind, value = _kind(word, sim)
            if kind in found:
                raise ValueError(f"two of a kind: {found[kind]} and {word}")
            found[kind] = value
        return cls(**found)  # type: ignore[arg-type]  # `_kind` gives each its type.


def _kind(word: str, sim: SimulatedCluster) -> tuple[str, str | float]:
    if word in _MODES:
        return "mode", word
    if word in sim.instances:
        return "instance", word
    try:
        seconds = float(word)
    except ValueError:
        known = ", ".join((*_MODES, *sim.instances))
        raise ValueError(f"{word!r} is no number and none of {known}") from None
    if not 0 <= seconds < math.inf:
        raise ValueError(f"{word!r} is no duration: it must be 0 or more, and end")
    return "seconds", seconds


Run: TypeAlias = Callable[["SimulatedCluster", list[str]], Awaitable[None]]


async def _failover(sim: SimulatedCluster, given: list[str]) -> None:
    words = Words.of(given, sim)
    after = 2.0 if words.seconds is None else words.seconds
    await sim.failover(words.mode or "graceful", words.instance, promote_after=after)  # type: ignore[arg-type]  # A mode.


async def _restart(sim: SimulatedCluster, given: list[str]) -> None:
    words = Words.of(given, sim)
    await sim.restart(words.instance, down_for=2.0 if words.seconds is None else words.seconds)


async def _crash(sim: SimulatedCluster, given: list[str]) -> None:
    await sim.crash(Words.of(given, sim).instance)


async def _hang(sim: SimulatedCluster, given: list[str]) -> None:
    await sim.hang(Words.of(given, sim).instance)


async def _freeze(sim: SimulatedCluster, _: list[str]) -> None:
    await sim.freeze()


async def _patch(sim: SimulatedCluster, given: list[str]) -> None:
    words = Words.of(given, sim)
    await sim.patch(words.instance, silent_for=2.0 if words.seconds is None else words.seconds)


async def _slow(sim: SimulatedCluster, given: list[str]) -> None:
    words = Words.of(given, sim)
    await sim.slow(0.1 if words.seconds is None else words.seconds, words.instance)


async def _dns(sim: SimulatedCluster, given: list[str]) -> None:
    if len(given) != 1 or given[0] not in _DNS_FAULTS:
        raise ValueError(f"dns wants one of {', '.join(_DNS_FAULTS)}")
    getattr(sim.dns, given[0])()


async def _heal(sim: SimulatedCluster, _: list[str]) -> None:
    await sim.heal()


async def _status(sim: SimulatedCluster, _: list[str]) -> None:
    for line in lines.status(sim):
        typer.echo(line)


async def _help(_: SimulatedCluster, __: list[str]) -> None:
    for usage, says, _run in COMMANDS.values():
        typer.echo(f"  {usage:<46} {says}")
    typer.echo(f"  {'quit':<46} End the cluster.")


COMMANDS: dict[str, tuple[str, str, Run]] = {
    "failover": ("failover [graceful|crash|blackhole] [ID] [SECONDS]", "Promote a reader, after 2 s.", _failover),
    "restart": ("restart [ID] [SECONDS]", "Restart the writer in place, or another instance.", _restart),
    "crash": ("crash [ID]", "End the writer, or another instance, and promote nobody.", _crash),
    "hang": ("hang [ID]", "Let it neither read nor write.", _hang),
    "patch": ("patch [ID] [SECONDS]", "Keep sessions silent for a while and undo their transactions.", _patch),
    "freeze": ("freeze", "Set read_only on the writer, as a switchover does.", _freeze),
    "slow": ("slow [ID] [SECONDS]", "Delay every answer.", _slow),
    "dns": ("dns drop|servfail|nxdomain|refused|freeze", "Let the name server fail, or lag.", _dns),
    "heal": ("heal", "Undo every fault.", _heal),
    "status": ("status", "Say who is who.", _status),
    "help": ("help", "Say this.", _help),
}


async def obeyed(sim: SimulatedCluster) -> None:
    """Carry out what is typed, each command beside those that are under way; returns at `quit`."""
    typed = _typed()
    under_way: set[asyncio.Task[None]] = set()
    try:
        while (words := (await typed.get()).split()) not in (["quit"], ["exit"]):
            if words:
                task = asyncio.create_task(_carried_out(sim, words[0], words[1:]))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


async def _carried_out(sim: SimulatedCluster, command: str, words: list[str]) -> None:
    if command not in COMMANDS:
        typer.echo(f"no command {command!r}: type help", err=True)
        return
    usage, _, run = COMMANDS[command]
    try:
        await run(sim, words)
    except (ValueError, LookupError) as error:
        typer.echo(f"{error}; write: {usage}", err=True)


def _typed() -> asyncio.Queue[str]:
    """Return a queue of the lines of standard input, whatever that is: a terminal, a pipe, a file, nothing.

    A thread reads them. It is left behind at the end, so it must not hold a lock of `sys.stdin`.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[str] = asyncio.Queue()

    def put(line: str) -> None:
        with contextlib.suppress(RuntimeError):  # The loop has been closed meanwhile.
            loop.call_soon_threadsafe(queue.put_nowait, line)

    def read() -> None:
        rest = ""
        with contextlib.suppress(OSError):  # No standard input at all.
            while chunk := os.read(0, _CHUNK):
                *whole, rest = (rest + chunk.decode("utf-8", "replace")).split("\n")
                for line in whole:
                    put(line)
        if rest:
            put(rest)
        if os.isatty(0):
            put("quit")  # Ctrl-D; the end of a pipe means only that no more commands come.

    threading.Thread(target=read, name="aioaurora-simulate-stdin", daemon=True).start()
    return queue
