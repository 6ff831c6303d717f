"""Runs a drill: starts the cluster and both kinds of client, takes the writer away again and again, has it judged."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from aioaurora.cli.drill import judge
from aioaurora.cli.drill.doors import READ_TABLE, OurDoor, PlainDoor, Reader
from aioaurora.cli.drill.judge import Broken, Figures, Scene
from aioaurora.cli.drill.ledger import Ledger, Side, Told
from aioaurora.cli.drill.stage import Posture, Stage
from aioaurora.cli.drill.watch import Suspicions, Ticker
from aioaurora.cli.drill.workload import COLUMNS, TABLE, Writer
from aioaurora.cluster import Cluster
from aioaurora.simulator import SimulatedCluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from aioaurora.cli.drill.plan import Mode, Plan

_PLAIN_USER = "plain"
_WARM_UP_S, _POSTURES_WITHIN_S, _ARRIVES_S = 1.0, 4.0, 0.1
_WRITTEN_WITHIN_S, _AFTERMATH_S = 15.0, 0.5
_RETURNS_AFTER_S, _RETURNED_WITHIN_S = 5.0, 10.0
_LAST_TURN_S = 2.0
# Those who sit in a transaction go on while the writer is gone.
_SIT_AT_MOST_S = 1.0


class Audience(Protocol):
    """Who is told how the drill goes."""

    def started(self, engine: str) -> None:
        """Hear what plays the storage."""

    def phase(self, number: int, sentence: str) -> None:
        """Hear what happens now, in which failover (from 1)."""

    def judged(self, result: Judged) -> None:
        """Hear how a failover ended."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One failover: what was, how both kinds of client fared, and which promises we broke."""

    scene: Scene
    figures: dict[Side, Figures]
    broken: list[Broken]


@dataclass(slots=True)
class Drill:
    """A whole drill; `finale` are broken promises that only the end showed."""

    plan: Plan
    engine: str = ""
    ledger: Ledger = field(default_factory=Ledger)
    failovers: list[Judged] = field(default_factory=list)
    finale: list[Broken] = field(default_factory=list)

    @property
    def broken(self) -> list[Broken]:
        """Every promise that was broken."""
        return [*(each for judged in self.failovers for each in judged.broken), *self.finale]


async def conducted(drill: Drill, audience: Audience) -> None:
    """Run a drill; `drill` is filled as it goes."""
    plan = drill.plan
    sim = SimulatedCluster(instances=plan.instances, engine=plan.engine, dsn=plan.dsn, seed=plan.seed)
    suspicions, ticker = Suspicions(), Ticker()
    async with sim, _thawing():
        drill.engine = sim.engine
        audience.started(sim.engine)
        sim.add_user(_PLAIN_USER, sim.password)
        await _set_up(sim)
        async with Cluster(**_our_options(sim), listeners=(suspicions,)) as cluster:
            stage = Stage()
            with sim.resolving():
                cast = _Cast(plan, stage, drill.ledger, cluster=cluster, plain=_plain_options(sim))
                async with cast, _running(ticker.run()):
                    conductor = _Conductor(sim, stage, drill, audience, suspicions=suspicions, ticker=ticker)
                    for number, (mode, promote_after) in enumerate(plan.failovers(), 1):
                        await conductor.failover(number, mode, promote_after)
        drill.finale = judge.broken_in_the_end(drill.ledger, await _held(sim))


class _Cast:
    """All clients, from the beginning to the end."""

    def __init__(self, plan: Plan, stage: Stage, ledger: Ledger, *, cluster: Cluster, plain: dict[str, Any]) -> None:
        doors = (OurDoor(cluster), PlainDoor(plain))
        self._stage = stage
        self._work = [
            Writer(n, door=door, stage=stage, ledger=ledger, chance=_chance(plan, door.side, n)).run()
            for door in doors
            for n in range(plan.clients)
        ]
        self._work += [
            Reader(n, cluster=cluster, stage=stage, ledger=ledger, chance=_chance(plan, "reader", n)).run()
            for n in range(plan.readers)
        ]
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> None:
        self._tasks = [asyncio.create_task(work) for work in self._work]

    async def __aexit__(self, *exc: object) -> None:
        """Let everybody finish the turn; what cannot is cancelled."""
        self._stage.is_over = True
        self._stage.resumed.set()
        _, late = await asyncio.wait(self._tasks, timeout=_LAST_TURN_S)
        for task in late:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result  # A client must survive whatever its driver raises: this is a fault of the drill.


class _Conductor:
    """Carries one failover out after the other."""

    def __init__(
        self,
        sim: SimulatedCluster,
        stage: Stage,
        drill: Drill,
        audience: Audience,
        *,
        suspicions: Suspicions,
        ticker: Ticker,
    ) -> None:
        self._sim, self._stage, self._drill, self._audience = sim, stage, drill, audience
        self._suspicions, self._ticker = suspicions, ticker
        self._chance = _chance(drill.plan, "failovers")
        self._loop = asyncio.get_running_loop()
        self._window_at = self._loop.time()

    async def failover(self, number: int, mode: Mode, promote_after: float) -> None:
        """Take the writer away, wait until everybody writes again, and judge."""
        sim, stage = self._sim, self._stage
        self._audience.phase(number, f"{mode}: clients write")
        # The ledger grows; what is in it need not be looked at by a collection in the middle of a failover.
        gc.collect()
        gc.freeze()
        await asyncio.sleep(_WARM_UP_S)
        stage.call(tuple(Side), self._drill.plan.clients)
        await stage.all_taken(_POSTURES_WITHIN_S)
        await asyncio.sleep(_ARRIVES_S)
        old, new = sim.writer.id, self._chance.choice(sorted(each.id for each in sim.readers if each.is_up))
        waiting = {side: stage.count(side, Posture.WAITING, Posture.WAITING_INSIDE) for side in Side}
        sitting = {side: stage.count(side, Posture.SITTING) for side in Side}
        self._audience.phase(number, f"{mode}: {old} is gone, {new} will be promoted in {promote_after:g} s")
        resume_after = min(promote_after / 2, _SIT_AT_MOST_S) * self._chance.uniform(0.2, 1.0)
        resuming = self._loop.call_later(resume_after, stage.resumed.set)
        await sim.failover(mode, new, promote_after=promote_after, returns_after=_RETURNS_AFTER_S)
        resuming.cancel()
        stage.resumed.set()
        self._audience.phase(number, f"{mode}: {new} is promoted, clients come back")
        promoted_at = sim.timeline.of("promoted")[-1].at
        await self._all_wrote(promoted_at)
        await asyncio.sleep(_AFTERMATH_S)
        self._judge(await self._scene(mode, promote_after, in_flight=waiting, in_transaction=sitting))
        if number < len(self._drill.plan):
            await self._returned(old, promoted_at)

    async def _scene(
        self, mode: Mode, promote_after: float, *, in_flight: dict[Side, int], in_transaction: dict[Side, int]
    ) -> Scene:
        """Gather what the simulator and the engine know of the failover that has just happened."""
        sim, began_at, ended_at = self._sim, self._window_at, self._loop.time()
        fault, promoted = sim.timeline.of("fault")[-1], sim.timeline.of("promoted")[-1]
        old, new = str(fault.instance), str(promoted.instance)
        self._window_at = ended_at
        return Scene(
            mode=mode,
            promote_after_s=promote_after,
            old_writer=old,
            new_writer=new,
            began_at=began_at,
            fault_at=fault.at,
            promoted_at=promoted.at,
            ended_at=ended_at,
            clients=self._drill.plan.clients,
            held=await _held(sim),
            wrong_roles=self._wrong_roles(began_at),
            peak_connects=self._peak_connects(new, promoted.at),
            suspected_at=self._suspicions.first(old, since=fault.at),
            in_flight=in_flight,
            in_transaction=in_transaction,
            stalls=self._ticker.between(began_at, ended_at),
        )

    def _judge(self, scene: Scene) -> None:
        figures = {side: judge.figures(self._drill.ledger, scene, side) for side in Side}
        judged = Judged(scene, figures, judge.broken(figures[Side.OURS], scene))
        self._drill.failovers.append(judged)
        self._audience.judged(judged)

    async def _all_wrote(self, since: float) -> None:
        """Wait until every client has written since the promotion, or has had its time."""
        everybody = {(side, number) for side in Side for number in range(self._drill.plan.clients)}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(since + _WRITTEN_WITHIN_S):
                while everybody - self._wrote(since):
                    await self._stage.acknowledged()

    def _wrote(self, since: float) -> set[tuple[Side, int]]:
        found = set()
        for each in reversed(self._drill.ledger.attempts):
            if each.ended_at < since:
                break
            if each.told is Told.DONE:
                found.add((each.side, each.client))
        return found

    def _wrong_roles(self, since: float) -> dict[Side, int]:
        """Count connections, not statements: what counts is what was handed out."""
        seen = {
            (entry.detail["user"] == _PLAIN_USER, entry.instance, entry.detail["connection"])
            for entry in self._sim.wrong_roles
            if entry.at >= since
        }
        plain = sum(is_plain for is_plain, _, _ in seen)
        return {Side.OURS: len(seen) - plain, Side.PLAIN: plain}

    def _peak_connects(self, instance: str, since: float) -> dict[Side, int]:
        """Count log-ins; those of our Cluster include its monitor's."""
        knocks = [each for each in self._sim.instances[instance].knocks if each.ended_at >= since]
        return judge.connects_at_once(knocks, plain_user=_PLAIN_USER)

    async def _returned(self, old: str, since: float) -> None:
        """Wait until the old writer is back, as the next failover needs a reader that is up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_RETURNED_WITHIN_S):
                await self._sim.timeline.wait_for("returned", instance=old, since=since)


def _chance(plan: Plan, *whose: object) -> random.Random:
    """Give each its own, or the clients' paces would decide which instance is promoted."""
    return random.Random(f"{plan.seed} {whose}")  # noqa: S311 - no secret


async def _set_up(sim: SimulatedCluster) -> None:
    for table in (TABLE, READ_TABLE):
        await sim.execute(f"CREATE TABLE `{sim.database}`.`{table}` {COLUMNS}")
    await sim.execute(f"INSERT INTO `{sim.database}`.`{READ_TABLE}` (id) VALUES ('one')")  # noqa: S608 - our own names


async def _held(sim: SimulatedCluster) -> frozenset[str]:
    rows = await sim.rows(f"SELECT id FROM `{sim.database}`.`{TABLE}`")  # noqa: S608 - our own names
    return frozenset(str(row[0]) for row in rows)


def _our_options(sim: SimulatedCluster) -> dict[str, Any]:
    """Give what an application has: the cluster endpoint, and who to log in as."""
    options = sim.connect_options() | {"autocommit": True}
    del options["instance_pattern"]
    return options


def _plain_options(sim: SimulatedCluster) -> dict[str, Any]:
    return {
        "host": sim.endpoint,
        "port": sim.port,
        "user": _PLAIN_USER,
        "password": sim.password,
        "db": sim.database,
        "autocommit": True,
    }


@contextlib.asynccontextmanager
async def _thawing() -> AsyncIterator[None]:
    """Undo `gc.freeze()` in the end: a drill may run in a process that lives on."""
    try:
        yield
    finally:
        gc.unfreeze()


@contextlib.asynccontextmanager
async def _running(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
