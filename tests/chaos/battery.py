"""Runs a plan: clients that never stop, faults that overlap, a healing, and again; gives the history of it all."""

from __future__ import annotations

import asyncio
import gc
import random
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aioaurora
from aioaurora.cli.drill.ledger import Told
from aioaurora.cli.drill.watch import Ticker
from tests.chaos import own, plan
from tests.chaos.checker import BACK_WITHIN_S
from tests.chaos.cluster import ClusterElsewhere
from tests.chaos.history import History, Kind, Misled, Said, Trial
from tests.chaos.workload import ACCOUNTS, CLIENTS, OPENING, TABLES, Client, Doors
from tests.running import open_sockets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.chaos.plan import Episode, Plan

_WARM_UP_S, _CALM_S, _POLL_S = 1.5, 1.0, 0.05
_SESSIONS_END_WITHIN_S, _SETTLES_WITHIN_S = 15.0, 3.0


@dataclass(slots=True)
class Battery:
    """One run.

    Attributes:
        plan: What is to go wrong.
        until_s: Seconds after which no further episode begins.
        say: Hears what happens.
    """

    plan: Plan
    until_s: float
    say: Callable[[str], None]

    async def run(self) -> History:
        """Run it."""
        history = History(clients=len(CLIENTS), total=ACCOUNTS * OPENING, opening=OPENING)
        loop, ticker = asyncio.get_running_loop(), Ticker()
        loop.set_exception_handler(lambda _, context: history.unheard.append(_told(context)))
        ticking = asyncio.create_task(ticker.run())
        async with ClusterElsewhere(self.plan.seed) as cluster:
            await cluster.execute(*TABLES)
            before = _Before(frozenset(asyncio.all_tasks()), open_sockets())
            await self._besiege(cluster, history)
            await _read_the_end(cluster, history, before)
        ticking.cancel()
        history.stalls = ticker.between(0.0, loop.time())
        return history

    async def _besiege(self, cluster: ClusterElsewhere, history: History) -> None:
        loop = asyncio.get_running_loop()
        options = cluster.options | self.plan.options
        async with Doors(options, listener=lambda event: history.said.append(_said(event, loop.time()))) as doors:
            await self._try_all(cluster, doors, history)

    async def _try_all(self, cluster: ClusterElsewhere, doors: Doors, history: History) -> None:
        clients = [
            kind(
                number,
                doors=doors,
                history=history,
                chance=random.Random(f"{self.plan.seed} {number}"),
                patience_s=self.plan.patience_s,
            )
            for number, kind in enumerate(CLIENTS)
        ]
        tasks = [asyncio.create_task(client.run(), name=f"client {client.number}") for client in clients]
        loop = asyncio.get_running_loop()
        until = loop.time() + self.until_s
        await asyncio.sleep(_WARM_UP_S)
        for episode in self.plan.episodes:
            if loop.time() >= until:
                break
            history.trials.append(await self._tried(cluster, episode, history))
            await asyncio.sleep(_CALM_S)
        await self._stopped(clients, tasks, history)

    async def _tried(self, cluster: ClusterElsewhere, episode: Episode, history: History) -> Trial:
        loop = asyncio.get_running_loop()
        first = len(history.operations)
        began_at = await cluster.ask(
            "begin", faults=[plan.as_dict(each) for each in episode.faults if each.call not in plan.OWN]
        )
        # On this very loop: what it is to stall through is done meanwhile by the cluster.
        timers = [
            loop.call_at(began_at + each.at_s, lambda each=each: own.CALLS[each.call](*each.arguments.values()))
            for each in episode.faults
            if each.call in plan.OWN
        ]
        await asyncio.sleep(max(began_at + episode.lasts_s - loop.time(), 0))
        for timer in timers:
            timer.cancel()
        done = await cluster.ask("heal")
        back = await _all_back(history, done["healed_at"], first)
        trial = Trial(
            name=episode.name,
            began_at=began_at,
            healed_at=done["healed_at"],
            ended_at=loop.time(),
            faults=(*map(tuple, done["faults"]), *_own_of(episode, began_at)),
            is_harmless=episode.is_harmless,
            undone=tuple(map(tuple, done["undone"])),
            back=back,
            in_use=_in_use(),
        )
        writes = sum(each.told is Told.DONE and each.kind.is_write for each in history.operations[first:])
        took_s = trial.is_back_at - trial.healed_at
        self.say(
            f"{episode.name}: {writes} writes done, all back {took_s:.2f} s after the healing ({len(back)} clients)"
        )
        return trial

    async def _stopped(self, clients: list[Client], tasks: list[asyncio.Task[None]], history: History) -> None:
        for client in clients:
            client.is_over = True
        _, late = await asyncio.wait(tasks, timeout=self.plan.patience_s + 5)
        for client, task in zip(clients, tasks, strict=True):
            if task in late:
                history.unfinished.append(f"client {client.number}: {client.doing}")
                task.cancel()
            elif not task.cancelled() and (error := task.exception()) is not None:
                history.unfinished.append(f"client {client.number}: {type(error).__name__}: {error}")
        if late:
            await asyncio.wait(late, timeout=5)


async def _all_back(history: History, healed_at: float, first: int) -> dict[int, float]:
    """Wait until every client has done something that it began after the healing; give when."""
    loop = asyncio.get_running_loop()
    back: dict[int, float] = {}
    while loop.time() < healed_at + 2 * BACK_WITHIN_S:
        for each in history.operations[first:]:
            if each.told is Told.DONE and each.kind is not Kind.LEASE and each.began_at >= healed_at:
                back.setdefault(each.client, each.ended_at)
        if len(back) == history.clients:
            break
        await asyncio.sleep(_POLL_S)
    return back


async def _read_the_end(cluster: ClusterElsewhere, history: History, before: _Before) -> None:
    """Wait until nobody writes any more, and read what is stored and what is left."""
    loop = asyncio.get_running_loop()
    until = loop.time() + _SESSIONS_END_WITHIN_S
    while (left := await cluster.ask("sessions")) and loop.time() < until:
        await asyncio.sleep(_POLL_S)
    history.left += left
    await _settled(before)
    history.left += _left(before)
    for table in ("appended", "moved"):
        history.held += Counter(dict(await cluster.rows(f"SELECT id, COUNT(*) FROM {table} GROUP BY id")))
    history.balances = dict(await cluster.rows("SELECT id, balance FROM account"))
    history.moved = [
        (source, target, amount)
        for source, target, amount in await cluster.rows("SELECT source, target, amount FROM moved")
    ]
    history.registers = dict(await cluster.rows("SELECT id, value FROM register"))
    history.misled = [
        Misled(at=at, instance=instance, statement=statement, is_fenced=is_fenced)
        for at, instance, statement, is_fenced in await cluster.ask("misled")
    ]


@dataclass(frozen=True, slots=True)
class _Before:
    """What there was before the library was used."""

    tasks: frozenset[asyncio.Task[Any]]
    sockets: frozenset[str]


async def _settled(before: _Before) -> None:
    """Let what was told to end come to its end: c-ares closes its sockets in a thread, a second late."""
    loop = asyncio.get_running_loop()
    until = loop.time() + _SETTLES_WITHIN_S
    while _left(before) and loop.time() < until:
        await asyncio.sleep(_POLL_S)


def _left(before: _Before) -> list[str]:
    """Say what there is that was not before; what is only garbage is collected first."""
    gc.collect()
    tasks = asyncio.all_tasks() - before.tasks - {asyncio.current_task()}
    connections = [each for each in gc.get_objects() if isinstance(each, aioaurora.Connection)]
    sockets = [f"a socket, {each}" for each in open_sockets() - before.sockets]
    return [*[f"task {each!r}" for each in tasks], *sockets, *map(repr, connections)]


def _in_use() -> dict[str, int]:
    gc.collect()
    connections = sum(isinstance(each, aioaurora.Connection) for each in gc.get_objects())
    return {"tasks": len(asyncio.all_tasks()), "sockets": len(open_sockets()), "connections": connections}


def _own_of(episode: Episode, began_at: float) -> Iterator[tuple[float, str]]:
    for each in episode.faults:
        if each.call in plan.OWN:
            yield began_at + each.at_s, f"{each.call} {each.arguments}"


def _said(event: aioaurora.Event, at: float) -> Said:
    return Said(at, event.name, repr(event))


def _told(context: dict[str, Any]) -> str:
    return f"{context.get('message')}: {context.get('exception')!r}"


async def besieged(what: Plan, *, until_s: float, say: Callable[[str], None]) -> History:
    """Run a plan for at most so long; give its history."""
    return await Battery(what, until_s, say).run()
